//! The laws of a `RunStore`. Each law uses runs and repositories of its own, so the store may hold
//! other records too.

mod formats;
mod seats;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{ClassName, Pause, Phase, RepoRef, Run, SeatLimits, Uid};
use tinqs_ci_reconciler::ports::{ErrorKind, Expect, Filter, OpenRun, PortError, RunStore};

mod reruns;
mod usage;

pub use seats::are_many as many_seats;

use crate::make::{at, at_once, attempt, attempt_id, finished, name, run, until};

/// Asserts every law that holds for all stores.
pub async fn all(store: &dyn RunStore) {
    writes_are_compare_and_set(store).await;
    one_of_many_writers_wins(store).await;
    removing_is_compare_and_set(store).await;
    open_runs_are_projected(store).await;
    pages_are_newest_first(store).await;
    pages_are_filtered(store).await;
    seats::are_limited(store).await;
    seats::are_limited_by_owner(store).await;
    seats::are_taken_one_by_one(store).await;
    seats::are_taken_once(store).await;
    seats::are_limited_in_a_burst(store).await;
    seats::count_for_the_repository(store).await;
    pauses_are_kept_until_they_end(store).await;
    leases_are_exclusive(store).await;
    secrets_are_kept_and_not_shown(store).await;
    any_text_is_kept(store).await;
    formats::all(store).await;
    usage::all(store).await;
    reruns::all(store).await;
}

fn kind<T: std::fmt::Debug>(result: Result<T, PortError>) -> ErrorKind {
    result.expect_err("it should have been refused").kind
}

async fn writes_are_compare_and_set(store: &dyn RunStore) {
    let first = run(1_000, "o/cas");
    let name = &first.name;
    assert_eq!(store.get(name).await.unwrap(), None);
    assert_eq!(kind(store.put(&first, Expect::At(first.uid, 1)).await), ErrorKind::Conflict);
    assert_eq!(store.put(&first, Expect::Absent).await.unwrap(), 1);
    assert_eq!(kind(store.put(&first, Expect::Absent).await), ErrorKind::Conflict);

    let mut second = store.get(name).await.unwrap().expect("just written");
    assert_eq!(second, Run { version: 1, ..first.clone() });
    second.status.failures = 3;
    assert_eq!(store.put(&second, Expect::At(first.uid, 1)).await.unwrap(), 2);
    assert_eq!(kind(store.put(&first, Expect::At(first.uid, 1)).await), ErrorKind::Conflict);
    assert_eq!(kind(store.put(&first, Expect::At(first.uid, 3)).await), ErrorKind::Conflict);
    let seen = store.get(name).await.unwrap().expect("still there");
    assert_eq!((seen.version, seen.status.failures), (2, 3), "refused writes change nothing");

    // A run that is removed and made again starts at version 1: its uid tells the two apart.
    store.remove(name, first.uid, 2).await.unwrap();
    let uid = Uid::new("conformance", name, at(1_001));
    let again = Run { uid, created_at: at(1_001), ..first.clone() };
    assert_eq!(store.put(&again, Expect::Absent).await.unwrap(), 1);
    assert_eq!(kind(store.put(&first, Expect::At(first.uid, 1)).await), ErrorKind::Conflict);
    assert_eq!(store.get(name).await.unwrap().expect("there").uid, uid);
    store.remove(name, uid, 1).await.unwrap();
}

async fn one_of_many_writers_wins(store: &dyn RunStore) {
    let run = run(1_100, "o/race");
    let made = at_once((0..20).map(|_| store.put(&run, Expect::Absent)).collect()).await;
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    let put = at_once((0..20).map(|_| store.put(&run, Expect::At(run.uid, 1))).collect()).await;
    assert_eq!(put.iter().filter(|put| put.is_ok()).count(), 1);
    for lost in made.into_iter().chain(put).filter_map(Result::err) {
        assert_eq!(lost.kind, ErrorKind::Conflict, "{lost}");
    }
    store.remove(&run.name, run.uid, 2).await.unwrap();
}

