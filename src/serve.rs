//! The server: queue → look, tick → poll and sweep, HTTP. It decides nothing.

use std::ffi::OsString;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::ports::Ports;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::embedded::process::Processes;
use crate::gitea::demand::Mode;
use crate::gitea::demand::pushes::Pushes;
use crate::http::{self, App};
use crate::settings::Settings;
use crate::telemetry::{self, Telemetry};

#[cfg_attr(not(feature = "aws"), path = "serve/no_cloud.rs")]
mod cloud;
mod guarded;
pub(crate) mod looks;
mod parts;
mod ticks;
mod writable;

pub use parts::{SystemClock, parts_from};
pub use ticks::Nudge;
pub(crate) use ticks::{pass, stopped};
pub use writable::{LeaseProbe, Writable};

/// What a server is made of.
pub struct Parts {
    /// What is configured.
    pub settings: Arc<Settings>,
    /// The controller, over watched ports.
    pub controller: Arc<Controller>,
    /// What is told, and the last contact with each service.
    pub telemetry: Arc<Telemetry>,
    /// Whether the store can be written.
    pub writable: Arc<dyn Writable>,
    /// What pushes are evaluated with; `None`: the job list alone tells of demand.
    pub pushes: Option<Arc<Pushes>>,
    /// Machines of this host, whose ends are noticed here; `None`: others tell of them, or nobody.
    pub machines: Option<Arc<Processes>>,
}

impl Parts {
    /// A server's parts over these ports: watched, with a controller on top. `replica` names this
    /// process as the holder of the sweep's lease and in the log.
    pub fn over(settings: Settings, ports: Ports, replica: &str) -> Self {
        let telemetry = Telemetry::new(&settings.classes, ports.clock.clone());
        let ports = telemetry::observe(ports, &telemetry);
        let writable = Arc::new(LeaseProbe::new(ports.clone(), replica));
        let controller = Controller::new(ports, controller_settings(&settings, replica));
        Self {
            settings: Arc::new(settings),
            controller: Arc::new(controller),
            telemetry,
            writable,
            pushes: None,
            machines: None,
        }
    }
}

/// What the controller is told of the settings.
pub fn controller_settings(
    settings: &Settings,
    replica: &str,
) -> tinqs_ci_reconciler::controller::Settings {
    let forge = &settings.forge;
    tinqs_ci_reconciler::controller::Settings {
        installation: settings.installation.clone(),
        instance_url: forge.machine_url.clone().unwrap_or_else(|| forge.url.clone()),
        git_token: forge.git_token.clone(),
        classes: settings.classes.clone(),
        poll_every: forge.poll_every,
        sweep_every: forge.sweep_every,
        replica: replica.to_owned(),
    }
}

/// How quickly the loops go, in real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paces {
    /// Between two readings of the forge's job list.
    pub poll: Duration,
    /// Between two sweeps.
    pub sweep: Duration,
    /// Between two glances at what fell due.
    pub due: Duration,
    /// From one poll to the next that a hint brings forward, at least.
    pub hint_gap: Duration,
    /// Before a run is looked at again where another wrote first.
    pub conflict: Duration,
    /// Looks at once, at least 1.
    pub looks: usize,
    /// For looks and requests under way when the server is stopped; what is left then is dropped.
    pub grace: Duration,
}

impl Paces {
    /// Those of a server with these settings. Without a webhook secret anybody may send hints:
    /// they bring the poll forward at most each 5 s.
    pub fn of(settings: &Settings) -> Self {
        let secret = settings.forge.webhook_secret.is_some();
        Self {
            poll: real(settings.forge.poll_every),
            sweep: real(settings.forge.sweep_every),
            due: Duration::from_secs(1),
            hint_gap: Duration::from_secs(if secret { 1 } else { 5 }),
            conflict: Duration::from_millis(100),
            looks: 16,
            grace: Duration::from_secs(8),
        }
    }
}

fn real(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default().max(Duration::from_millis(10))
}

/// Which part of the work a replica does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// Everything.
    #[default]
    All,
    /// Takes webhooks: writes runs and wakes, and has no other right.
    Ingest,
    /// Everything but webhooks.
    Reconcile,
}

impl Role {
    /// Whether it takes webhooks.
    pub fn ingests(self) -> bool {
        match self {
            Self::All | Self::Ingest => true,
            Self::Reconcile => false,
        }
    }

    /// Whether it looks, polls, sweeps and answers `/v1`.
    pub fn reconciles(self) -> bool {
        match self {
            Self::All | Self::Reconcile => true,
            Self::Ingest => false,
        }
    }
}

impl FromStr for Role {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        <Self as clap::ValueEnum>::from_str(text, false)
            .map_err(|_| Error::Role { text: text.chars().take(60).collect() })
    }
}

