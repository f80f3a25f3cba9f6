//! The stream: server-sent events. A client has a position in the ring; whatever it does not read in
//! time is lost to it, and nobody waits for it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Extensions, HeaderMap, HeaderName, StatusCode, header};
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{Stream, unfold};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{App, Refusal, Since, Wanted, refresh_apart};
use crate::server::http::guard::Identity;
use crate::server::http::peer::Peer;
use crate::server::http::shares::{Place, Share};
use crate::server::state::stopped;
use crate::settings::Settings;
use crate::telemetry::events::{EventsAfter, view};

/// The time before the client connects again.
const RETRY: Duration = Duration::from_secs(1);
/// The maximum number of events that are taken from the ring at once.
const BATCH: usize = 64;

/// The times of a stream.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// The interval of comments that show that the connection works.
    heartbeat: Duration,
    /// A stream ends after this time, before its connection is closed. The client connects again
    /// with the ID of the last event, and misses nothing.
    life: Duration,
    /// The interval of checks whether the client is still admitted.
    check: Duration,
}

const PACE: Pace = Pace {
    heartbeat: Duration::from_secs(15),
    life: Duration::from_mins(5),
    check: Duration::from_secs(5),
};

/// The credentials with which a client was admitted.
struct Shown {
    headers: HeaderMap,
    extensions: Extensions,
}

impl Shown {
    /// Keeps the credentials and the peer of a request, and nothing else of it.
    fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let mut kept = Self { headers: HeaderMap::new(), extensions: Extensions::new() };
        for name in [header::AUTHORIZATION, header::COOKIE] {
            for value in headers.get_all(&name) {
                kept.headers.append(name.clone(), value.clone());
            }
        }
        if let Some(peer) = Peer::of(extensions) {
            kept.extensions.insert(peer);
        }
        kept
    }

    /// Returns whom that admits now: tokens are revoked, and sessions end.
    fn identify(&self, app: &App) -> Result<Identity, Refusal> {
        app.guard.identify_any(&self.headers, &self.extensions, app.telemetry.now())
    }
}

/// Opens a stream, unless there are too many. From then on its connection counts as one of
/// `server.event_clients`, and not as one of its address: a proxy has many clients at one address.
pub(super) fn open(
    app: Arc<App>,
    wanted: Wanted,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Response, Refusal> {
    let response = open_at(PACE, app, wanted, Shown::of(headers, extensions))?;
    if let Some(place) = extensions.get::<Place>() {
        place.leave();
    }
    Ok(response)
}

fn open_at(pace: Pace, app: Arc<App>, wanted: Wanted, shown: Shown) -> Result<Response, Refusal> {
    let ending = app.telemetry.events.ending();
    if *ending.borrow() {
        let detail = "this server does not stream: ask without `Accept: text/event-stream`, and \
                      again with `since`";
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, detail));
    }
    let caller = shown.identify(&app)?;
    let share = app.event_clients.enter(&caller.who)?;
    let stream = follow(pace, app, (wanted, shown), share, ending);
    let stream = Sse::new(stream).keep_alive(KeepAlive::new().interval(pace.heartbeat));
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
    shown: Shown,
    /// Its place among the clients; free when the stream ends or is dropped.
    _place: Share<String>,
    /// The sequence of the last event that it has got.
    position: u64,
    newest: watch::Receiver<u64>,
    ending: watch::Receiver<bool>,
    until: Instant,
    settings: watch::Receiver<Arc<Settings>>,
    /// The interval of checks whether it is still admitted, and the next one.
    every: Duration,
    check: Instant,
    /// The next part of the stream.
    ready: VecDeque<Message>,
    is_over: bool,
}

