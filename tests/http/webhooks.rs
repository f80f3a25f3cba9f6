//! `POST /webhook` and `POST /`.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use tinqs_ci::server::Role;

use crate::asking::{SECRET, TOKEN, TestServer, queued, settings, sign};
use crate::world::name;

fn open_settings() -> tinqs_ci::settings::Settings {
    let mut settings = settings();
    settings.forge.webhook_secret = None;
    settings
}

#[tokio::test]
async fn a_signed_delivery_is_stored_before_it_is_answered() {
    let asked = TestServer::new(settings());
    let answer = asked.deliver("workflow_job", &queued(7, "build")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(answer.json()["result"], "accepted");
    let state = asked.world.state();
    assert!(state.runs.contains_key(&name(7)));
    assert_eq!(state.queue.front(), Some(&name(7)));
}

#[tokio::test]
async fn the_predecessors_path_and_form_bodies_are_accepted() {
    let asked = TestServer::new(settings());
    let json = queued(8, "build");
    let signature = format!("sha256={}", sign(SECRET, &json));
    let form: String =
        json.iter().fold("payload=".to_owned(), |form, b| form + &format!("%{b:02X}"));
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-gitea-event", "workflow_job"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    let answer = asked.ask("POST", "/", &headers, form).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert!(asked.world.state().runs.contains_key(&name(8)));
}

#[tokio::test]
async fn unknown_events_are_accepted_and_ignored() {
    let asked = TestServer::new(settings());
    let answer = asked.deliver("star", b"{}").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert_eq!(answer.json()["result"], "ignored");
    assert!(asked.world.state().runs.is_empty());
}

/// A name, the headers, and the expected status.
type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, StatusCode);

#[tokio::test]
async fn invalid_deliveries_are_rejected_with_their_status() {
    let asked = TestServer::new(settings());
    let body = queued(9, "build");
    let right = sign(SECRET, &body);
    let wrong = sign("another", &body);
    let json = ("content-type", "application/json");
    let event = ("x-gitea-event", "workflow_job");
    let cases: [Case<'_>; 8] = [
        ("no signature", vec![json, event], StatusCode::UNAUTHORIZED),
        (
            "wrong secret",
            vec![json, event, ("x-gitea-signature", &wrong)],
            StatusCode::UNAUTHORIZED,
        ),
        ("no hex", vec![json, event, ("x-gitea-signature", "zz")], StatusCode::UNAUTHORIZED),
        (
            "cut off",
            vec![json, event, ("x-gitea-signature", &right[..62])],
            StatusCode::UNAUTHORIZED,
        ),
        (
            "two signatures",
            vec![json, event, ("x-gitea-signature", &right), ("x-gitea-signature", &right)],
            StatusCode::UNAUTHORIZED,
        ),
        (
            "another content type",
            vec![("content-type", "text/plain"), event, ("x-gitea-signature", &right)],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            "no content type",
            vec![event, ("x-gitea-signature", &right)],
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ),
        (
            "no form",
            vec![
                ("content-type", "application/x-www-form-urlencoded"),
                event,
                ("x-gitea-signature", &right),
            ],
            StatusCode::BAD_REQUEST,
        ),
    ];
    for (what, headers, expected) in cases {
        let answer = asked.ask("POST", "/webhook", &headers, body.clone()).await;
        assert_eq!(answer.status, expected, "{what}: {answer:?}");
    }
    assert!(asked.world.state().runs.is_empty(), "nothing was stored");
}

