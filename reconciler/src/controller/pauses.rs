//! Pauses: kept in the store, read before each launch, and cached for people and for waiting runs.
//!
//! A run of a class that is not paused in the cache reads them when it is about to launch. One that
//! is paused in the cache reads them at once, because its class may have been resumed elsewhere.

use jiff::Timestamp;

use super::Controller;
use super::cache::Pauses;
use crate::model::{ClassName, Pause, Phase, paused, serving};
use crate::ports::PortError;

impl Controller {
    /// Pauses the launches of a class, or of all. Returns the pause that holds: an earlier one
    /// stays as it is. A launch that has begun may still happen.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn pause(&self, pause: &Pause) -> Result<Pause, PortError> {
        let held = self.ports.store.pause(pause).await?;
        self.read_pauses().await?;
        Ok(held)
    }

    /// Ends the pause of a class; with `None` every pause. Returns those that ended, and makes the
    /// runs due that waited for it.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn resume(&self, class: Option<&ClassName>) -> Result<Vec<Pause>, PortError> {
        let ended = self.ports.store.resume(class).await?;
        self.read_pauses().await?;
        let now = self.ports.clock.now();
        // A run that is not made due here is due within five minutes.
        let open = self.ports.store.open(now).await.unwrap_or_default();
        let settings = self.settings();
        for run in open.iter().filter(|run| run.phase == Phase::Waiting && !run.deleted) {
            let own = serving(&settings.classes, &run.repo, &run.runs_on).map(|class| &class.name);
            if own.is_some_and(|own| ended.iter().any(|pause| pause.covers(own))) {
                self.cache.set_due(&run.name, Some(now));
            }
        }
        Ok(ended)
    }

    /// Reads the pauses.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn read_pauses(&self) -> Result<Vec<Pause>, PortError> {
        let ticket = self.cache.ticket();
        let pauses = self.cache.pauses.after(&self.cache, ticket, self.list_pauses()).await?;
        Ok(pauses.to_vec())
    }

    /// Returns the pauses as they were last read by this process.
    pub fn known_pauses(&self) -> Vec<Pause> {
        self.cache.pauses.known().map(|(pauses, _)| pauses.to_vec()).unwrap_or_default()
    }

    async fn list_pauses(&self) -> Result<Pauses, PortError> {
        self.cache.pauses.reads_at(self.ports.clock.now());
        self.ports.store.pauses().await
    }

    /// Returns the pause that covers a class, for an observation that began with this ticket.
    pub(super) async fn pause_of(
        &self,
        class: &ClassName,
        ticket: u64,
    ) -> Result<Option<Pause>, PortError> {
        let known = self.cache.pauses.known();
        if known.is_none_or(|(pauses, _)| paused(&pauses, class).is_none()) {
            return Ok(None);
        }
        self.pause_before_launch(class, ticket).await
    }

    /// Returns the pause that covers a class, by a list that was read after this ticket.
    pub(super) async fn pause_before_launch(
        &self,
        class: &ClassName,
        ticket: u64,
    ) -> Result<Option<Pause>, PortError> {
        let pauses = self.cache.pauses.after(&self.cache, ticket, self.list_pauses()).await?;
        Ok(paused(&pauses, class).cloned())
    }

    /// Returns the pause of each configured class that has one, as last read, and since when.
    pub fn paused_classes(&self) -> Vec<(ClassName, Timestamp)> {
        let pauses = self.known_pauses();
        let settings = self.settings();
        let classes = settings.classes.iter().map(|class| &class.name);
        classes.filter_map(|name| Some((name.clone(), paused(&pauses, name)?.since))).collect()
    }
}
