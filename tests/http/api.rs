//! `/v1`.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use parking_lot::Mutex;
use serde_json::Value;
use tinqs_ci::server::Role;
use tinqs_ci::server::http::Deadlines;
use tinqs_ci::telemetry::lines::{self, Form};
use tinqs_ci_reconciler::model::{
    About, Attempt, AttemptId, Boot, MachineState, Outcome, Phase, Placement, RepoRef, Run, Secret,
};
use tinqs_ci_reconciler::ports::{Compute as _, Forge as _};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::asking::{TOKEN, TestServer, queued, settings};
use crate::world::{CANARY, add_run, class, name};

#[tokio::test]
async fn missing_objects_and_invalid_requests_are_problems() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 1, About::default());
    let cases = [
        ("GET", "/nothing", StatusCode::NOT_FOUND),
        ("GET", "/v1/nothing", StatusCode::NOT_FOUND),
        ("GET", "/v1", StatusCode::NOT_FOUND),
        ("PUT", "/v1/runs", StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "/webhook", StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "/v1/runs/job-99", StatusCode::NOT_FOUND),
        ("GET", "/v1/runs/job-99/plan", StatusCode::NOT_FOUND),
        ("GET", "/v1/runs/..%2f..%2fetc", StatusCode::NOT_FOUND),
        ("GET", "/v1/runs/%ff", StatusCode::BAD_REQUEST),
        ("DELETE", "/v1/runs/job-99", StatusCode::NOT_FOUND),
        ("DELETE", "/v1/runs/job-1?now=perhaps", StatusCode::BAD_REQUEST),
        ("DELETE", "/v1/runs/job-1?new=true", StatusCode::BAD_REQUEST),
        ("POST", "/v1/runs/job-99/retry", StatusCode::NOT_FOUND),
        ("POST", "/v1/machines/m-1/terminate", StatusCode::NOT_FOUND),
        ("POST", "/v1/machines/..%2f..%2fx/terminate", StatusCode::NOT_FOUND),
        ("GET", "/v1/runs?limit=0", StatusCode::BAD_REQUEST),
        ("GET", "/v1/runs?limit=501", StatusCode::BAD_REQUEST),
        ("GET", "/v1/runs?limit=x", StatusCode::BAD_REQUEST),
        ("GET", "/v1/runs?phase=Gone", StatusCode::BAD_REQUEST),
        ("GET", "/v1/runs?after=ours-not", StatusCode::BAD_REQUEST),
        ("GET", "/v1/runs?color=red", StatusCode::BAD_REQUEST),
        ("POST", "/v1/status", StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "/v1/why?color=red", StatusCode::BAD_REQUEST),
    ];
    for (method, path, expected) in cases {
        let answer = asked.ask(method, path, &[], Body::empty()).await;
        assert_eq!(answer.status, expected, "{method} {path}: {answer:?}");
    }
    assert_eq!(asked.world.calls("terminate"), 0);
}

#[tokio::test]
async fn runs_are_paged_newest_first_and_filtered() {
    let asked = TestServer::new(settings());
    for id in 1..=5 {
        let repo = if id == 3 { "x/y" } else { "a/b" }.to_owned();
        add_run(&asked.world, id, About { repo, ..About::default() });
    }
    let mut seen = Vec::new();
    let mut path = "/v1/runs?limit=2".to_owned();
    for _ in 0..3 {
        let page = asked.get(&path).await.json();
        let items = page["items"].as_array().expect("items").clone();
        seen.extend(items.iter().map(|run| run["name"].as_str().expect("a name").to_owned()));
        match &page["next"] {
            Value::String(next) => path = format!("/v1/runs?limit=2&after={next}"),
            other => assert!(other.is_null(), "{other}"),
        }
    }
    assert_eq!(seen, ["job-5", "job-4", "job-3", "job-2", "job-1"]);
    let count = |answer: Value| answer["items"].as_array().map_or(0, Vec::len);
    assert_eq!(count(asked.get("/v1/runs?repo=x/y").await.json()), 1);
    assert_eq!(count(asked.get("/v1/runs?phase=waiting&class=&after=").await.json()), 5);
    assert_eq!(count(asked.get("/v1/runs?phase=Finished").await.json()), 0);
    assert_eq!(count(asked.get("/v1/runs?class=linux").await.json()), 0);
}

