//! The settings in force, which a reload replaces.

use std::sync::Arc;

use tokio::sync::watch;

use crate::settings::Settings;

/// The settings in force, shared by all that use them. Read them for each use: a copy goes stale.
#[derive(Debug)]
pub struct Live(watch::Sender<Arc<Settings>>);

impl Live {
    /// Begins with these settings.
    pub fn new(settings: Settings) -> Self {
        Self(watch::Sender::new(Arc::new(settings)))
    }

    /// Returns the settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.0.borrow().clone()
    }

    /// Replaces them.
    pub(super) fn replace(&self, settings: Settings) {
        self.0.send_replace(Arc::new(settings));
    }

    /// Returns a receiver that is told of each replacement.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Settings>> {
        self.0.subscribe()
    }
}

/// Returns the settings of the controller.
pub fn controller_settings(
    settings: &Settings,
    replica: &str,
) -> tinqs_ci_reconciler::controller::Settings {
    let forge = &settings.forge;
    tinqs_ci_reconciler::controller::Settings {
        installation: settings.installation.clone(),
        instance_url: forge.machine_url.clone().unwrap_or_else(|| forge.url.clone()),
        git_token: forge.git_token.clone(),
        secrets: settings.secrets(),
        classes: settings.classes.clone(),
        prices: settings.prices.clone(),
        poll_every: forge.poll_every,
        sweep_every: forge.sweep_every,
        replica: replica.to_owned(),
    }
}
