//! The parts of a server, its intervals and its role.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::ports::{Archive, Inbox, MachineEnds, Ports};
use tokio::sync::{Notify, watch};

use super::live::{Live, controller_settings};
use super::probe::StoreProbe;
use super::reload::Reloader;
use crate::backends::{BackendError, Backends, Start, backends};
use crate::push::Pushes;
use crate::settings::{SecretFile, Settings, Source};
use crate::telemetry::{self, Telemetry, traces};

/// The parts of a server.
pub struct Parts {
    /// The settings in force.
    pub live: Arc<Live>,
    /// The controller, over observed ports.
    pub controller: Arc<Controller>,
    /// Logs, metrics, and the last contact with each service.
    pub telemetry: Arc<Telemetry>,
    /// Checks whether the store can be written.
    pub probe: Arc<StoreProbe>,
    /// The inbox, and what evaluates pushes; `None` if only the job list shows demand.
    pub pushes: Option<Arc<Pushes>>,
    /// Reports ended machines of this host; `None` if machines run elsewhere.
    pub ends: Option<Arc<dyn MachineEnds>>,
    /// Reads everything that the store keeps; `None` for stores that nothing outlives.
    pub archive: Option<Arc<dyn Archive>>,
    /// Reads the configuration again; `None` if it cannot change while this process runs.
    pub reloader: Option<Arc<Reloader>>,
}

impl Parts {
    /// Builds the parts that the settings name. `environment` is that of this process. For a role
    /// that does not reconcile, nothing is asked of the store, the cloud and the forge.
    ///
    /// # Errors
    /// [`Error::Part`]: a part cannot be built; the error says what to do.
    pub async fn from_settings(
        settings: Settings,
        replica: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        role: Role,
    ) -> Result<Self, Error> {
        let start = if role.reconciles() { Start::Checked } else { Start::Unasked };
        let Backends { ports, inbox, archive, demand, ends } =
            backends(&settings, replica, environment, start).await?;
        let inbox = traces::inbox(inbox);
        let parts = Self::over(settings, ports, replica);
        let parts = if role.reconciles() { parts } else { parts.probing(inbox.clone(), replica) };
        let pushes = Arc::new(Pushes::new(demand, inbox, parts.controller.clone()));
        Ok(Self { pushes: Some(pushes), ends, archive: Some(archive), ..parts })
    }

    /// Lets readiness depend on the inbox, for a role that writes nothing else.
    pub fn probing(mut self, inbox: Arc<dyn Inbox>, replica: &str) -> Self {
        let (ports, telemetry) = (self.controller.ports().clone(), self.telemetry.clone());
        self.probe = Arc::new(StoreProbe::of_inbox(inbox, ports, telemetry, replica));
        self
    }

    /// Lets the configuration be read again from `source`. `files` are the files of credentials
    /// that were read.
    pub fn reloadable(mut self, source: Source, files: Vec<SecretFile>, replica: &str) -> Self {
        let Self { live, controller, telemetry, pushes, .. } = &self;
        let (live, controller) = (live.clone(), controller.clone());
        let (telemetry, pushes) = (telemetry.clone(), pushes.clone());
        self.reloader =
            Some(Reloader::new(source, files, live, controller, telemetry, pushes, replica));
        self
    }

    /// Builds a server's parts over these ports, which it observes. `replica` names this process in
    /// the sweep lease and in the log.
    pub fn over(settings: Settings, ports: Ports, replica: &str) -> Self {
        let telemetry = Telemetry::new(&settings.classes, ports.clock.clone());
        telemetry.events.name(replica);
        telemetry.configure(&settings);
        telemetry.metrics.config.loaded(telemetry.started_at);
        let ports = telemetry::observe(ports, &telemetry);
        let probe = Arc::new(StoreProbe::new(ports.clone(), telemetry.clone(), replica));
        let controller = Controller::new(ports, controller_settings(&settings, replica));
        let controller = traces::phased(controller);
        Self {
            live: Arc::new(Live::new(settings)),
            controller: Arc::new(controller),
            telemetry,
            probe,
            pushes: None,
            ends: None,
            archive: None,
            reloader: None,
        }
    }
}

/// The intervals of the loops, in real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// Between polls of the forge's job list.
    pub poll: Duration,
    /// Between sweeps.
    pub sweep: Duration,
    /// Between checks for due runs.
    pub due: Duration,
    /// The minimum gap before a poll that a webhook triggers early.
    pub hint_gap: Duration,
    /// Before a run is reconciled again after a write conflict; grows with each try.
    pub conflict: Duration,
    /// The number of concurrent reconciles, at least 1.
    pub workers: usize,
    /// The time that reconciles and requests may continue after the server stops; then they are
    /// dropped.
    pub grace: Duration,
}

impl Intervals {
    /// Returns the intervals for these settings. Without a webhook secret anyone can send webhooks,
    /// so they trigger at most one poll per 5 s.
    pub fn of(settings: &Settings) -> Self {
        let secret = settings.forge.webhook_secret.is_some();
        Self {
            poll: real(settings.forge.poll_every),
            sweep: real(settings.forge.sweep_every),
            due: Duration::from_secs(1),
            hint_gap: Duration::from_secs(if secret { 1 } else { 5 }),
            conflict: Duration::from_millis(100),
            workers: 16,
            grace: Duration::from_secs(8),
        }
    }
}

fn real(duration: SignedDuration) -> Duration {
    Duration::try_from(duration).unwrap_or_default().max(Duration::from_millis(10))
}

/// The part of the work that a replica does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// All work.
    #[default]
    All,
    /// Accepts webhooks: writes them to the inbox and wakes a reader, and needs no other right.
    Ingest,
    /// All work except webhooks.
    Reconcile,
}

impl Role {
    /// Whether the role accepts webhooks.
    pub fn ingests(self) -> bool {
        match self {
            Self::All | Self::Ingest => true,
            Self::Reconcile => false,
        }
    }

    /// Whether the role reconciles, polls, sweeps and serves `/v1`.
    pub fn reconciles(self) -> bool {
        match self {
            Self::All | Self::Reconcile => true,
            Self::Ingest => false,
        }
    }
}

/// Triggers the next poll early. Several nudges trigger one poll.
#[derive(Default)]
pub struct PollSignal(Notify);

impl PollSignal {
    /// Requests a poll as soon as [`Intervals::hint_gap`] allows.
    pub fn poll_soon(&self) {
        self.0.notify_one();
    }

    /// Waits for the next nudge.
    pub async fn nudged(&self) {
        self.0.notified().await;
    }
}

/// Completes when the server stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the server is gone, which is a stop too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// The server could not start, or ended unexpectedly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server cannot listen on the address.
    #[error("cannot listen on {address}: another process may use it; set `{key}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Its key in the configuration.
        key: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A part cannot be built.
    #[error(transparent)]
    Part(#[from] BackendError),
    /// The signal handlers cannot be installed.
    #[error("cannot install signal handlers")]
    Signals(#[source] std::io::Error),
    /// A loop ended without a stop.
    #[error("the server ended unexpectedly: a bug, please report it with the log")]
    Ended,
}

/// Returns the name of this process: host name and process ID.
pub fn replica() -> String {
    let host = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let host = host.trim();
    format!("{}-{}", if host.is_empty() { "localhost" } else { host }, std::process::id())
}
