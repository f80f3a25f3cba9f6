//! `POST /v1/reload`: a file that changes while the server runs.

use std::path::PathBuf;
use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::json;
use tinqs_ci::server::http::{App, Deadlines, everything};
use tinqs_ci::server::{Parts, PollSignal, Role};
use tinqs_ci::settings::{Env, Source};
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::model::Secret;

use crate::asking::{Answer, TOKEN, TestServer, queued, settings, sign};
use crate::world::world;

const BEFORE: &str = "first-hook-secret";
const AFTER: &str = "second-hook-secret";

/// A server whose configuration is a file.
struct Configured {
    server: TestServer,
    controller: Arc<Controller>,
    folder: tempfile::TempDir,
}

impl Configured {
    fn new(classes: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder, BEFORE, classes, "");
        let source = Source { named: Some(file(&folder)), env: Env::new() };
        let loaded = source.load().expect("valid");
        let world = world();
        let parts = Parts::over(loaded.settings, world.ports(), "replica-1");
        let parts = parts.reloadable(source, loaded.secret_sources, "replica-1");
        let poll_signal = Arc::new(PollSignal::default());
        let address = Some(([127, 0, 0, 1], 8081).into());
        let app = App::new(&parts, poll_signal.clone(), Role::All, address);
        let router = everything(&app, Deadlines::default());
        let server = TestServer { world, router, poll_signal };
        Self { server, controller: parts.controller.clone(), folder }
    }

    async fn reload(&self, headers: &[(&str, &str)]) -> Answer {
        self.server.ask("POST", "/v1/reload", headers, Body::empty()).await
    }

    async fn deliver(&self, secret: &str) -> StatusCode {
        let body = queued(7, "x");
        let signature = sign(secret, &body);
        let headers = [
            ("content-type", "application/json"),
            ("x-gitea-event", "workflow_job"),
            ("x-gitea-signature", signature.as_str()),
        ];
        self.server.ask("POST", "/webhook", &headers, body).await.status
    }
}

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("ci.toml")
}

fn write(folder: &tempfile::TempDir, secret: &str, classes: &str, server: &str) {
    let text = format!(
        "store = \"memory:\"\ncompute = \"process:unused\"\n\
         [forge]\nurl = \"http://127.0.0.1:1\"\ntoken = \"forge-token\"\n\
         webhook_secret = [\"{secret}\"]\n[server]\n{server}\n{}{classes}\n",
        token("ops", TOKEN)
    );
    std::fs::write(file(folder), text).expect("written");
}

fn token(name: &str, secret: &str) -> String {
    format!("[[server.token]]\nname = \"{name}\"\nsecret = \"{secret}\"\nmay = \"operate\"\n")
}

fn class(name: &str, rest: &str) -> String {
    format!("[[class]]\nname = \"{name}\"\nlabels = [\"{name}\"]\n{rest}\n")
}

