//! Fails every AWS call in the life of a run in every way: the call is refused, its reply is lost,
//! or the controller crashes before or after it. Covers each single call and pairs of effects, with
//! the real adapters over the real SDK and real sockets.
//!
//! `TINQS_CI_SWEEP=night cargo test -p tinqs-ci-aws-tests --test crash_sweep` sweeps all pairs; by
//! default a sample.

#[allow(dead_code, reason = "the fault-free histories use the rest")]
mod history;

use std::collections::BTreeMap;
use std::sync::Arc;

use history::injected_fault::{InjectedFault, Place, Plan, is_effect};
use history::{History, Setup};
use jiff::SignedDuration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Concurrent histories, because each waits for sockets now and then.
const AT_ONCE: usize = 12;
/// Without `TINQS_CI_SWEEP=night`, one pair in this many is swept.
const SHARE: usize = 24;

/// The faults of one history.
type Case = Vec<(Place, InjectedFault)>;

/// Runs a history. Returns every call until it settled.
async fn run(
    config: &aws_config::SdkConfig,
    setup: &Setup,
    case: &Case,
) -> Result<Vec<Place>, String> {
    let mut history = History::begin(config, setup, Plan::of(case)).await;
    let jobs = history.push(1, SignedDuration::ZERO).await;
    let settled = history.settle(&jobs).await?;
    let struck = history.front.plan(Plan::struck);
    if struck != case.len() {
        return Err(format!("{struck} of the planned faults occurred"));
    }
    let mut calls = history.front.history();
    calls.truncate(settled);
    Ok(calls)
}

/// Runs a history for each case. Returns each case with its calls after the last fault.
async fn sweep(setup: &Setup, cases: Vec<Case>) -> Vec<(Case, Vec<Place>)> {
    let config = history::config().await;
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    for (index, case) in cases.into_iter().enumerate() {
        let turn = turns.clone().acquire_owned().await.expect("it is open");
        let (config, setup) = (config.clone(), setup.clone());
        under_way.spawn(async move {
            let ran = run(&config, &setup, &case).await;
            drop(turn);
            (index, case, ran)
        });
    }
    let mut swept = BTreeMap::new();
    let mut failed = Vec::new();
    for (index, case, ran) in under_way.join_all().await {
        match ran {
            Ok(mut calls) => {
                let last = case.last().and_then(|(last, _)| calls.iter().position(|c| c == last));
                let after = calls.split_off(last.map_or(0, |last| last + 1));
                swept.insert(index, (case, after));
            }
            Err(what) => failed.push(format!("{case:?}: {what}")),
        }
    }
    failed.sort();
    let (all, some) = (failed.len(), failed.iter().take(5).cloned().collect::<Vec<_>>());
    assert_eq!(all, 0, "{setup:?}: of {} histories\n{}", all + swept.len(), some.join("\n"));
    swept.into_values().collect()
}

/// Returns every combination of a call and a fault.
fn each(places: &[Place], ways: &[InjectedFault]) -> Vec<(Place, InjectedFault)> {
    places.iter().flat_map(|place| ways.iter().map(|way| (*place, *way))).collect()
}

/// Sweeps every single call that a setup adds to the `known` calls of another, and the pairs of
/// effects whose second call is at or after the first `from`, if given. Returns the fault-free
/// history and the numbers of histories with one and with two faults.
async fn sweep_all(
    setup: &Setup,
    known: &[Place],
    from: Option<&str>,
) -> (Vec<Place>, usize, usize) {
    let (_, fair) = sweep(setup, vec![Vec::new()]).await.remove(0);
    let same = fair.iter().zip(known).take_while(|(now, known)| now == known).count();
    let (known, news) = fair.split_at(same);
    let (effects, others): (Vec<Place>, Vec<Place>) = news.iter().partition(|p| is_effect(p));
    let mut singles = each(&others, &InjectedFault::HARD);
    singles.extend(each(&effects, &InjectedFault::ALL));
    // The other setup covers these as singles; here each only precedes a second fault.
    let known: Vec<Place> = known.iter().copied().filter(is_effect).collect();
    let earlier = each(&known, &InjectedFault::HARD);
    let single = singles.len() + earlier.len();
    let alone = |one| vec![one];
    let swept = sweep(setup, singles.into_iter().chain(earlier).map(alone).collect()).await;
    let mut pairs: Vec<Case> = Vec::new();
    for (case, after) in &swept {
        let (first, way) = case[0];
        if !is_effect(&first) || !InjectedFault::HARD.contains(&way) {
            continue;
        }
        // The other setup covers pairs before that call.
        let before =
            |place: &&Place| known.contains(&first) && from.is_some_and(|from| place.0 != from);
        let after = after.iter().skip_while(before).copied();
        let after: Vec<Place> = after.filter(is_effect).collect();
        pairs.extend(
            each(&after, &InjectedFault::HARD).into_iter().map(|second| vec![case[0], second]),
        );
    }
    let all = pairs.len();
    if !night() {
        pairs = pairs.into_iter().step_by(SHARE).collect();
    }
    let pair = pairs.len();
    println!(
        "{} calls, {} of them effects: {single} histories with one fault, {pair} of {all} with two",
        news.len(),
        effects.len(),
    );
    sweep(setup, pairs).await;
    (fair, single, pair)
}

fn night() -> bool {
    std::env::var("TINQS_CI_SWEEP").is_ok_and(|how| how == "night")
}

fn count(places: &[Place], op: &str) -> usize {
    places.iter().filter(|place| place.0 == op).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_a_fault_in_every_call_and_in_pairs_of_effects() {
    let setup = Setup {
        // A limit adds the calls that take and release seats.
        limit: Some(1),
        hangs_after_job: false,
        poll_every: SignedDuration::from_mins(1),
    };
    let (fair, single, pair) = sweep_all(&setup, &[], None).await;
    assert_eq!(count(&fair, "RunInstances"), 1, "{fair:?}");
    // The write that counts what its machine was used for is one of the five.
    assert_eq!((count(&fair, "put run"), count(&fair, "count run")), (4, 1), "{fair:?}");
    assert!(single > 300 && pair > 100, "{single} and {pair} histories");
    // A machine that stays after its job adds a termination.
    let setup = Setup { hangs_after_job: true, ..setup };
    let (stays, single, pair) = sweep_all(&setup, &fair, Some("TerminateInstances")).await;
    assert_eq!(count(&stays, "TerminateInstances"), 1, "{stays:?}");
    assert!(single > 50 && pair > 10, "{single} and {pair} histories");
}
