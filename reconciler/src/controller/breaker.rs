//! The breaker of each class. When the cloud refuses a launch and an operator must act, the class
//! launches nothing for a while; then one attempt tries, and its answer decides. In a class without
//! an answer so far, one attempt tries first and the others wait for it. This is a cache: losing it
//! costs a call, never safety.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_lock::{Semaphore, SemaphoreGuardArc};
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};

use crate::model::{AttemptId, ClassName, OpenBreaker, Refusal, RunName};
use crate::plan::times::{BREAKER_RETRIES_AFTER, after};
use crate::ports::Clock;

/// The maximum number of runs that are woken when a breaker closes; the others wait for their due.
const WOKEN_AT_MOST: usize = 1_000;

/// The breakers of all classes.
#[derive(Default)]
pub(super) struct Breakers(Mutex<HashMap<ClassName, Arc<Breaker>>>);

/// The breaker of one class.
struct Breaker {
    /// Held by the attempt that tries an untried class.
    first: Arc<Semaphore>,
    state: Mutex<State>,
}

/// The state of a class's breaker.
enum State {
    /// No launch was answered yet.
    Untried,
    /// Launches are accepted.
    Closed,
    /// Launches are stopped.
    Open(Open),
}

struct Open {
    breaker: OpenBreaker,
    /// The attempt that tries; it may launch until it gets an answer.
    trial: Option<AttemptId>,
    /// Runs that wait in this process.
    held: BTreeSet<RunName>,
}

/// A permit to launch for one attempt.
pub(super) struct LaunchPermit {
    class: ClassName,
    attempt_id: AttemptId,
    /// Whether it is the one try of an open breaker.
    tries: bool,
    first: Option<SemaphoreGuardArc>,
}

impl LaunchPermit {
    /// Returns whether the permit is for that attempt and excludes others. A permit that anybody
    /// can get is requested again.
    pub(super) fn holds_for(&self, class: &ClassName, attempt_id: &AttemptId) -> bool {
        (self.tries || self.first.is_some())
            && self.class == *class
            && self.attempt_id == *attempt_id
    }
}

/// A breaker that has closed.
pub(super) struct Closed {
    /// Time at which it opened.
    pub(super) since: Timestamp,
    /// Runs that waited in this process.
    pub(super) held: BTreeSet<RunName>,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { first: Arc::new(Semaphore::new(1)), state: Mutex::new(State::Untried) }
    }
}

impl Breaker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn is_untried(&self) -> bool {
        matches!(*self.state(), State::Untried)
    }
}

impl Open {
    /// Returns why no attempt may try now.
    fn shut(&self, now: Timestamp) -> Option<OpenBreaker> {
        (self.breaker.until > now).then(|| self.breaker.clone())
    }
}

impl Breakers {
    fn of(&self, class: &ClassName) -> Arc<Breaker> {
        let mut all = self.0.lock();
        all.entry(class.clone()).or_default().clone()
    }

    /// Returns why the class launches nothing now, for any attempt but the one that tries.
    pub(super) fn open_breaker(
        &self,
        class: &ClassName,
        attempt_id: Option<&AttemptId>,
        now: Timestamp,
    ) -> Option<OpenBreaker> {
        match &*self.of(class).state() {
            State::Open(open) if attempt_id.is_none() || open.trial.as_ref() != attempt_id => {
                open.shut(now)
            }
            State::Untried | State::Closed | State::Open(_) => None,
        }
    }

    /// Returns the breaker of a class if it is open, also while an attempt may try.
    pub(super) fn opened(&self, class: &ClassName) -> Option<OpenBreaker> {
        match &*self.0.lock().get(class)?.state() {
            State::Open(open) => Some(open.breaker.clone()),
            State::Untried | State::Closed => None,
        }
    }

