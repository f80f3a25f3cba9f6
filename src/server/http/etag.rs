//! `ETag`, `If-Match`, `If-None-Match` over a run's version.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::Refusal;

/// The tag of a version.
pub(super) fn etag(version: u64) -> (HeaderName, HeaderValue) {
    // A quoted number is always a valid header value.
    let value = HeaderValue::from_str(&format!("\"{version}\""));
    (header::ETAG, value.unwrap_or_else(|_| HeaderValue::from_static("\"\"")))
}

/// The version that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Any version: no header, or `*`.
    Any,
    /// One of these versions.
    OneOf(Vec<u64>),
}

impl Wanted {
    /// Reads `If-Match`. A weak or foreign tag matches nothing.
    pub(super) fn to_change(headers: &HeaderMap) -> Result<Self, Refusal> {
        Self::of(headers, &header::IF_MATCH, false).map(|wanted| wanted.unwrap_or(Self::Any))
    }

    /// Whether `If-None-Match` names this version.
    pub(super) fn is_held(headers: &HeaderMap, version: u64) -> bool {
        let held = Self::of(headers, &header::IF_NONE_MATCH, true).ok().flatten();
        held.is_some_and(|held| held.takes(version))
    }

    /// Whether the version matches.
    pub(super) fn takes(&self, version: u64) -> bool {
        match self {
            Self::Any => true,
            Self::OneOf(versions) => versions.contains(&version),
        }
    }

    fn of(headers: &HeaderMap, name: &HeaderName, weak: bool) -> Result<Option<Self>, Refusal> {
        let mut versions = Vec::new();
        let mut present = false;
        for value in headers.get_all(name) {
            present = true;
            let text = value.to_str().map_err(|_| {
                Refusal::new(StatusCode::BAD_REQUEST, format!("`{name}` cannot be read"))
            })?;
            for tag in text.split(',').map(str::trim) {
                if tag == "*" {
                    return Ok(Some(Self::Any));
                }
                let tag = if weak { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
                // Accept a tag without quotes, as people type it.
                versions.extend(tag.trim_matches('"').parse::<u64>());
            }
        }
        Ok(present.then_some(Self::OneOf(versions)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_accepts_every_form_of_a_tag() {
        let cases: [(&str, u64, bool); 7] = [
            ("\"3\"", 3, true),
            ("\"2\"", 3, false),
            ("3", 3, true),
            ("*", 3, true),
            ("\"1\", \"3\"", 3, true),
            ("W/\"3\"", 3, false),
            ("\"abc\"", 3, false),
        ];
        for (text, version, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, text.parse().expect("a value"));
            let wanted = Wanted::to_change(&headers).expect("readable");
            assert_eq!(wanted.takes(version), expected, "{text}");
        }
        let wanted = Wanted::to_change(&HeaderMap::new()).expect("readable");
        assert_eq!(wanted, Wanted::Any);
    }
}
