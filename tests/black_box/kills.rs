//! SIGKILL of the controller at random moments.

use std::time::Duration;

use tinqs_ci_simulator::faults::Rng;

use super::clean::{all_done_and_nothing_left, number, patient, seed};

/// The default number of kills; `TINQS_CI_KILLS` changes it, and the number of jobs with it.
const KILLS: u64 = 50;

/// Kills the controller at 50 random moments while 40 jobs run: while it starts, opens its store,
/// registers, launches, cleans up and sweeps. No job is lost, and none gets two machines.
pub(crate) async fn fifty_kills_lose_no_job() {
    let (seed, kills) = (seed(), number("TINQS_CI_KILLS").unwrap_or(KILLS));
    let mut rng = Rng::new(seed);
    let total = usize::try_from(kills * 4 / 5).expect("a number of jobs");
    let mut host = crate::host(&patient());
    let (mut jobs, mut killed) = (Vec::new(), 0);
    while killed < kills {
        host.spawn();
        // One kill in four hits the start, the others hit some work.
        let within = if rng.below(4) == 0 {
            rng.below(250)
        } else {
            host.ready().await;
            rng.below(600)
        };
        let open = jobs.iter().filter(|job| !host.status(**job).is_done()).count();
        if jobs.len() < total && (open == 0 || rng.below(3) == 0) {
            let count = usize::try_from(1 + rng.below(6)).unwrap_or(1).min(total - jobs.len());
            let script = format!("sleep 0.{}", 2 + rng.below(8));
            jobs.extend(host.push_told(count, &script));
        }
        tokio::time::sleep(Duration::from_millis(within)).await;
        host.kill();
        killed += 1;
    }
    host.start().await;
    jobs.extend(host.push_told(total - jobs.len(), "true"));
    let machines = all_done_and_nothing_left(&mut host, &jobs, 240).await;
    println!("{killed} kills, {} jobs, {machines} machines", jobs.len());
    assert_eq!(machines, jobs.len(), "exactly one machine per job");
}
