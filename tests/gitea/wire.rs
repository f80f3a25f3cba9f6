//! The client and the webhooks against the simulated forge, for each server line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use jiff::Timestamp;
use parking_lot::Mutex;
use tinqs_ci_gitea::client::{Access, Client};
use tinqs_ci_gitea::demand::{self, Mode};
use tinqs_ci_gitea::webhook::{self, Event};
use tinqs_ci_gitea::{Config as Settings, Demand, Scope};
use tinqs_ci_reconciler::model::{AttemptId, Conclusion, Job, Registrations, Secret};
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _};
use tinqs_ci_simulator::forge::{Config, Forge, JobSpec, Line};
use tinqs_ci_simulator::gitea_wire::{Faults, Hook, Wire, WireOptions};

use crate::script::{JOB_REPO, client, settings};

const LINES: [Line; 3] = [Line::V1_25, Line::V1_26, Line::V1_27];
const REPO: &str = "acme/widget";

fn start(line: Line, hooks: Vec<Hook>) -> Wire {
    let mut forge = Forge::new(Config { line, ..Config::default() });
    forge.add_repo("acme/other");
    forge.add_repo(REPO);
    let options = WireOptions { hooks, ..WireOptions::default() };
    let clock = Arc::new(Timestamp::now);
    Wire::start(Arc::new(Mutex::new(forge)), clock, options).expect("a server")
}

fn client_of(wire: &Wire, scope: Scope) -> Client {
    let token = Some(Secret::new("api-token"));
    client(&Settings { token, scope, ..settings(&wire.url()) })
}

/// Automatic demand without signed webhooks.
const MEANS: demand::DemandConfig = demand::DemandConfig { wanted: Demand::Auto, secret: false };

fn attempt_id(number: u32) -> AttemptId {
    format!("tq-job-1-0123abcd-{number}").parse().expect("an attempt ID")
}

#[tokio::test]
async fn a_job_and_its_runner_complete_on_every_server_line() {
    for line in LINES {
        let wire = start(line, Vec::new());
        let client = client_of(&wire, Scope::All);
        let choice = demand::ask(&client, MEANS).await.expect("answers");
        assert!(choice.is_ok(), "{choice:?}");

        let mut second = JobSpec::new("test", &["linux"]);
        second.needs = vec![0];
        let jobs = [JobSpec::new("build", &["linux"]), second];
        wire.forge().push(Timestamp::now(), REPO, &jobs);
        let waiting = client.waiting().await.expect("answers").expect("jobs mode");
        let [job] = &waiting[..] else { panic!("{waiting:?}") };
        assert_eq!((job.job.repo.as_str(), job.job.repo_id), (REPO, 2), "{line:?}");
        assert_eq!(
            (job.runs_on.as_slice(), job.about.job.as_str()),
            (&["linux".to_owned()][..], "build")
        );
        let waits = client.job(&job.job).await.expect("answers");
        assert_eq!((waits.state, waits.runner_id), (Job::Waiting, None));
        assert_eq!(waits.runs_on.as_ref(), Some(&job.runs_on));
        let blocked = wire.forge().jobs().map(|row| row.id).max().expect("two jobs");
        let blocked = tinqs_ci_reconciler::model::JobRef { job_id: blocked, ..job.job.clone() };
        assert_eq!(client.job(&blocked).await.expect("answers").state, Job::Blocked);

        let labels = ["linux:host".to_owned()];
        let runner = client.register(&attempt_id(1), JOB_REPO, &labels).await.expect("registers");
        let twin =
            client.register(&attempt_id(1), JOB_REPO, &labels).await.expect("makes another row");
        assert_ne!(runner.id, twin.id);
        let Registrations::Seen(rows) = client.registrations(0).await.expect("answers") else {
            panic!("the token may list runners");
        };
        assert_eq!(rows.iter().map(|r| r.id).collect::<Vec<_>>(), [runner.id, twin.id]);
        assert!(rows.iter().all(|row| row.attempt_id == attempt_id(1) && !row.online && !row.busy));

        let (uuid, token) = (&runner.uuid, runner.token.expose());
        let now = Timestamp::now();
        let fetched = wire.forge().fetch(now, uuid, token, 0).expect("the identity is good");
        let task = fetched.task.expect("the job").id;
        let running = Job::Running { runner: attempt_id(1).to_string() };
        assert_eq!(client.job(&job.job).await.expect("answers").state, running);
        let row = client.registration(runner.id, 0).await.expect("answers").expect("at work");
        assert!(row.online);
        let done = Some(Conclusion::Success);
        wire.forge().report(now, uuid, token, task, done).expect("reports");
        let over = Job::Done { conclusion: Conclusion::Success };
        assert_eq!(client.job(&job.job).await.expect("answers").state, over);
        assert_eq!(client.registration(runner.id, 0).await.expect("answers"), None);
        for _ in 0..2 {
            client.retire(twin.id, 0).await.expect("is gone");
        }
        assert_eq!(client.registration(twin.id, 0).await.expect("answers"), None);

        wire.forge().forget_job(job.job.job_id);
        assert_eq!(client.job(&job.job).await.expect("answers").state, Job::Absent);
        wire.forge().remove_repo(REPO);
        assert_eq!(client.job(&blocked).await.expect("answers").state, Job::Absent);
    }
}

