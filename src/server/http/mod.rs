//! The HTTP server: its doors with their routes, limits, and problem documents.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::ports::Archive;
use tower_http::timeout::TimeoutLayer;

use crate::push::Pushes;
use crate::server::live::Live;
use crate::server::probe::StoreProbe;
use crate::server::reload::Reloader;
use crate::server::state::{Parts, PollSignal, Role};
use crate::telemetry::Telemetry;

mod backup;
mod body;
mod cookie;
mod doors;
mod drift;
mod etag;
mod events;
mod explain;
mod front;
mod guard;
mod health;
mod hosts;
mod listen;
mod log;
mod openapi;
mod origin;
mod page;
mod pauses;
mod peer;
mod problem;
mod progress;
mod reload;
mod runs;
mod session;
mod shares;
mod sides;
mod socket;
mod spend;
mod status;
mod sweep;
mod ticket;
mod usage;
mod webhook;
mod work;

pub use doors::{Doors, everything};
pub use listen::listen;
pub(crate) use problem::Refusal;
pub(super) use socket::ApiSocket;

use guard::Guard;
use shares::Shares;

/// The maximum size of a webhook body, in bytes.
pub const BODY_LIMIT: usize = 10 * 1024 * 1024;
/// The maximum size of all webhook bodies held at once, in bytes. More are rejected instead of
/// exhausting the memory.
const BODIES_LIMIT: usize = 64 * 1024 * 1024;

/// The maximum time for a request, after which the server answers 504.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For most requests.
    pub request: Duration,
    /// For sweeps, explanations and logs, which wait for the forge and the cloud.
    pub sweep: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { request: Duration::from_secs(10), sweep: Duration::from_mins(1) }
    }
}

/// The state of the HTTP handlers.
pub struct App {
    controller: Arc<Controller>,
    live: Arc<Live>,
    telemetry: Arc<Telemetry>,
    probe: Arc<StoreProbe>,
    pushes: Option<Arc<Pushes>>,
    archive: Option<Arc<dyn Archive>>,
    poll_signal: Arc<PollSignal>,
    role: Role,
    guard: Guard,
    reloader: Option<Arc<Reloader>>,
    /// The address of the API; `None` if another service gives it one.
    api: Option<SocketAddr>,
    /// Units of [`body::PIECE`] for [`BODIES_LIMIT`].
    bodies: Arc<Shares>,
    /// The clients that follow events.
    event_clients: events::Clients,
    /// The codes of one-time addresses.
    codes: ticket::Codes,
}

impl App {
    /// Creates the state from the parts. `api` is the address of the API; `None` if another service
    /// gives it one, which other hosts then reach.
    pub fn new(
        parts: &Parts,
        poll_signal: Arc<PollSignal>,
        role: Role,
        api: Option<SocketAddr>,
    ) -> Arc<Self> {
        let loopback = api.is_some_and(|address| address.ip().to_canonical().is_loopback());
        let Parts { live, controller, telemetry, probe, pushes, ends: _, archive, reloader } =
            parts;
        Arc::new(Self {
            guard: Guard::new(live.clone(), loopback),
            controller: controller.clone(),
            live: live.clone(),
            telemetry: telemetry.clone(),
            probe: probe.clone(),
            pushes: pushes.clone(),
            archive: archive.clone(),
            poll_signal,
            role,
            reloader: reloader.clone(),
            api,
            bodies: Shares::new(BODIES_LIMIT / body::PIECE),
            event_clients: events::Clients::new(live.settings().server.event_clients),
            codes: ticket::Codes::default(),
        })
    }
}

fn deadline(within: Duration) -> TimeoutLayer {
    TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, within)
}

/// The extractor of [`App`] in handlers.
type Ctx = State<Arc<App>>;
