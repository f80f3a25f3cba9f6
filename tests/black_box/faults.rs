//! An unreliable connection to the forge: responses are late, truncated, lost, refused, or replaced
//! by a proxy's page.

use std::time::Duration;

use tinqs_ci_simulator::gitea_wire::{Fault, Faults, Mixture};

use super::clean::{all_done_and_nothing_left, patient, seed};

const LATE: Fault = Fault::Delay(Duration::from_secs(2));
/// All faults of a request.
const ALL: [Fault; 7] =
    [LATE, Fault::Error, Fault::Unavailable, Fault::Html, Fault::Half, Fault::Lost, Fault::Reset];
/// Calls that the runner does not retry; a lost task is not tinqs-ci's concern.
const ONCE: [&str; 2] = ["/FetchTask", "/Declare"];
/// Calls that the runner retries only ten times.
const REPEATED: [&str; 2] = ["/UpdateTask", "/UpdateLog"];

fn mixture(percent: u64, kinds: &[Fault], spared: &[&str]) -> Faults {
    let mixture = Some(Mixture::new(seed(), percent, kinds));
    let spared = spared.iter().map(|&path| path.to_owned()).collect();
    Faults { spared, mixture, ..Faults::default() }
}

/// Pushes jobs four times, under faults until all are done. `surplus`: how many jobs may get a second
/// machine. With late answers a job may be over, on another one's machine, before its own run has
/// launched any: then the displaced run gets no machine back and launches its next.
async fn jobs_in(count: usize, faults: Faults, surplus: usize) {
    let mut host = crate::host(&patient());
    host.wire.faults(|now| *now = faults);
    host.start().await;
    let mut jobs = Vec::new();
    for _ in 0..4 {
        jobs.extend(host.push_told(count / 4, "sleep 0.5"));
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    host.all_done(&jobs, 240).await;
    let mut struck = 0;
    host.wire.faults(|now| {
        struck = now.mixture.as_ref().map_or(0, Mixture::struck);
        *now = Faults::default();
    });
    // Longer than a machine that no job takes is idle.
    let machines = all_done_and_nothing_left(&mut host, &jobs, 240).await;
    println!("{struck} calls met a fault, {} jobs, {machines} machines", jobs.len());
    let few = u64::try_from(count / 2).expect("some jobs");
    assert!(struck >= few, "too few faults: {struck}");
    let expected = jobs.len()..=jobs.len() + surplus;
    assert!(expected.contains(&machines), "{machines} machines, expected {expected:?}");
}

pub(crate) async fn forty_jobs_survive_mixed_faults() {
    jobs_in(40, mixture(30, &ALL, &ONCE), 4).await;
}

/// Each fault alone hits a third of all calls except the runners', on independent concurrent hosts.
pub(crate) async fn jobs_survive_each_fault_alone() {
    let alone = async |fault| {
        println!("{fault:?} alone");
        let surplus = if fault == LATE { 2 } else { 0 };
        jobs_in(8, mixture(33, &[fault], &[ONCE, REPEATED].concat()), surplus).await;
    };
    tokio::join!(
        alone(LATE),
        alone(Fault::Error),
        alone(Fault::Unavailable),
        alone(Fault::Html),
        alone(Fault::Half),
        alone(Fault::Lost),
        alone(Fault::Reset),
    );
}
