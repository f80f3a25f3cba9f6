//! Names, backoff and secrets: what holds for each of them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    About, Answer, Attempt, AttemptId, Boot, Class, ClassName, ClockCheck, InstallationId, Job,
    JobRef, JobTimes, Machine, MachineId, MachineOptions, MachineSpec, MachineState, Market,
    Observation, Placement, Registrations, Run, RunName, Runner, RunnerCache, RunnerConfig,
    RunnerSetup, Secret, SeenBy, Spec, Times, Uid, Uid8, decode, encode,
};
use tinqs_ci_reconciler::plan::{Rule, plan};

pub(super) const TOKEN: &str = "s3cr3t-runner-token";
pub(super) const GIT: &str = "s3cr3t-git-\"token\"\\\n";

pub(super) fn now() -> Timestamp {
    Timestamp::constant(1_767_268_800, 123_456_789)
}

fn machine() -> MachineSpec {
    MachineSpec {
        kind: "c7a.large".to_owned(),
        subnet: "subnet-a".to_owned(),
        market: Market::Spot,
        image: "ami-1".to_owned(),
        security_groups: vec!["sg-1".to_owned()],
        instance_profile: "runner".to_owned(),
        runner: Some(Box::new(runner_setup())),
        options: MachineOptions::default(),
    }
}

fn runner_setup() -> RunnerSetup {
    let config = RunnerConfig {
        envs: BTreeMap::from([("PROXY".to_owned(), Secret::new("s3cr3t-of-the-proxy"))]),
        cache: RunnerCache {
            enabled: Some(true),
            external_secret: Some(Secret::new("s3cr3t-of-the-cache")),
            ..RunnerCache::default()
        },
        docker_timeout: Some(90),
        ..RunnerConfig::default()
    };
    RunnerSetup { config: Some(config), docker: true, ..RunnerSetup::default() }
}

/// Returns a run whose first launch succeeded, with every credential that a record may contain.
pub(super) fn run(job_id: i64) -> Run {
    let spec = Spec {
        job: JobRef { repo: "acme/site".to_owned(), repo_id: 7, job_id },
        runs_on: vec!["linux".to_owned()],
        about: About { job: "a \"quoted\"\n\u{202e}name".to_owned(), ..About::default() },
        ..Spec::default()
    };
    let mut run = Run::new("test", RunName::job(job_id), spec, SeenBy::Poll, now());
    let answered = Some(Answer { id: MachineId("i-1".to_owned()), at: now() });
    run.status.next = 2;
    run.status.attempt = Some(Attempt {
        number: 1,
        decided_at: now(),
        class: ClassName("linux".to_owned()),
        runner: Runner {
            repo_id: 0,
            id: 101,
            uuid: "0a1b2c3d-0000-4000-8000-000000000001".to_owned(),
            name: run.attempt_id(1).to_string(),
            labels: vec!["linux:host".to_owned()],
            token: Secret::new(TOKEN),
        },
        boot: Boot {
            deadline: now() + SignedDuration::from_hours(6),
            idle_within: SignedDuration::from_millis(90_500),
            start_by: Some(now() + SignedDuration::from_mins(10)),
            hold: SignedDuration::ZERO,
            instance_url: "https://forge".to_owned(),
            git_token: Some(Secret::new(GIT)),
        },
        placements: vec![Placement { asked_again: true, answered, ..Placement::new(machine()) }],
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    });
    run
}

/// Returns how long a run waits when its machine is gone, after a number of earlier failures.
fn backs_off(job_id: i64, failures_before: u32) -> Option<SignedDuration> {
    let mut run = run(job_id);
    run.status.failures = failures_before;
    let attempt_id = run.attempt_id(1);
    let gone = Machine {
        id: MachineId("i-1".to_owned()),
        attempt_id,
        placement: 0,
        state: MachineState::Gone,
        launched_at: now(),
        deadline: now(),
        registration: 101,
        repo_id: 0,
        promise: None,
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class: ClassName("linux".to_owned()),
        kind: String::new(),
        zone: String::new(),
        market: Market::Spot,
    };
    let decided = plan(&observed(run, Job::Waiting, vec![gone]));
    let status = decided.status.expect("the record stays");
    assert_eq!(status.failures, failures_before.saturating_add(1), "one failure is counted");
    assert_eq!(decided.rule == Rule::Hold, status.retry_at.is_some(), "on hold if it waits");
    status.retry_at.map(|at| at.duration_since(now()))
}

/// Returns what is observed of a run, without registrations and seats.
pub(super) fn observed(run: Run, job: Job, machines: Vec<Machine>) -> Observation {
    let class = Class {
        name: ClassName("linux".to_owned()),
        labels: vec!["linux".to_owned()],
        serves_unlabeled: false,
        machines: vec![machine()],
        limit: None,
        repo_limit: None,
        owner_limit: None,
        rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
        budget: None,
        allocation: tinqs_ci_reconciler::model::Allocation::Order,
        repos: Vec::new(),
        times: Times::default(),
    };
    Observation {
        now: now(),
        clock: ClockCheck::Agrees,
        installation: InstallationId::of("test"),
        name: run.name.clone(),
        run: Some(run),
        job,
        times: JobTimes::default(),
        recorded_here: None,
        machines,
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
        class: Some(class.into()),
    }
}

