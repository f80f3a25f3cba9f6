//! Trigger events evaluated against a simulated forge: the started runs and the number of calls.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tinqs_ci::push::evaluate::{Evaluated, evaluate, nothing};
use tinqs_ci::push::runs;
use tinqs_ci_gitea::client::{Changes, Client};
use tinqs_ci_gitea::demand::by_mode::DemandSource;
use tinqs_ci_gitea::demand::{DemandConfig, Mode};
use tinqs_ci_gitea::trigger_event::TriggerEvent;
use tinqs_ci_gitea::{Config as Settings, Demand};
use tinqs_ci_reconciler::model::{Job, JobRef, Secret};
use tinqs_ci_reconciler::ports::{ErrorKind, Forge as _};
use tinqs_ci_simulator::forge::{Config, Forge, PullRequest, Push};
use tinqs_ci_simulator::gitea_wire::{Wire, WireOptions};
use tinqs_ci_workflow::Dialect;

use crate::script::{client, settings};

const REPO: &str = "acme/widget";
const MAIN: &str = "refs/heads/main";
const CI: &str = ".gitea/workflows/ci.yml";

type Change<'a> = (&'a str, Option<&'a str>);

fn workflow(on: &str) -> String {
    format!("on: {on}\njobs:\n  build:\n    runs-on: linux\n    steps: [{{run: 'true'}}]\n")
}

struct World {
    wire: Wire,
    client: Client,
}

impl World {
    fn new(config: Config) -> Self {
        let mut forge = Forge::new(config);
        forge.add_repo(REPO);
        let forge = Arc::new(Mutex::new(forge));
        // No webhook is sent; the test takes the pending deliveries itself.
        let options = WireOptions::default();
        let wire = Wire::start(forge, Arc::new(Timestamp::now), options).expect("a forge");
        let token = Some(Secret::new("api-token"));
        let client = client(&Settings { token, ..settings(&wire.url()) });
        Self { wire, client }
    }

