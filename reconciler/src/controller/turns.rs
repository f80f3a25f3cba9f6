//! Whose turn it is to take a free seat of a class, as far as this process knows: by its last list
//! of open runs, the runs that it has reconciled since, and the seats. Losing it costs time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};

use super::Controller;
use crate::model::{
    AttemptId, Class, ClassName, LimitOf, Observation, Phase, Reason, RepoRef, Run, RunName,
    SeatLimits, serving,
};
use crate::plan::share::{Order, Served, Waiter, order};
use crate::plan::times::{TURN_WITHIN, after, older};
use crate::ports::{OpenRun, PortError, Seat};

/// A list of open runs that is younger serves to find whose turn it is. A process that polls has
/// one from its last poll.
const LIST_SERVES_FOR: SignedDuration = SignedDuration::from_secs(15);
/// A run that was called and did not come is passed over for so long.
const PASSED_OVER_FOR: SignedDuration = SignedDuration::from_mins(5);
/// The number of runs in their order that are counted for people.
const COUNTED: usize = 1_000;
/// The maximum number of reconciled runs that are kept beside a list.
const RECONCILED_KEPT: usize = 10_000;

/// The runs that wait for seats, as far as this process knows them.
#[derive(Default)]
pub(super) struct Turns(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// The open runs of the last list, its place in the order of reads, and when it was read.
    listed: Arc<Vec<OpenRun>>,
    begun: u64,
    read_at: Option<Timestamp>,
    /// The runs that were reconciled after the list began, with their place in the order of reads;
    /// `None`: it does not wait for a seat.
    reconciled: HashMap<RunName, (u64, Option<OpenRun>)>,
    classes: HashMap<ClassName, OfClass>,
}

#[derive(Default)]
struct OfClass {
    seated: HashMap<AttemptId, Seated>,
    served: Served,
    /// The runs whose turn it is, and since when they are called.
    called: HashMap<RunName, Timestamp>,
}

/// A seat that is taken.
struct Seated {
    seat: Seat,
    /// The place in the order of reads at which it was first seen.
    seen: u64,
}

impl OfClass {
    /// Returns the repositories that the taken seats count for.
    fn repos(&self) -> impl Iterator<Item = RepoRef<'_>> {
        self.seated.values().map(|seated| seated.seat.repo_ref())
    }
}

/// A request for a seat of a class.
struct Asked<'a> {
    class: &'a Class,
    /// All classes: the first that serves a run is its class.
    classes: &'a [Class],
    /// The run that asks; it may not be known to wait yet. `None`: a seat became free.
    own: Option<Waiter<'a>>,
    now: Timestamp,
}

impl Inner {
    /// Returns the runs that wait for a seat of the class, and have taken none since that is known.
    /// A run that was called and does not come is left out, unless it asks.
    fn waiting<'a>(&'a self, asked: &Asked<'a>) -> impl Iterator<Item = Waiter<'a>> {
        let &Asked { class, classes, own, now } = asked;
        let of_class = self.classes.get(&class.name);
        let mut seated: HashMap<&RunName, u64> = HashMap::new();
        for (attempt_id, Seated { seen, .. }) in of_class.into_iter().flat_map(|of| &of.seated) {
            let last = seated.entry(&attempt_id.run).or_insert(*seen);
            *last = (*last).max(*seen);
        }
        let called = of_class.map(|of| &of.called);
        let is_stuck = move |name: &RunName| {
            called.and_then(|called| called.get(name)).is_some_and(|at| is_late(*at, now))
        };
        let waits = move |(at, run): &(u64, &'a OpenRun)| {
            run.at_limit
                && !run.deleted
                && own.is_none_or(|own| *own.name != run.name)
                && seated.get(&run.name).is_none_or(|seen| seen < at)
                && !is_stuck(&run.name)
                && serving(classes, &run.repo, &run.runs_on).is_some_and(|of| of.name == class.name)
        };
        let reconciled = &self.reconciled;
        let unchanged = self.listed.iter().filter(move |run| !reconciled.contains_key(&run.name));
        let begun = self.begun;
        let unchanged = unchanged.map(move |run| (begun, run));
        let changed = reconciled.values().filter_map(|(at, run)| Some((*at, run.as_ref()?)));
        let waiter = |(_, run): (u64, &'a OpenRun)| Waiter {
            name: &run.name,
            repo: run.repo_ref(),
            since: run.waiting_since,
        };
        unchanged.chain(changed).filter(waits).map(waiter).chain(own)
    }

