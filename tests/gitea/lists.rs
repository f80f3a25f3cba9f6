//! The list of waiting jobs: unordered pages, duplicates, gaps and broken entries.

use serde_json::{Value, json};
use tinqs_ci_gitea::Scope;
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _, WaitingJob};

use crate::script::{RecordedRequest, Script, not_found};

fn job(id: usize) -> Value {
    let repo = if id.is_multiple_of(2) { "acme/even" } else { "acme/odd" };
    json!({
        "id": id, "status": "queued", "name": format!("job {id}"), "labels": ["linux"],
        "url": format!("https://elsewhere.example/api/v1/repos/{repo}/actions/jobs/{id}"),
        "run_id": 9, "head_branch": "main", "head_sha": "abc", "html_url": "https://x/y",
    })
}

fn page(asked: &RecordedRequest, all: &[usize], total: usize) -> (u16, Value) {
    let (page, limit) = (asked.number("page"), asked.number("limit"));
    let rows = all.iter().skip((page - 1) * limit).take(limit);
    (200, json!({ "jobs": rows.map(|id| job(*id)).collect::<Vec<_>>(), "total_count": total }))
}

fn repository(asked: &RecordedRequest) -> (u16, Value) {
    match asked.path.as_str() {
        "/api/v1/repos/acme/even" => (200, json!({ "id": 2, "full_name": "acme/even" })),
        "/api/v1/repos/acme/odd" => (200, json!({ "id": 1, "full_name": "acme/odd" })),
        _ => not_found(),
    }
}

fn ids(jobs: &[WaitingJob]) -> Vec<i64> {
    jobs.iter().map(|job| job.job.job_id).collect()
}

async fn waiting(script: &Script) -> Vec<WaitingJob> {
    script.client().waiting().await.expect("answers").expect("jobs mode")
}

#[tokio::test]
async fn unordered_pages_are_read_until_every_job_was_seen() {
    // 120 jobs on three pages in random order, of which 10 of the first page appear twice: ten
    // others then appear only after the last page.
    let mut all: Vec<usize> = (1..=120).map(|n| n * 50 % 121).collect();
    all.splice(50..50, all[..10].to_vec());
    let rows = all.clone();
    let script = Script::new(move |asked: &RecordedRequest| {
        if asked.path.contains("/admin/actions/jobs?") {
            return page(asked, &rows, 120);
        }
        repository(asked)
    })
    .await;
    let jobs = waiting(&script).await;
    assert_eq!(ids(&jobs), (1..=120).collect::<Vec<_>>());
    let even = &jobs[1];
    assert_eq!((even.job.repo.as_str(), even.job.repo_id), ("acme/even", 2));
    assert_eq!(even.runs_on, ["linux"]);
    assert_eq!((even.about.job.as_str(), even.about.run_id), ("job 2", 9));
    let paths = script.take_paths();
    let count = |part: &str| paths.iter().filter(|path| path.contains(part)).count();
    assert_eq!(count("status=queued&limit=50"), 3, "{paths:?}");
    assert_eq!(
        (count("/repos/acme/even"), count("/repos/acme/odd")),
        (1, 1),
        "each repository is read once"
    );
}

#[tokio::test]
async fn an_empty_page_ends_a_list_with_hidden_jobs() {
    let script = Script::new(|asked: &RecordedRequest| {
        if asked.path.contains("/jobs?") { page(asked, &[3, 1, 3], 9) } else { repository(asked) }
    })
    .await;
    assert_eq!(ids(&waiting(&script).await), [1, 3]);
    let pages = script.take_paths().into_iter().filter(|path| path.contains("/jobs?")).count();
    assert_eq!(pages, 2);
}

#[tokio::test]
async fn a_server_that_ignores_page_numbers_does_not_block() {
    let script = Script::new(|asked: &RecordedRequest| {
        let jobs = json!({ "jobs": [job(1)], "total_count": 1000 });
        if asked.path.contains("/jobs?") { (200, jobs) } else { repository(asked) }
    })
    .await;
    assert_eq!(ids(&waiting(&script).await), [1]);
    assert!(script.asked().len() < 10);
}

#[tokio::test]
async fn a_job_that_the_forge_cannot_show_hides_no_other() {
    let script = Script::new(|asked: &RecordedRequest| {
        if !asked.path.contains("/jobs?") {
            return repository(asked);
        }
        let all: Vec<usize> = (1..=60).collect();
        let (number, limit) = (asked.number("page"), asked.number("limit"));
        let broken = ((number - 1) * limit..number * limit).contains(&16);
        if broken { (500, json!({ "message": "job without run" })) } else { page(asked, &all, 60) }
    })
    .await;
    let expected: Vec<i64> = (1..=60).filter(|id| *id != 17).collect();
    assert_eq!(ids(&waiting(&script).await), expected);
}

#[tokio::test]
async fn a_forge_that_fails_every_page_is_unavailable_after_few_calls_only() {
    let script =
        Script::new(|_: &RecordedRequest| (500, json!({ "message": "database is locked" }))).await;
    let error = script.client().waiting().await.expect_err("an outage");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains("database is locked"), "{error}");
    assert!(script.asked().len() <= 6, "{}", script.asked().len());
}

#[tokio::test]
async fn only_a_job_without_a_name_is_left_out() {
    let script = Script::new(|asked: &RecordedRequest| {
        if !asked.path.contains("/jobs?") {
            return repository(asked);
        }
        let mut odd = [job(1), job(2), job(3), job(4), job(5)];
        odd[1]["url"] = json!("");
        odd[2]["url"] = json!("https://x/api/v1/repos/acme/gone/actions/jobs/3");
        odd[3]["status"] = json!("in_progress");
        odd[4]["labels"] = Value::Null;
        (200, json!({ "jobs": odd, "total_count": 5 }))
    })
    .await;
    let jobs = waiting(&script).await;
    assert_eq!(ids(&jobs), [1, 5]);
    assert!(jobs[1].runs_on.is_empty());
}

#[tokio::test]
async fn each_scope_reads_its_own_list() {
    let cases = [
        (Scope::All, "/api/v1/admin/actions/jobs"),
        (Scope::Org("a b".into()), "/api/v1/orgs/a%20b/actions/jobs"),
        (Scope::User, "/api/v1/user/actions/jobs"),
        (Scope::Repo("acme".into(), "x/../y".into()), "/api/v1/repos/acme/x%2F..%2Fy/actions/jobs"),
    ];
    for (scope, path) in cases {
        let empty = |_: &RecordedRequest| (200, json!({ "jobs": null, "total_count": 0 }));
        let script = Script::new(empty).await;
        let jobs = script.client_of(scope).waiting().await.expect("answers");
        assert_eq!(jobs, Some(Vec::new()));
        assert_eq!(script.take_paths(), [format!("GET {path}?status=queued&limit=50&page=1")]);
    }
}

#[tokio::test]
async fn a_repository_beyond_the_token_is_served_without_its_id() {
    let script = Script::new(|asked: &RecordedRequest| {
        if asked.path.contains("/jobs?") {
            page(asked, &[1], 1)
        } else {
            (403, json!({ "message": "token does not have at least one of required scope(s)" }))
        }
    })
    .await;
    let jobs = waiting(&script).await;
    assert_eq!((jobs[0].job.repo.as_str(), jobs[0].job.repo_id), ("acme/odd", 0));
}
