//! A delivery as it is stored in the inbox.

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};
use tinqs_ci_gitea::trigger_event::TriggerEvent;
use tinqs_ci_gitea::webhook::Event;
use tinqs_ci_reconciler::ports::{ErrorKind, InboxItem, PortError};

/// A delivery that waits in the inbox.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Item {
    pub(super) received_at: Timestamp,
    pub(super) content: Content,
}

/// The content of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// A change from which workflows may start.
    Trigger(Box<TriggerEvent>),
    /// Changes of jobs, from a replica that only accepts webhooks.
    Jobs(Vec<Event>),
}

/// Its JSON, in which exactly one of the two is set.
#[derive(Deserialize)]
struct Stored {
    received_at: Timestamp,
    // The name in items stored by earlier versions.
    #[serde(alias = "occasion", default)]
    trigger_event: Option<Box<TriggerEvent>>,
    #[serde(default)]
    jobs: Option<Vec<Event>>,
}

/// The same to write. The events are JSON already, because their digest is that of their JSON.
#[derive(Serialize)]
struct ToStore<'a> {
    received_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger_event: Option<&'a TriggerEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jobs: Option<&'a RawValue>,
}

impl Item {
    /// Returns whether it tells changes of jobs.
    pub(super) fn tells_jobs(&self) -> bool {
        matches!(self.content, Content::Jobs(_))
    }

    /// Parses a stored item.
    pub(super) fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        let Stored { received_at, trigger_event, jobs } = serde_json::from_slice(body)?;
        let content = match (trigger_event, jobs) {
            (Some(trigger_event), _) => Content::Trigger(trigger_event),
            (None, Some(events)) => Content::Jobs(events),
            (None, None) => return Err(serde_json::Error::missing_field("trigger_event")),
        };
        Ok(Self { received_at, content })
    }

    /// Returns the item for the store. A repeated delivery of a change has the same digest.
    pub(super) fn stored(&self) -> Result<InboxItem, PortError> {
        let received_at = self.received_at;
        let (digest, body) = match &self.content {
            Content::Trigger(trigger_event) => {
                let stored =
                    ToStore { received_at, trigger_event: Some(trigger_event), jobs: None };
                (trigger_event.digest(), serde_json::to_vec(&stored))
            }
            Content::Jobs(events) => {
                let jobs = to_raw_value(events).map_err(|error| unwritable(&error))?;
                let mut digest = hex::encode(Sha256::digest(jobs.get()));
                digest.truncate(16);
                let stored = ToStore { received_at, trigger_event: None, jobs: Some(&jobs) };
                (digest, serde_json::to_vec(&stored))
            }
        };
        let body = body.map_err(|error| unwritable(&error))?;
        Ok(InboxItem::new(received_at, &digest, body))
    }
}

fn unwritable(error: &serde_json::Error) -> PortError {
    PortError::new("store", "take_in", ErrorKind::Invalid, error.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tinqs_ci_reconciler::model::{About, JobRef};
    use tinqs_ci_reconciler::ports::WaitingJob;

    use super::*;

    fn received_at() -> Timestamp {
        "2026-11-01T10:00:00Z".parse().expect("a time")
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let job = JobRef { repo: "a/b".to_owned(), repo_id: 7, job_id: 9 };
        let runs_on = vec!["linux".to_owned()];
        let about = About { job: "build".to_owned(), ..About::default() };
        let queued = WaitingJob { job, runs_on, about, created_at: Some(received_at()) };
        let jobs = Content::Jobs(vec![
            Event::Queued(queued),
            Event::Job { job_id: 9, runner: Some("tq-job-9-0a1b2c3d-1".to_owned()) },
            Event::Job { job_id: 9, runner: None },
            Event::Blocked { job_id: 9 },
            Event::PollSoon,
        ]);
        let payload = json!({
            "ref": "refs/heads/main", "before": "1".repeat(40), "after": "2".repeat(40),
            "repository": {"id": 7, "full_name": "a/b"},
        });
        let trigger_event = TriggerEvent::of("push", payload.to_string().as_bytes());
        let trigger_event = trigger_event.expect("well-formed").expect("a push");
        for content in [jobs, Content::Trigger(Box::new(trigger_event))] {
            let item = Item { received_at: received_at(), content };
            let stored = item.stored().expect("written");
            assert_eq!(Item::read(&stored.body).expect("read"), item);
            assert_eq!(stored, item.stored().expect("written"), "the same each time");
        }
    }

    #[test]
    fn an_item_that_tells_nothing_is_unreadable() {
        let at = received_at();
        for body in [json!({"received_at": at}), json!({"received_at": at, "cause": {}}), json!(7)]
        {
            assert!(Item::read(body.to_string().as_bytes()).is_err(), "{body}");
        }
    }
}