fn follow(
    pace: Pace,
    app: Arc<App>,
    (wanted, shown): (Wanted, Shown),
    share: Share<String>,
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
        Since::Event(sequence) if matches!(events.after(sequence, 1), EventsAfter::Events(..)) => {
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
        until: Instant::now() + pace.life,
        settings: app.live.subscribe(),
        every: pace.check,
        check: Instant::now() + pace.check,
        app,
        wanted,
        shown,
        _place: share,
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
            if !self.is_admitted() {
                return None;
            }
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            // Also of a client that always has something to read.
            if self.is_over || *self.ending.borrow() || Instant::now() >= self.until {
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
                () = sleep_until(self.check) => {}
                _ = self.settings.changed() => self.check = Instant::now(),
                () = sleep_until(app.event_clients.due()) => refresh_apart(app),
            }
        }
    }

    /// Whether the client is still admitted, as last checked: now and then, and when the settings
    /// have changed.
    fn is_admitted(&mut self) -> bool {
        let now = Instant::now();
        if now < self.check && !self.settings.has_changed().unwrap_or(false) {
            return true;
        }
        self.settings.mark_unchanged();
        self.check = now + self.every;
        self.shown.identify(&self.app).is_ok()
    }

    /// Takes the events since the last ones, and returns whether there is something to send or to
    /// take.
    fn take(&mut self) -> bool {
        let events = &self.app.telemetry.events;
        match events.after(self.position, BATCH) {
            EventsAfter::Lost => {
                let why = "read too slowly, and events were lost: connect again, and load \
                           everything again";
                self.ready.push_back(Message::default().event("dropped").data(said(why)));
                self.is_over = true;
                true
            }
            EventsAfter::Events(found, end) => {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use axum::body::BodyDataStream;
    use futures_util::StreamExt as _;
    use tinqs_ci_reconciler::model::RunName;
    use tinqs_ci_testing::TestWorld;
    use tokio::time::timeout;

    use super::*;
    use crate::server::state::{Parts, PollSignal, Role};
    use crate::settings::{Env, parse};
    use crate::words::events::EventData;

    /// The longest wait for an expected event.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn app() -> Arc<App> {
        let text = "[forge]\nurl = \"http://forge\"";
        let settings =
            parse(text, Some(Path::new("ci.toml")), &Env::new()).expect("valid").settings;
        let parts = Parts::over(settings, TestWorld::on_system_clock().ports(), "replica-1");
        App::new(&parts, Arc::new(PollSignal::default()), Role::All, None)
    }

    /// Follows at this pace, as a process at the socket does.
    fn follow_at(pace: Pace, app: Arc<App>) -> BodyDataStream {
        let wanted = Wanted { since: Since::Unset, run: None, limit: 1 };
        let mut extensions = Extensions::new();
        extensions.insert(Peer::Unix { uid: 7 });
        let shown = Shown::of(&HeaderMap::new(), &extensions);
        let answer = open_at(pace, app, wanted, shown).expect("there is a place");
        answer.into_body().into_data_stream()
    }

    /// Returns the next chunk; `None` at the end.
    async fn next(stream: &mut BodyDataStream) -> Option<String> {
        let chunk = timeout(PATIENCE, stream.next()).await.expect("in time")?;
        Some(String::from_utf8(chunk.expect("a chunk").to_vec()).expect("UTF-8"))
    }

    #[tokio::test]
    async fn a_comment_comes_in_each_interval_in_which_nothing_happens() {
        let heartbeat = Duration::from_millis(50);
        let began = Instant::now();
        let mut stream = follow_at(Pace { heartbeat, ..PACE }, app());
        let first = next(&mut stream).await.expect("a message");
        assert!(first.contains(": events follow"), "{first}");
        for _ in 0..3 {
            let comment = next(&mut stream).await.expect("a comment");
            assert!(comment.starts_with(':') && comment.ends_with("\n\n"), "{comment:?}");
        }
        assert!(began.elapsed() >= heartbeat * 3, "no sooner: {:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_stream_ends_after_its_life() {
        let mut stream = follow_at(Pace { life: Duration::from_millis(50), ..PACE }, app());
        assert!(next(&mut stream).await.is_some(), "it begins");
        assert_eq!(next(&mut stream).await, None);
    }

    #[tokio::test]
    async fn a_stream_ends_after_its_life_or_with_the_server_while_there_is_more_to_tell() {
        const TOLD: i64 = 1_000;
        for stops in [false, true] {
            let app = app();
            let life = if stops { PACE.life } else { Duration::from_millis(50) };
            let mut stream = follow_at(Pace { life, ..PACE }, app.clone());
            assert!(next(&mut stream).await.is_some(), "it begins");
            for job in 1..=TOLD {
                let name = RunName::job(job);
                app.telemetry.events.tell_run(&name, EventData::Removed, app.telemetry.now());
            }
            if stops {
                app.telemetry.events.end_streams();
            } else {
                tokio::time::sleep(life).await;
            }
            let mut told = 0;
            while next(&mut stream).await.is_some() {
                told += 1;
            }
            assert!(told < TOLD, "stops: {stops}: the client continues after the last event");
        }
    }
}
