//! Registrations of single repositories.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tinqs_ci_gitea::client::{Access, Client};
use tinqs_ci_gitea::{Config as Settings, RegisterIn, Scope};
use tinqs_ci_reconciler::model::{AttemptId, Job, JobRef, Registrations, RepoRef, Secret};
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _, RegistrationLists};
use tinqs_ci_simulator::forge::{Config, Forge, JobSpec, Line};
use tinqs_ci_simulator::gitea_wire::{ApiToken, Right, Wire, WireOptions};

use crate::script::{JOB_REPO, RecordedRequest, Script, client, not_found, settings};

pub(crate) const LINES: [Line; 3] = [Line::V1_25, Line::V1_26, Line::V1_27];
pub(crate) const OTHER: RepoRef<'static> = RepoRef { id: 1, name: "acme/other" };

pub(crate) fn start(line: Line, right: Right) -> Wire {
    let mut forge = Forge::new(Config { line, ..Config::default() });
    forge.add_repo(OTHER.name);
    forge.add_repo(JOB_REPO.name);
    let tokens = vec![ApiToken { token: "api-token".to_owned(), right }];
    let options = WireOptions { tokens, user: "acme".to_owned(), ..WireOptions::default() };
    let clock = Arc::new(jiff::Timestamp::now);
    Wire::start(Arc::new(Mutex::new(forge)), clock, options).expect("a server")
}

pub(crate) fn in_repositories(url: &str, scope: Scope) -> Settings {
    let token = Some(Secret::new("api-token"));
    Settings { token, scope, register_in: RegisterIn::Repository, ..settings(url) }
}

pub(crate) fn attempt_id(number: u32) -> AttemptId {
    format!("tq-job-1-0123abcd-{number}").parse().expect("an attempt ID")
}

pub(crate) fn linux() -> Vec<String> {
    vec!["linux:host".to_owned()]
}

async fn ids(client: &Client, repo_id: i64) -> Vec<(i64, i64)> {
    match client.registrations(repo_id).await.expect("answers") {
        Registrations::Seen(rows) => rows.iter().map(|row| (row.id, row.repo_id)).collect(),
        Registrations::Unknown => panic!("the token may list runners"),
    }
}

#[tokio::test]
async fn a_runner_gets_only_jobs_of_its_repository() {
    for line in LINES {
        let wire = start(line, Right::Admin);
        let client = client(&in_repositories(&wire.url(), Scope::All));
        let now = jiff::Timestamp::now();
        wire.forge().push(now, OTHER.name, &[JobSpec::new("older", &["linux"])]);
        let runner = client.register(&attempt_id(1), JOB_REPO, &linux()).await.expect("registers");
        assert_eq!(runner.repo_id, JOB_REPO.id);
        let (uuid, token) = (&runner.uuid, runner.token.expose());
        let fetched = wire.forge().fetch(now, uuid, token, 0).expect("the identity is good");
        assert_eq!(fetched.task, None, "{line:?}: a job of another repository");
        wire.forge().push(now, JOB_REPO.name, &[JobSpec::new("own", &["linux"])]);
        let fetched = wire.forge().fetch(now, uuid, token, 0).expect("the identity is good");
        assert_eq!(fetched.task.expect("its own").repo, JOB_REPO.name);
    }
}

#[tokio::test]
async fn a_registration_is_listed_read_and_removed_where_it_was_made() {
    let scopes = [
        (Scope::All, Right::Admin, RegistrationLists::One),
        (Scope::Org("acme".to_owned()), Right::Owner, RegistrationLists::PerRepository),
        (Scope::User, Right::Owner, RegistrationLists::PerRepository),
        (Scope::Repo("acme".to_owned(), "widget".to_owned()), Right::Owner, RegistrationLists::One),
    ];
    for (line, (scope, right, lists)) in
        LINES.into_iter().flat_map(|l| scopes.clone().map(|s| (l, s)))
    {
        let wire = start(line, right);
        let client = client(&in_repositories(&wire.url(), scope.clone()));
        assert_eq!(client.registration_lists(), lists, "{scope:?}");
        let runner = client.register(&attempt_id(1), JOB_REPO, &linux()).await.expect("registers");
        let apart = lists == RegistrationLists::PerRepository;
        let list = if apart { JOB_REPO.id } else { 0 };
        let of = if scope == Scope::All { 0 } else { JOB_REPO.id };
        assert_eq!(ids(&client, list).await, [(runner.id, of)], "{scope:?}");
        if apart {
            assert_eq!(ids(&client, 0).await, [], "the list of {scope:?} shows no such row");
            assert_eq!(ids(&client, OTHER.id).await, []);
        }
        let read = client.registration(runner.id, JOB_REPO.id).await.expect("answers");
        assert_eq!(read.expect("registered").attempt_id, attempt_id(1));
        for _ in 0..2 {
            client.retire(runner.id, JOB_REPO.id).await.expect("removed, or gone already");
        }
        let read = client.registration(runner.id, JOB_REPO.id).await.expect("answers");
        assert_eq!(read, None);
        wire.forge().remove_repo(JOB_REPO.name);
        let read = client.registration(runner.id, JOB_REPO.id).await.expect("answers");
        assert_eq!(read, None, "{scope:?}: gone with its repository");
        client.retire(runner.id, JOB_REPO.id).await.expect("gone with its repository");
        if apart {
            assert_eq!(ids(&client, JOB_REPO.id).await, []);
        }
    }
}

