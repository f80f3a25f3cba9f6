//! Pauses: asked for at one replica, kept in the store, shown everywhere.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tinqs_ci::settings::Right;
use tinqs_ci_reconciler::model::About;

use crate::asking::{Answer, TestServer, settings, token};
use crate::world::add_run;

async fn post(server: &TestServer, path: &str) -> Answer {
    server.ask("POST", path, &[], Body::empty()).await
}

fn who(pauses: &Value) -> Vec<(Option<&str>, &str)> {
    let pauses = pauses.as_array().expect("a list");
    let text = |pause: &Value| pause["by"].as_str().map(str::to_owned).expect("a name");
    assert!(pauses.iter().all(|pause| !text(pause).is_empty()));
    pauses.iter().map(|pause| (pause["class"].as_str(), pause["by"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn a_pause_is_kept_and_shown_by_every_replica_until_it_ends() {
    let asked = TestServer::new(settings());
    let other = asked.beside(settings(), "replica-2");
    let done = post(&asked, "/v1/classes/linux/pause").await;
    assert_eq!(done.status, StatusCode::OK, "{done:?}");
    let done = done.json();
    assert_eq!(
        (&done["changed"], who(&done["pauses"])),
        (&json!(true), vec![(Some("linux"), "ops")])
    );
    let again = post(&other, "/v1/classes/linux/pause").await.json();
    assert_eq!((&again["changed"], &again["pauses"]), (&json!(false), &done["pauses"]));
    let all = post(&other, "/v1/pause").await.json();
    assert_eq!(who(&all["pauses"]), [(None, "ops"), (Some("linux"), "ops")]);

    for server in [&asked, &other] {
        let status = server.get("/v1/status").await.json();
        assert_eq!(status["pauses"], all["pauses"]);
        let attention = status["attention"].as_array().expect("a list");
        let paused: Vec<_> = attention.iter().filter(|one| one["reason"] == "Paused").collect();
        let subjects: Vec<_> = paused.iter().map(|one| one["subject"].as_str()).collect();
        assert_eq!(subjects, [Some("all classes"), Some("class linux")]);
        assert!(paused.iter().all(|one| one["needs_person"] == json!(false)), "{paused:?}");
        let message = paused[0]["message"].as_str().expect("a message");
        assert_eq!(message, "all launches are paused by ops; `tinqs-ci resume` ends that");
    }

    let one = post(&other, "/v1/classes/linux/resume").await.json();
    assert_eq!((&one["changed"], who(&one["pauses"])), (&json!(true), vec![(None, "ops")]));
    let none = post(&asked, "/v1/resume").await.json();
    assert_eq!((&none["changed"], &none["pauses"]), (&json!(true), &json!([])));
    let none = post(&asked, "/v1/resume").await.json();
    assert_eq!(none["changed"], json!(false));
    assert_eq!(other.get("/v1/status").await.json()["pauses"], json!([]));
}

#[tokio::test]
async fn a_pause_and_its_end_are_events_and_a_metric() {
    let asked = TestServer::new(settings());
    let paused = async |value: &str| {
        let text = asked.get("/metrics").await.text;
        let line = format!("tinqs_ci_paused{{class=\"linux\"}} {value}\n");
        assert!(text.contains(&line), "{text}");
    };
    paused("0").await;
    post(&asked, "/v1/pause").await;
    paused("1").await;
    post(&asked, "/v1/classes/linux/pause").await;
    post(&asked, "/v1/resume").await;
    paused("0").await;
    let events = asked.get("/v1/events").await.json();
    let told: Vec<_> = events["items"].as_array().expect("a list").iter().collect();
    let told: Vec<[&str; 5]> = told
        .into_iter()
        .filter(|event| ["Paused", "Resumed"].contains(&event["reason"].as_str().unwrap_or("")))
        .map(|event| {
            let object = &event["object"];
            [&event["type"], &event["reason"], &object["kind"], &object["name"], &event["by"]]
                .map(|field| field.as_str().unwrap_or("none"))
        })
        .collect();
    let expected = [
        ["Warning", "Paused", "classes", "all", "ops"],
        ["Warning", "Paused", "class", "linux", "ops"],
        ["Normal", "Resumed", "classes", "all", "ops"],
        ["Normal", "Resumed", "class", "linux", "ops"],
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn only_a_known_class_is_paused_and_only_by_one_who_may_operate() {
    let mut settings = settings();
    settings.server.tokens.push(token("dashboard", "read-canary-0123456789", Right::Read));
    let asked = TestServer::new(settings);
    for path in ["/v1/classes/none/pause", "/v1/classes/none/resume", "/v1/classes/%0a/pause"] {
        let refused = post(&asked, path).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{path}");
        assert!(refused.text.contains("tinqs-ci get classes"), "{refused:?}");
    }
    let reader = [("authorization", "Bearer read-canary-0123456789")];
    for path in ["/v1/pause", "/v1/resume", "/v1/classes/linux/pause", "/v1/classes/linux/resume"] {
        let refused = asked.ask("POST", path, &reader, Body::empty()).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{path}");
        let read = asked.ask("GET", path, &[], Body::empty()).await;
        assert_eq!(read.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    assert_eq!(asked.world.state().pauses, []);
    asked.world.state().down.insert("store");
    assert_eq!(post(&asked, "/v1/pause").await.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_class_that_is_gone_from_the_configuration_can_be_resumed() {
    let asked = TestServer::new(settings());
    post(&asked, "/v1/classes/linux/pause").await;
    let mut without = settings();
    without.classes.clear();
    let other = asked.beside(without, "replica-2");
    let done = post(&other, "/v1/classes/linux/resume").await;
    assert_eq!(done.json()["changed"], json!(true));
}

#[tokio::test]
async fn the_page_and_why_say_that_a_class_is_paused() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 1, About::default());
    let html = [("accept", "text/html")];
    let overview = asked.ask("GET", "/", &html, Body::empty()).await;
    assert!(overview.text.contains("paused no"), "{}", overview.text);
    post(&asked, "/v1/classes/linux/pause").await;
    for path in ["/", "/classes"] {
        let page = asked.ask("GET", path, &html, Body::empty()).await;
        let message = "launches of class linux are paused by ops";
        assert!(page.text.contains(message), "{path}: {}", page.text);
    }
    let plan = asked.get("/v1/runs/job-1/plan").await.json();
    assert_eq!(plan["rule"], json!("on hold (rule 15)"), "{plan}");
}
