//! Repositories that vanish, that are renamed or replaced, and of which there are many.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde_json::{Value, json};
use tinqs_ci_gitea::{Config, RegisterIn, Scope};
use tinqs_ci_reconciler::model::{Job, JobRef, Registrations, RepoRef};
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _};
use tinqs_ci_simulator::forge::{JobSpec, Line, Scope as Level};
use tinqs_ci_simulator::gitea_wire::Right;

use crate::levels::{LINES, OTHER, attempt_id, in_repositories, linux, runner, start};
use crate::script::{JOB_REPO, RecordedRequest, Script, client, json_answer, not_found};

fn build() -> [JobSpec; 1] {
    [JobSpec::new("build", &["linux"])]
}

#[tokio::test]
async fn a_repository_that_vanishes_between_the_list_and_the_registration_gets_no_runner() {
    for has_token in [false, true] {
        let wire = start(Line::V1_27, Right::Admin);
        let client = client(&in_repositories(&wire.url(), Scope::All));
        wire.forge().push(Timestamp::now(), JOB_REPO.name, &build());
        let waiting = client.waiting().await.expect("answers").expect("jobs mode");
        let job = waiting[0].job.clone();
        if has_token {
            let made = client.register(&attempt_id(1), JOB_REPO, &linux()).await;
            let made = made.expect("registers");
            client.retire(made.id, made.repo_id).await.expect("removed");
        }
        wire.forge().remove_repo(JOB_REPO.name);
        let repo = RepoRef { id: job.repo_id, name: &job.repo };
        let error = client.register(&attempt_id(2), repo, &linux()).await.expect_err("it is gone");
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains("the job's repository is gone"), "{error}");
        assert_eq!(wire.forge().runners().count(), 0, "the token is known: {has_token}");
        // The next reconcile finishes its run.
        assert_eq!(client.job(&job).await.expect("answers").state, Job::Absent);
    }
}

#[tokio::test]
async fn after_its_owner_is_renamed_a_repository_is_known_by_its_id() {
    for line in LINES {
        let wire = start(line, Right::Owner);
        let client = client(&in_repositories(&wire.url(), Scope::Org("acme".to_owned())));
        let now = Timestamp::now();
        let job_id = wire.forge().push(now, JOB_REPO.name, &build())[0];
        let made = client.register(&attempt_id(1), JOB_REPO, &linux()).await.expect("registers");
        for repo in [JOB_REPO, OTHER] {
            let name = repo.name.replace("acme/", "umbrella/");
            assert!(wire.forge().rename_repo(now, repo.name, &name));
        }
        client.waiting().await.expect_err("the owner of `forge.scope` is gone: no empty list");
        let read = client.registration(made.id, made.repo_id).await.expect("answers");
        assert!(read.is_some(), "{line:?}: it is not missing");
        let job = JobRef { repo: JOB_REPO.name.to_owned(), repo_id: JOB_REPO.id, job_id };
        let seen = client.job(&job).await.expect("answers");
        assert_eq!((seen.state, seen.repo.as_deref()), (Job::Waiting, Some("umbrella/widget")));
        let next = client.register(&attempt_id(2), JOB_REPO, &linux()).await.expect("registers");
        let row = wire.forge().runner(next.id).cloned().expect("a row");
        assert_eq!(row.scope, Level::Repo("umbrella/widget".to_owned()), "{line:?}");
    }
}

fn widget() -> Scope {
    Scope::Repo("acme".to_owned(), "widget".to_owned())
}

#[tokio::test]
async fn where_one_repository_is_the_scope_its_registrations_follow_its_id() {
    let levels = [RegisterIn::Repository, RegisterIn::Scope];
    let cases = levels.into_iter().flat_map(|level| [(level, false), (level, true)]);
    for (line, (register_in, is_replaced)) in
        LINES.into_iter().flat_map(|line| cases.clone().map(move |case| (line, case)))
    {
        let wire = start(line, Right::Owner);
        let settings = in_repositories(&wire.url(), widget());
        let client = client(&Config { register_in, ..settings });
        let now = Timestamp::now();
        let made = client.register(&attempt_id(1), JOB_REPO, &linux()).await.expect("registers");
        assert!(wire.forge().rename_repo(now, JOB_REPO.name, "acme/renamed"));
        if is_replaced {
            wire.forge().push(now, JOB_REPO.name, &build());
        }
        let shown = format!("{line:?} {register_in:?}, replaced: {is_replaced}");
        let read = client.registration(made.id, made.repo_id).await.expect("answers");
        assert_eq!(read.expect("not missing").repo_id, JOB_REPO.id, "{shown}");
        let can = client.disable(made.id, made.repo_id).await.expect("answers");
        assert_eq!(can, line >= Line::V1_26, "{shown}");
        let is_disabled = wire.forge().runner(made.id).expect("a row").disabled_at.is_some();
        assert_eq!(is_disabled, can, "{shown}");
        client.retire(made.id, made.repo_id).await.expect("removed");
        assert_eq!(wire.forge().runners().count(), 0, "{shown}");
        let read = client.registration(made.id, made.repo_id).await.expect("answers");
        assert_eq!(read, None, "{shown}: it is missing");
    }
}