    /// Returns a permit to launch for an attempt. If no launch was answered yet, waits until nobody
    /// else tries, which takes as long as one launch.
    ///
    /// # Errors
    /// Returns the open breaker.
    pub(super) async fn admit(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
        clock: &dyn Clock,
    ) -> Result<LaunchPermit, OpenBreaker> {
        let breaker = self.of(class);
        let mut first = None;
        if breaker.is_untried() {
            first = Some(breaker.first.acquire_arc().await);
        }
        let now = clock.now();
        let mut permit = LaunchPermit {
            class: class.clone(),
            attempt_id: attempt_id.clone(),
            tries: false,
            first: None,
        };
        match &mut *breaker.state() {
            State::Untried => permit.first = first,
            State::Closed => {}
            State::Open(open) if open.trial.as_ref() == Some(attempt_id) => {}
            State::Open(open) => {
                if let Some(breaker) = open.shut(now) {
                    return Err(breaker);
                }
                open.trial = Some(attempt_id.clone());
                open.breaker.until = after(now, BREAKER_RETRIES_AFTER);
                permit.tries = true;
            }
        }
        Ok(permit)
    }

    /// Returns an unused permit: the next attempt may try.
    pub(super) fn unused(&self, permit: &LaunchPermit, now: Timestamp) {
        if let State::Open(open) = &mut *self.of(&permit.class).state()
            && permit.tries
            && open.trial.as_ref() == Some(&permit.attempt_id)
        {
            open.trial = None;
            open.breaker.until = now;
        }
    }

    /// Closes the breaker: a launch was accepted, or refused for a temporary reason, so the request
    /// is valid. Returns the breaker if it was open.
    pub(super) fn accepted(&self, class: &ClassName) -> Option<Closed> {
        match std::mem::replace(&mut *self.of(class).state(), State::Closed) {
            State::Open(Open { breaker, trial: _, held }) => {
                Some(Closed { since: breaker.since, held })
            }
            State::Untried | State::Closed => None,
        }
    }

    /// Opens the breaker: a launch was refused, and an operator must act. Returns it if it was not
    /// open before.
    pub(super) fn refused(
        &self,
        class: &ClassName,
        why: Refusal,
        message: String,
        now: Timestamp,
    ) -> Option<OpenBreaker> {
        let until = after(now, BREAKER_RETRIES_AFTER);
        let breaker = self.of(class);
        let mut state = breaker.state();
        if let State::Open(open) = &mut *state {
            open.breaker = OpenBreaker { why, message, since: open.breaker.since, until };
            open.trial = None;
            return None;
        }
        let breaker = OpenBreaker { why, message, since: now, until };
        *state = State::Open(Open { breaker: breaker.clone(), trial: None, held: BTreeSet::new() });
        Some(breaker)
    }

    /// Records that a run waits for the breaker to close.
    pub(super) fn holds(&self, class: &ClassName, name: &RunName) {
        if let State::Open(open) = &mut *self.of(class).state()
            && open.held.len() < WOKEN_AT_MOST
        {
            open.held.insert(name.clone());
        }
    }

    /// Forgets every breaker: each class is untried again.
    pub(super) fn forget(&self) {
        self.0.lock().clear();
    }

