//! The breaker of each class. Once the cloud has refused a launch for what an operator must mend, no
//! other launch of the class is made for a while; then one attempt tries, and its answer decides.
//! What a process has not seen answered yet is tried by one attempt first: the others wait for that
//! answer. All of it is memory: losing it costs a call, never safety.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_lock::{Semaphore, SemaphoreGuardArc};
use jiff::Timestamp;

use crate::model::{Broken, ClassName, Refusal, RunName, Slot};
use crate::mutant::{self, Mutant};
use crate::plan::times::{STOPPED_FOR, after};
use crate::ports::Clock;

/// Runs of a class that are woken when its launches go on; the others come by their own dues.
const WOKEN_AT_MOST: usize = 1_000;

/// The breakers of all classes.
#[derive(Default)]
pub(super) struct Breakers(Mutex<HashMap<ClassName, Arc<Breaker>>>);

/// One class's.
struct Breaker {
    /// Held by the attempt that tries an untried class.
    first: Arc<Semaphore>,
    state: Mutex<State>,
}

/// What is known of a class's launches.
enum State {
    /// None was answered yet.
    Untried,
    /// They are taken.
    Closed,
    /// They are stopped.
    Open(Open),
}

struct Open {
    broken: Broken,
    /// The attempt that tries; it may ask until it is answered.
    trial: Option<Slot>,
    /// Runs that wait for it in this process.
    held: BTreeSet<RunName>,
}

/// Leave to launch for one slot.
pub(super) struct Leave {
    class: ClassName,
    slot: Slot,
    /// Whether it has closed the door behind it.
    tries: bool,
    first: Option<SemaphoreGuardArc>,
}

impl Leave {
    /// Whether it still holds for that slot: others wait for it. What all may do is asked for anew.
    pub(super) fn holds_for(&self, class: &ClassName, slot: &Slot) -> bool {
        (self.tries || self.first.is_some()) && self.class == *class && self.slot == *slot
    }
}

/// A breaker that has closed.
pub(super) struct Closed {
    /// Since when it was open.
    pub(super) since: Timestamp,
    /// Runs that waited for it in this process.
    pub(super) held: BTreeSet<RunName>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { first: Arc::new(Semaphore::new(1)), state: Mutex::new(State::Untried) }
    }
}

impl Breaker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_untried(&self) -> bool {
        matches!(*self.state(), State::Untried)
    }
}

impl Open {
    /// Why nobody may try now.
    fn shut(&self, now: Timestamp) -> Option<Broken> {
        let mut broken = self.broken.clone();
        if mutant::on(Mutant::BreakerNeverCloses) {
            broken.until = after(now, STOPPED_FOR);
        }
        (broken.until > now).then_some(broken)
    }
}