#[test]
fn backoff_starts_with_the_second_failure_and_doubles_from_15_s_to_8_min() {
    for job_id in 1..400 {
        assert_eq!(backs_off(job_id, 0), None, "the first failure needs no wait");
        for (before, full) in
            [(1, 15), (2, 30), (3, 60), (4, 120), (5, 240), (6, 480), (7, 480), (99, 480)]
        {
            let wait = backs_off(job_id, before).expect("it waits");
            let full = SignedDuration::from_secs(full);
            assert!(wait <= full, "{before} failures before: {wait} is more than {full}");
            assert!(wait >= full * 3 / 4, "{before} failures before: {wait} is too short");
        }
    }
    assert!(backs_off(1, u32::MAX).is_some_and(|w| w <= SignedDuration::from_mins(8)));
}

#[test]
fn backoff_is_spread_and_deterministic() {
    let waits: std::collections::BTreeSet<_> = (1..200).map(|job| backs_off(job, 6)).collect();
    assert!(waits.len() > 150, "only {} different waits of 199 runs", waits.len());
    assert_eq!(backs_off(42, 6), backs_off(42, 6));
    let early = (1..400).filter_map(|job| backs_off(job, 6)).filter(|w| w.as_secs() < 420).count();
    assert!((100..300).contains(&early), "{early} of 399 wait less than the median");
}

/// Job IDs at the limits: of numbers of digits, of exact JSON numbers, of the type.
fn job_ids() -> Vec<i64> {
    let mut ids = vec![0, 1, 9, 42, (1 << 53) - 1, 1 << 53, i64::MAX];
    ids.extend((1..19).flat_map(|digits| [10_i64.pow(digits) - 1, 10_i64.pow(digits)]));
    ids
}

#[test]
fn attempt_ids_round_trip_and_have_at_most_50_characters() {
    let names = job_ids().into_iter().map(RunName::job).chain([
        RunName::push(&["7", "refs/heads/main", "c0ffee", "ci.yml", "build", "0"]),
        RunName::push(&[]),
    ]);
    for name in names {
        assert_eq!(name.as_str().parse(), Ok(name.clone()), "{name}");
        let uid = Run::new("test", name.clone(), run(1).spec, SeenBy::Poll, now()).uid.short();
        let of_earlier_release = Uid8("0a1b2c3d".to_owned());
        for (index, number) in [0, 1, 9, 10, 4_294_967_295].into_iter().enumerate() {
            let uid = if index % 2 == 0 { uid.clone() } else { of_earlier_release.clone() };
            let attempt_id = AttemptId { run: name.clone(), uid, number };
            let text = attempt_id.to_string();
            assert!(text.len() <= 50, "{text} has {} characters", text.len());
            assert_eq!(text.parse(), Ok(attempt_id.clone()), "{text}");
            // EC2 accepts client tokens of up to 64 characters.
            assert!(attempt_id.token(u32::MAX).len() <= 64, "{}", attempt_id.token(u32::MAX));
            let json = serde_json::to_string(&attempt_id).expect("JSON");
            assert_eq!(serde_json::from_str::<AttemptId>(&json).ok(), Some(attempt_id), "{json}");
        }
    }
}

#[test]
fn a_uid_of_a_lost_record_gives_its_attempts_the_same_names() {
    let short = Run::new("test", RunName::job(7), run(1).spec, SeenBy::Poll, now()).uid.short();
    for short in [short, Uid8("0a1b2c3d".to_owned()), Uid8("ffff00000000".to_owned())] {
        assert_eq!(Uid::of_short(&short).short(), short);
    }
}

#[test]
fn invalid_names_are_rejected_and_each_name_has_one_spelling() {
    for text in [
        "",
        "job-",
        "job-x",
        "job-+1",
        "job--1",
        "job-01",
        "job-1 ",
        "Job-1",
        "job-١",
        "job-12345678901234567890",
        "push-",
        "push-0011223344556677aa",
        "push-00112233445566AA",
        "../job-1",
        "job-1\n",
    ] {
        assert!(text.parse::<RunName>().is_err(), "{text:?}");
    }
    for text in [
        "",
        "tq-",
        "tq-job-1",
        "tq-job-1-0a1b2c3d",
        "tq-job-1-0a1b2c3d-",
        "tq-job-1-0a1b2c3d-+1",
        "tq-job-1-0a1b2c3d-01",
        "tq-job-1-0A1B2C3D-1",
        "tq-job-1-0a1b2c3-1",
        "tq-job-1-9f860a1b2c3-1",
        "tq-job-1-9f860a1b2c3d4-1",
        "tq-job-1-9F860a1b2c3d-1",
        "tq-job-1-9f86-0a1b2c3d-1",
        "job-1-0a1b2c3d-1",
        "tq-job-1-0a1b2c3d-4294967296",
        "tq-job-01-0a1b2c3d-1",
        "tq-job-1-0a1b2c3d-1 ",
        "tq-job-1-0a1b2c3d-1-1",
        "tq--0a1b2c3d-1",
        "tq-job-1-é1b2c3d-1",
    ] {
        assert!(text.parse::<AttemptId>().is_err(), "{text:?}");
    }
    let long = "tq-".repeat(10_000);
    let error = long.parse::<AttemptId>().expect_err("no attempt ID").to_string();
    assert!(error.len() < 200, "an error quotes only part of the text: {error}");
}

