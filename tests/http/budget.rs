//! Budgets: what is spent of them, as `/v1`, the page and the metrics show it, and what `why` says of
//! a job that waits for one.

use axum::body::Body;
use jiff::Timestamp;
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{
    About, Amount, ClassName, Condition, MachineSpec, MicroUsd, Reason, UsageKey, day_of,
};

use crate::asking::{TestServer, settings};
use crate::world::add_run;

/// A dollar.
const DOLLAR: u64 = 1_000_000;

/// A server whose class has a budget of two dollars, of which this much was counted today.
fn server(counted: u64) -> TestServer {
    let mut settings = settings();
    settings.classes[0].budget = Some(MicroUsd(2 * DOLLAR));
    for spec in &settings.classes[0].machines {
        settings.prices.insert(spec.kind.clone(), MicroUsd(DOLLAR));
    }
    let asked = TestServer::new(settings);
    let key = UsageKey {
        day: day_of(Timestamp::now()),
        class: ClassName("linux".to_owned()),
        repo: "acme/web".to_owned(),
        workflow: String::new(),
    };
    let amount = Amount { cost: MicroUsd(counted), ..Amount::default() };
    asked.world.state().usage.insert(key, amount);
    asked
}

async fn budget_of(asked: &TestServer, path: &str, list: &str) -> Value {
    asked.get(path).await.json()[list][0]["budget"].clone()
}

async fn series(asked: &TestServer, name: &str) -> Option<String> {
    let text = asked.get("/metrics").await.text;
    let start = format!("{name}{{class=\"linux\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
}

#[tokio::test]
async fn what_was_spent_is_unknown_until_it_was_read_and_the_same_everywhere() {
    let asked = server(DOLLAR / 2);
    let unknown = json!({ "per_day_micro_usd": 2 * DOLLAR, "spent_today_micro_usd": null });
    assert_eq!(budget_of(&asked, "/v1/status", "classes").await, unknown);
    assert_eq!(series(&asked, "tinqs_ci_daily_budget_usd").await.as_deref(), Some("2"));
    assert_eq!(series(&asked, "tinqs_ci_daily_spend_usd").await, None, "never 0");
    asked.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    let known = json!({ "per_day_micro_usd": 2 * DOLLAR, "spent_today_micro_usd": DOLLAR / 2 });
    assert_eq!(budget_of(&asked, "/v1/status", "classes").await, known);
    assert_eq!(budget_of(&asked, "/v1/classes", "items").await, known);
    assert_eq!(series(&asked, "tinqs_ci_daily_spend_usd").await.as_deref(), Some("0.5"));
    for path in ["/", "/classes"] {
        let page = asked.ask("GET", path, &[("accept", "text/html")], Body::empty()).await;
        assert!(page.text.contains("$0.50 of $2.00"), "{path}: {}", page.text);
    }
}

#[tokio::test]
async fn a_class_without_a_budget_shows_none() {
    let asked = TestServer::new(settings());
    asked.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    assert_eq!(budget_of(&asked, "/v1/status", "classes").await, Value::Null);
    assert_eq!(series(&asked, "tinqs_ci_daily_budget_usd").await.as_deref(), Some("0"));
    assert_eq!(series(&asked, "tinqs_ci_daily_spend_usd").await, None);
    let page = asked.ask("GET", "/", &[("accept", "text/html")], Body::empty()).await;
    assert!(!page.text.contains("budget of today"), "{}", page.text);
}

#[tokio::test]
async fn machines_that_are_left_out_for_their_price_are_named() {
    let mut settings = settings();
    let class = &mut settings.classes[0];
    class.budget = Some(MicroUsd(2 * DOLLAR));
    let rare = MachineSpec { kind: "rare".to_owned(), ..class.machines[0].clone() };
    settings.prices.insert(class.machines[0].kind.clone(), MicroUsd(DOLLAR));
    class.machines.push(rare);
    let asked = TestServer::new(settings);
    let told = async || {
        let status = asked.get("/v1/status").await.json();
        let attention = status["attention"].as_array().expect("a list").clone();
        attention.into_iter().find(|one| one["reason"] == "PriceUnknown")
    };
    assert_eq!(told().await, None, "the prices were not read");
    asked.ask("POST", "/v1/sweep", &[], Body::empty()).await;
    let attention = told().await.expect("told");
    let message = "the price of rare (on-demand) is not known: because of its budget the class \
                   launches no such machine";
    assert_eq!(
        (&attention["subject"], &attention["message"], &attention["needs_person"]),
        (&json!("class linux"), &json!(message), &json!(false))
    );
    let classes = asked.get("/v1/classes").await.json();
    let unavailable = classes["items"][0]["unavailable"].as_array().expect("a list").clone();
    let left_out: Vec<_> = unavailable.iter().map(|one| (&one["kind"], &one["why"])).collect();
    assert_eq!(left_out, [(&json!("rare"), &json!("unpriced"))]);
    let page = asked.ask("GET", "/classes", &[("accept", "text/html")], Body::empty()).await;
    let why = "its price is not known, and the class has a budget";
    assert!(page.text.contains(why), "{}", page.text);
}

#[tokio::test]
async fn why_names_the_budget_and_what_to_do() {
    let asked = server(2 * DOLLAR);
    let run = add_run(&asked.world, 1, About::default());
    let plan = asked.get("/v1/runs/job-1/plan").await.json();
    assert_eq!(plan["rule"], json!("on hold (rule 15)"), "{plan}");
    let since = run.created_at;
    let message = "class linux has spent its budget of $2/day".to_owned();
    let condition = Condition { reason: Reason::Budget, since, message };
    asked.world.state().runs.get_mut(&run.name).expect("a run").status.conditions = vec![condition];
    let job = asked.get("/v1/why?what=job-1").await.json()["job"].clone();
    assert_eq!(job["reason"], json!("Budget"), "{job}");
    let text = |key: &str| job[key].as_str().expect("words").to_owned();
    assert!(text("state").contains("class linux has spent its budget of $2/day"), "{job}");
    assert!(text("waits_for").contains("its class to have budget left"), "{job}");
    assert!(text("fix").contains("raise `budget` of the class"), "{job}");
    let status = asked.get("/v1/status").await.json();
    let attention = status["attention"].as_array().expect("a list");
    let told = attention.iter().find(|one| one["reason"] == "Budget").expect("told");
    assert_eq!(told["subject"], json!("class linux: job-1"), "{told}");
}
