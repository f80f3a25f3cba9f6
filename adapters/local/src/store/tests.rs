use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use jiff::civil::Date;
use parking_lot::RwLock;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;
use tinqs_ci_reconciler::model::{Amount, ClassName, JobRef, Phase, SeenBy, Spec, Usage, UsageKey};
use tinqs_ci_reconciler::ports::Filter;

use super::record::Record;
use super::*;

/// A disk that can be full, and that keeps its content while the store is closed.
#[derive(Clone, Debug)]
struct Disk {
    bytes: Arc<RwLock<InMemoryBackend>>,
    full: Arc<AtomicBool>,
    /// Whether only places that were written before can be written, as on a full disk of most file
    /// systems.
    no_growth: Arc<AtomicBool>,
    /// The end of what was ever written.
    end: Arc<AtomicU64>,
}

impl Disk {
    fn new() -> Self {
        Self {
            bytes: Arc::new(RwLock::new(InMemoryBackend::new())),
            full: Arc::default(),
            no_growth: Arc::default(),
            end: Arc::default(),
        }
    }

    fn store(&self) -> Store {
        let disk = self.clone();
        let path = PathBuf::from("disk");
        let opener: Opener = Box::new(move || writer::on_backend(Path::new("disk"), disk.clone()));
        Store::with(path, opener).unwrap()
    }

