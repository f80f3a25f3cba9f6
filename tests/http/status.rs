//! `/v1/status`: what is well and what is not.

use std::time::{Duration, Instant};

use axum::body::Body;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tinqs_ci_reconciler::model::{About, JobRef, Run};
use tinqs_ci_reconciler::ports::{ErrorKind, TrueTime, WaitingJob};
use tinqs_ci_testing::make;

use crate::asking::{TestServer, queued, settings};
use crate::world::add_run;

/// A waiting job on these labels.
pub(crate) fn waiting_job(id: i64, labels: &[&str]) -> WaitingJob {
    WaitingJob {
        job: JobRef { repo: "acme/web".to_owned(), repo_id: 7, job_id: id },
        runs_on: labels.iter().map(|label| (*label).to_owned()).collect(),
        about: About {
            repo: "acme/web".to_owned(),
            job: format!("train ({id})"),
            url: format!("http://127.0.0.1:1/acme/web/actions/runs/4/jobs/{id}"),
            ..About::default()
        },
        created_at: None,
    }
}

pub(crate) async fn sweep(asked: &TestServer) {
    let answer = asked.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    assert!(answer.status.is_success(), "{answer:?}");
}

async fn status(asked: &TestServer) -> Value {
    let answer = asked.get("/v1/status").await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer.json()
}

fn attention(status: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let all = status["attention"].as_array().expect("a list");
    all.iter().map(|one| (text(&one["reason"]), text(&one["subject"]))).collect()
}

fn service<'a>(status: &'a Value, name: &str) -> &'a Value {
    let services = status["services"].as_array().expect("a list");
    services.iter().find(|service| service["name"] == name).expect("the service")
}

#[tokio::test]
async fn a_process_that_has_not_listed_says_so_and_a_function_lists_for_its_answers() {
    for is_function in [false, true] {
        let asked = if is_function {
            TestServer::function(settings())
        } else {
            TestServer::new(settings())
        };
        let run = add_run(&asked.world, 7, About::default());
        let attempt = make::attempt(&run.attempt_id(1), "linux", 1, Timestamp::now());
        let launched = asked.world.ports().compute.launch(&run.attempt_id(1), 0, &attempt).await;
        assert!(launched.is_ok(), "{launched:?}");
        let told = status(&asked).await;
        let machines = usize::from(is_function);
        assert_eq!(told["classes"][0]["machines"], machines, "{told}");
        assert_eq!(told["machines_listed_at"].is_string(), is_function, "{told}");
        let drift = asked.get("/v1/drift").await.json();
        assert_eq!(drift["machines_listed_at"], told["machines_listed_at"]);
        for path in ["/", "/classes"] {
            let page = asked.ask("GET", path, &[("accept", "text/html")], Body::empty()).await;
            let says_so = page.text.contains("this process has not listed them yet");
            assert_eq!(says_so, !is_function, "{path}: {}", page.text);
        }
        assert_eq!(asked.world.calls("list"), machines, "once in the interval of sweeps");
    }
}

#[tokio::test]
async fn the_status_tells_how_long_the_oldest_wait_lasts() {
    let asked = TestServer::new(settings());
    assert_eq!(status(&asked).await["classes"][0]["oldest_waiting_since"], Value::Null);
    let deleted = add_run(&asked.world, 1, About::default());
    asked.world.state().runs.get_mut(&deleted.name).expect("a run").deleted_at =
        Some(Timestamp::now());
    let oldest = add_run(&asked.world, 2, About::default());
    add_run(&asked.world, 3, About::default());
    let told = status(&asked).await;
    let since = told["classes"][0]["oldest_waiting_since"].as_str().expect("a time");
    let since: Timestamp = since.parse().expect("a time");
    assert_eq!(since, oldest.status.waiting_since);
    let page = asked.ask("GET", "/", &[("accept", "text/html")], Body::empty()).await.text;
    assert!(page.contains("<dt>oldest wait</dt><dd>16m"), "{page}");
}

#[tokio::test]
async fn a_function_answers_although_the_cloud_cannot_be_reached() {
    let asked = TestServer::function(settings());
    asked.world.state().down.insert("compute");
    let told = status(&asked).await;
    assert_eq!(told["machines_listed_at"], Value::Null);
    asked.world.state().down.clear();
    assert!(status(&asked).await["machines_listed_at"].is_string(), "the next answer lists again");
}

