//! The reads and effects of rule 22: which runners have jobs, and that a registration gets no more.

use serde_json::{Value, json};
use tinqs_ci_gitea::{Config as Settings, RegisterIn, Scope};
use tinqs_ci_reconciler::model::{JobRunner, Secret};
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _};
use tinqs_ci_simulator::forge::{JobSpec, Line};
use tinqs_ci_simulator::gitea_wire::Right;

use crate::levels::{LINES, OTHER, attempt_id, in_repositories, linux, start};
use crate::script::{JOB_REPO, RecordedRequest, Script, client, settings};

fn scopes() -> [(Scope, Right); 3] {
    [
        (Scope::All, Right::Admin),
        (Scope::Org("acme".to_owned()), Right::Owner),
        (Scope::Repo("acme".to_owned(), "widget".to_owned()), Right::Owner),
    ]
}

#[tokio::test]
async fn a_disabled_registration_gets_no_job_where_the_server_can_do_that() {
    for (line, (scope, right)) in LINES.into_iter().flat_map(|l| scopes().map(|s| (l, s))) {
        let wire = start(line, right);
        let client = client(&in_repositories(&wire.url(), scope.clone()));
        let runner = client.register(&attempt_id(1), JOB_REPO, &linux()).await.expect("registers");
        let read = async || {
            let row = client.registration(runner.id, JOB_REPO.id).await.expect("answers");
            row.expect("registered").disabled
        };
        let can = line >= Line::V1_26;
        assert_eq!(read().await, can.then_some(false), "{line:?} {scope:?}");
        let disabled = client.disable(runner.id, JOB_REPO.id).await.expect("answers");
        assert_eq!((disabled, read().await), (can, can.then_some(true)), "{line:?} {scope:?}");
        let now = jiff::Timestamp::now();
        wire.forge().push(now, JOB_REPO.name, &[JobSpec::new("build", &["linux"])]);
        let (uuid, token) = (&runner.uuid, runner.token.expose());
        let fetched = wire.forge().fetch(now, uuid, token, 0).expect("the identity is good");
        assert_eq!(fetched.task.is_none(), can, "{line:?} {scope:?}");
        client.retire(runner.id, JOB_REPO.id).await.expect("removed");
        client.disable(runner.id, JOB_REPO.id).await.expect("gone already");
    }
}

#[tokio::test]
async fn the_runners_of_jobs_in_progress_are_those_of_the_repository() {
    for (line, (scope, right)) in LINES.into_iter().flat_map(|l| scopes().map(|s| (l, s))) {
        let wire = start(line, right);
        let client = client(&in_repositories(&wire.url(), scope.clone()));
        let now = jiff::Timestamp::now();
        let jobs: Vec<JobSpec> =
            (0..70).map(|n| JobSpec::new(format!("build ({n})"), &["linux"])).collect();
        wire.forge().push(now, JOB_REPO.name, &jobs);
        wire.forge().push(now, OTHER.name, &[JobSpec::new("other", &["other"])]);
        let mut expected = Vec::new();
        for number in 1..=60 {
            let runner = client.register(&attempt_id(number), JOB_REPO, &linux()).await.unwrap();
            let (uuid, token) = (&runner.uuid, runner.token.expose());
            wire.forge().fetch(now, uuid, token, 0).unwrap().task.expect("a job");
            expected.push(JobRunner { id: runner.id, name: runner.name });
        }
        let row = wire.forge().register(now, "other", &["other".to_owned()], true);
        wire.forge().fetch(now, &row.uuid, &row.token, 0).unwrap().task.expect("a job");
        let mut read = client.at_work(JOB_REPO.id).await.expect("answers").expect("readable");
        read.sort_by_key(|runner| runner.id);
        read.dedup();
        assert_eq!(read, expected, "{line:?} {scope:?}");
        wire.forge().remove_repo(JOB_REPO.name);
        assert_eq!(client.at_work(JOB_REPO.id).await.expect("answers"), None, "it is gone");
    }
}

/// A server of a version whose lists of jobs are these.
async fn server(
    version: &'static str,
    running: fn(usize) -> (u16, Value),
    newest: fn() -> Value,
) -> Script {
    Script::new(move |asked: &RecordedRequest| {
        if asked.path.ends_with("/version") {
            (200, json!({ "version": version }))
        } else if asked.path.contains("status=in_progress") {
            running(asked.number("page"))
        } else {
            (200, newest())
        }
    })
    .await
}

fn of_scope(script: &Script) -> tinqs_ci_gitea::client::Client {
    let token = Some(Secret::new("api-token"));
    client(&Settings { token, register_in: RegisterIn::Scope, ..settings(&script.url) })
}

fn none() -> Value {
    json!({ "jobs": [], "total_count": 0 })
}

#[tokio::test]
async fn a_list_that_is_shorter_than_it_reports_is_no_answer() {
    let one = |page: usize| {
        let jobs =
            if page == 1 { json!([{ "id": 1, "status": "in_progress" }]) } else { json!([]) };
        (200, json!({ "jobs": jobs, "total_count": 2 }))
    };
    let script = server("1.26.4", one, none).await;
    let read = of_scope(&script).at_work(0).await;
    assert_eq!(read.expect_err("one is missing").kind, ErrorKind::Unavailable);
    let uncounted = |page: usize| {
        let jobs =
            if page == 1 { json!([{ "id": 1, "status": "in_progress" }]) } else { json!([]) };
        (200, json!({ "jobs": jobs }))
    };
    let script = server("1.26.4", uncounted, none).await;
    assert!(of_scope(&script).at_work(0).await.is_err(), "its length is not known");
}

#[tokio::test]
async fn without_the_right_to_list_jobs_nothing_is_known() {
    let script = server("1.26.4", |_| (403, json!({ "message": "no" })), none).await;
    assert_eq!(of_scope(&script).at_work(0).await.expect("it says so"), None);
}

#[tokio::test]
async fn a_job_that_is_being_canceled_is_found_among_the_newest() {
    let empty = |_: usize| (200, none());
    let newest = || {
        json!({ "jobs": [
            { "id": 1, "status": "completed", "conclusion": "success", "runner_id": 5 },
            { "id": 2, "status": "in_progress", "runner_id": 7, "runner_name": "r" },
        ], "total_count": 2 })
    };
    let script = server("1.27.3", empty, newest).await;
    let read = of_scope(&script).at_work(0).await.expect("answers").expect("readable");
    assert_eq!(read, [JobRunner { id: 7, name: "r".to_owned() }]);
}
