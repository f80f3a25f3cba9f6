//! Since when a job waits that has no run yet. The forge tells when it created the job, but not when
//! it unblocked it: that is known from webhooks and polls. This is a cache: losing it makes some
//! waits appear longer, and changes nothing else.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::Controller;
use crate::model::SeenBy;
use crate::plan::times::older;
use crate::ports::WaitingJob;

/// The maximum number of cached jobs; then the cache is cleared.
const KEPT: usize = 20_000;
/// A webhook is delivered within this time. One about an older job tells that it was unblocked.
const DELIVERED_WITHIN: SignedDuration = SignedDuration::from_mins(1);
/// The clocks of the forge and of this host may differ by this much.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(2);

/// Jobs without a run, as far as this process knows them.
#[derive(Default)]
pub(super) struct Queued(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Jobs that a webhook told to be blocked.
    blocked: HashSet<i64>,
    /// Time at which the last poll began, and the jobs that it listed.
    polled: Option<(Timestamp, HashSet<i64>)>,
}

impl Queued {
    /// Notes the forge's list, for the next job without a run.
    pub(super) fn listed(&self, jobs: &[WaitingJob], began: Timestamp) {
        let ids = jobs.iter().take(KEPT).map(|job| job.job.job_id).collect();
        self.0.lock().polled = Some((began, ids));
    }

    /// Forgets when the last poll began.
    pub(super) fn forget(&self) {
        self.0.lock().polled = None;
    }

    fn saw_blocked(&self, job_id: i64) {
        let mut inner = self.0.lock();
        if inner.blocked.len() >= KEPT {
            inner.blocked.clear();
        }
        inner.blocked.insert(job_id);
    }

    /// Returns since when a job waits that is first seen waiting now: its creation, or now if it was
    /// blocked before. `None` if the forge does not tell its creation.
    pub(super) fn since(&self, job: &WaitingJob, by: SeenBy, now: Timestamp) -> Option<Timestamp> {
        let created = job.created_at?.min(now);
        let mut inner = self.0.lock();
        let was_blocked = inner.blocked.remove(&job.job.job_id);
        // A job that the last poll did not list did not wait then.
        let was_unlisted = inner.polled.as_ref().is_some_and(|(began, listed)| {
            older(*began, created, CLOCKS_APART) && !listed.contains(&job.job.job_id)
        });
        let is_late = by == SeenBy::Webhook && older(now, created, DELIVERED_WITHIN);
        Some(if was_blocked || was_unlisted || is_late { now } else { created })
    }
}

impl Controller {
    /// Notes that the forge blocks a job, so that its wait counts from its unblocking. Durable
    /// nowhere.
    pub fn saw_blocked(&self, job_id: i64) {
        self.cache.queued.saw_blocked(job_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{About, JobRef};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn job(id: i64, created_at: Option<Timestamp>) -> WaitingJob {
        let job = JobRef { repo: "acme/web".to_owned(), repo_id: 1, job_id: id };
        WaitingJob { job, runs_on: Vec::new(), about: About::default(), created_at }
    }

    #[test]
    fn a_wait_counts_from_the_creation_of_the_job() {
        let queued = Queued::default();
        for by in [SeenBy::Webhook, SeenBy::Poll] {
            assert_eq!(queued.since(&job(1, Some(at(0))), by, at(5)), Some(at(0)));
            assert_eq!(queued.since(&job(1, None), by, at(5)), None);
            let ahead = queued.since(&job(1, Some(at(9))), by, at(5));
            assert_eq!(ahead, Some(at(5)), "the forge's clock is ahead");
        }
        let found = queued.since(&job(1, Some(at(0))), SeenBy::Poll, at(3_600));
        assert_eq!(found, Some(at(0)), "it waited while nobody looked");
    }

    #[test]
    fn a_wait_counts_from_the_unblocking_of_the_job() {
        let queued = Queued::default();
        queued.saw_blocked(1);
        assert_eq!(queued.since(&job(1, Some(at(0))), SeenBy::Webhook, at(8)), Some(at(8)));
        assert_eq!(queued.since(&job(1, Some(at(0))), SeenBy::Webhook, at(9)), Some(at(0)), "once");
        let late = queued.since(&job(2, Some(at(0))), SeenBy::Webhook, at(61));
        assert_eq!(late, Some(at(61)), "the webhook tells a change of now");
        queued.listed(&[job(3, None)], at(10));
        let by_poll = |id, created| queued.since(&job(id, Some(at(created))), SeenBy::Poll, at(20));
        assert_eq!(by_poll(4, 0), Some(at(20)), "it was not listed at 10 s");
        assert_eq!(by_poll(3, 0), Some(at(0)), "it was listed, and no class served it");
        assert_eq!(by_poll(5, 9), Some(at(9)), "it may be newer than the list");
    }

    #[test]
    fn the_cache_is_bounded() {
        let queued = Queued::default();
        for id in 0..=KEPT {
            queued.saw_blocked(i64::try_from(id).expect("small"));
        }
        assert_eq!(queued.0.lock().blocked.len(), 1);
    }
}
