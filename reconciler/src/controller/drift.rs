//! Drift from what this process has listed. Calls neither forge nor cloud.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;

use super::by_run::ByRun;
use super::cache::Machines;
use super::{Controller, Settings};
use crate::model::{
    Drift, Failing, Machine, ObservedClass, Phase, Run, RunName, SeenSince, paused,
};
use crate::plan::drift::{Snapshot, drift, needs_record, needs_running};
use crate::ports::{Filter, OpenRun};

/// The maximum number of records that are read for one answer, those that wait longest first. The
/// others are judged by their summary.
const RECORDS: usize = 50;
/// The maximum number of running runs that are read while some runner seems idle for long.
const RUNNING: usize = 500;

/// Drift, with the records that were read to judge it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriftReport {
    /// The open drift, longest first.
    pub drift: Vec<Drift>,
    /// Records of runs that wait for too long, and of running ones if some were needed.
    pub records: Vec<Run>,
}

impl Controller {
    /// Returns the drift among the open runs of the last poll or sweep; `None` if this replica does
    /// not hold the lease. Reads only records of runs that wait for too long.
    pub async fn polled_drift(&self, failing: Failing) -> Option<DriftReport> {
        let open = self.cache.polled.open()?;
        Some(self.drift_among(&open, Vec::new(), failing).await)
    }

    /// Returns the drift among these open runs. Of the records that it needs and that are not
    /// `known`, it reads those of the runs that wait longest.
    pub async fn drift_among(
        &self,
        open: &[OpenRun],
        known: Vec<Run>,
        failing: Failing,
    ) -> DriftReport {
        let now = self.ports.clock.now();
        let settings = self.settings();
        let machines = self.cache.machines.known();
        let rows = self.cache.rows.known(&settings.installation_id());
        if let Some((rows, rows_at)) = &rows {
            self.cache.polled.note(rows.all(), *rows_at, machines.as_ref().map(|known| &*known.0));
        }
        let of_machines = machines.as_ref().map(|known| &*known.0);
        let (mut records, unread) = wanted(&settings, open, of_machines, known, now);
        for name in unread {
            // Of one that cannot be read the summary is used.
            if let Ok(Some(run)) = self.ports.store.get(&name).await {
                records.push(run);
            }
        }
        let pauses = self.known_pauses();
        let classes = settings.classes.iter().map(|class| ObservedClass {
            class: class.clone(),
            unavailable: self.unavailable_to(class, now),
            pools: Vec::new(),
            breaker: self.cache.breakers.opened(&class.name),
            paused: paused(&pauses, &class.name).cloned(),
            budget_stop: self.budget_stop(class, now),
            boot_stop: self.cache.boots.known(&class.name, None, now),
            spot_breaker: self.cache.interruptions.breaker(class, now),
        });
        let classes: Vec<ObservedClass> = classes.collect();
        let all = machines.as_ref().map_or(&[][..], |known| known.0.all());
        let live = all.iter().filter(|machine| machine.is_live());
        let since = SeenSince {
            idle: self.cache.polled.idle(),
            alone: self.cache.polled.alone(),
            missing: self.cache.missing_among(live.map(|machine| machine.registration)),
        };
        if needs_running(&since, now) {
            records.extend(self.running().await);
        }
        let seen = Snapshot {
            classes: &classes,
            open,
            records: &records,
            machines: machines.as_ref().map(|known| (known.0.all(), known.1)),
            registrations: rows.as_ref().map(|(rows, at)| (rows.all(), *at)),
            since: &since,
            failing,
            room: self.ports.compute.room(),
            sweep_every: settings.sweep_every,
        };
        let drift = drift(&seen, now);
        DriftReport { drift, records }
    }

    /// Returns the newest running runs; none if they cannot be read.
    async fn running(&self) -> Vec<Run> {
        let running = Some(Phase::Running);
        let filter = Filter { phase: running, class: None, repo: None, limit: RUNNING };
        self.ports.store.page(&filter, None).await.map(|page| page.items).unwrap_or_default()
    }
}

/// Returns the needed records among the `known` ones, and the names of those to be read, at most
/// [`RECORDS`]. Needed are those of runs that wait for too long, and of those with a machine that no
/// configuration of its class describes.
fn wanted(
    settings: &Settings,
    open: &[OpenRun],
    machines: Option<&Machines>,
    mut known: Vec<Run>,
    now: Timestamp,
) -> (Vec<Run>, Vec<RunName>) {
    let is_described = |machine: &Machine| {
        let class = settings.classes.iter().find(|class| class.name == machine.class);
        class.is_some_and(|class| {
            let mut specs = class.machines.iter();
            specs.any(|spec| spec.kind == machine.kind && spec.market == machine.market)
        })
    };
    let machines = machines.map_or(&[][..], ByRun::all).iter();
    let odd = machines.filter(|machine| machine.is_live() && !is_described(machine));
    let odd: BTreeSet<&RunName> = odd.map(|machine| &machine.attempt_id.run).collect();
    let names: HashSet<RunName> = known.iter().map(|run| run.name.clone()).collect();
    let mut needed: HashSet<&RunName> = odd.iter().copied().collect();
    let mut late: Vec<&OpenRun> = Vec::new();
    for run in open.iter().filter(|run| needs_record(run, now)) {
        if names.contains(&run.name) {
            needed.insert(&run.name);
        } else if !odd.contains(&run.name) {
            late.push(run);
        }
    }
    // There may be very many.
    if late.len() > RECORDS {
        late.select_nth_unstable_by(RECORDS, |a, b| longest_first(a, b));
        late.truncate(RECORDS);
    }
    late.sort_by(|a, b| longest_first(a, b));
    known.retain(|run| needed.contains(&run.name));
    let odd = odd.into_iter().filter(|name| !names.contains(*name));
    let unread = odd.chain(late.into_iter().map(|run| &run.name)).take(RECORDS);
    (known, unread.cloned().collect())
}

fn longest_first(a: &OpenRun, b: &OpenRun) -> Ordering {
    (a.waiting_since, &a.name).cmp(&(b.waiting_since, &b.name))
}
