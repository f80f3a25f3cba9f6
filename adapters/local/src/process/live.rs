//! Machines that were seen alive, so that their end is noticed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::model::{Machine, RunName};

use super::directory::Place;
use super::scan::Scan;
use super::user::Account;

/// By client token, with the run that the machine belongs to.
#[derive(Default)]
pub(super) struct Live(Mutex<BTreeMap<String, RunName>>);

impl Live {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, RunName>> {
        self.0.lock()
    }

    /// Adds a machine if it is alive.
    pub(super) fn saw(&self, machine: &Machine) {
        if machine.is_live() {
            self.all().insert(machine.id.0.clone(), machine.attempt_id.run.clone());
        }
    }

    /// Returns the runs whose machines have ended since, each once.
    pub(super) fn ended(
        &self,
        account: &Account,
        place: impl Fn(&str) -> Option<Place>,
        now: Timestamp,
    ) -> Vec<RunName> {
        let all: Vec<(String, RunName)> =
            self.all().iter().map(|(token, run)| (token.clone(), run.clone())).collect();
        let mut processes = Scan::new(account);
        let mut ended = Vec::new();
        for (token, run) in all {
            let lives = place(&token).is_some_and(|place| {
                place.leads() || place.inspect(&mut processes, now).is_some_and(|m| m.is_live())
            });
            if !lives {
                self.all().remove(&token);
                ended.push(run);
            }
        }
        ended
    }
}
