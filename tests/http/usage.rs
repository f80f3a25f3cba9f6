//! Usage: the same sums in `/v1/usage`, on the page, in the CSV file and in the metrics.

use axum::body::Body;
use axum::http::StatusCode;
use jiff::civil::Date;
use serde_json::json;
use tinqs_ci_reconciler::model::{
    Amount, ClassName, Machine, MachineId, MachineState, Market, MicroUsd, RunName, Seconds, Uid8,
    UsageKey,
};

use crate::asking::{Answer, TestServer, settings};

const HOSTILE: &str = "</td><script>alert(1)</script>\"'\u{202e}";

/// Counts two jobs for a day of November 2026.
pub(crate) fn count(
    asked: &TestServer,
    day: i8,
    class: &str,
    repo: &str,
    workflow: &str,
    cost: Option<u64>,
) {
    let key = UsageKey {
        day: Date::constant(2026, 11, day),
        class: ClassName(class.to_owned()),
        repo: repo.to_owned(),
        workflow: workflow.to_owned(),
    };
    let seconds = Seconds { boot: 21, idle: 3, busy: 3_640, lost: 1 };
    let unpriced = if cost.is_some() { 0 } else { seconds.total() };
    let cost = MicroUsd(cost.unwrap_or(0));
    let amount = Amount { jobs: 2, seconds, cost, unpriced, unknown_end: 0 };
    *asked.world.state().usage.entry(key).or_default() += amount;
}

fn november() -> TestServer {
    let asked = TestServer::new(settings());
    count(&asked, 1, "linux", "acme/web", "test.yml", Some(20_000));
    count(&asked, 30, "linux", "acme/web", HOSTILE, Some(1_230_000));
    count(&asked, 30, "host", "acme/api", "build.yml", None);
    asked
}

async fn screen(asked: &TestServer, path: &str) -> Answer {
    asked.ask("GET", path, &[("accept", "text/html")], Body::empty()).await
}

#[tokio::test]
async fn a_month_is_summed_by_what_is_asked() {
    let asked = november();
    let told = asked.get("/v1/usage?by=class&month=2026-11").await.json();
    assert_eq!((&told["by"], &told["month"]), (&json!("class"), &json!("2026-11")));
    let expected = json!({
        "day": null, "class": "linux", "repo": null, "workflow": null, "jobs": 4,
        "boot_seconds": 42, "idle_seconds": 6, "busy_seconds": 7280, "lost_seconds": 2,
        "total_seconds": 7330, "cost_micro_usd": 1_250_000, "unpriced_seconds": 0,
        "unknown_end_seconds": 0,
    });
    assert_eq!(told["items"][0], expected);
    assert_eq!(told["items"][1]["cost_micro_usd"], json!(null), "unknown is not 0");
    assert_eq!(
        (&told["total"]["jobs"], &told["total"]["unpriced_seconds"]),
        (&json!(6), &json!(3665))
    );
    let other = asked.get("/v1/usage?month=2026-10").await.json();
    assert_eq!((&other["by"], &other["items"]), (&json!("repo"), &json!([])));
    let current = asked.get("/v1/usage").await.json();
    let month = jiff::Timestamp::now().strftime("%Y-%m").to_string();
    assert_eq!(current["month"], json!(month));
}