#[tokio::test]
async fn a_clock_that_differs_from_the_forge_s_is_told_and_the_server_is_ready() {
    let asked = TestServer::new(settings());
    let ready = asked.get("/readyz").await.json();
    assert_eq!((&ready["clock"], &ready["clock_ahead_seconds"]), (&"agrees".into(), &Value::Null));
    let truth = Timestamp::now() - SignedDuration::from_mins(13);
    asked.world.state().true_time = TrueTime::About(truth);
    let ready = asked.get("/readyz").await.json();
    assert_eq!((&ready["ready"], &ready["clock"]), (&true.into(), &"ahead".into()), "{ready}");
    assert!(ready["clock_ahead_seconds"].as_i64().is_some_and(|ahead| ahead >= 780), "{ready}");
    let told = status(&asked).await;
    assert_eq!(attention(&told), [("ClockDiffers".to_owned(), "clock".to_owned())]);
    let message = told["attention"][0]["message"].as_str().expect("a message");
    assert!(message.starts_with("this host's clock is 13 min ahead of the forge's"), "{message}");
    let metrics = asked.get("/metrics").await.text;
    let ahead = metrics.lines().find_map(|line| line.strip_prefix("tinqs_ci_clock_ahead_seconds "));
    assert!(ahead.and_then(|text| text.parse().ok()).is_some_and(|ahead: f64| ahead >= 780.0));
}

#[tokio::test]
async fn a_healthy_installation_needs_no_attention() {
    let asked = TestServer::new(settings());
    for id in 1..=3 {
        add_run(&asked.world, id, About::default());
    }
    sweep(&asked).await;
    let status = status(&asked).await;
    assert_eq!(attention(&status), []);
    for name in ["forge", "store", "cloud"] {
        assert_eq!(service(&status, name)["state"], "ok", "{name}: {status}");
        assert!(service(&status, name)["last_contact"].is_string(), "{name}");
    }
    let linux = &status["classes"][0];
    assert_eq!((&linux["name"], &linux["limit"]), (&"linux".into(), &5.into()));
    assert_eq!(
        (&linux["open"], &linux["waiting"], &linux["running"]),
        (&3.into(), &3.into(), &0.into())
    );
    assert_eq!(status["unserved_jobs"], 0);
    assert_eq!(status["webhooks"]["accepted"], 0);
}

#[tokio::test]
async fn machines_that_only_carry_the_tags_are_told_and_counted() {
    let asked = TestServer::new(settings());
    sweep(&asked).await;
    let id = tinqs_ci_reconciler::model::MachineId("i-0123".to_owned());
    asked.world.state().foreign.push(id);
    let status = status(&asked).await;
    assert_eq!(attention(&status), [("ForeignMachine".to_owned(), "machines".to_owned())]);
    let message = status["attention"][0]["message"].as_str().expect("a message");
    assert!(message.starts_with("i-0123 carry the tags of this installation"), "{message}");
    let metrics = asked.get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line == "tinqs_ci_foreign_machines 1"), "{metrics}");
}

#[tokio::test]
async fn records_of_a_newer_format_are_told_and_counted() {
    let asked = TestServer::new(settings());
    sweep(&asked).await;
    asked.world.add_run(Run { format: 99, ..make::run(7, "acme/web") });
    let status = status(&asked).await;
    assert_eq!(attention(&status), [("NewerRecord".to_owned(), "records".to_owned())]);
    let message = status["attention"][0]["message"].as_str().expect("a message");
    assert!(message.starts_with("the records of job-7 (format 99) were written"), "{message}");
    let metrics = asked.get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line == "tinqs_ci_newer_records 1"), "{metrics}");
}

#[tokio::test]
async fn a_failing_service_is_told_with_since_cause_and_remedy_until_it_works() {
    let asked = TestServer::new(settings());
    sweep(&asked).await;
    asked.world.state().down.insert("forge");
    sweep(&asked).await;
    assert_eq!(attention(&status(&asked).await), [], "one failure says little");
    sweep(&asked).await;
    let failing = status(&asked).await;
    assert_eq!(attention(&failing), [("ForgeUnreachable".to_owned(), "forge".to_owned())]);
    let one = &failing["attention"][0];
    assert_eq!(one["message"], "calls to the forge fail: it is down");
    assert!(
        one["since"].is_string()
            && one["fix"].as_str().is_some_and(|fix| fix.contains("forge.url"))
    );
    assert_eq!(one["needs_person"], false, "it may pass within a minute");
    let failure = &service(&failing, "forge")["failure"];
    assert_eq!(
        (&failure["reason"], &failure["operation"]),
        (&"ForgeUnreachable".into(), &"waiting".into())
    );
    asked.world.state().down.clear();
    sweep(&asked).await;
    let status = status(&asked).await;
    assert_eq!(attention(&status), []);
    assert!(service(&status, "forge")["failure"].is_null());
}

