//! The ports of the world. Each call is counted and may be told to fail.

use std::time::Duration;

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use parking_lot::MutexGuard;
use tinqs_ci_reconciler::model::{
    AttemptId, ClassName, DecodeError, Pause, RecordFormats, RepoRef, RerunKey, Reruns, Run,
    RunName, SeatLimits, Uid, Usage,
};
use tinqs_ci_reconciler::ports::{
    Announced, Clock, Cursor, Delivery, ErrorKind, Expect, Filter, Inbox, InboxItem, MOST_ITEMS,
    NewerRecord, OpenRun, Page, PortError, Queue, ReadByAll, RunStore, Seat,
};

use super::{State, TestWorld};

/// The time that an empty queue waits for a wake-up.
const PATIENCE: Duration = Duration::from_millis(50);

impl TestWorld {
    /// Counts a call, lets happen what was arranged for it, and fails where it was told to.
    pub(super) fn call(
        &self,
        port: &'static str,
        operation: &'static str,
    ) -> Result<MutexGuard<'_, State>, PortError> {
        let mut state = self.state();
        *state.calls.entry(operation).or_default() += 1;
        if let Some(interlude) = take_first(&mut state.interludes, operation) {
            drop(state);
            interlude();
            state = self.state();
        }
        if let Some(event) = take_first(&mut state.events, operation) {
            event(&mut state);
        }
        if let Some(kind) = take_first(&mut state.failures, operation) {
            return Err(PortError::new(port, operation, kind, "told to fail"));
        }
        if state.down.contains(port) {
            return Err(PortError::new(port, operation, ErrorKind::Unavailable, "it is down"));
        }
        Ok(state)
    }

    /// Waits where a test holds the readings of this record.
    async fn wait_if_held(&self, name: &RunName) {
        {
            let mut state = self.state();
            if state.held.as_ref() != Some(name) {
                return;
            }
            state.held_now += 1;
            state.held_at_most = state.held_at_most.max(state.held_now);
        }
        self.gate.acquire().await.expect("the gate is never closed").forget();
        self.state().held_now -= 1;
    }
}

