//! The runner's client of the runner protocol.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::config::Identity;

/// A failed call.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The row is gone or the credentials are wrong.
    Unregistered,
    /// Any other failure, which may be temporary.
    Other(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unregistered => f.write_str("unauthenticated: unregistered runner"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

/// The response to a fetch.
pub(crate) struct Fetched {
    pub(crate) task: Option<Task>,
    pub(crate) tasks_version: i64,
}

/// An assigned task.
pub(crate) struct Task {
    pub(crate) id: String,
    /// Shell script of the steps.
    pub(crate) script: String,
    /// Used instead of the script: duration and result.
    pub(crate) work: Option<(Duration, String)>,
}

/// Calls the server as one runner.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    uuid: String,
    token: String,
}

impl Client {
    pub(crate) fn new(identity: &Identity) -> Result<Self, String> {
        // No connection is encrypted, but the HTTP client requires a TLS provider.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build();
        Ok(Self {
            http: http.map_err(|e| format!("cannot create an HTTP client: {e}"))?,
            base: format!("{}/api/actions", identity.address.trim_end_matches('/')),
            uuid: identity.uuid.clone(),
            token: identity.token.clone(),
        })
    }

    async fn call(&self, method: &str, body: &Value) -> Result<Value, CallError> {
        let other = |e: reqwest::Error| CallError::Other(format!("{method}: {e}"));
        let url = format!("{}/runner.v1.RunnerService/{method}", self.base);
        let response = self
            .http
            .post(url)
            .header("x-runner-uuid", &self.uuid)
            .header("x-runner-token", &self.token)
            .json(body)
            .send()
            .await
            .map_err(other)?;
        let status = response.status();
        if status.as_u16() == 401 {
            return Err(CallError::Unregistered);
        }
        if !status.is_success() {
            return Err(CallError::Other(format!("{method}: {status}")));
        }
        response.json().await.map_err(other)
    }

    pub(crate) async fn declare(&self, labels: &[&str]) -> Result<(), CallError> {
        self.call("Declare", &json!({"version": "v1.0.8", "labels": labels})).await.map(drop)
    }

    pub(crate) async fn fetch(&self, tasks_version: i64) -> Result<Fetched, CallError> {
        let body = json!({"tasksVersion": tasks_version.to_string()});
        let answer = self.call("FetchTask", &body).await?;
        let version = answer["tasksVersion"].as_str().and_then(|v| v.parse().ok());
        let task = match &answer["task"] {
            Value::Null => None,
            task => Some(Task::read(task).ok_or_else(|| {
                CallError::Other("FetchTask: cannot read the task's workflow".to_owned())
            })?),
        };
        Ok(Fetched { task, tasks_version: version.unwrap_or_default() })
    }

    /// Reports on a task. Returns whether the server wants it stopped.
    pub(crate) async fn update(&self, task: &str, result: &str) -> Result<bool, CallError> {
        let state = json!({"id": task, "result": result, "steps": []});
        let answer = self.call("UpdateTask", &json!({"state": state, "outputs": {}})).await?;
        Ok(answer["state"]["result"] == "RESULT_CANCELLED")
    }

    /// Sends log lines. Returns how many lines the server has.
    pub(crate) async fn log(
        &self,
        task: &str,
        from: usize,
        lines: &[String],
        no_more: bool,
    ) -> Result<usize, CallError> {
        let rows: Vec<Value> = lines.iter().map(|line| json!({"content": line})).collect();
        let body = json!({
            "taskId": task, "index": from.to_string(), "rows": rows, "noMore": no_more,
        });
        let answer = self.call("UpdateLog", &body).await?;
        Ok(answer["ackIndex"].as_str().and_then(|v| v.parse().ok()).unwrap_or(from))
    }
}

impl Task {
    /// Parses a task of the test server, whose workflow is JSON.
    fn read(task: &Value) -> Option<Self> {
        let payload = STANDARD.decode(task["workflowPayload"].as_str()?).ok()?;
        let workflow: Value = serde_json::from_slice(&payload).ok()?;
        let job = workflow["jobs"].as_object()?.values().next()?;
        let steps = job["steps"].as_array()?.iter().filter_map(|s| s["run"].as_str());
        let work = &task["context"]["test_work"];
        let work = work["ms"].as_u64().zip(work["result"].as_str());
        Some(Self {
            id: task["id"].as_str()?.to_owned(),
            script: steps.collect::<Vec<_>>().join("\n"),
            work: work.map(|(ms, result)| (Duration::from_millis(ms), result.to_owned())),
        })
    }
}