#[test]
fn push_run_names_differ_if_their_parts_differ() {
    let all = [
        RunName::push(&["ab"]),
        RunName::push(&["a", "b"]),
        RunName::push(&["", "ab"]),
        RunName::push(&["ab", ""]),
        RunName::push(&["a", "b", ""]),
    ];
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}

#[test]
fn a_uid_depends_on_installation_name_and_creation_time() {
    let spec = run(1).spec;
    let uid = |installation: &str, job: i64, at: Timestamp| {
        Run::new(installation, RunName::job(job), spec.clone(), SeenBy::Poll, at).uid
    };
    let one = uid("a", 1, now());
    assert_eq!(one, uid("a", 1, now()));
    let nano = now() + SignedDuration::from_nanos(1);
    assert!([uid("b", 1, now()), uid("a", 2, now()), uid("a", 1, nano)].iter().all(|u| *u != one));
}

#[test]
fn an_attempt_id_tells_its_installation_and_one_of_an_earlier_release_does_not() {
    let of = |installation: &str| {
        Run::new(installation, RunName::job(42), run(1).spec, SeenBy::Poll, now()).attempt_id(1)
    };
    let (own, other) = (InstallationId::of("test"), InstallationId::of("other"));
    assert_eq!((own.to_string().as_str(), own == other), ("9f86", false), "of its SHA-256");
    let mine = of("test");
    assert!(mine.to_string().starts_with("tq-job-42-9f86"), "{mine}");
    assert_eq!((mine.is_of(&own), mine.is_of_another(&own)), (true, false));
    assert_eq!((mine.is_of(&other), mine.is_of_another(&other)), (false, true));
    assert_eq!(mine.installation(), Some(own.clone()));
    let earlier: AttemptId = "tq-job-42-0a1b2c3d-1".parse().expect("an attempt ID");
    assert_eq!((earlier.is_of(&own), earlier.is_of_another(&own)), (false, false));
    assert_eq!(earlier.installation(), None);
    assert!(!earlier.is_of(&InstallationId::default()), "none is of no installation");
}

#[test]
fn the_runner_of_another_installation_is_no_attempt_of_a_runs_installation() {
    let own = Run::new("test", RunName::job(42), run(1).spec, SeenBy::Poll, now());
    let other = Run::new("other", RunName::job(42), run(1).spec, SeenBy::Poll, now());
    assert_eq!(own.attempt_of(&own.attempt_id(1).to_string()), Some(own.attempt_id(1)));
    assert_eq!(own.attempt_of(&other.attempt_id(1).to_string()), None);
    assert_eq!(own.attempt_of("office-pc"), None);
    let earlier = "tq-job-9-0a1b2c3d-1";
    assert_eq!(own.attempt_of(earlier).map(|it| it.to_string()).as_deref(), Some(earlier));
}

#[test]
fn a_stored_record_round_trips_with_its_credentials() {
    let mut all = vec![run(42), run(i64::MAX)];
    let mut bare = run(7);
    if let Some(attempt) = &mut bare.status.attempt {
        attempt.boot.git_token = None;
    }
    all.push(bare);
    let mut none = run(8);
    none.status.attempt = None;
    none.delete(now(), true, None);
    all.push(none);
    for run in all {
        assert_eq!(decode(&encode(&run)).ok(), Some(run));
    }
    assert!(decode(b"{}").is_err());
    assert!(decode(&[0xff, 0xfe]).is_err());
}

#[test]
fn debug_and_json_show_no_credential() {
    let run = run(42);
    let pretty = serde_json::to_string_pretty(&run).expect("JSON");
    for shown in [format!("{run:?}"), format!("{run:#?}"), pretty] {
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(shown.contains("[secret]"));
    }
    let stored = encode(&run);
    for needed in [TOKEN, "s3cr3t-of-the-proxy", "s3cr3t-of-the-cache"] {
        assert!(String::from_utf8_lossy(&stored).contains(needed), "the store needs it");
    }
    let secrets = run.status.attempt.expect("an attempt").secrets();
    for cut in ["s3cr3t-of-the-proxy", "s3cr3t-of-the-cache"] {
        assert!(secrets.contains(&Secret::new(cut)), "logs lack it: {cut}");
    }
}
