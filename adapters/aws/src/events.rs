//! Parses messages of the queue: a run's name, or an event of EC2 about some instances. Pure.
//!
//! An event only means "reconcile the run of this machine": its state and its time are not read.
//! Every instance of the account sends them, so most are foreign.

use async_trait::async_trait;
use serde::Deserialize;
use tinqs_ci_reconciler::model::{MachineId, RunName};
use tinqs_ci_reconciler::ports::PortError;

/// Maps instances to runs.
#[async_trait]
pub trait Owners: Send + Sync {
    /// Returns the run of each instance; `None`: not a machine of ours.
    async fn runs_of(&self, ids: &[MachineId]) -> Vec<Result<Option<RunName>, PortError>>;
}

/// Content of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Reconcile this run.
    Run(RunName),
    /// Reconcile the runs of these instances, if they are ours.
    Instances(Vec<MachineId>),
    /// An event that does not concern us.
    Ignored,
    /// Neither a name nor an event.
    Unreadable,
}

const STATE_CHANGE: &str = "EC2 Instance State-change Notification";
const INTERRUPTION: &str = "EC2 Spot Instance Interruption Warning";
const HEALTH: &str = "AWS Health Event";

/// An event of `EventBridge`; only these fields are read, and all may be missing.
#[derive(Deserialize)]
struct Event {
    #[serde(rename = "detail-type")]
    kind: String,
    #[serde(default)]
    detail: Detail,
}

#[derive(Default, Deserialize)]
struct Detail {
    #[serde(rename = "instance-id")]
    instance: Option<String>,
    #[serde(default, rename = "affectedEntities")]
    affected: Vec<Entity>,
}

#[derive(Deserialize)]
struct Entity {
    #[serde(rename = "entityValue")]
    value: Option<String>,
}

/// Parses a message's body.
pub fn read(body: &str) -> Message {
    let body = body.trim();
    if !body.starts_with('{') {
        return body.parse().map_or(Message::Unreadable, Message::Run);
    }
    let Ok(Event { kind, detail }) = serde_json::from_str::<Event>(body) else {
        return Message::Unreadable;
    };
    let instances: Vec<String> = match kind.as_str() {
        STATE_CHANGE | INTERRUPTION => {
            let Some(instance) = detail.instance else { return Message::Unreadable };
            vec![instance]
        }
        HEALTH => detail.affected.into_iter().filter_map(|entity| entity.value).collect(),
        // A raised risk (rebalance recommendation) is no reason to act.
        _ => return Message::Ignored,
    };
    let mut ids: Vec<MachineId> = instances.into_iter().map(MachineId).filter(is_id).collect();
    ids.sort();
    ids.dedup();
    if ids.is_empty() { Message::Ignored } else { Message::Instances(ids) }
}

/// Whether this has the form of an EC2 instance ID; anything else is not looked up.
pub(crate) fn is_id(id: &MachineId) -> bool {
    let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
    let digits = id.0.strip_prefix("i-");
    digits.is_some_and(|digits| [8, 17].contains(&digits.len()) && digits.bytes().all(hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: &str) -> Message {
        Message::Instances(vec![MachineId(id.to_owned())])
    }

    /// Bodies from the documentation and from recordings.
    #[test]
    fn every_known_body_is_parsed() {
        let rows: &[(&str, Message)] = &[
            ("job-42", Message::Run(RunName::job(42))),
            (" job-42\n", Message::Run(RunName::job(42))),
            ("push-0123456789abcdef", Message::Run("push-0123456789abcdef".parse().unwrap())),
            // AWS's own example of a state change has no `version`.
            (
                r#"{"id":"7bf73129-1428-4cd3-a780-95db273d1602",
                    "detail-type":"EC2 Instance State-change Notification","source":"aws.ec2",
                    "account":"123456789012","time":"2021-11-11T21:29:54Z","region":"us-east-1",
                    "resources":["arn:aws:ec2:us-east-1:123456789012:instance/i-1234567890abcdef0"],
                    "detail":{"instance-id":"i-1234567890abcdef0","state":"pending"}}"#,
                one("i-1234567890abcdef0"),
            ),
            (
                r#"{"version":"0","detail-type":"EC2 Instance State-change Notification",
                    "source":"aws.ec2","detail":{"instance-id":"i-1234567890abcdef0",
                    "state":"something new","more":[1]}}"#,
                one("i-1234567890abcdef0"),
            ),
            // A zone in the place of the region, and no account: neither is read.
            (
                r#"{"version":"0","id":"1e5527d7-bb36-4607-3370-4164db56a40e",
                    "detail-type":"EC2 Spot Instance Interruption Warning","source":"aws.ec2",
                    "account":"123456789012","time":"2026-11-23T16:00:00Z","region":"us-east-1",
                    "resources":["arn:aws:ec2:us-east-1b:instance/i-0b662ef9931388ba0"],
                    "detail":{"instance-id":"i-0b662ef9931388ba0","instance-action":"terminate"}}"#,
                one("i-0b662ef9931388ba0"),
            ),
            (
                r#"{"detail-type":"EC2 Instance Rebalance Recommendation",
                    "detail":{"instance-id":"i-0b662ef9931388ba0"}}"#,
                Message::Ignored,
            ),
            (
                r#"{"detail-type":"AWS Health Event","detail":{"affectedEntities":[
                    {"entityValue":"i-0b662ef9931388ba0"},{"entityValue":"vol-1"},
                    {"entityValue":"i-0b662ef9931388ba0"},{}]}}"#,
                one("i-0b662ef9931388ba0"),
            ),
            (r#"{"detail-type":"AWS Health Event","detail":{}}"#, Message::Ignored),
            (r#"{"detail-type":"Scheduled Event","detail":{}}"#, Message::Ignored),
            // Not an instance ID.
            (
                r#"{"detail-type":"EC2 Instance State-change Notification",
                    "detail":{"instance-id":"../../etc"}}"#,
                Message::Ignored,
            ),
            (
                r#"{"detail-type":"EC2 Instance State-change Notification","detail":{}}"#,
                Message::Unreadable,
            ),
            ("", Message::Unreadable),
            ("job-", Message::Unreadable),
            ("job-1; rm -rf", Message::Unreadable),
            ("i-1234567890abcdef0", Message::Unreadable),
            ("{", Message::Unreadable),
            ("{}", Message::Unreadable),
            ("[\"job-1\"]", Message::Unreadable),
            (r#"{"detail-type":7}"#, Message::Unreadable),
        ];
        for (body, says) in rows {
            assert_eq!(read(body), *says, "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_panics(body in ".{0,200}") {
            let _ = read(&body);
            let _ = read(&format!("{{{body}"));
        }
    }
}
