//! Releases side by side: what each replica reads and writes, and how a later release stores a
//! record.

use std::collections::BTreeMap;

use serde_json::Value;
use tinqs_ci_reconciler::model::{RecordFormats, Run, decode, encode};

use crate::executor::Group;

/// The field that the second format adds to the status and to an attempt. No release here knows it.
pub(crate) const ADDED: &str = "added_by_format_2";

/// The formats of the live replicas, by incarnation. Empty where all are of this release.
#[derive(Clone, Debug, Default)]
pub struct Releases(BTreeMap<Group, RecordFormats>);

impl Releases {
    /// Notes the start of a replica.
    pub(crate) fn starts(&mut self, replica: Group, formats: RecordFormats) {
        self.0.insert(replica, formats);
    }

    /// Notes the end of a replica.
    pub(crate) fn ends(&mut self, replica: Group) {
        self.0.remove(&replica);
    }

    /// Returns the formats of a replica.
    pub(crate) fn of(&self, replica: Option<Group>) -> RecordFormats {
        let known = replica.and_then(|replica| self.0.get(&replica));
        known.copied().unwrap_or(RecordFormats::OWN)
    }

    /// Returns the newest format that every live replica reads; without releases any.
    pub(crate) fn read_by_all(&self) -> u32 {
        self.0.values().map(|formats| formats.reads).min().unwrap_or(u32::MAX)
    }
}

/// Returns the record as its writer stores it: through its stored form, if a later release has
/// written it or writes it now.
pub(crate) fn stored(run: &Run) -> Run {
    let is_first = run.format == RecordFormats::FIRST;
    if is_first && run.unknown.is_empty() {
        return run.clone();
    }
    let mut body = value_of(run);
    if !is_first {
        let status = &mut body["status"];
        status[ADDED] = true.into();
        if status["attempt"].is_object() {
            status["attempt"][ADDED] = true.into();
        }
    }
    // What cannot be read back is found by the law about writes.
    decode(body.to_string().as_bytes()).unwrap_or_else(|_| run.clone())
}

/// Returns the stored form of a record.
pub(crate) fn value_of(run: &Run) -> Value {
    serde_json::from_slice(&encode(run)).unwrap_or_default()
}
