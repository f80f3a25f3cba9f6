//! Permissions, lists and single rows of the API.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tinqs_ci_simulator::forge::{JobSpec, Line};

use super::{REPO, RPC, Site};

#[tokio::test]
async fn a_tokens_permissions_decide_the_response() {
    let site = Site::new(Line::V1_25);
    site.push(&[JobSpec::new("a", &["linux"])]);
    let jobs = "/actions/jobs?status=queued";
    let repo = format!("/repos/{REPO}");
    for (token, path, expected) in [
        ("nobody", "/version".to_owned(), 200),
        ("nobody", format!("/admin{jobs}"), 401),
        ("owner", format!("/admin{jobs}"), 403),
        ("owner", format!("/orgs/acme{jobs}"), 200),
        ("owner", "/orgs/acme".to_owned(), 200),
        ("owner", "/user".to_owned(), 200),
        ("nobody", "/user".to_owned(), 401),
        ("api-token", "/orgs/acm".to_owned(), 404),
        ("api-token", format!("/orgs/acm{jobs}"), 404),
        ("owner", format!("{repo}/actions/runners"), 200),
        ("reader", format!("{repo}{jobs}"), 403),
        ("reader", repo.clone(), 200),
        ("reader", format!("{repo}/actions/runners"), 403),
        ("api-token", format!("/admin{jobs}"), 200),
        ("api-token", "/admin/actions/jobs?status=nonsense".to_owned(), 400),
        ("api-token", "/repos/acme/none".to_owned(), 404),
        ("api-token", "/repositories/1".to_owned(), 200),
        ("api-token", "/repositories/2".to_owned(), 404),
        ("api-token", format!("{repo}/actions/jobs/1"), 200),
        ("api-token", format!("{repo}/actions/jobs/2"), 404),
        ("api-token", format!("{repo}/actions/runners/registration-token"), 200),
        ("api-token", "/nonsense".to_owned(), 404),
    ] {
        assert_eq!(site.get_as(token, &path).await.0, expected, "{token} {path}");
    }
    site.wire.forge().config.line = Line::V1_26;
    assert_eq!(site.get_as("reader", &format!("{repo}{jobs}")).await.0, 200);
    let (status, _) = site.get(&format!("{repo}/actions/runners/registration-token")).await;
    assert_eq!(status, 404, "the GET is gone in 1.26");
    assert_eq!(site.get("/version").await.1, json!({"version": "1.26.4"}));
    site.wire.forge().config.lists = false;
    assert_eq!(site.get(&format!("/admin{jobs}")).await.0, 404);
    assert_eq!(site.wire.counters().calls["GET /admin/actions/jobs"], 5);
}

fn ids(answer: &Value) -> Vec<i64> {
    let jobs = answer["jobs"].as_array().expect("a list");
    jobs.iter().map(|j| j["id"].as_i64().expect("an id")).collect()
}

#[tokio::test]
async fn lists_are_ordered_only_since_1_27() {
    let jobs: Vec<JobSpec> = (0..120).map(|n| JobSpec::new(format!("j{n}"), &["x"])).collect();
    for line in [Line::V1_26, Line::V1_27] {
        let site = Site::new(line);
        site.push(&jobs);
        let mut seen = Vec::new();
        for page in 1..=3 {
            let path = format!("/admin/actions/jobs?status=queued&limit=1000&page={page}");
            let (_, answer) = site.get(&path).await;
            assert_eq!(answer["total_count"], 120);
            seen.push(ids(&answer));
        }
        let all: Vec<i64> = seen.concat();
        let distinct: BTreeSet<i64> = all.iter().copied().collect();
        assert_eq!((seen[0].len(), seen[1].len(), distinct.len()), (50, 50, 120));
        if line == Line::V1_27 {
            assert_eq!(all, (1..=120).collect::<Vec<_>>());
        } else {
            assert!(!all.is_sorted() && all.len() > 120, "no order, some twice");
        }
        let url = format!("{}/api/v1/user/actions/jobs", site.wire.url());
        let request = site.http.get(url).header("Authorization", "token api-token");
        let (_, none) = site.get("/user/actions/jobs").await;
        assert_eq!(none["total_count"], 0, "jobs of other owners are hidden");
        let headers = request.send().await.unwrap().headers().clone();
        assert_eq!(headers.contains_key("x-total-count"), line == Line::V1_27);
    }
}

