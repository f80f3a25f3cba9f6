//! The call of `backup`.

use std::time::Duration;

use reqwest::{Method, Response};

use super::{Client, Error, unreachable};

/// The maximum time for a backup. The server ends a connection sooner.
const WITHIN: Duration = Duration::from_mins(10);

/// A backup that is being received.
pub struct Download<'c> {
    client: &'c Client,
    response: Response,
}

impl Client {
    /// Begins a backup, with or without the credentials of attempts.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn backup(&self, secrets: bool) -> Result<Download<'_>, Error> {
        let query = [("secrets", secrets.to_string())];
        let request = self.request_with(Method::GET, &["backup"], &query).timeout(WITHIN);
        let response = self.send(request, "call", "backup").await?;
        Ok(Download { client: self, response })
    }
}

impl Download<'_> {
    /// Returns the next bytes; `None` at the end.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let chunk = self.response.chunk().await;
        let chunk = chunk.map_err(|error| unreachable(&self.client.url, &error))?;
        Ok(chunk.map(Into::into))
    }
}
