//! The last known state of each record in this process, to tell what changed in it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Milestone, Phase, Reason, Run, RunName, Uid};
use tinqs_ci_reconciler::ports::OpenRun;

use super::ring::Subject;
use crate::words::events::{EventData, is_milestone};

/// The number of finished runs that are known.
const FINISHED: usize = 4_096;
/// The number of runs that are known. Beyond it all are forgotten.
const MOST: usize = 200_000;

/// The records, as this process saw them last.
pub(super) struct SeenRecords {
    /// Milestones and conditions before this time are not told of a run that is seen first.
    began: Timestamp,
    runs: HashMap<RunName, Last>,
    /// Finished runs, oldest first.
    finished: VecDeque<RunName>,
}

/// The last known content of a record.
struct Last {
    sketch: Sketch,
    /// `None`: the run was only listed.
    record: Option<Record>,
}

/// The summary of a run in a listing.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sketch {
    phase: Phase,
    attempt: Option<u32>,
    at_limit: bool,
    deleted: bool,
    /// In milliseconds: a person who retries a run that waits changes nothing else of its listing.
    waiting_since: i64,
}

struct Record {
    uid: Uid,
    version: u64,
    /// The time and the hash of the last milestone.
    milestone: Option<(Timestamp, u64)>,
    /// The reasons of its conditions; since when, of those that a person must attend to.
    conditions: Vec<(Reason, Timestamp)>,
}

/// The changes of a record.
pub(super) struct Sight {
    pub(super) subject: Arc<Subject>,
    /// In order.
    pub(super) news: Vec<(Timestamp, EventData)>,
}

impl SeenRecords {
    pub(super) fn new(began: Timestamp) -> Self {
        // Times of milestones are cut to milliseconds.
        let began = Timestamp::from_millisecond(began.as_millisecond()).unwrap_or(began);
        Self { began, runs: HashMap::new(), finished: VecDeque::new() }
    }

    /// Notes a record in this version, and returns what is new in it.
    pub(super) fn see(&mut self, run: &Run, version: u64, now: Timestamp) -> Sight {
        let last = self.runs.get(&run.name);
        let was_known = last.is_some();
        let before = last.and_then(|last| last.record.as_ref()).filter(|r| r.uid == run.uid);
        let mut news = Vec::new();
        if before.is_some_and(|before| before.version >= version) {
            return Sight { subject: Subject::nameless(&run.name), news };
        }
        // A finished run that was never known open is told by its record only.
        if before.is_some() || run.is_open() || was_known {
            let milestones = self.new_milestones(before, &run.status.timeline);
            news.extend(milestones.map(|m| (m.at, EventData::Milestone(m.what.clone()))));
            let since = if before.is_some() { Timestamp::MIN } else { self.began };
            conditions(before, run, (since, now), &mut news);
        }
        let is_finished_now = !run.is_open() && before.is_none_or(|_| self.is_open(&run.name));
        self.note(run, version);
        if is_finished_now {
            self.keep_few_finished(&run.name);
        }
        let subject = if news.is_empty() { Subject::nameless(&run.name) } else { Subject::of(run) };
        Sight { subject, news }
    }

    fn is_open(&self, name: &RunName) -> bool {
        self.runs.get(name).is_some_and(|last| last.sketch.phase != Phase::Finished)
    }

    fn note(&mut self, run: &Run, version: u64) {
        if self.runs.len() >= MOST && !self.runs.contains_key(&run.name) {
            self.runs.clear();
            self.finished.clear();
            self.began = run.status.timeline.last().map_or(self.began, |last| last.at);
        }
        let conditions = run.status.conditions.iter().map(|c| (c.reason, c.since)).collect();
        let record = Record {
            uid: run.uid,
            version,
            milestone: run.status.timeline.last().map(|last| (last.at, hash(last))),
            conditions,
        };
        let last = Last { sketch: Sketch::of(run), record: Some(record) };
        self.runs.insert(run.name.clone(), last);
    }

    fn keep_few_finished(&mut self, name: &RunName) {
        self.finished.push_back(name.clone());
        while self.finished.len() > FINISHED {
            let Some(oldest) = self.finished.pop_front() else { return };
            if !self.is_open(&oldest) {
                self.runs.remove(&oldest);
            }
        }
    }

