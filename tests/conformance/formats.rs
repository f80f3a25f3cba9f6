//! Two releases in turn on one file, as an upgrade and the way back: what the later one recorded
//! survives, and a record that the earlier one does not read is left as it is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::Value;
use tinqs_ci_local::store::Store;
use tinqs_ci_reconciler::controller::{Controller, ReconcileOutcome, Settings};
use tinqs_ci_reconciler::model::{
    Conclusion, Job, Phase, RecordFormats, Run, RunName, SeenBy, decode, encode,
};
use tinqs_ci_reconciler::ports::{ErrorKind, Expect, Ports};
use tinqs_ci_testing::{TestWorld, make};

const LATER: RecordFormats = RecordFormats { reads: 3, writes: 2 };

/// Opens the file with a release, as a process that starts.
async fn started(dir: &Path, world: &Arc<TestWorld>, formats: RecordFormats) -> Controller {
    let settings = Settings {
        installation: "conformance".to_owned(),
        instance_url: "https://forge".to_owned(),
        git_token: None,
        secrets: Vec::new(),
        classes: vec![make::class("linux", vec![make::process()])],
        prices: BTreeMap::new(),
        poll_every: SignedDuration::from_secs(10),
        sweep_every: SignedDuration::from_secs(60),
        replica: "one".to_owned(),
    };
    let store = Arc::new(Store::open(dir).expect("the store of an ended process"));
    let controller = Controller::new(Ports { store, ..world.ports() }, settings);
    let controller = controller.of_formats(formats);
    controller.poll().await;
    controller
}

async fn stored(controller: &Controller, name: &RunName) -> (Run, Value) {
    let run = controller.ports().store.get(name).await.expect("readable").expect("there");
    let body = serde_json::from_slice(&encode(&run)).expect("JSON");
    (run, body)
}

#[tokio::test]
async fn an_upgrade_and_the_way_back_lose_nothing() {
    let (dir, world) = (tempfile::tempdir().unwrap(), TestWorld::new());
    let name = make::name(1);
    let earlier = started(dir.path(), &world, RecordFormats::OWN).await;
    let now = world.state().now;
    let spec = make::run(1, "o/r").spec;
    let run = Run::new("conformance", name.clone(), spec, SeenBy::Webhook, now);
    earlier.ports().store.put(&run, Expect::Absent).await.unwrap();
    earlier.reconcile(&name).await;
    assert_eq!(stored(&earlier, &name).await.0.status.phase, Phase::Starting);
    drop(earlier);

    // The later release records something of its own.
    let later = started(dir.path(), &world, LATER).await;
    let (run, mut body) = stored(&later, &name).await;
    let runner = run.attempt_id(1).to_string();
    world.state().jobs.insert(1, Job::Running { runner });
    body["format"] = 2.into();
    body["status"]["attempt"]["zone"] = "a".into();
    let extended = decode(body.to_string().as_bytes()).expect("a record");
    later.ports().store.put(&extended, Expect::At(run.uid, run.version)).await.unwrap();
    later.reconcile(&name).await;
    let (run, body) = stored(&later, &name).await;
    assert_eq!((run.format, run.status.phase), (2, Phase::Running), "{body}");
    assert_eq!(body["status"]["attempt"]["zone"], "a");
    drop(later);

    // The earlier one comes back, and goes on.
    let earlier = started(dir.path(), &world, RecordFormats::OWN).await;
    world.state().jobs.insert(1, Job::Done { conclusion: Conclusion::Success });
    earlier.reconcile(&name).await;
    let (run, body) = stored(&earlier, &name).await;
    assert_eq!((run.format, run.status.phase), (1, Phase::Finished), "{body}");
    assert_eq!(body["status"]["attempt"]["zone"], "a", "{body}");
    assert_eq!(world.state().launches.len(), 1);
}

#[tokio::test]
async fn a_newer_record_that_another_replica_removed_is_forgotten() {
    let (dir, world) = (tempfile::tempdir().unwrap(), TestWorld::new());
    let controller = started(dir.path(), &world, RecordFormats::OWN).await;
    let store = &controller.ports().store;
    let newer = Run { format: 99, ..make::run(1, "o/r") };
    store.put(&newer, Expect::Absent).await.unwrap();
    assert_eq!(store.get(&newer.name).await.unwrap_err().kind, ErrorKind::Invalid);
    // A removal alone does not tell this process that the record is gone.
    store.remove(&newer.name, newer.uid, 1).await.unwrap();
    assert_eq!((store.unreadable(), store.newer().len()), (1, 1));
    world.state().now += SignedDuration::from_mins(9);
    controller.poll().await;
    assert_eq!(store.newer().len(), 1);
    world.state().now += SignedDuration::from_mins(1);
    controller.poll().await;
    assert_eq!((store.unreadable(), store.newer().len()), (0, 0));
}

#[tokio::test]
async fn a_record_that_only_a_later_release_reads_stays_as_it_is() {
    let (dir, world) = (tempfile::tempdir().unwrap(), TestWorld::new());
    let controller = started(dir.path(), &world, RecordFormats::OWN).await;
    let store = &controller.ports().store;
    let newer = Run { format: 99, ..make::run(1, "o/r") };
    store.put(&newer, Expect::Absent).await.unwrap();
    let report = controller.reconcile(&newer.name).await;
    assert_eq!(report.result, ReconcileOutcome::Error);
    assert!(report.error.is_some_and(|error| error.contains("upgrade this replica")));
    controller.poll().await;
    controller.sweep().await;
    assert_eq!((store.unreadable(), store.newer().len()), (1, 1));
    assert_eq!((store.newer()[0].name.as_str(), store.newer()[0].format), ("job-1", 99));
    assert_eq!((world.calls("launch"), world.calls("register")), (0, 0));
    let again = store.put(&make::run(1, "o/r"), Expect::Absent).await.unwrap_err();
    assert_eq!(again.kind, ErrorKind::Conflict);
    // It is still in its first version, which a write needs.
    assert_eq!(store.put(&newer, Expect::At(newer.uid, 1)).await.unwrap(), 2);
}
