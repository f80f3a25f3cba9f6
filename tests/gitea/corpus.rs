//! Webhooks: every case and sample of the corpus, and malformed input.

use std::io::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::Value;
use tinqs_ci::commands::eval::{self, Kind};
use tinqs_ci_gitea::webhook::{self, Event, Malformed, Rejected};
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_workflow::Dialect;

fn corpus(name: &str) -> Value {
    let path = format!("{}/tests/corpus/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).expect("the corpus")).expect("JSON")
}

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_default()
}

fn headers(case: &Value) -> HeaderMap {
    let headers = case["headers"].as_object().expect("headers");
    let header = |(name, value): (&String, &Value)| {
        let name: HeaderName = name.parse().expect("a name");
        (name, HeaderValue::from_str(value.as_str().expect("text")).expect("a value"))
    };
    headers.iter().map(header).collect()
}

#[test]
fn every_signature_case_is_accepted_or_rejected_as_expected() {
    let corpus = corpus("webhook_signature");
    let cases = corpus["cases"].as_array().expect("cases");
    assert!(cases.len() >= 8, "the corpus is complete");
    for case in cases.iter().filter(|case| case["method"] == "POST") {
        let headers = headers(case);
        let content_type = headers.get("content-type").map(|v| v.to_str().expect("text"));
        let secret = Secret::new(text(case, "verify_with_secret"));
        let body = text(case, "body").as_bytes();
        let verified = webhook::verify(&secret, &headers, content_type, body);
        assert_eq!(verified.is_ok(), case["expect_accept"] == true, "{}", case["id"]);
        if let Ok(json) = verified {
            let events = webhook::decode("push", &json).expect("the payload decodes");
            assert_eq!(events, [Event::PollSoon], "{}", case["id"]);
        }
    }
    let gets = cases.iter().filter(|case| case["method"] == "GET");
    for case in gets {
        // The router accepts no GET, whose empty body is not signed either.
        let verified = webhook::verify(&Secret::new("s3cr3t"), &headers(case), None, b"");
        assert_eq!(verified, Err(Rejected::ContentType), "{}", case["id"]);
    }
}

#[test]
fn an_unsigned_delivery_differs_from_a_wrongly_signed_one() {
    let corpus = corpus("webhook_signature");
    let verdict = |id: &str| {
        let case = corpus["cases"].as_array().expect("cases").iter().find(|c| c["id"] == id);
        let case = case.expect("the case");
        let secret = Secret::new(text(case, "verify_with_secret"));
        let body = text(case, "body").as_bytes();
        webhook::verify(&secret, &headers(case), Some("application/json"), body).map(|_| ())
    };
    assert_eq!(verdict("no-secret-on-gitea"), Err(Rejected::Unsigned));
    assert_eq!(verdict("wrong-secret"), Err(Rejected::Signature));
    assert_eq!(verdict("conflicting"), Err(Rejected::Signature));
    assert_eq!(verdict("only-hub256"), Ok(()));
}

