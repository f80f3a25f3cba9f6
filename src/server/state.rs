//! What a server is made of, and how quickly and in which role it works.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::ports::{MachineEnds, Ports};
use tokio::sync::{Notify, watch};

use super::probe::StoreProbe;
use crate::backends::{BackendError, Backends, backends};
use crate::push::Pushes;
use crate::settings::Settings;
use crate::telemetry::{self, Telemetry};

/// What a server is made of.
pub struct Parts {
    /// What is configured.
    pub settings: Arc<Settings>,
    /// The controller, over watched ports.
    pub controller: Arc<Controller>,
    /// What is told, and the last contact with each service.
    pub telemetry: Arc<Telemetry>,
    /// Whether the store can be written.
    pub probe: Arc<StoreProbe>,
    /// What pushes are evaluated with; `None`: the job list alone tells of demand.
    pub pushes: Option<Arc<Pushes>>,
    /// Machines of this host, whose ends are noticed here; `None`: others tell of them, or nobody.
    pub ends: Option<Arc<dyn MachineEnds>>,
}

impl Parts {
    /// Builds the parts that the settings name. `environment` is this process's.
    ///
    /// # Errors
    /// [`Error::Part`] where a part cannot be had, with what helps.
    pub async fn from_settings(
        settings: Settings,
        replica: &str,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, Error> {
        let Backends { ports, inbox, demand, ends } =
            backends(&settings, replica, environment).await?;
        let parts = Self::over(settings, ports, replica);
        let pushes = Arc::new(Pushes::new(demand, inbox, parts.controller.clone()));
        Ok(Self { pushes: Some(pushes), ends, ..parts })
    }

    /// A server's parts over these ports: watched, with a controller on top. `replica` names this
    /// process as the holder of the sweep's lease and in the log.
    pub fn over(settings: Settings, ports: Ports, replica: &str) -> Self {
        let telemetry = Telemetry::new(&settings.classes, ports.clock.clone());
        let ports = telemetry::observe(ports, &telemetry);
        let probe = Arc::new(StoreProbe::new(ports.clone(), replica));
        let controller = Controller::new(ports, controller_settings(&settings, replica));
        Self {
            settings: Arc::new(settings),
            controller: Arc::new(controller),
            telemetry,
            probe,
            pushes: None,
            ends: None,
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

/// Brings the next poll forward. Many at once are one.
#[derive(Default)]
pub struct Nudge(Notify);

impl Nudge {
    /// Polls as soon as the pace allows.
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
    // An error says that the server is gone: that is a stop too.
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Why a server could not be started, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    #[error(transparent)]
    Part(#[from] BackendError),
    /// Signals cannot be waited for.
    #[error("signals cannot be waited for")]
    Signals(#[source] std::io::Error),
    /// A loop ended though nobody asked for it.
    #[error("the server ended by itself: a defect, please report it with the log")]
    Ended,
}

/// This process's name: the host's and the process's id.
pub fn replica() -> String {
    let host = std::fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    let host = host.trim();
    format!("{}-{}", if host.is_empty() { "localhost" } else { host }, std::process::id())
}
