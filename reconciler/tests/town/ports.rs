//! The five ports of the town. Each call may be told to fail, and something may happen with it.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tinqs_ci_reconciler::model::{
    Attempt, ClassName, Instance, InstanceId, InstanceState, Job, JobRef, Registration,
    Registrations, Run, RunName, Runner, SeatLimits, Slot, Uid,
};
use tinqs_ci_reconciler::ports::{
    Clock, Compute, Delivery, ErrorKind, Expect, Filter, Forge, OpenRun, Page, PortError, Queue,
    RunStore, Seat, WaitingJob,
};

use super::{Answer, Door, WorldGuard};

impl Door {
    /// A call is made: it is counted, what is to happen with it or meanwhile happens, and it may fail.
    fn call(
        &self,
        port: &'static str,
        operation: &'static str,
    ) -> Result<WorldGuard<'_>, PortError> {
        let mut world = self.world();
        world.calls.push(operation);
        if let Some(deed) = first(&mut world.meanwhile, operation) {
            drop(world);
            deed();
            world = self.world();
        }
        if let Some(event) = first(&mut world.events, operation) {
            event(&mut world);
        }
        if let Some(kind) = first(&mut world.failures, operation) {
            return Err(PortError::new(port, operation, kind, "told to fail"));
        }
        Ok(world)
    }
}

/// Takes out the first that is meant for this call.
fn first<T>(all: &mut Vec<(&'static str, T)>, operation: &str) -> Option<T> {
    let at = all.iter().position(|(of, _)| *of == operation)?;
    Some(all.remove(at).1)
}

impl Clock for Door {
    fn now(&self) -> Timestamp {
        self.world().now
    }
}

fn never<T>(port: &'static str, operation: &'static str) -> Result<T, PortError> {
    Err(PortError::new(port, operation, ErrorKind::Unavailable, "nobody asks for this here"))
}

fn conflict<T>(operation: &'static str) -> Result<T, PortError> {
    Err(PortError::new("store", operation, ErrorKind::Conflict, "written by another"))
}

#[async_trait]
impl RunStore for Door {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        Ok(self.call("store", "get")?.runs.get(name).cloned())
    }
    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError> {
        let mut world = self.call("store", "put")?;
        let found = world.runs.get(&run.name).map(|run| (run.uid, run.version));
        let version = match (expect, found) {
            (Expect::Absent, None) => 1,
            (Expect::At(uid, version), Some(found)) if (uid, version) == found => version + 1,
            _ => return conflict("put"),
        };
        world.writes += 1;
        world.runs.insert(run.name.clone(), Run { version, ..run.clone() });
        Ok(version)
    }
    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError> {
        let mut world = self.call("store", "remove")?;
        match world.runs.get(name).map(|run| (run.uid, run.version)) {
            Some(found) if found != (uid, version) => conflict("remove"),
            Some(_) | None => {
                world.runs.remove(name);
                Ok(())
            }
        }
    }
    async fn open(&self, now: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        let world = self.call("store", "open")?;
        let listed = world.runs.values().filter(|run| run.is_open() || run.status.due <= now);
        Ok(listed.map(OpenRun::of).collect())
    }
    async fn page(&self, filter: &Filter, after: Option<&str>) -> Result<Page, PortError> {
        let world = self.call("store", "page")?;
        let Ok(from) = after.unwrap_or("0").parse::<usize>() else {
            return Err(PortError::new("store", "page", ErrorKind::Invalid, "no cursor of ours"));
        };
        let all: Vec<&Run> = world.runs.values().filter(|run| filter.takes(run)).collect();
        let end = from + filter.limit;
        let next = (end < all.len()).then(|| end.to_string());
        let items = all.into_iter().skip(from).take(filter.limit).cloned().collect();
        Ok(Page { items, next })
    }
    async fn seat(
        &self,
        class: &ClassName,
        slot: &Slot,
        repo: &str,
        limits: SeatLimits,
    ) -> Result<bool, PortError> {
        let mut world = self.call("store", "seat")?;
        let of_class = world.seats.iter().filter(|(of, _)| of == class);
        let taken: Vec<&Seat> = of_class.map(|(_, seat)| seat).collect();
        let of_repo = taken.iter().filter(|seat| seat.repo == repo).count();
        let full =
            |limit: Option<u32>, count: usize| limit.is_some_and(|most| count >= most as usize);
        let held = taken.iter().any(|seat| seat.slot == *slot);
        if !held && (full(limits.class, taken.len()) || full(limits.repo, of_repo)) {
            return Ok(false);
        }
        if !held {
            let seat = Seat { slot: slot.clone(), repo: repo.to_owned() };
            world.seats.push((class.clone(), seat));
        }
        Ok(true)
    }
    async fn unseat(&self, class: &ClassName, slot: &Slot) -> Result<(), PortError> {
        let mut world = self.call("store", "unseat")?;
        world.seats.retain(|(of, seat)| of != class || seat.slot != *slot);
        Ok(())
    }
    async fn seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError> {
        let world = self.call("store", "seats")?;
        let of_class = world.seats.iter().filter(|(of, _)| of == class);
        Ok(of_class.map(|(_, seat)| seat.clone()).collect())
    }
    async fn lease(
        &self,
        _: &str,
        _: &str,
        _: Timestamp,
        ttl: SignedDuration,
    ) -> Result<bool, PortError> {
        let mut world = self.call("store", "lease")?;
        world.leases.push(ttl);
        Ok(!world.led_by_another)
    }
}