#[tokio::test]
async fn classes_metrics_and_secrets_follow_a_reload() {
    let configured = Configured::new(&[class("linux", "limit = 2"), class("old", "")].concat());
    assert_eq!(configured.deliver(AFTER).await, StatusCode::UNAUTHORIZED);
    let classes = [class("linux", "limit = 3"), class("new", "")].concat();
    write(&configured.folder, AFTER, &classes, "webhooks = \"127.0.0.1:1\"");
    let answer = configured.reload(&[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let reloaded = answer.json();
    let changed = json!([
        "forge.webhook_secret",
        "class old: removed",
        "class linux: changed limit",
        "class new: added"
    ]);
    assert_eq!(reloaded["changed"], changed, "{reloaded}");
    assert_eq!(reloaded["restart"], json!(["server.webhooks"]), "{reloaded}");
    assert_eq!(reloaded["warnings"].as_array().expect("a list").len(), 3, "inline secrets");
    assert_eq!(configured.deliver(BEFORE).await, StatusCode::UNAUTHORIZED);
    assert_eq!(configured.deliver(AFTER).await, StatusCode::ACCEPTED);
    // Both are removed from what machines print.
    let removed = configured.controller.settings().secrets.clone();
    let removed: Vec<&str> = removed.iter().map(Secret::expose).collect();
    assert_eq!(removed, ["forge-token", AFTER, TOKEN, BEFORE]);

    let metrics = configured.server.get("/metrics").await.text;
    let shows = |line: &str| metrics.lines().any(|shown| shown == line);
    let limit = "tinqs_ci_class_limit_machines{class=\"linux\",limit=\"max\"} 3";
    assert!(shows(limit), "{metrics}");
    assert!(shows("tinqs_ci_desired_machines{class=\"new\"} 0"), "{metrics}");
    assert!(!metrics.contains("desired_machines{class=\"old\"}"), "{metrics}");
    let nothing = configured.reload(&[]).await.json();
    assert_eq!(
        (&nothing["changed"], &nothing["restart"]),
        (&json!([]), &json!(["server.webhooks"]))
    );
}

#[tokio::test]
async fn a_broken_file_is_answered_with_its_mistakes_and_changes_nothing() {
    let configured = Configured::new(&class("linux", ""));
    write(&configured.folder, AFTER, &class("linux", "limit = 0\nkeeep = \"1h\""), "");
    let answer = configured.reload(&[]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let detail = answer.json()["detail"].as_str().expect("a text").to_owned();
    let lines: Vec<&str> = detail.lines().collect();
    assert_eq!(lines.len(), 2, "{detail}");
    assert!(lines[0].contains("ci.toml:16: class \"linux\": limit: 0 would"), "{detail}");
    assert!(lines[1].contains("did you mean `keep`"), "{detail}");
    std::fs::remove_file(file(&configured.folder)).expect("removed");
    let answer = configured.reload(&[]).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(answer.text.contains("cannot read the configuration"), "{answer:?}");
    assert_eq!(configured.deliver(BEFORE).await, StatusCode::ACCEPTED, "the former secret");
}

#[tokio::test]
async fn the_tokens_of_a_reload_are_those_that_count() {
    const OTHER: &str = "another-token-0123456789";
    let configured = Configured::new(&class("linux", ""));
    let other = [token("other", OTHER), class("linux", "")].concat();
    write(&configured.folder, BEFORE, &other, "");
    let answer = configured.reload(&[]).await;
    assert_eq!(answer.json()["changed"], json!(["server.token"]), "{answer:?}");
    let bearer = format!("Bearer {OTHER}");
    assert_eq!(configured.reload(&[("authorization", &bearer)]).await.status, StatusCode::OK);
    assert_eq!(configured.reload(&[]).await.status, StatusCode::OK, "both count");
    write(&configured.folder, BEFORE, &class("linux", ""), "");
    assert_eq!(configured.reload(&[]).await.status, StatusCode::OK);
    let answer = configured.reload(&[("authorization", &bearer)]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "removed");
}

#[tokio::test]
async fn while_two_webhook_secrets_are_configured_both_are_accepted() {
    let configured = Configured::new(&class("linux", ""));
    write(&configured.folder, &format!("{AFTER}\", \"{BEFORE}"), &class("linux", ""), "");
    let reloaded = configured.reload(&[]).await.json();
    assert_eq!(reloaded["changed"], json!(["forge.webhook_secret"]), "{reloaded}");
    for secret in [AFTER, BEFORE] {
        assert_eq!(configured.deliver(secret).await, StatusCode::ACCEPTED, "{secret}");
    }
    assert_eq!(configured.deliver("third-hook-secret").await, StatusCode::UNAUTHORIZED);
    write(&configured.folder, AFTER, &class("linux", ""), "");
    let reloaded = configured.reload(&[]).await.json();
    assert_eq!(reloaded["changed"], json!(["forge.webhook_secret"]), "{reloaded}");
    assert_eq!(configured.deliver(BEFORE).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_server_without_a_source_refuses_a_reload() {
    let server = TestServer::new(settings());
    let answer = server.ask("POST", "/v1/reload", &[], Body::empty()).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
}
