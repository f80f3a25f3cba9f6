//! The call of `drift`.

use super::{Client, Error};
use crate::api::DriftList;

impl Client {
    /// Returns what differs for longer than its stage allows.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn drift(&self) -> Result<DriftList, Error> {
        self.get(&["drift"], "call", "drift").await
    }
}