    fn order<'a>(&'a self, asked: &Asked<'a>, limits: SeatLimits) -> Order<'a> {
        let unknown = OfClass::default();
        let of = self.classes.get(&asked.class.name).unwrap_or(&unknown);
        let held = of.repos();
        order(limits, held, self.waiting(asked), &of.served, asked.now)
    }
}

/// Returns whether a run that was called then should have come.
fn is_late(called_at: Timestamp, now: Timestamp) -> bool {
    now >= after(called_at, TURN_WITHIN)
}

impl Turns {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    /// Notes a list of open runs. `begun`: its place in the order of reads.
    fn listed(&self, open: &Arc<Vec<OpenRun>>, begun: u64, read_at: Timestamp) {
        let mut inner = self.inner();
        if begun < inner.begun {
            return;
        }
        inner.begun = begun;
        inner.reconciled.retain(|_, (at, _)| *at > begun);
        inner.listed = open.clone();
        inner.read_at = Some(read_at);
    }

    fn is_listed(&self, now: Timestamp) -> bool {
        let read_at = self.inner().read_at;
        read_at.is_some_and(|at| at <= now && !older(now, at, LIST_SERVES_FOR))
    }

    /// Notes a run after its reconcile. `at`: the place of the reconcile in the order of reads.
    pub(super) fn reconciled(&self, name: &RunName, run: Option<&Run>, at: u64) {
        let mut inner = self.inner();
        for of in inner.classes.values_mut() {
            // It came.
            of.called.remove(name);
        }
        if inner.reconciled.len() >= RECONCILED_KEPT {
            // The next that asks lists the open runs again.
            inner.reconciled.clear();
            inner.read_at = None;
        }
        let waits = run.filter(|run| run.status.reason() == Some(Reason::AtLimit));
        let waits = waits.map(OpenRun::of);
        inner.reconciled.insert(name.clone(), (at, waits));
    }

    /// Notes the seats of a class: an owner whose seat was not there before has got one. `limit`:
    /// of the class. `seen`: the place of their reading in the order of reads.
    pub(super) fn seated(
        &self,
        class: &ClassName,
        limit: Option<u32>,
        seats: &[Seat],
        seen: u64,
        now: Timestamp,
    ) {
        if limit.is_some_and(|limit| seats.len() >= limit as usize) {
            self.full(class, now);
        }
        let mut inner = self.inner();
        if seats.is_empty() && !inner.classes.contains_key(class) {
            return;
        }
        let OfClass { seated, served, .. } = inner.classes.entry(class.clone()).or_default();
        let held: HashSet<&AttemptId> = seats.iter().map(|seat| &seat.attempt_id).collect();
        seated.retain(|attempt_id, _| held.contains(attempt_id));
        for seat in seats {
            if !seated.contains_key(&seat.attempt_id) {
                seated.insert(seat.attempt_id.clone(), Seated { seat: seat.clone(), seen });
                served.gets(seat.repo_ref(), now);
            }
        }
        served.forget_old(now);
    }

    /// Returns the limit that refuses a seat to a repository, by the seats that were last read.
    fn reached(&self, class: &Class, repo: RepoRef<'_>) -> Option<LimitOf> {
        let inner = self.inner();
        let held = inner.classes.get(&class.name).into_iter().flat_map(OfClass::repos);
        Some(class.seat_limits().reached(repo, held)?.of)
    }

