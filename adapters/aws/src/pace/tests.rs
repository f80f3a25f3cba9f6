use proptest::prelude::*;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap()
}

/// One event in a bucket's life.
#[derive(Clone, Debug)]
enum Step {
    /// Time passes, in milliseconds; the clock may go back.
    Pass(i64),
    Take,
    Throttled,
    Taken,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (0_i64..3_000).prop_map(Step::Pass),
        1 => (-5_000_i64..0).prop_map(Step::Pass),
        6 => Just(Step::Take),
        1 => Just(Step::Throttled),
        2 => Just(Step::Taken),
    ];
    proptest::collection::vec(step, 1..300)
}

proptest! {
    /// Between any two moments there are no more calls than the account's bucket allows, and the
    /// rate stays between its bounds.
    #[test]
    fn no_more_than_the_account_allows(
        steps in steps(),
        capacity in 1_u32..100,
        tenths in 1_u32..200,
    ) {
        let rate = Rate { capacity: f64::from(capacity), per_second: f64::from(tenths) / 10.0 };
        let mut bucket = Bucket::new(rate, at(0));
        // Real time goes on while the clock is set back.
        let (mut clock, mut real) = (0_i64, 0_i64);
        let mut takes: Vec<i64> = Vec::new();
        for step in steps {
            match step {
                Step::Pass(millis) => {
                    clock += millis;
                    real += millis.abs();
                }
                Step::Take => match bucket.take(at(clock)) {
                    Ok(()) => takes.push(real),
                    Err(wait) => prop_assert!(wait > Duration::ZERO),
                },
                Step::Throttled => {
                    bucket.throttled(at(clock));
                    prop_assert!(bucket.take(at(clock)).is_err(), "it is empty");
                }
                Step::Taken => bucket.taken(),
            }
            prop_assert!(bucket.per_second() <= rate.per_second);
            prop_assert!(bucket.per_second() >= rate.per_second * SLOWEST - 1e-9);
            let tokens = bucket.tokens(at(clock));
            prop_assert!((0.0..=rate.capacity).contains(&tokens));
        }
        for (from, begun) in takes.iter().enumerate() {
            for (to, ended) in takes.iter().enumerate().skip(from) {
                let seconds = f64::from(u32::try_from(ended - begun).unwrap()) / 1_000.0;
                // A clock that was set back and forward again counts at most twice.
                let allowed = rate.capacity + seconds * rate.per_second + 1e-6;
                prop_assert!(count(to - from + 1) <= allowed, "{} in {seconds} s", to - from + 1);
            }
        }
    }

    /// After the reported wait there is a token.
    #[test]
    fn the_reported_wait_is_long_enough(
        taken in 0_usize..20,
        throttled in 0_usize..8,
        pause in 0_i64..2_000,
    ) {
        let mut bucket = Bucket::new(Rates::default().launch, at(0));
        for _ in 0..taken {
            let _ = bucket.take(at(0));
        }
        for _ in 0..throttled {
            bucket.throttled(at(0));
        }
        if let Err(wait) = bucket.take(at(pause)) {
            let wait = i64::try_from(wait.as_millis()).unwrap();
            prop_assert!(wait <= 9_000, "{wait}");
            prop_assert_eq!(bucket.take(at(pause + wait)), Ok(()));
        }
    }
}

#[test]
fn throttling_lowers_the_rate_and_success_restores_it() {
    let rate = Rate { capacity: 4.0, per_second: 2.0 };
    let mut bucket = Bucket::new(rate, at(0));
    bucket.throttled(at(0));
    assert!((bucket.per_second() - 1.0).abs() < 1e-9);
    assert!(bucket.take(at(900)).is_err());
    assert!(bucket.take(at(1_001)).is_ok());
    for _ in 0..10 {
        bucket.taken();
    }
    assert!((bucket.per_second() - 2.0).abs() < 1e-9, "{}", bucket.per_second());
    for _ in 0..20 {
        bucket.throttled(at(1_001));
    }
    assert!((bucket.per_second() - 0.125).abs() < 1e-9, "{}", bucket.per_second());
}

#[test]
fn extreme_times_do_not_panic() {
    let mut bucket = Bucket::new(Rates::default().launch, Timestamp::MIN);
    assert!(bucket.take(Timestamp::MAX).is_ok());
    assert!(bucket.take(Timestamp::MIN).is_ok());
    assert!((bucket.tokens(Timestamp::MIN) - 2.0).abs() < 1e-9);
}

/// A clock that the test sets.
struct ManualClock(Mutex<Timestamp>);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock()
    }
}

/// Polls a future once, like a task that has just started.
fn begun<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> std::task::Poll<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    future.as_mut().poll(&mut context)
}

#[tokio::test]
async fn a_burst_waits_in_order_and_a_wait_that_is_too_long_fails_at_once() {
    use std::task::Poll;
    let clock = Arc::new(ManualClock(Mutex::new(at(0))));
    let lane = Lane::new(Rate { capacity: 4.0, per_second: 2.0 }, PATIENCE, clock.clone());
    assert!(lane.room());
    let mut turns: Vec<_> = (0..30).map(|_| Box::pin(lane.turn())).collect();
    let answers: Vec<_> = turns.iter_mut().map(begun).collect();
    assert!(answers[..4].iter().all(|answer| *answer == Poll::Ready(Ok(()))), "{answers:?}");
    // 2/s for 8 s.
    assert!(answers[4..20].iter().all(Poll::is_pending), "{answers:?}");
    assert!(
        answers[20..]
            .iter()
            .all(|answer| matches!(answer, Poll::Ready(Err(wait)) if *wait > PATIENCE)),
        "{answers:?}"
    );
    *clock.0.lock() = at(2_000);
    assert!(!lane.room(), "waiting calls need the tokens");
    drop(turns);
    assert!(lane.room(), "abandoned waits hold no token");
}

#[tokio::test]
async fn turns_come_in_order() {
    let clock: Arc<dyn Clock> = Arc::new(tinqs_ci_local::SystemClock);
    let lane = Lane::new(Rate { capacity: 1.0, per_second: 200.0 }, PATIENCE, clock);
    let lane = Arc::new(lane);
    let began = std::time::Instant::now();
    let order: Arc<Mutex<Vec<u32>>> = Arc::default();
    let mut all = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (lane, order) = (lane.clone(), order.clone());
        all.spawn(async move {
            lane.turn().await.unwrap();
            order.lock().push(number);
        });
    }
    all.join_all().await;
    assert_eq!(*order.lock(), (0..20).collect::<Vec<u32>>());
    // 19 waits of 5 ms.
    assert!(began.elapsed() >= Duration::from_millis(90), "each turn took a token");
}
