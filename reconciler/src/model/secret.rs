//! Credentials, and the one form in which they are written.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A credential. Neither `Debug` nor serialising shows it; [`super::encode`] alone writes it.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Characters from which on a credential is cut out of messages. A shorter one may be part of
    /// any word, and cutting it out would tell where it stands.
    pub const REDACTED_FROM: usize = 8;

    /// Whether it is too short to be cut out of messages.
    pub fn is_short(&self) -> bool {
        self.0.chars().count() < Self::REDACTED_FROM
    }

    /// Takes a credential in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The credential itself: for the wire and the boot script, nothing else.
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
