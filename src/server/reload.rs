//! Reads the configuration and the credentials again, and puts them in force.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::model::Secret;
use tokio::signal::unix::Signal;
use tokio::time::sleep;

use super::file_watch::Why;
use super::live::{Live, controller_settings};
use super::secret_sources::{Watched, watched};
use super::tls_watch::TlsWatch;
use crate::api::Reloaded;
use crate::push::Pushes;
use crate::settings::{self, Changes, Mistakes, SecretSources, Settings, Source};
use crate::telemetry::{self, Telemetry};

/// The interval between checks of the places of credentials.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The number of credentials that are removed from the logs of machines, former ones included.
const REDACTED: usize = 64;
/// The remedy of a certificate that cannot be used.
const KEPT_TLS: &str = "the former certificate stays in force; write the pair to the two files";

/// Reads the configuration again on request, files of credentials when they change, and secrets in
/// AWS from time to time.
pub struct Reloader {
    source: Source,
    live: Arc<Live>,
    controller: Arc<Controller>,
    telemetry: Arc<Telemetry>,
    /// Has the client of the forge.
    pushes: Option<Arc<Pushes>>,
    replica: String,
    /// Held during a reload, so that one follows the other.
    reloading: Mutex<()>,
    /// Held during each change, so that changes happen one after the other.
    secrets: Mutex<Vec<State>>,
    /// Locked after `secrets`.
    tls: Mutex<TlsWatch>,
}

/// The place of a credential, and whether a warning about it is open.
struct State {
    watched: Watched,
    failing: bool,
}

fn states(sources: SecretSources) -> Vec<State> {
    watched(sources).map(|watched| State { watched, failing: false }).collect()
}

impl Reloader {
    /// Creates it for these parts of a server. `sources` were read when the server started.
    pub(super) fn new(
        source: Source,
        sources: SecretSources,
        live: Arc<Live>,
        controller: Arc<Controller>,
        telemetry: Arc<Telemetry>,
        pushes: Option<Arc<Pushes>>,
        replica: &str,
    ) -> Arc<Self> {
        let replica = replica.to_owned();
        let (secrets, reloading) = (Mutex::new(states(sources)), Mutex::new(()));
        let tls = Mutex::default();
        let reloader = Arc::new(Self {
            source,
            live,
            controller,
            telemetry,
            pushes,
            replica,
            reloading,
            secrets,
            tls,
        });
        if let Some(pushes) = &reloader.pushes {
            // Weak, because the reloader has the client.
            let this = Arc::downgrade(&reloader);
            pushes.demand().client().on_rejected_token(move || {
                if let Some(this) = this.upgrade() {
                    this.reread_secrets(Why::Rejected);
                }
            });
        }
        reloader
    }

    /// Reads the configuration again and puts in force what can change while the server runs.
    /// Blocks on files and on AWS.
    ///
    /// # Errors
    /// Every mistake of the configuration; the former one stays in force.
    pub fn reload(&self) -> Result<Reloaded, Mistakes> {
        let _one_at_a_time = self.reloading.lock();
        // Before the lock: reading a pipe waits for its writer.
        let loaded = self.source.load();
        let mut secrets = self.secrets.lock();
        let result = loaded.and_then(|loaded| {
            let (settings, changes) = settings::merge(&self.live.settings(), loaded.settings);
            self.put_in_force(settings).map_err(|message| Mistakes {
                lines: vec![message],
                hint: "fix it; the former configuration stays in force".to_owned(),
            })?;
            *secrets = states(loaded.secret_sources);
            self.tls.lock().forget();
            let Changes { changed, restart } = changes;
            Ok(Reloaded { changed, restart, warnings: loaded.warnings })
        });
        match &result {
            Ok(Reloaded { changed, restart, warnings }) => {
                for change in changed {
                    tracing::info!(change, "configuration changed");
                }
                for key in restart {
                    tracing::warn!(key, "cannot change while running, restart to apply");
                }
                for warning in warnings {
                    tracing::warn!(warning, "questionable configuration");
                }
                self.telemetry.metrics.config.loaded(self.telemetry.now());
                let (changed, restart) = (changed.len(), restart.len());
                tracing::info!(changed, restart, "reloaded configuration");
            }
            Err(Mistakes { lines, hint }) => {
                self.telemetry.metrics.config.failed();
                for error in lines {
                    tracing::error!(error, hint, "cannot reload, the former configuration stays");
                }
            }
        }
        result
    }