/// Takes out the first item that is meant for this operation.
fn take_first<T>(items: &mut Vec<(&'static str, T)>, operation: &str) -> Option<T> {
    let at = items.iter().position(|(of, _)| *of == operation)?;
    Some(items.remove(at).1)
}

pub(super) fn conflict<T>(operation: &'static str) -> Result<T, PortError> {
    Err(PortError::new("store", operation, ErrorKind::Conflict, "written by another"))
}

impl Clock for TestWorld {
    fn now(&self) -> Timestamp {
        self.state().time()
    }
}

#[async_trait]
impl RunStore for TestWorld {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        self.wait_if_held(name).await;
        let state = self.call("store", "get")?;
        let (run, poisoned) =
            (state.runs.get(name).cloned(), state.poisoned.as_ref() == Some(name));
        drop(state);
        assert!(!poisoned, "the record is poisoned");
        match run {
            Some(Run { format, .. }) if format > RecordFormats::OWN.reads => {
                let message = format!("{name}: {}", DecodeError::Newer { format });
                Err(PortError::new("store", "get", ErrorKind::Invalid, message))
            }
            run => Ok(run),
        }
    }

    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError> {
        let mut state = self.call("store", "put")?;
        put(&mut state, run, expect)
    }

    async fn put_counting(
        &self,
        run: &Run,
        expect: Expect,
        used: &Usage,
    ) -> Result<u64, PortError> {
        let mut state = self.call("store", "put")?;
        let version = put(&mut state, run, expect)?;
        *state.usage.entry(used.key.clone()).or_default() += used.amount;
        Ok(version)
    }

    async fn usage(&self, first: Date, last: Date) -> Result<Vec<Usage>, PortError> {
        if self.state().usage_held {
            self.gate.acquire().await.expect("the gate is never closed").forget();
        }
        let state = self.call("store", "usage")?;
        let of_days = state.usage.iter().filter(|(key, _)| (first..=last).contains(&key.day));
        Ok(of_days.map(|(key, amount)| Usage { key: key.clone(), amount: *amount }).collect())
    }

    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError> {
        let mut state = self.call("store", "remove")?;
        match state.runs.get(name).map(|run| (run.uid, run.version)) {
            Some(found) if found != (uid, version) => conflict("remove"),
            Some(_) | None => {
                state.runs.remove(name);
                Ok(())
            }
        }
    }

    async fn open(&self, now: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        let state = self.call("store", "open")?;
        let listed = state.runs.values().filter(|run| run.is_open() || run.status.due <= now);
        Ok(listed.filter(|run| is_readable(run)).map(OpenRun::of).collect())
    }

    async fn page(&self, filter: &Filter, after: Option<&str>) -> Result<Page, PortError> {
        let state = self.call("store", "page")?;
        let after = after
            .map(Cursor::parse)
            .transpose()
            .map_err(|message| PortError::new("store", "page", ErrorKind::Invalid, message))?;
        let mut found: Vec<(Cursor, &Run)> = state
            .runs
            .values()
            .filter(|run| is_readable(run) && filter.takes(run))
            .map(|run| (cursor(run), run))
            .filter(|(at, _)| after.as_ref().is_none_or(|after| at < after))
            .collect();
        found.sort_by(|(a, _), (b, _)| b.cmp(a));
        let limit = filter.limit.max(1);
        let next = (found.len() > limit).then(|| found[limit - 1].0.text());
        let items = found.into_iter().take(limit).map(|(_, run)| run.clone()).collect();
        Ok(Page { items, next })
    }

    async fn seat(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        limits: SeatLimits,
    ) -> Result<bool, PortError> {
        let mut state = self.call("store", "seat")?;
        let of_class = state.seats.iter().filter(|(of, _)| of == class);
        let taken: Vec<&Seat> = of_class.map(|(_, seat)| seat).collect();
        if taken.iter().any(|seat| seat.attempt_id == *attempt_id) {
            return Ok(true);
        }
        if limits.reached(repo, taken.iter().map(|seat| seat.repo_ref())).is_some() {
            return Ok(false);
        }
        state.seats.push((class.clone(), Seat::new(attempt_id.clone(), repo)));
        Ok(true)
    }

    async fn unseat(&self, class: &ClassName, attempt_id: &AttemptId) -> Result<(), PortError> {
        let mut state = self.call("store", "unseat")?;
        state.seats.retain(|(of, seat)| of != class || seat.attempt_id != *attempt_id);
        Ok(())
    }

    async fn seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError> {
        let state = self.call("store", "seats")?;
        let of_class = state.seats.iter().filter(|(of, _)| of == class);
        Ok(of_class.map(|(_, seat)| seat.clone()).collect())
    }

    async fn pause(&self, pause: &Pause) -> Result<Pause, PortError> {
        let mut state = self.call("store", "pause")?;
        let held = state.pauses.iter().find(|held| held.class == pause.class).cloned();
        if held.is_none() {
            state.pauses.push(pause.clone());
            state.pauses.sort_by(|a, b| a.class.cmp(&b.class));
        }
        Ok(held.unwrap_or_else(|| pause.clone()))
    }

    async fn resume(&self, class: Option<&ClassName>) -> Result<Vec<Pause>, PortError> {
        let mut state = self.call("store", "resume")?;
        let ends = |pause: &Pause| class.is_none() || pause.class.as_ref() == class;
        let (ended, left) = state.pauses.drain(..).partition(ends);
        state.pauses = left;
        Ok(ended)
    }

    async fn pauses(&self) -> Result<Vec<Pause>, PortError> {
        Ok(self.call("store", "pauses")?.pauses.clone())
    }

    async fn reruns(&self, key: &RerunKey) -> Result<Option<Reruns>, PortError> {
        Ok(self.call("store", "reruns")?.reruns.get(key).cloned())
    }

    async fn put_reruns(&self, reruns: &Reruns) -> Result<u64, PortError> {
        let mut state = self.call("store", "put_reruns")?;
        let stored = state.reruns.get(&reruns.key).map_or(0, |stored| stored.version);
        if stored != reruns.version {
            return conflict("put_reruns");
        }
        let version = stored + 1;
        state.reruns.insert(reruns.key.clone(), Reruns { version, ..reruns.clone() });
        Ok(version)
    }

    async fn lease(
        &self,
        what: &str,
        holder: &str,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<bool, PortError> {
        let mut state = self.call("store", "lease")?;
        state.lease_ttls.push(ttl);
        let held = state.leases.get(what).is_some_and(|(by, until)| by != holder && *until > now);
        if held || state.led_by_another {
            return Ok(false);
        }
        state.leases.insert(what.to_owned(), (holder.to_owned(), now + ttl));
        Ok(true)
    }

    async fn announce(
        &self,
        replica: &str,
        reads: u32,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<ReadByAll, PortError> {
        let mut state = self.state();
        state.announced.retain(|one| one.replica != replica);
        let own = Announced { replica: replica.to_owned(), reads, until: now + ttl };
        state.announced.push(own);
        let leader = state.leases.get("sweep").filter(|(_, until)| *until > now);
        let leader = leader.map(|(holder, _)| holder.as_str());
        Ok(ReadByAll::of(&state.announced, leader, now))
    }

    fn newer(&self) -> Vec<NewerRecord> {
        let state = self.state();
        let newer = state.runs.values().filter(|run| !is_readable(run));
        newer.map(|run| NewerRecord { name: run.name.to_string(), format: run.format }).collect()
    }
}

fn is_readable(run: &Run) -> bool {
    run.format <= RecordFormats::OWN.reads
}

fn put(state: &mut State, run: &Run, expect: Expect) -> Result<u64, PortError> {
    if state.conflicts > 0 {
        state.conflicts -= 1;
        return conflict("put");
    }
    let found = state.runs.get(&run.name).map(|run| (run.uid, run.version));
    let version = match (expect, found) {
        (Expect::Absent, None) => 1,
        (Expect::At(uid, version), Some(found)) if (uid, version) == found => version + 1,
        _ => return conflict("put"),
    };
    state.writes += 1;
    state.runs.insert(run.name.clone(), Run { version, ..run.clone() });
    Ok(version)
}

/// The place of a run among pages.
fn cursor(run: &Run) -> Cursor {
    Cursor { created: run.created_at.as_microsecond(), name: run.name.to_string() }
}

#[async_trait]
impl Inbox for TestWorld {
    async fn take_in(&self, item: &InboxItem) -> Result<bool, PortError> {
        let mut state = self.call("store", "take_in")?;
        if state.inbox.len() as u64 >= MOST_ITEMS {
            return Ok(false);
        }
        state.inbox.insert(item.key.clone(), item.clone());
        Ok(true)
    }

    async fn oldest(&self, after: &str, most: usize) -> Result<Vec<InboxItem>, PortError> {
        let state = self.call("store", "oldest")?;
        let behind = state.inbox.values().filter(|item| item.key.as_str() > after);
        Ok(behind.take(most).cloned().collect())
    }

    async fn take_out(&self, key: &str) -> Result<(), PortError> {
        self.call("store", "take_out")?.inbox.remove(key);
        Ok(())
    }

    async fn writable(&self, _holder: &str, _now: Timestamp) -> Result<(), PortError> {
        self.call("store", "inbox_writable").map(|_| ())
    }
}

#[async_trait]
impl Queue for TestWorld {
    async fn wake(&self, name: &RunName) -> Result<(), PortError> {
        self.call("queue", "wake")?.queue.push_back(name.clone());
        self.woken.notify_one();
        Ok(())
    }

    async fn next(&self, max: usize) -> Result<Vec<Delivery>, PortError> {
        self.state().bring_back();
        if self.state().queue.is_empty() {
            let _ = tokio::time::timeout(PATIENCE, self.woken.notified()).await;
        }
        let mut state = self.call("queue", "next")?;
        state.bring_back();
        let again_at = state.time() + state.again_after;
        let mut taken = Vec::new();
        while taken.len() < max.max(1) {
            let Some(name) = state.queue.pop_front() else { break };
            state.handles += 1;
            let handle = state.handles.to_string();
            state.in_flight.insert(handle.clone(), (name.clone(), again_at));
            taken.push(Delivery { name, handle });
        }
        Ok(taken)
    }

    async fn done(&self, delivery: Delivery) -> Result<(), PortError> {
        self.call("queue", "done")?.in_flight.remove(&delivery.handle);
        Ok(())
    }
}

impl State {
    /// Puts wake-ups back that were taken too long ago and never done.
    fn bring_back(&mut self) {
        let now = self.time();
        let Self { queue, in_flight, .. } = self;
        in_flight.retain(|_, (name, again_at)| {
            let late = *again_at <= now;
            if late {
                queue.push_back(name.clone());
            }
            !late
        });
    }
}
