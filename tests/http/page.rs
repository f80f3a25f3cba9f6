//! The page: every screen, its headers, and that it agrees with `/v1`.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::StatusCode;
use jiff::Timestamp;
use tinqs_ci::server::Role;
use tinqs_ci_reconciler::model::{About, Phase};

use crate::asking::{Answer, TestServer, settings};
use crate::status::sweep;
use crate::world::{add_run, name};

/// Text that breaks a page that does not escape it.
const HOSTILE: &str = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}";

async fn screen(asked: &TestServer, path: &str) -> Answer {
    asked.ask("GET", path, &[("accept", "text/html,application/xhtml+xml")], Body::empty()).await
}

#[tokio::test]
async fn every_screen_has_a_strict_policy_and_only_own_files() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 7, About::default());
    sweep(&asked).await;
    for path in ["/", "/runs", "/runs/job-7", "/machines", "/classes", "/usage"] {
        let answer = screen(&asked, path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {answer:?}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe"), "{policy}");
        assert!(answer.text.starts_with("<!DOCTYPE html>"), "{path}");
        assert_eq!(answer.text.matches("<script").count(), 1, "{path}");
        assert!(!answer.text.contains(" style=") && !answer.text.contains("<style"), "{path}");
        assert!(
            !answer.text.contains("src=\"http") && !answer.text.contains("href=\"//"),
            "{path}"
        );
        assert!(answer.text.len() < 50_000, "{path}: {} bytes", answer.text.len());
    }
}

