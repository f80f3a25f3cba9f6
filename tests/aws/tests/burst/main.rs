//! Hundreds of simultaneous jobs under EC2's default token buckets: the controller, the adapter with
//! its own pace, the real SDK, and EC2's wire with its buckets, on a virtual clock. (The adapter's
//! own suite covers how concurrent launches wait in the launch queue.)

#[allow(dead_code, reason = "the suite of machines uses the rest")]
#[path = "../cloud/mod.rs"]
mod cloud;
#[path = "../history/forge.rs"]
#[allow(dead_code, reason = "the histories use the rest")]
mod forge;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cloud::INSTALLATION;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_aws::ec2::Machines;
use tinqs_ci_aws::pace::Rates;
use tinqs_ci_local::queue::MemoryQueue;
use tinqs_ci_reconciler::controller::{Controller, Settings};
use tinqs_ci_reconciler::model::{
    Class, ClassName, MachineOptions, MachineSpec, Market, Phase, Reason, Run, RunName, Times,
};
use tinqs_ci_reconciler::ports::{Clock, Ports};
use tinqs_ci_simulator::clock::Virtual;
use tinqs_ci_simulator::ec2_wire::{Account, Buckets, Ec2Options, Ec2Wire};
use tinqs_ci_simulator::forge::JobSpec;
use tinqs_ci_testing::TestWorld;
use tokio::task::JoinSet;

use forge::TestForge;

/// Returns how many jobs of each class are pushed: ten of the usual one for each of the class without
/// capacity; 300 and 30, or as `TINQS_CI_JOBS` says.
fn sizes() -> (usize, usize) {
    static USUAL: LazyLock<usize> = LazyLock::new(|| match std::env::var("TINQS_CI_JOBS") {
        Ok(jobs) => jobs.parse().expect("TINQS_CI_JOBS is a number"),
        Err(_) => 300,
    });
    let rare = USUAL.div_ceil(10);
    (10 * rare, rare)
}

/// EC2's default token bucket for launches: its size and its refill per second.
const BUCKET: (f64, f64) = (5.0, 2.0);

fn class(label: &str, kind: &str, subnet: &str) -> Class {
    Class {
        name: ClassName(label.to_owned()),
        labels: vec![label.to_owned()],
        serves_unlabeled: false,
        machines: vec![MachineSpec {
            kind: kind.to_owned(),
            subnet: subnet.to_owned(),
            market: Market::Spot,
            image: "ami-0123".to_owned(),
            security_groups: vec!["sg-1".to_owned()],
            instance_profile: "tinqs-ci-runner".to_owned(),
            runner: None,
            options: MachineOptions::default(),
        }],
        limit: None,
        repo_limit: None,
        owner_limit: None,
        rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
        budget: None,
        allocation: tinqs_ci_reconciler::model::Allocation::Order,
        repos: Vec::new(),
        times: Times::default(),
    }
}

fn settings() -> Settings {
    Settings {
        installation: INSTALLATION.to_owned(),
        instance_url: "http://127.0.0.1:3000".to_owned(),
        git_token: None,
        secrets: Vec::new(),
        classes: vec![
            class("linux", "t3.small", "subnet-a"),
            class("rare", "t3a.small", "subnet-b"),
        ],
        prices: std::collections::BTreeMap::new(),
        poll_every: SignedDuration::from_secs(10),
        sweep_every: SignedDuration::from_secs(60),
        replica: "replica".to_owned(),
    }
}

/// EC2 with capacity for all jobs and quick machines, which keeps the lists short.
fn wire(clock: &Virtual, test_forge: &TestForge) -> Ec2Wire {
    let mut account = Account::default();
    for subnet in &mut account.subnets {
        subnet.addresses = 10_000;
    }
    let second = SignedDuration::from_secs(1);
    let mut options = Ec2Options {
        clock: Some(Arc::new(clock.clone())),
        installation: Some(INSTALLATION.to_owned()),
        account,
        buckets: Buckets::usual(),
        boots_in: second,
        ends_within: second,
        listed_after_end: second * 5,
        forge: Some(test_forge.forge.clone()),
        ..Ec2Options::instant()
    };
    options.outcome.starts_in = second;
    let wire = Ec2Wire::start(options).expect("EC2");
    let hours = Duration::from_hours(2);
    wire.run_short("t3a.small", "us-east-1b", Market::Spot, hours);
    wire
}