#[tokio::test]
async fn links_cover_all_pages() {
    let site = Site::new(Line::V1_27);
    let jobs: Vec<JobSpec> = (0..70).map(|n| JobSpec::new(format!("j{n}"), &["x"])).collect();
    site.push(&jobs);
    let mut url = format!("{}/api/v1/orgs/acme/actions/jobs?status=queued", site.wire.url());
    let mut seen = Vec::new();
    for _ in 0..10 {
        let request = site.http.get(&url).header("Authorization", "token api-token");
        let response = request.send().await.unwrap();
        let link = response.headers().get("link").map(|v| v.to_str().unwrap().to_owned());
        seen.extend(ids(&response.json().await.unwrap()));
        let link = link.unwrap_or_default();
        let Some(next) = link.split(',').find(|l| l.contains("rel=\"next\"")) else { break };
        url = next.split(['<', '>']).nth(1).unwrap().to_owned();
    }
    assert_eq!(seen, (1..=70).collect::<Vec<_>>());
}

#[tokio::test]
async fn runners_are_registered_listed_and_deleted() {
    let site = Site::new(Line::V1_26);
    site.wire.forge().add_repo(REPO);
    let (a, b) = (site.register(&["linux"]).await, site.register(&["linux"]).await);
    assert_eq!((&a["id"], &b["id"]), (&json!("1"), &json!("2")), "not idempotent; int64 is text");
    let (_, list) = site.get("/admin/actions/runners").await;
    assert_eq!(list["total_count"], 2);
    assert_eq!(list["runners"][0]["status"], "offline");
    assert_eq!(list["runners"][0]["labels"][0]["name"], "linux");
    let token = a["token"].as_str().unwrap();
    assert!(!list.to_string().contains(token), "no credentials in lists");
    let repo = format!("/repos/{REPO}/actions/runners");
    assert_eq!(
        site.get(&repo).await.1["total_count"],
        0,
        "the repository's list omits global rows"
    );
    assert_eq!(site.get(&format!("{repo}/1")).await.0, 404);
    let delete = |id: i64| {
        let url = format!("{}/api/v1/admin/actions/runners/{id}", site.wire.url());
        let request = site.http.delete(url).header("Authorization", "token api-token");
        async move { request.send().await.unwrap().status().as_u16() }
    };
    assert_eq!((delete(1).await, delete(1).await), (204, 404));
    assert_eq!(site.get("/admin/actions/runners/1").await.0, 404);
    assert_eq!(site.get("/admin/actions/runners/2").await.1["name"], "tq-vm");
    // A repository's own token creates a row in its scope.
    let path = format!("/api/v1{repo}/registration-token");
    let (_, own) = site.post(&path, &json!({})).await;
    let body = json!({"name": "own", "token": own["token"], "labels": [], "ephemeral": true});
    assert_eq!(site.post(&format!("{RPC}/Register"), &body).await.0, 200);
    assert_eq!(site.get(&repo).await.1["runners"][0]["name"], "own");
}

#[tokio::test]
async fn the_runner_protocol_returns_connect_errors() {
    let site = Site::new(Line::V1_26);
    let call = |method: &str, body: Value| {
        let path = format!("{RPC}/{method}");
        let site = &site;
        async move { site.post(&path, &body).await }
    };
    let unregistered = json!({"code": "unauthenticated", "message": "unregistered runner"});
    for method in ["Declare", "FetchTask", "UpdateTask", "UpdateLog"] {
        assert_eq!(call(method, json!({})).await, (401, unregistered.clone()), "{method}");
    }
    let (status, error) = call("Register", json!({"name": "x", "token": "wrong"})).await;
    assert_eq!((status, &error["code"]), (500, &json!("unknown")));
    assert_eq!(call("Ping", json!({"data": "me"})).await.1, json!({"data": "Hello, me!"}));
    assert_eq!(call("Nonsense", json!({})).await.0, 404);
}