#[tokio::test]
async fn a_rejected_token_needs_a_person_at_once() {
    let asked = TestServer::new(settings());
    sweep(&asked).await;
    for _ in 0..2 {
        asked.world.fail_next("waiting", ErrorKind::Denied);
        sweep(&asked).await;
    }
    let status = status(&asked).await;
    assert_eq!(attention(&status), [("ForgeDenied".to_owned(), "forge".to_owned())]);
    assert_eq!(status["attention"][0]["needs_person"], true);
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_told_by_the_answer_itself() {
    let asked = TestServer::new(settings());
    sweep(&asked).await;
    asked.world.state().down.insert("store");
    let status = status(&asked).await;
    assert_eq!(attention(&status), [("StoreFailing".to_owned(), "store".to_owned())]);
}

#[tokio::test]
async fn jobs_that_no_class_serves_are_listed_with_the_nearest_class() {
    let asked = TestServer::new(settings());
    let jobs = (1..=7).map(|id| waiting_job(id, &["linux", "gpu"]));
    asked.world.state().waiting = Some(jobs.chain([waiting_job(9, &["windows"])]).collect());
    sweep(&asked).await;
    let told = status(&asked).await;
    let expected = ["labels [gpu, linux]", "labels [windows]"]
        .map(|labels| ("NoClass".to_owned(), labels.to_owned()));
    assert_eq!(attention(&told), expected);
    assert_eq!(
        told["attention"][0]["message"],
        "7 jobs wait: no class serves [gpu, linux]; the nearest, linux, lacks gpu"
    );
    assert_eq!(told["attention"][1]["message"], "1 job waits: no class serves [windows]");
    assert_eq!(told["unserved_jobs"], 8);
    let set = &told["unserved"][0];
    assert_eq!((&set["jobs"], &set["nearest"]["class"]), (&7.into(), &"linux".into()));
    assert_eq!(set["examples"].as_array().map(Vec::len), Some(5));
    let since = set["since"].clone();
    let metrics = asked.get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line == "tinqs_ci_unserved_jobs 8"), "{metrics}");
    sweep(&asked).await;
    assert_eq!(status(&asked).await["unserved"][0]["since"], since, "since it was seen first");
    asked.world.state().waiting = Some(Vec::new());
    sweep(&asked).await;
    assert_eq!(attention(&status(&asked).await), []);
    assert!(
        asked.get("/v1/runs").await.json()["items"].as_array().is_some_and(Vec::is_empty),
        "nothing is stored"
    );
}

#[tokio::test]
async fn refused_deliveries_are_told_until_one_is_accepted() {
    let asked = TestServer::new(settings());
    let unsigned = [("x-gitea-event", "workflow_job"), ("content-type", "application/json")];
    asked.ask("POST", "/webhook", &unsigned, queued(7, "x")).await;
    let told = status(&asked).await;
    assert_eq!(attention(&told), [("WebhookRefused".to_owned(), "webhook".to_owned())]);
    assert_eq!(told["webhooks"]["refused"], 1);
    assert!(told["webhooks"]["refused_because"].as_str().is_some_and(|why| why.len() > 10));
    asked.deliver("workflow_job", &queued(7, "x")).await;
    let told = status(&asked).await;
    assert_eq!((attention(&told), &told["webhooks"]["accepted"]), (Vec::new(), &1.into()));
}

#[tokio::test]
async fn the_answer_calls_neither_forge_nor_cloud_and_reads_few_runs() {
    let asked = TestServer::new(settings());
    for id in 1..=2_000 {
        add_run(&asked.world, id, About::default());
    }
    let calls = || {
        let of = |operation| asked.world.calls(operation);
        let outside =
            ["waiting", "job", "registrations", "list", "find"].map(of).iter().sum::<usize>();
        (outside, of("open"), of("page"), of("get"))
    };
    let before = calls();
    let began = Instant::now();
    let status = status(&asked).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(status["classes"][0]["waiting"], 2_000);
    let after = calls();
    // To judge drift: those of the runs that wait longest.
    assert_eq!(after, (before.0, before.1 + 1, before.2 + 1, before.3 + 50));
    let waits_too_long = status["open_drift"].as_u64();
    assert!(waits_too_long.is_some_and(|open| (939..1_000).contains(&open)), "{waits_too_long:?}");
    assert_eq!(status["drift"].as_array().map(Vec::len), Some(100));
}