/// Why a server could not be started, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a role.
    #[error("`{text}` is not a role: expected `all`, `ingest` or `reconcile`")]
    Role {
        /// What was given.
        text: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: another process may hold it; set `server.listen`")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A part cannot be had.
    #[error("the {part} cannot be used: {message}")]
    Part {
        /// Which: `store`, `queue`, `compute` or `forge`.
        part: &'static str,
        /// Why, and what helps.
        message: String,
    },
    /// The configured server is one that cannot be served.
    #[error("{0}")]
    Unsupported(String),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for")]
    Signals(#[source] std::io::Error),
    /// A loop ended though nobody asked for it.
    #[error("the server ended by itself: a defect, please report it with the log")]
    Ended,
}

/// Serves until `shutdown` completes, then stops gracefully: no webhook and no wake-up is taken
/// any more, requests and looks under way have `paces.grace` to end, and what is left is dropped.
/// That loses nothing: everything accepted is in the store, and looks may end anywhere.
///
/// # Errors
/// [`Error::Ended`], where a loop ended by itself.
pub async fn serve(
    parts: Parts,
    listener: TcpListener,
    paces: Paces,
    role: Role,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let (stop, stopping) = watch::channel(false);
    let nudge = Arc::new(Nudge::default());
    let loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let app = App::new(&parts, nudge.clone(), role, loopback);
    let mut loops = JoinSet::new();
    loops.spawn(http::listen(listener, http::router(app), stopping.clone()));
    if role.reconciles() {
        let Parts { controller, telemetry, pushes, machines, settings: _, writable: _ } = &parts;
        if let Some(pushes) = pushes.clone() {
            loops.spawn(ticks::pushes(pushes, telemetry.clone(), paces.poll, stopping.clone()));
        }
        if let Some(machines) = machines.clone() {
            loops.spawn(ticks::ends(
                machines,
                controller.clone(),
                telemetry.clone(),
                stopping.clone(),
            ));
        }
        let (c, t) = (controller.clone(), telemetry.clone());
        loops.spawn(looks::run(c, t, paces, stopping.clone(), None));
        let (c, t) = (controller.clone(), telemetry.clone());
        loops.spawn(ticks::poll(c, t, nudge, paces, stopping.clone()));
        let (c, t) = (controller.clone(), telemetry.clone());
        loops.spawn(ticks::sweep(c, t, paces.sweep, stopping.clone()));
        let (c, t) = (controller.clone(), telemetry.clone());
        loops.spawn(ticks::due(c, t, paces.due, stopping.clone()));
    }
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        _ = loops.join_next() => Err(Error::Ended),
    };
    tracing::info!("stopping: webhooks and wake-ups are no longer taken");
    // An error says that nobody listens any more: then all have ended.
    let _ = stop.send(true);
    let rest = async { while loops.join_next().await.is_some() {} };
    if tokio::time::timeout(paces.grace, rest).await.is_err() {
        tracing::warn!("stopped with work under way; it is taken up at the next start");
    }
    loops.shutdown().await;
    ended
}

/// Builds the parts that the settings name, listens, and serves until SIGTERM or SIGINT.
///
/// # Errors
/// Where a part cannot be had or the address not be listened on. `environment` is this process's;
/// `process:` machines get a chosen part of it.
pub async fn run(
    settings: Settings,
    role: Role,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), Error> {
    let replica = replica();
    let paces = Paces::of(&settings);
    let address = settings.server.listen;
    let listener =
        TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    let address = listener.local_addr().unwrap_or(address);
    let mut terminated = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let shutdown = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    tokio::pin!(shutdown);
    let parts = tokio::select! {
        parts = parts_from(settings, &replica, environment) => parts?,
        // Parts may wait for the forge; a signal meanwhile ends that.
        () = &mut shutdown => return Ok(()),
    };
    announce(&parts, address, role);
    let served = serve(parts, listener, paces, role, shutdown).await;
    tracing::info!("stopped");
    served
}

fn announce(parts: &Parts, address: SocketAddr, role: Role) {
    let settings = &parts.settings;
    let classes: Vec<&str> = settings.classes.iter().map(|class| class.name.0.as_str()).collect();
    let known = parts.pushes.as_ref().and_then(|pushes| pushes.demand().known());
    let demand = known.map_or("not decided yet", Mode::word);
    tracing::info!(
        address = %address,
        role = ?role,
        demand,
        forge = settings.forge.url,
        classes = classes.join(","),
        "listening",
    );
    if role.ingests() && settings.forge.webhook_secret.is_none() {
        tracing::warn!(
            "no `forge.webhook_secret`: webhooks are taken as mere hints that bring the poll \
             forward, at most one each 5 s; set one here and at the forge's webhook",
        );
    }
}

/// This process's name: the host's and the process's id.
pub fn replica() -> String {
    let host = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let host = host.trim();
    format!("{}-{}", if host.is_empty() { "localhost" } else { host }, std::process::id())
}
