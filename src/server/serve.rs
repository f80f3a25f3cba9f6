//! Starts and stops the loops and the HTTP server.

use std::ffi::OsString;
use std::future::Future;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::http::{App, Doors};
use super::listeners::Listeners;
use super::live::Live;
use super::state::{Error, Intervals, Parts, PollSignal, Role, replica, stopped};
use super::{own_token, reload, ticks, workers};
use crate::backends::{self, BackendError};
use crate::settings::{Loaded, Settings, Source};

/// Serves until `shutdown` completes, then stops gracefully: accepts no further webhooks and
/// wake-ups, gives requests and reconciles in progress `intervals.grace` to end, and drops the
/// rest. That loses nothing: accepted data is in the store, and a reconcile may stop anywhere.
///
/// # Errors
/// [`Error::Ended`]: a loop ended unexpectedly.
pub async fn serve(
    parts: Parts,
    listeners: Listeners,
    intervals: Intervals,
    role: Role,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let (stop, stopping) = watch::channel(false);
    let poll_signal = Arc::new(PollSignal::default());
    if !role.reconciles() {
        parts.telemetry.events.keep_none();
    }
    let app = App::new(&parts, poll_signal.clone(), role, listeners.api_address());
    // Intervals follow the settings only where those can change.
    let intervals_now = Arc::new(watch::Sender::new(intervals));
    let mut loops = JoinSet::new();
    if parts.reloader.is_some() {
        loops.spawn(follow(parts.live.clone(), intervals_now.clone(), stopping.clone()));
    }
    listeners.serve(Doors::of(&app), &parts.live, &mut loops, &stopping);
    if role.reconciles() {
        let Parts { controller, telemetry, pushes, ends, .. } = &parts;
        if let Some(pushes) = pushes.clone() {
            let (t, p) = (telemetry.clone(), poll_signal.clone());
            loops.spawn(ticks::pushes(pushes, t, p, intervals.poll, stopping.clone()));
        }
        if let Some(machines) = ends.clone() {
            loops.spawn(ticks::ends(
                machines,
                controller.clone(),
                telemetry.clone(),
                stopping.clone(),
            ));
        }
        let (c, t) = (controller.clone(), telemetry.clone());
        let inbox = pushes.clone();
        loops.spawn(workers::run(c, t, inbox, intervals, stopping.clone(), None));
        let (c, t) = (controller.clone(), telemetry.clone());
        let every = intervals_now.subscribe();
        loops.spawn(ticks::poll(c, t, poll_signal, every, stopping.clone()));
        let (c, t) = (controller.clone(), telemetry.clone());
        loops.spawn(ticks::sweep(c, t, intervals_now.subscribe(), stopping.clone()));
        let (c, t) = (controller.clone(), telemetry.clone());
        loops.spawn(ticks::drift(c, t, intervals_now.subscribe(), stopping.clone()));
        let (c, t) = (controller.clone(), telemetry.clone());
        loops.spawn(ticks::due(c, t, intervals.due, stopping.clone()));
    }
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        _ = loops.join_next() => Err(Error::Ended),
    };
    tracing::info!("stopping, no longer accepting webhooks and wake-ups");
    // An error means that all loops have ended.
    let _ = stop.send(true);
    parts.telemetry.events.end_streams();
    let rest = async { while loops.join_next().await.is_some() {} };
    if tokio::time::timeout(intervals.grace, rest).await.is_err() {
        tracing::warn!("stopped with work in progress, it continues at the next start");
    }
    loops.shutdown().await;
    ended
}

/// Passes on the intervals of replaced settings.
async fn follow(
    live: Arc<Live>,
    intervals: Arc<watch::Sender<Intervals>>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut settings = live.subscribe();
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => return,
            // `live` keeps the sender.
            _ = settings.changed() => {}
        }
        let now = Intervals::of(&settings.borrow_and_update());
        intervals.send_if_modified(|before| std::mem::replace(before, now) != now);
    }
}