    /// Returns the milestones after the last known one.
    fn new_milestones<'a>(
        &self,
        before: Option<&Record>,
        timeline: &'a [Milestone],
    ) -> impl Iterator<Item = &'a Milestone> {
        let known = before.and_then(|before| before.milestone);
        let is_last = |m: &Milestone| known.is_some_and(|(at, of)| m.at == at && hash(m) == of);
        let from = timeline.iter().rposition(is_last).map(|last| last + 1);
        // Without it: everything since, or, of a run that is seen first, since the start.
        let since = if from.is_some() { Timestamp::MIN } else { self.began };
        let since = known.filter(|_| from.is_none()).map_or(since, |(at, _)| at);
        timeline[from.unwrap_or(0)..].iter().filter(move |m| m.at >= since)
    }

    /// Forgets a run, and returns whether it was known.
    pub(super) fn forget(&mut self, name: &RunName) -> bool {
        self.runs.remove(name).is_some()
    }

    /// Returns the names of runs whose record differs from what is known, and of those that are no
    /// longer listed.
    pub(super) fn stale(&mut self, open: &[OpenRun], most: usize) -> Vec<RunName> {
        let mut stale = Vec::new();
        for run in open {
            let sketch = Sketch::listed(run);
            match self.runs.get(&run.name) {
                Some(last) if last.sketch == sketch => {}
                Some(_) => stale.push(run.name.clone()),
                None if run.waiting_since >= self.began => stale.push(run.name.clone()),
                // It was there before this process.
                None if self.runs.len() < MOST => {
                    self.runs.insert(run.name.clone(), Last { sketch, record: None });
                }
                None => {}
            }
            if stale.len() >= most {
                return stale;
            }
        }
        let listed: HashSet<&RunName> = open.iter().map(|run| &run.name).collect();
        let gone = self
            .runs
            .iter()
            .filter(|(name, last)| last.sketch.phase != Phase::Finished && !listed.contains(name));
        stale.extend(gone.map(|(name, _)| name.clone()).take(most - stale.len()));
        stale
    }
}

impl Sketch {
    fn of(run: &Run) -> Self {
        let attempt = run.status.attempt.as_ref().filter(|attempt| attempt.ended.is_none());
        Self {
            phase: run.status.phase,
            attempt: attempt.map(|attempt| attempt.number),
            at_limit: run.status.reason() == Some(Reason::AtLimit),
            deleted: run.deleted_at.is_some(),
            waiting_since: run.status.waiting_since.as_millisecond(),
        }
    }

    fn listed(run: &OpenRun) -> Self {
        let OpenRun { phase, attempt, at_limit, deleted, waiting_since, .. } = run;
        Self {
            phase: *phase,
            attempt: attempt.as_ref().map(|id| id.number),
            at_limit: *at_limit,
            deleted: *deleted,
            waiting_since: waiting_since.as_millisecond(),
        }
    }
}

fn hash(milestone: &Milestone) -> u64 {
    let mut state = DefaultHasher::new();
    milestone.hash(&mut state);
    state.finish()
}

/// Adds the conditions that began at `since` or later, and the end of those that a person had to
/// attend to.
fn conditions(
    before: Option<&Record>,
    run: &Run,
    (since, now): (Timestamp, Timestamp),
    news: &mut Vec<(Timestamp, EventData)>,
) {
    let known = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
    let holds = |reason| run.status.conditions.iter().any(|c| c.reason == reason);
    for (reason, began) in known.iter().filter(|(reason, _)| reason.needs_person()) {
        if !holds(*reason) {
            let held = now.duration_since(*began);
            news.push((now, EventData::Ended { reason: *reason, held }));
        }
    }
    for condition in &run.status.conditions {
        let is_new = !known.iter().any(|(reason, _)| *reason == condition.reason);
        if is_new && condition.since >= since && !is_milestone(condition.reason) {
            let (reason, message) = (condition.reason, condition.message.clone());
            news.push((condition.since, EventData::Began { reason, message }));
        }
    }
}

#[cfg(test)]
mod tests;
