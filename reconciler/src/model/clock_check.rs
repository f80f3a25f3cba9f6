//! Whether the clock of this process can be trusted.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// The most by which a clock that agrees with the true time differs from it.
pub const CLOCKS_AGREE_WITHIN: SignedDuration = SignedDuration::from_mins(2);

/// The clock of a process against the true time, as the forge's answers tell it. Without agreement
/// nothing is concluded from a wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClockCheck {
    /// They are at most two minutes apart, or no answer of the forge has a date.
    #[default]
    Agrees,
    /// The forge has not answered yet.
    Unchecked,
    /// The clock is more than two minutes ahead.
    Ahead,
    /// The clock is more than two minutes behind.
    Behind,
}

impl ClockCheck {
    /// Compares a clock that is so far ahead of the true time; behind it if negative.
    pub fn of(ahead: SignedDuration) -> Self {
        match ahead {
            ahead if ahead > CLOCKS_AGREE_WITHIN => Self::Ahead,
            ahead if ahead < -CLOCKS_AGREE_WITHIN => Self::Behind,
            _ => Self::Agrees,
        }
    }

    /// Returns whether a wait may be concluded from this clock.
    pub fn agrees(&self) -> bool {
        *self == Self::Agrees
    }
}
