//! Costs: the overview, the machines and the attempts of a run show what `/v1` tells. An unknown
//! price is never 0.

use axum::body::Body;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tinqs_ci::words::money::dollars;
use tinqs_ci_reconciler::model::{
    About, Amount, Answer, ClassName, End, Ended, MachineId, MachineState, MicroUsd, Seconds,
    UsageKey, UsedMachine, begin_of, day_of,
};
use tinqs_ci_reconciler::ports::Compute as _;

use crate::api::attempt;
use crate::asking::{TestServer, settings};
use crate::world::{add_run, name};

/// A server that knows the price of process machines: 5 cents per hour.
fn priced() -> TestServer {
    let mut settings = settings();
    settings.prices.insert("process".to_owned(), MicroUsd(50_000));
    TestServer::new(settings)
}

async fn screen(asked: &TestServer, path: &str) -> String {
    asked.ask("GET", path, &[("accept", "text/html")], Body::empty()).await.text
}

/// Puts a run whose machine has been up for 36 minutes, and lists it. Returns its ID.
async fn with_machine(asked: &TestServer) -> MachineId {
    let run = add_run(&asked.world, 7, About::default());
    let mut attempt = attempt(&run);
    let machine = asked.world.launch(&run.attempt_id(1), 0, &attempt).await.expect("up");
    let at = Timestamp::now() - SignedDuration::from_mins(36);
    attempt.placements[0].answered = Some(Answer { id: machine.id.clone(), at });
    {
        let mut state = asked.world.state();
        state.machines[0].launched_at = at;
        "eu-west-1b".clone_into(&mut state.machines[0].zone);
        state.runs.get_mut(&name(7)).expect("a run").status.attempt = Some(attempt);
    }
    asked.get("/v1/machines").await;
    machine.id
}

/// Counts a dollar amount for today.
fn count(asked: &TestServer, cost: u64) {
    let key = UsageKey {
        day: day_of(Timestamp::now()),
        class: ClassName("linux".to_owned()),
        repo: "acme/web".to_owned(),
        workflow: "test.yml".to_owned(),
    };
    let seconds = Seconds { busy: 3_600, ..Seconds::default() };
    let cost = MicroUsd(cost);
    let amount = Amount { jobs: 1, seconds, cost, unpriced: 0, unknown_end: 0 };
    *asked.world.state().usage.entry(key).or_default() += amount;
}

/// Returns the costs per hour and of today on the overview.
async fn costs(asked: &TestServer) -> [String; 2] {
    let text = screen(asked, "/").await;
    ["cost per hour", "cost today"].map(|title| {
        let begin = format!("<dt>{title}</dt><dd>");
        let rest = text.split(&begin).nth(1).unwrap_or_else(|| panic!("no {title}: {text}"));
        rest.split("</dd>").next().unwrap_or_default().to_owned()
    })
}

async fn spend(asked: &TestServer) -> Value {
    asked.get("/v1/status").await.json()["spend"].clone()
}

/// Another process over the same world, which has listed its machines. What was counted is read
/// again by it: a process keeps that for seconds.
async fn again(asked: &TestServer) -> TestServer {
    let mut settings = settings();
    settings.prices.insert("process".to_owned(), MicroUsd(50_000));
    let other = asked.beside(settings, "replica-2");
    other.get("/v1/machines").await;
    other
}

/// Returns the cost since midnight UTC of the machine that was launched 36 minutes ago.
fn since_midnight() -> u64 {
    let now = Timestamp::now();
    let seconds = now.duration_since(begin_of(day_of(now))).as_secs().min(36 * 60);
    MicroUsd(50_000).for_seconds(u64::try_from(seconds).expect("positive")).0
}

