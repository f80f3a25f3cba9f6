//! The cookie of a browser's session.

use axum::http::{HeaderMap, HeaderValue, header};

use super::origin;
use super::ticket::SESSION;

/// The maximum number of cookies that are tried: a browser has two at most.
const TRIED: usize = 4;

/// Returns the names of the cookie, with and without TLS. Two installations at one host name have
/// different ones. A browser takes the first only from a server with TLS, and for this name alone.
fn names(installation: &str) -> [String; 2] {
    [format!("__Host-tinqs-ci.{installation}"), format!("tinqs-ci.{installation}")]
}

/// Returns the values of the cookie.
pub(super) fn values<'h>(
    headers: &'h HeaderMap,
    installation: &str,
) -> impl Iterator<Item = &'h str> {
    let names = names(installation);
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let ours = pairs.filter(move |(name, _)| names.iter().any(|ours| ours == name));
    ours.map(|(_, value)| value).take(TRIED)
}

/// Returns the header that sets the cookie. `tls`: this server has TLS itself.
pub(super) fn begun(
    headers: &HeaderMap,
    tls: bool,
    installation: &str,
    sealed: &str,
) -> HeaderValue {
    set(tls || origin::is_https(headers), installation, sealed, SESSION.as_secs())
}

/// Returns the headers that remove the cookie, whatever its name.
pub(super) fn ended(installation: &str) -> [HeaderValue; 2] {
    [true, false].map(|secure| set(secure, installation, "", 0))
}

fn set(secure: bool, installation: &str, value: &str, seconds: i64) -> HeaderValue {
    let [secured, plain] = names(installation);
    let (name, secure) = if secure { (secured, "; Secure") } else { (plain, "") };
    let text =
        format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    // The configuration allows no other letters in names.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let mut headers = HeaderMap::new();
        for text in [
            "a=1; tinqs-ci.acme=one;tinqs-ci.other=no",
            "tinqs-ci.acme; __Host-tinqs-ci.acme=two; tinqs-ci.acme.x=no",
        ] {
            headers.append(header::COOKIE, text.parse().expect("a value"));
        }
        assert_eq!(values(&headers, "acme").collect::<Vec<_>>(), ["one", "two"]);
        let many = "tinqs-ci.acme=x; ".repeat(100);
        headers.insert(header::COOKIE, many.parse().expect("a value"));
        assert_eq!(values(&headers, "acme").count(), TRIED);
    }

    #[test]
    fn the_cookie_is_for_the_server_alone_and_over_tls_for_nothing_else() {
        let mut headers = HeaderMap::new();
        let set = begun(&headers, false, "acme", "value");
        let expected = "tinqs-ci.acme=value; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict";
        assert_eq!(set, expected);
        let secured = format!("__Host-{expected}; Secure");
        assert_eq!(begun(&headers, true, "acme", "value"), secured);
        headers.insert(header::ORIGIN, HeaderValue::from_static("https://ci.example.com"));
        assert_eq!(begun(&headers, false, "acme", "value"), secured);
        let ended = ended("acme");
        assert!(ended.iter().all(|set| set.to_str().is_ok_and(|set| set.contains("Max-Age=0;"))));
    }
}
