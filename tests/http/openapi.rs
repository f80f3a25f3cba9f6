//! The description of the API (`/openapi.json`), against every answer that this suite gets.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tinqs_ci::commands::schemas::openapi;
use tinqs_ci_reconciler::model::About;

use crate::asking::{Answer, TestServer, settings};
use crate::world::add_run;

static DOCUMENT: LazyLock<Value> = LazyLock::new(openapi::document);

/// Checks an answer against the description of its operation.
pub(crate) fn check(method: &str, target: &str, answer: &Answer) {
    let path = target.split('?').next().unwrap_or_default();
    let paths = DOCUMENT["paths"].as_object().expect("paths");
    let Some((_, item)) = paths.iter().find(|(template, _)| matches(template, path)) else {
        let is_missing = !path.starts_with("/v1/") || answer.status.is_client_error();
        assert!(is_missing, "{method} {target}: {} is not described", answer.status);
        return;
    };
    let what = format!("{method} {target}: {}", answer.status);
    let operation = &item[method.to_lowercase()];
    if operation.is_null() {
        assert!(method == "HEAD" || answer.status.is_client_error(), "{what}");
        return;
    }
    let response = &operation["responses"][answer.status.as_str()];
    assert!(!response.is_null(), "{what} is not described: {}", answer.text);
    let content = answer.header("content-type").split(';').next().unwrap_or_default();
    if response["content"].is_null() {
        assert_eq!(answer.text, "", "{what}: a body is not described");
        return;
    }
    let described = &response["content"][content];
    assert!(!described.is_null(), "{what}: the content type {content:?} is not described");
    // A backup is many documents.
    if content.ends_with("json") && content != "application/x-ndjson" {
        let mut schema = described["schema"].clone();
        schema["components"] = DOCUMENT["components"].clone();
        let validator = jsonschema::draft202012::new(&schema).expect("a schema");
        if let Err(error) = validator.validate(&answer.json()) {
            panic!("{what}: {error} at {}", error.instance_path());
        }
    }
}

/// Returns the path of an operation with the names of the test world.
fn filled_in(template: &str) -> String {
    let path = template.replace("/classes/{name}", "/classes/linux");
    let path = path.replace("{name}", "job-7");
    path.replace("/job/{id}", "/job/7").replace("{id}", "m-1")
}

/// Returns the method and the path of every operation, with the names of the test world.
pub(crate) fn operations() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (template, item) in DOCUMENT["paths"].as_object().expect("paths") {
        let methods = item.as_object().expect("operations").keys();
        found.extend(methods.map(|method| (method.to_uppercase(), filled_in(template))));
    }
    assert!(found.len() >= 24, "only {found:?}");
    found
}

fn matches(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    let is_same = |(of, part): (&str, &str)| of == part || of.starts_with('{');
    template.clone().count() == path.clone().count() && template.zip(path).all(is_same)
}

#[tokio::test]
async fn the_description_is_served_to_readers() {
    let asked = TestServer::new(settings());
    let answer = asked.get("/openapi.json").await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, DOCUMENT.clone()));
    assert_eq!(answer.header("content-type"), "application/json");
    let none = [("authorization", "")];
    let refused = asked.ask("GET", "/openapi.json", &none, Body::empty()).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn every_operation_answers_as_described() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 7, About::default());
    asked.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    let mut asked_for = 0;
    for (template, item) in DOCUMENT["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            // `ask` checks the answer.
            let (method, path) = (method.to_uppercase(), filled_in(template));
            let answer = asked.ask(&method, &path, &[], Body::empty()).await;
            let id = &operation["operationId"];
            // A world without a forge explains no push; a server without a file reloads none.
            let expected = match id.as_str() {
                Some("explainPush") => StatusCode::NOT_IMPLEMENTED,
                Some("reload") => StatusCode::CONFLICT,
                Some("terminateMachine" | "getMachineLog") => StatusCode::NOT_FOUND,
                Some("deleteRun" | "retryRun") => StatusCode::ACCEPTED,
                _ => StatusCode::OK,
            };
            assert_eq!(answer.status, expected, "{id}: {}", answer.text);
            asked_for += 1;
        }
    }
    assert!(asked_for >= 18, "only {asked_for} operations");
}

#[test]
fn an_answer_that_differs_is_found() {
    let answer = |status, text: Value| Answer {
        status,
        headers: [(axum::http::header::CONTENT_TYPE, "application/json".parse().expect("a value"))]
            .into_iter()
            .collect(),
        text: text.to_string(),
    };
    let is_described = |method: &'static str, path: &'static str, answer: Answer| {
        std::panic::catch_unwind(|| check(method, path, &answer)).is_ok()
    };
    let empty = json!({ "items": [], "next": null });
    assert!(is_described("GET", "/v1/runs?limit=1", answer(StatusCode::OK, empty.clone())));
    let wrong = json!({ "items": [{}], "next": null });
    assert!(!is_described("GET", "/v1/runs", answer(StatusCode::OK, wrong)));
    assert!(!is_described("GET", "/v1/runs", answer(StatusCode::CREATED, empty.clone())));
    assert!(!is_described("POST", "/v1/runs", answer(StatusCode::OK, empty.clone())));
    assert!(!is_described("GET", "/v1/nothing", answer(StatusCode::OK, empty)));
}