    fn space(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        StorageBackend::len(&*self.bytes.read())
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        StorageBackend::read(&*self.bytes.read(), offset, out)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.space()?;
        StorageBackend::set_len(&*self.bytes.read(), len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.space()
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.space()?;
        let end = offset + u64::try_from(data.len()).unwrap();
        if self.no_growth.load(Ordering::SeqCst) && end > self.end.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.end.fetch_max(end, Ordering::SeqCst);
        StorageBackend::write(&*self.bytes.read(), offset, data)
    }
}

fn run(id: i64) -> Run {
    let now = Timestamp::from_second(1_700_000_000 + id).unwrap();
    let job = JobRef { repo: "o/r".to_owned(), repo_id: 1, job_id: id };
    let spec = Spec { job, runs_on: vec!["linux".to_owned()], ..Spec::default() };
    Run::new("test", RunName::job(id), spec, SeenBy::Webhook, now)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_loses_nothing_and_recovers() {
    let disk = Disk::new();
    let store = disk.store();
    let mut accepted = Vec::new();
    for id in 0..20 {
        store.put(&run(id), Expect::Absent).await.unwrap();
        accepted.push(id);
    }
    disk.full.store(true, Ordering::SeqCst);
    for id in 20..25 {
        let error = store.put(&run(id), Expect::Absent).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        assert!(error.message.contains("space"), "{error}");
    }
    let error = store.can_be_written().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);

    disk.full.store(false, Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = store.put(&run(30), Expect::Absent).await {
        assert!(Instant::now() < until, "not recovered: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.can_be_written().await.unwrap();
    for id in accepted {
        let found = store.get(&RunName::job(id)).await.unwrap();
        assert_eq!(found, Some(Run { version: 1, ..run(id) }));
    }
    drop(store);
    let store = disk.store();
    assert!(store.get(&RunName::job(30)).await.unwrap().is_some());
}

/// On a full disk a small write still finds room within the file, where a run does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_room_for_a_run_is_not_writable_until_there_is_room() {
    let disk = Disk::new();
    let store = disk.store();
    store.put(&run(1), Expect::Absent).await.unwrap();
    store.can_be_written().await.unwrap();
    disk.no_growth.store(true, Ordering::SeqCst);
    let large = |id: i64| {
        let spec = Spec { runs_on: vec!["x".repeat(40_000)], ..run(id).spec };
        Run { spec, ..run(id) }
    };
    let mut refused = None;
    for id in 2..50 {
        refused = store.put(&large(id), Expect::Absent).await.err();
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("the disk is full");
    assert_eq!(refused.kind, ErrorKind::Unavailable);
    assert!(refused.message.contains("cannot write"), "{refused}");

    let (class, attempt_id) =
        (ClassName("linux".to_owned()), "tq-job-1-0123abcd-1".parse().unwrap());
    let (mut small, until) = (0, Instant::now() + 2 * PROBE_EVERY);
    while Instant::now() < until {
        let seat =
            store.seat(&class, &attempt_id, RepoRef::named("o/r"), SeatLimits::default()).await;
        let unseat = store.unseat(&class, &attempt_id).await;
        small += u32::from(seat.is_ok() && unseat.is_ok());
        assert!(store.can_be_written().await.is_err(), "small writes do not make it writable");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(small > 0, "the test is about small writes that succeed");

    disk.no_growth.store(false, Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(20);
    while let Err(error) = store.can_be_written().await {
        assert!(Instant::now() < until, "not recovered: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.put(&large(60), Expect::Absent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreadable_record_affects_no_other() {
    let store = Store::memory().unwrap();
    store.put(&run(1), Expect::Absent).await.unwrap();
    let mut broken = Record::of(&run(2), 1);
    broken.damage();
    let op = Op::Put { record: Box::new(broken), expect: Expect::Absent, used: None };
    store.write("put", op).await.unwrap();
    store.put(&run(3), Expect::Absent).await.unwrap();

    let error = store.get(&RunName::job(2)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.message.contains("job-2"), "{error}");
    assert_eq!((store.unreadable(), store.newer()), (1, Vec::new()));
    let names = |runs: Vec<String>| runs.join(" ");
    let open = store.open(Timestamp::MIN).await.unwrap();
    assert_eq!(names(open.iter().map(|run| run.name.to_string()).collect()), "job-1 job-3");
    for phase in [None, Some(Phase::Waiting)] {
        let filter = Filter { phase, limit: 10, ..Filter::default() };
        let page = store.page(&filter, None).await.unwrap();
        assert_eq!(
            names(page.items.iter().map(|run| run.name.to_string()).collect()),
            "job-3 job-1"
        );
    }
    // A write does not have to parse the record that it replaces.
    let uid = run(2).uid;
    assert_eq!(store.put(&run(2), Expect::At(uid, 1)).await.unwrap(), 2);
    assert!(store.get(&RunName::job(2)).await.unwrap().is_some());
    assert_eq!(store.unreadable(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_is_private_and_has_one_owner() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("a/data");
    let store = Store::open(&dir).unwrap();
    store.put(&run(1), Expect::Absent).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&dir.join(FILE))), (0o700, 0o600));

    let refused = Store::open(&dir).unwrap_err();
    assert!(matches!(refused, OpenError::Busy { .. }), "{refused:?}");
    let sentence = refused.to_string();
    assert!(sentence.contains("tinqs-ci.redb") && sentence.contains("redb:DIR"), "{sentence}");

    drop(store);
    let store = Store::open(&dir).unwrap();
    assert!(store.get(&RunName::job(1)).await.unwrap().is_some());
}

/// If the process is killed while it creates the file, at whatever byte, the next start creates it
/// again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partly_created_file_does_not_prevent_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    drop(Store::open(&whole).unwrap());
    let bytes = std::fs::read(whole.join(FILE)).unwrap();
    for made in [0, 1, 9, 320, 4_096, bytes.len()] {
        let dir = dir.path().join(made.to_string());
        std::fs::create_dir(&dir).unwrap();
        // The first bytes, which identify the format, are written last.
        let mut half = bytes[..made].to_vec();
        half.iter_mut().take(9).for_each(|byte| *byte = 0);
        std::fs::write(dir.join("tinqs-ci.new-1"), half).unwrap();
        let store = Store::open(&dir).unwrap();
        store.put(&run(1), Expect::Absent).await.unwrap();
        let names: Vec<_> =
            std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE], "nothing else is left");
    }
}

/// Several processes start at once in an empty directory: at most one opens the store, and it is
/// whole.
#[test]
fn of_several_concurrent_first_starts_at_most_one_wins() {
    for _ in 0..10 {
        let dir = tempfile::tempdir().unwrap();
        let start = std::sync::Barrier::new(4);
        let opened: Vec<_> = std::thread::scope(|scope| {
            let open = || {
                start.wait();
                Store::open(dir.path())
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let refused = |store: &&Result<Store, OpenError>| {
            matches!(store, Err(OpenError::Busy { .. } | OpenError::Io { .. }))
        };
        assert!(opened.iter().filter(|store| store.is_ok()).count() <= 1);
        assert!(opened.iter().all(|s| s.is_ok() || refused(&s)), "{opened:?}");
        drop(opened);
        Store::open(dir.path()).unwrap();
    }
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(FILE), "some text that is not a database at all").unwrap();
    let refused = Store::open(dir.path()).unwrap_err();
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused:?}");
    std::fs::write(dir.path().join("file"), "").unwrap();
    let refused = Store::open(&dir.path().join("file")).unwrap_err();
    assert!(matches!(refused, OpenError::Io { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_writes_share_a_commit_and_replace_the_probe() {
    let store = Arc::new(Store::memory().unwrap());
    store.can_be_written().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for id in 0..2_000 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.put(&run(id), Expect::Absent).await });
    }
    while let Some(done) = tasks.join_next().await {
        assert_eq!(done.unwrap().unwrap(), 1);
    }
    assert!(store.file.written_within(PROBE_EVERY));
    store.can_be_written().await.unwrap();
    let probes = store.read("probes", tables::probes).await.unwrap();
    assert!(probes <= 1, "{probes} probes wrote although writes succeed");
    assert_eq!(store.open(Timestamp::MIN).await.unwrap().len(), 2_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_years_ahead_deletes_a_month_of_usage_each_day_at_most() {
    let store = Store::memory().unwrap();
    let count = async |id, day| {
        let (class, repo) = (ClassName("linux".to_owned()), format!("o/{id}"));
        let key = UsageKey { day, class, repo, workflow: String::new() };
        let amount = Amount { jobs: 1, ..Amount::default() };
        store.put_counting(&run(id), Expect::Absent, &Usage { key, amount }).await.unwrap();
    };
    let days = async || -> Vec<String> {
        let (first, last) = (Date::constant(2020, 1, 1), Date::constant(2099, 1, 1));
        let usage = store.usage(first, last).await.unwrap();
        usage.into_iter().map(|usage| usage.key.day.to_string()).collect()
    };
    for (id, (month, day)) in (1..).zip([(1, 1), (1, 31), (2, 1), (2, 28), (3, 1)]) {
        count(id, Date::constant(2026, month, day)).await;
    }
    let ahead = Date::constant(2036, 1, 1);
    for id in 10..13 {
        count(id, ahead).await;
    }
    let late = "2036-01-01";
    assert_eq!(days().await, ["2026-02-01", "2026-02-28", "2026-03-01", late, late, late]);
    count(20, ahead.tomorrow().unwrap()).await;
    assert_eq!(days().await, ["2026-03-01", late, late, late, "2036-01-02"]);
    // The right clock deletes what is older than 13 months, and nothing else.
    count(30, Date::constant(2027, 4, 1)).await;
    assert_eq!(days().await.first().map(String::as_str), Some("2026-03-01"));
    count(31, Date::constant(2027, 4, 2)).await;
    assert_eq!(days().await.first().map(String::as_str), Some("2027-04-01"));
}
