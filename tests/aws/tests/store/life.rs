//! Complete runs by the real controller: every response of the table is compared with a model's,
//! and the capacity units are counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_aws::store::{DynamoStore, Units};
use tinqs_ci_reconciler::controller::{Controller, Settings};
use tinqs_ci_reconciler::model::{
    AttemptId, Class, ClassName, Pause, Phase, RepoRef, RerunKey, Reruns, Run, RunName, SeatLimits,
    Secret, Uid, Usage,
};
use tinqs_ci_reconciler::ports::{Expect, Filter, OpenRun, Page, PortError, Ports, RunStore, Seat};
use tinqs_ci_simulator::clock::Virtual;
use tinqs_ci_simulator::forge::{Config, Forge, JobSpec, Status};
use tinqs_ci_simulator::play::linux;
use tinqs_ci_simulator::ports::SimulatedPorts;
use tinqs_ci_simulator::world::{Shared, World};
use tinqs_ci_testing::TestWorld;

use crate::wire::Wire;

/// The table and the model, whose responses must be equal.
struct StoreAndModel {
    table: Arc<DynamoStore>,
    model: Arc<dyn RunStore>,
    sizes: Mutex<Vec<usize>>,
    puts: Mutex<BTreeMap<RunName, u32>>,
}

fn same<T: PartialEq + std::fmt::Debug>(
    table: Result<T, PortError>,
    model: &Result<T, PortError>,
) -> Result<T, PortError> {
    match (&table, model) {
        (Ok(table), Ok(model)) => assert_eq!(table, model),
        (Err(table), Err(model)) => assert_eq!(table.kind, model.kind, "{table} {model}"),
        (table, model) => panic!("the table returns {table:?}, the model {model:?}"),
    }
    table
}

#[async_trait]
impl RunStore for StoreAndModel {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        same(self.table.get(name).await, &self.model.get(name).await)
    }
    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError> {
        let encoded = tinqs_ci_reconciler::model::encode(run).len();
        self.sizes.lock().push(encoded);
        *self.puts.lock().entry(run.name.clone()).or_default() += 1;
        same(self.table.put(run, expect).await, &self.model.put(run, expect).await)
    }
    async fn put_counting(
        &self,
        run: &Run,
        expect: Expect,
        used: &Usage,
    ) -> Result<u64, PortError> {
        let encoded = tinqs_ci_reconciler::model::encode(run).len();
        self.sizes.lock().push(encoded);
        *self.puts.lock().entry(run.name.clone()).or_default() += 1;
        let table = self.table.put_counting(run, expect, used).await;
        same(table, &self.model.put_counting(run, expect, used).await)
    }
    async fn usage(&self, first: Date, last: Date) -> Result<Vec<Usage>, PortError> {
        let sorted = |usage: Result<Vec<Usage>, PortError>| {
            usage.map(|mut usage| {
                usage.sort_by(|a, b| a.key.cmp(&b.key));
                usage
            })
        };
        let table = sorted(self.table.usage(first, last).await);
        same(table, &sorted(self.model.usage(first, last).await))
    }
    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError> {
        same(
            self.table.remove(name, uid, version).await,
            &self.model.remove(name, uid, version).await,
        )
    }
    async fn open(&self, now: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        let sorted = |listed: Result<Vec<OpenRun>, PortError>| {
            listed.map(|mut open| {
                // DynamoDB removes finished runs by itself.
                open.retain(|open| open.phase != Phase::Finished);
                open.sort_by(|a, b| a.name.cmp(&b.name));
                open
            })
        };
        same(sorted(self.table.open(now).await), &sorted(self.model.open(now).await))
    }
    async fn page(&self, filter: &Filter, after: Option<&str>) -> Result<Page, PortError> {
        self.table.page(filter, after).await
    }
    async fn seat(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        limits: SeatLimits,
    ) -> Result<bool, PortError> {
        let table = self.table.seat(class, attempt_id, repo, limits).await;
        same(table, &self.model.seat(class, attempt_id, repo, limits).await)
    }
    async fn unseat(&self, class: &ClassName, attempt_id: &AttemptId) -> Result<(), PortError> {
        same(
            self.table.unseat(class, attempt_id).await,
            &self.model.unseat(class, attempt_id).await,
        )
    }
    async fn seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError> {
        let sorted = |seats: Result<Vec<Seat>, PortError>| {
            seats.map(|mut seats| {
                seats.sort_by(|a, b| a.attempt_id.cmp(&b.attempt_id));
                seats
            })
        };
        same(sorted(self.table.seats(class).await), &sorted(self.model.seats(class).await))
    }
    async fn pause(&self, pause: &Pause) -> Result<Pause, PortError> {
        same(self.table.pause(pause).await, &self.model.pause(pause).await)
    }
    async fn resume(&self, class: Option<&ClassName>) -> Result<Vec<Pause>, PortError> {
        same(self.table.resume(class).await, &self.model.resume(class).await)
    }
    async fn pauses(&self) -> Result<Vec<Pause>, PortError> {
        same(self.table.pauses().await, &self.model.pauses().await)
    }
    async fn reruns(&self, key: &RerunKey) -> Result<Option<Reruns>, PortError> {
        same(self.table.reruns(key).await, &self.model.reruns(key).await)
    }
    async fn put_reruns(&self, reruns: &Reruns) -> Result<u64, PortError> {
        same(self.table.put_reruns(reruns).await, &self.model.put_reruns(reruns).await)
    }
    async fn lease(
        &self,
        what: &str,
        holder: &str,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<bool, PortError> {
        let table = self.table.lease(what, holder, now, ttl).await;
        same(table, &self.model.lease(what, holder, now, ttl).await)
    }
}

