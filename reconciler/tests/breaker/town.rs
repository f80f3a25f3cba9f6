//! All five ports in a few lines: jobs that wait, a store of records, and a cloud that answers each
//! class as it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tinqs_ci_reconciler::class::{Class, ClassName};
use tinqs_ci_reconciler::controller::{Controller, Fact, Settings};
use tinqs_ci_reconciler::observation::{
    EndedBy, Instance, InstanceState, Job, Registration, Registrations,
};
use tinqs_ci_reconciler::ports::{
    Clock, Compute, Delivery, ErrorKind, Expect, Filter, Forge, Limits, OpenRun, Page, PortError,
    Ports, Queue, RunStore, Seat, WaitingJob,
};
use tinqs_ci_reconciler::run::{
    Attempt, InstanceId, JobRef, Run, RunName, Runner, Slot, Spec, Uid,
};

/// What a launch of a class is answered.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// A machine that boots.
    Takes,
    /// No machine.
    Refuses(fn() -> PortError),
}

#[derive(Default)]
struct World {
    now: Timestamp,
    runs: BTreeMap<RunName, Run>,
    machines: Vec<Instance>,
    rows: Vec<Registration>,
    answers: BTreeMap<String, Answer>,
    /// Class and subnet of each launch that was asked for.
    asked: Vec<(String, String)>,
    writes: usize,
    jobs: i64,
    /// Launches that there is room for; `None`: any number.
    room: Option<usize>,
    /// Wake-ups that nobody has followed yet.
    woken: VecDeque<RunName>,
}

#[derive(Clone)]
struct Door(Arc<Mutex<World>>);

/// The ports, and a controller over them.
pub(crate) struct Town {
    pub(crate) controller: Controller,
    door: Door,
}

impl Door {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The doubles answer at once, so nothing ever waits.
fn done<F: Future>(future: F) -> F::Output {
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
        Self { controller: Controller::new(ports, settings), door }
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

impl Clock for Door {
    fn now(&self) -> Timestamp {
        self.world().now
    }
}

fn never<T>(port: &'static str, operation: &'static str) -> Result<T, PortError> {
    Err(PortError::new(port, operation, ErrorKind::Unavailable, "nobody asks for this here"))
}

#[async_trait]
impl RunStore for Door {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        Ok(self.world().runs.get(name).cloned())
    }
    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError> {
        let mut world = self.world();
        let found = world.runs.get(&run.name).map(|run| (run.uid, run.version));
        match (expect, found) {
            (Expect::At(uid, version), Some(found)) if (uid, version) == found => {
                world.writes += 1;
                world.runs.insert(run.name.clone(), Run { version: version + 1, ..run.clone() });
                Ok(version + 1)
            }
            _ => Err(PortError::new("store", "put", ErrorKind::Conflict, "written by another")),
        }
    }
    async fn remove(&self, _: &RunName, _: Uid, _: u64) -> Result<(), PortError> {
        never("store", "remove")
    }
    async fn open(&self, _: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        never("store", "open")
    }
    async fn page(&self, _: &Filter, _: Option<&str>) -> Result<Page, PortError> {
        never("store", "page")
    }
    async fn seat(&self, _: &ClassName, _: &Slot, _: &str, _: Limits) -> Result<bool, PortError> {
        never("store", "seat")
    }
    async fn unseat(&self, _: &ClassName, _: &Slot) -> Result<(), PortError> {
        never("store", "unseat")
    }
    async fn seats(&self, _: &ClassName) -> Result<Vec<Seat>, PortError> {
        Ok(Vec::new())
    }
    async fn lease(
        &self,
        _: &str,
        _: &str,
        _: Timestamp,
        _: SignedDuration,
    ) -> Result<bool, PortError> {
        never("store", "lease")
    }
}

#[async_trait]
impl Queue for Door {
    async fn wake(&self, name: &RunName) -> Result<(), PortError> {
        self.world().woken.push_back(name.clone());
        Ok(())
    }
    async fn next(&self, _: usize) -> Result<Vec<Delivery>, PortError> {
        never("queue", "next")
    }
    async fn done(&self, _: Delivery) -> Result<(), PortError> {
        never("queue", "done")
    }
}

#[async_trait]
impl Compute for Door {
    async fn list(&self) -> Result<Vec<Instance>, PortError> {
        Ok(self.world().machines.clone())
    }
    async fn find(&self, id: &InstanceId) -> Result<Option<Instance>, PortError> {
        Ok(self.world().machines.iter().find(|m| m.id == *id).cloned())
    }
    async fn launch(
        &self,
        slot: &Slot,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Instance, PortError> {
        let mut world = self.world();
        let class = attempt.class.0.clone();
        let asked = &attempt.placements[usize::try_from(placement).expect("small")].machine;
        world.asked.push((class.clone(), asked.subnet.clone()));
        world.room = world.room.map(|room| room.saturating_sub(1));
        if let Some(Answer::Refuses(error)) = world.answers.get(&class) {
            return Err(error());
        }
        let machine: Instance = serde_json::from_value(json!({
            "id": slot.token(placement), "slot": slot.to_string(), "placement": placement,
            "state": "booting", "launched_at": world.now, "deadline": attempt.boot.deadline,
            "registration": attempt.runner.id, "class": class, "kind": asked.kind,
        }))
        .expect("a machine");
        world.machines.push(machine.clone());
        Ok(machine)
    }
    async fn terminate(&self, _: &InstanceId) -> Result<(), PortError> {
        never("compute", "terminate")
    }
    fn room(&self) -> bool {
        self.world().room.is_none_or(|room| room > 0)
    }
}

#[async_trait]
impl Forge for Door {
    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        never("forge", "waiting")
    }
    async fn job(&self, _: &JobRef) -> Result<Job, PortError> {
        Ok(Job::Waiting)
    }
    async fn registrations(&self) -> Result<Registrations, PortError> {
        Ok(Registrations::Seen(self.world().rows.clone()))
    }
    async fn registration(&self, id: i64) -> Result<Option<Registration>, PortError> {
        Ok(self.world().rows.iter().find(|row| row.id == id).cloned())
    }
    async fn register(&self, slot: &Slot, labels: &[String]) -> Result<Runner, PortError> {
        let mut world = self.world();
        let id = 100 + i64::try_from(world.rows.len()).expect("few");
        let (online, busy) = (false, false);
        let slot = slot.clone();
        let made = json!({ "id": id, "uuid": format!("00000000-0000-4000-8000-{id:012}"),
            "name": slot.to_string(), "labels": labels, "token": "one job's own" });
        world.rows.push(Registration { id, slot, uuid: None, online, busy, missing_since: None });
        Ok(serde_json::from_value(made).expect("a runner"))
    }
    async fn retire(&self, id: i64) -> Result<(), PortError> {
        self.world().rows.retain(|row| row.id != id);
        Ok(())
    }
}
