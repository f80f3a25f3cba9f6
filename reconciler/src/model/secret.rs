//! Credentials that neither logs nor answers show.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A credential. Neither `Debug` nor serialization shows it; only [`super::encode`] writes it.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The minimum length, in characters, of a credential that is redacted in messages. A shorter
    /// one may be part of any word, and redacting it would reveal where it occurs.
    pub const REDACTED_FROM: usize = 8;

    /// Returns whether it is too short to be redacted in messages.
    pub fn is_short(&self) -> bool {
        self.0.chars().count() < Self::REDACTED_FROM
    }

    /// Wraps a credential.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the credential itself: for requests and the boot script only.
    pub fn expose(&self) -> &str {
        &self.0
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