    /// Returns whether no seat of the class was free when its seats were last read, and other runs
    /// wait for one that their own limits allow.
    fn is_awaited(&self, asked: &Asked<'_>) -> bool {
        let inner = self.inner();
        let of_class = inner.classes.get(&asked.class.name);
        let held: Vec<RepoRef<'_>> = of_class.into_iter().flat_map(OfClass::repos).collect();
        let limits = asked.class.seat_limits();
        if limits.class.is_none_or(|limit| held.len() < limit as usize) {
            return false;
        }
        let limits = SeatLimits { class: None, ..limits };
        let mut others =
            inner.waiting(asked).filter(|it| asked.own.is_none_or(|own| own.name != it.name));
        others.any(|other| limits.reached(other.repo, held.iter().copied()).is_none())
    }

    /// Records that no seat of a class is free, or was until now: those that were called for one
    /// had come, or others had been faster.
    fn full(&self, class: &ClassName, now: Timestamp) {
        if let Some(of) = self.inner().classes.get_mut(class) {
            of.called.retain(|_, at| is_late(*at, now));
        }
    }

    /// Returns the runs for which the free seats of the class are, in their order.
    fn of(&self, asked: &Asked<'_>) -> Vec<RunName> {
        let mut inner = self.inner();
        if let Some(of) = inner.classes.get_mut(&asked.class.name) {
            of.called.retain(|_, at| !older(asked.now, *at, PASSED_OVER_FOR));
        }
        let order = inner.order(asked, asked.class.seat_limits());
        let turns: Vec<RunName> = order.map(|waiter| waiter.name.clone()).collect();
        if let Some(of) = inner.classes.get_mut(&asked.class.name) {
            let known: HashSet<&RunName> = turns.iter().collect();
            of.called.retain(|name, at| known.contains(name) || is_late(*at, asked.now));
        }
        turns
    }

    /// Records that these runs are called. Returns those that were not called before.
    fn call(&self, class: &ClassName, turns: &[RunName], now: Timestamp) -> Vec<RunName> {
        let mut inner = self.inner();
        let of = inner.classes.entry(class.clone()).or_default();
        let mut is_new = |name: &&RunName| {
            let before = of.called.len();
            of.called.entry((*name).clone()).or_insert(now);
            of.called.len() > before
        };
        turns.iter().filter(|name| is_new(name)).cloned().collect()
    }

    /// Returns how many runs of other repositories are before the one that asks, among the first
    /// thousand; `None` if no list of open runs was read.
    fn before(&self, asked: &Asked<'_>) -> Option<usize> {
        let (inner, own) = (self.inner(), asked.own?);
        inner.read_at?;
        // As many seats as are needed for all of them.
        let limits = SeatLimits { class: None, ..asked.class.seat_limits() };
        let first = inner.order(asked, limits).take(COUNTED);
        let before = first.take_while(|waiter| waiter.name != own.name);
        Some(before.filter(|waiter| !waiter.repo.is_same(own.repo)).count())
    }

    /// Forgets everything: times of a wrong clock.
    pub(super) fn forget(&self) {
        *self.inner() = Inner::default();
    }
}

impl Controller {
    /// Lists the open runs, and notes who waits for a seat and which machines came online.
    pub(super) async fn list_open(&self, now: Timestamp) -> Result<Arc<Vec<OpenRun>>, PortError> {
        let begun = self.cache.ticket();
        let open = Arc::new(self.ports.store.open(now).await?);
        self.cache.turns.listed(&open, begun, now);
        self.note_boots(&open, now);
        Ok(open)
    }

    /// Lists the open runs once for all reconciles that ask at the same time.
    pub(super) async fn list_open_for_all(&self, now: Timestamp) -> Result<(), PortError> {
        let ticket = self.cache.ticket();
        let read = async { self.list_open(now).await.map(|_| ()) };
        self.cache.open.after(&self.cache, ticket, read).await.map(|_| ())
    }

