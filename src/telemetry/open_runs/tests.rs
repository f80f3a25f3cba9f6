use tinqs_ci_reconciler::ports::{ErrorKind, Expect};
use tinqs_ci_testing::{TestWorld, make};
use tokio::task::JoinSet;

use super::*;
use crate::telemetry::observe;

/// More runs than a short list has.
const MANY: i64 = 2_001;

fn world(runs: i64) -> (Arc<TestWorld>, Arc<Telemetry>, Arc<dyn RunStore>) {
    let world = TestWorld::new();
    for id in 1..=runs {
        world.add_run(make::run(id, "acme/web"));
    }
    let telemetry = Telemetry::new(&[], world.clone());
    let store = observe(world.ports(), &telemetry).store;
    (world, telemetry, store)
}

fn age(telemetry: &Telemetry, by: Duration) {
    let mut state = telemetry.open_runs.state.lock();
    let kept = state.kept.as_mut().expect("a kept list");
    let before = |at: Instant| at.checked_sub(by).expect("this host runs for longer");
    (kept.began, kept.ended) = (before(kept.began), before(kept.ended));
}

fn phase_of(listing: &Listing, id: i64) -> Option<Phase> {
    listing.iter().find(|run| run.name == RunName::job(id)).map(|run| run.phase)
}

/// Returns the answers to so many who ask while somebody reads.
async fn all_at_once(
    telemetry: &Arc<Telemetry>,
    store: &Arc<dyn RunStore>,
    askers: usize,
) -> Vec<Result<Listing, PortError>> {
    let somebody_reads = telemetry.open_runs.reading.lock().await;
    let mut asked = JoinSet::new();
    for _ in 0..askers {
        let (telemetry, store) = (telemetry.clone(), store.clone());
        asked.spawn(async move { telemetry.open_runs(&store).await });
    }
    // On one thread, all of them have asked after that.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    drop(somebody_reads);
    asked.join_all().await
}

#[tokio::test]
async fn those_who_ask_at_once_share_one_listing() {
    let (world, telemetry, store) = world(3);
    let answers = all_at_once(&telemetry, &store, 20).await;
    assert_eq!(answers.len(), 20);
    for answer in answers {
        assert_eq!(answer.expect("a list").len(), 3);
    }
    assert_eq!(world.calls("open"), 1);
}

#[tokio::test]
async fn those_who_ask_at_once_share_one_failure() {
    let (world, telemetry, store) = world(3);
    world.state().down.insert("store");
    for answer in all_at_once(&telemetry, &store, 20).await {
        let error = answer.expect_err("the store is down");
        assert_eq!((error.kind, error.operation), (ErrorKind::Unavailable, "open"));
        assert_eq!(error.message, "it is down");
    }
    assert_eq!(world.calls("open"), 1);
    world.state().down.clear();
    assert_eq!(telemetry.open_runs(&store).await.expect("it is there again").len(), 3);
}

#[tokio::test]
async fn a_short_list_is_read_for_each_who_asks() {
    let (world, telemetry, store) = world(3);
    assert_eq!(telemetry.open_runs(&store).await.expect("a list").len(), 3);
    world.add_run(make::run(4, "acme/web"));
    assert_eq!(telemetry.open_runs(&store).await.expect("a list").len(), 4);
    assert_eq!(telemetry.followed_runs(&store).await.expect("a list").len(), 4);
    assert_eq!(world.calls("open"), 3);
}

#[tokio::test]
async fn a_long_list_is_kept_and_shows_at_once_what_this_process_writes() {
    let (world, telemetry, store) = world(MANY);
    let first = telemetry.open_runs(&store).await.expect("a list");
    assert_eq!(i64::try_from(first.len()), Ok(MANY));
    let new = make::run(9_001, "acme/web");
    store.put(&new, Expect::Absent).await.expect("written");
    let mut running = store.get(&RunName::job(7)).await.expect("a read").expect("a run");
    running.status.phase = Phase::Running;
    store.put(&running, Expect::At(running.uid, 1)).await.expect("written");
    let over = store.get(&RunName::job(8)).await.expect("a read").expect("a run");
    let over = make::finished(over, make::at(100_000));
    store.put(&over, Expect::At(over.uid, 1)).await.expect("written");
    let gone = store.get(&RunName::job(9)).await.expect("a read").expect("a run");
    store.remove(&gone.name, gone.uid, 1).await.expect("removed");
    let second = telemetry.open_runs(&store).await.expect("a list");
    assert_eq!(second.len(), first.len() - 1);
    let phases = [9_001, 7, 8, 9].map(|id| phase_of(&second, id));
    assert_eq!(phases, [Some(Phase::Waiting), Some(Phase::Running), None, None]);
    assert_eq!((second.at, second.number), (first.at, first.number), "it has the age of the first");
    assert_eq!(phase_of(&first, 7), Some(Phase::Waiting), "an answer does not change");
    assert_eq!(world.calls("open"), 1);
}

