//! Workflow runs as the controller reads them, and the requests to run their jobs again.

use axum::response::Response;
use jiff::Timestamp;
use serde_json::json;
use tinqs_ci_gitea::Scope;
use tinqs_ci_gitea::client::{Access, Client, RerunAccess};
use tinqs_ci_reconciler::model::{Conclusion, Job, JobRef, RerunScope};
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _, RerunAnswer};
use tinqs_ci_simulator::forge::{JobSpec, Line};
use tinqs_ci_simulator::gitea_wire::{Right, Wire};

use crate::levels::{LINES, attempt_id, in_repositories, linux, start};
use crate::script::{JOB_REPO, RecordedRequest, Script, client, html, json_answer, not_found};

fn job_ref(job_id: i64) -> JobRef {
    JobRef { repo: JOB_REPO.name.to_owned(), repo_id: JOB_REPO.id, job_id }
}

/// Runs the oldest waiting job to this end.
async fn run_one(wire: &Wire, client: &Client, number: u32, conclusion: Conclusion) -> i64 {
    let runner = client.register(&attempt_id(number), JOB_REPO, &linux()).await.expect("registers");
    let (uuid, token) = (&runner.uuid, runner.token.expose());
    let now = Timestamp::now();
    let task = wire.forge().fetch(now, uuid, token, 0).expect("the identity is good").task;
    let task = task.expect("a job");
    wire.forge().report(now, uuid, token, task.id, Some(conclusion)).expect("reported");
    task.job_id
}

#[tokio::test]
async fn failed_jobs_are_run_again_where_the_server_can_do_that() {
    for line in LINES {
        let wire = start(line, Right::Admin);
        let client = client(&in_repositories(&wire.url(), Scope::All));
        let jobs = ["test (1)", "test (2)", "test (3)"].map(|name| JobSpec::new(name, &["linux"]));
        let ids = wire.forge().push(Timestamp::now(), JOB_REPO.name, &jobs);
        let run_id = wire.forge().job(ids[0]).expect("a job").run_id;
        let of = job_ref(ids[0]);
        run_one(&wire, &client, 1, Conclusion::Failure).await;
        run_one(&wire, &client, 2, Conclusion::Success).await;
        let read = client.workflow_run(&of, run_id).await.expect("answers").expect("there");
        assert_eq!((read.is_done, read.jobs.len(), read.attempt), (false, 3, Some(1)), "{line:?}");
        let can = line >= Line::V1_26;
        assert_eq!(read.can_rerun, can, "{line:?}");
        assert_eq!(read.failed().map(|job| job.id).collect::<Vec<_>>(), [ids[0]]);
        assert!(read.jobs[0].failed_at().is_some() && read.jobs[2].completed_at.is_none());
        let succeeded_at = read.jobs[1].completed_at;
        let ask =
            async |scope: RerunScope| client.rerun(&of, run_id, scope).await.expect("answers");
        if !can {
            assert_eq!(ask(RerunScope::Failed).await, RerunAnswer::Unsupported);
            continue;
        }
        assert_eq!(ask(RerunScope::Failed).await, RerunAnswer::NotDone, "{line:?}");
        run_one(&wire, &client, 3, Conclusion::Failure).await;
        assert_eq!(ask(RerunScope::Job(999)).await, RerunAnswer::NotFound, "{line:?}");
        assert_eq!(ask(RerunScope::Failed).await, RerunAnswer::Accepted, "{line:?}");
        assert_eq!(ask(RerunScope::Failed).await, RerunAnswer::NotDone, "{line:?}");
        let read = client.workflow_run(&of, run_id).await.expect("answers").expect("there");
        assert_eq!((read.is_done, read.attempt, read.jobs.len()), (false, Some(2), 3), "{line:?}");
        let waiting = read.jobs.iter().filter(|job| job.state == Some(Job::Waiting));
        let waiting: Vec<i64> = waiting.map(|job| job.id).collect();
        assert_eq!(waiting.len(), 2);
        let same_ids = waiting == [ids[0], ids[2]];
        assert_eq!(same_ids, line == Line::V1_26, "each attempt has IDs of its own since 1.27");
        // Also of a job that is not run again, which shows its former end.
        let passed = read.jobs.iter().find(|job| job.name == "test (2)").expect("it is listed");
        assert_eq!(passed.id == ids[1], line == Line::V1_26, "{line:?}");
        assert!(passed.ended(Conclusion::Success) && passed.completed_at == succeeded_at);
        for number in 4..6 {
            run_one(&wire, &client, number, Conclusion::Failure).await;
        }
        assert_eq!(ask(RerunScope::Job(waiting[1])).await, RerunAnswer::Accepted, "{line:?}");
        wire.forge().remove_repo(JOB_REPO.name);
        assert_eq!(client.workflow_run(&of, run_id).await.expect("answers"), None);
        assert_eq!(ask(RerunScope::Failed).await, RerunAnswer::NotFound);
    }
}

