//! `/v1/why`: one job by its URL, ID or run, or everything that waits.

use std::fmt::Write as _;

use axum::http::StatusCode;
use serde_json::Value;
use tinqs_ci_reconciler::model::{
    About, AttemptId, ClassName, Condition, Job, Outcome, Phase, Reason,
};
use tinqs_ci_reconciler::ports::Seat;
use tinqs_ci_testing::TestWorld;
use tinqs_ci_testing::make::attempt_id;

use crate::asking::{TestServer, settings};
use crate::status::{sweep, waiting_job};
use crate::world::{add_run, name};

/// The forge of the settings.
const FORGE: &str = "http://127.0.0.1:1";

/// A run whose page shows the job's index, as before Gitea 1.26.
fn with_page(world: &TestWorld, id: i64, workflow_run: i64, job: i64) {
    let about = About {
        repo: "acme/web".to_owned(),
        job: format!("build {id}"),
        run_id: workflow_run + 500,
        url: format!("{FORGE}/acme/web/actions/runs/{workflow_run}/jobs/{job}"),
        ..About::default()
    };
    add_run(world, id, about);
}

fn block(world: &TestWorld, id: i64, reason: Reason, message: &str) {
    let mut state = world.state();
    let run = state.runs.get_mut(&name(id)).expect("a run");
    let (since, message) = (run.created_at, message.to_owned());
    run.status.conditions = vec![Condition { reason, since, message }];
}

fn encoded(what: &str) -> String {
    let mut path = "/v1/why?what=".to_owned();
    for byte in what.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
    path
}

async fn why(asked: &TestServer, what: &str) -> Value {
    let answer = asked.get(&encoded(what)).await;
    assert_eq!(answer.status, StatusCode::OK, "{what}: {answer:?}");
    answer.json()
}

async fn refused(asked: &TestServer, what: &str, status: StatusCode, words: &[&str]) {
    let answer = asked.get(&encoded(what)).await;
    assert_eq!(answer.status, status, "{what}: {answer:?}");
    let detail = answer.json()["detail"].as_str().expect("a detail").to_owned();
    for word in words {
        assert!(detail.contains(word), "{what}: `{word}` is missing in: {detail}");
    }
}

#[tokio::test]
async fn a_job_is_found_by_run_id_and_url() {
    let asked = TestServer::new(settings());
    with_page(&asked.world, 3, 12, 0);
    with_page(&asked.world, 4, 12, 1);
    with_page(&asked.world, 12, 13, 12);
    for what in ["job-3", "run/job-3", "3", "#3"] {
        assert_eq!(why(&asked, what).await["job"]["run"], "job-3", "{what}");
    }
    for (page, run) in [
        ("/acme/web/actions/runs/12/jobs/0", "job-3"),
        ("/acme/web/actions/runs/12/jobs/1/", "job-4"),
        ("/Acme/Web/actions/runs/12/jobs/1?step=2#L7", "job-4"),
        ("/acme/web/actions/runs/13/jobs/12", "job-12"),
        ("/api/v1/repos/acme/web/actions/jobs/4", "job-4"),
    ] {
        let job = &why(&asked, &format!("{FORGE}{page}")).await["job"];
        assert_eq!(job["run"], run, "{page}: {job}");
    }
    // The index of another job is not taken for an ID.
    let other = format!("{FORGE}/acme/web/actions/runs/99/jobs/3");
    asked.world.state().other_jobs = Job::Absent;
    asked.world.state().jobs.remove(&3);
    refused(&asked, &other, StatusCode::NOT_FOUND, &["no job 3 in acme/web", "deleted"]).await;
}

#[tokio::test]
async fn a_waiting_run_tells_what_it_waits_for_and_what_would_unblock_it() {
    let asked = TestServer::new(settings());
    with_page(&asked.world, 3, 12, 0);
    block(&asked.world, 3, Reason::AtLimit, "class linux is at its limit of 5");
    let job = why(&asked, "3").await["job"].clone();
    assert_eq!(
        (&job["reason"], &job["phase"], &job["class"]),
        (&"AtLimit".into(), &"Waiting".into(), &"linux".into())
    );
    let state = job["state"].as_str().expect("a state");
    assert!(state.ends_with(": class linux is at its limit of 5"), "{state}");
    assert!(
        job["waits_for"].as_str().is_some_and(|text| text.contains("another machine")),
        "{job}"
    );
    assert!(job["fix"].as_str().is_some_and(|text| text.contains("`limit`")), "{job}");
    let next = job["next"].to_string();
    assert!(next.contains("its turn has come") && next.contains("launch a machine"), "{next}");
    assert_eq!(job["at_forge"], "waiting");
    assert_eq!(job["timeline"][0]["kind"], "Seen", "{job}");
    assert_eq!(asked.world.calls("put") + asked.world.calls("launch"), 0, "nothing is changed");
}

