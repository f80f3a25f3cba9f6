//! Mutants that random faults reveal too rarely: one fixed interleaving each.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::controller::{Controller, Settings};
use tinqs_ci_reconciler::model::{Class, ClassName, RunName};
use tinqs_ci_simulator::clock::Virtual;
use tinqs_ci_simulator::executor::{Executor, Group, Scheduler};
use tinqs_ci_simulator::forge::{Config, Forge, JobSpec, Line};
use tinqs_ci_simulator::play::{Variant, linux};
use tinqs_ci_simulator::ports::SimulatedPorts;
use tinqs_ci_simulator::world::{Shared, World};

use crate::mutant::Mutant;
use crate::variant::Mutants;

pub(crate) fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// A world with one waiting job, or several of one workflow run, advanced step by step.
pub(crate) struct Stage {
    pub(crate) world: Shared,
    clock: Virtual,
    executor: Executor,
    /// The first one.
    pub(crate) job: i64,
    mutants: Mutants,
}

impl Stage {
    fn new(mutants: &'static [Mutant]) -> Self {
        // Jobs are rerun under their own IDs.
        Self::of(mutants, Line::V1_26, &[JobSpec::new("build", &["linux"])])
    }

    pub(crate) fn of(mutants: &'static [Mutant], line: Line, jobs: &[JobSpec]) -> Self {
        let start = Timestamp::from_second(1_767_225_600).unwrap();
        let clock = Virtual::starting_at(start);
        let config = Config { line, ..Config::default() };
        let forge = Arc::new(Mutex::new(Forge::new(config)));
        let mutants = Mutants(mutants);
        let mut world = World::new(1, Arc::new(clock.clone()), forge);
        mutants.change(&mut world);
        world.laws.classes = vec![linux(seconds(1))];
        let job = world.forge().push(start, "acme/widget", jobs)[0];
        let executor = Executor::new(clock.clone());
        Self { world: Arc::new(Mutex::new(world)), clock, executor, job, mutants }
    }

    pub(crate) fn now(&self) -> Timestamp {
        tinqs_ci_reconciler::ports::Clock::now(&self.clock)
    }

    pub(crate) fn scheduler(&self) -> Scheduler {
        self.executor.scheduler()
    }

    pub(crate) fn name(&self) -> RunName {
        RunName::job(self.job)
    }

    pub(crate) fn controller(&self, group: Group) -> Arc<Controller> {
        self.controller_of(group, vec![linux(seconds(1))])
    }

    fn controller_of(&self, group: Group, classes: Vec<Class>) -> Arc<Controller> {
        let simulated_ports =
            SimulatedPorts::simulated(self.world.clone(), self.scheduler(), group);
        let ports = simulated_ports.ports(Arc::new(self.clock.clone()));
        let ports = self.mutants.ports(ports, &self.world);
        let settings = Settings {
            installation: "simulated".to_owned(),
            instance_url: "https://gitea.example.com".to_owned(),
            git_token: None,
            secrets: Vec::new(),
            classes,
            prices: std::collections::BTreeMap::new(),
            poll_every: seconds(10),
            sweep_every: seconds(60),
            replica: format!("replica-{group}"),
        };
        Arc::new(Controller::new(ports, settings).deciding_by(self.mutants.plan()))
    }

    /// Reconciles the run once, as a task of a group.
    pub(crate) fn reconcile(&self, group: Group, controller: &Arc<Controller>) {
        self.reconcile_each(group, controller, self.name());
    }

    fn reconcile_each(&self, group: Group, controller: &Arc<Controller>, name: RunName) {
        let controller = controller.clone();
        self.scheduler().spawn(group, async move {
            controller.reconcile(&name).await;
        });
    }

    /// Reads the forge's job list once.
    pub(crate) fn poll(&self, group: Group, controller: &Arc<Controller>) {
        let controller = controller.clone();
        self.scheduler().spawn(group, async move {
            let report = controller.poll().await;
            assert_eq!(report.errors, Vec::<String>::new());
        });
    }

