//! Signatures and labels, whose rules are the same in all Gitea versions.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{Secret, labels_match};

use tinqs_ci_gitea::webhook;

/// A delivery.
#[derive(Deserialize)]
pub(super) struct Signature {
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    body: Option<String>,
    verify_with_secret: String,
}

/// Checks whether the delivery is signed with the secret. Unlike the server, this also accepts the
/// forge's `GET` deliveries, whose payload is in the query.
pub(super) fn signature(case: &Signature) -> Result<Value, String> {
    let Signature { method, headers, query, body, verify_with_secret } = case;
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().flatten() {
        let header = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .zip(HeaderValue::from_bytes(value.as_bytes()).ok());
        let (key, value) =
            header.ok_or_else(|| format!("the header {name:?} is not valid in HTTP"))?;
        map.append(key, value);
    }
    let secret = Secret::new(verify_with_secret.as_str());
    let accept = match method.as_deref().unwrap_or("POST") {
        "POST" => {
            let content_type = map.get("content-type").and_then(|value| value.to_str().ok());
            let body = body.as_deref().unwrap_or_default().as_bytes();
            webhook::verify(&secret, &map, content_type, body).is_ok()
        }
        "GET" => webhook::form_payload(query.as_deref().unwrap_or_default().as_bytes())
            .is_some_and(|text| webhook::check_signature(&secret, &map, &text).is_ok()),
        _ => false,
    };
    Ok(json!({ "accept": accept }))
}

/// The labels of a runner and a job.
#[derive(Deserialize)]
pub(super) struct Labels {
    #[serde(deserialize_with = "list_or_null")]
    runner: Vec<String>,
    #[serde(deserialize_with = "list_or_null")]
    runs_on: Vec<String>,
}

/// Reads `null` as an empty list, as Go writes it. A missing list is an error.
fn list_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Checks whether a runner may take a job.
pub(super) fn labels(case: &Labels) -> Value {
    let Labels { runner, runs_on } = case;
    json!({ "match": labels_match(runner, runs_on) })
}
