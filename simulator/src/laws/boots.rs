//! Laws of the breaker for machines that never come online: it opens only after such machines, and
//! while it is open one machine at a time is launched.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    AttemptId, ClassName, End, EndedBy, Reason, Run, RunName, serving,
};

use super::Laws;
use crate::cloud::machine::SimulatedMachine;

/// Every replica knows within this time what another one recorded.
const KNOWN_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// Least time between two launches while the breaker is open.
const APART: SignedDuration = SignedDuration::from_mins(4);
/// Machines in a row that never came online.
const IN_A_ROW: usize = 3;

/// State of the check of the boots of machines.
#[derive(Clone, Debug, Default)]
pub(super) struct BootWatch {
    /// The attempts of open runs whose machine was not ready in time, and when that was recorded.
    not_ready: BTreeMap<RunName, BTreeMap<AttemptId, (ClassName, Timestamp)>>,
}

impl BootWatch {
    fn note(&mut self, run: &Run) {
        if !run.is_open() {
            self.not_ready.remove(&run.name);
            return;
        }
        let current = run.status.attempt.iter();
        let current = current.filter_map(|a| Some((a.number, &a.class, a.ended?)));
        let past = run.status.past.iter().map(|p| (p.number, &p.class, p.ended));
        for (number, class, ended) in current.chain(past) {
            if ended.why == End::NeverReady {
                let of_run = self.not_ready.entry(run.name.clone()).or_default();
                of_run.entry(run.attempt_id(number)).or_insert((class.clone(), ended.at));
            }
        }
    }
}

/// Returns whether a machine did not start its runner in time, and neither the cloud nor a person is
/// the cause.
fn never_came(machine: &SimulatedMachine, boot_within: SignedDuration) -> bool {
    let by = machine.launched_at + boot_within;
    let was_up = machine.ended_at().is_none_or(|at| at >= by);
    let ended_itself = machine.ended_by == Some(EndedBy::Itself);
    machine.started_at.is_none_or(|at| at > by) && (was_up || ended_itself)
}

impl Laws {
    /// Notes a record, and checks that its class is stopped for a reason.
    pub fn on_boots<'a>(
        &mut self,
        now: Timestamp,
        run: &Run,
        all: impl Iterator<Item = &'a SimulatedMachine>,
    ) {
        if !self.watches_boots {
            return;
        }
        self.boots.note(run);
        let condition = run.status.conditions.first();
        let is_stopped = condition.is_some_and(|condition| {
            condition.reason == Reason::BreakerOpen && condition.message.contains("come online")
        });
        let class = serving(&self.classes, &run.spec.job.repo, &run.spec.runs_on);
        let Some(class) = class.filter(|_| is_stopped) else { return };
        let (name, boot_within) = (class.name.clone(), class.times.boot_within);
        let never = all.filter(|m| m.class == name && never_came(m, boot_within)).count();
        if never < IN_A_ROW {
            let what =
                format!("class {name} is stopped after {never} machines that never came online");
            self.broken("boots", now, run.name.as_str(), what);
        }
    }

    /// Checks that a new machine is not one of several that try.
    pub(super) fn probes_are_apart(
        &mut self,
        now: Timestamp,
        made: &SimulatedMachine,
        all: &[&SimulatedMachine],
    ) {
        let class = self.classes.iter().find(|class| class.name == made.class);
        let Some(class) = class.filter(|_| self.watches_boots) else { return };
        let boot_within = class.times.boot_within;
        let of_class = all.iter().filter(|m| m.class == made.class && m.id != made.id);
        let others: Vec<&&SimulatedMachine> = of_class.collect();
        let truly = |attempt_id: &AttemptId| {
            let mut own = others.iter().filter(|m| m.attempt_id == *attempt_id);
            own.any(|m| never_came(m, boot_within))
        };
        let recorded = self.boots.not_ready.values().flatten();
        let recorded = recorded.filter(|(id, (of, _))| *of == made.class && truly(id));
        let mut known: Vec<Timestamp> = recorded.map(|(_, (_, at))| *at).collect();
        known.retain(|at| *at + KNOWN_WITHIN <= now);
        known.sort_unstable();
        let Some(third) = known.len().checked_sub(IN_A_ROW).and_then(|at| known.get(at)) else {
            return;
        };
        // One that came online since then has closed it.
        if others.iter().any(|m| m.started_at.is_some_and(|at| at >= *third - boot_within)) {
            return;
        }
        let opened_at = known.get(IN_A_ROW - 1).copied().unwrap_or(now) + KNOWN_WITHIN;
        let last = others.iter().map(|m| m.launched_at).filter(|at| *at >= opened_at).max();
        let Some(ago) = last.map(|at| now.duration_since(at)).filter(|ago| *ago < APART) else {
            return;
        };
        let (id, name) = (made.attempt_id.clone(), made.class.clone());
        let what = format!(
            "{id}: launched {} s after another one, but machines of class {name} never come online",
            ago.as_secs()
        );
        self.broken("boots", now, id.run.as_str(), what);
    }
}