impl Breakers {
    fn of(&self, class: &ClassName) -> Arc<Breaker> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(class.clone()).or_default().clone()
    }

    /// Why no launch of the class is made now, by any attempt but the one that tries.
    pub(super) fn broken(
        &self,
        class: &ClassName,
        own: Option<&Slot>,
        now: Timestamp,
    ) -> Option<Broken> {
        match &*self.of(class).state() {
            State::Open(open) if own.is_none() || open.trial.as_ref() != own => open.shut(now),
            State::Untried | State::Closed | State::Open(_) => None,
        }
    }

    /// Leave to launch for a slot. Where the class is untried it is waited until nobody else tries,
    /// which is as long as one launch takes.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn admit(
        &self,
        class: &ClassName,
        slot: &Slot,
        clock: &dyn Clock,
    ) -> Result<Leave, Broken> {
        let breaker = self.of(class);
        let mut first = None;
        if breaker.is_untried() {
            first = Some(breaker.first.acquire_arc().await);
        }
        let now = clock.now();
        let mut leave =
            Leave { class: class.clone(), slot: slot.clone(), tries: false, first: None };
        match &mut *breaker.state() {
            State::Untried => leave.first = first,
            State::Closed => {}
            State::Open(open) if open.trial.as_ref() == Some(slot) => {}
            State::Open(open) => {
                if let Some(broken) = open.shut(now) {
                    return Err(broken);
                }
                open.trial = Some(slot.clone());
                open.broken.until = after(now, STOPPED_FOR);
                leave.tries = true;
            }
        }
        Ok(leave)
    }

    /// A leave was not used: the next one may try.
    pub(super) fn unused(&self, leave: &Leave, now: Timestamp) {
        if let State::Open(open) = &mut *self.of(&leave.class).state()
            && leave.tries
            && open.trial.as_ref() == Some(&leave.slot)
        {
            open.trial = None;
            open.broken.until = now;
        }
    }

    /// A launch was taken, or refused for what passes by itself: what was asked for is right.
    /// Answers what had been stopped.
    pub(super) fn accepted(&self, class: &ClassName) -> Option<Closed> {
        match std::mem::replace(&mut *self.of(class).state(), State::Closed) {
            State::Open(Open { broken, trial: _, held }) => {
                Some(Closed { since: broken.since, held })
            }
            State::Untried | State::Closed => None,
        }
    }

    /// A launch was refused for what an operator must mend. Answers what is stopped, where it was
    /// not before.
    pub(super) fn refused(
        &self,
        class: &ClassName,
        why: Refusal,
        message: String,
        now: Timestamp,
    ) -> Option<Broken> {
        if mutant::on(Mutant::NoBreaker) {
            return None;
        }
        let until = after(now, STOPPED_FOR);
        let breaker = self.of(class);
        let mut state = breaker.state();
        if let State::Open(open) = &mut *state {
            open.broken = Broken { why, message, since: open.broken.since, until };
            open.trial = None;
            return None;
        }
        let broken = Broken { why, message, since: now, until };
        *state = State::Open(Open { broken: broken.clone(), trial: None, held: BTreeSet::new() });
        Some(broken)
    }

    /// A run waits for the class's launches to go on.
    pub(super) fn holds(&self, class: &ClassName, name: &RunName) {
        if let State::Open(open) = &mut *self.of(class).state()
            && open.held.len() < WOKEN_AT_MOST
        {
            open.held.insert(name.clone());
        }
    }

    /// A class is configured otherwise: it is tried anew. Answers the runs that waited.
    pub(super) fn reset(&self, class: &ClassName, now: Timestamp) -> BTreeSet<RunName> {
        match &mut *self.of(class).state() {
            State::Open(open) => {
                open.trial = None;
                open.broken.until = now;
                std::mem::take(&mut open.held)
            }
            state => {
                *state = State::Untried;
                BTreeSet::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    struct At(Timestamp);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            self.0
        }
    }

    fn linux() -> ClassName {
        ClassName("linux".to_owned())
    }

    fn slot(job: i64) -> Slot {
        let uid = crate::model::Uid8("0a1b2c3d".to_owned());
        Slot { run: RunName::job(job), uid, number: 1 }
    }

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(60 * minute).expect("a time")
    }

    /// What asking for leave comes to; `None`: it waits.
    fn asked(breakers: &Breakers, job: i64, now: Timestamp) -> Option<Result<Leave, Broken>> {
        let clock = At(now);
        let (class, slot) = (linux(), slot(job));
        let asks = pin!(breakers.admit(&class, &slot, &clock));
        match asks.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn refused(breakers: &Breakers, now: Timestamp) -> bool {
        breakers.refused(&linux(), Refusal::Denied, "denied".to_owned(), now).is_some()
    }

    #[test]
    fn an_untried_class_is_asked_by_one_and_the_others_wait_for_its_answer() {
        let breakers = Breakers::default();
        let first = asked(&breakers, 1, minute(0)).expect("nobody is before").expect("leave");
        assert!(first.holds_for(&linux(), &slot(1)) && !first.holds_for(&linux(), &slot(2)));
        let (class, second, clock) = (linux(), slot(2), At(minute(0)));
        let mut waits = pin!(breakers.admit(&class, &second, &clock));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        // An answer that tells nothing: the next one tries.
        drop(first);
        let Poll::Ready(Ok(second)) = waits.as_mut().poll(&mut context) else {
            panic!("it is its turn");
        };
        assert!(second.holds_for(&linux(), &slot(2)));
        assert!(asked(&breakers, 3, minute(0)).is_none(), "and the third waits for that");
        assert!(breakers.accepted(&linux()).is_none(), "nothing had been stopped");
        // From now on nobody waits, also while the second still holds its leave.
        for job in 3..6 {
            let leave = asked(&breakers, job, minute(0)).expect("no wait").expect("leave");
            assert!(!leave.holds_for(&linux(), &slot(job)), "it is asked for anew before the call");
        }
    }

    #[test]
    fn those_who_waited_for_a_refusal_have_no_leave() {
        let breakers = Breakers::default();
        let first = asked(&breakers, 1, minute(0)).expect("no wait").expect("leave");
        let (class, second, clock) = (linux(), slot(2), At(minute(0)));
        let mut waits = pin!(breakers.admit(&class, &second, &clock));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        assert!(refused(&breakers, minute(0)));
        drop(first);
        let Poll::Ready(Err(broken)) = waits.as_mut().poll(&mut context) else {
            panic!("the class is stopped");
        };
        assert_eq!((broken.since, broken.until), (minute(0), minute(5)));
    }

    #[test]
    fn one_may_try_after_five_minutes_and_shuts_the_door_behind_it() {
        let breakers = Breakers::default();
        assert!(refused(&breakers, minute(0)), "it opens");
        assert!(!refused(&breakers, minute(0)), "it is open");
        assert!(matches!(asked(&breakers, 1, minute(4)), Some(Err(_))));
        assert!(breakers.broken(&linux(), None, minute(5)).is_none());
        let trial = asked(&breakers, 1, minute(5)).expect("no wait").expect("leave");
        assert!(trial.holds_for(&linux(), &slot(1)));
        let Some(Err(broken)) = asked(&breakers, 2, minute(5)) else { panic!("it is shut") };
        assert_eq!((broken.since, broken.until), (minute(0), minute(10)));
        // Its own attempt is asked for again, as long as nothing is known of it.
        assert!(matches!(asked(&breakers, 1, minute(7)), Some(Ok(_))));
        assert!(breakers.broken(&linux(), Some(&slot(1)), minute(7)).is_none());
        assert!(breakers.broken(&linux(), Some(&slot(2)), minute(7)).is_some());
        // Not used: the next one may try at once.
        breakers.unused(&trial, minute(8));
        assert!(matches!(asked(&breakers, 2, minute(8)), Some(Ok(_))));
        assert!(!refused(&breakers, minute(8)), "the same stop goes on");
        let broken = breakers.broken(&linux(), None, minute(12)).expect("it is stopped");
        assert_eq!((broken.since, broken.until), (minute(0), minute(13)));
        breakers.holds(&linux(), &RunName::job(7));
        let closed = breakers.accepted(&linux()).expect("it was open");
        assert_eq!(closed.since, minute(0));
        assert_eq!(closed.held.into_iter().collect::<Vec<_>>(), [RunName::job(7)]);
        assert!(breakers.broken(&linux(), None, minute(12)).is_none());
    }

    #[test]
    fn a_thousand_that_waited_are_told_and_the_others_come_by_their_dues() {
        let breakers = Breakers::default();
        assert!(refused(&breakers, minute(0)));
        for job in 0..1_010 {
            breakers.holds(&linux(), &RunName::job(job));
        }
        let closed = breakers.accepted(&linux()).expect("it was open");
        assert_eq!(closed.held.len(), WOKEN_AT_MOST);
    }
}