#[tokio::test]
async fn the_overview_shows_the_cost_per_hour_and_that_of_today() {
    let asked = priced();
    assert_eq!(costs(&asked).await, ["–", "–"], "the machines were not listed");
    assert_eq!(spend(&asked).await["per_hour_micro_usd"], Value::Null);
    asked.get("/v1/machines").await;
    assert_eq!(costs(&asked).await, ["$0.00", "$0.00"], "there is no machine");

    with_machine(&asked).await;
    let told = spend(&asked).await;
    assert_eq!(told["per_hour_micro_usd"], 50_000);
    let machine = told["today_micro_usd"].as_u64().expect("a cost");
    assert!(machine.abs_diff(since_midnight()) < 1_000, "{told}");
    assert_eq!(costs(&asked).await, ["$0.05".to_owned(), dollars(MicroUsd(machine))]);
    count(&asked, 3_000_000);
    assert_eq!(spend(&asked).await, told, "what was counted was read seconds ago");
    let asked = again(&asked).await;
    let told = spend(&asked).await;
    let today = told["today_micro_usd"].as_u64().expect("a cost");
    assert!((machine..machine + 1_000).contains(&(today - 3_000_000)), "{told}");
    assert_eq!(costs(&asked).await, ["$0.05".to_owned(), dollars(MicroUsd(today))]);
    assert_eq!(
        (&told["unpriced_machines"], &told["today_may_be_higher"]),
        (&json!(0), &json!(false))
    );
    let text = screen(&asked, "/").await;
    assert!(!text.contains("No price is known"), "{text}");
}

#[tokio::test]
async fn a_cost_of_which_a_part_is_not_known_says_so() {
    let first = priced();
    with_machine(&first).await;
    count(&first, 3_000_000);
    let mut other = first.world.state().machines[0].clone();
    (other.id, other.kind) = (MachineId("i-2".to_owned()), "other".to_owned());
    first.world.state().machines.push(other);
    let asked = again(&first).await;
    let told = spend(&asked).await;
    assert_eq!(told["unpriced_machines"], 1);
    let today = told["today_micro_usd"].as_u64().expect("a cost");
    let expected = ["≥ $0.05".to_owned(), format!("≥ {}", dollars(MicroUsd(today)))];
    assert_eq!(costs(&asked).await, expected);
    let text = screen(&asked, "/").await;
    assert!(text.contains("No price is known of one machine, which no amount contains"), "{text}");

    first.world.state().machines.remove(0);
    assert_eq!(costs(&again(&first).await).await, ["–", "≥ $3.00"]);
    first.world.state().usage.clear();
    let asked = again(&first).await;
    assert_eq!(costs(&asked).await, ["–", "–"], "never 0");
    first.world.state().machines[0].state = MachineState::Gone;
    asked.get("/v1/machines").await;
    assert_eq!(costs(&asked).await, ["$0.00", "–"], "it did cost something today");
}

#[tokio::test]
async fn the_cost_of_today_is_that_of_the_budget_of_the_only_class() {
    let mut settings = settings();
    settings.prices.insert("process".to_owned(), MicroUsd(50_000));
    settings.classes[0].budget = Some(MicroUsd(9_000_000));
    let asked = TestServer::new(settings);
    count(&asked, 3_000_000);
    with_machine(&asked).await;
    let status = asked.get("/v1/status").await.json();
    let today = &status["spend"]["today_micro_usd"];
    assert!(today.as_u64().expect("a cost") >= 3_000_000, "{status}");
    assert_eq!(&status["classes"][0]["budget"]["spent_today_micro_usd"], today);
    let classes = asked.get("/v1/classes").await.json();
    let budget = &classes["items"][0]["budget"]["spent_today_micro_usd"];
    assert!(budget.as_u64() >= today.as_u64(), "a later list: {classes}");
    let calls = asked.world.calls("usage");
    for path in ["/v1/status", "/v1/classes"] {
        asked.get(path).await;
    }
    for path in ["/", "/classes"] {
        screen(&asked, path).await;
    }
    assert_eq!(asked.world.calls("usage"), calls, "read seconds ago");
}

