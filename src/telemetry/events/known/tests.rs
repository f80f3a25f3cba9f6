use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Condition, Happened, MachineId, Outcome, SeenBy, Spec};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

/// A run that was seen at this second, in version 1.
fn run(id: i64, second: i64) -> Run {
    let new = Run::new("test", RunName::job(id), Spec::default(), SeenBy::Webhook, at(second));
    Run { version: 1, ..new }
}

fn happened(run: &mut Run, second: i64, what: Happened) {
    run.status.timeline.push(Milestone::new(at(second), what));
    run.version += 1;
}

fn launched(attempt: u32) -> Happened {
    Happened::Launched { attempt, machine: MachineId(format!("m-{attempt}")) }
}

fn finish(run: &mut Run, second: i64) {
    run.status.phase = Phase::Finished;
    happened(run, second, Happened::Finished { outcome: Outcome::Succeeded });
}

fn condition(reason: Reason, second: i64) -> Condition {
    Condition { reason, since: at(second), message: "full".to_owned() }
}

/// Notes the record, and returns the reasons of what is new.
fn see(known: &mut SeenRecords, run: &Run, second: i64) -> Vec<String> {
    let news = known.see(run, run.version, at(second)).news;
    let reasons = news.iter().map(|(_, what)| crate::words::events::told(what).reason.into_owned());
    reasons.collect()
}

#[test]
fn each_milestone_is_told_once_in_order() {
    let mut known = SeenRecords::new(at(0));
    let mut run = run(1, 1);
    assert_eq!(see(&mut known, &run, 1), ["Seen"]);
    assert_eq!(see(&mut known, &run, 2), [""; 0], "the same version");
    happened(&mut run, 3, Happened::Registered { attempt: 1 });
    happened(&mut run, 3, launched(1));
    assert_eq!(see(&mut known, &run, 4), ["Registered", "Launched"]);
    let stale = Run { version: 1, ..run.clone() };
    assert_eq!(see(&mut known, &stale, 5), [""; 0], "a stale read");
    finish(&mut run, 6);
    assert_eq!(see(&mut known, &run, 6), ["Finished"]);
    assert_eq!(see(&mut known, &run, 7), [""; 0]);
}

#[test]
fn milestones_are_told_after_more_than_the_timeline_keeps() {
    let mut known = SeenRecords::new(at(0));
    let mut run = run(1, 1);
    see(&mut known, &run, 1);
    run.status.timeline.clear();
    for attempt in 1..=3 {
        happened(&mut run, 10 + i64::from(attempt), launched(attempt));
    }
    assert_eq!(see(&mut known, &run, 20), ["Launched"; 3]);
}

#[test]
fn what_was_there_before_this_process_is_not_told_as_new() {
    let mut known = SeenRecords::new(at(100));
    let mut old = run(1, 1);
    happened(&mut old, 2, launched(1));
    old.status.conditions = vec![condition(Reason::AtLimit, 3)];
    assert_eq!(see(&mut known, &old, 101), [""; 0]);
    finish(&mut old, 110);
    assert_eq!(see(&mut known, &old, 110), ["Finished"]);
    let mut finished = run(2, 1);
    finish(&mut finished, 120);
    assert_eq!(see(&mut known, &finished, 130), [""; 0], "it was never seen open");
}

#[test]
fn a_condition_is_told_when_it_begins_and_an_end_only_if_a_person_had_to_act() {
    let mut known = SeenRecords::new(at(0));
    let mut run = run(1, 1);
    run.status.conditions = vec![condition(Reason::AtLimit, 1)];
    assert_eq!(see(&mut known, &run, 1), ["Seen", "AtLimit"]);
    run.version += 1;
    run.status.conditions = vec![condition(Reason::BreakerOpen, 2)];
    assert_eq!(see(&mut known, &run, 2), ["BreakerOpen"]);
    run.version += 1;
    run.status.conditions = vec![condition(Reason::MachineLost, 3)];
    assert_eq!(see(&mut known, &run, 3), ["ConditionEnded"], "a milestone tells of the loss");
}

#[test]
fn another_incarnation_is_another_run() {
    let mut known = SeenRecords::new(at(0));
    let mut first = run(1, 1);
    first.version = 9;
    assert_eq!(see(&mut known, &first, 1), ["Seen"]);
    assert_eq!(see(&mut known, &run(1, 50), 50), ["Seen"]);
}

#[test]
fn a_listing_names_the_records_that_others_wrote() {
    let mut known = SeenRecords::new(at(100));
    let mut mine = run(1, 101);
    see(&mut known, &mine, 101);
    let (old, mut new) = (run(2, 1), run(3, 102));
    let open = |runs: &[&Run]| runs.iter().map(|run| OpenRun::of(run)).collect::<Vec<_>>();
    let named = |known: &mut SeenRecords, runs: &[&Run]| {
        let names = known.stale(&open(runs), 10);
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(named(&mut known, &[&mine, &old, &new]), ["job-3"], "the old one is only noted");
    assert_eq!(see(&mut known, &new, 103), ["Seen"]);
    assert_eq!(named(&mut known, &[&mine, &old, &new]), [""; 0]);
    new.retry(at(104), Some("ops"));
    new.version += 1;
    assert_eq!(named(&mut known, &[&mine, &old, &new]), ["job-3"], "a person retried it elsewhere");
    assert_eq!(see(&mut known, &new, 104), ["Retried"]);
    mine.status.phase = Phase::Running;
    assert_eq!(named(&mut known, &[&mine, &old, &new]), ["job-1"], "another wrote it");
    see(&mut known, &Run { version: 2, ..mine.clone() }, 104);
    assert_eq!(named(&mut known, &[&mine, &new]), ["job-2"], "it is no longer listed");
}

#[test]
fn few_finished_runs_are_kept() {
    let mut known = SeenRecords::new(at(0));
    for id in 0..6_000 {
        let mut run = run(id, 1);
        see(&mut known, &run, 1);
        finish(&mut run, 2);
        see(&mut known, &run, 2);
    }
    assert_eq!(known.runs.len(), FINISHED);
    let since = known.began.duration_since(at(0));
    assert_eq!(since, SignedDuration::ZERO);
}
