//! Recognizes the events of an invocation by their shape. Pure.

use lambda_http::request::LambdaRequest;
use serde::Deserialize;
use serde_json::Value;
use tinqs_ci_reconciler::model::MachineId;

use tinqs_ci_aws::events::{self, Message};

/// The event of an invocation.
#[derive(Debug)]
pub(super) enum Event {
    /// API Gateway (REST: version 1, HTTP: version 2) or a Function URL.
    Http(Box<LambdaRequest>),
    /// An SQS batch.
    Batch(Vec<Record>),
    /// An `EventBridge` event about these EC2 instances.
    Instances(Vec<MachineId>),
    /// The schedule or a manual call: poll, sweep, reconcile.
    Tick,
    /// An irrelevant `EventBridge` event.
    Ignored,
}

/// One message of a batch.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) message_id: String,
    #[serde(default)]
    pub(super) body: String,
    #[serde(default)]
    event_source: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    records: Vec<Record>,
}

/// An invocation event of unknown shape. The message does not contain its values.
#[derive(Debug, thiserror::Error)]
#[error(
    "unknown invocation event ({0}): expected a request from API Gateway or a Function URL, an SQS \
     batch, an EventBridge event, `{{}}` or `{{\"action\":\"cleanup\"}}`"
)]
pub(super) struct Unknown(String);

impl Event {
    pub(super) fn read(mut event: Value) -> Result<Self, Unknown> {
        let Some(fields) = event.as_object() else {
            return if event.is_null() {
                Ok(Self::Tick)
            } else {
                Err(Unknown("not an object".to_owned()))
            };
        };
        let has = |name: &str| fields.contains_key(name);
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        if has("requestContext") || has("httpMethod") {
            without_stage(&mut event);
            return serde_json::from_value(event)
                .map(|request| Self::Http(Box::new(request)))
                .map_err(|error| Unknown(format!("a request, but {error}")));
        }
        if has("Records") {
            let batch: Batch = serde_json::from_value(event)
                .map_err(|error| Unknown(format!("records, but {error}")))?;
            return match batch.records.iter().find(|record| record.event_source != "aws:sqs") {
                Some(other) => Err(Unknown(format!("records of {:?}", other.event_source))),
                None => Ok(Self::Batch(batch.records)),
            };
        }
        match (text("detail-type"), text("action")) {
            (Some("Scheduled Event"), _) | (None, Some("cleanup")) => Ok(Self::Tick),
            (None, None) if fields.is_empty() => Ok(Self::Tick),
            (Some(_), _) => Ok(match events::read(&event.to_string()) {
                Message::Instances(ids) => Self::Instances(ids),
                Message::Run(_) | Message::Ignored | Message::Unreadable => Self::Ignored,
            }),
            (None, Some(action)) => Err(Unknown(format!("action {action:?}"))),
            (None, None) => {
                let names: Vec<&str> = fields.keys().map(String::as_str).take(8).collect();
                Err(Unknown(format!("fields {}", names.join(", "))))
            }
        }
    }
}

/// Removes the stage that API Gateway puts in front of the path.
fn without_stage(event: &mut Value) {
    let stage = event["requestContext"].get_mut("stage").map(Value::take);
    let Some(Value::String(stage)) = stage else { return };
    let prefix = format!("/{stage}");
    let Some(path) = event.get_mut("rawPath") else { return };
    let rest = path.as_str().and_then(|path| path.strip_prefix(&prefix));
    if let Some(rest) = rest.filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        *path = Value::String(if rest.is_empty() { "/".to_owned() } else { rest.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(event: Value) -> String {
        match Event::read(event) {
            Ok(Event::Http(request)) => {
                let request: lambda_http::Request = (*request).into();
                format!("{} {}", request.method(), request.uri().path())
            }
            Ok(Event::Batch(records)) => format!("batch of {}", records.len()),
            Ok(Event::Instances(ids)) => format!("instances {}", ids.len()),
            Ok(Event::Tick) => "tick".to_owned(),
            Ok(Event::Ignored) => "ignored".to_owned(),
            Err(error) => format!("error: {error}"),
        }
    }

    fn version_2(path: &str, stage: &str) -> Value {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
            "headers": {"content-type": "application/json", "host": "x.example.com"},
            "requestContext": {
                "accountId": "anonymous", "apiId": "abc", "domainName": "x.example.com",
                "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x"},
                "requestId": "id", "routeKey": "$default", "stage": stage,
                "time": "12/Mar/2020:19:03:58 +0000", "timeEpoch": 1_583_348_638_390_i64,
            },
            "body": "{}", "isBase64Encoded": false,
        })
    }

    fn version_1(path: &str) -> Value {
        json!({
            "resource": "/{proxy+}", "path": path, "httpMethod": "POST",
            "headers": {"Content-Type": "application/json", "Host": "x.example.com"},
            "multiValueHeaders": {"Content-Type": ["application/json"], "Host": ["x.example.com"]},
            "queryStringParameters": null, "multiValueQueryStringParameters": null,
            "pathParameters": null, "stageVariables": null,
            "requestContext": {
                "accountId": "1", "resourceId": "r", "stage": "prod", "requestId": "id", "apiId": "abc",
                "identity": {"sourceIp": "192.0.2.1"}, "resourcePath": "/{proxy+}", "httpMethod": "POST",
                "path": format!("/prod{path}"), "protocol": "HTTP/1.1",
            },
            "body": "{}", "isBase64Encoded": false,
        })
    }

    #[test]
    fn requests_of_every_kind_lose_their_stage() {
        assert_eq!(kind(version_2("/webhook", "$default")), "POST /webhook");
        assert_eq!(kind(version_2("/prod/webhook", "prod")), "POST /webhook");
        assert_eq!(kind(version_2("/prod", "prod")), "POST /");
        assert_eq!(kind(version_2("/production", "prod")), "POST /production");
        assert_eq!(kind(version_1("/webhook")), "POST /webhook");
        assert_eq!(kind(version_1("/")), "POST /");
    }

    #[test]
    fn batches_instance_events_and_ticks_are_recognized() {
        let record =
            |source: &str| json!({"messageId": "1", "body": "job-7", "eventSource": source});
        let event = |kind: &str, detail: Value| json!({"source": "aws.ec2", "detail-type": kind, "detail": detail});
        let cases = [
            (json!({"Records": [record("aws:sqs"), record("aws:sqs")]}), "batch of 2"),
            (json!({}), "tick"),
            (Value::Null, "tick"),
            (json!({"action": "cleanup"}), "tick"),
            (
                json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}),
                "tick",
            ),
            (
                event(
                    "EC2 Instance State-change Notification",
                    json!({"instance-id": "i-0123456789abcdef0", "state": "terminated"}),
                ),
                "instances 1",
            ),
            (
                event(
                    "EC2 Instance Rebalance Recommendation",
                    json!({"instance-id": "i-0123456789abcdef0"}),
                ),
                "ignored",
            ),
        ];
        for (event, expected) in cases {
            assert_eq!(kind(event.clone()), expected, "{event}");
        }
        let errors = [
            (json!({"Records": [record("aws:s3")]}), "records of \"aws:s3\""),
            (json!({"action": "reboot"}), "action \"reboot\""),
            (json!({"a": 1, "b": 2}), "fields a, b"),
            (json!([1]), "not an object"),
        ];
        for (event, expected) in errors {
            let said = kind(event);
            assert!(said.contains(expected) && said.contains("expected"), "{said}");
        }
    }
}
