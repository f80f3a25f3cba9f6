//! The calls of `sweep` and `reload`.

use reqwest::Method;
use tinqs_ci_reconciler::controller::SweepReport;

use super::{Client, Error};
use crate::api::Reloaded;

impl Client {
    /// Polls and sweeps now.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sweep(&self) -> Result<SweepReport, Error> {
        let response = self.send(self.request(Method::POST, &["sweep"]), "call", "sweep").await?;
        self.read(response).await
    }

    /// Lets the server read its configuration again.
    ///
    /// # Errors
    /// See [`Error`]; `Refused` with 422 and a line for each mistake if the configuration is
    /// broken.
    pub async fn reload(&self) -> Result<Reloaded, Error> {
        let response = self.send(self.request(Method::POST, &["reload"]), "call", "reload").await?;
        self.read(response).await
    }
}