#[tokio::test]
async fn malformed_bodies_are_rejected_even_if_signed() {
    let asked = TestServer::new(settings());
    let deep = [vec![b'['; 200_000], vec![b']'; 200_000]].concat();
    let mut deep_field = br#"{"workflow_job":"#.to_vec();
    deep_field.extend([br#"{"a":"#.repeat(200_000), b"1".to_vec()].concat());
    let invalid = b"{\"action\":\"\xff\xfe\"}".to_vec();
    let cases = [
        ("nested 200,000 deep", deep),
        ("nested within a job", deep_field),
        ("not UTF-8", invalid),
        ("not JSON", b"hello".to_vec()),
        ("cut off", queued(9, "x")[..40].to_vec()),
        ("no job", b"{}".to_vec()),
        ("a list", b"[]".to_vec()),
        ("a job's id as text", br#"{"action":"queued","workflow_job":{"id":"7"}}"#.to_vec()),
    ];
    for (what, body) in cases {
        let answer = asked.deliver("workflow_job", &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{what}: {}", answer.text);
    }
    assert!(asked.world.state().runs.is_empty());
}

#[tokio::test]
async fn a_body_of_11_mib_is_too_large_announced_or_not() {
    for settings in [settings(), open_settings()] {
        let asked = TestServer::new(settings);
        let body = vec![b'x'; 11 << 20];
        let length = body.len().to_string();
        let json = ("content-type", "application/json");
        let announced = [json, ("content-length", length.as_str())];
        let answer = asked.ask("POST", "/webhook", &announced, body.clone()).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
        let answer = asked.ask("POST", "/webhook", &[json], body).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
        let just_fits = vec![b' '; 10 << 20];
        let answer =
            asked.ask("POST", "/webhook", &[json, ("x-gitea-event", "push")], just_fits).await;
        assert_ne!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{answer:?}");
    }
}

#[tokio::test]
async fn webhooks_fail_if_the_store_is_down_but_not_if_cloud_or_forge_are() {
    let asked = TestServer::new(settings());
    asked.world.state().down.insert("store");
    let answer = asked.deliver("workflow_job", &queued(7, "build")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(answer.header("retry-after").parse::<u32>().is_ok_and(|s| s > 0), "{answer:?}");
    asked.world.state().down = ["compute", "forge"].into();
    let answer = asked.deliver("workflow_job", &queued(7, "build")).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
    assert!(asked.world.state().runs.contains_key(&name(7)));
}

#[tokio::test]
async fn without_a_secret_a_webhook_only_triggers_a_poll() {
    let asked = TestServer::new(open_settings());
    let headers = [("content-type", "application/json"), ("x-gitea-event", "workflow_job")];
    for body in [&queued(7, "build")[..], b"\xff not JSON at all"] {
        let answer = asked.ask("POST", "/webhook", &headers, body.to_vec()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        let nudged = tokio::time::timeout(Duration::from_secs(5), asked.poll_signal.nudged()).await;
        assert!(nudged.is_ok(), "a poll is triggered");
    }
    assert!(asked.world.state().runs.is_empty(), "its content was not used");
    let answer = asked.ask("POST", "/webhook", &[("content-type", "text/plain")], "x").await;
    assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{answer:?}");
}

#[tokio::test]
async fn a_sweep_request_needs_the_token_and_returns_the_report() {
    let asked = TestServer::new(settings());
    let bearer = format!("Bearer {TOKEN}");
    for body in ["", r#"{"action":"cleanup"}"#] {
        for path in ["/", "/webhook"] {
            let answer = asked.ask("POST", path, &[("authorization", "")], body).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {body}");
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
            let swept = asked.world.calls("list");
            let answer = asked.ask("POST", path, &[("authorization", &bearer)], body).await;
            assert_eq!(answer.status, StatusCode::OK, "{path} {body}: {answer:?}");
            assert_eq!(answer.json()["leader"], true, "{answer:?}");
            assert!(asked.world.calls("list") > swept, "it swept");
        }
    }
    // A request with a delivery's headers is a delivery.
    let headers = [("authorization", bearer.as_str()), ("x-gitea-event", "push")];
    let json = [headers[0], headers[1], ("content-type", "application/json")];
    let answer = asked.ask("POST", "/", &json, r#"{"action":"cleanup"}"#).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{answer:?}");
}

#[tokio::test]
async fn each_role_serves_only_its_routes() {
    let ingest = TestServer::with(settings(), Role::Ingest, true);
    let unsigned = ingest.ask("POST", "/webhook", &[("content-type", "application/json")], "{}");
    assert_eq!(unsigned.await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(ingest.get("/v1/runs").await.status, StatusCode::NOT_FOUND);
    assert_eq!(ingest.get("/readyz").await.status, StatusCode::OK);
    let cleanup = ingest.ask("POST", "/", &[], Body::empty()).await;
    assert_eq!(cleanup.status, StatusCode::FORBIDDEN);
    let reconcile = TestServer::with(settings(), Role::Reconcile, true);
    let answer = reconcile.deliver("workflow_job", &queued(7, "x")).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert_eq!(reconcile.get("/v1/runs").await.status, StatusCode::OK);
}