/// Answers like a forge that has renamed the repository 2 from `acme/widget` to `acme/renamed`: a
/// call at the former name, whatever its method, is redirected. The name is looked up `before`.
fn renamed(asked: &RecordedRequest, before: &AtomicBool) -> Response {
    let path = asked.path.split('?').next().unwrap_or_default().trim_start_matches("/api/v1");
    if path.starts_with("/repos/acme/widget") {
        let to = asked.path.replacen("acme/widget", "acme/renamed", 1);
        return (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response();
    }
    let (status, answer) = match (&asked.method, path) {
        (&Method::GET, "/repositories/2") if before.swap(false, Ordering::Relaxed) => {
            (200, json!({ "id": 2, "full_name": "acme/widget" }))
        }
        (&Method::GET, "/repositories/2" | "/repos/acme/renamed") => {
            (200, json!({ "id": 2, "full_name": "acme/renamed" }))
        }
        (&Method::GET, "/repos/acme/renamed/actions/runners") => {
            (200, json!({ "runners": [runner(5)], "total_count": 1 }))
        }
        (_, "/repos/acme/renamed/actions/runners/5") => (200, runner(5)),
        _ => not_found(),
    };
    json_answer(status, answer)
}

#[tokio::test]
async fn what_is_listed_by_a_former_name_is_disabled_and_removed_by_the_present_one() {
    let before = Arc::new(AtomicBool::new(true));
    let script = Script::new(move |asked: &RecordedRequest| Some(renamed(asked, &before))).await;
    let client = client(&in_repositories(&script.url, widget()));
    let read = client.registration(5, 2).await.expect("the forge redirects reads");
    assert_eq!(read.expect("registered").repo_id, 2);
    let listed = client.registrations(0).await.expect("the forge redirects reads");
    let Registrations::Seen(rows) = listed else { panic!("the token may list runners") };
    let [row] = &rows[..] else { panic!("one is listed: {rows:?}") };
    assert_eq!((row.id, row.repo_id), (5, 2));
    assert!(client.disable(row.id, row.repo_id).await.expect("answers"));
    client.retire(row.id, row.repo_id).await.expect("removed");
    let paths = script.take_paths();
    let changes: Vec<&String> = paths.iter().filter(|path| !path.starts_with("GET ")).collect();
    let at = |name: &str| format!("/api/v1/repos/acme/{name}/actions/runners/5");
    let (former, present) = (at("widget"), at("renamed"));
    let expected =
        [format!("PATCH {former}"), format!("PATCH {present}"), format!("DELETE {present}")];
    assert_eq!(changes, expected.each_ref());
}

/// Answers like a forge with the repositories `acme/lab-N`, each with the ID N and a runner N.
fn labs(asked: &RecordedRequest) -> (u16, Value) {
    if asked.path.ends_with("/Register") {
        let id = asked.json()["token"].as_str().map(|token| token.replace("token-of-lab-", ""));
        let made = json!({
            "id": id, "uuid": "u", "token": "t", "name": "tq-job-1-0123abcd-1", "ephemeral": true,
        });
        return (200, json!({ "runner": made }));
    }
    let Some(lab) = asked.path.strip_prefix("/api/v1/repos/acme/lab-") else { return not_found() };
    let (number, rest) = lab.split_once('/').unwrap_or((lab, ""));
    let id: i64 = number.parse().expect("a number");
    match rest {
        "" => (200, json!({ "id": id, "full_name": format!("acme/lab-{id}") })),
        "actions/runners/registration-token" => {
            (200, json!({ "token": format!("token-of-lab-{id}") }))
        }
        _ => (200, runner(id)),
    }
}

#[tokio::test]
async fn tokens_and_names_of_a_thousand_and_one_repositories_are_read_once() {
    let script = Script::new(labs).await;
    let client = client(&in_repositories(&script.url, Scope::Org("acme".to_owned())));
    for _ in 0..2 {
        for id in 1..=1_001 {
            let repo = RepoRef { id, name: &format!("acme/lab-{id}") };
            let made = client.register(&attempt_id(1), repo, &linux()).await.expect("registers");
            assert_eq!((made.id, made.repo_id), (id, id));
            let read = client.registration(made.id, made.repo_id).await.expect("answers");
            assert!(read.is_some(), "{id}");
        }
    }
    let paths = script.take_paths();
    let count = |is: fn(&str) -> bool| paths.iter().filter(|path| is(path)).count();
    assert_eq!(count(|path| path.ends_with("/registration-token")), 1_001);
    let is_name = |path: &str| path.starts_with("GET /api/v1/repos/") && !path.contains("/runners");
    assert_eq!(count(is_name), 1_001);
    assert_eq!(count(|path| path.contains("/repositories/")), 0, "each name is known");
}

#[tokio::test]
async fn the_jobs_of_a_thousand_and_one_repositories_are_listed_and_each_is_looked_up_once() {
    let wire = start(Line::V1_27, Right::Admin);
    let client = client(&in_repositories(&wire.url(), Scope::All));
    for number in 0..=1_000 {
        wire.forge().push(Timestamp::now(), &format!("acme/lab-{number}"), &build());
    }
    for _ in 0..2 {
        let waiting = client.waiting().await.expect("answers").expect("jobs mode");
        assert_eq!(waiting.len(), 1_001);
        let ids: std::collections::BTreeSet<i64> =
            waiting.iter().map(|job| job.job.repo_id).collect();
        assert_eq!(ids.len(), 1_001);
    }
    let calls = wire.counters().calls;
    assert_eq!(calls.get("GET /repos/{owner}/{repo}").copied(), Some(1_001), "{calls:?}");
}
