//! `/v1/drift`: the same drift in the answer, in the status and in the metrics.

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tinqs_ci_reconciler::model::{About, Condition, MachineState, Reason};

use crate::asking::{TestServer, settings};
use crate::status::sweep;
use crate::world::{add_run, name};

async fn drift(asked: &TestServer) -> Value {
    let answer = asked.get("/v1/drift").await;
    assert!(answer.status.is_success(), "{answer:?}");
    answer.json()
}

/// Returns the values of the series of a family that are not 0.
async fn series(asked: &TestServer, family: &str) -> Vec<String> {
    let text = asked.get("/metrics").await.text;
    let lines = text.lines().filter(|line| line.starts_with(&format!("{family}{{")));
    lines.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect()
}

#[tokio::test]
async fn nothing_drifts_in_an_empty_installation() {
    let asked = TestServer::new(settings());
    sweep(&asked).await;
    assert_eq!(drift(&asked).await["items"], Value::Array(Vec::new()));
    let status = asked.get("/v1/status").await.json();
    assert_eq!((&status["open_drift"], &status["drift"]), (&0.into(), &Value::Array(Vec::new())));
}

#[tokio::test]
async fn a_waiting_run_drifts_with_its_reason_in_every_answer() {
    let asked = TestServer::new(settings());
    let about =
        About { job: "e2e".to_owned(), url: "http://127.0.0.1:1/j".to_owned(), ..About::default() };
    add_run(&asked.world, 7, about);
    add_run(&asked.world, 999, About::default());
    let message = "no capacity for any machine of class linux";
    let condition = Condition {
        reason: Reason::NoCapacity,
        since: Timestamp::now() - SignedDuration::from_secs(300),
        message: message.to_owned(),
    };
    asked.world.state().runs.get_mut(&name(7)).expect("a run").status.conditions = vec![condition];
    sweep(&asked).await;
    let told = drift(&asked).await;
    let items = told["items"].as_array().expect("a list");
    assert_eq!(items.len(), 1, "the other has waited for a second: {told}");
    let one = &items[0];
    for (key, expected) in [
        ("kind", "RunWithoutMachine"),
        ("class", "linux"),
        ("run", "job-7"),
        ("repo", "a/b"),
        ("job", "e2e"),
        ("url", "http://127.0.0.1:1/j"),
        ("blocked_by", "NoCapacity"),
        ("next", "Launch"),
        ("fix", "add kinds, subnets or the market `on-demand` to the class"),
    ] {
        assert_eq!(one[key], expected, "{one}");
    }
    assert!(one["message"].as_str().is_some_and(|text| text.ends_with(message)), "{one}");
    assert!(one["by"].is_string() && one["machine"].is_null() && one["registration"].is_null());
    let status = asked.get("/v1/status").await.json();
    assert_eq!((&status["open_drift"], &status["drift"][0]["run"]), (&1.into(), &"job-7".into()));
    assert_eq!(
        series(&asked, "tinqs_ci_drift").await,
        [
            "tinqs_ci_drift{blocked_by=\"no_capacity\",class=\"linux\",kind=\"run_without_machine\"} 1"
        ]
    );
    let oldest = series(&asked, "tinqs_ci_drift_oldest_timestamp_seconds").await;
    let since: Timestamp = one["open_since"].as_str().expect("a time").parse().expect("a time");
    assert_eq!(oldest.len(), 1, "{oldest:?}");
    let shown: f64 =
        oldest[0].rsplit(' ').next().and_then(|text| text.parse().ok()).expect("a number");
    assert!((shown - since.as_duration().as_secs_f64()).abs() < 0.01, "{oldest:?} {since}");
}

#[tokio::test]
async fn resolved_drift_is_counted_by_who_acted() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 7, About::default());
    add_run(&asked.world, 8, About::default());
    sweep(&asked).await;
    assert_eq!(drift(&asked).await["items"].as_array().map(Vec::len), Some(2));
    let deleted = asked.ask("DELETE", "/v1/runs/job-7", &[], axum::body::Body::empty()).await;
    assert_eq!(deleted.status, StatusCode::ACCEPTED);
    asked.world.state().runs.remove(&name(8));
    sweep(&asked).await;
    assert_eq!(drift(&asked).await["items"], Value::Array(Vec::new()));
    let resolved = series(&asked, "tinqs_ci_drift_resolved_total").await;
    let of = |by: &str| {
        format!(
            "tinqs_ci_drift_resolved_total{{by=\"{by}\",class=\"linux\",kind=\"run_without_machine\"}} 1"
        )
    };
    assert_eq!(resolved, [of("operator"), of("self")]);
    let detected = series(&asked, "tinqs_ci_drift_detected_total").await;
    assert_eq!(detected.len(), 1, "{detected:?}");
    assert!(detected[0].ends_with(" 2"), "{detected:?}");
    assert_eq!(series(&asked, "tinqs_ci_drift").await, Vec::<String>::new());
    assert_eq!(
        series(&asked, "tinqs_ci_drift_oldest_timestamp_seconds").await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_replica_that_does_not_poll_shows_no_drift_in_metrics_and_answers_all_the_same() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 7, About::default());
    sweep(&asked).await;
    assert_eq!(series(&asked, "tinqs_ci_drift").await.len(), 1);
    asked.world.state().led_by_another = true;
    sweep(&asked).await;
    assert_eq!(series(&asked, "tinqs_ci_drift").await, Vec::<String>::new());
    assert_eq!(series(&asked, "tinqs_ci_drift_resolved_total").await, Vec::<String>::new());
    assert_eq!(drift(&asked).await["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn without_the_store_the_answer_says_so() {
    let asked = TestServer::new(settings());
    asked.world.state().down.insert("store");
    let answer = asked.get("/v1/drift").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(asked.get("/v1/status").await.json()["open_drift"], Value::Null);
}

#[tokio::test]
async fn a_machine_past_its_deadline_drifts_until_it_is_gone() {
    let asked = TestServer::new(settings());
    let run = add_run(&asked.world, 7, About::default());
    let ports = asked.world.clone();
    let attempt = tinqs_ci_testing::make::attempt(
        &run.attempt_id(1),
        "linux",
        1,
        Timestamp::now() - SignedDuration::from_secs(121),
    );
    let launched = ports.ports().compute.launch(&run.attempt_id(1), 0, &attempt).await;
    let machine = launched.expect("launched").id.to_string();
    asked.world.state().runs.clear();
    sweep(&asked).await;
    let told = drift(&asked).await;
    assert_eq!(told["items"][0]["kind"], "MachineWithoutRun", "{told}");
    assert_eq!(told["items"][0]["machine"], machine.as_str());
    assert_eq!(told["items"][0]["next"], "Terminate");
    asked.world.state().machines[0].state = MachineState::Gone;
    sweep(&asked).await;
    assert_eq!(drift(&asked).await["items"], Value::Array(Vec::new()));
}