/// Pushes the jobs of both classes, mixed. Returns the IDs of each class.
fn push(test_forge: &TestForge) -> (Vec<i64>, Vec<i64>) {
    let (mut usual, mut rare) = (Vec::new(), Vec::new());
    let job = |label: &str| JobSpec {
        work: SignedDuration::from_secs(1),
        ..JobSpec::new(format!("build on {label}"), &[label])
    };
    for _ in 0..sizes().1 {
        rare.extend(test_forge.push(&[job("rare")]));
        usual.extend(test_forge.push(&vec![job("linux"); 10]));
    }
    (usual, rare)
}

/// Returns when each machine was launched, in seconds after the first.
fn launches(wire: &Ec2Wire) -> Vec<f64> {
    let ids: Vec<_> = wire.machines().into_iter().map(|machine| machine.id).collect();
    let at = |id| wire.cloud(|cloud| cloud.machine(id).map(|machine| machine.launched_at));
    let mut all: Vec<Timestamp> = ids.iter().filter_map(at).collect();
    all.sort();
    let first = all.first().copied().unwrap_or_default();
    all.into_iter().map(|at| at.duration_since(first).as_secs_f64()).collect()
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("small"))
}

/// The controller's loops, driven by the test.
struct Loops {
    controller: Arc<Controller>,
    queue: Arc<MemoryQueue>,
    clock: Virtual,
    polls_at: Timestamp,
    sweeps_at: Timestamp,
}