#[tokio::test]
async fn the_token_of_a_repository_is_read_and_compared_once() {
    let wire = start(Line::V1_27, Right::Admin);
    let client = client(&in_repositories(&wire.url(), Scope::All));
    for number in 1..=3 {
        client.register(&attempt_id(number), JOB_REPO, &linux()).await.expect("registers");
    }
    let calls = wire.counters().calls;
    let count = |call: &str| calls.get(call).copied().unwrap_or(0);
    let runners = "/repos/{owner}/{repo}/actions/runners";
    assert_eq!(count(&format!("POST {runners}/registration-token")), 1, "{calls:?}");
    assert_eq!(count(&format!("GET {runners}/{{id}}")), 1, "{calls:?}");
    assert_eq!(count("GET /repos/{owner}/{repo}"), 1, "{calls:?}");
}

#[tokio::test]
async fn the_id_of_a_waiting_jobs_repository_is_the_one_that_the_forge_tells() {
    for line in LINES {
        let wire = start(line, Right::Admin);
        let client = client(&in_repositories(&wire.url(), Scope::All));
        let now = jiff::Timestamp::now();
        let jobs = [JobSpec::new("build", &["linux"])];
        let read = async |repo: &str, repo_id: i64, job_id: i64| {
            let job = JobRef { repo: repo.to_owned(), repo_id, job_id };
            let seen = client.job(&job).await.expect("answers");
            (seen.state, seen.repo, seen.repo_id)
        };
        let job = wire.forge().push(now, JOB_REPO.name, &jobs)[0];
        let told = read(JOB_REPO.name, JOB_REPO.id, job).await;
        assert_eq!(told, (Job::Waiting, None, None), "{line:?}");
        let forged = read(JOB_REPO.name, OTHER.id, job).await;
        assert_eq!(forged, (Job::Waiting, None, Some(JOB_REPO.id)), "{line:?}");
        // Another repository takes the name.
        assert!(wire.forge().rename_repo(now, JOB_REPO.name, "acme/moved"));
        let newer = wire.forge().push(now, JOB_REPO.name, &jobs)[0];
        let newer_id = wire.forge().job(newer).expect("a job").repo_id;
        let moved = read(JOB_REPO.name, JOB_REPO.id, job).await;
        assert_eq!(moved, (Job::Waiting, Some("acme/moved".to_owned()), None), "{line:?}");
        let told = read(JOB_REPO.name, newer_id, newer).await;
        assert_eq!(told, (Job::Waiting, None, None), "{line:?}: whatever was cached");
    }
}

#[tokio::test]
async fn a_token_without_the_right_names_it_and_the_alternative() {
    let wire = start(Line::V1_27, Right::Read);
    let client = client(&in_repositories(&wire.url(), Scope::All));
    let access = client.registration_access().await.expect("answers");
    assert!(matches!(access, Access::Denied(_)), "{access:?}");
    let error = client.register(&attempt_id(1), JOB_REPO, &linux()).await.expect_err("refused");
    assert_eq!(error.kind, ErrorKind::Denied);
    for part in ["write:repository", "`forge.register_in` to \"scope\"", "any repository in scope"]
    {
        assert!(error.message.contains(part), "{error}");
    }
    assert_eq!(wire.forge().runners().count(), 0);
}

#[tokio::test]
async fn a_refused_list_of_a_repository_is_not_asked_for_again_at_once() {
    let script =
        Script::new(|asked: &RecordedRequest| match asked.path.trim_start_matches("/api/v1") {
            "/repositories/2" => (200, json!({ "id": 2, "full_name": "acme/widget" })),
            _ => (403, json!({ "message": "token does not have the scope" })),
        })
        .await;
    let client = client(&in_repositories(&script.url, Scope::Org("acme".to_owned())));
    for _ in 0..3 {
        let seen = client.registrations(2).await.expect("no outage");
        assert_eq!(seen, Registrations::Unknown);
    }
    let lists = |path: &String| path.contains("/actions/runners");
    assert_eq!(script.take_paths().iter().filter(|path| lists(path)).count(), 2);
}

