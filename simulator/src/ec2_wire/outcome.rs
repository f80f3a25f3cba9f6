//! The result of an operation before serialization.

use super::error::Fault;
use super::xml::Element;

/// The result of a call.
pub(super) struct Outcome {
    pub(super) result: Result<Vec<Element>, Fault>,
    pub(super) items: usize,
    pub(super) tokens: (u32, u32),
}

impl Outcome {
    pub(super) fn of(parts: Vec<Element>, items: usize) -> Self {
        Self { result: Ok(parts), items, tokens: (0, 0) }
    }

    pub(super) fn throttled() -> Self {
        Self::from(Fault::new("RequestLimitExceeded", "Request limit exceeded."))
    }

    /// Sets the tokens taken from the buckets.
    pub(super) fn taking(mut self, tokens: (u32, u32)) -> Self {
        self.tokens = tokens;
        self
    }
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Self {
        Self { result: Err(fault), items: 0, tokens: (0, 0) }
    }
}
