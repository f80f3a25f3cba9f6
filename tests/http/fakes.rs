//! A small world in memory behind all five ports, whose parts can be taken down.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    About, Attempt, Class, ClassName, Instance, InstanceId, InstanceState, Job, JobRef, Machine,
    Market, Registration, Registrations, Run, RunName, Runner, SeatLimits, Secret, Slot, Spec,
    Times, Uid,
};
use tinqs_ci_reconciler::ports::{
    Clock, Compute, Delivery, ErrorKind, Expect, Filter, Forge, OpenRun, Page, PortError, Ports,
    Queue, RunStore, Seat, WaitingJob,
};
use tokio::sync::Notify;

/// Stands for every credential of an attempt: it must never be seen.
pub(crate) const CANARY: &str = "canary-5f0e1d";

#[derive(Default)]
pub(crate) struct State {
    pub(crate) runs: BTreeMap<RunName, Run>,
    pub(crate) seats: HashMap<ClassName, Vec<Seat>>,
    pub(crate) queue: VecDeque<RunName>,
    pub(crate) out: HashMap<String, RunName>,
    pub(crate) handles: u64,
    pub(crate) machines: Vec<Instance>,
    pub(crate) rows: Vec<Registration>,
    pub(crate) waiting: Vec<WaitingJob>,
    pub(crate) jobs: HashMap<i64, Job>,
    /// Services that answer nothing.
    pub(crate) down: BTreeSet<&'static str>,
    /// Calls, as `service.operation`.
    pub(crate) calls: HashMap<String, usize>,
    /// Reading this run panics.
    pub(crate) poison: Option<RunName>,
    /// Writes that others win.
    pub(crate) conflicts: usize,
    /// Looks under way at any name that is held, and the most that ever were.
    pub(crate) under_way: usize,
    pub(crate) most_under_way: usize,
}

pub(crate) struct World {
    pub(crate) state: Mutex<State>,
    pub(crate) woken: Notify,
    /// Reading this run waits until it is let through, once for each permit.
    pub(crate) held: Mutex<Option<RunName>>,
    pub(crate) gate: tokio::sync::Semaphore,
}

pub(crate) fn name(id: i64) -> RunName {
    RunName::job(id)
}

/// A class that serves `linux`.
pub(crate) fn class() -> Class {
    Class {
        name: ClassName("linux".to_owned()),
        labels: vec!["linux".to_owned()],
        serves_unlabelled: false,
        machines: vec![Machine {
            kind: "process".to_owned(),
            subnet: String::new(),
            market: Market::OnDemand,
            image: String::new(),
            security_groups: Vec::new(),
            instance_profile: String::new(),
        }],
        limit: Some(5),
        repo_limit: None,
        times: Times::default(),
    }
}

impl World {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            woken: Notify::new(),
            held: Mutex::default(),
            gate: tokio::sync::Semaphore::new(0),
        })
    }

    pub(crate) fn ports(self: &Arc<Self>) -> Ports {
        Ports {
            clock: self.clone(),
            store: self.clone(),
            queue: self.clone(),
            compute: self.clone(),
            forge: self.clone(),
        }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn calls(&self, call: &str) -> usize {
        self.state().calls.get(call).copied().unwrap_or(0)
    }

    /// Puts a run of a job that waits.
    pub(crate) fn add_run(&self, id: i64, about: About) -> Run {
        let repo = if about.repo.is_empty() { "a/b".to_owned() } else { about.repo.clone() };
        let job = JobRef { repo, repo_id: 1, job_id: id };
        let runs_on = vec!["linux".to_owned()];
        let spec = Spec { job, runs_on, about, ..Spec::default() };
        let at = Timestamp::now() - SignedDuration::from_secs(1_000 - id);
        let mut run = Run::new("test", name(id), spec, at);
        run.version = 1;
        let mut state = self.state();
        state.jobs.insert(id, Job::Waiting);
        state.runs.insert(name(id), run.clone());
        run
    }

    fn call(
        &self,
        service: &'static str,
        operation: &'static str,
    ) -> Result<MutexGuard<'_, State>, PortError> {
        let mut state = self.state();
        *state.calls.entry(format!("{service}.{operation}")).or_default() += 1;
        if state.down.contains(service) {
            return Err(PortError::new(service, operation, ErrorKind::Unavailable, "it is down"));
        }
        Ok(state)
    }
}

