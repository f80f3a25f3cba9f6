//! The classes on the page: who holds their seats.

use axum::body::Body;
use serde_json::json;
use tinqs_ci_reconciler::model::ClassName;
use tinqs_ci_reconciler::ports::Seat;
use tinqs_ci_testing::make;

use crate::asking::{TestServer, settings};

const HOSTILE: &str = "</td><script>alert(1)</script>\u{202e}\u{1b}[31m";

fn seated(asked: &TestServer, repo: &str, ids: std::ops::Range<i64>) {
    let class = ClassName("linux".to_owned());
    let seats = ids.map(|id| {
        let seat = Seat { attempt_id: make::attempt_id(id, 1), repo: repo.to_owned(), repo_id: 0 };
        (class.clone(), seat)
    });
    asked.world.state().seats.extend(seats);
}

async fn classes(asked: &TestServer) -> String {
    asked.ask("GET", "/classes", &[("accept", "text/html")], Body::empty()).await.text
}

#[tokio::test]
async fn a_class_shows_which_repositories_hold_its_seats() {
    let mut settings = settings();
    settings.classes[0].repo_limit = Some(10);
    let asked = TestServer::new(settings);
    assert!(!classes(&asked).await.contains("by repository"), "nobody holds one");
    seated(&asked, HOSTILE, 1..2);
    seated(&asked, "acme/web", 2..5);
    let told = asked.get("/v1/classes").await.json()["items"][0].clone();
    let expected = json!([{ "repo": "acme/web", "seats": 3 }, { "repo": HOSTILE, "seats": 1 }]);
    assert_eq!((&told["seats"], &told["seats_by_repo"]), (&json!(4), &expected));
    assert_eq!(told["unavailable"], json!([]));
    let text = classes(&asked).await;
    assert!(text.contains("aria-label=\"Seats of class linux by repository\""), "{text}");
    assert!(text.contains("<td>acme/web</td><td class=\"n\">3 of 10</td>"), "{text}");
    assert!(text.contains("<td class=\"n\">1 of 10</td>"), "{text}");
    for part in ["<script>alert", "\u{202e}", "\u{1b}"] {
        assert!(!text.contains(part), "{part:?}: {text}");
    }
}

#[tokio::test]
async fn a_class_shows_whom_it_serves_and_what_its_machines_may_reach() {
    let mut settings = settings();
    let asked = TestServer::new(settings.clone());
    let told = asked.get("/v1/classes").await.json()["items"][0].clone();
    assert_eq!(
        (&told["serves_unlabeled"], &told["security_groups"], &told["instance_profile"]),
        (&json!(false), &json!([]), &json!(null))
    );
    let class = &mut settings.classes[0];
    class.serves_unlabeled = true;
    for machine in &mut class.machines {
        machine.security_groups = vec!["sg-1".to_owned(), "sg-2".to_owned()];
        machine.instance_profile = "ci-machines".to_owned();
    }
    let asked = TestServer::new(settings);
    let told = asked.get("/v1/classes").await.json()["items"][0].clone();
    assert_eq!(
        (&told["serves_unlabeled"], &told["security_groups"], &told["instance_profile"]),
        (&json!(true), &json!(["sg-1", "sg-2"]), &json!("ci-machines"))
    );
    let text = classes(&asked).await;
    for (key, value) in [
        ("serves_unlabeled", "yes"),
        ("security_groups", "sg-1, sg-2"),
        ("instance_profile", "ci-machines"),
    ] {
        let part = format!("<dt><code>{key}</code></dt><dd>{value}</dd>");
        assert!(text.contains(&part), "{part}: {text}");
    }
}

#[tokio::test]
async fn many_repositories_are_not_all_shown() {
    let asked = TestServer::new(settings());
    for id in 0..50 {
        seated(&asked, &format!("acme/r{id}"), id..id + 1);
    }
    let text = classes(&asked).await;
    assert_eq!(text.matches("<td>acme/r").count(), 20);
    assert!(text.contains("and 30 more repositories"), "{text}");
    let told = asked.get("/v1/classes").await.json();
    assert_eq!(told["items"][0]["seats_by_repo"].as_array().map(Vec::len), Some(50));
}
