//! The answer of `/v1/events`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Events, oldest first. Replicas over one store tell the same events of runs; IDs, and the events
/// of services, classes and labels, are those of this process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventList {
    /// The events.
    pub items: Vec<Event>,
    /// The ID of the newest event of this process: pass it as `since`, or as `Last-Event-ID` of a
    /// stream, to get what comes after it.
    pub last_id: String,
    /// Whether `since` was an ID that this process does not know any more: `items` are then all that
    /// it has, and others may be missing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The ID, `replica:sequence`; `null` of what only the timeline of the run tells.
    pub id: Option<String>,
    /// Whether it is normal operation.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// The reason: `Launched`, `MachineLost`, `AtLimit`, ….
    pub reason: String,
    /// The event.
    pub message: String,
    /// The object of the event.
    pub object: EventObject,
    /// `owner/name`; empty if it is not about a run, or not known.
    pub repo: String,
    /// The name of the job; empty if it is not about a run, or not known.
    pub job: String,
    /// The URL of the job's page at the forge; empty if it is not about a run, or not known.
    pub url: String,
    /// The number of occurrences.
    pub count: u64,
    /// The time of the first occurrence.
    #[schemars(with = "String")]
    pub first_at: Timestamp,
    /// The time of the last occurrence.
    #[schemars(with = "String")]
    pub last_at: Timestamp,
    /// The caller: the name of the token, or `uid` and the number; `person` if that is not known;
    /// `null` if nobody did.
    pub by: Option<String>,
}

/// Whether an event is normal operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EventKind {
    /// Normal operation.
    Normal,
    /// Not well.
    Warning,
}

/// The object of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventObject {
    /// `run`, `class`, `service` or `labels`.
    pub kind: String,
    /// Its name: `job-7`, `linux`, `forge`, or labels with commas between them.
    pub name: String,
}
