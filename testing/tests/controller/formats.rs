//! Records of later releases, and replicas of several.

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::{Controller, ReconcileOutcome};
use tinqs_ci_reconciler::model::{Conclusion, Job, Phase, RecordFormats};
use tinqs_ci_reconciler::ports::Announced;
use tinqs_ci_testing::ready;

use crate::harness::Harness;
use crate::{MINUTE, waiting_job};

const LATER: RecordFormats = RecordFormats { reads: 3, writes: 2 };

/// A replica of the next release, with a name of its own.
fn later(harness: &Harness) -> Controller {
    let later = harness.another().of_formats(LATER);
    let mut settings = (*later.settings()).clone();
    "two".clone_into(&mut settings.replica);
    later.configure(settings);
    later
}

#[test]
fn a_record_of_a_newer_format_is_left_alone_with_all_that_belongs_to_it() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    assert_eq!(harness.launches("good"), 1);
    harness.change(&name, |run| run.format = 99);
    let (record, writes) = (harness.run(&name), harness.writes());
    let left = |harness: &Harness| {
        let state = harness.state();
        (state.machines.clone(), state.registrations.clone())
    };
    let before = left(&harness);
    // Its job is done and its machine is overdue: a replica that reads it acts.
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Success });
    harness.pass(SignedDuration::from_hours(9));
    let report = harness.reconcile(&name);
    assert_eq!(report.result, ReconcileOutcome::Error, "{report:?}");
    let error = report.error.expect("a reason");
    assert!(error.contains("format 99") && report.effects.is_empty(), "{error}");
    harness.state().waiting = Some(vec![waiting_job(record.spec.job.job_id, "good")]);
    let polled = ready(harness.controller.poll());
    assert_eq!((polled.waiting_jobs, polled.created, polled.errors), (1, 0, Vec::new()));
    ready(harness.controller.sweep());
    assert_eq!((harness.run(&name), harness.writes()), (record, writes));
    assert!(left(&harness) == before, "its machine or its registration was touched");
    assert_eq!(harness.launches("good"), 1);
    let newer = harness.controller.ports().store.newer();
    assert_eq!(newer.len(), 1, "{newer:?}");
}

#[test]
fn a_newer_format_is_written_once_every_live_replica_has_announced_it() {
    let harness = Harness::new();
    let later = later(&harness);
    assert_eq!(later.record_format(), 1, "it knows no other replica yet");
    ready(harness.controller.poll());
    ready(later.poll());
    assert_eq!(later.record_format(), 2, "this release reads the next format");
    assert_eq!(harness.controller.record_format(), RecordFormats::OWN.writes);

    // A replica joins whose release reads only the first format.
    let until = harness.now() + 25 * MINUTE;
    let old = Announced { replica: "old".to_owned(), reads: 1, until };
    harness.state().announced.push(old);
    harness.pass(10 * MINUTE);
    ready(later.poll());
    assert_eq!(later.record_format(), 1);
    harness.pass(10 * MINUTE);
    ready(later.poll());
    assert_eq!(later.record_format(), 1, "it is live until it is silent for long");
    harness.pass(10 * MINUTE);
    ready(later.poll());
    assert_eq!(later.record_format(), 2);
}

#[test]
fn a_leader_that_announces_nothing_reads_only_the_first_format() {
    let harness = Harness::new();
    let until = harness.now() + MINUTE;
    harness.state().leases.insert("sweep".to_owned(), ("earlier".to_owned(), until));
    let later = later(&harness);
    ready(later.poll());
    assert_eq!(later.record_format(), 1);
    harness.pass(10 * MINUTE);
    ready(later.poll());
    assert_eq!(later.record_format(), 2, "its lease has ended");
}

#[test]
fn two_releases_take_turns_at_one_run() {
    let harness = Harness::new();
    let later = later(&harness);
    ready(harness.controller.poll());
    ready(later.poll());
    let name = harness.jobs(1, "good").remove(0);
    ready(later.reconcile(&name));
    assert_eq!(harness.run(&name).format, 2);
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    harness.reconcile(&name);
    assert_eq!((harness.run(&name).format, harness.run(&name).status.phase), (1, Phase::Running));
    harness.job_is(&name, Job::Done { conclusion: Conclusion::Success });
    ready(later.reconcile(&name));
    assert_eq!((harness.run(&name).format, harness.run(&name).status.phase), (2, Phase::Finished));
    assert_eq!(harness.launches("good"), 1);
}
