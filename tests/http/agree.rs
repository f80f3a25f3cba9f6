//! Everything that shows the state of the installation tells the same: the lists of `/v1`,
//! `/v1/status`, `/v1/drift`, `/v1/why`, `/v1/usage`, `/metrics` and the page. A property over
//! simulated histories.

mod history;
mod many;
mod month;
mod used;
mod views;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence};

use history::{History, Step};
use views::Views;

fn step() -> impl Strategy<Value = Step> {
    let class = prop_oneof![Just("linux"), Just("deploy"), Just("nobody")];
    prop_oneof![
        4 => (class, 1_usize..6, 5_i64..400).prop_map(|(label, jobs, seconds)| Step::Push {
            label, jobs, seconds
        }),
        8 => (5_i64..180).prop_map(Step::Pass),
        1 => (0_usize..8).prop_map(Step::Cancel),
        1 => (0_usize..8).prop_map(Step::Interrupt),
        1 => Just(Step::Pause("linux")),
        1 => Just(Step::Resume),
        1 => (0_usize..8).prop_map(Step::Delete),
    ]
}

proptest! {
    #![proptest_config(Config {
        cases: 8,
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..Config::default()
    })]

    #[test]
    fn all_views_tell_the_same_at_every_moment_of_a_history(
        steps in proptest::collection::vec(step(), 10..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let mut history = History::begin();
            for step in &steps {
                history.play(step).await;
                let views = Views::read(&history).await;
                views.agree();
            }
            // Most jobs are over an hour later.
            history.play(&Step::Pass(3_600)).await;
            Views::read(&history).await.agree();
        });
    }
}

/// A history in which everything happens, so that the property is about something.
#[tokio::test]
async fn all_views_show_waiting_running_and_unserved_jobs_a_limit_a_pause_and_drift() {
    let mut history = History::begin();
    let pushes = [("linux", 3, 300), ("deploy", 4, 300), ("nobody", 1, 30)];
    for (label, jobs, seconds) in pushes {
        history.play(&Step::Push { label, jobs, seconds }).await;
    }
    history.play(&Step::Pass(120)).await;
    let views = Views::read(&history).await;
    views.agree();
    assert_eq!(views.phases("linux"), (0, 0, 3), "they run");
    assert_eq!(views.phases("deploy"), (2, 0, 2), "its limit is 2");
    assert_eq!(views.reasons("deploy"), [("AtLimit".to_owned(), 2)]);
    assert_eq!(views.status["unserved_jobs"], 1);

    history.play(&Step::Pause("linux")).await;
    history.play(&Step::Push { label: "linux", jobs: 1, seconds: 30 }).await;
    history.play(&Step::Pass(900)).await;
    let views = Views::read(&history).await;
    views.agree();
    assert_eq!(views.reasons("linux"), [("Paused".to_owned(), 1)]);
    assert!(views.drift() > 0, "a job has waited for 15 minutes");

    history.play(&Step::Resume).await;
    for _ in 0..30 {
        history.play(&Step::Pass(60)).await;
    }
    let views = Views::read(&history).await;
    views.agree();
    assert_eq!((views.phases("linux"), views.drift()), ((0, 0, 0), 0));
    let used = views.used.total();
    assert!(used.jobs >= 7 && used.cost_micro_usd > Some(0), "{used:?}");
    assert!((1..used.total_seconds).contains(&used.unpriced_seconds), "{used:?}");
}

/// What a run has used is counted when it finishes: until then only the process that saw the machine
/// knows its cost.
#[tokio::test]
async fn a_lost_machine_costs_before_its_run_is_counted() {
    let mut history = History::begin();
    history.play(&Step::Push { label: "linux", jobs: 1, seconds: 300 }).await;
    history.play(&Step::Pass(10)).await;
    history.play(&Step::Pause("linux")).await;
    history.play(&Step::Interrupt(0)).await;
    history.play(&Step::Pass(6_000)).await;
    let views = Views::read(&history).await;
    views.agree();
    assert_eq!(views.phases("linux"), (1, 0, 0), "its job waits for the next machine");
    assert_eq!(views.used.total().cost_micro_usd.unwrap_or(0), 0);
    assert!(views.status["spend"]["today_micro_usd"].as_u64() > Some(0));
}
