//! What the controller does with what it is told and sees, case by case: over five ports of a few
//! lines, so that each case says what it rests on. The pretended world has all of it at once.

#[path = "looks/dependents.rs"]
mod dependents;
#[path = "looks/idle.rs"]
mod idle;
#[path = "looks/ingest.rs"]
mod ingest;
#[path = "looks/poll.rs"]
mod poll;
#[path = "looks/reading.rs"]
mod reading;
#[path = "looks/report.rs"]
mod report;
#[path = "looks/rounds.rs"]
mod rounds;
#[path = "looks/seats.rs"]
mod seats;
#[path = "looks/spare.rs"]
mod spare;
#[path = "looks/sweep.rs"]
mod sweep;
#[allow(dead_code, reason = "the breaker and the line ask for more")]
mod town;
#[path = "looks/unlisted.rs"]
mod unlisted;

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::{ActionKind, Report};
use tinqs_ci_reconciler::model::{About, JobRef, Slot, Uid8};
use tinqs_ci_reconciler::ports::WaitingJob;

const SECOND: SignedDuration = SignedDuration::from_secs(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// A job as the forge announces or lists it.
fn waiting_job(job_id: i64, label: &str) -> WaitingJob {
    WaitingJob {
        job: JobRef { repo: "acme/site".to_owned(), repo_id: 7, job_id },
        runs_on: vec![label.to_owned()],
        about: About { workflow: "build".to_owned(), ..About::default() },
    }
}

/// The same name and number, of an incarnation that is no more.
fn of_old(slot: &Slot) -> Slot {
    Slot { uid: Uid8("0a1b2c3d".to_owned()), ..slot.clone() }
}

/// What a look did: the rows that asked for it and the calls, in order.
fn effects(report: &Report) -> Vec<(&str, ActionKind)> {
    report.effects.iter().map(|effect| (effect.row.number(), effect.action)).collect()
}
