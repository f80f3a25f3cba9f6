//! Durations written as `5m`, `1h 30m`, `10s`.

use jiff::SignedDuration;
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

/// Writes durations as `5m`, `1h 30m`, `10s`, for `#[serde(with = "Friendly")]`. A type and not a
/// module, because the schema needs a type.
pub struct Friendly;

impl Friendly {
    /// Serializes a duration, for example as `5m`.
    pub fn serialize<S: Serializer>(
        duration: &SignedDuration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{duration:#}"))
    }

    /// Deserializes a duration such as `5m`.
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
        // No `format: duration`: that means ISO 8601.
        schemars::json_schema!({ "type": "string" })
    }
}
