//! The result of an operation, and shared bounds.

use serde_json::Value;

use super::json::Fault;

/// The response and its number of messages.
pub(super) type Answer = Result<(Value, usize), Fault>;

/// In seconds.
pub(super) const TWELVE_HOURS: i64 = 43_200;
pub(super) const FIFTEEN_MINUTES: i64 = 900;