    /// Checks the places of credentials, and puts changed ones in force. Blocks on files, and with
    /// [`Why::Tick`] on AWS.
    pub(super) fn reread_secrets(&self, why: Why) {
        let secrets = match why {
            Why::Tick => Some(self.secrets.lock()),
            // On a thread of the runtime, which must not wait: the holder brings the new token.
            Why::Rejected => self.secrets.try_lock(),
        };
        let Some(mut secrets) = secrets else { return };
        for State { watched, failing } in secrets.iter_mut() {
            let Some(read) = watched.check(why) else { continue };
            let (key, place) = (watched.key(), watched.place());
            let replaced = read.and_then(|secret| {
                let mut settings = Settings::clone(&self.live.settings());
                if !settings.replace_secret(key, &secret) {
                    return Ok(false);
                }
                self.put_in_force(settings).map(|()| true)
            });
            match replaced {
                Ok(true) => tracing::info!(key, place, "secret changed, the new one is in force"),
                Ok(false) if *failing => tracing::info!(key, place, "secret is readable again"),
                Ok(false) => {}
                Err(ref error) => {
                    let hint = watched.remedy();
                    tracing::warn!(key, place, error, hint, "cannot use changed secret");
                }
            }
            *failing = replaced.is_err();
        }
    }

    /// Checks the files of the server's certificate, and puts a changed one in force for the
    /// connections that follow. Blocks on files.
    pub(super) fn reread_certificate(&self) {
        // Changes happen one after the other.
        let _secrets = self.secrets.lock();
        let mut watch = self.tls.lock();
        let Some(current) = self.live.settings().server.tls.clone() else { return };
        let now = self.telemetry.now();
        if let Some(read) = watch.check(&current, now) {
            let (cert, key) = (current.cert.display(), current.key.display());
            let replaced = read.and_then(|tls| {
                if tls == current {
                    return Ok(false);
                }
                let mut settings = Settings::clone(&self.live.settings());
                settings.server.tls = Some(tls);
                self.put_in_force(settings).map(|()| true)
            });
            match &replaced {
                Ok(true) => {
                    tracing::info!(%cert, %key, "certificate changed, the new one is in force");
                }
                Ok(false) if watch.failing => {
                    tracing::info!(%cert, %key, "certificate is readable again");
                }
                Ok(false) => {}
                Err(error) => {
                    let hint = KEPT_TLS;
                    tracing::warn!(%cert, %key, error, hint, "cannot use changed certificate");
                }
            }
            watch.failing = replaced.is_err();
        }
        if let Some(tls) = &self.live.settings().server.tls {
            watch.warn(tls, now);
        }
    }

    /// Gives these settings to all that use them. After an error nothing has changed.
    fn put_in_force(&self, settings: Settings) -> Result<(), String> {
        if let Some(pushes) = &self.pushes {
            let client = pushes.demand().client();
            client.configure(&settings.forge).map_err(|error| error.to_string())?;
        }
        self.telemetry.configure(&settings);
        let mut controlled = controller_settings(&settings, &self.replica);
        // A machine that booted before may still print a former one.
        let former = self.controller.settings();
        let former = former.secrets.iter().filter(|secret| !controlled.secrets.contains(secret));
        let former: Vec<Secret> = former.cloned().collect();
        controlled.secrets.extend(former);
        controlled.secrets.truncate(REDACTED);
        self.controller.configure(controlled);
        telemetry::configure(telemetry::filter(&self.source.env, settings.server.log.as_deref()));
        self.live.replace(settings);
        Ok(())
    }
}

/// Reloads on each signal, and checks the places of credentials once a second.
pub(super) async fn run(reloader: Arc<Reloader>, mut hangup: Signal) {
    loop {
        let reload = tokio::select! {
            Some(()) = hangup.recv() => true,
            () = sleep(CHECK_EVERY) => false,
        };
        let reloader = reloader.clone();
        let work = move || {
            if reload {
                // The result is logged.
                let _ = reloader.reload();
            } else {
                reloader.reread_secrets(Why::Tick);
                reloader.reread_certificate();
            }
        };
        if tokio::task::spawn_blocking(work).await.is_err() {
            // The panic hook has logged the place.
            tracing::error!("reading the configuration again panicked: a bug");
        }
    }
}
