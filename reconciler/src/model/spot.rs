//! The spot breaker of a class: the cloud took several of its spot machines.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The cloud took several spot machines of a class within a quarter of an hour: its machines on
/// demand come first for as long again. Nothing is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SpotBreaker {
    /// The number that it took within the quarter of an hour before the last of them.
    pub interruptions: u32,
    /// Time of the interruption that opened the breaker.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub since: Timestamp,
    /// Time from which the order of the class applies again.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub until: Timestamp,
}

impl SpotBreaker {
    /// Says for people why machines on demand come first.
    pub fn detail(&self) -> String {
        format!(
            "the cloud took {} of its spot machines within 15 min, so its machines on demand come \
             first for now",
            self.interruptions
        )
    }
}
