//! Calls of `status` and `why`.

use reqwest::Method;

use super::{Client, Error};
use crate::api::status::{StatusView, WaitReasons};

impl Client {
    /// Returns what is well and what is not.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn status(&self) -> Result<StatusView, Error> {
        self.get(&["status"], "call", "status").await
    }

    /// Returns why a job waits, or with an empty text everything that is not well.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn why(&self, what: &str) -> Result<WaitReasons, Error> {
        let asked = Some(what).filter(|what| !what.is_empty());
        let query: Vec<(&str, String)> =
            asked.into_iter().map(|what| ("what", what.to_owned())).collect();
        let request = self.request_with(Method::GET, &["why"], &query);
        let response = self.send(request, "job", what).await?;
        self.read(response).await
    }
}