#[tokio::test]
async fn the_files_are_kept_and_their_names_change_with_them() {
    let asked = TestServer::new(settings());
    let page = screen(&asked, "/").await.text;
    let paths: Vec<&str> =
        page.split('"').filter(|part| part.starts_with("/assets/page-")).collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    for path in paths {
        let answer = asked.ask_unchecked("GET", path, &[], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(answer.header("cache-control").contains("immutable"), "{path}");
        assert!(answer.text.len() > 1_000, "{path}");
    }
    let missing = screen(&asked, "/assets/page-0000000000000000.css").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn names_from_outside_are_text() {
    let asked = TestServer::new(settings());
    let about = About {
        repo: HOSTILE.to_owned(),
        job: HOSTILE.to_owned(),
        workflow: HOSTILE.to_owned(),
        branch: HOSTILE.to_owned(),
        url: "javascript:alert(3)".to_owned(),
        ..About::default()
    };
    add_run(&asked.world, 7, about);
    asked.world.state().runs.get_mut(&name(7)).expect("a run").status.runner =
        Some(HOSTILE.to_owned());
    sweep(&asked).await;
    crate::usage::count(&asked, 2, "linux", HOSTILE, HOSTILE, Some(1));
    for path in [
        "/",
        "/runs",
        "/runs/job-7",
        "/runs?text=%3Cscript%3Ealert(1)",
        "/machines",
        "/classes",
        "/usage?by=workflow&month=2026-11",
    ] {
        let text = screen(&asked, path).await.text;
        for part in ["<script>alert", "<img", "javascript:", "\u{202e}"] {
            assert!(!text.contains(part), "{path}: {part}");
        }
    }
    assert!(screen(&asked, "/runs").await.text.contains("&lt;script&gt;alert(1)"));
}

#[tokio::test]
async fn the_overview_shows_what_the_status_says() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 7, About { job: "e2e".to_owned(), ..About::default() });
    sweep(&asked).await;
    let text = screen(&asked, "/").await.text;
    let status = asked.get("/v1/status").await.json();
    assert_eq!(status["open_drift"], 1);
    for part in ["1 open", "run without machine", "href=\"/runs/job-7\"", "e2e", "not converged"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    asked.world.state().down.insert("store");
    let text = screen(&asked, "/").await.text;
    for part in ["StoreFailing", "needs a person", "unknown: the open runs cannot be read"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test]
async fn an_empty_installation_says_so() {
    let asked = TestServer::new(settings());
    let text = screen(&asked, "/").await.text;
    assert!(text.contains("all is well") && text.contains("No job has been seen yet."), "{text}");
    assert!(text.contains("No job has started within the last hour"), "{text}");
    assert!(screen(&asked, "/runs").await.text.contains("There is no run yet."));
    assert!(screen(&asked, "/machines").await.text.contains("No machine."));
}

#[tokio::test]
async fn each_class_has_a_chart_of_what_was_listed() {
    let asked = TestServer::new(settings());
    let before = screen(&asked, "/").await.text;
    assert!(before.contains("last 10 min"), "the listing of this answer is the first: {before}");
    for id in [7, 8, 9] {
        add_run(&asked.world, id, About::default());
    }
    asked.world.state().runs.get_mut(&name(9)).expect("a run").deleted_at = Some(Timestamp::now());
    let text = screen(&asked, "/").await.text;
    let chart = "role=\"img\" aria-label=\"last 10 min: desired up to 2, actual up to 0\"";
    assert!(text.contains(chart), "{text}");
    let status = asked.get("/v1/status").await.json();
    assert_eq!(
        (&status["classes"][0]["desired"], &status["classes"][0]["open"]),
        (&2.into(), &3.into())
    );
    assert!(text.contains("<td class=\"n\">2</td>"), "as the column says: {text}");
    assert_eq!(status["waits"], serde_json::Value::Null, "no job has started");
}

#[tokio::test]
async fn a_page_without_runs_says_why_and_leads_back() {
    let asked = TestServer::new(settings());
    for id in 1..=3 {
        add_run(&asked.world, id, About::default());
    }
    let filtered = screen(&asked, "/runs?class=linux&text=nothing").await;
    assert_eq!(filtered.status, StatusCode::OK);
    assert!(filtered.text.contains("No run matches."), "{}", filtered.text);
    assert!(filtered.text.contains("<a href=\"/runs\">Clear the filter</a>"), "{}", filtered.text);
    let list = asked.get("/v1/runs?limit=1").await.json();
    let cursor = list["next"].as_str().expect("there are more");
    asked.world.state().runs.retain(|run, _| *run == name(3));
    let beyond = screen(&asked, &format!("/runs?class=linux&after={cursor}")).await;
    assert_eq!(beyond.status, StatusCode::OK);
    assert!(beyond.text.contains("There are no older runs."), "{}", beyond.text);
    assert!(
        beyond.text.contains("<a href=\"/runs?class=linux\">Newest runs</a>"),
        "{}",
        beyond.text
    );
    let wrong = screen(&asked, "/runs?after=nonsense%00").await;
    assert!(wrong.status == StatusCode::OK || wrong.status == StatusCode::BAD_REQUEST, "{wrong:?}");
    assert!(wrong.text.contains("<main"), "{}", wrong.text);
}

#[tokio::test]
async fn runs_are_filtered_by_the_address() {
    let asked = TestServer::new(settings());
    for id in 1..=3 {
        let job = format!("build ({id})");
        add_run(&asked.world, id, About { repo: format!("acme/r{id}"), job, ..About::default() });
    }
    asked.world.state().runs.get_mut(&name(2)).expect("a run").status.phase = Phase::Running;
    let shown = async |query: &str| {
        let text = screen(&asked, &format!("/runs{query}")).await.text;
        [1, 2, 3]
            .into_iter()
            .filter(|id| text.contains(&format!("href=\"/runs/job-{id}\"")))
            .collect::<Vec<_>>()
    };
    assert_eq!(shown("").await, [1, 2, 3]);
    assert_eq!(shown("?text=BUILD+(2)").await, [2]);
    assert_eq!(shown("?text=nothing").await, Vec::<i32>::new());
    assert_eq!(shown("?repo=acme/r3").await, [3]);
    assert_eq!(shown("?phase=Running").await, [2]);
    assert_eq!(shown("?phase=waiting&text=r1").await, [1]);
    let text = screen(&asked, "/runs?text=r1&phase=Waiting&class=linux").await.text;
    assert!(
        text.contains("value=\"r1\"") && text.contains("<option value=\"Waiting\" selected"),
        "{text}"
    );
    let bad = screen(&asked, "/runs?phase=nonsense").await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
    assert!(bad.text.contains("`phase` must be"), "{}", bad.text);
}

#[tokio::test]
async fn older_runs_are_behind_a_link() {
    let asked = TestServer::new(settings());
    for id in 1..=450 {
        add_run(&asked.world, id, About::default());
    }
    let first = screen(&asked, "/runs").await.text;
    assert_eq!(first.matches("href=\"/runs/job-").count(), 100);
    assert!(first.len() < 50_000, "{} bytes", first.len());
    let next = first.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next());
    let next = next.expect("a link").replace("&amp;", "&");
    let second = screen(&asked, &next).await.text;
    assert_eq!(second.matches("href=\"/runs/job-").count(), 100);
    assert!(!second.contains("href=\"/runs/job-450\""), "they are older");
}

#[tokio::test]
async fn one_run_tells_its_story_and_the_commands_to_act() {
    let asked = TestServer::new(settings());
    let url = "https://git.example.com/a/b/actions/runs/1/jobs/7";
    add_run(
        &asked.world,
        7,
        About { job: "e2e".to_owned(), url: url.to_owned(), ..About::default() },
    );
    let text = screen(&asked, "/runs/job-7").await.text;
    let why = asked.get("/v1/why?what=job-7").await.json();
    let state =
        why["job"]["state"].as_str().expect("a state").split(" for ").next().unwrap_or_default();
    assert!(text.contains("<svg class=\"bar\" role=\"img\" aria-label=\"now for "), "{text}");
    for step in ["seen", "decided", "launched", "picked", "done", "now"] {
        assert!(text.contains(&format!("<span class=\"step\">{step}</span>")), "{step}: {text}");
    }
    for part in
        [state, url, "tinqs-ci why job-7", "tinqs-ci delete job-7", "a webhook announced the job"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    let missing = screen(&asked, "/runs/job-8").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert!(missing.text.contains("<h1>Not Found</h1>"), "{}", missing.text);
}

#[tokio::test]
async fn a_forge_that_does_not_answer_delays_the_page_of_a_run_for_seconds_only() {
    let asked = TestServer::new(settings());
    add_run(&asked.world, 7, About { job: "e2e".to_owned(), ..About::default() });
    let shown = |text: &str| text.contains("the forge did not answer in time");
    assert!(!shown(&screen(&asked, "/runs/job-7").await.text), "it answers");
    asked.world.state().jobs_hang = true;
    let begun = Instant::now();
    let answer = screen(&asked, "/runs/job-7").await;
    // `why` waits for 8 s.
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    assert!(shown(&answer.text), "{}", answer.text);
    for part in ["e2e", "the job has waited for", "a webhook announced the job"] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_page_needs_what_v1_needs() {
    let asked = TestServer::new(settings());
    let html = ("accept", "text/html");
    for path in ["/", "/runs", "/runs/job-7", "/machines", "/classes", "/usage"] {
        let answer = asked.ask("GET", path, &[html, ("authorization", "")], Body::empty()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert!(answer.header("www-authenticate").starts_with("Bearer "), "{path}: {answer:?}");
        assert!(answer.text.contains("<h1>Sign in</h1>"), "{path}: {}", answer.text);
    }
    let ingest = TestServer::with(settings(), Role::Ingest, true);
    assert_eq!(screen(&ingest, "/runs").await.status, StatusCode::NOT_FOUND);
    let asked = TestServer::new(settings());
    let plain = asked.get("/").await;
    assert!(
        plain.text.starts_with("tinqs-ci: ") && plain.text.lines().count() == 1,
        "{}",
        plain.text
    );
}
