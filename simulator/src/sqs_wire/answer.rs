//! What an operation answers, and bounds that several of them have.

use serde_json::Value;

use super::json::Fault;

/// What is answered, and how many messages it was about.
pub(super) type Answer = Result<(Value, usize), Fault>;

/// In seconds.
pub(super) const TWELVE_HOURS: i64 = 43_200;
pub(super) const FIFTEEN_MINUTES: i64 = 900;
