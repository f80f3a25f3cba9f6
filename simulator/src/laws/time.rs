//! Laws over time: looked at once a minute, and at the end.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::Laws;
use crate::cloud::Cloud;
use crate::forge::Forge;

/// How often is looked.
const MINUTE: SignedDuration = SignedDuration::from_mins(1);
/// A machine may live so long after its job ended or its registration went.
pub(super) const LINGERS_AT_MOST: SignedDuration = SignedDuration::from_mins(15);

/// What no controller can help at a minute.
#[derive(Clone, Debug, Default)]
pub struct Excuse {
    /// A port is down: nothing can be seen, or done.
    pub cut_off: bool,
    /// A replica died, and with it what it remembered (since when registrations are missing), or one
    /// stands still and holds the wake-ups that it has taken.
    pub forgotten: bool,
    /// No job can start, because of that, or because the forge assigns none, or for want of capacity.
    pub no_job_can_start: bool,
    /// Jobs for which no machine will come: given up, deleted by a person, or of a class that has none.
    pub hopeless: BTreeSet<i64>,
}

/// How long something lasts that may not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    since: Timestamp,
    excused: SignedDuration,
    told: bool,
}

impl Wait {
    fn since(since: Timestamp) -> Self {
        Self { since, excused: SignedDuration::ZERO, told: false }
    }

    /// A minute more. Answers how long it is, the first time that this is too long.
    fn goes_on(
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
    /// A registration is no longer at the forge.
    pub(super) fn registration_went(&mut self, now: Timestamp, id: i64) {
        self.registration_went.entry(id).or_insert(now);
    }

    /// Looks at what may not last.
    pub fn every_minute(&mut self, now: Timestamp, cloud: &Cloud, forge: &Forge, excuse: &Excuse) {
        self.waits(now, forge, excuse);
        let gone: Vec<i64> =
            cloud.live().map(|m| m.runner.id).filter(|id| forge.runner(*id).is_none()).collect();
        for id in gone {
            self.registration_went(now, id);
        }
        let lingering: Vec<(String, String, Timestamp)> = cloud
            .live()
            .filter_map(|machine| {
                // The forge takes the registration away when the job ends. Where the job itself was taken
                // out of the books it stays, and nobody can know.
                let since = *self.registration_went.get(&machine.runner.id)?;
                Some((machine.id.to_string(), machine.slot.run.to_string(), since))
            })
            .collect();
        self.lingering.retain(|id, _| lingering.iter().any(|(other, _, _)| other == id));
        for (id, run, since) in lingering {
            let wait = self.lingering.entry(id.clone()).or_insert(Wait::since(since));
            let excused = excuse.cut_off || excuse.forgotten;
            if wait.goes_on(now, excused, LINGERS_AT_MOST).is_some() {
                let what =
                    format!("{id} lives 15 minutes after its job ended or its registration went");
                self.broken("time", now, &run, what);
            }
        }
    }

    fn waits(&mut self, now: Timestamp, forge: &Forge, excuse: &Excuse) {
        let mut long = Vec::new();
        let waiting = forge.waiting();
        let served: Vec<_> =
            waiting.into_iter().filter(|job| self.served(&job.spec.runs_on)).collect();
        let goes_on: BTreeSet<(i64, Timestamp)> =
            served.iter().map(|job| (job.id, job.updated_at)).collect();
        self.waiting.retain(|wait, _| goes_on.contains(wait));
        for job in served {
            // A job that no class served until now waits since one does.
            let since = job.updated_at.max(now - MINUTE);
            let key = (job.id, job.updated_at);
            let wait = self.waiting.entry(key).or_insert(Wait::since(since));
            let excused = excuse.no_job_can_start || excuse.hopeless.contains(&job.id);
            long.extend(
                wait.goes_on(now, excused, self.waits_at_most).map(|waited| (job.id, waited)),
            );
        }
        for (id, waited) in long {
            let what = format!("job {id} waits for {} s", waited.as_secs());
            self.broken("time", now, &format!("job-{id}"), what);
        }
    }

    /// A job was given to a runner.
    pub fn on_started(&mut self, job: i64, waited: SignedDuration) {
        if waited > self.longest_wait.0 {
            self.longest_wait = (waited, job);
        }
    }

    /// Something is there that must be gone.
    pub fn left_over(&mut self, now: Timestamp, about: &str, what: String) {
        self.broken("time", now, about, what);
    }
}