#[tokio::test]
async fn a_stale_version_is_not_changed() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 1, About::default());
    let answer = asked.get("/v1/runs/job-1").await;
    assert_eq!((answer.status, answer.header("etag")), (StatusCode::OK, "\"1\""));
    let none = [("if-none-match", "\"1\"")];
    let answer = asked.ask("GET", "/v1/runs/job-1", &none, Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
    let stale = [("if-match", "\"7\"")];
    for (method, path) in [("DELETE", "/v1/runs/job-1"), ("POST", "/v1/runs/job-1/retry")] {
        let answer = asked.ask(method, path, &stale, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED, "{answer:?}");
    }
    assert_eq!(asked.world.calls("put"), 0);
    let fresh = [("if-match", "\"1\"")];
    let answer = asked.ask("DELETE", "/v1/runs/job-1?now=true", &fresh, Body::empty()).await;
    assert_eq!((answer.status, answer.header("etag")), (StatusCode::ACCEPTED, "\"2\""));
    let run = asked.world.state().runs[&name(1)].clone();
    assert!(run.deleted_at.is_some() && run.terminate_now && run.status.next == 2, "{run:?}");
    assert_eq!(asked.world.state().queue.front(), Some(&name(1)), "the run is woken");
    let answer = asked.ask("POST", "/v1/runs/job-1/retry", &[], Body::empty()).await;
    assert_eq!((answer.status, answer.header("etag")), (StatusCode::ACCEPTED, "\"3\""));
    assert_eq!(answer.json()["deleted_at"], Value::Null);
}