#[tokio::test]
async fn a_finished_run_tells_how_it_ended() {
    let asked = TestServer::new(settings());
    with_page(&asked.world, 3, 12, 0);
    {
        let mut state = asked.world.state();
        let run = state.runs.get_mut(&name(3)).expect("a run");
        run.status.phase = Phase::Finished;
        run.status.outcome = Some(Outcome::GaveUp);
        run.status.finished_at = Some(run.created_at);
    }
    let job = why(&asked, "job-3").await["job"].clone();
    assert!(job["state"].as_str().is_some_and(|state| state.contains("given up")), "{job}");
    assert!(job["fix"].as_str().is_some_and(|fix| fix.contains("`tinqs-ci retry job-3`")), "{job}");
    assert!(job["reason"].is_null() && job["waits_for"].is_null(), "{job}");
}

#[tokio::test]
async fn a_lost_machine_is_told_once() {
    let message = "machine i-1 is gone; how it ended is not known. Gitea usually fails the job 10 \
                   to 15 min after that; re-run it there";
    for (of, place) in [(3, "its machine"), (4, "the machine of job-4")] {
        let asked = TestServer::new(settings());
        with_page(&asked.world, 3, 12, 0);
        block(&asked.world, 3, Reason::MachineLost, message);
        {
            let mut state = asked.world.state();
            let run = state.runs.get_mut(&name(3)).expect("a run");
            let runner = AttemptId { run: name(of), ..run.attempt_id(1) }.to_string();
            run.status.phase = Phase::Running;
            run.status.runner = Some(runner.clone());
            state.jobs.insert(3, Job::Running { runner });
        }
        let job = why(&asked, "3").await["job"].clone();
        assert_eq!(job["reason"], "MachineLost", "{job}");
        assert_eq!(job["state"], format!("the job ran on {place}; {message}"));
        assert!(job["fix"].as_str().is_some_and(|fix| fix.contains("re-run the job")), "{job}");
        let rest = format!("{} {}", job["next"], job["fix"]);
        assert!(!rest.contains("Gitea"), "{rest}");
    }
}

#[tokio::test]
async fn without_the_forge_the_record_answers() {
    let asked = TestServer::new(settings());
    with_page(&asked.world, 3, 12, 0);
    asked.world.state().down = ["forge", "compute"].into();
    let told = why(&asked, &format!("{FORGE}/acme/web/actions/runs/12/jobs/0")).await;
    let job = &told["job"];
    assert_eq!((&job["run"], &job["phase"]), (&"job-3".into(), &"Waiting".into()));
    assert!(job["at_forge"].is_null());
    assert!(job["notes"].to_string().contains("the forge cannot be asked now"), "{job}");
    assert_eq!(told["attention"][0]["reason"], "ForgeUnreachable", "{told}");
}

#[tokio::test]
async fn a_job_that_no_class_serves_is_found_by_url_and_id() {
    let asked = TestServer::new(settings());
    asked.world.state().waiting = Some(vec![waiting_job(9, &["linux", "gpu"])]);
    asked.world.state().jobs.insert(9, Job::Waiting);
    sweep(&asked).await;
    for what in ["9", &format!("{FORGE}/acme/web/actions/runs/4/jobs/9")] {
        let job = why(&asked, what).await["job"].clone();
        assert_eq!(
            (&job["id"], &job["run"], &job["reason"]),
            (&9.into(), &Value::Null, &"NoClass".into()),
            "{what}"
        );
        assert!(job["notes"].to_string().contains("linux, lacks gpu"), "{job}");
        assert!(
            job["since"].is_string()
                && job["fix"].as_str().is_some_and(|fix| fix.contains("[[class]]")),
            "{job}"
        );
    }
    let all = why(&asked, "").await;
    assert_eq!(all["runs"][0]["run"], "job-9", "{all}");
    assert_eq!(all["attention"][0]["reason"], "NoClass", "{all}");
}

