//! `GET /v1/events`: what happened, as a list or as a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Deserialize;
use tinqs_ci_reconciler::model::RunName;
use tokio::time::Instant;

use super::shares::{Share, Shares};
use super::{App, Ctx, Refusal};
use crate::api::{Event, EventList};
use crate::telemetry::events::{Entry, EventsAfter, Object, of_timeline, view};

mod latest;
mod stream;

pub(super) use latest::{beyond_timeline, latest};

/// The default number of events in a list.
const PAGE: usize = 500;
/// The maximum number of events in a list: as many as are kept.
const MOST: usize = crate::telemetry::events::KEPT;
/// The maximum length of an event's ID.
const ID_LIMIT: usize = 200;
/// The records of other replicas are read at most once in this time,
const REFRESH: Duration = Duration::from_secs(2);
/// at most for this part of the time, where that takes longer,
const REST: u32 = 10;
/// and at most this many at once.
const RECORDS: usize = 50;
/// A reader has this time before another one begins.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// The clients that follow events.
pub(super) struct Clients {
    /// By the name of the token, or the user of the socket.
    shares: Arc<Shares<String>>,
    most: u32,
    /// The time from which the records of other replicas are to be read again.
    due: Mutex<Instant>,
    /// The number of the last listing all of whose news were read.
    compared: AtomicU64,
}

impl Clients {
    /// Allows so many at once.
    pub(super) fn new(most: u32) -> Self {
        Self {
            shares: Shares::new(usize::try_from(most).unwrap_or(usize::MAX)),
            most,
            due: Mutex::new(Instant::now()),
            compared: AtomicU64::new(0),
        }
    }

    /// Takes a place for a client with this name.
    fn enter(&self, who: &str) -> Result<Share<String>, Refusal> {
        self.shares.take(who.to_owned()).ok_or_else(|| {
            let most = self.most;
            let detail = format!(
                "as many clients follow events as `{who}` may have of the {most} that \
                 `server.event_clients` allows: try again later, or raise it"
            );
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, detail).again_in(10)
        })
    }

    /// Returns when the records of other replicas are to be read again.
    fn due(&self) -> Instant {
        *self.due.lock()
    }

    /// Begins to read them, if it is time. The caller reads; others do not meanwhile, unless it
    /// takes very long or was given up.
    fn begin(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut due = self.due.lock();
        if now < *due {
            return None;
        }
        *due = now + READ_WITHIN;
        Some(now)
    }

    /// Notes that they were read.
    fn done(&self, began: Instant) {
        *self.due.lock() = began + REFRESH.max(began.elapsed() * REST);
    }
}

/// The query. Empty values count as unset.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EventQuery {
    since: String,
    run: String,
    limit: String,
}

/// The start of a list or a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// A list: everything. A stream: what comes now.
    Unset,
    /// Events that happened last at this time or later.
    Time(Timestamp),
    /// Events after this one.
    Event(u64),
    /// After an event that this process does not know.
    Foreign,
}

/// A request in its parts.
#[derive(Clone, Debug)]
struct Wanted {
    since: Since,
    run: Option<RunName>,
    limit: usize,
}

impl Wanted {
    fn takes(&self, entry: &Entry) -> bool {
        let is_late = match self.since {
            Since::Time(since) => entry.last >= since,
            Since::Unset | Since::Event(_) | Since::Foreign => true,
        };
        is_late && self.run.as_ref().is_none_or(|run| is_about(&entry.object, run))
    }
}

fn is_about(object: &Object, run: &RunName) -> bool {
    matches!(object, Object::Run(subject) if subject.name == *run)
}

/// `GET /v1/events?since=&run=&limit=`: a list; a stream for `Accept: text/event-stream`.
pub(super) async fn events(
    State(app): Ctx,
    query: Result<Query<EventQuery>, QueryRejection>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Result<Response, Refusal> {
    let Query(query) = query.map_err(|_| {
        let detail = "invalid query: known parameters are `since`, `run` and `limit`";
        Refusal::new(StatusCode::BAD_REQUEST, detail)
    })?;
    let mut wanted = query.wanted(app.telemetry.events.replica())?;
    if accepts_stream(&headers) {
        if let Some(id) = headers.get("last-event-id") {
            let id = id.to_str().unwrap_or_default();
            wanted.since = of_id(id, app.telemetry.events.replica());
        }
        return stream::open(app, wanted, &headers, &extensions);
    }
    Ok(Json(list(&app, &wanted).await?).into_response())
}

impl EventQuery {
    fn wanted(self, replica: &str) -> Result<Wanted, Refusal> {
        let Self { since, run, limit } = self;
        let bad = |detail: &str| Refusal::new(StatusCode::BAD_REQUEST, detail);
        let since = match since.as_str() {
            "" => Since::Unset,
            text => match text.parse::<Timestamp>() {
                Ok(time) => Since::Time(time),
                Err(_) if is_id(text) => of_id(text, replica),
                Err(_) => {
                    let detail = "`since` must be a time such as 2026-11-30T12:00:00Z, or the ID of \
                                  an event";
                    return Err(bad(detail));
                }
            },
        };
        let run = match run.as_str() {
            "" => None,
            text => Some(super::runs::parse(text)?),
        };
        let limit = match limit.as_str() {
            "" => PAGE,
            text => text
                .parse()
                .ok()
                .filter(|limit| (1..=MOST).contains(limit))
                .ok_or_else(|| bad("`limit` must be a number from 1 to 2000"))?,
        };
        Ok(Wanted { since, run, limit })
    }
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media| {
        let media = media.split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case("text/event-stream")
    })
}