fn conflict(operation: &'static str) -> PortError {
    PortError::new("store", operation, ErrorKind::Conflict, "another wrote first")
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

#[async_trait]
impl RunStore for World {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        let held = self.held.lock().expect("no panic").as_ref() == Some(name);
        if held {
            {
                let mut state = self.state();
                state.under_way += 1;
                state.most_under_way = state.most_under_way.max(state.under_way);
            }
            self.gate.acquire().await.expect("never closed").forget();
            self.state().under_way -= 1;
        }
        let state = self.call("store", "get")?;
        let poisoned = state.poison.as_ref() == Some(name);
        let run = state.runs.get(name).cloned();
        drop(state);
        assert!(!poisoned, "the run is poisoned");
        Ok(run)
    }

    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError> {
        let mut state = self.call("store", "put")?;
        if state.conflicts > 0 {
            state.conflicts -= 1;
            return Err(conflict("put"));
        }
        let version = match (state.runs.get(&run.name), expect) {
            (None, Expect::Absent) => 1,
            (Some(there), Expect::At(uid, version))
                if (there.uid, there.version) == (uid, version) =>
            {
                version + 1
            }
            _ => return Err(conflict("put")),
        };
        state.runs.insert(run.name.clone(), Run { version, ..run.clone() });
        Ok(version)
    }

    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError> {
        let mut state = self.call("store", "remove")?;
        match state.runs.get(name) {
            None => Ok(()),
            Some(run) if (run.uid, run.version) == (uid, version) => {
                state.runs.remove(name);
                Ok(())
            }
            Some(_) => Err(conflict("remove")),
        }
    }

    async fn open(&self, _now: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        let state = self.call("store", "open")?;
        Ok(state.runs.values().filter(|run| run.is_open()).map(OpenRun::of).collect())
    }

    async fn page(&self, filter: &Filter, after: Option<&str>) -> Result<Page, PortError> {
        let state = self.call("store", "page")?;
        let skip = match after {
            None => 0,
            Some(text) => text.parse::<usize>().map_err(|_| {
                PortError::new("store", "page", ErrorKind::Invalid, "not a cursor of ours")
            })?,
        };
        let mut all: Vec<&Run> = state.runs.values().filter(|run| filter.takes(run)).collect();
        all.sort_by_key(|run| std::cmp::Reverse(run.created_at));
        let items: Vec<Run> = all.iter().skip(skip).take(filter.limit).copied().cloned().collect();
        let end = skip + items.len();
        Ok(Page { items, next: (end < all.len()).then(|| end.to_string()) })
    }

    async fn seat(
        &self,
        class: &ClassName,
        slot: &Slot,
        repo: &str,
        _limits: SeatLimits,
    ) -> Result<bool, PortError> {
        let mut state = self.call("store", "seat")?;
        let seats = state.seats.entry(class.clone()).or_default();
        seats.push(Seat { slot: slot.clone(), repo: repo.to_owned() });
        Ok(true)
    }

    async fn unseat(&self, class: &ClassName, slot: &Slot) -> Result<(), PortError> {
        let mut state = self.call("store", "unseat")?;
        state.seats.entry(class.clone()).or_default().retain(|seat| seat.slot != *slot);
        Ok(())
    }

    async fn seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError> {
        Ok(self.call("store", "seats")?.seats.get(class).cloned().unwrap_or_default())
    }

    async fn lease(
        &self,
        _what: &str,
        _holder: &str,
        _now: Timestamp,
        _ttl: SignedDuration,
    ) -> Result<bool, PortError> {
        self.call("store", "lease").map(|_| true)
    }
}

