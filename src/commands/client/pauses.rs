//! The calls of `pause` and `resume`.

use reqwest::Method;

use super::{Client, Error};
use crate::api::Pauses;

impl Client {
    /// Pauses the launches of a class, or of all.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pause(&self, class: Option<&str>) -> Result<Pauses, Error> {
        self.change_pauses("pause", class).await
    }

    /// Resumes the launches of a class; without one, ends every pause.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn resume(&self, class: Option<&str>) -> Result<Pauses, Error> {
        self.change_pauses("resume", class).await
    }

    async fn change_pauses(&self, verb: &str, class: Option<&str>) -> Result<Pauses, Error> {
        let path = class.map_or_else(|| vec![verb], |class| vec!["classes", class, verb]);
        let request = self.request(Method::POST, &path);
        let response = self.send(request, "class", class.unwrap_or_default()).await?;
        self.read(response).await
    }
}