    /// Pushes. Returns the payloads that the forge would send, by event.
    fn push(&self, git_ref: &str, message: &str, changes: &[Change<'_>]) -> Vec<(String, Value)> {
        let mut forge = self.wire.forge();
        forge.take_webhooks();
        let push = Push { git_ref, changes, message, runs: &[] };
        forge.push_commit(Timestamp::now(), REPO, &push);
        told(&mut forge)
    }

    async fn evaluate(&self, event: &str, payload: &Value) -> Evaluated {
        let trigger_event =
            TriggerEvent::of(event, payload.to_string().as_bytes()).expect("well-formed");
        let trigger_event = trigger_event.expect("something may start");
        let evaluated = evaluate(&self.client, Dialect::V1_26, &trigger_event).await;
        evaluated.expect("the forge answers").expect("the commit is there")
    }

    /// Returns the workflow and the event of each run that these payloads start.
    async fn starts(&self, told: &[(String, Value)]) -> Vec<String> {
        let mut started = Vec::new();
        for (event, payload) in told {
            let evaluated = self.evaluate(event, payload).await;
            started
                .extend(evaluated.runs.iter().map(|run| format!("{} {}", run.workflow, run.event)));
        }
        started
    }

    fn calls(&self) -> u64 {
        self.wire.counters().calls.values().sum()
    }
}

fn told(forge: &mut Forge) -> Vec<(String, Value)> {
    let hooks = forge.take_webhooks().into_iter();
    hooks.map(|hook| (hook.event_type.to_owned(), hook.payload)).collect()
}

#[tokio::test]
async fn a_push_with_one_workflow_file_takes_four_calls_at_most() {
    let world = World::new(Config::default());
    let filtered = workflow("{push: {paths: ['src/**']}}");
    world.push(MAIN, "begin", &[(CI, Some(&filtered))]);
    for (round, most) in [(1, 4), (2, 1), (3, 1)] {
        let content = round.to_string();
        let pushed = world.push(MAIN, "change", &[("src/a", Some(&content))]);
        let before = world.calls();
        assert_eq!(world.starts(&pushed).await, ["ci.yml push"]);
        let calls = world.calls() - before;
        assert!(calls <= most, "round {round}: {calls} calls");
    }
    let pushed = world.push(MAIN, "change", &[("README.md", Some("x"))]);
    assert_eq!(world.starts(&pushed).await, Vec::<String>::new());
}

#[tokio::test]
async fn branches_tags_and_deletions_start_matching_workflows() {
    let world = World::new(Config::default());
    let files = [
        (CI, workflow("[push, create, delete]")),
        (".gitea/workflows/tags.yml", workflow("{push: {tags: ['v*']}}")),
        (".gitea/workflows/main.yml", workflow("{push: {branches: [main]}}")),
        (".github/workflows/other.yml", workflow("push")),
    ];
    let changes: Vec<Change<'_>> =
        files.iter().map(|(path, text)| (*path, Some(text.as_str()))).collect();
    let pushed = world.push(MAIN, "begin", &changes);
    // The other folder is ignored because the first one exists.
    assert_eq!(world.starts(&pushed).await, ["ci.yml create", "ci.yml push", "main.yml push"]);
    let sha = world.wire.forge().tip(REPO, MAIN).expect("a tip").sha.clone();
    let tagged = {
        let mut forge = world.wire.forge();
        forge.move_ref(Timestamp::now(), REPO, "refs/tags/v1", &sha, &[]);
        told(&mut forge)
    };
    assert_eq!(world.starts(&tagged).await, ["ci.yml push", "tags.yml push", "ci.yml create"]);
    world.push("refs/heads/gone", "topic", &[("x", Some("y"))]);
    let deleted = {
        let mut forge = world.wire.forge();
        forge.take_webhooks();
        forge.delete_ref(Timestamp::now(), REPO, "refs/heads/gone");
        told(&mut forge)
    };
    // For a deleted branch, the tip of the default branch counts.
    let evaluated = world.evaluate(&deleted[0].0, &deleted[0].1).await;
    assert_eq!((evaluated.trigger_event.commit.as_str(), evaluated.runs.len()), (sha.as_str(), 1));
    assert_eq!(evaluated.runs[0].git_ref, MAIN);
}

#[tokio::test]
async fn a_forced_push_compares_trees_and_a_lost_commit_starts_nothing() {
    let world = World::new(Config { tree_page: 3, ..Config::default() });
    let filtered = workflow("{push: {paths: ['src/**']}}");
    world.push(MAIN, "begin", &[(CI, Some(&filtered)), ("docs/a", Some("1")), ("z", Some("1"))]);
    let first = world.wire.forge().tip(REPO, MAIN).expect("a tip").sha.clone();
    world.push(MAIN, "more", &[("src/deep/a", Some("1")), ("src/b", Some("1"))]);
    // A force-push back to the first commit: the removed files count as changed.
    let forced = {
        let mut forge = world.wire.forge();
        forge.take_webhooks();
        forge.move_ref(Timestamp::now(), REPO, MAIN, &first, &[]);
        told(&mut forge)
    };
    let (event, payload) = &forced[0];
    let evaluated = world.evaluate(event, payload).await;
    let files = ["src/b", "src/deep/a"].map(str::to_owned).to_vec();
    assert_eq!((evaluated.changed, evaluated.runs.len()), (Some(Changes::All(files)), 1));
    let mut lost = payload.clone();
    lost["before"] = "9".repeat(40).into();
    let evaluated = world.evaluate(event, &lost).await;
    assert!(matches!(evaluated.changed, Some(Changes::Unknown(_))));
    assert_eq!(evaluated.runs.len(), 0);
    let mut gone = payload.clone();
    gone["after"] = "8".repeat(40).into();
    gone["head_commit"] = Value::Null;
    let trigger_event = TriggerEvent::of(event, gone.to_string().as_bytes()).expect("well-formed");
    let evaluated = evaluate(&world.client, Dialect::V1_26, &trigger_event.expect("a push")).await;
    assert!(evaluated.expect("the forge answers").is_none());
}

#[tokio::test]
async fn pull_requests_use_the_head_and_targets_use_the_base() {
    let world = World::new(Config::default());
    let base = [(CI, workflow("[pull_request_target, push]"))];
    world.push(MAIN, "begin", &[(CI, Some(&base[0].1))]);
    let head = workflow("{pull_request: {paths: ['src/**']}}");
    world.push("refs/heads/topic", "topic", &[(CI, Some(&head)), ("src/a", Some("1"))]);
    let pull = |action| {
        let mut forge = world.wire.forge();
        forge.take_webhooks();
        let pull = PullRequest { number: 3, action, title: "A topic", head: "topic", base: "main" };
        forge.pull_request(Timestamp::now(), REPO, &pull, &[]);
        told(&mut forge).remove(0)
    };
    let (event, opened) = pull("opened");
    let evaluated = world.evaluate(&event, &opened).await;
    let started: Vec<_> =
        evaluated.runs.iter().map(|run| (run.event.as_str(), run.git_ref.as_str())).collect();
    let at = "refs/pull/3/head";
    assert_eq!(started, [("pull_request", at), ("pull_request_target", at)]);
    let (event, synchronized) = pull("synchronized");
    assert_eq!(event, "pull_request_sync");
    assert_eq!(world.evaluate(&event, &synchronized).await.runs.len(), 2);
    let (event, labelled) = pull("label_updated");
    assert_eq!(world.evaluate(&event, &labelled).await.runs.len(), 0);
    // From a fork by a user without write access, only the base's own workflow needs no approval.
    let mut fork = opened.clone();
    fork["pull_request"]["head"]["repo_id"] = 4711.into();
    let evaluated = world.evaluate("pull_request", &fork).await;
    let runs_held: Vec<_> =
        evaluated.runs.iter().map(|run| (run.event.as_str(), run.held)).collect();
    assert_eq!(runs_held, [("pull_request", true), ("pull_request_target", false)]);
    assert_eq!(runs::runs(&evaluated, |_| true).len(), 1);
    // The title skips CI.
    let mut skipped = opened;
    skipped["pull_request"]["title"] = "A topic [skip ci]".into();
    let evaluated = world.evaluate("pull_request", &skipped).await;
    assert!(nothing(&evaluated.notified).is_some_and(|why| why.contains("[skip ci]")));
}

#[tokio::test]
async fn a_skip_message_and_a_malformed_file_start_nothing() {
    let world = World::new(Config { file_contents: false, ..Config::default() });
    let good = workflow("push");
    let changes = [(CI, Some(good.as_str())), (".gitea/workflows/broken.yml", Some("on: ["))];
    let pushed = world.push(MAIN, "begin", &changes);
    assert_eq!(world.starts(&pushed[1..]).await, ["ci.yml push"]);
    let pushed = world.push(MAIN, "change\n\n[no ci]", &[("x", Some("1"))]);
    let evaluated = world.evaluate(&pushed[0].0, &pushed[0].1).await;
    assert!(nothing(&evaluated.notified).is_some_and(|why| why.contains("[no ci]")));
    let names = runs::runs(&evaluated, |_| true);
    assert!(names.is_empty(), "{names:?}");
}

#[tokio::test]
async fn events_of_the_forges_own_user_start_nothing() {
    let world = World::new(Config::default());
    let file = workflow("[push, create]");
    let pushed = world.push(MAIN, "begin", &[(CI, Some(&file))]);
    assert_eq!(world.starts(&pushed).await, ["ci.yml create", "ci.yml push"]);
    for (event, payload) in &pushed {
        for sender in [
            json!({"id": -2, "login": "gitea-actions"}),
            json!({"id": 0, "login": "Gitea-Actions"}),
            json!({"id": -2, "login": ""}),
        ] {
            let mut payload = payload.clone();
            payload["sender"] = sender;
            let read =
                TriggerEvent::of(event, payload.to_string().as_bytes()).expect("well-formed");
            assert_eq!(read, None, "{event} {}", payload["sender"]);
        }
        // An event stored in the inbox before an update.
        let trigger_event =
            TriggerEvent::of(event, payload.to_string().as_bytes()).expect("well-formed");
        let mut trigger_event = trigger_event.expect("something may start");
        trigger_event.payload["sender"] = json!({"id": -2, "login": "gitea-actions"});
        let evaluated = evaluate(&world.client, Dialect::V1_26, &trigger_event).await;
        let evaluated = evaluated.expect("the forge answers").expect("the commit is there");
        assert_eq!(evaluated.runs.len(), 0, "{event}");
        assert!(nothing(&evaluated.notified).is_some_and(|why| why.contains("caused by a job")));
    }
}

#[tokio::test]
async fn a_disabled_workflow_starts_nothing_until_it_is_enabled() {
    let world = World::new(Config::default());
    let file = workflow("push");
    let other = ".gitea/workflows/sub/other.yml";
    world.push(MAIN, "begin", &[(CI, Some(&file)), (other, Some(&file))]);
    let push = |content: &str| world.push(MAIN, "change", &[("x", Some(content))]);
    world.wire.forge().disable_workflow(REPO, "ci.yml", true);
    let pushed = push("1");
    assert_eq!(world.starts(&pushed).await, ["sub/other.yml push"]);
    let evaluated = world.evaluate(&pushed[0].0, &pushed[0].1).await;
    let note = evaluated.notes.iter().find(|note| note.contains("`ci.yml`")).expect("a note");
    assert!(note.contains("disabled"), "{note}");
    // After it is enabled again, the next push starts it: no other event announces its job.
    world.wire.forge().disable_workflow(REPO, "ci.yml", false);
    assert_eq!(world.starts(&push("2")).await, ["ci.yml push", "sub/other.yml push"]);
    // The list has no file that is missing on the default branch.
    let topic = "refs/heads/topic";
    world.push(topic, "topic", &[(".gitea/workflows/topic.yml", Some(&file))]);
    world.wire.forge().disable_workflow(REPO, "topic.yml", true);
    let pushed = world.push(topic, "more", &[("x", Some("3"))]);
    assert!(world.starts(&pushed).await.contains(&"topic.yml push".to_owned()));
}

#[tokio::test]
async fn the_list_of_workflows_is_cached_and_read_only_if_a_run_starts() {
    const LIST: &str = "GET /repos/{owner}/{repo}/actions/workflows";
    let world = World::new(Config::default());
    let lists = || world.wire.counters().calls.get(LIST).copied().unwrap_or(0);
    let filtered = workflow("{push: {paths: ['src/**']}}");
    let first = [(CI, Some(filtered.as_str()))];
    assert_eq!(world.starts(&world.push(MAIN, "begin", &first)).await, Vec::<String>::new());
    assert_eq!(lists(), 0, "no path filter is satisfied");
    for content in ["1", "2", "3"] {
        let pushed = world.push(MAIN, "change", &[("src/a", Some(content))]);
        assert_eq!(world.starts(&pushed).await, ["ci.yml push"]);
    }
    assert_eq!(lists(), 1);
    // Servers fail the call without a default branch, so no workflow counts as disabled.
    let other = World::new(Config::default());
    let pushed = other.push("refs/heads/topic", "topic", &[(CI, Some(&workflow("push")))]);
    assert_eq!(other.starts(&pushed).await, ["ci.yml push"]);
}

#[tokio::test]
async fn a_forks_author_is_trusted_after_a_merged_pull_request_and_never_when_restricted() {
    let world = World::new(Config::default());
    let file = workflow("pull_request");
    world.push(MAIN, "begin", &[(CI, Some(&file))]);
    world.push("refs/heads/topic", "topic", &[(CI, Some(&file)), ("src/a", Some("1"))]);
    let (event, mut fork) = {
        let mut forge = world.wire.forge();
        forge.take_webhooks();
        let (title, head, base) = ("A topic", "topic", "main");
        let pull = PullRequest { number: 3, action: "opened", title, head, base };
        forge.pull_request(Timestamp::now(), REPO, &pull, &[]);
        told(&mut forge).remove(0)
    };
    fork["pull_request"]["head"]["repo_id"] = 4711.into();
    let held = async |payload: &Value, dialect| {
        let trigger_event =
            TriggerEvent::of(&event, payload.to_string().as_bytes()).expect("well-formed");
        let evaluated = evaluate(&world.client, dialect, &trigger_event.expect("a change")).await;
        let evaluated = evaluated.expect("the forge answers").expect("the commit is there");
        evaluated.runs.iter().map(|run| run.held).collect::<Vec<_>>()
    };
    assert_eq!(held(&fork, Dialect::V1_27).await, [true]);
    world.wire.forge().merged_pull_request(REPO, "bob");
    assert_eq!(held(&fork, Dialect::V1_27).await, [true], "another's");
    world.wire.forge().merged_pull_request(REPO, "alice");
    assert_eq!(held(&fork, Dialect::V1_27).await, [false]);
    assert_eq!(held(&fork, Dialect::V1_26).await, [false]);
    // Before 1.26 an approved run counts, which the API does not show.
    assert_eq!(held(&fork, Dialect::V1_25).await, [true]);
    fork["sender"]["restricted"] = true.into();
    let calls = world.calls();
    assert_eq!(held(&fork, Dialect::V1_27).await, [true]);
    assert!(world.calls() - calls <= 2, "no permission is read");
}

#[tokio::test]
async fn the_first_answer_decides_the_mode() {
    let world = World::new(Config::default());
    let means = DemandConfig { wanted: Demand::Auto, secret: true };
    let token = Some(Secret::new("api-token"));
    let forge = |means| {
        let settings = Settings { token: token.clone(), ..settings(&world.wire.url()) };
        DemandSource::new(Arc::new(client(&settings)), means)
    };
    world.wire.faults(|faults| faults.down = true);
    let demand = forge(means);
    assert_eq!(demand.waiting().await.expect_err("down").kind, ErrorKind::Unavailable);
    demand.assume();
    assert_eq!(demand.known(), None, "`auto` assumes no mode");
    world.wire.faults(|faults| faults.down = false);
    assert!(demand.waiting().await.expect("answers").is_some());
    assert_eq!(demand.known(), Some(Mode::Jobs));
    world.wire.forge().config.lists = false;
    let demand = forge(means);
    assert_eq!(demand.waiting().await.expect("answers"), None);
    assert_eq!(demand.known(), Some(Mode::Push));
    assert_eq!(demand.job(&JobRef::default()).await.expect("not asked").state, Job::Unobservable);
    let demand = forge(DemandConfig { wanted: Demand::Auto, secret: false });
    assert_eq!(demand.waiting().await.expect_err("no mode").kind, ErrorKind::Denied);
    let configured = forge(DemandConfig { wanted: Demand::Push, secret: true });
    configured.assume();
    assert_eq!(configured.known(), Some(Mode::Push));
    assert_eq!(json!(configured.known().map(Mode::word)), json!("push"));
}