/// Builds the parts that the settings name, listens, and serves until SIGTERM or SIGINT; SIGHUP
/// reads the configuration again from `source`. `environment` is that of this process; `process:`
/// machines inherit selected variables.
///
/// # Errors
/// A part cannot be built, or the address cannot be listened on.
pub async fn run(
    loaded: Loaded,
    source: Source,
    role: Role,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), Error> {
    let Loaded { mut settings, secret_sources, file, .. } = loaded;
    let replica = replica();
    let intervals = Intervals::of(&settings);
    let (store, machines) = (settings.store.clone(), settings.process.user.clone());
    // Only a role with an API uses one. A command that finds the server listening finds it, too.
    if role.reconciles() {
        own_token::ensure(&mut settings.server, &store, file.as_deref());
    }
    let listeners = Listeners::bind(&settings.server).await?;
    let mut terminated = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    // Without a handler it would end the process.
    let hangup = signal(SignalKind::hangup()).map_err(Error::Signals)?;
    let shutdown = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    tokio::pin!(shutdown);
    let parts = tokio::select! {
        parts = started(settings, &replica, environment, role) => parts?,
        // Building parts may wait for the forge; a signal interrupts that.
        () = &mut shutdown => return Ok(()),
    };
    // The store is open: no other server uses its directory.
    let listeners = listeners.with_socket(&source.env, &store, machines.as_deref());
    announce(&parts, &listeners, role);
    let parts = parts.reloadable(source, secret_sources, &replica);
    let mut reloads = JoinSet::new();
    if let Some(reloader) = parts.reloader.clone() {
        reloads.spawn(reload::run(reloader, hangup));
    }
    let served = serve(parts, listeners, intervals, role, shutdown).await;
    tracing::info!("stopped");
    served
}

/// Builds the parts. A token that may not register runners where they are registered fails the
/// start, because no job would get a machine; so does a role whose webhooks nobody signs.
async fn started(
    settings: Settings,
    replica: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    role: Role,
) -> Result<Parts, Error> {
    if !role.reconciles() && settings.forge.webhook_secret.is_none() {
        return Err(unsigned().into());
    }
    let parts = Parts::from_settings(settings, replica, environment, role).await?;
    if let Some(pushes) = parts.pushes.as_ref().filter(|_| role.reconciles()) {
        let settings = parts.live.settings();
        backends::check_registration(&settings.forge, pushes.demand().client()).await?;
    }
    Ok(parts)
}

/// The error of a role that could only trigger a poll, which other replicas make.
fn unsigned() -> BackendError {
    BackendError::Unsupported {
        message: "`serve --role ingest` takes signed webhooks only, and `forge.webhook_secret` is \
                  not set"
            .to_owned(),
        hint: "set the same secret here and in the forge's webhook, or use `--role all`",
    }
}

fn announce(parts: &Parts, listeners: &Listeners, role: Role) {
    let settings: &Settings = &parts.live.settings();
    let classes: Vec<&str> = settings.classes.iter().map(|class| class.name.0.as_str()).collect();
    let mode = parts.pushes.as_ref().and_then(|pushes| pushes.demand().known());
    let demand = mode.map_or("undecided", |mode| mode.word());
    let Listeners { webhooks, api, metrics, .. } = listeners;
    let at = |listener: &TcpListener| listener.local_addr().ok().map(|at| at.to_string());
    tracing::info!(
        webhooks = at(webhooks),
        api = at(api),
        metrics = metrics.as_ref().and_then(at),
        tls = settings.server.tls.as_ref().map(|tls| tls.cert.display().to_string()),
        role = ?role,
        demand,
        forge = settings.forge.url,
        classes = classes.join(","),
        "listening",
    );
    if role.ingests() && settings.forge.webhook_secret.is_none() {
        tracing::warn!(
            "no `forge.webhook_secret`, webhooks only trigger a poll, at most one per 5 s; set the \
             same secret here and in the forge's webhook",
        );
    }
}