    /// Steps from event to event until `holds`; panics after ten minutes.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&World) -> bool) {
        let last = self.now() + SignedDuration::from_mins(10);
        loop {
            self.executor.run_ready();
            if holds(&self.world.lock()) {
                return;
            }
            let event = self.world.lock().next_event();
            let next = self.executor.next_timer().into_iter().fold(event, Timestamp::min);
            assert!(next <= last, "timed out waiting until {what}");
            self.executor.advance(next);
            self.world.lock().advance();
        }
    }

    /// Lets time pass.
    pub(crate) fn rest(&mut self, wait: SignedDuration) {
        let end = self.now() + wait;
        let sleep = self.scheduler().sleep_until(end);
        self.scheduler().spawn(0, sleep);
        self.until("time has passed", |world| world.now() >= end);
    }

    pub(crate) fn broken(&self) -> Vec<String> {
        let world = self.world.lock();
        world.laws.violations().iter().map(|v| format!("{} {}", v.law, v.what)).collect()
    }
}

pub(crate) fn calls(world: &World, name: &str) -> u64 {
    world.calls.get(name).copied().unwrap_or(0)
}

/// A reconcile pauses before its write; meanwhile its run is removed and recreated, and reaches the
/// version that the reconcile has read.
fn written_over(mutants: &'static [Mutant]) -> Vec<String> {
    let mut stage = Stage::new(mutants);
    let name = stage.name();
    let (slow, other) = (stage.controller(1), stage.controller(2));
    stage.poll(2, &other);
    stage.until("the run is created", |world| world.records.run(&name).is_some());
    let first = stage.world.lock().records.run(&name).map(|run| (run.uid, run.version)).unwrap();
    stage.reconcile(1, &slow);
    stage.until("it is about to write", |world| calls(world, "forge.register") == 1);
    stage.scheduler().pause(1, stage.now() + seconds(50));
    let job = stage.job;
    let now = stage.now();
    stage.world.lock().forge().cancel(now, job);
    for _ in 0..8 {
        stage.reconcile(2, &other);
        stage.rest(seconds(2));
    }
    assert!(stage.world.lock().records.run(&name).is_none(), "it should be finished and removed");
    let now = stage.now();
    assert_eq!(stage.world.lock().forge().rerun(now, job), job);
    stage.poll(2, &other);
    stage.until("the run is recreated", |world| world.records.run(&name).is_some());
    let second = stage.world.lock().records.run(&name).map(|run| (run.uid, run.version)).unwrap();
    assert_ne!(first.0, second.0, "another incarnation");
    assert_eq!(first.1, second.1, "of the same version");
    let before = calls(&stage.world.lock(), "store.put");
    stage.until("the slow reconcile writes", |world| calls(world, "store.put") > before);
    stage.broken()
}

#[test]
fn version_without_uid() {
    assert_eq!(written_over(&[]), Vec::<String>::new());
    let broken = written_over(&[Mutant::VersionWithoutUid]);
    assert!(broken.iter().any(|b| b.starts_with("L4") && b.contains("another uid")), "{broken:?}");
}

/// A launch's reply is lost as its replica dies, and its machine is interrupted while the list
/// still hides it: the token returns a dead machine. Returns the time until a second machine.
fn second_machine_after_a_dead_one(mutants: &'static [Mutant]) -> SignedDuration {
    let mut stage = Stage::new(mutants);
    let name = stage.name();
    stage.world.lock().faults.list_lag = seconds(290);
    let (first, second) = (stage.controller(1), stage.controller(2));
    stage.poll(2, &second);
    stage.until("the run is created", |world| world.records.run(&name).is_some());
    stage.reconcile(1, &first);
    stage.until("it is launched", |world| calls(world, "compute.launch") == 1);
    stage.scheduler().crash(1);
    stage.rest(seconds(1));
    let now = stage.now();
    {
        let mut world = stage.world.lock();
        let id = world.cloud.live().next().map(|machine| machine.id.clone()).unwrap();
        world.cloud.interrupt(now, &id);
    }
    stage.rest(seconds(30));
    let began = stage.now();
    while stage.world.lock().cloud.machines().count() < 2 {
        assert!(stage.now() < began + SignedDuration::from_mins(30), "there is no second machine");
        stage.reconcile(2, &second);
        stage.rest(seconds(5));
    }
    assert_eq!(stage.broken(), Vec::<String>::new());
    stage.now().duration_since(began)
}

