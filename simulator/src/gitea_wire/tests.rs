//! Tests of the pure parts: routes, signatures, forms.

use axum::http::Method;
use serde_json::Value;

use super::{api, hooks};

#[test]
fn routes_are_counted_without_names_and_ids() {
    for (method, path, expected) in [
        (Method::GET, "/api/v1/version", "GET /version"),
        (Method::GET, "/api/v1/admin/actions/jobs", "GET /admin/actions/jobs"),
        (Method::GET, "/api/v1/repositories/42", "GET /repositories/{id}"),
        (
            Method::GET,
            "/api/v1/repos/a/b/actions/jobs/7",
            "GET /repos/{owner}/{repo}/actions/jobs/{id}",
        ),
        (Method::GET, "/api/v1/repos/1/2", "GET /repos/{owner}/{repo}"),
        (
            Method::DELETE,
            "/api/v1/orgs/acme/actions/runners/7",
            "DELETE /orgs/{org}/actions/runners/{id}",
        ),
        (
            Method::POST,
            "/api/actions/runner.v1.RunnerService/Ping",
            "POST /api/actions/runner.v1.RunnerService/Ping",
        ),
    ] {
        assert_eq!(api::route(&method, path), expected);
    }
}

#[test]
fn signatures_and_forms_match_the_corpus() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/webhook_signature.json");
    let text = std::fs::read_to_string(file).expect("the corpus");
    let corpus: Value = serde_json::from_str(&text).expect("JSON");
    let mut compared = 0;
    for case in corpus["cases"].as_array().expect("a list") {
        let field = |key: &str| case[key].as_str().unwrap_or_default();
        let header = |key: &str| case["headers"][key].as_str().unwrap_or_default();
        // Policy cases accept what Gitea does not send: other headers, capitals.
        let signature = header("X-Gitea-Signature");
        let ours = case["expect_accept"] == true && field("verify_with_secret") == "s3cr3t";
        if !ours || signature.is_empty() || field("reason").starts_with("policy") {
            continue;
        }
        let body = field("body");
        let payload = if header("Content-Type").contains("form") {
            let uri = format!("/?{body}").parse().expect("a URI");
            let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
            let payload = query.expect("a form").0.remove(0).1;
            assert_eq!(format!("payload={}", hooks::form_encode(&payload)), body);
            payload
        } else if body.is_empty() {
            continue;
        } else {
            body.to_owned()
        };
        assert_eq!(hooks::sign("s3cr3t", &payload), signature, "{}", case["id"]);
        compared += 1;
    }
    assert!(compared >= 3, "only {compared} cases");
    assert_eq!(hooks::sign("", "x"), "");
}
