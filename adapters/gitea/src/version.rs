//! Parses the many forms in which servers write their version.

use std::fmt;

/// A server's version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// Gitea, with the leading numbers: `1.26.0+dev`, `1.25.0-rc1`, `v1.27.0~7`.
    Gitea {
        /// Major, minor, patch.
        numbers: (u32, u32, u32),
        /// Whether it is a development build or release candidate: it precedes the release and may
        /// lack its features.
        before_release: bool,
        /// As the server writes it.
        text: String,
    },
    /// Forgejo: its numbers are unrelated to Gitea's.
    Forgejo {
        /// As the server writes it, e.g. `12.0.0+gitea-1.22.0`.
        text: String,
    },
    /// Any other server.
    Unknown {
        /// As the server writes it.
        text: String,
    },
}

impl Version {
    /// Parses the response of `GET /api/v1/version`. Never fails: an unreadable version is unknown.
    pub fn parse(text: &str) -> Self {
        let text: String = text.trim().chars().filter(|c| !c.is_control()).take(100).collect();
        let lower = text.to_ascii_lowercase();
        if lower.contains("forgejo") || lower.contains("+gitea-") {
            return Self::Forgejo { text };
        }
        let bare = text.strip_prefix(['v', 'V']).unwrap_or(&text);
        let end = bare.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(bare.len());
        let (numbers, rest) = bare.split_at(end);
        let mut parts = numbers.trim_end_matches('.').split('.').map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
            return Self::Unknown { text };
        };
        let patch = parts.next().and_then(Result::ok).unwrap_or(0);
        Self::Gitea { numbers: (major, minor, patch), before_release: !rest.is_empty(), text }
    }

    /// Whether it is certainly older than this release line. An unknown version is not: the
    /// endpoint itself must be tried.
    pub fn is_older_than(&self, major: u32, minor: u32) -> bool {
        match self {
            Self::Gitea { numbers, .. } => (numbers.0, numbers.1) < (major, minor),
            Self::Forgejo { .. } | Self::Unknown { .. } => false,
        }
    }
}

impl Version {
    /// Whether it certainly precedes this release: an older line, or a development build or release
    /// candidate of it, which may lack its features.
    pub fn precedes(&self, major: u32, minor: u32) -> bool {
        let early = matches!(
            self,
            Self::Gitea { numbers, before_release: true, .. } if *numbers == (major, minor, 0)
        );
        early || self.is_older_than(major, minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gitea { text, .. } => write!(f, "Gitea {text}"),
            Self::Forgejo { text } => write!(f, "Forgejo {text}"),
            Self::Unknown { text } => write!(f, "an unknown server `{text}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_parsed_tolerantly() {
        let gitea = |text: &str, numbers, before_release| {
            let expected = Version::Gitea { numbers, before_release, text: text.into() };
            assert_eq!(Version::parse(text), expected);
        };
        gitea("1.26.4", (1, 26, 4), false);
        gitea("1.26.0+dev", (1, 26, 0), true);
        gitea("1.26.0+dev-123-gabcdef0", (1, 26, 0), true);
        gitea("1.25.0-rc1", (1, 25, 0), true);
        gitea("1.27.0~7-ga1b2", (1, 27, 0), true);
        gitea("v1.25", (1, 25, 0), false);
        for text in ["12.0.0+gitea-1.22.0", "forgejo-9", "7.0.0-dev+GITEA-1.21.1"] {
            assert_eq!(Version::parse(text), Version::Forgejo { text: text.into() });
        }
        for text in ["", "main", "1", "99999999999.1", "..", "\u{202e}1.2"] {
            assert!(matches!(Version::parse(text), Version::Unknown { .. }), "{text}");
        }
    }

    #[test]
    fn only_known_versions_are_older() {
        assert!(Version::parse("1.24.7").is_older_than(1, 25));
        assert!(!Version::parse("1.25.0-rc1").is_older_than(1, 25));
        assert!(!Version::parse("2.0.0").is_older_than(1, 25));
        assert!(!Version::parse("1.20.0+gitea-1.20.0").is_older_than(1, 25));
        assert!(!Version::parse("main").is_older_than(1, 25));
        for early in ["1.24.7", "1.25.0-rc1", "1.25.0+dev-3-gabcdef0"] {
            assert!(Version::parse(early).precedes(1, 25), "{early}");
        }
        for late in ["1.25.0", "1.25.1+dev", "1.26.0+dev", "main", "12.0.0+gitea-1.22.0"] {
            assert!(!Version::parse(late).precedes(1, 25), "{late}");
        }
    }
}