#[tokio::test]
async fn a_run_at_a_limit_tells_which_one_and_how_much_it_holds() {
    let limits = |owner| {
        let mut settings = settings();
        settings.classes[0].repo_limit = Some(2);
        settings.classes[0].owner_limit = owner;
        settings
    };
    for (owner, told) in [
        (None, "its repository holds 2 of 2 machines of class linux"),
        (Some(3), "its owner holds 3 of 3 machines of class linux"),
    ] {
        let asked = TestServer::new(limits(owner));
        with_page(&asked.world, 3, 12, 0);
        block(&asked.world, 3, Reason::AtLimit, "class linux is at its limit");
        let repos = match owner {
            None => ["acme/web", "acme/web", "acme/shop"],
            Some(_) => ["acme/web", "acme/a", "acme/b"],
        };
        for (job, repo) in (20..).zip(repos) {
            let seat = Seat { attempt_id: attempt_id(job, 1), repo: repo.to_owned(), repo_id: 0 };
            asked.world.state().seats.push((ClassName("linux".to_owned()), seat));
        }
        let job = why(&asked, "3").await["job"].clone();
        let state = job["state"].as_str().expect("a state");
        assert!(state.ends_with(told), "{state}");
        let explained = asked.get("/v1/explain/job/3").await.json();
        let first = explained["why"][0].as_str().expect("a sentence");
        assert!(first.starts_with("AtLimit: ") && first.ends_with(told), "{explained}");
    }
}

/// Asserts how the state of job 3 ends.
async fn told(asked: &TestServer, end: &str) {
    let job = why(asked, "3").await["job"].clone();
    let state = job["state"].as_str().expect("a state");
    assert!(state.ends_with(end), "{state}");
}

#[tokio::test]
async fn a_run_tells_how_many_jobs_of_other_repositories_are_before_it() {
    let mut settings = settings();
    settings.classes[0].limit = Some(1);
    let asked = TestServer::new(settings);
    for id in 3..=5 {
        with_page(&asked.world, id, 12, id);
        block(&asked.world, id, Reason::AtLimit, "class linux is at its limit");
    }
    let is_before = |id, repo: &str| {
        let mut state = asked.world.state();
        let job = &mut state.runs.get_mut(&name(id)).expect("a run").spec.job;
        repo.clone_into(&mut job.repo);
        job.repo_id = 100 + id;
    };
    is_before(4, "lone/a");
    let seat = Seat { attempt_id: attempt_id(20, 1), repo: "acme/web".to_owned(), repo_id: 0 };
    asked.world.state().seats.push((ClassName("linux".to_owned()), seat));
    sweep(&asked).await;
    let full = ": class linux holds 1 of 1 machines";
    told(&asked, &format!("{full}; a job of another repository is before it")).await;
    is_before(5, "few/b");
    sweep(&asked).await;
    told(&asked, &format!("{full}; 2 jobs of other repositories are before it")).await;
    // A machine has ended, and the others have not come yet.
    asked.world.state().seats.clear();
    told(&asked, ": its turn has not come: 2 jobs of other repositories are before it").await;
}

#[tokio::test]
async fn a_job_of_another_repository_tells_which_class_would_fit_it() {
    let mut settings = settings();
    settings.classes[0].repos = vec!["acme/infra-*".to_owned()];
    let asked = TestServer::new(settings);
    asked.world.state().waiting = Some(vec![waiting_job(9, &["linux"])]);
    asked.world.state().jobs.insert(9, Job::Waiting);
    sweep(&asked).await;
    let job = why(&asked, "9").await["job"].clone();
    assert_eq!((&job["run"], &job["reason"]), (&Value::Null, &"NoClass".into()));
    let notes = job["notes"].to_string();
    assert!(notes.contains("class linux fits") && notes.contains("only acme/infra-*"), "{notes}");
    assert!(job["fix"].as_str().is_some_and(|fix| fix.contains("`repos` of class linux")), "{job}");
    let all = why(&asked, "").await;
    assert!(all["attention"][0]["message"].to_string().contains("only acme/infra-*"), "{all}");
    assert!(all["attention"][0]["fix"].to_string().contains("`repos`"), "{all}");
    let explained = asked.get("/v1/explain/job/9").await.json();
    assert!(explained["why"].to_string().contains("only acme/infra-*"), "{explained}");
}

