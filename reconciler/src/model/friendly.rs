//! Durations written as `5m`, `1h 30m`, `10s`.

use jiff::SignedDuration;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

/// How a duration is written, for `#[serde(with = "Friendly")]`: `5m`, `1h 30m`, `10s`. A type
/// rather than a module, so that the schema follows it too.
pub struct Friendly;

impl Friendly {
    /// Writes `5m`.
    pub fn serialize<S: Serializer>(
        duration: &SignedDuration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{duration:#}"))
    }

    /// Reads `5m`.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SignedDuration, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| {
            D::Error::custom(format!(
                "`{text}` is not a duration: expected e.g. \"90s\", \"5m\", \"1h 30m\""
            ))
        })
    }
}

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for Friendly {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // Not of the format `duration`, which is ISO 8601's.
        schemars::json_schema!({ "type": "string" })
    }
}
