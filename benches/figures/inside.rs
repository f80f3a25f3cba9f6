//! The routes of a server in this process, without a socket.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use tinqs_ci::server::http::{App, Deadlines, everything};
use tinqs_ci::server::{Parts, PollSignal, Role};
use tower::ServiceExt as _;

use crate::figure::Result;
use crate::server::TOKEN;

/// The maximum size of an answer, in bytes.
const MOST: usize = 64 << 20;

/// The routes.
pub(crate) struct Inside(Router);

impl Inside {
    /// Returns the routes of these parts, whose settings have the token of the benchmark.
    pub(crate) fn of(parts: &Parts) -> Self {
        let address = Some(([127, 0, 0, 1], 8081).into());
        let app = App::new(parts, Arc::new(PollSignal::default()), Role::All, address);
        Self(everything(&app, Deadlines::default()))
    }

    /// Returns the successful response for somebody who accepts this type.
    pub(crate) async fn ask(&self, path: &str, accept: &str) -> Result<Response<Body>> {
        let request = Request::builder()
            .uri(path)
            .header("host", "127.0.0.1:8081")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("accept", accept)
            .body(Body::empty())?;
        let answer = self.0.clone().oneshot(request).await?;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status => Err(format!("{path} answers {status}").into()),
        }
    }

    /// Returns the whole body of a successful response.
    pub(crate) async fn text(&self, path: &str, accept: &str) -> Result<String> {
        let body = self.ask(path, accept).await?.into_body();
        Ok(String::from_utf8(to_bytes(body, MOST).await?.to_vec())?)
    }
}
