//! The controller over the test world, case by case. Each case states what it depends on; the
//! simulator combines all of it.

mod another_registration;
mod boots;
mod breaker;
mod budget;
mod canceled;
mod dependents;
mod drift;
mod formats;
mod harness;
mod hung;
mod idle;
mod images;
mod ingest;
mod last_lines;
mod launch_queue;
mod lists;
mod lost;
mod neighbors;
mod pause;
mod poll;
mod prices;
mod reading;
mod reassigned;
mod rebuild;
mod report;
mod repository;
mod reruns;
mod reruns_read;
mod rounds;
mod seats;
mod shares;
mod spot;
mod swapped;
mod sweep;
mod timeline;
mod true_time;
mod unlisted;
mod usage;
mod waits;

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::{ActionKind, Report};
use tinqs_ci_reconciler::model::{About, AttemptId, JobRef, Uid8};
use tinqs_ci_reconciler::ports::WaitingJob;

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// A waiting job, as the forge announces or lists it.
fn waiting_job(job_id: i64, label: &str) -> WaitingJob {
    WaitingJob {
        job: JobRef { repo: "acme/site".to_owned(), repo_id: 7, job_id },
        runs_on: vec![label.to_owned()],
        about: About { workflow: "build".to_owned(), ..About::default() },
        created_at: None,
    }
}

/// The same run name and attempt number, of an earlier incarnation of the run.
fn of_old(attempt_id: &AttemptId) -> AttemptId {
    AttemptId { uid: Uid8("9f860a1b2c3d".to_owned()), ..attempt_id.clone() }
}

/// The effects of a reconcile, in order: the rule that asked for each, and its kind.
fn effects(report: &Report) -> Vec<(&str, ActionKind)> {
    report.effects.iter().map(|effect| (effect.rule.number(), effect.action)).collect()
}
