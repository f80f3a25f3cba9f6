//! Laws over time: looked at once a minute, and at the end.

use jiff::{SignedDuration, Timestamp};

use super::Laws;
use crate::cloud::Cloud;
use crate::forge::{Forge, Status};

/// A machine may live so long after its job ended or its registration went.
pub(super) const LINGERS_AT_MOST: SignedDuration = SignedDuration::from_mins(15);

impl Laws {
    /// A registration is no longer at the forge.
    pub(super) fn registration_went(&mut self, now: Timestamp, id: i64) {
        self.registration_went.entry(id).or_insert(now);
    }

    /// Looks at what may not last.
    pub fn every_minute(&mut self, now: Timestamp, cloud: &Cloud, forge: &Forge) {
        self.waits(now, forge);
        let gone: Vec<i64> =
            cloud.live().map(|m| m.runner.id).filter(|id| forge.runner(*id).is_none()).collect();
        for id in gone {
            self.registration_went(now, id);
        }
        let lingering: Vec<(String, String)> = cloud
            .live()
            .filter_map(|machine| {
                let since =
                    match (machine.job_ended_at, self.registration_went.get(&machine.runner.id)) {
                        (Some(a), Some(b)) => a.min(*b),
                        (Some(a), None) => a,
                        (None, Some(b)) => *b,
                        (None, None) => return None,
                    };
                // A machine at work on a job that was ended from outside learns it from its next report.
                (now.duration_since(since) > LINGERS_AT_MOST)
                    .then(|| (machine.id.to_string(), machine.slot.run.to_string()))
            })
            .collect();
        for (id, run) in lingering {
            if self.lingering.insert(id.clone()) {
                let what =
                    format!("{id} lives 15 minutes after its job ended or its registration went");
                self.broken("time", now, &run, what);
            }
        }
    }

    fn waits(&mut self, now: Timestamp, forge: &Forge) {
        let mut long = Vec::new();
        let waiting = forge.waiting();
        self.waiting
            .retain(|id, _| forge.job(*id).is_some_and(|job| job.status == Status::Waiting));
        let served: Vec<_> =
            waiting.into_iter().filter(|job| self.served(&job.spec.runs_on)).collect();
        for job in served {
            let since = job.updated_at;
            let entry = self.waiting.entry(job.id).or_insert((since, false));
            if entry.0 != since {
                *entry = (since, false);
            }
            let waited = now.duration_since(since);
            if waited > self.waits_at_most && !entry.1 {
                entry.1 = true;
                long.push((job.id, waited));
            }
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
