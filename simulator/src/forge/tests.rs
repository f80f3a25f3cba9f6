//! Behavior observed on a live server, one test each.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tinqs_ci_reconciler::model::{Conclusion, RerunScope};

use super::{Config, Forge, JobSpec, Line, RACE_WINDOW, RunnerRow, Scope, Status, TaskState};
use super::{Task, Unregistered};

const REPO: &str = "acme/widget";

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + seconds).expect("in range")
}

fn forge(line: Line) -> Forge {
    Forge::new(Config { line, ..Config::default() })
}

fn linux(name: &str) -> JobSpec {
    JobSpec::new(name, &["linux"])
}

fn runner(forge: &mut Forge, now: Timestamp, labels: &[&str]) -> RunnerRow {
    let labels: Vec<String> = labels.iter().map(|&l| l.to_owned()).collect();
    forge.register(now, "vm", &labels, true)
}

fn fetch(forge: &mut Forge, now: Timestamp, row: &RunnerRow) -> Option<Task> {
    forge.fetch(now, &row.uuid, &row.token, 0).expect("registered").task
}

/// Returns all webhooks since the last call as `job action`.
fn told(forge: &mut Forge) -> Vec<String> {
    forge.take_webhooks().iter().map(|w| format!("{} {}", w.job_id, w.action)).collect()
}

#[test]
fn each_status_of_a_job_has_one_webhook() {
    let mut f = forge(Line::V1_26);
    let job = f.push(at(0), REPO, &[linux("build")])[0];
    let row = runner(&mut f, at(1), &["linux"]);
    let task = fetch(&mut f, at(2), &row).expect("a task");
    assert_eq!((task.job_id, task.repo.as_str()), (job, REPO));
    let state = f.report(at(3), &row.uuid, &row.token, task.id, None);
    assert_eq!(state, Ok(TaskState::Running));
    let state = f.report(at(9), &row.uuid, &row.token, task.id, Some(Conclusion::Success));
    assert_eq!(state, Ok(TaskState::Done(Conclusion::Success)));
    assert_eq!(f.job(job).map(|j| j.status), Some(Status::Done(Conclusion::Success)));
    let hooks = f.take_webhooks();
    let seen: Vec<(&str, &Value, bool, bool)> = hooks
        .iter()
        .map(|w| {
            let job = &w.payload["workflow_job"];
            let has = |key: &str| job.get(key).is_some();
            (w.action, &job["run_attempt"], has("runner_id"), has("runner_name"))
        })
        .collect();
    // `completed` lacks the name: the row was deleted first.
    assert_eq!(
        seen,
        [
            ("queued", &0.into(), false, false),
            ("in_progress", &1.into(), true, true),
            ("completed", &1.into(), true, false),
        ]
    );
    assert!(f.take_webhooks().is_empty());
}

#[test]
fn an_ephemeral_row_is_deleted_after_its_task_and_refuses_a_second_process() {
    let mut f = forge(Line::V1_26);
    f.push(at(0), REPO, &[linux("a"), linux("b")]);
    let row = runner(&mut f, at(1), &["linux"]);
    let task = fetch(&mut f, at(2), &row).expect("a task");
    // Two daemons with the same identity: exactly one gets the job.
    assert_eq!(fetch(&mut f, at(2), &row), None);
    f.report(at(3), &row.uuid, &row.token, task.id, Some(Conclusion::Failure)).expect("ok");
    assert!(f.runner(row.id).is_none());
    assert_eq!(f.fetch(at(4), &row.uuid, &row.token, 0), Err(Unregistered));
    assert_eq!(f.report(at(4), &row.uuid, &row.token, task.id, None), Err(Unregistered));
    assert_eq!(f.declare(at(4), &row.uuid, &row.token), Err(Unregistered));
    assert_eq!(f.waiting().len(), 1);
}

#[test]
fn a_permanent_runner_takes_several_jobs() {
    let mut f = forge(Line::V1_27);
    f.push(at(0), REPO, &[linux("a"), linux("b")]);
    let row = f.register(at(0), "p", &["linux".to_owned()], false);
    for second in [1, 2] {
        let task = fetch(&mut f, at(second), &row).expect("a task");
        f.report(at(second), &row.uuid, &row.token, task.id, Some(Conclusion::Success))
            .expect("registered");
    }
    assert!(f.runner(row.id).is_some());
    assert!(f.jobs().all(|j| j.status.is_done()));
}

