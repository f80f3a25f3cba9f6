//! The clock port.

use jiff::Timestamp;

/// The only source of time.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> Timestamp;
}