    /// Lets a class whose configuration changed launch again. Returns the runs that waited.
    pub(super) fn reset(&self, class: &ClassName, now: Timestamp) -> BTreeSet<RunName> {
        match &mut *self.of(class).state() {
            State::Open(open) => {
                open.trial = None;
                open.breaker.until = now;
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

    fn attempt_id(job: i64) -> AttemptId {
        let uid = crate::model::Uid8("0a1b2c3d".to_owned());
        AttemptId { run: RunName::job(job), uid, number: 1 }
    }

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(60 * minute).expect("a time")
    }

    /// Requests a permit; `None` if that must wait.
    fn asked(
        breakers: &Breakers,
        job: i64,
        now: Timestamp,
    ) -> Option<Result<LaunchPermit, OpenBreaker>> {
        let clock = At(now);
        let (class, attempt_id) = (linux(), attempt_id(job));
        let asks = pin!(breakers.admit(&class, &attempt_id, &clock));
        match asks.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    fn refused(breakers: &Breakers, now: Timestamp) -> bool {
        breakers.refused(&linux(), Refusal::Denied, "denied".to_owned(), now).is_some()
    }

    #[test]
    fn one_attempt_tries_an_untried_class_while_the_others_wait_for_its_answer() {
        let breakers = Breakers::default();
        let first = asked(&breakers, 1, minute(0)).expect("no wait").expect("a permit");
        assert!(
            first.holds_for(&linux(), &attempt_id(1)) && !first.holds_for(&linux(), &attempt_id(2))
        );
        let (class, second, clock) = (linux(), attempt_id(2), At(minute(0)));
        let mut waits = pin!(breakers.admit(&class, &second, &clock));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        // An ambiguous answer: the next one tries.
        drop(first);
        let Poll::Ready(Ok(second)) = waits.as_mut().poll(&mut context) else {
            panic!("no permit");
        };
        assert!(second.holds_for(&linux(), &attempt_id(2)));
        assert!(asked(&breakers, 3, minute(0)).is_none(), "the third waits for the second");
        assert!(breakers.accepted(&linux()).is_none(), "it was not open");
        // From now on nobody waits, even while the second still holds its permit.
        for job in 3..6 {
            let permit = asked(&breakers, job, minute(0)).expect("no wait").expect("a permit");
            assert!(
                !permit.holds_for(&linux(), &attempt_id(job)),
                "requested again before the call"
            );
        }
    }

    #[test]
    fn attempts_that_wait_get_no_permit_after_a_refusal() {
        let breakers = Breakers::default();
        let first = asked(&breakers, 1, minute(0)).expect("no wait").expect("a permit");
        let (class, second, clock) = (linux(), attempt_id(2), At(minute(0)));
        let mut waits = pin!(breakers.admit(&class, &second, &clock));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        assert!(refused(&breakers, minute(0)));
        drop(first);
        let Poll::Ready(Err(breaker)) = waits.as_mut().poll(&mut context) else {
            panic!("the breaker is open");
        };
        assert_eq!((breaker.since, breaker.until), (minute(0), minute(5)));
    }

    #[test]
    fn only_one_attempt_may_try_after_five_minutes() {
        let breakers = Breakers::default();
        assert!(refused(&breakers, minute(0)), "it opens");
        assert!(!refused(&breakers, minute(0)), "it is open");
        assert!(matches!(asked(&breakers, 1, minute(4)), Some(Err(_))));
        assert!(breakers.open_breaker(&linux(), None, minute(5)).is_none());
        let trial = asked(&breakers, 1, minute(5)).expect("no wait").expect("a permit");
        assert!(trial.holds_for(&linux(), &attempt_id(1)));
        let Some(Err(breaker)) = asked(&breakers, 2, minute(5)) else { panic!("it is open") };
        assert_eq!((breaker.since, breaker.until), (minute(0), minute(10)));
        // The attempt that tries may launch again as long as it has no answer.
        assert!(matches!(asked(&breakers, 1, minute(7)), Some(Ok(_))));
        assert!(breakers.open_breaker(&linux(), Some(&attempt_id(1)), minute(7)).is_none());
        assert!(breakers.open_breaker(&linux(), Some(&attempt_id(2)), minute(7)).is_some());
        // Not used: the next one may try at once.
        breakers.unused(&trial, minute(8));
        assert!(matches!(asked(&breakers, 2, minute(8)), Some(Ok(_))));
        assert!(!refused(&breakers, minute(8)), "it stays open");
        let breaker = breakers.open_breaker(&linux(), None, minute(12)).expect("it is open");
        assert_eq!((breaker.since, breaker.until), (minute(0), minute(13)));
        breakers.holds(&linux(), &RunName::job(7));
        let closed = breakers.accepted(&linux()).expect("it was open");
        assert_eq!(closed.since, minute(0));
        assert_eq!(closed.held.into_iter().collect::<Vec<_>>(), [RunName::job(7)]);
        assert!(breakers.open_breaker(&linux(), None, minute(12)).is_none());
    }

    #[test]
    fn at_most_a_thousand_waiting_runs_are_woken() {
        let breakers = Breakers::default();
        assert!(refused(&breakers, minute(0)));
        for job in 0..1_010 {
            breakers.holds(&linux(), &RunName::job(job));
        }
        let closed = breakers.accepted(&linux()).expect("it was open");
        assert_eq!(closed.held.len(), WOKEN_AT_MOST);
    }
}