#[test]
fn an_idle_row_goes_offline_but_stays_until_deleted() {
    let mut f = forge(Line::V1_26);
    let row = runner(&mut f, at(0), &["linux"]);
    assert!(!Forge::online(f.runner(row.id).expect("there"), at(0)), "never in contact");
    f.declare(at(0), &row.uuid, &row.token).expect("registered");
    assert_eq!(fetch(&mut f, at(5), &row), None);
    let there = f.runner(row.id).expect("there");
    assert!(Forge::online(there, at(65)) && !Forge::online(there, at(66)));
    assert!(f.delete_runner(row.id));
    assert!(!f.delete_runner(row.id));
    assert_eq!(f.fetch(at(6), &row.uuid, &row.token, 0), Err(Unregistered));
}

#[test]
fn registering_twice_creates_two_rows() {
    let mut f = forge(Line::V1_26);
    let (a, b) = (runner(&mut f, at(0), &["x"]), runner(&mut f, at(0), &["x"]));
    assert_eq!(a.name, b.name);
    assert!(a.id != b.id && a.uuid != b.uuid && a.token != b.token);
    assert_eq!(f.runners().count(), 2);
    assert_eq!(f.declare(at(1), &a.uuid, &b.token), Err(Unregistered));
    assert!(!format!("{a:?}").contains(&a.token), "no secrets in Debug");
}

#[test]
fn a_killed_runner_fails_its_job_which_is_never_queued_again() {
    let mut f = forge(Line::V1_26);
    let job = f.push(at(0), REPO, &[linux("build")])[0];
    let row = runner(&mut f, at(0), &["linux"]);
    let task = fetch(&mut f, at(10), &row).expect("a task");
    f.report(at(20), &row.uuid, &row.token, task.id, None).expect("registered");
    f.tick(at(20 + 599));
    assert_eq!(f.job(job).map(|j| j.status), Some(Status::Running));
    f.tick(at(20 + 600));
    assert_eq!(f.job(job).map(|j| j.status), Some(Status::Done(Conclusion::Failure)));
    assert!(f.runner(row.id).is_none());
    f.tick(at(9_000));
    assert_eq!(told(&mut f), ["1 queued", "1 in_progress", "1 completed"]);
}

