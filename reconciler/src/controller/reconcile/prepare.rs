//! Prepares the next attempt before it is recorded: a seat if they are limited, and a registration.

use super::{Reconcile, Stop};
use crate::controller::ActionKind;
use crate::model::{RepoRef, Run};
use crate::plan::{Prepare, Rule, record};

impl Reconcile<'_> {
    /// Takes the seat and registers the runner of the next attempt. Returns whether there is one to
    /// launch.
    pub(super) async fn prepare(&mut self, prepare: Prepare) -> Result<bool, Stop> {
        let Some(mut run) = self.seen.run.take() else { return Ok(false) };
        let result = self.prepare_for(&mut run, prepare).await;
        self.seen.run = Some(run);
        let prepared = result?;
        if prepared {
            self.recorded();
        }
        Ok(prepared)
    }

    /// Returns whether the free seats of the class turn out to be for other runs. Asks once, and
    /// again after a seat became free.
    pub(super) async fn is_turn_of_others(&mut self) -> bool {
        if self.asked_whose_turn {
            return false;
        }
        self.asked_whose_turn = true;
        self.seen.turn_of = self.controller.turn_of_others(&self.seen).await;
        !self.seen.turn_of.is_empty()
    }

    async fn prepare_for(&mut self, run: &mut Run, prepare: Prepare) -> Result<bool, Stop> {
        let ports = &self.controller.ports;
        let now = self.seen.now;
        let repo = RepoRef { id: prepare.repo_id, name: &prepare.repo };
        if let Some(limits) = prepare.seat {
            self.now_in_time()?;
            let class = self.seen.class.as_ref().map(|observed| &observed.class);
            let seat = if class.is_some_and(|class| self.controller.is_full_for(run, class, now)) {
                Ok(false)
            } else {
                let Prepare { class, attempt_id, .. } = &prepare;
                ports.store.seat(class, attempt_id, repo, limits).await
            };
            if matches!(seat, Ok(false)) {
                record::at_limit(&mut run.status, &prepare, now);
                self.release_probe(run).await;
                return Ok(false);
            }
            self.note(
                ActionKind::Seat,
                prepare.class.to_string(),
                Some(&prepare.attempt_id),
                Rule::Seat,
                seat.as_ref().err(),
            );
            if seat.is_err() {
                record::not_prepared(&mut run.status, now);
                return Ok(false);
            }
            self.seen.seats.push((prepare.class.clone(), prepare.attempt_id.clone()));
        }
        self.now_in_time()?;
        let runner = ports.forge.register(&prepare.attempt_id, repo, &prepare.labels).await;
        let target = runner.as_ref().map_or_else(|_| String::new(), |r| r.id.to_string());
        self.note(
            ActionKind::Register,
            target,
            Some(&prepare.attempt_id),
            Rule::NextAttempt,
            runner.as_ref().err(),
        );
        let Ok(runner) = runner else {
            record::not_prepared(&mut run.status, now);
            return Ok(false);
        };
        let settings = self.controller.settings();
        let boot = (settings.instance_url.clone(), settings.git_token.clone());
        let live = record::live_attempts(&self.seen, run);
        record::prepared(&mut run.status, prepare, runner, boot, now, &live);
        Ok(true)
    }
}