async fn removing_is_compare_and_set(store: &dyn RunStore) {
    let run = run(1_200, "o/remove");
    store.remove(&run.name, run.uid, 1).await.expect("what is not there is removed");
    store.put(&run, Expect::Absent).await.unwrap();
    let other = Uid::new("other", &run.name, at(0));
    assert_eq!(kind(store.remove(&run.name, other, 1).await), ErrorKind::Conflict);
    assert_eq!(kind(store.remove(&run.name, run.uid, 2).await), ErrorKind::Conflict);
    assert!(store.get(&run.name).await.unwrap().is_some());
    store.remove(&run.name, run.uid, 1).await.unwrap();
    assert_eq!(store.get(&run.name).await.unwrap(), None);
    opened(store, "o/remove", Timestamp::MIN, &[]).await;
    let filter = Filter { repo: Some("o/remove".to_owned()), limit: 10, ..Filter::default() };
    paged(store, &filter, &[]).await;
}

/// Waits until the open runs of a repository are these: the list may lag.
async fn opened(store: &dyn RunStore, repo: &str, now: Timestamp, expected: &[&Run]) {
    let mut expected: Vec<OpenRun> = expected.iter().map(|run| OpenRun::of(run)).collect();
    expected.sort_by(|a, b| a.name.cmp(&b.name));
    let mut last = Vec::new();
    until(&format!("the open runs of {repo} are {expected:?}"), async || {
        last = store.open(now).await.unwrap();
        last.retain(|open| &*open.repo == repo);
        last.sort_by(|a, b| a.name.cmp(&b.name));
        (last == expected).then_some(())
    })
    .await;
}

async fn open_runs_are_projected(store: &dyn RunStore) {
    let mut one = run(1_300, "o/open");
    let two = run(1_301, "o/open");
    store.put(&one, Expect::Absent).await.unwrap();
    store.put(&two, Expect::Absent).await.unwrap();
    let now = at(1_302);
    opened(store, "o/open", now, &[&one, &two]).await;

    one.status.attempt = Some(attempt(&one.attempt_id(1), "linux", 1, at(9_000)));
    one.status.phase = Phase::Starting;
    one.status.due = at(1_400);
    one.delete(at(1_350), false, None);
    store.put(&one, Expect::At(one.uid, 1)).await.unwrap();
    let projected = OpenRun::of(&one);
    assert!(projected.deleted && projected.attempt == Some(one.attempt_id(1)), "{projected:?}");
    opened(store, "o/open", now, &[&one, &two]).await;

    let over = finished(one, at(100_000));
    store.put(&over, Expect::At(over.uid, 2)).await.unwrap();
    // Finished runs leave the list.
    opened(store, "o/open", now, &[&two]).await;
    let mut reopened = over.clone();
    reopened.status.phase = Phase::Waiting;
    store.put(&reopened, Expect::At(over.uid, 3)).await.unwrap();
    // Reopened runs come back, once.
    opened(store, "o/open", at(200_000), &[&reopened, &two]).await;
}

/// Asserts the laws of a store that does not remove finished runs itself.
pub async fn expiry(store: &dyn RunStore) {
    let due = at(5_000);
    let over = finished(run(1_400, "o/expiry"), due);
    store.put(&over, Expect::Absent).await.unwrap();
    let before = due.checked_sub(SignedDuration::from_secs(1)).unwrap();
    opened(store, "o/expiry", before, &[]).await;
    opened(store, "o/expiry", due, &[&over]).await;

    let later = finished(over.clone(), at(6_000));
    store.put(&later, Expect::At(over.uid, 1)).await.unwrap();
    // A later due takes it off the list.
    opened(store, "o/expiry", due, &[]).await;
    opened(store, "o/expiry", at(6_000), &[&later]).await;
    store.remove(&over.name, over.uid, 2).await.unwrap();
    opened(store, "o/expiry", at(6_000), &[]).await;
}