#[tokio::test]
async fn a_canceled_job_tells_the_id_of_its_runner_whose_name_is_gone() {
    for line in LINES {
        let wire = start(line, Vec::new());
        let client = client_of(&wire, Scope::All);
        let now = Timestamp::now();
        let ids = wire.forge().push(now, REPO, &[JobSpec::new("build", &["linux"])]);
        wire.forge().push(now, REPO, &[JobSpec::new("other", &["nobody"])]);
        let waiting = client.waiting().await.expect("answers").expect("jobs mode");
        let labels = ["linux:host".to_owned()];
        let runner = client.register(&attempt_id(1), JOB_REPO, &labels).await.expect("registers");
        let (uuid, token) = (&runner.uuid, runner.token.expose());
        let fetched = wire.forge().fetch(now, uuid, token, 0).expect("the identity is good");
        fetched.task.expect("the job");
        for job in &waiting {
            wire.forge().cancel(now, job.job.job_id);
            let seen = client.job(&job.job).await.expect("answers");
            assert_eq!(seen.state, Job::Done { conclusion: Conclusion::Cancelled }, "{line:?}");
            let ran = ids.contains(&job.job.job_id);
            assert_eq!(seen.runner_id, ran.then_some(runner.id), "{line:?}");
        }
        assert_eq!(waiting.len(), 2, "{line:?}");
        assert_eq!(client.registration(runner.id, 0).await.expect("answers"), None);
    }
}

#[tokio::test]
async fn unordered_lists_are_read_completely() {
    let jobs: Vec<_> = (0..120).map(|n| JobSpec::new(format!("j{n}"), &["linux"])).collect();
    for line in LINES {
        let wire = start(line, Vec::new());
        wire.forge().push(Timestamp::now(), REPO, &jobs);
        let scopes =
            [Scope::All, Scope::Org("acme".into()), Scope::Repo("acme".into(), "widget".into())];
        for scope in scopes {
            let client = client_of(&wire, scope);
            let seen = client.waiting().await.expect("answers").expect("jobs mode");
            let distinct: std::collections::BTreeSet<_> =
                seen.iter().map(|j| j.job.job_id).collect();
            assert_eq!((seen.len(), distinct.len()), (120, 120), "{line:?}");
        }
    }
}

#[tokio::test]
async fn a_server_without_job_lists_is_refused_by_version() {
    let wire = start(Line::V1_25, Vec::new());
    wire.forge().config.lists = false;
    let client = client_of(&wire, Scope::All);
    assert_eq!(client.rights().await.expect("answers").jobs, Access::Missing);
    let choice = demand::ask(&client, MEANS).await.expect("answers");
    let refusal = choice.expect_err("no list").to_string();
    assert!(refusal.contains("1.25"), "{refusal}");
}

