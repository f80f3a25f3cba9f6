//! Laws over time, checked once a minute and at the end.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::Laws;
use crate::cloud::Cloud;
use crate::cloud::machine::{Doing, SimulatedMachine};
use crate::forge::{Forge, Line};

/// Interval of the check.
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// Longest permitted life of a machine after its job ended or its registration was removed, beside
/// its hold.
pub(super) const LINGERS_AT_MOST: SignedDuration = SignedDuration::from_mins(15);
/// The same while calls are refused, lose their replies and take minutes: one process has to read the
/// forge and the cloud twice, a minute apart, and each reconcile takes half a dozen calls.
const LINGERS_AMID_FAILURES: SignedDuration = SignedDuration::from_mins(60);

/// Longest permitted life of a machine that was never used, after its boot promise.
const UNUSED_AT_MOST: SignedDuration = SignedDuration::from_mins(7);
/// The same where registrations can be disabled: a sweep, and a minute.
const UNUSED_AND_DISABLED_AT_MOST: SignedDuration = SignedDuration::from_mins(5);
/// A guest checks its times every five seconds.
const TICKS: SignedDuration = SignedDuration::from_secs(5);

/// Conditions in one minute that no controller can overcome.
#[derive(Clone, Debug, Default)]
pub struct Allowance {
    /// A port is down: nothing can be observed or changed.
    pub cut_off: bool,
    /// A replica died and lost its cache (since when registrations are missing), or one is paused
    /// and holds the wake-ups that it took.
    pub forgotten: bool,
    /// Readings or effects of rule 22 may fail, or failed within the last minutes.
    pub unreadable: bool,
    /// Many calls are refused, many replies are lost, and calls may take minutes.
    pub failing: bool,
    /// No job can start: a port is down, the forge assigns none, or there is no capacity.
    pub no_job_can_start: bool,
    /// Jobs that get no machine: given up, deleted by a person, or of a class without working
    /// machines.
    pub hopeless: BTreeSet<i64>,
}

/// Duration of a state that must not last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    since: Timestamp,
    excused: SignedDuration,
    told: bool,
}

impl Wait {
    pub(super) fn since(since: Timestamp) -> Self {
        Self { since, excused: SignedDuration::ZERO, told: false }
    }

    /// Adds a minute. Returns the duration the first time it exceeds `most`.
    pub(super) fn goes_on(
        &mut self,
        now: Timestamp,
        excused: bool,
        most: SignedDuration,
    ) -> Option<SignedDuration> {
        if excused {
            self.excused += MINUTE;
        }
        let lasted = now.duration_since(self.since) - self.excused;
        let too_long = lasted > most && !self.told;
        self.told |= too_long;
        too_long.then_some(lasted)
    }
}

impl Laws {
    /// Records that a registration is no longer at the forge.
    pub(super) fn registration_went(&mut self, now: Timestamp, id: i64) {
        self.registration_went.entry(id).or_insert(now);
    }

    /// Checks every state that must not last.
    pub fn every_minute(
        &mut self,
        now: Timestamp,
        cloud: &Cloud,
        forge: &Forge,
        excuse: &Allowance,
    ) {
        self.waits(now, forge, excuse);
        self.unused(now, cloud, forge, excuse);
        self.canceled_all_end(now, cloud, forge);
        let gone: Vec<i64> =
            cloud.live().map(|m| m.runner.id).filter(|id| forge.runner(*id).is_none()).collect();
        for id in gone {
            self.registration_went(now, id);
        }
        let lingering: Vec<(String, String, Timestamp, SignedDuration)> = cloud
            .live()
            .filter_map(|machine| {
                // The forge removes the registration when the job ends. If the job itself was
                // deleted there, the registration stays and the controller cannot know.
                let since = *self.registration_went.get(&machine.runner.id)?;
                let limit = if excuse.failing { LINGERS_AMID_FAILURES } else { LINGERS_AT_MOST };
                let most = limit + machine.boot.hold;
                Some((machine.id.to_string(), machine.attempt_id.run.to_string(), since, most))
            })
            .collect();
        self.lingering.retain(|id, _| lingering.iter().any(|(other, ..)| other == id));
        for (id, run, since, most) in lingering {
            let wait = self.lingering.entry(id.clone()).or_insert(Wait::since(since));
            let excused = excuse.cut_off || excuse.forgotten;
            if wait.goes_on(now, excused, most).is_some() {
                let what = format!(
                    "{id} is live {} minutes after the end of its job or registration",
                    most.as_mins()
                );
                self.broken("time", now, &run, what);
            }
        }
    }