#[tokio::test]
async fn everything_that_waits_is_listed_most_important_first() {
    let asked = TestServer::new(settings());
    for id in 1..=4 {
        with_page(&asked.world, id, 12, id);
    }
    block(&asked.world, 1, Reason::AtLimit, "at its limit");
    block(&asked.world, 2, Reason::BackingOff, "after 3 failures");
    block(&asked.world, 3, Reason::NoCapacity, "no capacity");
    let all = why(&asked, "").await;
    let runs: Vec<&str> = all["runs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|run| run["run"].as_str().expect("a name"))
        .collect();
    assert_eq!(runs, ["job-2", "job-3", "job-1", "job-4"], "{all}");
    let reasons: Vec<&str> = all["attention"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["reason"].as_str().expect("a reason"))
        .collect();
    assert_eq!(reasons, ["BackingOff", "NoCapacity"], "a limit is normal operation");
    assert_eq!(all["attention"][0]["needs_person"], true);
}

#[tokio::test]
async fn the_page_of_a_workflow_run_lists_its_runs() {
    let asked = TestServer::new(settings());
    with_page(&asked.world, 3, 12, 0);
    with_page(&asked.world, 4, 12, 1);
    with_page(&asked.world, 5, 13, 0);
    let told = why(&asked, &format!("{FORGE}/acme/web/actions/runs/12")).await;
    let runs: Vec<&str> = told["runs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|run| run["run"].as_str().expect("a name"))
        .collect();
    assert_eq!(runs, ["job-4", "job-3"], "{told}");
    assert!(told["job"].is_null());
    let other = format!("{FORGE}/acme/web/actions/runs/77");
    refused(&asked, &other, StatusCode::NOT_FOUND, &["page of a workflow run", "/jobs/NUMBER"])
        .await;
}

#[tokio::test]
async fn an_unknown_page_reads_no_more_records_than_it_needs() {
    let asked = TestServer::new(settings());
    for id in 1..=1_200 {
        with_page(&asked.world, id, id, 0);
    }
    asked.world.state().other_jobs = Job::Absent;
    let pages = async |run: i64, status, words: &[&str]| {
        let before = asked.world.calls("page");
        let page = format!("{FORGE}/acme/web/actions/runs/{run}/jobs/0");
        if status == StatusCode::OK {
            let job = why(&asked, &page).await["job"].clone();
            assert_eq!(job["run"], format!("job-{run}"), "{job}");
        } else {
            refused(&asked, &page, status, words).await;
        }
        // One page is that of the waiting runs.
        asked.world.calls("page") - before - 1
    };
    assert_eq!(pages(5_000, StatusCode::NOT_FOUND, &["index"]).await, 2, "it would be the newest");
    assert_eq!(pages(1_190, StatusCode::OK, &[]).await, 1);
    assert_eq!(pages(400, StatusCode::OK, &[]).await, 3);
}

#[tokio::test]
async fn bad_input_says_what_to_pass() {
    let asked = TestServer::new(settings());
    with_page(&asked.world, 3, 12, 0);
    let (bad, missing) = (StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND);
    let elsewhere = "https://git.other.example/acme/web/actions/runs/12/jobs/0";
    refused(&asked, elsewhere, bad, &["git.other.example", "127.0.0.1", "--server"]).await;
    refused(&asked, "12345678901234567890", bad, &["19 digits"]).await;
    refused(&asked, "9223372036854775807", missing, &["no run", "pass the URL"]).await;
    refused(&asked, "web", bad, &["neither a job's URL, nor a job ID, nor a run"]).await;
    refused(&asked, &format!("{FORGE}/acme/web"), bad, &["not the page of a job"]).await;
    refused(&asked, "99", missing, &["job 99", "forge.scope"]).await;
    refused(&asked, "push-0011223344556677", missing, &["`keep`"]).await;
    let gone = format!("{FORGE}/acme/gone/actions/runs/1/jobs/50");
    refused(&asked, &gone, missing, &["no job 50 in acme/gone", "deleted repository"]).await;
    let index = format!("{FORGE}/acme/web/actions/runs/1/jobs/0");
    refused(&asked, &index, missing, &["index", "API address"]).await;
    asked.world.state().down.insert("forge");
    refused(&asked, "99", missing, &["cannot read the forge's list now"]).await;
}

#[tokio::test]
async fn a_forge_with_another_public_name_is_recognized_by_its_jobs() {
    let asked = TestServer::new(settings());
    let url = "https://git.example.com/acme/web/actions/runs/12/jobs/0".to_owned();
    add_run(&asked.world, 3, About { repo: "acme/web".to_owned(), url, ..About::default() });
    let job = why(&asked, "https://git.example.com/acme/web/actions/runs/12/jobs/0#x").await;
    assert_eq!(job["job"]["run"], "job-3");
    let sibling = "https://git.example.com/acme/web/actions/runs/12/jobs/88";
    refused(&asked, sibling, StatusCode::NOT_FOUND, &["no job 88"]).await;
}
