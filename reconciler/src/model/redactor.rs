//! Cuts credentials out of text from outside.

use std::fmt::Write as _;

use super::secret::{Secret, SecretDigest};

/// The text that replaces a credential.
const MARK: &[u8] = b"[secret]";

/// Replaces credentials by `[secret]`, also where they are percent-encoded, as in URLs. Credentials
/// that [`Secret::is_short`] calls short are left alone. One that [`Secret::forget`] left a digest of
/// is replaced as it is, if it has no spaces.
pub struct Redactor {
    /// Longest first, so that no credential hides one that contains it.
    forms: Vec<Vec<u8>>,
    digests: Vec<SecretDigest>,
}

impl Redactor {
    /// Creates a redactor of these credentials.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut forms: Vec<Vec<u8>> = Vec::new();
        let mut digests = Vec::new();
        for secret in secrets {
            digests.extend(secret.digest().cloned());
            if secret.is_short() {
                continue;
            }
            forms.push(secret.expose().as_bytes().to_vec());
            forms.push(percent_encoded(secret.expose()));
        }
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms, digests }
    }

    /// Returns the length of the longest form of a credential. Where a text is cut, up to this many
    /// bytes before the cut must be read as well, or the end of a credential would not be seen.
    pub fn longest(&self) -> usize {
        let digest = self.digests.iter().map(|digest| digest.bytes).max();
        self.forms.first().map_or(0, Vec::len).max(digest.unwrap_or(0))
    }

    /// Returns the text from `from` on without credentials, also without one that begins earlier.
    pub fn redact(&self, text: &[u8], from: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len().saturating_sub(from));
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let rest = &text[at..];
            if let Some(length) = self.credential(rest) {
                at += length;
                if at > from {
                    out.extend_from_slice(MARK);
                }
            } else {
                if at >= from {
                    out.push(*byte);
                }
                at += 1;
            }
        }
        out
    }

    /// Returns the length of the credential with which the text begins.
    fn credential(&self, text: &[u8]) -> Option<usize> {
        let form = self.forms.iter().find(|form| text.starts_with(form)).map(Vec::len);
        form.or_else(|| {
            let begins = |digest: &&SecretDigest| {
                let word = text.get(..digest.bytes);
                let word = word.filter(|word| word.iter().all(u8::is_ascii_graphic));
                word.is_some_and(|word| digest.is_of(word))
            };
            self.digests.iter().find(begins).map(|digest| digest.bytes).filter(|bytes| *bytes > 0)
        })
    }
}

/// Encodes all but letters, digits and `-._~`.
fn percent_encoded(text: &str) -> Vec<u8> {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(secrets: &[&str], text: &str, from: usize) -> String {
        let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(*text)).collect();
        let out = Redactor::new(&secrets).redact(text.as_bytes(), from);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn credentials_are_cut_out_in_every_form() {
        let secrets = ["top/secret", "top/secret-and-more", "short"];
        let cases = [
            ("", ""),
            ("nothing to hide", "nothing to hide"),
            ("a top/secret b top/secret", "a [secret] b [secret]"),
            ("top/secret-and-more", "[secret]"),
            ("https://top%2Fsecret@host/", "https://[secret]@host/"),
            ("top/secre", "top/secre"),
            ("short", "short"),
        ];
        for (text, expected) in cases {
            assert_eq!(redacted(&secrets, text, 0), expected, "{text}");
        }
        assert_eq!(redacted(&[], "text", 0), "text");
        assert_eq!(Redactor::new(&[Secret::new("long enough?")]).longest(), 16);
    }

    #[test]
    fn a_credential_that_left_the_record_is_cut_out() {
        let mut gone = Secret::new("0123456789abcdef");
        gone.forget();
        let redactor = Redactor::new([&gone, &Secret::new("topsecret")]);
        assert_eq!(redactor.longest(), 16);
        let cases = [
            ("token=0123456789abcdef.", "token=[secret]."),
            ("00123456789abcdef0", "0[secret]0"),
            ("0123456789abcde topsecret", "0123456789abcde [secret]"),
        ];
        for (text, expected) in cases {
            let out = String::from_utf8(redactor.redact(text.as_bytes(), 0)).unwrap();
            assert_eq!(out, expected);
        }
        assert_eq!(redactor.redact(b"0123456789abcdef!", 5), b"[secret]!");
    }

    #[test]
    fn a_credential_across_the_beginning_is_cut_out() {
        let text = "1 topsecret 2";
        assert_eq!(redacted(&["topsecret"], text, 0), "1 [secret] 2");
        for from in 2..11 {
            assert_eq!(redacted(&["topsecret"], text, from), "[secret] 2", "{from}");
        }
        assert_eq!(redacted(&["topsecret"], text, 11), " 2");
        assert_eq!(redacted(&["topsecret"], text, 99), "");
    }
}
