//! Events on the screens: what is told on the overview, and what the page of a run adds to its
//! timeline.

use axum::body::Body;
use serde_json::Value;
use tinqs_ci_reconciler::model::{About, Condition, Reason};
use tinqs_ci_reconciler::ports::Compute as _;

use crate::api::attempt;
use crate::asking::{TestServer, queued, settings};
use crate::status::{sweep, waiting_job};
use crate::world::{add_run, name};

const HOSTILE: &str = "</p><script>alert(1)</script>\u{202e}\u{1b}[31m";

async fn screen(asked: &TestServer, path: &str) -> String {
    asked.ask("GET", path, &[("accept", "text/html")], Body::empty()).await.text
}

/// Returns the latest events of the overview.
async fn latest(asked: &TestServer) -> Vec<String> {
    let text = screen(asked, "/").await;
    let list = text.split("<ol class=\"events\">").nth(1).expect("a list of events");
    let list = list.split("</ol>").next().unwrap_or_default();
    list.split("<li>").skip(1).map(str::to_owned).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("text")
}

#[tokio::test]
async fn the_overview_tells_of_pauses_services_labels_and_runs_newest_first() {
    let asked = TestServer::new(settings());
    asked.deliver("workflow_job", &queued(7, "build")).await;
    asked.ask("POST", "/v1/classes/linux/pause", &[], Body::empty()).await;
    asked.ask("POST", "/v1/pause", &[], Body::empty()).await;
    asked.world.state().waiting = Some(vec![waiting_job(1, &["gpu"])]);
    sweep(&asked).await;
    asked.world.state().down.insert("forge");
    sweep(&asked).await;
    sweep(&asked).await;
    asked.world.state().down.clear();
    sweep(&asked).await;
    let shown = latest(&asked).await;
    let all = asked.get("/v1/events").await.json();
    let told = all["items"].as_array().expect("events");
    assert_eq!(shown.len(), told.len(), "{shown:#?} {all}");
    for event in told {
        let object = text(&event["object"]["name"]);
        let subject = match text(&event["object"]["kind"]) {
            "run" => format!("href=\"/runs/{object}\""),
            "classes" => "all classes · ".to_owned(),
            "labels" => format!("labels [{object}] · "),
            kind => format!("{kind} {object} · "),
        };
        let mark = "<span class=\"waits\">! </span>";
        let is_shown = |row: &&String| {
            row.contains(&subject)
                && row.contains(text(&event["message"]))
                && row.contains(mark) == (event["type"] == "Warning")
        };
        assert_eq!(shown.iter().filter(is_shown).count(), 1, "{event}: {shown:#?}");
    }
    let at = |part: &str| shown.iter().position(|row| row.contains(part)).expect("a row");
    assert!(at("service forge · works again") < at("labels [gpu]"), "{shown:#?}");
    assert!(at("labels [gpu]") < at("/runs/job-7"), "{shown:#?}");
}

#[tokio::test]
async fn what_happened_before_the_start_is_told_once_beside_what_happens_now() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 7, About { job: "e2e".to_owned(), ..About::default() });
    asked.ask("POST", "/v1/runs/job-7/retry", &[], Body::empty()).await;
    asked.deliver("workflow_job", &queued(8, "build")).await;
    let shown = latest(&asked).await;
    let seen = |run: &str| {
        let rows = shown.iter().filter(|row| row.contains(run));
        rows.filter(|row| row.contains("a webhook announced the job")).count()
    };
    assert_eq!((seen("/runs/job-7"), seen("/runs/job-8"), shown.len()), (1, 1, 3), "{shown:#?}");
    assert!(shown[2].contains("/runs/job-7") && shown[2].contains("e2e"), "{shown:#?}");
    for id in 10..40 {
        asked.deliver("workflow_job", &queued(id, "x")).await;
    }
    assert_eq!(latest(&asked).await.len(), 20, "not all");
}

#[tokio::test]
async fn the_page_of_a_run_shows_its_conditions_and_what_its_timeline_does_not_hold() {
    let asked = TestServer::new(settings());
    let run = add_run(&asked.world, 7, About::default());
    let empty = screen(&asked, "/runs/job-7").await;
    assert!(empty.contains("None, as this process saw the run."), "{empty}");
    let machine = asked.world.launch(&run.attempt_id(1), 0, &attempt(&run)).await.expect("up");
    let condition = |reason, message: &str| Condition {
        reason,
        since: run.created_at,
        message: message.to_owned(),
    };
    asked.world.state().runs.get_mut(&name(7)).expect("a run").status.conditions = vec![
        condition(Reason::AtLimit, "class linux is at its limit of 5"),
        condition(Reason::BackingOff, HOSTILE),
    ];
    let path = format!("/v1/machines/{}/terminate", machine.id);
    asked.ask("POST", &path, &[], Body::empty()).await;
    let text = screen(&asked, "/runs/job-7").await;
    for part in ["AtLimit</strong>", "BackingOff</strong>", "class linux is at its limit of 5"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for part in ["<script>alert", "\u{202e}", "\u{1b}"] {
        assert!(!text.contains(part), "{part:?}: {text}");
    }
    let ended = format!("Terminated · ops terminated machine {}", machine.id);
    assert!(text.contains(&ended), "{ended}: {text}");
    let beyond = text.split("beyond the timeline").nth(1).expect("a part");
    assert!(!beyond.contains("a webhook announced the job"), "that is a milestone: {beyond}");
    assert!(!screen(&asked, "/").await.contains("<script>alert"));
}