#[async_trait]
impl Queue for Door {
    async fn wake(&self, name: &RunName) -> Result<(), PortError> {
        self.call("queue", "wake")?.woken.push_back(name.clone());
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
        let world = self.call("compute", "list")?;
        let listed = world.machines.iter().filter(|m| !world.unlisted.contains(&m.id.0));
        Ok(listed.cloned().collect())
    }
    async fn find(&self, id: &InstanceId) -> Result<Option<Instance>, PortError> {
        Ok(self.call("compute", "find")?.machines.iter().find(|m| m.id == *id).cloned())
    }
    async fn launch(
        &self,
        slot: &Slot,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Instance, PortError> {
        let mut world = self.call("compute", "launch")?;
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
    async fn terminate(&self, id: &InstanceId) -> Result<(), PortError> {
        let mut world = self.call("compute", "terminate")?;
        let ended = world.machines.iter_mut().filter(|m| m.id == *id);
        ended.for_each(|m| m.state = InstanceState::Ending);
        Ok(())
    }
    fn room(&self) -> bool {
        self.world().room.is_none_or(|room| room > 0)
    }
}

#[async_trait]
impl Forge for Door {
    async fn waiting(&self) -> Result<Option<Vec<WaitingJob>>, PortError> {
        Ok(self.call("forge", "waiting")?.waiting.clone())
    }
    async fn job(&self, job: &JobRef) -> Result<Job, PortError> {
        let world = self.call("forge", "job")?;
        Ok(world.jobs_seen.get(&job.job_id).cloned().unwrap_or(Job::Waiting))
    }
    async fn registrations(&self) -> Result<Registrations, PortError> {
        let world = self.call("forge", "registrations")?;
        if world.rows_unknown {
            return Ok(Registrations::Unknown);
        }
        let listed = world.rows.iter().filter(|row| !world.unlisted.contains(&row.id.to_string()));
        Ok(Registrations::Seen(listed.cloned().collect()))
    }
    async fn registration(&self, id: i64) -> Result<Option<Registration>, PortError> {
        Ok(self.call("forge", "registration")?.rows.iter().find(|row| row.id == id).cloned())
    }
    async fn register(&self, slot: &Slot, labels: &[String]) -> Result<Runner, PortError> {
        let mut world = self.call("forge", "register")?;
        let id = 100 + world.registered;
        world.registered += 1;
        let (online, busy) = (false, false);
        let slot = slot.clone();
        let made = json!({ "id": id, "uuid": format!("00000000-0000-4000-8000-{id:012}"),
            "name": slot.to_string(), "labels": labels, "token": "one job's own" });
        world.rows.push(Registration { id, slot, uuid: None, online, busy, missing_since: None });
        Ok(serde_json::from_value(made).expect("a runner"))
    }
    async fn retire(&self, id: i64) -> Result<(), PortError> {
        self.call("forge", "retire")?.rows.retain(|row| row.id != id);
        Ok(())
    }
}