#[tokio::test]
async fn a_mistyped_scope_is_named_on_every_server_line() {
    let signed = demand::DemandConfig { wanted: Demand::Auto, secret: true };
    for line in LINES {
        let wire = start(line, Vec::new());
        for lists in [true, false] {
            wire.forge().config.lists = lists;
            for (scope, words) in [
                (Scope::Org("acmee".into()), "no such organization `acmee`"),
                (Scope::Repo("acme".into(), "widgets".into()), "no such repository `acme/widgets`"),
            ] {
                let choice = demand::ask(&client_of(&wire, scope), signed).await.expect("answers");
                let refusal = choice.expect_err("no scope").to_string();
                assert!(refusal.contains(words), "{line:?}: {refusal}");
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_token_is_never_a_mode() {
    let signed = demand::DemandConfig { wanted: Demand::Auto, secret: true };
    for line in LINES {
        let wire = start(line, Vec::new());
        for scope in [Scope::All, Scope::Org("acme".into()), Scope::User] {
            let token = Some(Secret::new("expired-token"));
            let client = client(&Settings { token, scope, ..settings(&wire.url()) });
            let choice = demand::ask(&client, signed).await.expect("answers");
            let refusal = choice.expect_err("no mode").to_string();
            assert!(refusal.contains("has expired or was deleted"), "{line:?}: {refusal}");
        }
    }
}

#[tokio::test]
async fn an_outage_makes_no_job_absent() {
    let wire = start(Line::V1_26, Vec::new());
    let client = client_of(&wire, Scope::All);
    wire.forge().push(Timestamp::now(), REPO, &[JobSpec::new("build", &["linux"])]);
    let waiting = client.waiting().await.expect("answers").expect("jobs mode");
    let job = waiting[0].job.clone();
    let runner =
        client.register(&attempt_id(1), JOB_REPO, &["linux".to_owned()]).await.expect("registers");
    client.registrations(0).await.expect("answers");
    let kinds = async || {
        [
            client.waiting().await.err(),
            client.job(&job).await.err(),
            client.registrations(0).await.err(),
            client.registration(runner.id, 0).await.err(),
            client.register(&attempt_id(2), JOB_REPO, &[]).await.err(),
        ]
        .map(|error| error.map(|error| error.kind))
    };
    let unavailable = [Some(ErrorKind::Unavailable); 5];
    for fault in ["page", "half", "reset", "503"] {
        wire.faults(|faults| match fault {
            "page" => faults.html_500 = true,
            "half" => faults.half_answer = true,
            "reset" => faults.reset = true,
            _ => faults.fail_next = 1000,
        });
        assert_eq!(kinds().await, unavailable, "{fault}");
        wire.faults(|faults| *faults = Faults::default());
    }
    wire.stop().await;
    assert_eq!(kinds().await, unavailable, "stopped");
    wire.resume().expect("the same port");
    assert_eq!(client.job(&job).await.expect("answers").state, Job::Waiting);
    assert!(client.registration(runner.id, 0).await.expect("answers").is_some());
}

#[tokio::test]
async fn signed_deliveries_are_verified_and_understood() {
    let taken: Arc<Mutex<Vec<Event>>> = Arc::default();
    let log = taken.clone();
    let take = move |headers: HeaderMap, body: Bytes| {
        let log = log.clone();
        async move {
            let media = headers.get("content-type").and_then(|v| v.to_str().ok());
            let json = webhook::verify(&Secret::new("hook-secret"), &headers, media, &body);
            let Ok(json) = json else { return StatusCode::UNAUTHORIZED };
            let event = webhook::event_name(&headers).unwrap_or_default();
            let Ok(events) = webhook::decode(event, &json) else { return StatusCode::BAD_REQUEST };
            log.lock().extend(events);
            StatusCode::ACCEPTED
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/webhook", listener.local_addr().expect("bound"));
    let app = Router::new().route("/webhook", post(take));
    let serving = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });

    let form = Hook { form: true, ..Hook::system(&url, "hook-secret") };
    let wrong = Hook::system(&url, "another-secret");
    let wire = start(Line::V1_27, vec![Hook::system(&url, "hook-secret"), form, wrong]);
    let name = "b+u%i&l=d \"\u{e4}\u{202e}\n<x>";
    let ids = wire.forge().push(Timestamp::now(), REPO, &[JobSpec::new(name, &["linux"])]);
    let until = Instant::now() + Duration::from_secs(20);
    while taken.lock().len() < 2 || wire.counters().failed < 1 {
        assert!(Instant::now() < until, "{:?} {:?}", taken, wire.counters());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let events = taken.lock().clone();
    assert_eq!(events.len(), 2, "one as JSON, one as a form");
    for event in &events {
        let Event::Queued(job) = event else { panic!("{event:?}") };
        assert_eq!((job.job.job_id, job.job.repo_id), (ids[0], 2));
        assert_eq!((job.job.repo.as_str(), job.about.job.as_str()), (REPO, name));
    }
    // The list and the webhook describe the job alike.
    let listed = client_of(&wire, Scope::All).waiting().await.expect("answers");
    let Event::Queued(told) = &events[0] else { panic!("checked above") };
    assert_eq!(listed.expect("jobs mode")[0], *told);
    serving.abort();
}

#[tokio::test]
async fn a_created_hook_is_found() {
    let wire = start(Line::V1_26, Vec::new());
    let client = client_of(&wire, Scope::All);
    assert_eq!(client.hooks().await.expect("answers"), []);
    let (url, secret) = ("http://127.0.0.1:9/webhook", Secret::new("hook-secret"));
    let made = client.create_hook(url, &secret, Mode::Push.events()).await.expect("made");
    let hooks = client.hooks().await.expect("answers");
    assert_eq!((hooks.len(), hooks[0].id), (1, made.id));
    assert!(hooks[0].active && hooks[0].url.ends_with(":9/webhook"), "{hooks:?}");
    assert_eq!(wire.hooks()[0].secret, "hook-secret");
    assert_eq!(wire.hooks()[0].events, Mode::Push.events());
    assert_eq!(hooks[0].events, Mode::Push.events());
    assert!(client.server_time().await.is_ok());
}