#[tokio::test]
async fn a_wrong_query_says_what_is_expected() {
    let asked = november();
    for (query, expected) in [
        ("by=branch", "`by` is `repo`, `class`, `workflow` or `day`"),
        ("month=november", "`month`: expected a month such as 2026-11"),
        ("month=2026-13", "`month`: expected a month such as 2026-11"),
        ("days=3", "known parameters are `by` and `month`"),
    ] {
        let answer = asked.get(&format!("/v1/usage?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.text.contains(expected), "{query}: {}", answer.text);
        let page = screen(&asked, &format!("/usage?{query}")).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(page.text.starts_with("<!DOCTYPE html>"), "{query}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_an_error_and_not_an_empty_month() {
    let asked = november();
    asked.world.state().down.insert("store");
    let answer = asked.get("/v1/usage?month=2026-11").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert!(!screen(&asked, "/usage?month=2026-11").await.status.is_success());
}

#[tokio::test]
async fn the_page_shows_the_same_with_a_file() {
    let asked = november();
    let page = screen(&asked, "/usage?by=workflow&month=2026-11").await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.text.contains("<script>alert"), "{}", page.text);
    for shown in [
        "test.yml",
        "≥ $1.25",
        ">$1.23<",
        ">–<",
        "1h01m",
        "href=\"/usage?by=day&amp;month=2026-10\"",
    ] {
        let shown = shown.replace("by=day&amp;month=2026-10", "by=workflow&amp;month=2026-10");
        assert!(page.text.contains(&shown), "{shown}: {}", page.text);
    }
    let file = "/usage.csv?by=workflow&month=2026-11";
    assert!(page.text.contains(&file.replace('&', "&amp;")), "{}", page.text);
    let csv = screen(&asked, file).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let name = "attachment; filename=\"tinqs-ci-usage-2026-11-by-workflow.csv\"";
    assert_eq!(csv.header("content-disposition"), name);
    assert!(csv.text.starts_with("repo,workflow,jobs,boot_seconds,"), "{}", csv.text);
    assert!(csv.text.contains("acme/api,build.yml,2,21,3,3640,1,3665,,3665,0\r\n"), "{}", csv.text);
    let empty = screen(&asked, "/usage?month=2026-01").await;
    assert!(empty.text.contains("No machine has ended in this month, and no job."));
}

#[tokio::test]
async fn names_from_anywhere_stay_short_text() {
    let asked = TestServer::new(settings());
    let (ansi, endless) = ("\u{1b}[31mred\u{1b}[0m\u{7}", "x".repeat(10_000));
    for name in [ansi, HOSTILE, endless.as_str()] {
        count(&asked, 2, "linux", name, name, Some(1));
    }
    for by in ["day", "class", "repo", "workflow"] {
        let page = screen(&asked, &format!("/usage?by={by}&month=2026-11")).await.text;
        assert!(page.len() < 20_000, "{by}: {} bytes", page.len());
        for part in ["<script>alert", "\u{202e}", "\u{1b}", "\u{7}"] {
            assert!(!page.contains(part), "{by}: {part:?}");
        }
        // The keyboard reaches it, to scroll.
        let table = "<div class=\"table\" role=\"region\" aria-label=\"Usage by ";
        assert!(page.contains(table) && page.contains("tabindex=\"0\""), "{by}: {page}");
    }
}

#[tokio::test]
async fn usage_needs_a_token() {
    let asked = november();
    for path in ["/v1/usage", "/usage", "/usage.csv"] {
        let headers = [("accept", "text/html"), ("authorization", "")];
        let answer = asked.ask("GET", path, &headers, Body::empty()).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

#[tokio::test]
async fn the_cost_per_hour_is_missing_while_a_price_is_unknown() {
    let mut settings = settings();
    settings.prices.insert("small".to_owned(), MicroUsd(51_300));
    let asked = TestServer::new(settings);
    let machine = |id: &str, kind: &str| Machine {
        id: MachineId(id.to_owned()),
        attempt_id: tinqs_ci_reconciler::model::AttemptId {
            run: RunName::job(7),
            uid: Uid8("0a1b2c3d".to_owned()),
            number: 1,
        },
        placement: 0,
        state: MachineState::Up,
        launched_at: jiff::Timestamp::now(),
        deadline: jiff::Timestamp::now(),
        registration: 1,
        repo_id: 1,
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class: ClassName("linux".to_owned()),
        kind: kind.to_owned(),
        zone: String::new(),
        market: Market::OnDemand,
        promise: None,
    };
    let hourly = async || {
        // The listing that a scrape reads.
        asked.get("/v1/machines").await;
        let text = asked.get("/metrics").await.text;
        let series = "tinqs_ci_hourly_cost_usd{class=\"linux\",market=\"on_demand\"} ";
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.map(str::to_owned)
    };
    assert_eq!(hourly().await.as_deref(), Some("0"), "no machine");
    asked.world.state().machines = vec![machine("i-1", "small"), machine("i-2", "small")];
    assert_eq!(hourly().await.as_deref(), Some("0.1026"));
    asked.world.state().machines.push(machine("i-3", "other"));
    assert_eq!(hourly().await, None, "never 0");
    asked.world.state().machines.pop();
    asked.world.state().machines[1].state = MachineState::Gone;
    assert_eq!(hourly().await.as_deref(), Some("0.0513"));
}
