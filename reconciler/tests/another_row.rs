//! A forge that was restored from a backup gives its old numbers anew: under the number that a run has
//! recorded stands another run's runner, at work. The first run's own registration is missing then, and
//! the other's is not touched, whatever becomes of the first.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tinqs_ci_reconciler::class::{Class, ClassName};
use tinqs_ci_reconciler::controller::{Controller, LookResult, Settings};
use tinqs_ci_reconciler::observation::{
    Instance, InstanceState, Job, Observation, Registration, Registrations,
};
use tinqs_ci_reconciler::ports::{
    Clock, Compute, Delivery, ErrorKind, Expect, Filter, Forge, Limits, OpenRun, Page, PortError,
    Ports, Queue, RunStore, Seat, WaitingJob,
};
use tinqs_ci_reconciler::run::{
    Attempt, InstanceId, JobRef, Run, RunName, Runner, Slot, Spec, Uid,
};

/// The number that two runs have recorded.
const NUMBER: i64 = 101;

/// One run with its machine, and a forge that knows the other run's runner alone.
struct World {
    now: Timestamp,
    run: Option<Run>,
    machine: Instance,
    row: Registration,
    retired: Vec<i64>,
    registered: i64,
}

#[derive(Clone)]
struct Door(Arc<Mutex<World>>);

impl Door {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused<T>(port: &'static str, operation: &'static str) -> Result<T, PortError> {
    Err(PortError::new(port, operation, ErrorKind::Unavailable, "nobody asks for this here"))
}

impl Clock for Door {
    fn now(&self) -> Timestamp {
        self.world().now
    }
}

#[async_trait]
impl RunStore for Door {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        Ok(self.world().run.clone().filter(|run| run.name == *name))
    }
    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError> {
        let mut world = self.world();
        let found = world.run.as_ref().map(|run| (run.uid, run.version));
        match (expect, found) {
            (Expect::At(uid, version), Some(found)) if (uid, version) == found => {
                world.run = Some(Run { version: version + 1, ..run.clone() });
                Ok(version + 1)
            }
            _ => Err(PortError::new("store", "put", ErrorKind::Conflict, "written by another")),
        }
    }
    async fn remove(&self, _: &RunName, _: Uid, _: u64) -> Result<(), PortError> {
        self.world().run = None;
        Ok(())
    }
    async fn open(&self, _: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        refused("store", "open")
    }
    async fn page(&self, _: &Filter, _: Option<&str>) -> Result<Page, PortError> {
        refused("store", "page")
    }
    async fn seat(&self, _: &ClassName, _: &Slot, _: &str, _: Limits) -> Result<bool, PortError> {
        refused("store", "seat")
    }
    async fn unseat(&self, _: &ClassName, _: &Slot) -> Result<(), PortError> {
        refused("store", "unseat")
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
        refused("store", "lease")
    }
}

#[async_trait]
impl Queue for Door {
    async fn wake(&self, _: &RunName) -> Result<(), PortError> {
        Ok(())
    }
    async fn next(&self, _: usize) -> Result<Vec<Delivery>, PortError> {
        refused("queue", "next")
    }
    async fn done(&self, _: Delivery) -> Result<(), PortError> {
        refused("queue", "done")
    }
}

#[async_trait]
impl Compute for Door {
    async fn list(&self) -> Result<Vec<Instance>, PortError> {
        Ok(vec![self.world().machine.clone()])
    }
    async fn find(&self, _: &InstanceId) -> Result<Option<Instance>, PortError> {
        Ok(Some(self.world().machine.clone()))
    }
    async fn launch(&self, _: &Slot, _: u32, _: &Attempt) -> Result<Instance, PortError> {
        refused("compute", "launch")
    }
    async fn terminate(&self, id: &InstanceId) -> Result<(), PortError> {
        let mut world = self.world();
        assert_eq!(*id, world.machine.id, "it ends its own machine");
        world.machine.state = InstanceState::Gone;
        Ok(())
    }
    fn room(&self) -> bool {
        true
    }
}

#[async_trait]
impl Forge for Door {
    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        refused("forge", "waiting")
    }
    async fn job(&self, _: &JobRef) -> Result<Job, PortError> {
        Ok(Job::Waiting)
    }
    async fn registrations(&self) -> Result<Registrations, PortError> {
        Ok(Registrations::Seen(vec![self.world().row.clone()]))
    }
    async fn registration(&self, id: i64) -> Result<Option<Registration>, PortError> {
        Ok(Some(self.world().row.clone()).filter(|row| row.id == id))
    }
    async fn register(&self, slot: &Slot, labels: &[String]) -> Result<Runner, PortError> {
        let mut world = self.world();
        world.registered += 1;
        let id = NUMBER + world.registered;
        let made = json!({ "id": id, "uuid": format!("00000000-0000-4000-8000-{id:012}"),
            "name": slot.to_string(), "labels": labels, "token": "one job's own" });
        Ok(serde_json::from_value(made).expect("a runner"))
    }
    async fn retire(&self, id: i64) -> Result<(), PortError> {
        self.world().retired.push(id);
        Ok(())
    }
}