fn is_id(text: &str) -> bool {
    let sequence = text.rsplit_once(':').map(|(_, sequence)| sequence);
    text.len() <= ID_LIMIT && sequence.is_some_and(|sequence| sequence.parse::<u64>().is_ok())
}

fn of_id(id: &str, replica: &str) -> Since {
    let parts = id.rsplit_once(':').filter(|(of, _)| *of == replica);
    match parts.and_then(|(_, sequence)| sequence.parse().ok()) {
        Some(sequence) => Since::Event(sequence),
        None => Since::Foreign,
    }
}

/// Returns the wanted events, oldest first: the newest of them, if there are more than the limit.
async fn list(app: &App, wanted: &Wanted) -> Result<EventList, Refusal> {
    refresh(app).await;
    let events = &app.telemetry.events;
    let (newest, replica) = (events.newest(), events.replica());
    let (mut found, is_reset) = match wanted.since {
        Since::Event(sequence) => match events.after(sequence, usize::MAX) {
            EventsAfter::Events(found, _) => (found, false),
            EventsAfter::Lost => (events.all(|_| true), true),
        },
        Since::Foreign => (events.all(|_| true), true),
        Since::Unset | Since::Time(_) => (events.all(|_| true), false),
    };
    found.retain(|entry| wanted.takes(entry));
    let mut items: Vec<Event> = found.iter().map(|entry| view(entry, replica)).collect();
    if let (Some(run), Since::Unset | Since::Time(_)) = (&wanted.run, wanted.since) {
        add_timeline(app, run, wanted.since, &mut items).await?;
    }
    items.drain(..items.len().saturating_sub(wanted.limit));
    Ok(EventList { items, last_id: format!("{replica}:{newest}"), reset: is_reset })
}

/// Adds what the record of the run tells and this process does not know, such as from before its
/// start.
async fn add_timeline(
    app: &App,
    name: &RunName,
    since: Since,
    items: &mut Vec<Event>,
) -> Result<(), Refusal> {
    let run = app.controller.ports().store.get(name).await?;
    let Some(run) = run else {
        return if items.is_empty() { Err(super::runs::not_found(name)) } else { Ok(()) };
    };
    for milestone in &run.status.timeline {
        let event = of_timeline(&run, milestone);
        let is_late = match since {
            Since::Time(since) => event.last_at >= since,
            _ => true,
        };
        if is_late && !is_told(items, &event) {
            items.push(event);
        }
    }
    items.sort_by_key(|event| event.last_at);
    Ok(())
}

/// Whether these events tell the same as one of a timeline.
fn is_told(items: &[Event], event: &Event) -> bool {
    items.iter().any(|known| {
        let held = known.first_at..=known.last_at;
        known.object == event.object
            && known.reason == event.reason
            && known.message == event.message
            && held.contains(&event.last_at)
    })
}

/// Reads the records that others have written since they were last seen, so that this process has
/// their events too. Failures are those of the port, which logs them.
async fn refresh(app: &App) {
    let Some(began) = app.event_clients.begin() else { return };
    read_others(app).await;
    app.event_clients.done(began);
}

/// The same for a stream, which does not wait for the store.
fn refresh_apart(app: Arc<App>) {
    if let Some(began) = app.event_clients.begin() {
        tokio::spawn(async move {
            read_others(&app).await;
            app.event_clients.done(began);
        });
    }
}

async fn read_others(app: &App) {
    let store = &app.controller.ports().store;
    let Ok(open) = app.telemetry.followed_runs(store).await else { return };
    let compared = &app.event_clients.compared;
    if open.number > 0 && compared.load(Ordering::Relaxed) == open.number {
        return;
    }
    let names = app.telemetry.events.listed(&open, RECORDS);
    for name in &names {
        match store.get(name).await {
            Ok(Some(_)) => {}
            Ok(None) => app.telemetry.events.removed(name, app.telemetry.now()),
            Err(_) => return,
        }
    }
    if names.len() < RECORDS {
        compared.store(open.number, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_of_this_process_or_foreign() {
        assert_eq!(of_id("host-1:7", "host-1"), Since::Event(7));
        for id in ["host-2:7", "host-1:x", "host-1:-1", "7", "", "host-1:99999999999999999999"] {
            assert_eq!(of_id(id, "host-1"), Since::Foreign, "{id}");
        }
        let query = |since: &str| {
            let query = EventQuery { since: since.to_owned(), ..EventQuery::default() };
            query.wanted("host-1").map(|wanted| wanted.since)
        };
        assert!(matches!(query("2026-11-30T12:00:00Z"), Ok(Since::Time(_))));
        assert_eq!(query("host-1:7"), Ok(Since::Event(7)));
        assert_eq!(query("host-2:7"), Ok(Since::Foreign));
        assert!(query("yesterday").is_err());
    }
}