pub(crate) fn runner(id: i64) -> Value {
    json!({ "id": id, "name": "tq-job-1-0123abcd-1", "status": "offline", "busy": false })
}

/// Answers like a forge where the name `acme/widget` belongs to `holder`, and the repository 2 is
/// named `acme/renamed`.
fn renamed(holder: i64) -> impl Fn(&RecordedRequest) -> (u16, Value) + Clone {
    move |asked| {
        let path = asked.path.trim_start_matches("/api/v1");
        if path.ends_with("/registration-token") {
            return (200, json!({ "token": format!("token of {path}") }));
        }
        if path.ends_with("/Register") {
            let made = json!({
                "id": "5", "uuid": "u", "token": "t", "name": "tq-job-1-0123abcd-1",
                "ephemeral": true,
            });
            return (200, json!({ "runner": made }));
        }
        match path {
            "/repositories/2" | "/repos/acme/renamed" => {
                (200, json!({ "id": 2, "full_name": "acme/renamed" }))
            }
            "/repos/acme/widget" => (200, json!({ "id": holder, "full_name": "acme/widget" })),
            "/repos/acme/widget/actions/runners/5" if holder != 2 => (200, runner(5)),
            "/repos/acme/renamed/actions/runners/5" => (200, runner(5)),
            "/version" => (200, json!({ "version": "1.27.0" })),
            _ => (404, json!({ "message": "not found" })),
        }
    }
}

#[tokio::test]
async fn a_row_of_a_repository_that_took_the_name_is_removed_and_not_used() {
    let script = Script::new(renamed(9)).await;
    let client = client(&in_repositories(&script.url, Scope::Org("acme".to_owned())));
    let made = client.register(&attempt_id(1), JOB_REPO, &linux()).await.expect("registers");
    assert_eq!(made.repo_id, 2);
    let paths = script.take_paths();
    let removed = "DELETE /api/v1/repos/acme/widget/actions/runners/5".to_owned();
    assert!(paths.contains(&removed), "{paths:#?}");
    let read = client.registration(5, 2).await.expect("answers").expect("under its present name");
    assert_eq!(read.repo_id, 2);
    let asked = script.take_paths();
    assert_eq!(asked, ["GET /api/v1/repos/acme/renamed/actions/runners/5"]);
}

#[tokio::test]
async fn a_404_is_evidence_only_if_the_repository_is_still_the_same() {
    // (the id that the name leads to, or a status; the answer of /repositories/2; the result)
    let cases = [
        (Ok(2_i64), 200, Ok(false)),
        (Ok(9), 200, Err(ErrorKind::Unavailable)),
        (Err(404), 404, Ok(false)),
        (Err(404), 200, Err(ErrorKind::Unavailable)),
        (Err(502_u16), 200, Err(ErrorKind::Unavailable)),
    ];
    let scopes =
        [Scope::Org("acme".to_owned()), Scope::Repo("acme".to_owned(), "widget".to_owned())];
    for ((named, by_id, expected), scope) in
        cases.into_iter().flat_map(|case| scopes.clone().map(|scope| (case, scope)))
    {
        let looked_up = Arc::new(AtomicUsize::new(0));
        let script = Script::new(move |asked: &RecordedRequest| {
            let path = asked.path.trim_start_matches("/api/v1");
            let repository = |id: i64| (200, json!({ "id": id, "full_name": "acme/widget" }));
            match (path, named) {
                // The first lookup gives the name that is then cached.
                ("/repositories/2", _) => {
                    let first = looked_up.fetch_add(1, Ordering::Relaxed) == 0;
                    let gone = !first && by_id == 404;
                    if gone { not_found() } else { repository(2) }
                }
                ("/repos/acme/widget", Ok(id)) => repository(id),
                ("/repos/acme/widget", Err(status)) => (status, json!({ "message": "no" })),
                ("/version", _) => (200, json!({ "version": "1.27.0" })),
                _ => not_found(),
            }
        })
        .await;
        let client = client(&in_repositories(&script.url, scope.clone()));
        let read = client.registration(5, 2).await;
        let read = read.map(|row| row.is_some()).map_err(|error| error.kind);
        assert_eq!(read, expected, "{scope:?} {named:?} {by_id}: {:#?}", script.take_paths());
    }
}