#[tokio::test]
async fn a_change_is_retried_after_conflicts_but_not_forever() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 1, About::default());
    asked.world.state().conflicts = 3;
    let answer = asked.ask("POST", "/v1/runs/job-1/retry", &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    asked.world.state().conflicts = 1_000;
    let answer = asked.ask("POST", "/v1/runs/job-1/retry", &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");
    asked.world.state().conflicts = 1;
    let answer =
        asked.ask("DELETE", "/v1/runs/job-1", &[("if-match", "\"2\"")], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED, "{answer:?}");
}

#[tokio::test]
async fn an_unavailable_store_answers_503_with_retry_after() {
    let asked = TestServer::new(settings());
    asked.world.state().down.insert("store");
    for path in ["/v1/runs", "/v1/runs/job-1", "/v1/runs/job-1/plan", "/v1/classes"] {
        let answer = asked.get(path).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(!answer.header("retry-after").is_empty(), "{path}");
    }
    asked.world.state().down = ["compute", "forge"].into();
    assert_eq!(asked.get("/v1/machines").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(asked.get("/v1/registrations").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(asked.get("/v1/classes").await.status, StatusCode::OK);
}

/// Returns an attempt with credentials.
pub(crate) fn attempt(run: &Run) -> Attempt {
    let now = run.created_at;
    Attempt {
        number: 1,
        decided_at: now,
        class: class().name,
        runner: tinqs_ci_reconciler::model::Runner {
            repo_id: 1,
            id: 1,
            uuid: "u".to_owned(),
            name: run.attempt_id(1).to_string(),
            labels: vec!["linux".to_owned()],
            token: Secret::new(CANARY),
        },
        boot: Boot {
            deadline: now,
            idle_within: jiff::SignedDuration::from_mins(2),
            start_by: None,
            hold: jiff::SignedDuration::ZERO,
            instance_url: "http://127.0.0.1:1".to_owned(),
            git_token: Some(Secret::new(CANARY)),
        },
        placements: vec![Placement::new(class().machines[0].clone())],
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_answer_and_no_log_line_contains_a_credential() {
    // Global: log lines of other tests are checked too.
    let log = Log::default();
    let out = log.clone();
    let lines = lines::layer(Form::Json, "replica-1", move || out.clone());
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines))
        .expect("no other test logs");
    let asked = TestServer::new(settings());
    let run = add_run(&asked.world, 1, About::default());
    let attempt_id: AttemptId = run.attempt_id(1);
    {
        let mut run = run.clone();
        run.status.attempt = Some(attempt(&run));
        run.status.phase = Phase::Starting;
        run.status.next = 2;
        asked.world.state().runs.insert(name(1), run);
    }
    let repo = RepoRef { id: 1, name: "acme/widget" };
    asked.world.register(&attempt_id, repo, &["linux".to_owned()]).await.expect("up");
    let machine = asked.world.launch(&attempt_id, 0, &attempt(&run)).await.expect("up");
    let printed = format!("the runner's token is {CANARY}, the API's is {TOKEN}\n");
    asked.world.state().logs.insert(machine.id.0.clone(), printed.into_bytes());
    let bearer = format!("Bearer {TOKEN}");
    let printed = format!("/v1/machines/{}/log", machine.id);
    let machine = format!("/v1/machines/{}/terminate", machine.id);
    // `ask` searches each answer for secrets.
    for (method, path) in [
        ("GET", "/v1/runs"),
        ("GET", "/v1/runs/job-1"),
        ("GET", "/v1/runs/job-1/plan"),
        ("GET", "/v1/machines"),
        ("GET", printed.as_str()),
        ("GET", "/v1/registrations"),
        ("GET", "/v1/classes"),
        ("GET", "/v1/status"),
        ("GET", "/v1/why"),
        ("GET", "/v1/why?what=job-1"),
        ("GET", "/metrics"),
        ("GET", "/readyz"),
        ("POST", "/v1/sweep"),
        ("POST", machine.as_str()),
        ("POST", "/v1/runs/job-1/retry"),
        ("DELETE", "/v1/runs/job-1"),
    ] {
        let answer = asked.ask(method, path, &[("authorization", &bearer)], Body::empty()).await;
        assert!(answer.status.is_success(), "{method} {path}: {answer:?}");
    }
    let stored = asked.world.state().runs[&name(1)].clone();
    let token = stored.status.attempt.expect("kept").runner.token;
    assert_eq!(token.expose(), CANARY, "a change keeps the credentials in the record");
    let wrong = [("authorization", "Bearer wrong-canary"), ("x-gitea-delivery", "d-1")];
    asked.ask("GET", "/v1/runs", &wrong, Body::empty()).await;
    asked.ask("POST", "/webhook", &[("x-gitea-event", "push")], queued(1, "x")).await;
    asked.deliver("workflow_job", b"{\"action\":\"body-canary\"}").await;
    let log = String::from_utf8(log.0.lock().clone()).expect("UTF-8");
    assert!(log.lines().count() > 3, "something was logged: {log}");
    assert!(!log.contains("canary"), "{log}");
}

#[tokio::test]
async fn a_machine_of_the_installation_is_terminated() {
    let asked = TestServer::new(settings());
    let run = add_run(&asked.world, 1, About::default());
    let machine = asked.world.launch(&run.attempt_id(1), 0, &attempt(&run)).await.expect("up");
    let path = format!("/v1/machines/{}/terminate", machine.id);
    let answer = asked.ask("POST", &path, &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(answer.json()["run"], "job-1");
    let state = asked.world.state().machines[0].state;
    assert_eq!(state, MachineState::Gone);
    assert_eq!(asked.world.state().queue.front(), Some(&name(1)), "its run is woken");
    let listed = asked.get("/v1/machines").await.json();
    assert_eq!(listed["items"][0]["state"], "gone");
    assert_eq!(listed["items"][0]["class"], "linux");
    assert_eq!(listed["next"], Value::Null);
    let answer = asked.ask("POST", &path, &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{answer:?}");
    assert_eq!(answer.json()["detail"], "this machine is gone already");
    assert_eq!(asked.world.calls("terminate"), 1);
    let events = asked.get("/v1/events?run=job-1").await.json();
    let event = events["items"].as_array().and_then(|items| items.last()).expect("an event");
    assert_eq!((&event["reason"], &event["by"]), (&"Terminated".into(), &"ops".into()));
}

#[tokio::test]
async fn a_machine_shows_the_job_that_it_executes() {
    let asked = TestServer::new(settings());
    let about = |job: &str| About { repo: "a/b".into(), job: job.into(), ..About::default() };
    let own = add_run(&asked.world, 1, about("own"));
    let other = add_run(&asked.world, 2, about("other"));
    let doing = async || {
        let mut items = asked.get("/v1/machines").await.json()["items"].clone();
        let items = items.as_array_mut().expect("items");
        items.sort_by_key(|item| item["run"].to_string());
        items
            .iter()
            .map(|item| format!("{} {}", item["doing"], item["job"]["name"]))
            .collect::<Vec<_>>()
    };
    for run in [&own, &other] {
        asked.world.launch(&run.attempt_id(1), 0, &attempt(run)).await.expect("up");
    }
    assert_eq!(doing().await, ["\"up\" null", "\"up\" null"], "no record tells");
    let change = |id: i64, phase: Phase, runner: Option<String>| {
        let mut state = asked.world.state();
        let run = state.runs.get_mut(&name(id)).expect("a run");
        run.status.attempt = Some(attempt(run));
        run.status.phase = phase;
        run.status.runner = runner;
    };
    change(1, Phase::Starting, None);
    // The second job runs on the machine that was launched for the first.
    change(2, Phase::Running, Some(own.attempt_id(1).to_string()));
    assert_eq!(doing().await, ["\"job\" \"other\"", "\"up\" null"]);
    change(2, Phase::Starting, None);
    change(1, Phase::Running, Some(own.attempt_id(1).to_string()));
    assert_eq!(doing().await, ["\"job\" \"own\"", "\"idle\" null"]);
    asked.world.state().down.insert("store");
    assert_eq!(doing().await, ["\"up\" null", "\"up\" null"], "the list needs no store");
}

#[tokio::test]
async fn a_finished_run_is_not_retried() {
    let asked = TestServer::new(settings());
    let run = add_run(&asked.world, 1, About::default());
    let finished = |outcome: Outcome| {
        let mut run = run.clone();
        run.status.phase = Phase::Finished;
        run.status.outcome = Some(outcome);
        asked.world.state().runs.insert(name(1), run);
    };
    finished(Outcome::Succeeded);
    let answer = asked.ask("POST", "/v1/runs/job-1/retry", &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::CONFLICT, "{answer:?}");
    assert_eq!(asked.world.calls("put"), 0);
    finished(Outcome::GaveUp);
    let answer = asked.ask("POST", "/v1/runs/job-1/retry", &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(answer.json()["status"]["phase"], "Waiting");
}

#[tokio::test]
async fn an_explanation_may_take_longer_than_other_requests() {
    let deadlines =
        Deadlines { request: Duration::from_millis(20), sweep: Duration::from_mins(10) };
    let server = TestServer::with_deadlines(deadlines);
    add_run(&server.world, 7, About::default());
    server.world.state().held = Some(name(7));
    // Both wait for the same record; the first to answer has used up its deadline.
    let ended = async {
        let answer = server.get("/v1/runs/job-7").await;
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
        server.world.let_through(1_000);
    };
    let (explained, ()) = tokio::join!(server.get("/v1/explain/job/7"), ended);
    assert_eq!(explained.status, StatusCode::OK, "{}", explained.text);
}

#[tokio::test]
async fn hostile_names_are_returned_as_data() {
    let asked = TestServer::new(settings());
    let hostile = "a\"b'\n\x1b[31m$(id)<script>\u{202e}\u{0}";
    add_run(&asked.world, 1, About { job: hostile.to_owned(), ..About::default() });
    add_run(&asked.world, 2, About { job: "x".repeat(10_000), ..About::default() });
    let answer = asked.get("/v1/runs/job-1").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json()["spec"]["about"]["job"], hostile);
    assert!(!answer.text.contains('\x1b') && !answer.text.contains('\n'), "{}", answer.text);
    let items = asked.get("/v1/runs").await.json();
    assert_eq!(items["items"][0]["spec"]["about"]["job"].as_str().map(str::len), Some(10_000));
    let answer = asked.deliver("workflow_job", &queued(3, hostile)).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    let run = asked.get("/v1/runs/job-3").await.json();
    assert_eq!(run["spec"]["about"]["job"], hostile);
}

#[tokio::test]
async fn the_plan_lists_changes_and_does_nothing() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 1, About::default());
    let plan = asked.get("/v1/runs/job-1/plan").await.json();
    assert_eq!((&plan["name"], &plan["settled"]), (&"job-1".into(), &false.into()), "{plan}");
    let verbs: Vec<&str> = plan["changes"]
        .as_array()
        .expect("changes")
        .iter()
        .map(|change| change["verb"].as_str().expect("a verb"))
        .collect();
    assert_eq!(verbs, ["seat", "register", "write", "launch"], "{plan}");
    assert_eq!(plan["observation"]["run"]["name"], "job-1");
    for call in ["put", "seat", "register", "launch", "wake"] {
        assert_eq!(asked.world.calls(call), 0, "{call}");
    }
}

#[tokio::test]
async fn classes_show_their_usage() {
    let asked = TestServer::new(settings());
    let run = add_run(&asked.world, 1, About::default());
    add_run(&asked.world, 2, About::default());
    asked.world.launch(&run.attempt_id(1), 0, &attempt(&run)).await.expect("up");
    let classes = asked.get("/v1/classes").await.json();
    let linux = &classes["items"][0];
    assert_eq!(linux["name"], "linux");
    assert_eq!((&linux["open_runs"], &linux["waiting_runs"]), (&2.into(), &2.into()), "{linux}");
    assert_eq!((&linux["machines"], &linux["seats"]), (&1.into(), &0.into()), "{linux}");
}

#[tokio::test]
async fn metrics_without_a_token_are_for_direct_local_requests() {
    let asked = TestServer::new(settings());
    let ask = async |headers: &[(&str, &str)]| {
        let headers = [headers, &[("authorization", "")]].concat();
        asked.ask("GET", "/metrics", &headers, Body::empty()).await.status
    };
    for host in ["localhost", "localhost:8080", "127.0.0.9:1", "[::1]:8080"] {
        assert_eq!(ask(&[("host", host)]).await, StatusCode::OK, "{host}");
    }
    for host in ["ci.example.com", "127.0.0.1.example.com", "10.0.0.1:8080", ""] {
        assert_eq!(ask(&[("host", host)]).await, StatusCode::FORBIDDEN, "{host}");
    }
    for header in ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP"] {
        assert_eq!(ask(&[(header, "127.0.0.1")]).await, StatusCode::FORBIDDEN, "{header}");
    }
    assert_eq!(ask(&[("origin", "https://evil.example")]).await, StatusCode::FORBIDDEN);
    assert_eq!(ask(&[("origin", "null")]).await, StatusCode::FORBIDDEN);
    assert_eq!(ask(&[("origin", "http://localhost:8080")]).await, StatusCode::OK);
}

#[tokio::test]
async fn a_token_is_required_and_sufficient() {
    let right = format!("Bearer {TOKEN}");
    let lower = format!("bearer {TOKEN}");
    let basic = format!("Basic {TOKEN}");
    let longer = format!("Bearer {TOKEN}x");
    let shorter = format!("Bearer {}", &TOKEN[1..]);
    for loopback in [true, false] {
        let asked = TestServer::with(settings(), Role::All, loopback);
        let proxied = ("x-forwarded-for", "10.0.0.1");
        for token in [&right, &lower] {
            let headers = [("authorization", token.as_str()), proxied];
            let answer = asked.ask("GET", "/v1/runs", &headers, Body::empty()).await;
            assert_eq!(answer.status, StatusCode::OK, "{token}");
        }
        for token in ["", "Bearer", "Bearer ", &basic, &longer, &shorter, TOKEN] {
            let headers = [("authorization", token)];
            for (method, path) in [("GET", "/v1/runs"), ("POST", "/v1/sweep"), ("POST", "/")] {
                let answer = asked.ask(method, path, &headers, Body::empty()).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "`{token}` {path}");
            }
        }
        let none = [("authorization", "")];
        let answer = asked.ask("GET", "/v1/nothing", &none, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "unknown paths need the token too");
    }
    // Without a configured token, nobody is admitted.
    let mut settings = settings();
    settings.server.tokens.clear();
    let asked = TestServer::new(settings);
    assert_eq!(asked.get("/v1/runs").await.status, StatusCode::UNAUTHORIZED);
}
