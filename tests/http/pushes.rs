//! Push mode over a simulated forge: stored deliveries, and the explanation of a push.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tinqs_ci::push::Pushes;
use tinqs_ci::server::http::Deadlines;
use tinqs_ci::server::{Parts, Role};
use tinqs_ci_gitea::Demand;
use tinqs_ci_gitea::client::Client;
use tinqs_ci_gitea::demand::DemandConfig;
use tinqs_ci_gitea::demand::by_mode::DemandSource;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::ports::InboxItem;
use tinqs_ci_simulator::forge::{Config, Forge, Line, Push};
use tinqs_ci_simulator::gitea_wire::{Wire, WireOptions};

use crate::asking::{TestServer, settings};
use crate::world::world;

const REPO: &str = "acme/widget";
const MAIN: &str = "refs/heads/main";
const CI: &str = ".gitea/workflows/ci.yml";

/// A server in push mode, and its forge.
struct PushMode {
    server: TestServer,
    wire: Wire,
    pushes: Arc<Pushes>,
}

impl PushMode {
    fn new(line: Line) -> Self {
        let mut forge = Forge::new(Config { line, ..Config::default() });
        forge.add_repo(REPO);
        let (forge, options) = (Arc::new(Mutex::new(forge)), WireOptions::default());
        let wire = Wire::start(forge, Arc::new(Timestamp::now), options).expect("a forge");
        let mut settings = settings();
        settings.forge.url = wire.url();
        settings.forge.token = Some(Secret::new("api-token"));
        settings.forge.demand = Demand::Push;
        let world = world();
        let client = Client::new(&settings.forge, world.clone()).expect("a client");
        let config = DemandConfig::of(&settings.forge);
        let demand = Arc::new(DemandSource::new(Arc::new(client), config));
        demand.assume();
        let parts = Parts::over(settings, world.ports(), "replica-1");
        let pushes = Arc::new(Pushes::new(demand, world.clone(), parts.controller.clone()));
        let parts = Parts { pushes: Some(pushes.clone()), ..parts };
        let server = TestServer::of(world, &parts, Role::All, true, Deadlines::default());
        Self { server, wire, pushes }
    }

    /// Pushes a workflow file. Returns the commit and the payload of the webhook.
    fn push(&self, file: &str) -> (String, Value) {
        let mut forge = self.wire.forge();
        forge.take_webhooks();
        let changes = [(CI, Some(file))];
        let push = Push { git_ref: MAIN, changes: &changes, message: "begin", runs: &[] };
        let (sha, _) = forge.push_commit(Timestamp::now(), REPO, &push);
        let told = forge.take_webhooks().into_iter().find(|hook| hook.event_type == "push");
        (sha, told.expect("a push").payload)
    }

    /// Stores a delivery as another version wrote it. Returns its key.
    fn store(&self, received_at: Timestamp, body: &Value) -> String {
        let item = InboxItem::new(received_at, "digest", body.to_string().into_bytes());
        self.server.world.state().inbox.insert(item.key.clone(), item.clone());
        item.key
    }

    fn is_stored(&self, key: &str) -> bool {
        self.server.world.state().inbox.contains_key(key)
    }
}

#[tokio::test]
async fn a_push_stored_by_an_earlier_version_is_evaluated() {
    let mode = PushMode::new(Line::V1_27);
    let (sha, payload) =
        mode.push("on: push\njobs: {build: {runs-on: linux, steps: [{run: 'true'}]}}\n");
    let stored = json!({
        "received_at": Timestamp::now(),
        "occasion": {
            "event": "push",
            "repo": REPO,
            "repo_id": payload["repository"]["id"],
            "default_branch": "main",
            "git_ref": MAIN,
            "commit": sha,
            "before": null,
            "base": null,
            "fork": false,
            "sender": "alice",
            "message": "begin",
            "distinct": ["2026-11-01T10:00:00Z"],
            "payload": payload,
        },
    });
    let key = mode.store(Timestamp::now(), &stored);
    let pass = mode.pushes.pass().await;
    assert!(pass.error.is_none(), "{:?}", pass.error);
    assert_eq!((pass.evaluated, pass.created, pass.given_up), (1, 1, 0));
    assert!(!mode.is_stored(&key));
    let world = mode.server.world.state();
    let jobs: Vec<_> = world.runs.values().map(|run| run.spec.about.job.as_str()).collect();
    assert_eq!(jobs, ["build"]);
}

#[tokio::test]
async fn an_unreadable_push_is_kept_for_a_day_and_then_given_up() {
    let mode = PushMode::new(Line::V1_27);
    let now = Timestamp::now();
    let of_later_version = json!({ "received_at": now, "cause": { "event": "push" } });
    let fresh = mode.store(now, &of_later_version);
    let old = mode.store(now - SignedDuration::from_hours(25), &of_later_version);
    let pass = mode.pushes.pass().await;
    assert!(pass.error.is_none(), "{:?}", pass.error);
    assert_eq!((pass.waiting, pass.given_up, pass.told.len()), (1, 1, 1));
    assert!(mode.is_stored(&fresh) && !mode.is_stored(&old));
    let again = mode.pushes.pass().await;
    assert_eq!((again.waiting, again.given_up, again.told.len()), (1, 0, 0));
    assert!(mode.is_stored(&fresh));
}

/// Returns the state and the reason of each job, as `explain push` shows them.
async fn explained(line: Line, file: &str) -> Vec<(String, String, String)> {
    let mode = PushMode::new(line);
    let (sha, _) = mode.push(file);
    let answer = mode.server.get(&format!("/v1/explain/push?repo={REPO}&sha={sha}")).await.json();
    let jobs = answer["workflows"][0]["jobs"].as_array().expect("the jobs").clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    jobs.iter().map(|job| (text(&job["job"]), text(&job["state"]), text(&job["why"]))).collect()
}

#[tokio::test]
async fn a_job_that_is_not_dispatched_says_whether_it_is_a_call_or_cannot_be_read_back() {
    let file = r#"
on: push
jobs:
  call: {uses: ./.gitea/workflows/build.yml}
  build: {runs-on: linux, steps: [{name: "\nExtract", run: 'true'}]}
"#;
    let jobs = explained(Line::V1_26, file).await;
    let why = |id: &str| jobs.iter().find(|(job, ..)| job == id).expect("the job").clone();
    let (_, state, reason) = why("build");
    assert_eq!(state, "not dispatched");
    assert!(reason.contains("cannot read the stored job back"), "{reason}");
    assert!(reason.contains("a text begins with an empty line or a space"), "{reason}");
    // 1.26 dispatches the call itself.
    assert_eq!(why("call").1, "waiting");

    let jobs = explained(Line::V1_27, file).await;
    let why = |id: &str| jobs.iter().find(|(job, ..)| job == id).expect("the job").clone();
    let (_, state, reason) = why("call");
    assert_eq!(state, "not dispatched");
    assert!(reason.contains("calls a reusable workflow"), "{reason}");
    assert_eq!(why("build").1, "waiting");
}
