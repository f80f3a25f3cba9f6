//! More open runs than a list has that is read for each answer.

use axum::http::StatusCode;
use tinqs_ci_reconciler::model::{About, Phase};

use crate::asking::{TestServer, queued, settings};
use crate::world::{add_run, name};

/// Some more than 2,000.
const RUNS: i64 = 2_010;
const RUNNING: i64 = 10;

#[tokio::test]
async fn views_of_many_runs_agree_and_show_what_this_process_wrote() {
    let asked = TestServer::new(settings());
    for id in 1..=RUNS {
        add_run(&asked.world, id, About::default());
    }
    for id in 1..=RUNNING {
        asked.world.state().runs.get_mut(&name(id)).expect("a run").status.phase = Phase::Running;
    }
    for delivered in 0..3 {
        if delivered > 0 {
            let answer = asked.deliver("workflow_job", &queued(9_000 + delivered, "x")).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{answer:?}");
        }
        let (open, waiting) = (RUNS + delivered, RUNS + delivered - RUNNING);
        let status = asked.get("/v1/status").await.json()["classes"][0].clone();
        assert_eq!(
            (&status["open"], &status["waiting"], &status["running"]),
            (&open.into(), &waiting.into(), &RUNNING.into())
        );
        let class = asked.get("/v1/classes").await.json()["items"][0].clone();
        assert_eq!((&class["open_runs"], &class["waiting_runs"]), (&open.into(), &waiting.into()));
        for (path, part) in [
            ("/", format!("<dt>waiting</dt><dd>{waiting}</dd>")),
            ("/classes", format!("<dt>open runs</dt><dd>{open}</dd>")),
        ] {
            let html = [("accept", "text/html")];
            let page = asked.ask("GET", path, &html, axum::body::Body::empty()).await.text;
            assert!(page.contains(&part), "{part}: {page}");
        }
    }
}
