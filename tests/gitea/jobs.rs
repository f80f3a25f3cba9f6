//! A job by ID: its states, and when it counts as absent.

use axum::response::Response;
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{Conclusion, Job, JobRef};
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _};

use crate::script::{RecordedRequest, Script, html, json_answer, not_found, version};

fn job_ref(repo: &str, repo_id: i64) -> JobRef {
    JobRef { repo: repo.into(), repo_id, job_id: 7 }
}

/// Responses of a forge for a job, its repository by ID and by name, and its version.
struct Forge {
    job: fn() -> Response,
    by_id: fn() -> Response,
    by_name: fn() -> Response,
    version: fn() -> Response,
}

const GONE: fn() -> Response = || json_answer(404, not_found().1);
const UP: fn() -> Response = || json_answer(200, version().1);
const THERE: fn() -> Response = || json_answer(200, json!({ "id": 3, "full_name": "a/b" }));
const PAGE: fn() -> Response = || html(404);
const DOWN: fn() -> Response = || html(502);

async fn asked(forge: Forge, job: JobRef) -> Result<Job, ErrorKind> {
    let Forge { job: answer, by_id, by_name, version } = forge;
    let script = Script::new(move |asked: &RecordedRequest| match asked.path.as_str() {
        "/api/v1/repos/a/b/actions/jobs/7" => answer(),
        "/api/v1/repositories/3" => by_id(),
        "/api/v1/repos/a/b" => by_name(),
        "/api/v1/version" => version(),
        _ => html(500),
    })
    .await;
    script.client().job(&job).await.map(|seen| seen.state).map_err(|error| error.kind)
}

#[tokio::test]
async fn a_job_is_absent_only_if_its_repository_answers() {
    let unavailable = Err(ErrorKind::Unavailable);
    let check = async |job, by_id, by_name, version, repo_id, expected| {
        let forge = Forge { job, by_id, by_name, version };
        assert_eq!(asked(forge, job_ref("a/b", repo_id)).await, expected);
    };
    // The repository exists, by ID or, if that is unknown, by name.
    check(GONE, THERE, DOWN, DOWN, 3, Ok(Job::Absent)).await;
    check(GONE, DOWN, THERE, DOWN, 0, Ok(Job::Absent)).await;
    // The repository is gone by ID, and the forge answers.
    check(GONE, GONE, GONE, UP, 3, Ok(Job::Absent)).await;
    // A repository gone by ID counts only if the forge answers; gone by name alone never counts.
    check(GONE, GONE, GONE, DOWN, 3, unavailable.clone()).await;
    check(GONE, GONE, GONE, GONE, 3, unavailable.clone()).await;
    check(GONE, GONE, GONE, UP, 0, unavailable.clone()).await;
    // An HTML page is not the forge's 404.
    check(PAGE, THERE, THERE, UP, 3, unavailable.clone()).await;
    check(GONE, PAGE, PAGE, UP, 3, unavailable.clone()).await;
    check(GONE, DOWN, DOWN, UP, 3, unavailable.clone()).await;
    // Another repository or none.
    let other: fn() -> Response = || json_answer(200, json!({ "id": 4, "full_name": "a/b" }));
    check(GONE, other, other, UP, 3, unavailable.clone()).await;
    check(GONE, || json_answer(200, json!({})), THERE, UP, 3, unavailable).await;
}

#[tokio::test]
async fn statuses_become_states() {
    let cases = [
        (json!({ "status": "queued" }), Ok(Job::Waiting)),
        (json!({ "status": "waiting" }), Ok(Job::Blocked)),
        (
            json!({ "status": "in_progress", "runner_name": "vm-1" }),
            Ok(Job::Running { runner: "vm-1".into() }),
        ),
        (
            json!({ "status": "completed", "conclusion": "failure" }),
            Ok(Job::Done { conclusion: Conclusion::Failure }),
        ),
        (json!({ "status": "dreaming" }), Err(ErrorKind::Unavailable)),
        (json!({ "status": null }), Err(ErrorKind::Unavailable)),
        (json!({ "status": "completed" }), Err(ErrorKind::Unavailable)),
        (json!({ "status": "queued", "id": 8 }), Err(ErrorKind::Unavailable)),
        (json!({ "status": 5 }), Err(ErrorKind::Invalid)),
        (json!([]), Err(ErrorKind::Invalid)),
    ];
    for (answer, expected) in cases {
        let shown = answer.clone();
        let script = Script::new(move |_: &RecordedRequest| {
            let mut answer = answer.clone();
            if let Some(job) = answer.as_object_mut() {
                job.entry("id").or_insert(Value::from(7));
            }
            (200, answer)
        })
        .await;
        let got = script.client().job(&job_ref("a/b", 3)).await;
        let got = got.map(|seen| seen.state).map_err(|error| error.kind);
        assert_eq!(got, expected, "{shown}");
    }
}