#[test]
fn twenty_runners_take_twenty_jobs() {
    let mut f = forge(Line::V1_26);
    let jobs: Vec<JobSpec> = (0..20).map(|n| linux(&format!("m ({n})"))).collect();
    f.push(at(0), REPO, &jobs);
    let rows: Vec<RunnerRow> = (0..20).map(|_| runner(&mut f, at(0), &["linux", "x64"])).collect();
    let tasks: Vec<Task> = rows.iter().filter_map(|r| fetch(&mut f, at(1), r)).collect();
    assert_eq!(tasks.iter().map(|t| t.job_id).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    for (row, task) in rows.iter().zip(&tasks) {
        f.report(at(5), &row.uuid, &row.token, task.id, Some(Conclusion::Success)).expect("ok");
    }
    assert_eq!(f.runners().count(), 0);
    assert_eq!(f.take_webhooks().len(), 60);
}

#[test]
fn the_oldest_job_with_matching_labels_is_assigned_first() {
    let mut f = forge(Line::V1_26);
    let gpu = f.push(at(0), REPO, &[JobSpec::new("gpu", &["linux", "gpu"])])[0];
    let odd = f.push(at(1), REPO, &[JobSpec::new("odd", &["Linux"]), JobSpec::new("e", &[""])]);
    let any = f.push(at(2), REPO, &[JobSpec::new("any", &[])])[0];
    let plain = f.push(at(3), REPO, &[linux("plain")])[0];
    let order: Vec<i64> = f.waiting().iter().map(|j| j.id).collect();
    assert_eq!(order, [gpu, odd[0], odd[1], any, plain]);
    let take = |f: &mut Forge, labels: &[&str]| {
        let row = runner(f, at(4), labels);
        fetch(f, at(4), &row).map(|t| t.job_id)
    };
    assert_eq!(take(&mut f, &["linux"]), Some(any));
    assert_eq!(take(&mut f, &["linux"]), Some(plain));
    assert_eq!(take(&mut f, &["linux"]), None);
    assert_eq!(take(&mut f, &["gpu", "linux", "more"]), Some(gpu));
}

#[test]
fn runners_take_jobs_only_in_their_scope() {
    let mut f = forge(Line::V1_26);
    let other = f.push(at(0), "acme/other", &[linux("o")])[0];
    let widget = f.push(at(1), REPO, &[linux("w")])[0];
    let labels = ["linux".to_owned()];
    let takes = |f: &mut Forge, scope: Scope| {
        let row = f.register_in(at(2), scope, "s", &labels, true);
        fetch(f, at(2), &row).map(|t| t.job_id)
    };
    assert_eq!(takes(&mut f, Scope::Owner("ac".to_owned())), None);
    assert_eq!(takes(&mut f, Scope::Repo(REPO.to_owned())), Some(widget));
    assert_eq!(takes(&mut f, Scope::Owner("acme".to_owned())), Some(other));
}

#[test]
fn jobs_wait_for_their_needs_and_a_failure_skips_them() {
    let needing = |name: &str, needs: &[usize]| JobSpec { needs: needs.to_vec(), ..linux(name) };
    let specs = [linux("a"), needing("b", &[0]), needing("c", &[1]), needing("lost", &[9])];
    for (conclusion, after) in [
        (Conclusion::Success, ["1 completed", "2 queued", "4 queued"].as_slice()),
        (Conclusion::Failure, &["1 completed", "2 completed", "3 completed", "4 queued"]),
    ] {
        let mut f = forge(Line::V1_26);
        f.push(at(0), REPO, &specs);
        assert_eq!(told(&mut f), ["1 queued", "2 waiting", "3 waiting", "4 waiting"]);
        let row = runner(&mut f, at(0), &["linux"]);
        let task = fetch(&mut f, at(1), &row).expect("a task");
        told(&mut f);
        f.report(at(2), &row.uuid, &row.token, task.id, Some(conclusion)).expect("ok");
        let mut seen = told(&mut f);
        seen.sort();
        assert_eq!(seen, after);
    }
}

#[test]
fn a_cancelled_job_loses_its_runner() {
    let mut f = forge(Line::V1_26);
    let jobs = f.push(at(0), REPO, &[linux("a"), linux("b")]);
    f.cancel(at(1), jobs[0]);
    let row = runner(&mut f, at(1), &["linux"]);
    let task = fetch(&mut f, at(2), &row).expect("a task");
    f.cancel(at(3), jobs[1]);
    f.cancel(at(3), jobs[1]);
    for id in &jobs {
        assert_eq!(f.job(*id).map(|j| j.status), Some(Status::Done(Conclusion::Cancelled)));
    }
    assert_eq!(f.job(jobs[0]).and_then(|j| j.runner_id), None);
    assert_eq!(f.report(at(4), &row.uuid, &row.token, task.id, None), Err(Unregistered));
    assert_eq!(told(&mut f).len(), 5);
}

#[test]
fn a_rerun_keeps_its_id_up_to_1_26_and_gets_a_new_one_in_1_27() {
    for (line, attempts) in [(Line::V1_26, [1, 2]), (Line::V1_27, [1, 2])] {
        let mut f = forge(line);
        let job = f.push(at(0), REPO, &[linux("a")])[0];
        assert_eq!(f.rerun(at(0), job), job, "an unfinished job is ignored");
        let mut ids = vec![job];
        for n in 0..2_i64 {
            let row = runner(&mut f, at(n), &["linux"]);
            let task = fetch(&mut f, at(n), &row).expect("a task");
            let id = *ids.last().expect("pushed");
            assert_eq!(task.job_id, id);
            assert_eq!(f.job(id).map(|j| j.attempt), Some(attempts[ids.len() - 1]));
            f.report(at(n), &row.uuid, &row.token, task.id, Some(Conclusion::Success))
                .expect("registered");
            ids.push(f.rerun(at(n + 10), id));
        }
        let last = f.take_webhooks().pop().expect("queued");
        let told = &last.payload["workflow_job"];
        match line {
            Line::V1_27 => {
                assert_eq!(ids, [1, 2, 3]);
                assert_eq!(told["run_attempt"], 3);
            }
            Line::V1_25 | Line::V1_26 => {
                assert_eq!(ids, [1, 1, 1]);
                assert_eq!(told["run_attempt"], 2);
            }
        }
        assert_eq!((last.action, told.get("runner_id")), ("queued", None));
    }
}

#[test]
fn a_rerun_includes_the_jobs_that_need_it() {
    for line in [Line::V1_26, Line::V1_27] {
        let mut f = forge(line);
        let second = JobSpec { needs: vec![0], ..linux("b") };
        let first = f.push(at(0), REPO, &[linux("a"), second])[0];
        f.cancel(at(1), first);
        told(&mut f);
        let again = f.rerun(at(2), first);
        assert_eq!(told(&mut f), [format!("{again} queued"), format!("{} waiting", again + 1)]);
        f.cancel(at(3), again);
        assert_eq!(f.job(again + 1).map(|j| j.status), Some(Status::Done(Conclusion::Skipped)));
    }
}

#[test]
fn since_1_27_each_attempt_has_rows_of_its_own_for_all_jobs() {
    for (line, expected) in [(Line::V1_26, [1, 2, 3]), (Line::V1_27, [4, 5, 6])] {
        let mut f = forge(line);
        let ids = f.push(at(0), REPO, &[linux("a"), linux("b"), linux("c")]);
        for n in 1..=3 {
            let row = runner(&mut f, at(n), &["linux"]);
            let task = fetch(&mut f, at(n), &row).expect("a task");
            let failed = Some(Conclusion::Failure);
            f.report(at(n), &row.uuid, &row.token, task.id, failed).expect("registered");
        }
        told(&mut f);
        let before = f.job(ids[0]).expect("a job").clone();
        let new = f.rerun_by_api(at(10), before.run_id, RerunScope::Job(ids[1])).expect("over");
        assert_eq!(new, BTreeMap::from([(ids[1], expected[1])]), "{line:?}");
        assert_eq!(told(&mut f), [format!("{} queued", expected[1])], "nothing of the others");
        let rows: Vec<i64> = f.jobs_of_run(before.run_id).iter().map(|job| job.id).collect();
        assert_eq!(rows, expected, "{line:?}");
        let passed = f.job(rows[0]).expect("a row");
        assert_eq!((passed.status, passed.completed_at), (before.status, before.completed_at));
        assert_eq!((passed.runner_id, f.ran_as(rows[0])), (before.runner_id, ids[0]));
        // People know it by its former ID.
        f.cancel(at(11), rows[1]);
        let again = f.rerun(at(12), ids[0]);
        assert_eq!(f.job(again).map(|job| job.status), Some(Status::Waiting), "{line:?}");
        assert_eq!(again == ids[0], line == Line::V1_26);
    }
}

#[test]
fn a_fetch_with_an_older_version_finds_a_new_job() {
    let mut f = forge(Line::V1_26);
    let row = runner(&mut f, at(0), &["linux"]);
    let seen = f.fetch(at(0), &row.uuid, &row.token, 0).expect("ok").tasks_version;
    f.push(at(1), REPO, &[linux("a")]);
    let newer = f.fetch(at(2), &row.uuid, &row.token, seen).expect("ok");
    assert!(newer.task.is_some() && newer.tasks_version > seen);
}

#[test]
fn the_fetch_race_strands_a_runner_up_to_1_26() {
    for (line, stranded) in [(Line::V1_25, true), (Line::V1_26, true), (Line::V1_27, false)] {
        let config = Config { line, tasks_version_race: true, ..Config::default() };
        let mut f = Forge::new(config);
        let (a, b) = (runner(&mut f, at(0), &["linux"]), runner(&mut f, at(0), &["linux"]));
        let gpu = runner(&mut f, at(0), &["gpu"]);
        f.push(at(1), REPO, &[linux("a"), linux("b"), JobSpec::new("g", &["gpu"])]);
        assert!(fetch(&mut f, at(2), &a).is_some());
        let lost = f.fetch(at(2) + RACE_WINDOW, &b.uuid, &b.token, 0).expect("ok");
        assert_eq!(lost.task.is_none(), stranded, "{line:?}");
        assert!(fetch(&mut f, at(2), &gpu).is_some(), "goes for another job");
        if stranded {
            let version = lost.tasks_version;
            assert!(f.fetch(at(99), &b.uuid, &b.token, version).expect("ok").task.is_none());
            // The next job wakes it.
            f.push(at(100), REPO, &[linux("c")]);
            assert!(f.fetch(at(101), &b.uuid, &b.token, version).expect("ok").task.is_some());
        }
    }
}

#[test]
fn a_request_under_way_may_get_a_task_after_its_runner_was_disabled() {
    let picks_for = SignedDuration::from_secs(5);
    let mut f = Forge::new(Config { line: Line::V1_26, picks_for, ..Config::default() });
    let (early, late) = (runner(&mut f, at(0), &["linux"]), runner(&mut f, at(0), &["linux"]));
    f.push(at(0), REPO, &[linux("a"), linux("b")]);
    for row in [&early, &late] {
        assert!(f.disable_runner(at(1), row.id, true));
        assert!(f.disable_runner(at(3), row.id, true), "it counts from the first time");
    }
    assert!(fetch(&mut f, at(5), &early).is_some());
    assert!(fetch(&mut f, at(6), &late).is_none());
    assert!(f.disable_runner(at(7), late.id, false));
    assert!(fetch(&mut f, at(7), &late).is_some());
}

#[test]
fn a_mute_server_assigns_nothing_and_strands_nobody() {
    let mut f = forge(Line::V1_26);
    f.config.mute_until = Some(at(10));
    f.push(at(0), REPO, &[linux("a")]);
    let row = runner(&mut f, at(0), &["linux"]);
    let mute = f.fetch(at(9), &row.uuid, &row.token, 0).expect("ok");
    assert_eq!((mute.task, mute.tasks_version), (None, 0));
    assert!(fetch(&mut f, at(10), &row).is_some());
}

#[test]
fn a_released_task_waits_again_without_a_webhook() {
    let mut f = forge(Line::V1_27);
    let job = f.push(at(0), REPO, &[linux("a")])[0];
    let row = runner(&mut f, at(0), &["linux"]);
    let task = fetch(&mut f, at(1), &row).expect("a task");
    told(&mut f);
    f.release(at(2), task.id);
    assert_eq!(f.job(job).map(|j| j.status), Some(Status::Waiting));
    assert_eq!(told(&mut f), Vec::<String>::new());
    assert_eq!(fetch(&mut f, at(3), &row).map(|t| t.job_id), Some(job));
}

#[test]
fn endless_tasks_fail_and_abandoned_jobs_are_cancelled() {
    let mut f = forge(Line::V1_26);
    f.config.zombie_after = SignedDuration::MAX;
    let jobs = f.push(at(0), REPO, &[linux("a"), linux("b")]);
    let row = runner(&mut f, at(0), &["linux"]);
    fetch(&mut f, at(0), &row).expect("a task");
    f.tick(at(3 * 3_600));
    assert_eq!(f.job(jobs[0]).map(|j| j.status), Some(Status::Done(Conclusion::Failure)));
    f.tick(at(24 * 3_600 - 1));
    assert_eq!(f.job(jobs[1]).map(|j| j.status), Some(Status::Waiting));
    f.tick(at(24 * 3_600));
    assert_eq!(f.job(jobs[1]).map(|j| j.status), Some(Status::Done(Conclusion::Cancelled)));
}

#[test]
fn removing_a_repository_removes_its_jobs() {
    let mut f = forge(Line::V1_26);
    let jobs = f.push(at(0), REPO, &[linux("a"), linux("b")]);
    let id = f.repo(REPO).map(|r| r.id);
    let row = runner(&mut f, at(0), &["linux"]);
    let task = fetch(&mut f, at(1), &row).expect("a task");
    f.remove_repo(REPO);
    assert!(jobs.iter().all(|j| f.job(*j).is_none()) && f.waiting().is_empty());
    assert_eq!(f.report(at(2), &row.uuid, &row.token, task.id, None), Ok(TaskState::Unknown));
    assert!(!f.busy(f.runner(row.id).expect("the global row stays")));
    assert_ne!(Some(f.add_repo(REPO)), id, "ids are not used again");
}

#[test]
fn busy_means_an_open_task_and_active_means_a_recent_report() {
    let mut f = forge(Line::V1_26);
    f.push(at(0), REPO, &[linux("a")]);
    let row = runner(&mut f, at(0), &["linux"]);
    let task = fetch(&mut f, at(1), &row).expect("a task");
    let seen = |f: &Forge, now| {
        let row = f.runner(row.id).expect("there");
        (f.busy(row), Forge::active(row, now))
    };
    assert_eq!(seen(&f, at(1)), (true, false));
    f.report(at(2), &row.uuid, &row.token, task.id, None).expect("ok");
    assert_eq!(seen(&f, at(12)), (true, true));
    assert_eq!(seen(&f, at(13)), (true, false));
}

/// Asserts that the sample has every key of ours, with a value of the same kind.
fn conforms(ours: &Value, sample: &Value, path: &str) {
    let (Value::Object(ours), Value::Object(sample)) = (ours, sample) else {
        let same = std::mem::discriminant(ours) == std::mem::discriminant(sample);
        assert!(same, "{path}: {ours} where Gitea has {sample}");
        return;
    };
    for (key, value) in ours {
        let there = sample.get(key).unwrap_or_else(|| panic!("{path}.{key} is not Gitea's"));
        conforms(value, there, &format!("{path}.{key}"));
    }
}

#[test]
fn payloads_conform_to_the_corpus() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/payloads.json");
    let text = std::fs::read_to_string(file).expect("the corpus");
    let corpus: Value = serde_json::from_str(&text).expect("JSON");
    let samples = corpus["samples"].as_array().expect("a list");
    let mut f = forge(Line::V1_27);
    let needing = JobSpec { needs: vec![0], ..linux("b") };
    f.push(at(0), REPO, &[linux("a \"quoted\" \u{202e} name"), needing]);
    let row = runner(&mut f, at(0), &["linux"]);
    let task = fetch(&mut f, at(1), &row).expect("a task");
    f.report(at(2), &row.uuid, &row.token, task.id, Some(Conclusion::Success)).expect("ok");
    let hooks = f.take_webhooks();
    for hook in &hooks {
        let sample = samples
            .iter()
            .filter(|s| s["x_gitea_event_type"] == hook.event)
            .map(|s| &s["payload"])
            .find(|p| p["action"] == hook.action)
            .expect("a sample of that action");
        conforms(&hook.payload, sample, hook.action);
        // The job itself is complete.
        for key in sample["workflow_job"].as_object().expect("an object").keys() {
            assert!(hook.payload["workflow_job"].get(key).is_some(), "{} {key}", hook.action);
        }
    }
    assert_eq!(hooks.len(), 5);
}

