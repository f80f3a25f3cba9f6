//! Whether a change that a browser sends comes from the page of this server.
//!
//! A browser adds a cookie to what other sites of the same host make it send, too; ports do not tell
//! sites apart. It also says which page a request comes from, which no page can change.

use axum::http::{HeaderMap, HeaderName, StatusCode, header};

use super::Refusal;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Checks that a request comes from a page of this server.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    if is_own(headers) {
        return Ok(());
    }
    let detail = "the request does not come from the page of this server: open the page, and do it \
                  there; a program sends `Authorization: Bearer TOKEN` and no cookie";
    Err(Refusal::new(StatusCode::FORBIDDEN, detail))
}

fn is_own(headers: &HeaderMap) -> bool {
    if let Some(site) = only(headers, &SEC_FETCH_SITE) {
        // `none`: the person did it, not a page.
        return matches!(site, Ok("same-origin" | "none"));
    }
    // Browsers before 2023, and addresses that are neither loopback nor `https`.
    let (Some(Ok(origin)), Some(Ok(host))) =
        (only(headers, &header::ORIGIN), only(headers, &header::HOST))
    else {
        return false;
    };
    origin.split_once("://").is_some_and(|(_, from)| from.eq_ignore_ascii_case(host))
}

/// Whether the browser reached this server by TLS, also if a proxy ended that.
pub(super) fn is_https(headers: &HeaderMap) -> bool {
    let says = |name: &HeaderName, what: &str| matches!(only(headers, name), Some(Ok(value)) if value.starts_with(what));
    // A false claim makes the cookie stricter.
    says(&header::ORIGIN, "https://")
        || says(&HeaderName::from_static("x-forwarded-proto"), "https")
}

/// Returns the value of a header, or an error if there are several or it is no text.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<Result<&'h str, ()>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    Some(match values.next() {
        None => first.to_str().map_err(drop),
        Some(_) => Err(()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(pairs: &[(&'static str, &str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a value"));
        }
        is_own(&headers)
    }

    #[test]
    fn only_the_own_page_changes_something() {
        let (site, origin, host) = ("sec-fetch-site", "origin", ("host", "127.0.0.1:8081"));
        let own_origin = (origin, "http://127.0.0.1:8081");
        for pairs in [
            &[(site, "same-origin"), host][..],
            &[(site, "none"), host],
            &[own_origin, host],
            &[(origin, "https://CI.example.com"), ("host", "ci.example.com")],
            // Behind a proxy that changes the name, the browser's word counts.
            &[(site, "same-origin"), (origin, "https://ci.example.com"), host],
        ] {
            assert!(own(pairs), "{pairs:?}");
        }
        for pairs in [
            &[host][..],
            &[(site, "same-site"), own_origin, host],
            &[(site, "cross-site"), own_origin, host],
            &[(site, "same-origin"), (site, "cross-site"), host],
            &[(site, ""), own_origin, host],
            &[(origin, "http://127.0.0.1:9999"), host],
            &[(origin, "http://localhost:8081"), host],
            &[(origin, "null"), host],
            &[(origin, "http://127.0.0.1:8081.evil.example"), host],
            &[own_origin, (origin, "http://evil.example"), host],
            &[own_origin],
            &[own_origin, host, host],
        ] {
            assert!(!own(pairs), "{pairs:?}");
        }
    }
}
