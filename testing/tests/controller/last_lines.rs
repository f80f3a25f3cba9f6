//! The last lines of a machine that ended without a job are kept, and shown.

use tinqs_ci_reconciler::model::{End, Job, MachineState, Reason, RunName, Secret};
use tinqs_ci_reconciler::ports::ErrorKind;

use super::{MINUTE, SECOND};
use crate::harness::Harness;

/// Says what every machine of the run's attempt of this number has printed.
fn prints(harness: &Harness, name: &RunName, attempt: u32, text: &str) {
    let id = harness.attempt_id(name, attempt).token(0);
    harness.state().logs.insert(id, text.as_bytes().to_vec());
}

/// Launches the machine of the next attempt, which then prints this and ends.
fn fail_printing(harness: &Harness, name: &RunName, attempt: u32, text: &str) {
    harness.reconcile(name);
    assert_eq!(harness.run(name).status.attempt.expect("launched").number, attempt);
    prints(harness, name, attempt, text);
    harness.take_back(name);
    harness.pass(SECOND);
    harness.reconcile(name);
}

fn kept(harness: &Harness, name: &RunName) -> Vec<Option<String>> {
    let status = harness.run(name).status;
    let past = status.past.into_iter().map(|past| past.log);
    past.chain(status.attempt.map(|attempt| attempt.log)).collect()
}

#[test]
fn the_last_line_is_part_of_the_reason() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    fail_printing(&harness, &name, 1, "tinqs-ci: no runner\n");
    assert_eq!(harness.calls("log"), 1);
    assert_eq!(kept(&harness, &name), [Some("tinqs-ci: no runner".to_owned()), None]);
    fail_printing(&harness, &name, 2, "one\ntinqs-ci: no \u{1b}[31mrunner\n");
    let status = harness.run(&name).status;
    assert_eq!(status.reason(), Some(Reason::BackingOff));
    assert_eq!(
        status.conditions[0].message,
        "2 attempts in a row got no job; the last: the machine ended before it got a job: \
         no \\u{1b}[31mrunner"
    );
    // It is read once, and told as long as the reason is.
    let writes = harness.writes();
    harness.pass(SECOND);
    harness.reconcile(&name);
    assert_eq!((harness.calls("log"), harness.writes()), (2, writes));
    assert_eq!(harness.run(&name).status.conditions, status.conditions);
}

#[test]
fn credentials_are_cut_out() {
    let harness = Harness::new();
    let mut settings = (*harness.controller.settings()).clone();
    settings.secrets = vec![Secret::new("of the configuration")];
    harness.controller.configure(settings);
    "runner-token".clone_into(&mut harness.state().runner_token);
    let name = harness.jobs(1, "good").remove(0);
    fail_printing(&harness, &name, 1, "it is runner-token, of the configuration, a word");
    assert_eq!(kept(&harness, &name)[0].as_deref(), Some("it is [secret], [secret], a word"));
}

#[test]
fn a_log_that_cannot_be_read_changes_nothing() {
    let silent = Harness::new();
    let failing = Harness::new();
    for harness in [&silent, &failing] {
        let name = harness.jobs(1, "good").remove(0);
        harness.reconcile(&name);
        harness.take_back(&name);
        harness.pass(SECOND);
    }
    failing.fails("log", ErrorKind::Unavailable);
    let name = RunName::job(1);
    let reports = [silent.reconcile(&name), failing.reconcile(&name)];
    assert_eq!((silent.calls("log"), failing.calls("log")), (1, 1));
    assert_eq!(format!("{:?}", reports[0]), format!("{:?}", reports[1]));
    assert_eq!(silent.run(&name), failing.run(&name));
}

/// A machine ends, and its log is not there yet.
fn fail_silently(harness: &Harness, name: &RunName) {
    "runner-token".clone_into(&mut harness.state().runner_token);
    harness.reconcile(name);
    harness.take_back(name);
    harness.pass(SECOND);
    harness.reconcile(name);
    assert_eq!((harness.calls("log"), kept(harness, name)), (1, vec![None, None]));
}

#[test]
fn a_log_that_comes_late_is_kept_without_credentials() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    fail_silently(&harness, &name);
    prints(&harness, &name, 1, "tinqs-ci: no runner-token\n");
    harness.pass(MINUTE);
    harness.reconcile(&name);
    assert_eq!(harness.calls("log"), 1, "it is not due");
    harness.pass(MINUTE);
    harness.reconcile(&name);
    // The record of a past attempt has no credentials any more.
    assert_eq!(kept(&harness, &name)[0].as_deref(), Some("tinqs-ci: no [secret]"));
    harness.pass(2 * MINUTE);
    harness.reconcile(&name);
    assert_eq!(harness.calls("log"), 2, "it was found");
}

#[test]
fn a_log_that_never_comes_is_read_again_twice() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    fail_silently(&harness, &name);
    for (minutes, calls) in [(2_i32, 2), (1, 2), (2, 3)] {
        harness.pass(minutes * MINUTE);
        harness.reconcile(&name);
        assert_eq!(harness.calls("log"), calls, "{minutes} min later");
    }
    assert_eq!(kept(&harness, &name)[0], None);
}

#[test]
fn the_log_of_a_machine_that_executed_a_job_is_not_read() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    prints(&harness, &name, 1, "secrets of a job");
    let runner = harness.attempt_id(&name, 1).to_string();
    harness.job_is(&name, Job::Running { runner });
    harness.pass(SECOND);
    harness.reconcile(&name);
    harness.take_back(&name);
    harness.job_is(&name, Job::Absent);
    harness.pass(SECOND);
    harness.reconcile(&name);
    let ended = harness.run(&name).status.attempt.and_then(|attempt| attempt.ended);
    assert_eq!(ended.map(|ended| ended.why), Some(End::Consumed));
    assert_eq!(harness.calls("log"), 0);
}

#[test]
fn a_machine_that_never_comes_online_is_asked_too() {
    let harness = Harness::new();
    let name = harness.jobs(1, "good").remove(0);
    harness.reconcile(&name);
    prints(&harness, &name, 1, "tinqs-ci: hangs\n");
    harness.state().machines[0].state = MachineState::Up;
    harness.pass(60 * MINUTE);
    harness.reconcile(&name);
    let status = harness.run(&name).status;
    let ended = status.past[0].ended.why;
    assert!(matches!(ended, End::NeverReady | End::NotAssigned), "{ended:?}");
    assert_eq!(status.past[0].log.as_deref(), Some("tinqs-ci: hangs"));
}
