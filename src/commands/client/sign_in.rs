//! The call of `open`.

use reqwest::Method;

use super::{Client, Error};
use crate::api::SignIn;

impl Client {
    /// Makes a one-time address that signs a browser in.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sign_in(&self) -> Result<SignIn, Error> {
        let request = self.request(Method::POST, &["sign-in"]);
        let response = self.send(request, "page", "sign-in").await?;
        self.read(response).await
    }
}