/// A simulated world without faults, and a controller over the table.
struct QuietWorld {
    clock: Virtual,
    world: Shared,
    /// Its queue alone is used.
    wakes: Arc<TestWorld>,
    store: Arc<StoreAndModel>,
    controller: Controller,
}

impl QuietWorld {
    fn new(table: Arc<DynamoStore>, class: Class) -> Self {
        let clock = Virtual::starting_at(Timestamp::from_second(1_767_225_600).expect("a time"));
        let forge = Arc::new(Mutex::new(Forge::new(Config::default())));
        let mut world = World::new(1, Arc::new(clock.clone()), forge);
        world.laws.classes = vec![class.clone()];
        let world: Shared = Arc::new(Mutex::new(world));
        let model = SimulatedPorts::live(world.clone()).ports(Arc::new(clock.clone()));
        let store = Arc::new(StoreAndModel {
            table,
            model: model.store.clone(),
            sizes: Mutex::default(),
            puts: Mutex::default(),
        });
        let wakes = TestWorld::new();
        let ports = Ports { store: store.clone(), queue: wakes.clone(), ..model };
        let settings = Settings {
            installation: "simulated".to_owned(),
            instance_url: "https://gitea.example.com".to_owned(),
            git_token: Some(Secret::new("git-secret")),
            secrets: Vec::new(),
            classes: vec![class],
            prices: std::collections::BTreeMap::new(),
            poll_every: SignedDuration::from_secs(10),
            sweep_every: SignedDuration::from_secs(60),
            replica: "replica-0".to_owned(),
        };
        let controller = Controller::new(ports, settings);
        Self { clock, world, wakes, store, controller }
    }

    /// Takes a name that was woken, once for all its wake-ups.
    fn next_name(&self) -> Option<RunName> {
        let mut state = self.wakes.state();
        let name = state.queue.pop_front()?;
        state.queue.retain(|waiting| *waiting != name);
        Some(name)
    }

    fn push(&self, jobs: usize) -> Vec<i64> {
        let now = self.world.lock().now();
        let specs: Vec<JobSpec> =
            (0..jobs).map(|n| JobSpec::new(format!("test {n}"), &["linux"])).collect();
        self.world.lock().forge().push(now, "acme/widget", &specs)
    }

    fn statuses(&self, jobs: &[i64]) -> Vec<Option<Status>> {
        let world = self.world.lock();
        let forge = world.forge();
        jobs.iter().map(|id| forge.job(*id).map(|job| job.status)).collect()
    }

