//! Links on terminals (OSC 8). Addresses come from outside.

use std::fmt::Write as _;

/// The maximum length of an address.
const LONGEST: usize = 2_000;

/// Returns the address if it is one of the web, with every character percent-encoded that is not
/// printable ASCII, so that none can end the link's escape sequence.
pub(super) fn safe(address: &str) -> Option<String> {
    let rest = ["https://", "http://"].iter().find_map(|scheme| address.strip_prefix(scheme))?;
    if rest.is_empty() || address.len() > LONGEST {
        return None;
    }
    let mut safe = String::with_capacity(address.len());
    for byte in address.bytes() {
        if byte.is_ascii_graphic() {
            safe.push(char::from(byte));
        } else {
            let _ = write!(safe, "%{byte:02X}");
        }
    }
    Some(safe)
}

/// Returns the text as a link to a safe address.
pub(super) fn linked(address: &str, text: &str) -> String {
    format!("\u{1b}]8;;{address}\u{1b}\\{text}\u{1b}]8;;\u{1b}\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_become_links() {
        let page = "https://git.example.com/acme/web/actions/runs/812/jobs/0?a=1&b=2#c";
        assert_eq!(safe(page).as_deref(), Some(page));
        assert_eq!(safe("http://127.0.0.1:3000/x").as_deref(), Some("http://127.0.0.1:3000/x"));
        for address in ["", "https://", "file:///etc/passwd", "javascript:alert(1)", "//x", "x"] {
            assert_eq!(safe(address), None, "{address}");
        }
        assert_eq!(safe(&format!("https://{}", "x".repeat(LONGEST))), None);
    }

    #[test]
    fn no_character_of_an_address_ends_the_link() {
        let address = safe("https://x/\u{1b}\\\u{7}a b\u{9c}\u{202e}é").expect("an address");
        assert_eq!(address, "https://x/%1B\\%07a%20b%C2%9C%E2%80%AE%C3%A9");
        assert_eq!(linked("https://x", "y"), "\u{1b}]8;;https://x\u{1b}\\y\u{1b}]8;;\u{1b}\\");
    }
}
