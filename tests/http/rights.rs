//! Every operation of the API, by the right of its caller.

use axum::body::Body;
use axum::http::StatusCode;
use tinqs_ci::server::Role;
use tinqs_ci::settings::Right;
use tinqs_ci_reconciler::model::About;

use crate::asking::{TestServer, settings, token};
use crate::doors::{LOOPBACK, NO_TOKEN, READS, door};
use crate::openapi::operations;
use crate::world::add_run;

/// The names of the calls of the test world that change something.
const CHANGES: [&str; 8] =
    ["put", "remove", "pause", "resume", "launch", "terminate", "register", "retire"];

/// Asserts that nothing was changed, nor swept.
fn assert_unchanged(server: &TestServer) {
    for call in CHANGES.into_iter().chain(["list"]) {
        assert_eq!(server.world.calls(call), 0, "{call}");
    }
}

#[tokio::test]
async fn no_operation_is_open_to_a_caller_without_a_token() {
    let at_its_address = door(settings(), Role::All, LOOPBACK, |doors| doors.api);
    // As a Lambda function has it.
    let with_webhooks = TestServer::new(settings());
    for server in [at_its_address, with_webhooks] {
        add_run(&server.world, 7, About::default());
        for (method, path) in operations() {
            for credential in ["", "Bearer ", "Bearer wrong", "Basic b3BzOm9wcw=="] {
                let headers = [("authorization", credential)];
                let answer = server.ask(&method, &path, &headers, Body::empty()).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} {credential}");
            }
        }
        for path in ["/v1", "/v1/", "/v1/nothing", "/openapi.json"] {
            let answer = server.ask("GET", path, &NO_TOKEN, Body::empty()).await;
            let expected = [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND];
            assert!(expected.contains(&answer.status), "{path}: {answer:?}");
        }
        assert_unchanged(&server);
    }
}

#[tokio::test]
async fn a_token_that_may_read_is_refused_by_every_change() {
    let mut settings = settings();
    settings.server.tokens.push(token("dashboard", READS, Right::Read));
    let server = door(settings, Role::All, LOOPBACK, |doors| doors.api);
    add_run(&server.world, 7, About::default());
    let bearer = format!("Bearer {READS}");
    let reads = [("authorization", bearer.as_str())];
    let mut refused = 0;
    for (method, path) in operations().into_iter().filter(|(method, _)| method != "GET") {
        let answer = server.ask(&method, &path, &reads, Body::empty()).await;
        // It makes an address at which a browser signs in as this token, and changes nothing.
        if path == "/v1/sign-in" {
            assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
            assert_eq!(answer.json()["may"], "read", "{answer:?}");
            continue;
        }
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        assert!(answer.text.contains("may only read"), "{answer:?}");
        refused += 1;
    }
    assert!(refused >= 9, "only {refused} changes");
    assert_unchanged(&server);
    for (method, path) in operations().into_iter().filter(|(method, _)| method == "GET") {
        let answer = server.ask(&method, &path, &reads, Body::empty()).await;
        // A job may have written to a log; a backup may have credentials.
        if path.ends_with("/log") || path == "/v1/backup" {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{answer:?}");
            continue;
        }
        let denied = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
        assert!(!denied.contains(&answer.status), "{method} {path}: {answer:?}");
    }
}
