//! `usage`: its forms, and that an unknown cost is never 0.

use expect_test::expect;
use serde_json::{Value, json};

use crate::scripted::{Answer, Server};
use crate::{CommandOutput, command, said};

fn ask(server: &Server, args: &[&str]) -> CommandOutput {
    let env = [("TINQS_CI_URL", server.url.as_str())];
    said(command(args, &env).output().expect("it runs"))
}

fn row(repo: Option<&str>, workflow: Option<&str>, busy: u64, cost: Option<u64>) -> Value {
    json!({
        "day": null, "class": null, "repo": repo, "workflow": workflow, "jobs": 2,
        "boot_seconds": 21, "idle_seconds": 0, "busy_seconds": busy, "lost_seconds": 1,
        "total_seconds": busy + 22, "cost_micro_usd": cost,
        "unpriced_seconds": if cost.is_some() { 0 } else { busy + 22 },
        "unknown_end_seconds": 0,
    })
}

fn server(line: &'static str, by: &'static str, items: Value) -> Server {
    Server::new(move |asked, _| {
        assert_eq!(asked.line, line);
        let total = row(None, None, 4_000, Some(1_250_000));
        let answer = json!({
            "now": "2026-11-30T12:00:00Z", "month": "2026-11", "by": by, "items": items,
            "total": total,
        });
        Answer(200, None, answer)
    })
}

#[test]
fn usage_is_a_table_with_its_sum() {
    let items = json!([
        row(Some("acme/web"), None, 3_600, Some(1_250_000)),
        row(Some("acme/\u{1b}[2J"), None, 40, None),
    ]);
    let server = server("GET /v1/usage?by=repo&month=2026-11", "repo", items.clone());
    let told = ask(&server, &["usage", "--month", "2026-11"]);
    assert_eq!((told.code, told.err.as_str()), (0, ""));
    expect![[r#"
        REPOSITORY      JOBS  MACHINES   BOOT  IDLE  BUSY       LOST  COST
        acme/web        2     1 h 0 min  21 s  0 s   1 h 0 min  1 s   $1.25
        acme/\u{1b}[2J  2     1 min 2 s  21 s  0 s   40 s       1 s   –
        total           2     1 h 7 min  21 s  0 s   1 h 6 min  1 s   $1.25
    "#]]
    .assert_eq(&told.out);
    let json = ask(&server, &["usage", "--month", "2026-11", "-o", "json"]).out;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["items"], items);
    let yaml = ask(&server, &["usage", "--month=2026-11", "-o", "yaml"]).out;
    assert!(yaml.contains("cost_micro_usd: null\n") && !yaml.contains('\u{1b}'), "{yaml}");
}

#[test]
fn usage_is_csv_for_other_programs() {
    let items = json!([
        row(Some("acme/web"), Some("a, b"), 3_600, Some(1_250_000)),
        row(Some("acme/web"), Some(""), 40, None)
    ]);
    let server = server("GET /v1/usage?by=workflow", "workflow", items);
    let told = ask(&server, &["usage", "--by", "workflow", "-o", "csv"]);
    expect![[r#"
        repo,workflow,jobs,boot_seconds,idle_seconds,busy_seconds,lost_seconds,total_seconds,cost_usd,unpriced_seconds,unknown_end_seconds
        acme/web,"a, b",2,21,0,3600,1,3622,1.25,0,0
        acme/web,,2,21,0,40,1,62,,62,0
    "#]]
    .assert_eq(&told.out.replace("\r\n", "\n"));
}

#[test]
fn what_nobody_saw_end_is_said_apart() {
    let server = Server::new(move |_, _| {
        let mut total = row(None, None, 3_600, Some(1_250_000));
        total["unknown_end_seconds"] = json!(5_400);
        let mut item = row(Some("acme/web"), None, 3_600, Some(1_250_000));
        item["unknown_end_seconds"] = json!(5_400);
        let answer = json!({
            "now": "2026-11-30T12:00:00Z", "month": "2026-11", "by": "repo", "items": [item],
            "total": total,
        });
        Answer(200, None, answer)
    });
    expect![[r"
        REPOSITORY  JOBS  MACHINES   BOOT  IDLE  BUSY       LOST  COST
        acme/web    2     1 h 0 min  21 s  0 s   1 h 0 min  1 s   ≥ $1.25
        total       2     1 h 0 min  21 s  0 s   1 h 0 min  1 s   ≥ $1.25
        nobody saw when some machines ended: at most 1 h 30 min more
    "]]
    .assert_eq(&ask(&server, &["usage"]).out);
}

#[test]
fn a_month_without_usage_says_so() {
    let server = server("GET /v1/usage?by=day", "day", json!([]));
    let told = ask(&server, &["usage", "--by", "day"]);
    assert_eq!((told.code, told.out.as_str()), (0, "no machine ended in 2026-11, and no job\n"));
}

#[test]
fn a_wrong_month_is_refused_before_a_call() {
    let env = [("TINQS_CI_URL", "http://127.0.0.1:1")];
    let told = said(command(&["usage", "--month", "2026-13"], &env).output().expect("it runs"));
    assert_eq!(told.code, 2);
    assert!(told.err.contains("expected a month such as 2026-11"), "{}", told.err);
}