#[tokio::test]
async fn machines_show_their_cost_so_far() {
    let asked = priced();
    with_machine(&asked).await;
    let first = async || asked.get("/v1/machines").await.json()["items"][0].clone();
    let told = first().await;
    assert_eq!(told["hourly_micro_usd"], 50_000);
    let cost = told["cost_micro_usd"].as_u64().expect("a cost");
    assert!((30_000..31_000).contains(&cost), "{told}");
    let text = screen(&asked, "/machines").await;
    assert!(text.contains("<td class=\"n\" title=\"$0.05 per hour\">$0.03</td>"), "{text}");

    let launched_at = asked.world.state().machines[0].launched_at;
    asked.world.state().machines[0].state = MachineState::Gone;
    assert_eq!(first().await["cost_micro_usd"], Value::Null, "nobody knows when it ended");
    let ended_at = launched_at + SignedDuration::from_secs(72);
    asked.world.state().machines[0].ended_at = Some(ended_at);
    assert_eq!(first().await["cost_micro_usd"], 1_000);
    "other".clone_into(&mut asked.world.state().machines[0].kind);
    let told = first().await;
    assert_eq!((&told["hourly_micro_usd"], &told["cost_micro_usd"]), (&Value::Null, &Value::Null));
    let text = screen(&asked, "/machines").await;
    assert!(text.contains("title=\"its price is not known\">–</td>"), "{text}");
}

#[tokio::test]
async fn an_attempt_shows_its_machine_its_price_and_the_command_to_its_console() {
    let asked = priced();
    let id = with_machine(&asked).await;
    let attempt = async || {
        let why = asked.get("/v1/why?what=job-7").await.json();
        why["job"]["attempts"][0].clone()
    };
    let told = attempt().await;
    assert_eq!(
        (&told["kind"], &told["market"], &told["zone"], &told["hourly_micro_usd"], &told["log"]),
        (
            &json!("process"),
            &json!("on-demand"),
            &json!("eu-west-1b"),
            &json!(50_000),
            &Value::Null
        )
    );
    let text = screen(&asked, "/runs/job-7").await;
    let cells = format!(
        "<td>{id}</td><td>process</td><td>on-demand</td><td>eu-west-1b</td>\
         <td class=\"n\">$0.05</td>"
    );
    for part in [cells, format!("<code>tinqs-ci logs {id}</code>")] {
        assert!(text.contains(&part), "{part}: {text}");
    }

    // Hours later: it is over, and on no list.
    let at = Timestamp::now();
    {
        let mut state = asked.world.state();
        state.machines.clear();
        let status = &mut state.runs.get_mut(&name(7)).expect("a run").status;
        let attempt = status.attempt.as_mut().expect("an attempt");
        attempt.ended = Some(Ended { why: End::NeverReady, at });
        attempt.log = Some("disk full\n<b>end</b>".to_owned());
    }
    asked.get("/v1/machines").await;
    let told = attempt().await;
    assert_eq!(
        (&told["kind"], &told["zone"], &told["hourly_micro_usd"]),
        (&json!("process"), &Value::Null, &Value::Null),
        "the price of now is not that of then"
    );
    let text = screen(&asked, "/runs/job-7").await;
    assert!(text.contains("<td>on-demand</td><td>–</td><td class=\"n\">–</td>"), "{text}");
    let lines = "<code>disk full</code><br><code>&lt;b&gt;end&lt;/b&gt;</code>";
    assert!(text.contains("<summary>Its last lines</summary>") && text.contains(lines), "{text}");
    asked.world.state().runs.get_mut(&name(7)).expect("a run").status.usage.machines =
        vec![UsedMachine {
            id,
            attempt: 1,
            launched_at: at,
            ended_at: Some(at),
            ended_within: None,
            ended_by: None,
            price: Some(MicroUsd(20_500)),
            counted: true,
        }];
    assert_eq!(attempt().await["hourly_micro_usd"], 20_500);
    assert!(screen(&asked, "/runs/job-7").await.contains(">$0.0205</td>"));
}