/// The doubles answer at once, so nothing ever waits.
fn done<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a double waits"),
    }
}

/// A run whose machine is up since a minute, and a row of another run under its number.
fn stage() -> (Door, Controller, RunName) {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a timestamp");
    let ago = |seconds| now - SignedDuration::from_secs(seconds);
    let class: Class = serde_json::from_value(json!({
        "name": "linux", "labels": ["linux:host"],
        "machines": [{ "kind": "small", "subnet": "a", "image": "image-1" }],
    }))
    .expect("a class");
    let (name, other) = (RunName::job(42), RunName::job(77));
    let spec = |job_id| Spec {
        job: JobRef { repo: "acme/site".to_owned(), repo_id: 7, job_id },
        runs_on: vec!["linux".to_owned()],
        ..Spec::default()
    };
    let mut run = Run::new("test", name.clone(), spec(42), ago(120));
    let slot = run.slot(1);
    let status = json!({
        "phase": "Starting", "next": 2, "waiting_since": ago(120), "failures": 0, "due": now,
        "attempt": {
            "number": 1, "decided_at": ago(70), "class": "linux",
            "runner": { "id": NUMBER, "uuid": "00000000-0000-4000-8000-000000000101",
                "name": slot.to_string(), "labels": ["linux:host"], "token": "one job's own" },
            "boot": { "deadline": now + SignedDuration::from_hours(5), "idle_within": "2m",
                "instance_url": "https://forge" },
            "placements": [{ "machine": class.machines[0],
                "answered": { "id": "i-1", "at": ago(60) } }],
        },
    });
    run.status = serde_json::from_value(status).expect("a status");
    let machine: Instance = serde_json::from_value(json!({
        "id": "i-1", "slot": slot.to_string(), "placement": 0, "state": "up",
        "launched_at": ago(60), "deadline": now + SignedDuration::from_hours(5),
        "registration": NUMBER, "class": "linux", "kind": "small",
    }))
    .expect("a machine");
    let slot = Run::new("test", other, spec(77), ago(30)).slot(1);
    let row = Registration {
        id: NUMBER,
        slot,
        uuid: None,
        online: true,
        busy: true,
        missing_since: None,
    };
    let world = World { now, run: Some(run), machine, row, retired: Vec::new(), registered: 0 };
    let door = Door(Arc::new(Mutex::new(world)));
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
        classes: vec![class],
        poll_every: SignedDuration::from_secs(10),
        sweep_every: SignedDuration::from_secs(60),
        replica: "one".to_owned(),
    };
    (door, Controller::new(ports, settings), name)
}

fn look(controller: &Controller, name: &RunName) -> Observation {
    done(controller.observe(name)).expect("everything can be read")
}

#[test]
fn a_row_of_another_run_under_the_recorded_number_is_none_of_this_run() {
    let (door, controller, name) = stage();
    let seen = look(&controller, &name);
    let own = door.world().run.as_ref().map(|run| run.slot(1)).expect("a record");
    let rows: Vec<_> = seen.registrations.seen().iter().collect();
    let now = door.world().now;
    assert_eq!(
        rows,
        [&Registration {
            id: NUMBER,
            slot: own,
            uuid: None,
            online: false,
            busy: false,
            missing_since: Some(now),
        }],
        "missing since it was asked for"
    );
}

#[test]
fn a_row_of_another_run_under_the_recorded_number_is_never_retired() {
    let (door, controller, name) = stage();
    // Its machine is ended a minute after the registration was found missing; then comes the next
    // attempt, and the past one has a number that is another's.
    for _ in 0..20 {
        let report = done(controller.reconcile(&name));
        assert_ne!(report.result, LookResult::Conflict, "nobody else writes");
        assert!(!door.world().retired.contains(&NUMBER), "another run's runner is at work there");
        let mut world = door.world();
        world.now += SignedDuration::from_secs(30);
    }
    let world = door.world();
    assert_eq!(world.machine.state, InstanceState::Gone, "its own machine is of no use to anybody");
    assert!(world.registered > 0, "and the next attempt has a registration of its own");
    assert!(world.run.is_some());
}
