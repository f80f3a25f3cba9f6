//! The events that the page shows.

use tinqs_ci_reconciler::model::{Happened, Milestone, Run, RunName};

use super::{App, is_about, is_told};
use crate::api::Event;
use crate::telemetry::events::{EventsAfter, of_timeline, view};
use crate::words::events::EventData;

/// The number of events of this process that are read, and of milestones that are compared with
/// them.
const READ: usize = 200;

/// Returns the latest events, newest first: those of this process, and what the records of these
/// runs tell besides, such as from before its start.
pub(in crate::server::http) fn latest(app: &App, runs: &[Run], most: usize) -> Vec<Event> {
    let events = &app.telemetry.events;
    let read = u64::try_from(READ).unwrap_or(u64::MAX);
    let told = match events.after(events.newest().saturating_sub(read), READ) {
        EventsAfter::Events(told, _) => told,
        // There are fewer.
        EventsAfter::Lost => events.all(|_| true),
    };
    let replica = events.replica();
    let mut items: Vec<Event> = told.iter().rev().map(|entry| view(entry, replica)).collect();
    let all = runs.iter().flat_map(|run| run.status.timeline.iter().map(move |one| (run, one)));
    let mut all: Vec<(&Run, &Milestone)> =
        all.filter(|(_, one)| !matches!(one.what, Happened::Unknown)).collect();
    all.sort_by(|(a, one), (b, other)| other.at.cmp(&one.at).then_with(|| a.name.cmp(&b.name)));
    let of_records: Vec<Event> = all
        .into_iter()
        .take(READ)
        .map(|(run, one)| of_timeline(run, one))
        .filter(|event| !is_told(&items, event))
        .take(most)
        .collect();
    items.extend(of_records);
    items.sort_by_key(|event| std::cmp::Reverse(event.last_at));
    items.truncate(most);
    items
}

/// Returns the events of a run that its timeline does not hold, oldest first, as far as this
/// process has them.
pub(in crate::server::http) fn beyond_timeline(app: &App, run: &RunName) -> Vec<Event> {
    let events = &app.telemetry.events;
    let found = events.all(|entry| {
        is_about(&entry.object, run) && !matches!(entry.what, EventData::Milestone(_))
    });
    found.iter().map(|entry| view(entry, events.replica())).collect()
}
