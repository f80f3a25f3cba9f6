//! Tests of the wires of Gitea, EC2 and SQS over loopback: APIs, webhooks and the test runner.

mod api;
mod aws;
mod faults;
mod levels;
mod receiver;
mod runner;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tinqs_ci_simulator::forge::{Config, Forge, JobSpec, Line};
use tinqs_ci_simulator::gitea_wire::{ApiToken, Right, Wire, WireOptions};

const REPO: &str = "acme/widget";
const RPC: &str = "/api/actions/runner.v1.RunnerService";

/// A Gitea wire of a release line, with a client.
struct Site {
    wire: Wire,
    http: reqwest::Client,
}

impl Site {
    fn new(line: Line) -> Self {
        let forge = Forge::new(Config { line, ..Config::default() });
        let token = |token: &str, right| ApiToken { token: token.to_owned(), right };
        let tokens = vec![
            token("api-token", Right::Admin),
            token("owner", Right::Owner),
            token("reader", Right::Read),
        ];
        let options = WireOptions { tokens, ..WireOptions::default() };
        let wire =
            Wire::start(Arc::new(Mutex::new(forge)), Arc::new(Timestamp::now), options).unwrap();
        let http =
            reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().unwrap();
        Self { wire, http }
    }

    /// Sends a GET to the API with the admin's token.
    async fn get(&self, path: &str) -> (u16, Value) {
        self.get_as("api-token", path).await
    }

    async fn get_as(&self, token: &str, path: &str) -> (u16, Value) {
        let url = format!("{}/api/v1{path}", self.wire.url());
        let request = self.http.get(url).header("Authorization", format!("token {token}"));
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.wire.url());
        let request = self.http.post(url).header("Authorization", "token api-token").json(body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
    }

    /// Registers an ephemeral runner as the controller does: a token from the API, then a JSON
    /// call.
    async fn register(&self, labels: &[&str]) -> Value {
        let path = "/api/v1/admin/actions/runners/registration-token";
        let (status, token) = self.post(path, &json!({})).await;
        assert_eq!(status, 200);
        let body = json!({
            "name": "tq-vm", "token": token["token"], "labels": labels, "ephemeral": true,
        });
        let (status, answer) = self.post(&format!("{RPC}/Register"), &body).await;
        assert_eq!(status, 200, "{answer}");
        answer["runner"].clone()
    }

    fn push(&self, jobs: &[JobSpec]) -> Vec<i64> {
        self.wire.forge().push(Timestamp::now(), REPO, jobs)
    }
}

/// A job that runs a script on `linux`.
fn script(text: &str) -> JobSpec {
    JobSpec { script: Some(text.to_owned()), ..JobSpec::new("build", &["linux"]) }
}

/// A job of this duration on `linux`.
fn work(ms: i64) -> JobSpec {
    JobSpec { work: SignedDuration::from_millis(ms), ..JobSpec::new("build", &["linux"]) }
}

/// Polls until `probe` returns a value, for 20 s at most.
async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = probe() {
            return seen;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "timed out waiting for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