impl Loops {
    /// Runs everything that is due now: one reconcile at a time while the pace has room for a
    /// launch, the rest concurrently.
    async fn turn(&mut self) {
        let now = self.clock.now();
        if now >= self.polls_at {
            self.polls_at = now + self.controller.settings().poll_every;
            assert_eq!(self.controller.poll().await.errors, [] as [String; 0]);
        }
        if now >= self.sweeps_at {
            self.sweeps_at = now + self.controller.settings().sweep_every;
            assert_eq!(self.controller.sweep().await.errors, [] as [String; 0]);
        }
        self.controller.wake_due().await;
        let ports = self.controller.ports();
        while self.queue.waiting() > 0 {
            let mut reconciles = JoinSet::new();
            for delivery in ports.queue.next(1_000).await.expect("it is in memory") {
                if ports.compute.room() {
                    self.controller.reconcile(&delivery.name).await;
                } else {
                    let (controller, name) = (self.controller.clone(), delivery.name.clone());
                    reconciles.spawn(async move { controller.reconcile(&name).await });
                }
                ports.queue.done(delivery).await.expect("it is in memory");
            }
            reconciles.join_all().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_jobs_are_launched_as_fast_as_ec2_allows() {
    let start: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
    let clock = Virtual::starting_at(start);
    let shared: Arc<dyn Clock> = Arc::new(clock.clone());
    let test_forge = TestForge::new(shared.clone());
    let wire = wire(&clock, &test_forge);
    let (store, queue) = (TestWorld::new(), Arc::new(MemoryQueue::new()));
    let clients = cloud::clients(&wire.url()).await;
    let ports = Ports {
        clock: shared.clone(),
        store: store.clone(),
        queue: queue.clone(),
        compute: Arc::new(Machines::new(clients, INSTALLATION, shared, Rates::default())),
        forge: Arc::new(test_forge.clone()),
    };
    let controller = Arc::new(Controller::new(ports, settings()));
    let (polls_at, sweeps_at) = (start, start);
    let mut loops = Loops { controller, queue, clock: clock.clone(), polls_at, sweeps_at };
    let (usual, rare) = push(&test_forge);
    let done = || {
        let forge = test_forge.forge();
        let over = |job: &&i64| forge.job(**job).is_some_and(|job| job.status.is_done());
        usual.iter().filter(over).count()
    };
    let (jobs, mut reconciled) = (sizes().0, 0);
    while done() < jobs {
        loops.turn().await;
        let passed = clock.now().duration_since(start);
        assert!(passed < SignedDuration::from_mins(30), "{} of {jobs}", done());
        let launched = wire.machines().len();
        let most = BUCKET.0 + BUCKET.1 * passed.as_secs_f64();
        assert!(number(launched) <= most, "{launched} launches in {passed:#}");
        // During the burst, a run without a machine gives its reason and has called nothing.
        if launched < jobs {
            reconciled += 1;
            let runs: Vec<Run> = store.state().runs.values().cloned().collect();
            wait_their_turn(&runs, &usual, launched);
            wait_for_capacity(&runs, &rare);
        }
        clock.set(clock.now() + SignedDuration::from_secs(1));
        wire.cloud(|_| ());
        test_forge.forge().tick(clock.now());
    }
    assert!(reconciled > jobs * 2 / 5, "{reconciled}");
    let ledger = wire.ledger();
    let (calls, asked) = (ledger.count("RunInstances"), launches(&wire));
    let refused = ledger.of("RunInstances").filter(|entry| entry.status == 500).count();
    let last = asked.last().copied().unwrap_or_default();
    println!(
        "{jobs} jobs, {} launches in {last:.0} s: {calls} calls, {refused} of them without \
         capacity, {} throttled; {} listings",
        asked.len(),
        ledger.throttled(),
        ledger.count("DescribeInstances"),
    );
    assert_eq!(ledger.throttled(), 0, "no call was throttled");
    assert_eq!(asked.len(), jobs, "one machine per job");
    assert_eq!(calls, jobs + refused, "one call per machine, plus refusals");
    // The other class's missing capacity costs this one only the launch permits of its refusals.
    // (The last ones are displaced jobs, which wait up to a minute for a reassigned machine, and not
    // for the pace.)
    let Rates { launch: pace, .. } = Rates::default();
    let displaced = pace.per_second * Times::default().assign_within.as_secs_f64();
    let most = (1..jobs).rfind(|count| number(*count) <= number(jobs) - displaced);
    let most = most.expect("a burst longer than a minute");
    let at = asked[most - 1];
    let enough = (number(most + refused) - pace.capacity) / pace.per_second;
    println!("{most} of them in {at:.0} s; ideal: {enough:.0} s");
    assert!(at <= enough * 1.1 + 5.0, "{at} s; ideal: {enough} s");
    assert!((1..=20).contains(&refused), "{refused} launches without capacity");
    assert_eq!(wire.violations(), []);
    assert_eq!(test_forge.wrong(), [] as [String; 0]);
}

fn of<'r>(runs: &'r [Run], jobs: &[i64]) -> Vec<&'r Run> {
    let names: BTreeSet<RunName> = jobs.iter().map(|job| RunName::job(*job)).collect();
    runs.iter().filter(|run| names.contains(&run.name)).collect()
}

/// Asserts that no run has an attempt before its launch, and that a run without one is paced.
fn wait_their_turn(runs: &[Run], jobs: &[i64], launched: usize) {
    let runs = of(runs, jobs);
    assert_eq!(runs.len(), sizes().0, "each has its run");
    let tried = runs.iter().filter(|run| run.status.attempt.is_some()).count();
    assert!(tried <= launched, "{tried} attempts recorded, {launched} launched");
    for run in runs.iter().filter(|run| run.status.attempt.is_none() && run.is_open()) {
        // A job may run on a machine launched for another job.
        let reason = run.status.reason();
        let paced = reason == Some(Reason::Paced) || run.status.phase != Phase::Waiting;
        assert!(paced, "{run:?}");
    }
}

/// Asserts that every run of the class without capacity gives its reason.
fn wait_for_capacity(runs: &[Run], jobs: &[i64]) {
    let runs = of(runs, jobs);
    assert_eq!(runs.len(), sizes().1, "each has its run");
    let says = [Reason::NoCapacity, Reason::Paced, Reason::BackingOff];
    for run in runs {
        assert!(run.status.reason().is_some_and(|reason| says.contains(&reason)), "{run:?}");
    }
}
