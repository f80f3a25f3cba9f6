//! The clock port.

use jiff::Timestamp;

/// The only source of time.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}

/// The true time, as the answers of a service tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrueTime {
    /// There was no answer yet.
    Unknown,
    /// There were answers, and none had a date.
    Undated,
    /// The date of the last answer, to the second, plus the monotonic time since then.
    About(Timestamp),
}