#[tokio::test]
async fn labels_and_the_runners_id_are_those_that_the_forge_tells() {
    let labels = |count: usize| vec!["x".repeat(1024); count];
    let too_long = json!(labels(17));
    let done = json!({ "id": 7, "status": "completed", "conclusion": "cancelled", "labels": null });
    let with = |mut job: Value, key: &str, value: Value| {
        job[key] = value;
        job
    };
    let queued = json!({ "id": 7, "status": "queued" });
    let cases = [
        (with(queued.clone(), "labels", json!(labels(2))), Ok((Some(labels(2)), None))),
        (with(queued.clone(), "labels", Value::Null), Ok((Some(Vec::new()), None))),
        (queued.clone(), Ok((None, None))),
        // No record holds them, and those of a delivery must not count in their place.
        (with(queued, "labels", too_long.clone()), Err(ErrorKind::Unavailable)),
        (with(done.clone(), "labels", too_long), Ok((None, None))),
        (with(done.clone(), "runner_id", json!(57)), Ok((Some(Vec::new()), Some(57)))),
        (with(done.clone(), "runner_id", json!(0)), Ok((Some(Vec::new()), None))),
        (with(done, "runner_id", json!(-1)), Ok((Some(Vec::new()), None))),
    ];
    for (answer, expected) in cases {
        let script = Script::new(move |_: &RecordedRequest| (200, answer.clone())).await;
        let got = script.client().job(&job_ref("a/b", 3)).await;
        let got = got.map(|seen| (seen.runs_on, seen.runner_id)).map_err(|error| error.kind);
        assert_eq!(got, expected);
    }
}

#[tokio::test]
async fn a_renamed_repository_is_read_by_its_new_name() {
    let script = Script::new(|asked: &RecordedRequest| match asked.path.as_str() {
        "/api/v1/repositories/3" => (200, json!({ "id": 3, "full_name": "new/name" })),
        "/api/v1/repos/new/name/actions/jobs/7" => (200, json!({ "id": 7, "status": "queued" })),
        _ => not_found(),
    })
    .await;
    let client = script.client();
    let found = client.job(&job_ref("a/b", 3)).await.expect("answers");
    assert_eq!((found.state, found.repo.as_deref()), (Job::Waiting, Some("new/name")));
    let known = client.job(&job_ref("new/name", 3)).await.expect("answers");
    assert_eq!((known.state, known.repo), (Job::Waiting, None));
    // An invalid name does not matter if the ID is known.
    for name in ["", "a", "a/b/c", "../..", "a/$(id)\n\u{202e}"] {
        assert_eq!(
            client.job(&job_ref(name, 3)).await.expect("answers").state,
            Job::Waiting,
            "{name}"
        );
    }
}

#[tokio::test]
async fn only_redirects_within_the_forge_are_followed() {
    let away =
        Script::new(|_: &RecordedRequest| (200, json!({ "id": 7, "status": "queued" }))).await;
    let elsewhere = format!("{}/api/v1/repos/a/b/actions/jobs/7", away.url);
    let script = Script::new(move |asked: &RecordedRequest| {
        let to = match asked.path.as_str() {
            "/api/v1/repos/a/b/actions/jobs/7" => "/api/v1/repos/new/name/actions/jobs/7",
            "/api/v1/repos/c/d/actions/jobs/7" => elsewhere.as_str(),
            "/api/v1/repos/e/f/actions/jobs/7" => "/user/login",
            "/api/v1/repos/g/h/actions/jobs/7" => "/api/v1/repos/g/h/actions/jobs/7",
            "/api/v1/repos/new/name/actions/jobs/7" => {
                return json_answer(200, json!({ "id": 7, "status": "queued" }));
            }
            _ => return html(404),
        };
        Response::builder().status(307).header("location", to).body("".into()).expect("a response")
    })
    .await;
    let client = script.client();
    assert_eq!(client.job(&job_ref("a/b", 3)).await.expect("answers").state, Job::Waiting);
    for repo in ["c/d", "e/f", "g/h"] {
        let error = client.job(&job_ref(repo, 3)).await.expect_err("leads away");
        assert_eq!(error.kind, ErrorKind::Unavailable, "{repo}");
        assert!(error.message.contains("redirect"), "{error}");
    }
    assert!(away.asked().is_empty(), "the token goes to the forge only");
}
