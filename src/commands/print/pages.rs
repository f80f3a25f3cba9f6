//! Snapshots of tables, descriptions and plans.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]

use expect_test::expect;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    About, Answer, Attempt, Boot, Chosen, Class, ClassName, ClockCheck, Condition, End, Ended,
    InstallationId, Job, JobRef, JobTimes, MachineId, MicroUsd, Observation, ObservedClass,
    Outcome, Phase, Placement, Reason, Refusal, Refused, Registrations, Run, RunName, Runner,
    RunnerSetup, Secret, SeenBy, Spec, Times,
};
use tinqs_ci_testing::make;

use super::{Detail, describe, json, plan, yaml};
use crate::api::plan_view;

mod tables;

fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().expect("a time")
}

fn before(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn run(id: i64, phase: Phase) -> Run {
    let spec = Spec {
        job: JobRef { repo: "acme/web".into(), repo_id: 7, job_id: id },
        runs_on: vec!["linux".into()],
        about: About {
            repo: "acme/web".into(),
            workflow: "ci.yml".into(),
            job: "build (22)".into(),
            branch: "main".into(),
            commit: "0123456789abcdef0123".into(),
            run_id: 812,
            url: "https://git.example.com/acme/web/actions/runs/812/jobs/0".into(),
        },
        ..Spec::default()
    };
    let mut run = Run::new("tinqs-ci", RunName::job(id), spec, SeenBy::Webhook, before(185));
    run.status.phase = phase;
    run
}

fn attempt(run: &Run, number: u32, id: Option<&str>) -> Attempt {
    let answered = id.map(|id| Answer { id: MachineId(id.to_owned()), at: before(140) });
    Attempt {
        number,
        decided_at: before(150),
        class: ClassName("linux".into()),
        runner: Runner {
            repo_id: 0,
            id: 4711,
            uuid: "u".into(),
            name: run.attempt_id(number).to_string(),
            labels: vec!["linux:host".into()],
            token: Secret::new("hidden-token"),
        },
        boot: Boot {
            deadline: now() + SignedDuration::from_hours(6),
            idle_within: SignedDuration::from_mins(2),
            start_by: None,
            hold: SignedDuration::ZERO,
            instance_url: "https://git.example.com".into(),
            git_token: Some(Secret::new("hidden-token")),
        },
        placements: vec![Placement { answered, ..Placement::new(make::process()) }],
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    }
}

fn condition(reason: Reason, message: &str) -> Condition {
    Condition { reason, since: before(60), message: message.to_owned() }
}

/// Runs in different states.
fn runs() -> Vec<Run> {
    let mut working = run(4812, Phase::Running);
    let mut done = attempt(&working, 1, Some("tq-job-4812-aaaaaaaa-1-0"));
    done.ended = Some(Ended { why: End::Consumed, at: before(144) });
    working.status.runner = Some(done.runner.name.clone());
    working.status.attempt = Some(done);
    let mut starting = run(4813, Phase::Starting);
    starting.status.attempt = Some(attempt(&starting, 1, None));
    let mut short = run(4077, Phase::Waiting);
    short.status.conditions = vec![condition(Reason::NoCapacity, "none of 3 kinds has capacity")];
    short.spec.about.job = "e2e".into();
    let mut displaced = run(5, Phase::Running);
    displaced.status.runner = Some("tq-job-4813-12345678-1".into());
    let mut hostile = run(6, Phase::Finished);
    hostile.spec.about.repo = "x/\u{202e}y".repeat(40);
    hostile.spec.about.job = format!("\u{1b}[2J{}", "j".repeat(10_000));
    hostile.status.outcome = Some(Outcome::GaveUp);
    vec![working, starting, short, displaced, hostile]
}

/// Returns a finished run that its second attempt's machine executed.
fn succeeded() -> Run {
    let mut run = run(4790, Phase::Finished);
    let past = attempt(&run, 1, Some("i-0aaaaaaaaaaaaaaa1"));
    let gone = Ended { why: End::MachineGone, at: before(146) };
    run.status.past = vec![past.into_past(gone)];
    let mut last = attempt(&run, 4, Some("i-0aaaaaaaaaaaaaaa4"));
    last.ended = Some(Ended { why: End::Consumed, at: before(120) });
    run.status.runner = Some(last.runner.name.clone());
    run.status.attempt = Some(last);
    run.status.next = 5;
    run.status.outcome = Some(Outcome::Succeeded);
    run.status.finished_at = Some(before(30));
    run
}

#[test]
fn the_price_that_chose_a_machine_is_described() {
    for (chosen, told) in [
        (Chosen::Price(MicroUsd(7_000)), "chosen by price, $0.007/h"),
        (Chosen::Unpriced, "chosen in the configured order, its price is not known"),
    ] {
        let mut run = succeeded();
        if let Some(attempt) = &mut run.status.attempt {
            attempt.placements[0].chosen = Some(chosen);
        }
        let text = describe(&run, &[], &[], Detail::Table, now());
        let line = format!("on-demand process: machine i-0aaaaaaaaaaaaaaa4, {told}\n");
        assert!(text.contains(&line), "{text}");
    }
}

#[test]
fn what_keeps_a_job_from_its_machine_is_described() {
    let mut run = succeeded();
    let text = |run: &Run| describe(run, &[], &[], Detail::Table, now());
    assert!(!text(&run).contains("the job runs as"), "of a process");
    if let Some(attempt) = &mut run.status.attempt {
        let setup = RunnerSetup { user: Some("runner".into()), ..RunnerSetup::default() };
        let machine = &mut attempt.placements[0].machine;
        machine.subnet = "subnet-a".into();
        machine.runner = Some(Box::new(setup));
    }
    let line = "machine i-0aaaaaaaaaaaaaaa4\n     the job runs as the user runner; the instance \
                metadata service is closed to it if nft or iptables works on the machine and \
                the user has no sudo there: `tinqs-ci logs RUN` says which\n";
    assert!(text(&run).contains(line), "{}", text(&run));
    if let Some(attempt) = &mut run.status.attempt {
        let said = "tinqs-ci: +9s neither nft nor iptables works here: runner can reach it";
        attempt.log = Some(said.into());
    }
    let line = "the job runs as the user runner, and is not fenced: neither nft nor iptables works";
    assert!(text(&run).contains(line), "{}", text(&run));
    let mut in_container = run.clone();
    if let Some(attempt) = &mut in_container.status.attempt {
        attempt.runner.labels = vec!["linux:docker://node:20".into()];
    }
    assert!(text(&in_container).contains("the job runs in a container"), "{}", text(&in_container));
    if let Some(attempt) = &mut run.status.attempt {
        let placement = &mut attempt.placements[0];
        placement.answered = None;
        placement.refused = Some(Refused { why: Refusal::NoCapacity, at: before(145) });
    }
    let refused = text(&run);
    assert!(refused.contains("subnet-a: refused: "), "{refused}");
    assert!(!refused.contains("the job runs as"), "it has no machine: {refused}");
}

#[test]
fn a_run_is_described_in_full() {
    let mut run = runs().remove(0);
    let refused = Refused { why: Refusal::NoCapacity, at: before(145) };
    let mut first = attempt(&run, 1, None);
    first.placements[0].refused = Some(refused);
    let over = Ended { why: End::Refused(Refusal::NoCapacity), at: before(145) };
    run.status.past = vec![first.into_past(over)];
    if let Some(attempt) = &mut run.status.attempt {
        attempt.number = 2;
    }
    run.status.conditions = vec![condition(Reason::Blocked, "waits for \u{1b}[31m others")];
    run.status.failures = 1;
    run.status.retry_at = Some(now() + SignedDuration::from_secs(30));
    let text = describe(&run, &[], &[], Detail::Table, now());
    expect![[r#"
        Name:           job-4812
        Job:            acme/web build (22)
        Status:         ● running
        Workflow:       ci.yml
        Branch:         main
        Commit:         0123456789abcdef0123
        URL:            https://git.example.com/acme/web/actions/runs/812/jobs/0
        Labels:         linux
        Created:        2026-11-24T11:56:55Z (3m ago)
        Waiting since:  2026-11-24T11:56:55Z (3m ago)
        Waited:         41s
        Machine:        tq-job-4812-9d1d15fec04f-1
        Failures:       1 (attempts in a row that got no job)
        Next attempt:   2026-11-24T12:00:30Z (in 30s)

        Conditions:
          Blocked for 1m: waits for \u{1b}[31m others
             more: docs/troubleshooting.md#blocked

        Attempts:
          attempt 1 of 2: class linux, decided 2m ago, ended 2026-11-24T11:57:35Z: the cloud has no capacity
             refused: the cloud has no capacity
          attempt 2 of 2: class linux, decided 2m ago, until 2026-11-24T18:00:00Z, ended 2026-11-24T11:57:36Z: its runner got a job
             on-demand process: machine tq-job-4812-aaaaaaaa-1-0

        Timeline:
          11:56:55           a webhook announced the job

        Machines:
          none seen

        Registrations:
          none seen
    "#]].assert_eq(&text);
    let text = describe(&run, &[], &[], Detail::Wide, now());
    for internal in ["UID:", "Version:", "Due:", "Phase:", "registration 4711", "(number 2)"] {
        assert!(text.contains(internal), "{internal} is missing:\n{text}");
    }
}

#[test]
fn the_attempts_and_the_machine_of_a_finished_run_are_told() {
    let text = describe(&succeeded(), &[], &[], Detail::Table, now());
    expect![[r#"
        Name:           job-4790
        Job:            acme/web build (22)
        Status:         ✓ succeeded
        Workflow:       ci.yml
        Branch:         main
        Commit:         0123456789abcdef0123
        URL:            https://git.example.com/acme/web/actions/runs/812/jobs/0
        Labels:         linux
        Created:        2026-11-24T11:56:55Z (3m ago)
        Waiting since:  2026-11-24T11:56:55Z (3m ago)
        Waited:         1m
        Finished:       2026-11-24T11:59:30Z (30s ago)
        Machine:        i-0aaaaaaaaaaaaaaa4

        Conditions:
          none

        Attempts:
          attempt 1 of 2: class linux, decided 2m ago, ended 2026-11-24T11:57:34Z: the machine ended before it got a job
             machine i-0aaaaaaaaaaaaaaa1
          attempt 2 of 2: class linux, decided 2m ago, until 2026-11-24T18:00:00Z, ended 2026-11-24T11:58:00Z: its runner got a job
             on-demand process: machine i-0aaaaaaaaaaaaaaa4

        Timeline:
          11:56:55           a webhook announced the job

        Machines:
          none seen

        Registrations:
          none seen
    "#]].assert_eq(&text);
}

#[test]
fn no_output_contains_a_credential() {
    let run = runs().remove(0);
    let all = [
        json(&run).expect("JSON"),
        yaml(&run).expect("YAML"),
        describe(&run, &[], &[], Detail::Table, now()),
        describe(&run, &[], &[], Detail::Wide, now()),
        tables::shown(std::slice::from_ref(&run), Detail::Wide),
    ];
    for text in all {
        assert!(!text.contains("hidden-token"), "{text}");
    }
    assert!(json(&run).expect("JSON").contains("[secret]"));
}

fn seen(run: Run, job: Job, limit: Option<u32>) -> Observation {
    Observation {
        now: now(),
        clock: ClockCheck::Agrees,
        installation: InstallationId::of("tinqs-ci"),
        name: run.name.clone(),
        run: Some(run),
        job,
        times: JobTimes::default(),
        recorded_here: None,
        machines: Vec::new(),
        registrations: Registrations::Seen(Vec::new()),
        seats: Vec::new(),
        turn_of: Vec::new(),
        room: true,
        forge_read: None,
        at_work: Vec::new(),
        canceled: Vec::new(),
        elsewhere: None,
        rerun: None,
        no_replacement: false,
        nearest: None,
        class: Some(ObservedClass::from(Class {
            name: ClassName("linux".into()),
            labels: vec!["linux".into()],
            serves_unlabeled: false,
            machines: vec![make::process()],
            limit,
            repo_limit: None,
            owner_limit: None,
            rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
            budget: None,
            allocation: tinqs_ci_reconciler::model::Allocation::Order,
            repos: Vec::new(),
            times: Times::default(),
        })),
    }
}

#[test]
fn the_plan_of_a_waiting_job_launches_a_machine() {
    let plan_ = plan_view(&seen(run(1, Phase::Waiting), Job::Waiting, Some(3)));
    expect![[r#"
        + seat linux                           seat        the class has a limit
        + registration tq-job-1-9d1d23df321d-1 register    labels linux
        + attempt 1                            write       recorded before the launch
        + machine tq-job-1-9d1d23df321d-1-0    launch      process, on-demand
        4 changes
    "#]]
    .assert_eq(&plan(&plan_, Detail::Table));
    assert!(!plan_.settled);
    let verbose = plan(&plan_, Detail::Wide);
    assert!(verbose.contains("the class has a limit; seat needed (rule 16)"), "{verbose}");
}

#[test]
fn the_plan_of_a_recorded_attempt_launches_its_machine() {
    let mut recorded = run(1, Phase::Starting);
    recorded.status.next = 2;
    recorded.status.attempt = Some(attempt(&recorded, 1, None));
    expect![[r#"
        ~ run                               write       stays Starting
        + machine tq-job-1-9d1d23df321d-1-0 launch      process, on-demand: recorded but missing
        2 changes
    "#]]
    .assert_eq(&plan(&plan_view(&seen(recorded, Job::Waiting, None)), Detail::Table));
}

#[test]
fn the_plan_of_a_settled_run_is_empty() {
    let mut blocked = run(1, Phase::Waiting);
    let first = plan_view(&seen(blocked.clone(), Job::Blocked, None));
    assert!(!first.settled);
    // The second plan starts from the record that the first would write.
    let decided = tinqs_ci_reconciler::plan::plan(&seen(blocked.clone(), Job::Blocked, None));
    blocked.status = decided.status.expect("it stays");
    let second = plan_view(&seen(blocked, Job::Blocked, None));
    expect![[r#"
        settled in Waiting: nothing to do; job blocked
    "#]]
    .assert_eq(&plan(&second, Detail::Table));
    assert!(second.settled);
}