    /// L12: a machine that was never used ends soon after its boot promise, and no runner waits for a
    /// job any more.
    fn unused(&mut self, now: Timestamp, cloud: &Cloud, forge: &Forge, excuse: &Allowance) {
        let excused = excuse.cut_off || excuse.forgotten || excuse.unreadable;
        let never_used = |machine: &SimulatedMachine| {
            let row = forge.runner(machine.runner.id);
            !machine.is_busy() && row.is_some_and(|row| row.last_task.is_none())
        };
        let mut over = BTreeMap::new();
        for machine in cloud.live() {
            let id = &machine.attempt_id;
            let known = self.attempts.contains_key(id) && !self.scrambled.contains(&id.run);
            let Some(promise) = machine.boot.promise().filter(|_| known) else { continue };
            let since = promise.idle_until();
            if self.orphans.contains(&machine.id) || self.twinned.contains(id) || now <= since {
                continue;
            }
            if matches!(machine.doing, Doing::Idle { .. }) && now > since + TICKS {
                let what = format!("{}: its runner waits for a job after its promise", machine.id);
                self.broken("L12", now, id.run.as_str(), what);
            }
            if never_used(machine) {
                over.insert(machine.id.to_string(), (id.run.to_string(), since));
            }
        }
        self.unused.retain(|id, _| over.contains_key(id));
        let disables = forge.config.line >= Line::V1_26;
        let most = if disables { UNUSED_AND_DISABLED_AT_MOST } else { UNUSED_AT_MOST };
        for (id, (run, since)) in over {
            let wait = self.unused.entry(id.clone()).or_insert(Wait::since(since));
            if wait.goes_on(now, excused, most).is_some() {
                let minutes = most.as_mins();
                let what =
                    format!("{id} was never used and is live {minutes} minutes after its promise");
                self.broken("L12", now, &run, what);
            }
        }
    }

    fn waits(&mut self, now: Timestamp, forge: &Forge, excuse: &Allowance) {
        let mut long = Vec::new();
        let waiting = forge.waiting();
        let served: Vec<_> =
            waiting.into_iter().filter(|job| self.served(&job.repo, &job.spec.runs_on)).collect();
        let goes_on: BTreeSet<(i64, Timestamp)> =
            served.iter().map(|job| (job.id, job.updated_at)).collect();
        self.waiting.retain(|wait, _| goes_on.contains(wait));
        for job in served {
            // A job that no class served until now counts from the moment when one does.
            let since = job.updated_at.max(now - MINUTE);
            let key = (job.id, job.updated_at);
            let wait = self.waiting.entry(key).or_insert(Wait::since(since));
            let excused = excuse.no_job_can_start || excuse.hopeless.contains(&job.id);
            long.extend(
                wait.goes_on(now, excused, self.waits_at_most).map(|waited| (job.id, waited)),
            );
        }
        for (id, waited) in long {
            let what = format!("job {id} has waited {} s", waited.as_secs());
            self.broken("time", now, &format!("job-{id}"), what);
        }
    }

    /// Records that a job was assigned to a runner after `waited`.
    pub fn on_started(&mut self, job: i64, waited: SignedDuration) {
        if waited > self.longest_wait.0 {
            self.longest_wait = (waited, job);
        }
    }

    /// Records something that should be gone.
    pub fn left_over(&mut self, now: Timestamp, about: &str, what: String) {
        self.broken("time", now, about, what);
    }
}