#[test]
fn dead_token_taken_for_a_live_machine() {
    let waited = second_machine_after_a_dead_one(&[]);
    assert!(waited <= seconds(10), "{waited:#}: the reply itself shows that the machine is dead");
    let waited = second_machine_after_a_dead_one(&[Mutant::DeadTokenLives]);
    assert!(waited > SignedDuration::from_mins(3), "{waited:#}: it should wait for the list");
}

/// A replica dies after it took a seat. Then another class, with a limit of one machine, serves
/// first and has a machine.
fn a_seat_of_the_class_before(mutants: &'static [Mutant]) -> Vec<String> {
    let mut stage = Stage::new(mutants);
    let class = |name: &str| {
        let mut class = linux(SignedDuration::from_hours(1));
        class.name = ClassName(name.to_owned());
        class.limit = Some(1);
        class
    };
    let (before, after) = (class("before"), class("after"));
    stage.world.lock().laws.classes = vec![after.clone(), before.clone()];
    let (first, name) = (stage.controller_of(1, vec![before.clone()]), stage.name());
    let second = stage.controller_of(2, vec![after, before]);
    stage.poll(2, &second);
    stage.until("the run is created", |world| world.records.run(&name).is_some());
    stage.reconcile(1, &first);
    stage.until("it has its seat", |world| calls(world, "store.seat") == 1);
    stage.scheduler().crash(1);
    stage.rest(seconds(1));
    let now = stage.now();
    let jobs = [JobSpec::new("test", &["linux"])];
    let other = RunName::job(stage.world.lock().forge().push(now, "acme/widget", &jobs)[0]);
    stage.poll(2, &second);
    stage.until("the other run is created", |world| world.records.run(&other).is_some());
    stage.reconcile_each(2, &second, other);
    stage.until("it has its machine", |world| calls(world, "compute.launch") == 1);
    stage.reconcile(2, &second);
    stage.rest(seconds(5));
    assert_eq!(stage.world.lock().records.seats().count(), 2, "one in each class");
    stage.broken()
}

#[test]
fn seat_without_its_class() {
    assert_eq!(a_seat_of_the_class_before(&[]), Vec::<String>::new());
    let broken = a_seat_of_the_class_before(&[Mutant::SeatWithoutClass]);
    assert!(broken.iter().any(|b| b.starts_with("L6")), "{broken:?}");
}

/// A job is cancelled while its machine boots, and all records are lost: the machine ends itself,
/// and its registration stays without a record. Returns the registrations left after a quarter of
/// an hour.
fn registrations_left_without_a_record(mutants: &'static [Mutant]) -> usize {
    let mut stage = Stage::new(mutants);
    let (name, job) = (stage.name(), stage.job);
    let controller = stage.controller(1);
    stage.poll(1, &controller);
    stage.until("the run is created", |world| world.records.run(&name).is_some());
    stage.reconcile(1, &controller);
    stage.until("it is launched", |world| calls(world, "compute.launch") == 1);
    stage.rest(seconds(5));
    let now = stage.now();
    {
        let mut world = stage.world.lock();
        world.forge().cancel(now, job);
        world.records.lose_all();
        world.laws.records_lost = true;
    }
    for _ in 0..15 {
        stage.scheduler().spawn(1, {
            let (controller, name) = (controller.clone(), name.clone());
            let world = stage.world.clone();
            async move {
                let before = world.lock().laws.woken(&name);
                controller.sweep().await;
                let woken = world.lock().laws.woken(&name) > before;
                if woken {
                    controller.reconcile(&name).await;
                }
            }
        });
        stage.rest(seconds(60));
    }
    assert_eq!(stage.broken(), Vec::<String>::new());
    let world = stage.world.lock();
    assert_eq!(world.cloud.live().count(), 0, "its machine should have drained itself");
    world.forge().runners().count()
}

#[test]
fn sweep_ignores_orphans() {
    assert_eq!(registrations_left_without_a_record(&[]), 0);
    let left = registrations_left_without_a_record(&[Mutant::SweepIgnoresOrphans]);
    assert_eq!(left, 1, "only the sweep finds it");
}
