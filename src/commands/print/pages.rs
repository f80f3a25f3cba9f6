//! Snapshots of tables, descriptions and plans.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]

use expect_test::expect;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    About, Answer, Attempt, Boot, Class, ClassName, Condition, End, Ended, Job, JobRef, MachineId,
    MachineSpec, MachineState, Market, Observation, ObservedClass, Outcome, Phase, Placement,
    Reason, Refusal, Refused, Registrations, Run, RunName, Runner, Secret, Spec, Times,
};
use unicode_width::UnicodeWidthStr as _;

use super::{Detail, Listed, Table, describe, json, plan, yaml};
use crate::api;
use crate::api::plan_view;

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
    let mut run = Run::new("tinqs-ci", RunName::job(id), spec, before(185));
    run.status.phase = phase;
    run
}

fn machine() -> MachineSpec {
    MachineSpec {
        kind: "process".into(),
        subnet: String::new(),
        market: Market::OnDemand,
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
    }
}

fn attempt(run: &Run, number: u32, id: Option<&str>) -> Attempt {
    let answered = id.map(|id| Answer { id: MachineId(id.to_owned()), at: before(140) });
    Attempt {
        number,
        decided_at: before(150),
        class: ClassName("linux".into()),
        runner: Runner {
            id: 4711,
            uuid: "u".into(),
            name: run.attempt_id(number).to_string(),
            labels: vec!["linux:host".into()],
            token: Secret::new("hidden-token"),
        },
        boot: Boot {
            deadline: now() + SignedDuration::from_hours(6),
            idle_within: SignedDuration::from_mins(2),
            instance_url: "https://git.example.com".into(),
            git_token: Some(Secret::new("hidden-token")),
        },
        placements: vec![Placement {
            machine: machine(),
            asked_again: false,
            answered,
            refused: None,
        }],
        ended: None,
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

fn table<T: Listed>(things: &[T], detail: Detail) -> String {
    let rows = things.iter().map(|thing| thing.row(detail, now())).collect();
    Table { titles: T::titles(detail), rows }.lines(&mut Vec::new(), true)
}

#[test]
fn runs_are_listed_in_a_table() {
    let text = table(&runs(), Detail::Table);
    expect![[r#"
        NAME      CLASS  PHASE     JOB                                   MACHINE                   WAIT  AGE
        job-4812  linux  Running   acme/web#812 build (22)               tq-job-4812-aaaaaaaa-1-0  41s   3m
        job-4813  linux  Starting  acme/web#812 build (22)               <pending>                 3m    3m
        job-4077  -      Waiting   acme/web#812 e2e                      <none>                    3m    3m   ! NoCapacity
        job-5     -      Running   acme/web#812 build (22)               <job-4813>                -     3m
        job-6     -      Finished  x/\u{202e}yx…#812 \u{1b}[2Jjjjjjjjj…  <none>                    -     3m   ! GaveUp
    "#]].assert_eq(&text);
    assert!(!text.replace('\n', "").chars().any(tinqs_ci_reconciler::text::is_dangerous));
}

#[test]
fn wide_tables_show_more_columns() {
    let text = table(&runs()[..4], Detail::Wide);
    expect![[r#"
        NAME      CLASS  PHASE     JOB                      MACHINE                   WAIT  AGE  ATTEMPT  RUNNER                  LABELS  BRANCH  COMMIT      OUTCOME
        job-4812  linux  Running   acme/web#812 build (22)  tq-job-4812-aaaaaaaa-1-0  41s   3m   1        tq-job-4812-15fec04f-1  linux   main    0123456789  -
        job-4813  linux  Starting  acme/web#812 build (22)  <pending>                 3m    3m   1        -                       linux   main    0123456789  -
        job-4077  -      Waiting   acme/web#812 e2e         <none>                    3m    3m   -        -                       linux   main    0123456789  -        ! NoCapacity
        job-5     -      Running   acme/web#812 build (22)  <job-4813>                -     3m   -        tq-job-4813-12345678-1  linux   main    0123456789  -
    "#]].assert_eq(&text);
    let text = table(&runs()[4..], Detail::Wide);
    assert!(!text.replace('\n', "").chars().any(tinqs_ci_reconciler::text::is_dangerous));
    assert!(text.lines().all(|line| line.chars().count() < 700), "cells are cut even so");
}

/// Returns the terminal column where `word` begins.
fn column(line: &str, word: &str) -> Option<usize> {
    line.find(word).map(|start| line[..start].width())
}

#[test]
#[allow(clippy::unicode_not_nfc, reason = "a name with a combining mark is the case")]
fn columns_are_aligned_by_display_width() {
    let names =
        ["ビルド", "単体テストと結合テストと受け入れ試験", "🚀 deploy ✅", "café e\u{301}té"];
    let runs: Vec<Run> = (1..)
        .zip(names)
        .map(|(id, name)| {
            let mut run = run(id, Phase::Waiting);
            run.spec.about.job = name.into();
            run
        })
        .collect();
    let text = table(&runs, Detail::Table);
    expect![[r#"
        NAME   CLASS  PHASE    JOB                             MACHINE  WAIT  AGE
        job-1  -      Waiting  acme/web#812 ビルド             <none>   3m    3m
        job-2  -      Waiting  acme/web#812 単体テストと結合…  <none>   3m    3m
        job-3  -      Waiting  acme/web#812 🚀 deploy ✅       <none>   3m    3m
        job-4  -      Waiting  acme/web#812 café été           <none>   3m    3m
    "#]]
    .assert_eq(&text);
    for line in text.lines().skip(1) {
        assert_eq!(column(line, "<none>"), column(&text, "MACHINE"), "{line}");
        assert!(line.width() <= 80 && !line.ends_with(' '), "{line}");
    }
    let text = table(&runs, Detail::Wide);
    assert!(text.contains(" 単体テストと結合テストと受け入れ試験 "), "{text}");
    for line in text.lines().skip(1) {
        assert_eq!(column(line, "<none>"), column(&text, "MACHINE"), "{line}");
    }
}

#[test]
fn the_other_sides() {
    let machine = api::MachineView {
        id: "tq-job-4812-aaaaaaaa-1-0".into(),
        attempt_id: "tq-job-4812-aaaaaaaa-1".into(),
        run: "job-4812".into(),
        class: "linux".into(),
        kind: "process".into(),
        zone: String::new(),
        market: Market::OnDemand,
        state: MachineState::Up,
        launched_at: before(90),
        deadline: now() + SignedDuration::from_hours(5),
    };
    let late = api::MachineView { id: "late".into(), deadline: before(5), ..machine.clone() };
    let gone = api::MachineView { id: "old".into(), state: MachineState::Gone, ..late.clone() };
    expect![[r#"
        NAME                      RUN       CLASS  KIND     MARKET     STATE  ENDS  AGE
        tq-job-4812-aaaaaaaa-1-0  job-4812  linux  process  on-demand  up     5h    1m
        late                      job-4812  linux  process  on-demand  up     0s    1m   ! past its deadline
        old                       job-4812  linux  process  on-demand  gone   -     1m
    "#]].assert_eq(&table(&[machine, late, gone], Detail::Table));

    let registration = api::Registration {
        id: 4711,
        attempt_id: "tq-job-4812-aaaaaaaa-1".into(),
        run: "job-4812".into(),
        online: true,
        busy: false,
    };
    expect![[r#"
        NAME  RUN       ATTEMPT                 ONLINE  BUSY
        4711  job-4812  tq-job-4812-aaaaaaaa-1  yes     no
    "#]]
    .assert_eq(&table(&[registration], Detail::Table));

    let class = api::Class {
        name: "linux".into(),
        labels: vec!["linux".into(), "x64".into()],
        limit: Some(10),
        repo_limit: None,
        seats: 10,
        machines: 10,
        open_runs: 14,
        waiting_runs: 4,
        blocked_by: vec![Reason::AtLimit, Reason::BackingOff],
    };
    expect![[r#"
        NAME   LABELS     LIMIT  PER-REPO  SEATS  MACHINES  OPEN  WAITING
        linux  linux,x64  10     -         10     10        14    4        ! AtLimit, BackingOff
    "#]]
    .assert_eq(&table(&[class], Detail::Table));
}

#[test]
fn rows_printed_later_keep_the_column_widths() {
    let mut widths = Vec::new();
    let table = |cells: &[&str]| Table {
        titles: vec!["NAME", "AGE"],
        rows: vec![super::columns::Row {
            cells: cells.iter().map(|cell| (*cell).to_owned()).collect(),
            blocked: String::new(),
        }],
    };
    let first = table(&["a-long-name", "1s"]).lines(&mut widths, true);
    let second = table(&["b", "2s"]).lines(&mut widths, false);
    assert_eq!(first, "NAME         AGE\na-long-name  1s\n");
    assert_eq!(second, "b            2s\n");
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
    let text = describe(&run, &[], &[], now());
    expect![[r#"
        Name:           job-4812
        Phase:          Running
        Job:            acme/web#812 build (22)
        Workflow:       ci.yml
        Branch:         main
        Commit:         0123456789abcdef0123
        URL:            https://git.example.com/acme/web/actions/runs/812/jobs/0
        Labels:         linux
        Created:        2026-11-24T11:56:55Z (3m ago)
        Waiting since:  2026-11-24T11:56:55Z (3m ago)
        Waited:         41s
        Runner:         tq-job-4812-15fec04f-1
        Failures:       1
        Next attempt:   2026-11-24T12:00:30Z (in 30s)
        Due:            2026-11-24T11:56:55Z
        UID, version:   15fec04f-9728-5b63-a2bc-98ae0eefc2af, 0

        Conditions:
          Blocked for 1m: waits for \u{1b}[31m others

        Attempts:
          1: class linux, registration 4711, decided 2m ago, ended 2026-11-24T11:57:35Z: refused: no capacity
             refused: no capacity
          2: class linux, registration 4711, decided 2m ago, until 2026-11-24T18:00:00Z, ended 2026-11-24T11:57:36Z: it got a job
             on-demand process: machine tq-job-4812-aaaaaaaa-1-0

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
        describe(&run, &[], &[], now()),
        table(std::slice::from_ref(&run), Detail::Wide),
    ];
    for text in all {
        assert!(!text.contains("hidden-token"), "{text}");
    }
    assert!(json(&run).expect("JSON").contains("[secret]"));
}

fn seen(run: Run, job: Job, limit: Option<u32>) -> Observation {
    Observation {
        now: now(),
        name: run.name.clone(),
        run: Some(run),
        job,
        recorded_here: None,
        machines: Vec::new(),
        registrations: Registrations::Seen(Vec::new()),
        seats: Vec::new(),
        room: true,
        no_replacement: false,
        class: Some(ObservedClass::from(Class {
            name: ClassName("linux".into()),
            labels: vec!["linux".into()],
            serves_unlabeled: false,
            machines: vec![machine()],
            limit,
            repo_limit: None,
            times: Times::default(),
        })),
    }
}

#[test]
fn the_plan_of_a_waiting_job_launches_a_machine() {
    let plan_ = plan_view(&seen(run(1, Phase::Waiting), Job::Waiting, Some(3)));
    expect![[r#"
        + seat linux                       seat        the class has a limit; seat needed (rule 16)
        + registration tq-job-1-23df321d-1 register    labels linux; seat needed (rule 16)
        + attempt 1                        write       recorded before the launch; seat needed (rule 16)
        + machine tq-job-1-23df321d-1-0    launch      process, on-demand; launch (rule 11)
        4 changes
    "#]]
    .assert_eq(&plan(&plan_));
    assert!(!plan_.settled);
}

#[test]
fn the_plan_of_a_recorded_attempt_launches_its_machine() {
    let mut recorded = run(1, Phase::Starting);
    recorded.status.next = 2;
    recorded.status.attempt = Some(attempt(&recorded, 1, None));
    expect![[r#"
        ~ run                           write       stays Starting; launch (rule 11)
        + machine tq-job-1-23df321d-1-0 launch      process, on-demand: recorded but missing; launch (rule 11)
        2 changes
    "#]]
    .assert_eq(&plan(&plan_view(&seen(recorded, Job::Waiting, None))));
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
        settled in Waiting: nothing to do; job blocked (rule 6)
    "#]]
    .assert_eq(&plan(&second));
    assert!(second.settled);
}