#[tokio::test]
async fn a_token_without_the_right_is_denied() {
    let wire = start(Line::V1_27, Right::Admin);
    let admin = client(&in_repositories(&wire.url(), Scope::All));
    let ids =
        wire.forge().push(Timestamp::now(), JOB_REPO.name, &[JobSpec::new("test", &["linux"])]);
    run_one(&wire, &admin, 1, Conclusion::Failure).await;
    let run_id = wire.forge().job(ids[0]).expect("a job").run_id;
    let asked = admin.rerun_access().await.expect("answers").expect("there is a repository");
    assert_eq!(asked.access, Access::Granted, "{}", asked.repository);
    assert_eq!(wire.forge().waiting().len(), 0, "asking for the right changes nothing");

    let scope = Scope::Repo("acme".to_owned(), "widget".to_owned());
    let wire = start(Line::V1_27, Right::Read);
    let reader = client(&in_repositories(&wire.url(), scope));
    let denied = reader.rerun(&job_ref(ids[0]), run_id, RerunScope::Failed).await;
    assert_eq!(denied.expect_err("denied").kind, ErrorKind::Denied);
    let asked = reader.rerun_access().await.expect("answers").expect("there is a repository");
    assert!(matches!(asked.access, Access::Denied(_)), "{asked:?}");
    assert_eq!(asked.repository, "acme/widget");
}

/// Starts a forge whose workflow run 5 is done or not, and that answers each request so.
async fn answering(
    is_done: bool,
    answer: impl Fn() -> Response + Clone + Send + Sync + 'static,
) -> Script {
    let run = if is_done { "completed" } else { "in_progress" };
    Script::new(move |asked: &RecordedRequest| {
        let path = asked.path.trim_start_matches("/api/v1");
        let (status, value) = match (asked.method.as_str(), path) {
            ("POST", _) => return answer(),
            (_, "/version") => (200, json!({ "version": "1.26.4" })),
            (_, "/repositories/2" | "/repos/acme/widget") => {
                (200, json!({ "id": 2, "full_name": "acme/widget" }))
            }
            (_, "/repos/acme/widget/actions/runs/5") => (200, json!({ "id": 5, "status": run })),
            _ => not_found(),
        };
        json_answer(status, value)
    })
    .await
}

#[tokio::test]
async fn a_request_that_is_refused_although_the_workflow_run_is_over_is_refused_for_good() {
    for status in [400_u16, 409, 422] {
        let refuses = move || json_answer(status, json!({ "message": "workflow is disabled" }));
        for scope in [RerunScope::Failed, RerunScope::Job(7)] {
            let script = answering(true, refuses).await;
            let answer = script.client().rerun(&job_ref(7), 5, scope).await.expect("answers");
            let RerunAnswer::Refused(why) = &answer else { panic!("{status}: {answer:?}") };
            let has_status = why.starts_with(&status.to_string());
            assert!(has_status && why.ends_with("(workflow is disabled)"), "{why}");
            let paths = script.take_paths();
            let posts = paths.iter().filter(|path| path.starts_with("POST ")).count();
            assert_eq!(posts, 1, "it is not repeated: {paths:?}");

            let script = answering(false, refuses).await;
            let answer = script.client().rerun(&job_ref(7), 5, scope).await.expect("answers");
            assert_eq!(answer, RerunAnswer::NotDone, "{status}: it goes on");
        }
        let script = answering(true, refuses).await;
        let answer = script.client().rerun(&job_ref(7), 6, RerunScope::Failed).await;
        assert_eq!(answer.expect("answers"), RerunAnswer::NotFound, "{status}: it is gone");
        // A page of a proxy says nothing about the workflow run.
        let script = answering(true, move || html(status)).await;
        let answer = script.client().rerun(&job_ref(7), 5, RerunScope::Failed).await;
        assert_eq!(answer.expect_err("no answer of the forge").kind, ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn only_an_answer_of_the_forge_about_the_workflow_run_shows_the_right() {
    let scope = || Scope::Repo("acme".to_owned(), "widget".to_owned());
    let asked = async |answer: fn() -> Response| {
        let script = answering(true, answer).await;
        script.client_of(scope()).rerun_access().await
    };
    let says = |status: u16| json_answer(status, json!({ "message": "no such workflow run" }));
    let granted = RerunAccess { repository: "acme/widget".to_owned(), access: Access::Granted };
    for status in [400, 404] {
        let script = answering(true, move || says(status)).await;
        let read = script.client_of(scope()).rerun_access().await.expect("answers");
        assert_eq!(read.as_ref(), Some(&granted), "{status}");
        let paths = script.take_paths();
        let path = "POST /api/v1/repos/acme/widget/actions/runs/0/rerun-failed-jobs";
        assert_eq!(paths.last().map(String::as_str), Some(path));
    }
    let denied = asked(|| json_answer(403, json!({ "message": "no" }))).await;
    let denied = denied.expect("answers").expect("it was asked");
    assert!(matches!(denied.access, Access::Denied(_)), "{denied:?}");
    let unknown: [fn() -> Response; 6] = [
        || html(404),
        || html(403),
        || html(502),
        || json_answer(200, json!({})),
        || json_answer(405, json!({ "message": "no" })),
        || json_answer(500, json!({ "message": "no" })),
    ];
    for answer in unknown {
        let read = asked(answer).await;
        assert!(read.is_err(), "{read:?}");
    }
}
