//! Credentials that neither logs nor answers show.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Begins the text in place of a credential that has left the record: `sha256:BYTES:HASH`.
const DIGEST: &str = "sha256:";

/// A credential. Neither `Debug` nor serialization shows it; only [`super::encode`] writes it.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Secret {
    /// Empty if there is none, or none any more.
    text: String,
    /// The digest of a credential that is not there any more.
    #[serde(skip)]
    digest: Option<SecretDigest>,
}

/// The length and the hash of a credential: enough to cut it out of a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SecretDigest {
    /// The length of the credential, in bytes.
    pub(super) bytes: usize,
    sha256: [u8; 32],
}

impl SecretDigest {
    fn of(text: &str) -> Self {
        Self { bytes: text.len(), sha256: Self::hash(text.as_bytes()) }
    }

    fn hash(bytes: &[u8]) -> [u8; 32] {
        Sha256::digest(bytes).into()
    }

    /// Returns whether the bytes are the credential.
    pub(super) fn is_of(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.bytes && Self::hash(bytes) == self.sha256
    }
}

impl Secret {
    /// The minimum length, in characters, of a credential that is redacted in messages. A shorter
    /// one may be part of any word, and redacting it would reveal where it occurs.
    pub const REDACTED_FROM: usize = 8;

    /// Returns whether it is too short to be redacted in messages.
    pub fn is_short(&self) -> bool {
        self.text.chars().count() < Self::REDACTED_FROM
    }

    /// Wraps a credential.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), digest: None }
    }

    /// Returns the credential itself: for requests and the boot script only.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Returns whether there is no credential, or none any more.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Forgets the credential. Its digest stays, so that it is still cut out of texts, unless it is
    /// short: then it is not cut out anyway.
    pub fn forget(&mut self) {
        if !self.is_short() {
            self.digest = Some(SecretDigest::of(&self.text));
        }
        self.text.clear();
    }

    /// Returns the digest, if the credential is not there any more.
    pub(super) fn digest(&self) -> Option<&SecretDigest> {
        self.digest.as_ref().filter(|_| self.is_empty())
    }

    /// Returns what a record holds: the credential, or its digest.
    pub(super) fn to_stored(&self) -> String {
        let Some(SecretDigest { bytes, sha256 }) = self.digest() else { return self.text.clone() };
        format!("{DIGEST}{bytes}:{}", hex::encode(sha256))
    }

    /// Turns what a record holds into a credential or its digest. What only looks like a digest is a
    /// credential.
    pub(super) fn read_stored(&mut self) {
        let digest = self.text.strip_prefix(DIGEST).and_then(|digest| {
            let (bytes, hash) = digest.split_once(':')?;
            let sha256 = hex::decode(hash).ok()?.try_into().ok()?;
            Some(SecretDigest { bytes: bytes.parse().ok()?, sha256 })
        });
        if digest.is_some() {
            *self = Self { text: String::new(), digest };
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[secret]")
    }
}

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A credential; answers show `[secret]` in its place."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_credential_is_known_by_its_digest_alone() {
        let mut secret = Secret::new("0123456789abcdef");
        secret.forget();
        assert!(secret.is_empty());
        assert_eq!(secret.expose(), "");
        let digest = secret.digest().unwrap();
        assert!(digest.is_of(b"0123456789abcdef"));
        assert!(!digest.is_of(b"0123456789abcdeg") && !digest.is_of(b"0123456789abcdef0"));
        let stored = secret.to_stored();
        assert!(stored.starts_with("sha256:16:") && !stored.contains("0123456789abcdef"));
        let mut read = Secret::new(stored);
        read.read_stored();
        assert_eq!(read, secret);
        secret.forget();
        assert_eq!(read, secret, "its digest stays");
    }

    #[test]
    fn what_is_no_digest_is_a_credential() {
        let short = format!("sha256:16:{}", "0".repeat(63));
        for text in ["", "a-token", "sha256:", "sha256:16:zz", "sha256:x:00", short.as_str()] {
            let mut secret = Secret::new(text);
            secret.read_stored();
            assert_eq!(secret, Secret::new(text), "{text}");
            assert_eq!(secret.to_stored(), text);
        }
        let mut short = Secret::new("short");
        short.forget();
        assert_eq!(short, Secret::default());
    }
}