#[test]
fn a_renamed_repository_keeps_its_jobs_and_runners_and_its_name_is_free() {
    let mut forge = forge(Line::V1_27);
    let jobs = [linux("build")];
    let job = forge.push(at(0), "acme/widget", &jobs)[0];
    let own = Scope::Repo("acme/widget".to_owned());
    let labels = ["linux".to_owned()];
    let runner = forge.register_in(at(0), own, "runner", &labels, true);
    assert!(forge.rename_repo(at(10), "acme/widget", "umbrella/moved"));
    assert!(!forge.rename_repo(at(10), "acme/widget", "acme/other"), "there is none any more");
    let other = forge.push(at(20), "acme/widget", &jobs)[0];
    assert!(!forge.rename_repo(at(20), "acme/widget", "umbrella/moved"), "the name is taken");
    let (repo_id, other_id) =
        (forge.job(job).expect("a job").repo_id, forge.job(other).expect("a job").repo_id);
    assert_ne!(repo_id, other_id);
    let fetched = forge.fetch(at(30), &runner.uuid, &runner.token, 0).expect("it is registered");
    let task = fetched.task.expect("a job of its repository");
    assert_eq!((task.job_id, task.repo.as_str()), (job, "umbrella/moved"));
    let had = |name, from, to| {
        forge.repo_by_id(repo_id).expect("a repository").had_name(name, at(from), at(to))
    };
    assert!(had("acme/widget", 0, 5) && had("acme/widget", 10, 99));
    assert!(!had("acme/widget", 11, 99) && !had("umbrella/moved", 0, 9));
    assert!(had("umbrella/moved", 0, 10) && had("umbrella/moved", 50, 60));
}
