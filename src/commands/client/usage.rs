//! The call of `usage`.

use reqwest::Method;

use super::{Client, Error};
use crate::api::{UsageBy, UsageList};

impl Client {
    /// Returns the usage of a month; `None`: the current one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn usage(&self, by: UsageBy, month: Option<&str>) -> Result<UsageList, Error> {
        let mut query = vec![("by", by.as_str().to_owned())];
        query.extend(month.map(|month| ("month", month.to_owned())));
        let request = self.request_with(Method::GET, &["usage"], &query);
        let response = self.send(request, "call", "usage").await?;
        self.read(response).await
    }
}