#[async_trait]
impl Queue for World {
    async fn wake(&self, name: &RunName) -> Result<(), PortError> {
        self.call("queue", "wake")?.queue.push_back(name.clone());
        self.woken.notify_one();
        Ok(())
    }

    async fn next(&self, max: usize) -> Result<Vec<Delivery>, PortError> {
        if self.state().queue.is_empty() {
            let _ = tokio::time::timeout(Duration::from_millis(50), self.woken.notified()).await;
        }
        let mut state = self.call("queue", "next")?;
        let mut taken = Vec::new();
        while taken.len() < max.max(1) {
            let Some(name) = state.queue.pop_front() else { break };
            state.handles += 1;
            let handle = state.handles.to_string();
            state.out.insert(handle.clone(), name.clone());
            taken.push(Delivery { name, handle });
        }
        Ok(taken)
    }

    async fn done(&self, delivery: Delivery) -> Result<(), PortError> {
        self.call("queue", "done")?.out.remove(&delivery.handle);
        Ok(())
    }
}

#[async_trait]
impl Compute for World {
    async fn list(&self) -> Result<Vec<Instance>, PortError> {
        Ok(self.call("compute", "list")?.machines.clone())
    }

    async fn find(&self, id: &InstanceId) -> Result<Option<Instance>, PortError> {
        let state = self.call("compute", "find")?;
        Ok(state.machines.iter().find(|machine| machine.id == *id).cloned())
    }

    async fn launch(
        &self,
        slot: &Slot,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Instance, PortError> {
        let mut state = self.call("compute", "launch")?;
        let machine = Instance {
            id: InstanceId(format!("m-{}", slot.token(placement))),
            slot: slot.clone(),
            placement,
            state: InstanceState::Up,
            launched_at: Timestamp::now(),
            deadline: attempt.boot.deadline,
            registration: attempt.runner.id,
            ended_by: None,
            class: attempt.class.clone(),
            kind: "process".to_owned(),
            zone: String::new(),
            market: Market::OnDemand,
        };
        state.machines.push(machine.clone());
        Ok(machine)
    }

    async fn terminate(&self, id: &InstanceId) -> Result<(), PortError> {
        let mut state = self.call("compute", "terminate")?;
        for machine in state.machines.iter_mut().filter(|machine| machine.id == *id) {
            machine.state = InstanceState::Gone;
        }
        Ok(())
    }

    fn room(&self) -> bool {
        true
    }
}

#[async_trait]
impl Forge for World {
    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        Ok(Some(self.call("forge", "waiting")?.waiting.clone()))
    }

    async fn job(&self, job: &JobRef) -> Result<Job, PortError> {
        let state = self.call("forge", "job")?;
        Ok(state.jobs.get(&job.job_id).cloned().unwrap_or(Job::Absent))
    }

    async fn registrations(&self) -> Result<Registrations, PortError> {
        Ok(Registrations::Seen(self.call("forge", "registrations")?.rows.clone()))
    }

    async fn registration(&self, id: i64) -> Result<Option<Registration>, PortError> {
        let state = self.call("forge", "registration")?;
        Ok(state.rows.iter().find(|row| row.id == id).cloned())
    }

    async fn register(&self, slot: &Slot, labels: &[String]) -> Result<Runner, PortError> {
        let mut state = self.call("forge", "register")?;
        let id = 1 + i64::try_from(state.rows.len()).unwrap_or(0);
        state.rows.push(Registration {
            id,
            slot: slot.clone(),
            uuid: None,
            online: false,
            busy: false,
            missing_since: None,
        });
        Ok(Runner {
            id,
            uuid: format!("uuid-{id}"),
            name: slot.to_string(),
            labels: labels.to_vec(),
            token: Secret::new(CANARY),
        })
    }

    async fn retire(&self, id: i64) -> Result<(), PortError> {
        self.call("forge", "retire")?.rows.retain(|row| row.id != id);
        Ok(())
    }
}
