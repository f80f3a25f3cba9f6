//! A load generator: signed webhooks on a schedule or as fast as possible.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use tinqs_ci_simulator::gitea_wire::http_client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::figure::Result;

/// The secret that signs webhooks.
pub(crate) const SECRET: &str = "bench-webhook-secret";
/// Real webhook payloads of the forge, vendored with the corpus.
const PAYLOADS: &str = include_str!("../../tests/corpus/payloads.json");

/// A prepared delivery, so that sending costs little.
pub(crate) struct Shot {
    pub(crate) job: i64,
    body: String,
    signature: String,
}

/// The results of the deliveries.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// Jobs whose delivery got status 202.
    pub(crate) accepted: Vec<i64>,
    /// Milliseconds from the scheduled time to the response, of accepted deliveries.
    pub(crate) latencies: Vec<f64>,
    /// Deliveries with another status or without a response.
    pub(crate) refused: usize,
}

/// Returns deliveries of this action, each for another job.
pub(crate) fn shots(action: &str, first_job: i64, count: usize) -> Result<Vec<Shot>> {
    let corpus: Value = serde_json::from_str(PAYLOADS)?;
    let samples = corpus["samples"].as_array().ok_or("the corpus holds no payloads")?;
    let mut payload = samples
        .iter()
        .map(|sample| &sample["payload"])
        .find(|payload| payload["workflow_job"].is_object() && payload["action"] == action)
        .ok_or("the corpus holds no such payload")?
        .clone();
    (first_job..)
        .take(count)
        .map(|job| {
            payload["workflow_job"]["id"] = json!(job);
            shot(job, &payload)
        })
        .collect()
}

/// Returns a delivery of this payload, encoded and signed like the forge's.
pub(crate) fn shot(job: i64, payload: &Value) -> Result<Shot> {
    let body = serde_json::to_string_pretty(payload)?;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes())?;
    mac.update(body.as_bytes());
    Ok(Shot { job, body, signature: hex::encode(mac.finalize().into_bytes()) })
}

impl Shot {
    /// Returns the headers by name.
    pub(crate) fn headers(&self) -> BTreeMap<&'static str, String> {
        let event = || "workflow_job".to_owned();
        BTreeMap::from([
            ("Content-Type", "application/json".to_owned()),
            ("X-Gitea-Event", event()),
            ("X-Gitea-Event-Type", event()),
            ("X-Gitea-Delivery", format!("delivery-{}", self.job)),
            ("X-Gitea-Signature", self.signature.clone()),
        ])
    }

    /// Returns the body.
    pub(crate) fn body(&self) -> &[u8] {
        self.body.as_bytes()
    }
}

/// Sends one delivery. Returns whether the status is 202.
pub(crate) async fn send(client: &reqwest::Client, url: &str, shot: Shot) -> bool {
    let request = shot
        .headers()
        .into_iter()
        .fold(client.post(url), |request, (name, value)| request.header(name, value));
    let request = request.body(shot.body);
    request.send().await.is_ok_and(|answer| answer.status() == reqwest::StatusCode::ACCEPTED)
}

/// Sends at a fixed rate: a slow response delays no later delivery, and its latency counts from the
/// scheduled time.
pub(crate) async fn open_loop(url: &str, shots: Vec<Shot>, per_second: u32) -> Result<Sent> {
    let client = client()?;
    let (begin, gap) = (Instant::now() + Duration::from_millis(20), Duration::from_secs(1));
    let gap = gap / per_second;
    let mut under_way = JoinSet::new();
    for (at, shot) in (0_u32..).zip(shots) {
        let due = begin + gap * at;
        sleep_until(due).await;
        let (client, url) = (client.clone(), url.to_owned());
        under_way.spawn(async move {
            let job = shot.job;
            let taken = send(&client, &url, shot).await;
            taken.then(|| (job, due.elapsed()))
        });
    }
    Ok(gather(under_way).await)
}

/// Sends with this many concurrent deliveries, as fast as the server responds.
pub(crate) async fn closed_loop(url: &str, shots: Vec<Shot>, at_once: usize) -> Result<Sent> {
    let client = client()?;
    let places = Arc::new(Semaphore::new(at_once));
    let mut under_way = JoinSet::new();
    for shot in shots {
        let place = places.clone().acquire_owned().await?;
        let (client, url) = (client.clone(), url.to_owned());
        under_way.spawn(async move {
            let (job, begun) = (shot.job, Instant::now());
            let taken = send(&client, &url, shot).await;
            drop(place);
            taken.then(|| (job, begun.elapsed()))
        });
    }
    Ok(gather(under_way).await)
}

pub(crate) fn client() -> Result<reqwest::Client> {
    Ok(http_client().no_proxy().timeout(Duration::from_secs(20)).build()?)
}

async fn gather(mut under_way: JoinSet<Option<(i64, Duration)>>) -> Sent {
    let mut sent = Sent::default();
    while let Some(ended) = under_way.join_next().await {
        match ended.ok().flatten() {
            Some((job, latency)) => {
                sent.accepted.push(job);
                sent.latencies.push(latency.as_secs_f64() * 1000.0);
            }
            None => sent.refused += 1,
        }
    }
    sent
}
