//! The stream: server-sent events. A client has a position in the ring; whatever it does not read in
//! time is lost to it, and nobody waits for it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, StatusCode, header};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

use super::{App, Refusal, Since, Wanted, refresh};
use crate::server::state::stopped;
use crate::telemetry::events::{After, view};

/// The interval of comments that show that the connection works.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// A stream ends after this time, before its connection is closed. The client connects again with
/// the ID of the last event, and misses nothing.
const LIFE: Duration = Duration::from_mins(5);
/// The time before the client connects again.
const RETRY: Duration = Duration::from_secs(1);
/// The interval of reading what other replicas write.
const OTHERS: Duration = Duration::from_secs(5);
/// The maximum number of events that are taken from the ring at once.
const BATCH: usize = 64;

/// Opens a stream, unless there are too many.
pub(super) fn open(app: Arc<App>, wanted: Wanted) -> Result<Response, Refusal> {
    let ending = app.telemetry.events.ending();
    if *ending.borrow() {
        let detail = "this server does not stream: ask without `Accept: text/event-stream`, and \
                      again with `since`";
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, detail));
    }
    let permit = app.event_clients.enter()?;
    let stream = follow(app, wanted, permit, ending);
    let stream = Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    // Proxies that buffer answers would hold events back.
    let unbuffered = [(HeaderName::from_static("x-accel-buffering"), "no")];
    // The connection is of no further use.
    let ends = [(header::CONNECTION, "close"), (header::CACHE_CONTROL, "no-store")];
    Ok((unbuffered, ends, stream).into_response())
}

/// A client that follows events.
struct Client {
    app: Arc<App>,
    wanted: Wanted,
    /// Its place among the clients; free when the stream ends or is dropped.
    _permit: OwnedSemaphorePermit,
    /// The sequence of the last event that it has got.
    position: u64,
    newest: watch::Receiver<u64>,
    ending: watch::Receiver<bool>,
    until: Instant,
    /// When it reads what other replicas write.
    others: Instant,
    /// What it gets next.
    ready: VecDeque<Message>,
    is_over: bool,
}

fn follow(
    app: Arc<App>,
    wanted: Wanted,
    permit: OwnedSemaphorePermit,
    ending: watch::Receiver<bool>,
) -> impl Stream<Item = Result<Message, Infallible>> {
    let events = &app.telemetry.events;
    let newest = events.subscribe();
    let mut ready = VecDeque::new();
    let now = events.newest();
    let position = match wanted.since {
        Since::Unset => now,
        // The filter leaves out earlier ones.
        Since::Time(_) => events.all(|_| true).first().map_or(now, |first| first.sequence - 1),
        Since::Event(sequence) if matches!(events.after(sequence, 1), After::Events(..)) => {
            sequence
        }
        Since::Event(_) | Since::Foreign => {
            let id = format!("{}:{now}", events.replica());
            let why = "this process does not know the last event: load everything again";
            ready.push_back(Message::default().event("reset").id(id).data(said(why)));
            now
        }
    };
    // A comment at once, so that the client knows that it is connected.
    ready.push_front(Message::default().retry(RETRY).comment("events follow"));
    let client = Client {
        until: Instant::now() + LIFE,
        others: Instant::now() + OTHERS,
        app,
        wanted,
        _permit: permit,
        position,
        newest,
        ending,
        ready,
        is_over: false,
    };
    unfold(client, |mut client| async move {
        let next = client.next().await?;
        Some((Ok(next), client))
    })
}

fn said(why: &str) -> String {
    json!({ "message": why }).to_string()
}

impl Client {
    /// Returns the next message; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            if self.is_over {
                return None;
            }
            self.newest.borrow_and_update();
            if self.take() {
                continue;
            }
            let app = self.app.clone();
            tokio::select! {
                // The sender lives as long as the events.
                _ = self.newest.changed() => {}
                () = stopped(&mut self.ending) => return None,
                () = sleep_until(self.until) => return None,
                () = sleep_until(self.others) => {
                    refresh(&app).await;
                    self.others = Instant::now() + OTHERS;
                }
            }
        }
    }

    /// Takes the events since the last ones, and returns whether there is something to send or to
    /// take.
    fn take(&mut self) -> bool {
        let events = &self.app.telemetry.events;
        match events.after(self.position, BATCH) {
            After::Lost => {
                let why = "read too slowly, and events were lost: connect again, and load \
                           everything again";
                self.ready.push_back(Message::default().event("dropped").data(said(why)));
                self.is_over = true;
                true
            }
            After::Events(found, end) => {
                let is_more = end != self.position;
                self.position = end;
                let wanted = found.iter().filter(|entry| self.wanted.takes(entry));
                self.ready.extend(wanted.map(|entry| {
                    let event = view(entry, events.replica());
                    let message = Message::default().id(event.id.clone().unwrap_or_default());
                    // An event is always JSON; a message without data is ignored by clients.
                    let data = serde_json::to_string(&event).unwrap_or_default();
                    message.data(data)
                }));
                is_more
            }
        }
    }
}
