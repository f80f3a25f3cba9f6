//! Durations written as `5m`, `1h 30m`, `10s`.

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Writes `5m`.
pub fn serialize<S: Serializer>(
    duration: &SignedDuration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{duration:#}"))
}

/// Reads `5m`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SignedDuration, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "`{text}` is not a duration: expected e.g. \"90s\", \"5m\", \"1h 30m\""
        ))
    })
}