    /// Advances the clock until every run of these jobs is finished and cleaned up.
    async fn until_finished(&self, jobs: &[i64]) {
        let mut before = self.statuses(jobs);
        for step in 0..2_000_u32 {
            {
                let mut world = self.world.lock();
                let next = world.now() + SignedDuration::from_secs(5);
                self.clock.set(next);
                world.advance();
            }
            if step % 2 == 0 {
                assert_eq!(self.controller.poll().await.errors, [] as [String; 0]);
            }
            if step % 12 == 0 {
                assert_eq!(self.controller.sweep().await.errors, [] as [String; 0]);
            }
            // Simulates webhooks.
            let now = self.statuses(jobs);
            for (id, (before, now)) in jobs.iter().zip(before.iter().zip(&now)) {
                if before != now {
                    self.wakes.state().queue.push_back(RunName::job(*id));
                }
            }
            before = now;
            self.controller.wake_due().await;
            while let Some(name) = self.next_name() {
                let report = self.controller.reconcile(&name).await;
                assert_eq!(report.error, None, "{report:?}");
            }
            let open = self.store.open(self.clock_now()).await.expect("a list");
            if step > 12 && open.is_empty() && step % 24 == 0 {
                return;
            }
        }
        panic!("not finished within hours: {:?}", self.statuses(jobs));
    }

    fn clock_now(&self) -> Timestamp {
        self.world.lock().now()
    }

    fn machines(&self) -> u64 {
        self.world.lock().calls.get("compute.launch").copied().unwrap_or(0)
    }
}

#[allow(clippy::cast_precision_loss, reason = "some dozens")]
async fn charged(class: Class, jobs: usize) -> (f64, f64, Vec<usize>) {
    let wire = Wire::start().await;
    let table = Arc::new(wire.store("runs", "a").await);
    let quiet = QuietWorld::new(table.clone(), class);
    // The first sweep is not part of the runs' cost.
    quiet.controller.sweep().await;
    let jobs = quiet.push(jobs);
    let before = (table.units(), wire.calls("PutItem"));
    quiet.until_finished(&jobs).await;
    let Units { written, read } = table.units();
    let leases = quiet.world.lock().calls.get("store.lease").copied().unwrap_or(1) - 1;
    let of_runs = written - before.0.written - leases as f64;
    let puts: u32 = quiet.store.puts.lock().values().sum();
    let n = jobs.len() as f64;
    println!(
        "{} runs, {} machines, {:.2} writes, {:.2} write units, {:.2} read units per run",
        jobs.len(),
        quiet.machines(),
        f64::from(puts) / n,
        of_runs / n,
        (read - before.0.read) / n
    );
    assert_eq!(quiet.machines(), jobs.len() as u64, "without faults, one machine per job");
    assert_eq!(table.unreadable(), 0);
    // The emulator charges for indexes as AWS does.
    let sizes = std::mem::take(&mut *quiet.store.sizes.lock());
    (of_runs / n, f64::from(puts) / n, sizes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_takes_few_write_units() {
    let (units, _, mut sizes) = charged(linux(SignedDuration::from_hours(24 * 7)), 20).await;
    sizes.sort_unstable();
    let (middle, most) = (sizes[sizes.len() / 2], sizes[sizes.len() - 1]);
    println!("records before compression: {middle} bytes (median), {most} bytes (maximum)");
    // Four of them count its usage.
    assert!(units <= 12.5, "{units} write units per run");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_with_limits_takes_few_more_write_units() {
    let class = linux(SignedDuration::from_hours(24 * 7));
    let class = Class { limit: Some(30), repo_limit: Some(30), ..class };
    let (units, _, _) = charged(class.clone(), 30).await;
    assert!(units <= 16.0, "{units} write units per run");
    // The limit of owners is checked in the same write.
    let (units, _, _) = charged(Class { owner_limit: Some(30), ..class }, 30).await;
    assert!(units <= 16.0, "{units} write units per run");
}