/// Reads all pages of a filter, as names.
async fn pages(store: &dyn RunStore, filter: &Filter) -> Vec<String> {
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..1_000 {
        let page = store.page(filter, after.as_deref()).await.unwrap();
        assert!(page.items.len() <= filter.limit.max(1), "{}", page.items.len());
        found.extend(page.items.iter().map(|run| run.name.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
    panic!("1,000 pages and no end");
}

/// Waits until all pages of a filter hold these runs: the list may lag.
async fn paged(store: &dyn RunStore, filter: &Filter, expected: &[String]) {
    let what = format!("the pages of {filter:?} hold {expected:?}");
    until(&what, async || (pages(store, filter).await == expected).then_some(())).await;
}

async fn pages_are_newest_first(store: &dyn RunStore) {
    let mut expected = Vec::new();
    for id in 1_500..1_525 {
        store.put(&run(id, "o/page"), Expect::Absent).await.unwrap();
        expected.insert(0, format!("job-{id}"));
    }
    let filter = |limit| Filter { repo: Some("o/page".to_owned()), limit, ..Filter::default() };
    for limit in [1, 7, 25, 1_000] {
        paged(store, &filter(limit), &expected).await;
    }
    // A limit of zero is a limit of one.
    paged(store, &filter(0), &expected).await;

    // A run that is made between two pages shifts nothing.
    let first = store.page(&filter(10), None).await.unwrap();
    store.put(&run(1_525, "o/page"), Expect::Absent).await.unwrap();
    let second = store.page(&filter(10), first.next.as_deref()).await.unwrap();
    assert_eq!(second.items[0].name, name(1_514));

    for nonsense in ["", "x", "0", "zz zz", "7b7d", "\u{202e}'\"\n", "ffff"] {
        let refused = store.page(&filter(10), Some(nonsense)).await;
        assert_eq!(kind(refused), ErrorKind::Invalid, "{nonsense:?}");
    }
}

async fn pages_are_filtered(store: &dyn RunStore) {
    for id in 1_600..1_620 {
        let mut run = run(id, "o/filter");
        match id % 4 {
            0 => {}
            1 => run.status.phase = Phase::Running,
            2 => run.status.attempt = Some(attempt(&run.attempt_id(1), "big", 1, at(9_000))),
            _ => run = finished(run, at(100_000)),
        }
        store.put(&run, Expect::Absent).await.unwrap();
    }
    let of = |modulo: i64| (1_600..1_620).rev().filter(move |id| id % 4 == modulo);
    let names = |ids: Vec<i64>| ids.into_iter().map(|id| format!("job-{id}")).collect::<Vec<_>>();
    let repo = Some("o/filter".to_owned());
    for limit in [2, 100] {
        let filter = Filter { repo: repo.clone(), limit, ..Filter::default() };
        let finished = Filter { phase: Some(Phase::Finished), ..filter.clone() };
        paged(store, &finished, &names(of(3).collect())).await;
        let running = Filter { phase: Some(Phase::Running), ..filter.clone() };
        paged(store, &running, &names(of(1).collect())).await;
        let waiting = Filter { phase: Some(Phase::Waiting), ..filter.clone() };
        let even = (1_600..1_620).rev().filter(|id| id % 2 == 0).collect();
        paged(store, &waiting, &names(even)).await;
        let big = Filter { class: Some(ClassName("big".to_owned())), ..filter.clone() };
        paged(store, &big, &names(of(2).collect())).await;
        let starting = Filter { phase: Some(Phase::Starting), ..filter };
        paged(store, &starting, &[]).await;
    }
}

async fn leases_are_exclusive(store: &dyn RunStore) {
    let ttl = SignedDuration::from_secs(30);
    let lease = async |what: &str, who: &str, second| {
        store.lease(what, who, at(second), ttl).await.unwrap()
    };
    assert!(lease("sweep", "a", 0).await);
    assert!(!lease("sweep", "b", 10).await);
    assert!(lease("poll", "b", 10).await, "another thing, another lease");
    assert!(lease("sweep", "a", 20).await, "the holder extends");
    assert!(!lease("sweep", "b", 40).await, "it was extended to 50");
    assert!(lease("sweep", "b", 50).await, "it is over");
    assert!(!lease("sweep", "a", 51).await);
}

async fn pauses_are_kept_until_they_end(store: &dyn RunStore) {
    let class = |name: &str| ClassName(name.to_owned());
    let pause = |name: Option<&str>, second, by: &str| Pause {
        class: name.map(class),
        since: at(second),
        by: by.to_owned(),
    };
    assert_eq!(store.pauses().await.unwrap(), [], "the suite begins without");
    let (linux, gpu) = (pause(Some("linux"), 1, "ops"), pause(Some("g\"p\u{1f600}"), 2, "uid 7"));
    let all = pause(None, 3, "ops");
    for pause in [&linux, &gpu, &all] {
        assert_eq!(store.pause(pause).await.unwrap(), *pause);
    }
    let later = pause(Some("linux"), 9, "another");
    assert_eq!(store.pause(&later).await.unwrap(), linux, "an earlier one stays");
    let expected = [all.clone(), gpu.clone(), linux.clone()];
    assert_eq!(store.pauses().await.unwrap(), expected, "that of every class first");
    assert_eq!(store.resume(Some(&class("none"))).await.unwrap(), []);
    assert_eq!(store.resume(Some(&class("linux"))).await.unwrap(), std::slice::from_ref(&linux));
    assert_eq!(store.resume(Some(&class("linux"))).await.unwrap(), [], "it has ended");
    assert_eq!(store.pauses().await.unwrap(), [all.clone(), gpu.clone()]);
    assert_eq!(store.resume(None).await.unwrap(), [all, gpu], "every pause");
    assert_eq!(store.pauses().await.unwrap(), []);
    assert_eq!(store.resume(None).await.unwrap(), []);
    assert_eq!(store.pause(&later).await.unwrap(), later, "a new one");
    store.resume(None).await.unwrap();
}

async fn secrets_are_kept_and_not_shown(store: &dyn RunStore) {
    let mut run = run(1_700, "o/secret");
    run.status.attempt = Some(attempt(&run.attempt_id(1), "linux", 1, at(9_000)));
    store.put(&run, Expect::Absent).await.unwrap();
    let kept = store.get(&run.name).await.unwrap().expect("just written");
    let attempt = kept.status.attempt.as_ref().expect("with its attempt");
    assert_eq!(attempt.runner.token.expose(), "runner-SECRET");
    assert_eq!(attempt.boot.git_token.as_ref().expect("kept").expose(), "git-SECRET");
    let filter = Filter { repo: Some("o/secret".to_owned()), limit: 1, ..Filter::default() };
    let page = until("the page holds the run", async || {
        let page = store.page(&filter, None).await.unwrap();
        (page.items == std::slice::from_ref(&kept)).then_some(page)
    })
    .await;
    for shown in [
        format!("{kept:?} {page:?}"),
        serde_json::to_string(&page.items).unwrap(),
        format!("{:?}", store.open(at(0)).await.unwrap()),
        store.put(&run, Expect::Absent).await.unwrap_err().to_string(),
    ] {
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}

async fn any_text_is_kept(store: &dyn RunStore) {
    let odd =
        ["o/'\"`$(x)\n\r\t\0", "o/\u{202e}\u{7f}\u{1b}[31m\u{1f600}", &"o/long".repeat(1_700)];
    for (id, repo) in (1_800..).zip(odd) {
        let mut run = run(id, repo);
        run.spec.about.job = repo.to_owned();
        run.spec.runs_on = vec![repo.to_owned()];
        store.put(&run, Expect::Absent).await.unwrap();
        let kept = store.get(&run.name).await.unwrap().expect("just written");
        assert_eq!(kept, Run { version: 1, ..run.clone() });
        opened(store, repo, at(0), &[&run]).await;
        let class = ClassName(repo.to_owned());
        let limits = SeatLimits { class: Some(1), repo: Some(1), owner: Some(1) };
        assert!(
            store.seat(&class, &run.attempt_id(1), RepoRef::named(repo), limits).await.unwrap()
        );
        assert_eq!(store.seats(&class).await.unwrap()[0].repo, repo);
    }
}

/// Writes what [`find_them`] finds after the store was opened again.
pub async fn write_some(store: &dyn RunStore) -> Vec<Run> {
    let mut written = Vec::new();
    for id in 1_900..1_950 {
        let run = run(id, "o/kept");
        let version = store.put(&run, Expect::Absent).await.unwrap();
        written.push(Run { version, ..run });
    }
    let class = ClassName("kept".to_owned());
    store
        .seat(&class, &attempt_id(1, 1), RepoRef::named("o/kept"), SeatLimits::default())
        .await
        .unwrap();
    let pause = Pause { class: Some(class), since: at(5), by: "ops".to_owned() };
    store.pause(&pause).await.unwrap();
    written
}

/// Asserts that the store holds what [`write_some`] wrote.
pub async fn find_them(store: &dyn RunStore, written: &[Run]) {
    for run in written {
        assert_eq!(store.get(&run.name).await.unwrap().as_ref(), Some(run));
    }
    opened(store, "o/kept", at(0), &written.iter().collect::<Vec<_>>()).await;
    assert_eq!(store.seats(&ClassName("kept".to_owned())).await.unwrap().len(), 1);
    let paused: Vec<_> = store.pauses().await.unwrap().into_iter().map(|p| p.class).collect();
    assert_eq!(paused, [Some(ClassName("kept".to_owned()))]);
}