/// Runs corpus cases through `eval`. Returns the output lines.
fn evaluated(kind: Kind, cases: &[Value]) -> Vec<Value> {
    let mut input = Vec::new();
    for case in cases {
        writeln!(input, "{case}").expect("memory");
    }
    let mut output = Vec::new();
    assert!(
        eval::run(kind, Dialect::V1_27, &input[..], &mut output).expect("reads and writes"),
        "no malformed lines"
    );
    let lines = std::str::from_utf8(&output).expect("text").lines();
    lines.map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn eval_agrees_with_the_corpus() {
    let signatures = corpus("webhook_signature");
    let cases = signatures["cases"].as_array().expect("cases");
    let answers = evaluated(Kind::Signature, cases);
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(answers) {
        assert_eq!(answer["id"], case["id"]);
        assert_eq!(answer["accept"], case["expect_accept"], "{}", case["id"]);
    }
    let labels = corpus("jobs");
    let cases = labels["label_match"].as_array().expect("cases");
    let answers = evaluated(Kind::Labels, cases);
    assert_eq!(answers.len(), cases.len());
    for (case, answer) in cases.iter().zip(answers) {
        assert_eq!(answer["match"], case["expect"], "{case}");
    }
}

#[test]
fn every_payload_sample_decodes() {
    let corpus = corpus("payloads");
    let samples = corpus["samples"].as_array().expect("samples");
    assert!(samples.len() >= 13, "the corpus is complete");
    for sample in samples {
        let payload = sample["payload"].to_string();
        let event = text(sample, "x_gitea_event_type");
        let events = webhook::decode(event, payload.as_bytes()).expect("decodes");
        let id = text(sample, "id");
        match (id, &events[..]) {
            ("workflow_job_queued", [Event::Queued(job)]) => {
                assert_eq!(job.job.repo, "acme/widget");
                assert_eq!((job.job.repo_id, job.job.job_id), (42, 1001));
                assert_eq!(job.runs_on, ["self-hosted", "linux"]);
                assert_eq!(job.about.repo, "acme/widget");
                assert_eq!(job.about.job, "build (linux)");
                assert_eq!((job.about.branch.as_str(), job.about.run_id), ("main", 500));
                assert_eq!(job.about.commit, "2".repeat(40));
                let page = "https://gitea.example.com/acme/widget/actions/runs/500/jobs/1001";
                assert_eq!(job.about.url, page);
                assert!(job.created_at.is_some(), "{payload}");
            }
            ("workflow_job_in_progress", [Event::Job { job_id: 1001, runner }]) => {
                assert_eq!(runner.as_deref(), Some("tinqs-vm-77"));
            }
            ("workflow_job_completed", [Event::Job { job_id: 1001, runner: None }])
            | ("workflow_job_waiting", [Event::Blocked { job_id: 1001 }]) => {}
            (id, [Event::PollSoon]) if !id.starts_with("workflow_job_") => {}
            (id, events) => panic!("{id}: {events:?}"),
        }
    }
}

#[test]
fn hostile_payloads_are_rejected_quickly() {
    let deep = |open: &str, close: &str| {
        let (open, close) = (open.repeat(200_000), close.repeat(200_000));
        format!(r#"{{"action":"queued","x":{open}1{close}}}"#)
    };
    let began = std::time::Instant::now();
    for json in [deep("[", "]"), deep(r#"{"a":"#, "}"), "[".repeat(10_000_000)] {
        for event in ["workflow_job", "push", "nonsense"] {
            let result = webhook::decode(event, json.as_bytes());
            assert!(matches!(result, Err(Malformed::Depth)), "{result:?}");
        }
    }
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    let not_text = b"{\"repository\":{\"full_name\":\"a/\xc3\x28\"}}";
    assert!(matches!(webhook::decode("push", not_text), Err(Malformed::Utf8)));
}

#[test]
fn external_names_are_kept_verbatim_but_bounded() {
    let name = "x\"\n$(touch y)\u{202e}\u{1b}[31m".repeat(1000);
    let payload = serde_json::json!({
        "action": "queued",
        "workflow_job": { "id": 5, "name": name, "labels": ["linux"], "head_branch": name },
        "repository": { "id": 6, "full_name": format!("acme/{name}") },
    });
    let events = webhook::decode("workflow_job", payload.to_string().as_bytes()).expect("decodes");
    let [Event::Queued(job)] = &events[..] else { panic!("{events:?}") };
    for text in [&job.job.repo, &job.about.repo, &job.about.job, &job.about.branch] {
        assert_eq!(text.chars().count(), 300);
    }
    assert!(name.starts_with(&job.about.job));
}

#[test]
fn errors_do_not_quote_the_payload() {
    let json = br#"{"workflow_job":{"id":"top secret"}}"#;
    let error = webhook::decode("workflow_job", json).expect_err("malformed");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

fn event() -> impl Strategy<Value = String> {
    prop_oneof![Just("workflow_job".to_owned()), Just("push".to_owned()), any::<String>()]
}

/// Generates JSON shaped like a payload, with values of any type.
fn near_payload() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just(r#"["a",null]"#.to_owned()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| n.to_string()),
        any::<String>().prop_map(|s| Value::from(s).to_string()),
        Just(r#""queued""#.to_owned()),
    ];
    proptest::array::uniform6(value).prop_map(|[a, b, c, d, e, f]| {
        format!(
            r#"{{"action":{a},"workflow_job":{{"id":{b},"labels":{c},"url":{d},"runner_name":{e}}},
            "repository":{{"id":7,"full_name":{f}}}}}"#
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn decode_never_panics(event in event(), json in prop::collection::vec(any::<u8>(), 0..300)) {
        let again = |json: &[u8]| webhook::decode(&event, json).ok();
        prop_assert_eq!(again(&json), again(&json));
    }

    #[test]
    fn decode_never_panics_on_near_payloads(event in event(), json in near_payload()) {
        if let Ok(events) = webhook::decode(&event, json.as_bytes()) {
            prop_assert!(events.len() <= 1);
            for event in events {
                if let Event::Queued(job) = event {
                    prop_assert!(job.job.job_id > 0 && job.job.repo_id == 7);
                }
            }
        }
    }

    #[test]
    fn no_forged_signature_is_accepted(
        signature in "[0-9a-f]{0,70}",
        hub in any::<bool>(),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut headers = HeaderMap::new();
        let (name, value) = if hub {
            ("x-hub-signature-256", format!("sha256={signature}"))
        } else {
            ("x-gitea-signature", signature)
        };
        headers.insert(name, HeaderValue::from_str(&value).expect("hex"));
        for content_type in ["application/json", "application/x-www-form-urlencoded", "text/x"] {
            let secret = Secret::new("s3cr3t");
            prop_assert!(webhook::verify(&secret, &headers, Some(content_type), &body).is_err());
        }
    }
}
