//! All five ports in a few lines: jobs that wait, a store of records, and a cloud that answers each
//! class as it is told to.

mod ports;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tinqs_ci_reconciler::controller::{Controller, Fact, Report, Settings};
use tinqs_ci_reconciler::model::{
    Class, ClassName, EndedBy, Instance, InstanceState, Job, JobRef, Registration, Run, RunName,
    Slot, Spec,
};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, Ports, Seat, WaitingJob};

/// What a launch of a class is answered.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// A machine that boots.
    Takes,
    /// No machine.
    Refuses(fn() -> PortError),
}

/// Something that happens with a call.
type Event = Box<dyn FnOnce(&mut World) + Send>;
/// What somebody else does while a call is under way.
type Deed = Box<dyn FnOnce() + Send>;
type WorldGuard<'a> = MutexGuard<'a, World>;

/// Both sides of the world, for tests to arrange and to look at.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) runs: BTreeMap<RunName, Run>,
    pub(crate) machines: Vec<Instance>,
    pub(crate) rows: Vec<Registration>,
    /// The token may not list runners.
    pub(crate) rows_unknown: bool,
    pub(crate) seats: Vec<(ClassName, Seat)>,
    /// Ids of machines and rows that are found by their id, and on no list.
    pub(crate) unlisted: BTreeSet<String>,
    /// What the forge's list of jobs holds; `None` in push mode.
    pub(crate) waiting: Option<Vec<WaitingJob>>,
    /// Jobs, by their ids, that do not wait.
    pub(crate) jobs_seen: BTreeMap<i64, Job>,
    answers: BTreeMap<String, Answer>,
    /// Class and subnet of each launch that was asked for.
    asked: Vec<(String, String)>,
    writes: usize,
    jobs: i64,
    registered: i64,
    /// Launches that there is room for; `None`: any number.
    room: Option<usize>,
    /// Wake-ups that nobody has followed yet.
    woken: VecDeque<RunName>,
    /// For how long the lease was asked for.
    pub(crate) leases: Vec<SignedDuration>,
    pub(crate) led_by_another: bool,
    calls: Vec<&'static str>,
    failures: Vec<(&'static str, ErrorKind)>,
    events: Vec<(&'static str, Event)>,
    meanwhile: Vec<(&'static str, Deed)>,
}

#[derive(Clone)]
struct Door(Arc<Mutex<World>>);

/// The ports, and a controller over them.
pub(crate) struct Town {
    pub(crate) controller: Arc<Controller>,
    door: Door,
}

impl Door {
    fn world(&self) -> WorldGuard<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The doubles answer at once, so nothing ever waits.
pub(crate) fn done<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a double waits"),
    }
}

fn class(name: &str) -> Class {
    let machine = |subnet: &str, market: &str| json!({ "kind": "small", "subnet": subnet, "market": market, "image": "image-1" });
    serde_json::from_value(json!({
        "name": name, "labels": [format!("{name}:host")],
        "machines": [machine("subnet-a", "spot"), machine("subnet-b", "spot"),
            machine("subnet-a", "on-demand")],
    }))
    .expect("a class")
}

impl Town {
    /// Two classes, `good` and `bad`, whose launches are taken.
    pub(crate) fn new() -> Self {
        let now = "2026-01-01T12:00:00Z".parse().expect("a timestamp");
        let door = Door(Arc::new(Mutex::new(World { now, ..World::default() })));
        let ports = Ports {
            clock: Arc::new(door.clone()),
            store: Arc::new(door.clone()),
            queue: Arc::new(door.clone()),
            compute: Arc::new(door.clone()),
            forge: Arc::new(door.clone()),
        };
        let settings = Settings {
            installation: "test".to_owned(),
            instance_url: "https://forge".to_owned(),
            git_token: None,
            classes: vec![class("good"), class("bad")],
            poll_every: SignedDuration::from_secs(10),
            sweep_every: SignedDuration::from_secs(60),
            replica: "one".to_owned(),
        };
        Self { controller: Arc::new(Controller::new(ports, settings)), door }
    }

    /// Both sides of the world. Not to be held over a look.
    pub(crate) fn world(&self) -> WorldGuard<'_> {
        self.door.world()
    }

    /// The next call of that name fails.
    pub(crate) fn fails(&self, operation: &'static str, kind: ErrorKind) {
        self.world().failures.push((operation, kind));
    }

    /// Something happens with the next call of that name, before it is answered.
    pub(crate) fn when(
        &self,
        operation: &'static str,
        event: impl FnOnce(&mut World) + Send + 'static,
    ) {
        self.world().events.push((operation, Box::new(event)));
    }

    /// While the next call of that name is under way, another look goes from its beginning to its
    /// end.
    pub(crate) fn meanwhile(&self, operation: &'static str, looked_at: &RunName) {
        let (controller, name) = (self.controller.clone(), looked_at.clone());
        let deed = move || drop(done(controller.reconcile(&name)));
        self.world().meanwhile.push((operation, Box::new(deed)));
    }

    /// How often that was called.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.world().calls.iter().filter(|call| **call == operation).count()
    }

    /// The wake-ups since the last time, in order.
    pub(crate) fn woken(&self) -> Vec<String> {
        self.world().woken.drain(..).map(|name| name.to_string()).collect()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.world().now
    }

    /// A job is seen otherwise than waiting from now on.
    pub(crate) fn job_is(&self, name: &RunName, job: Job) {
        let mut world = self.world();
        let job_id = world.runs[name].spec.job.job_id;
        world.jobs_seen.insert(job_id, job);
    }

    /// A record is otherwise.
    pub(crate) fn change(&self, name: &RunName, change: impl FnOnce(&mut Run)) {
        change(self.world().runs.get_mut(name).expect("a run"));
    }

    /// The slot of a run's attempt of this number.
    pub(crate) fn slot(&self, name: &RunName, number: u32) -> Slot {
        self.run(name).slot(number)
    }

    /// A look at a run.
    pub(crate) fn look(&self, name: &RunName) -> Report {
        done(self.controller.reconcile(name))
    }

    pub(crate) fn answers(&self, class: &str, answer: Answer) {
        self.door.world().answers.insert(class.to_owned(), answer);
    }

    /// New jobs for a class, each with its run.
    pub(crate) fn jobs(&self, count: usize, class: &str) -> Vec<RunName> {
        let mut world = self.door.world();
        let mut names = Vec::new();
        for _ in 0..count {
            world.jobs += 1;
            let job_id = world.jobs;
            let spec = Spec {
                job: JobRef { repo: "acme/site".to_owned(), repo_id: 7, job_id },
                runs_on: vec![class.to_owned()],
                ..Spec::default()
            };
            let run = Run::new("test", RunName::job(job_id), spec, world.now);
            names.push(run.name.clone());
            world.runs.insert(run.name.clone(), Run { version: 1, ..run });
        }
        names
    }

    /// A look at each, one after the other. Answers what happened.
    pub(crate) fn look_at(&self, names: &[RunName]) -> Vec<Fact> {
        names.iter().flat_map(|name| done(self.controller.reconcile(name)).facts).collect()
    }

    /// Wakes what is due. Answers how many.
    pub(crate) fn wakes(&self) -> usize {
        done(self.controller.wake_due())
    }

    /// From now on there is room for so many launches.
    pub(crate) fn room_for(&self, launches: usize) {
        self.door.world().room = Some(launches);
    }

    /// A look for each wake-up so far and for those that come of it. Answers how many looks.
    pub(crate) fn follow(&self) -> usize {
        let mut looks = 0;
        loop {
            let next = self.door.world().woken.pop_front();
            let Some(name) = next else { return looks };
            self.look_at(&[name]);
            looks += 1;
        }
    }

    pub(crate) fn pass(&self, time: SignedDuration) {
        self.door.world().now += time;
    }

    pub(crate) fn run(&self, name: &RunName) -> Run {
        self.door.world().runs[name].clone()
    }

    pub(crate) fn launches(&self, class: &str) -> usize {
        self.door.world().asked.iter().filter(|(of, _)| of == class).count()
    }

    /// Of each launch, in order.
    pub(crate) fn subnets(&self) -> Vec<String> {
        self.door.world().asked.iter().map(|(_, subnet)| subnet.clone()).collect()
    }

    pub(crate) fn writes(&self) -> usize {
        self.door.world().writes
    }

    /// The cloud takes back the machines of a run.
    pub(crate) fn take_back(&self, name: &RunName) {
        let mut world = self.door.world();
        for machine in world.machines.iter_mut().filter(|m| m.slot.run == *name) {
            (machine.state, machine.ended_by) = (InstanceState::Gone, Some(EndedBy::Cloud));
        }
    }

    /// A class's configuration changes.
    pub(crate) fn configure(&self, name: &str, change: impl Fn(&mut Class)) {
        let mut settings = (*self.controller.settings()).clone();
        settings.classes.iter_mut().filter(|class| class.name.0 == name).for_each(change);
        self.controller.configure(settings);
    }
}