    /// Returns the runs for which the free seats of the class are, if the observed run, which needs
    /// a seat, is none of them.
    pub(super) async fn turn_of_others(&self, seen: &Observation) -> Vec<RunName> {
        let (Some(run), Some(observed)) = (&seen.run, &seen.class) else { return Vec::new() };
        let (turns, class, own) = (&self.cache.turns, &observed.class, waiter(run));
        match turns.reached(class, own.repo) {
            None => {}
            Some(LimitOf::Class) => {
                turns.full(&class.name, seen.now);
                return Vec::new();
            }
            Some(LimitOf::Repo | LimitOf::Owner) => return Vec::new(),
        }
        if !turns.is_listed(seen.now) {
            // Without a list, the seat is asked for as if nobody else waited.
            let _ = self.list_open_for_all(seen.now).await;
        }
        let settings = self.settings();
        let classes = &settings.classes[..];
        let next = turns.of(&Asked { class, classes, own: Some(own), now: seen.now });
        if next.contains(own.name) { Vec::new() } else { next }
    }

    /// Returns whether the class had no free seat when its seats were read, and others wait for one.
    /// Then the run does not ask the store: one that became free meanwhile is for those that are
    /// called for it.
    pub(super) fn is_full_for(&self, run: &Run, class: &Class, now: Timestamp) -> bool {
        let settings = self.settings();
        let classes = &settings.classes[..];
        self.cache.turns.is_awaited(&Asked { class, classes, own: Some(waiter(run)), now })
    }

    /// Wakes the runs that get the free seats of a class, after the observed run gave one back.
    pub(super) async fn wake_next(&self, class: &ClassName, seen: &Observation) {
        let (settings, now) = (self.settings(), seen.now);
        let classes = &settings.classes[..];
        let Some(class) = classes.iter().find(|c| c.name == *class) else { return };
        let (Ok(_), Ok(seats)) =
            (self.list_open(now).await, self.ports.store.seats(&class.name).await)
        else {
            // They are due within 5 minutes anyway.
            return;
        };
        let turns = &self.cache.turns;
        turns.seated(&class.name, class.limit, &seats, self.cache.ticket(), now);
        if class.limit.is_some_and(|limit| seats.len() + 1 >= limit as usize) {
            turns.full(&class.name, now);
        }
        let next = turns.of(&Asked { class, classes, own: None, now });
        turns.call(&class.name, &next, now);
        for name in next.iter().filter(|name| **name != seen.name) {
            // After a lost wake-up the run continues at its due.
            let _ = self.ports.queue.wake(name).await;
        }
    }

    /// Wakes the runs for which this one has left a free seat, each once.
    pub(super) async fn wake_others(&self, seen: &Observation) {
        let is_waiting = seen.run.as_ref().is_some_and(|run| {
            run.status.reason() == Some(Reason::AtLimit) && run.status.phase == Phase::Waiting
        });
        let Some(observed) = seen.class.as_ref().filter(|_| is_waiting) else { return };
        for name in self.cache.turns.call(&observed.class.name, &seen.turn_of, seen.now) {
            // After a lost wake-up it is passed over.
            let _ = self.ports.queue.wake(&name).await;
        }
    }

    /// Returns how many runs of other repositories get a seat of the class before this one, among
    /// the first thousand that get one; `None` if this process has not listed the open runs.
    /// `seats`: of the class, as they were just read.
    pub fn waits_behind(&self, run: &Run, class: &Class, seats: &[Seat]) -> Option<usize> {
        let settings = self.settings();
        let (classes, now) = (&settings.classes[..], self.ports.clock.now());
        let seen = self.cache.ticket();
        self.cache.turns.seated(&class.name, class.limit, seats, seen, now);
        self.cache.turns.before(&Asked { class, classes, own: Some(waiter(run)), now })
    }
}

fn waiter(run: &Run) -> Waiter<'_> {
    Waiter { name: &run.name, repo: run.spec.job.repo_ref(), since: run.status.waiting_since }
}