#[tokio::test]
async fn what_another_replica_writes_is_seen_when_the_list_is_old() {
    let (world, telemetry, store) = world(MANY);
    let first = telemetry.open_runs(&store).await.expect("a list");
    world.add_run(make::run(9_001, "acme/web"));
    assert_eq!(telemetry.open_runs(&store).await.expect("a list").len(), first.len());
    age(&telemetry, FRESH + Duration::from_millis(1));
    let second = telemetry.open_runs(&store).await.expect("a list");
    assert_eq!(second.len(), first.len() + 1);
    assert!(second.number > first.number);
    assert_eq!(world.calls("open"), 2);
}

#[tokio::test]
async fn a_store_that_is_down_is_told_when_the_list_is_old() {
    let (world, telemetry, store) = world(MANY);
    let first = telemetry.open_runs(&store).await.expect("a list");
    world.state().down.insert("store");
    let kept = telemetry.open_runs(&store).await.expect("it was read a moment ago");
    assert_eq!((kept.len(), kept.at), (first.len(), first.at));
    age(&telemetry, FRESH + Duration::from_millis(1));
    let error = telemetry.open_runs(&store).await.expect_err("the store is down");
    assert_eq!(error.message, "it is down");
}

#[tokio::test]
async fn a_slow_store_delays_nobody_who_can_have_an_older_list() {
    let (world, telemetry, store) = world(MANY);
    let first = telemetry.open_runs(&store).await.expect("a list");
    age(&telemetry, FRESH + Duration::from_millis(1));
    let somebody_reads = telemetry.open_runs.reading.lock().await;
    let second = telemetry.open_runs(&store).await.expect("a list");
    assert_eq!(second.number, first.number, "the older one");
    drop(somebody_reads);
    // The one who did not wait any longer had begun to read.
    let lock = telemetry.open_runs.reading.lock().await;
    assert_eq!(world.calls("open"), 2);
    drop(lock);
    assert!(telemetry.open_runs(&store).await.expect("a list").number > first.number);
    assert_eq!(world.calls("open"), 2);
}

#[tokio::test]
async fn records_of_many_waiting_runs_are_read_once_and_only_those_that_wait_are_shown() {
    let (world, telemetry, store) = world(MANY);
    let open = telemetry.open_runs(&store).await.expect("a list");
    let waiting = telemetry.waiting_runs(&store, &open, 10).await;
    assert_eq!(waiting.len(), 10);
    let mut first = waiting[0].clone();
    first.status.phase = Phase::Running;
    store.put(&first, Expect::At(first.uid, 1)).await.expect("written");
    let open = telemetry.open_runs(&store).await.expect("a list");
    let waiting = telemetry.waiting_runs(&store, &open, 10).await;
    assert_eq!(waiting.len(), 9);
    assert!(waiting.iter().all(|run| run.name != first.name));
    assert_eq!((world.calls("open"), world.calls("page")), (1, 1));
}

#[test]
fn a_write_during_a_listing_is_in_it_whatever_it_read() {
    let runs = OpenRuns::default();
    let arrived = Instant::now();
    let mut run = make::run(1, "acme/web");
    let listed = OpenRun::of(&run);
    let listing = runs.begin();
    run.status.phase = Phase::Running;
    runs.wrote(&run, 3);
    run.status.phase = Phase::Starting;
    runs.wrote(&run, 2);
    runs.removed(&RunName::job(2), make::run(2, "acme/web").uid, 1);
    let gone = OpenRun::of(&make::run(2, "acme/web"));
    listing.ended(&[listed, gone], make::at(0));
    let shown = runs.usable(arrived, |_| FRESH).expect("a list").expect("no failure");
    assert_eq!(phase_of(&shown, 1), Some(Phase::Running), "version 3 is later than 2");
    assert_eq!(shown.len(), 1, "the other was removed");
    assert!(runs.state.lock().written.is_empty(), "no listing is under way");
}

#[test]
fn a_list_that_lacks_too_many_writes_is_not_kept() {
    let runs = OpenRuns::default();
    let arrived = Instant::now();
    let listing = runs.begin();
    let most = i64::try_from(WRITES).expect("a small number");
    for id in 0..=most {
        runs.wrote(&make::run(id, "acme/web"), 1);
    }
    listing.ended(&[], make::at(0));
    assert!(runs.usable(arrived, |_| FRESH).is_none());
}

#[test]
fn followers_use_a_list_for_two_to_ten_seconds() {
    let seconds = [0, 10_000, 30_000, 100_000, usize::MAX].map(|runs| followed(runs).as_secs());
    assert_eq!(seconds, [2, 2, 3, 10, 10]);
}
