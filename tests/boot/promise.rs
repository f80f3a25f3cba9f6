//! The promise of the boot script, whatever happens on the machine: no runner starts after
//! `start_by`, and an idle one is drained `idle_within` after its first start.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tinqs_ci_boot::script;
use tinqs_ci_testing::fake_runner::Fake;

use super::restart::failing;
use super::{Machine, attempt_id, beside_steps, in_seconds, usual, wait_until};

#[test]
fn no_runner_starts_after_start_by() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.start_by = Some(in_seconds(-1));
    let mut machine = Machine::boot(Fake::new(), "idle", &attempt_id, &attempt);
    machine.ends();
    assert_eq!(beside_steps(&machine.fake), ["it is too late to start a runner: powering off"]);
    assert_eq!(machine.fake.heard("arguments"), "");
}

#[test]
fn a_runner_that_fails_is_not_started_again_after_start_by() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.start_by = Some(in_seconds(10));
    let mut machine = Machine::boot(failing(1_000), "", &attempt_id, &attempt);
    machine.ends();
    let console = machine.fake.console();
    let starts = console.iter().filter(|line| line.starts_with("starting")).count();
    assert!((1..=4).contains(&starts), "{console:?}");
    assert_eq!(console.last().unwrap(), "it is too late to start a runner: powering off");
}

#[test]
fn a_boot_that_hangs_before_the_runner_ends_after_start_by() {
    let fake = Fake::without_runner();
    // The script asks an `act_runner` for its version first.
    fake.program("act_runner", "#!/bin/bash\nexec sleep 1000\n");
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.start_by = Some(in_seconds(1));
    let mut machine = Machine::boot(fake, "", &attempt_id, &attempt);
    machine.ends();
    // The script itself may be told to end last, and then says more.
    let said = beside_steps(&machine.fake);
    let gave_up = "no runner was started in time: powering off";
    let more = "it is too late to start a runner: powering off";
    assert!(said == [gave_up] || said == [gave_up, more], "{said:?}");
}

#[test]
fn a_busy_runner_outlives_start_by() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.start_by = Some(in_seconds(12));
    let mut machine = Machine::boot(Fake::new(), "busy", &attempt_id, &attempt);
    machine.wait_ready();
    std::thread::sleep(Duration::from_secs(24));
    assert!(machine.child.try_wait().unwrap().is_none(), "{}", machine.fake.heard("stderr"));
    assert_eq!(machine.fake.heard("signals"), "");
    std::fs::write(machine.fake.said("finish"), "").unwrap();
    machine.ends();
    assert_eq!(machine.fake.heard("finished"), "done\n");
}

/// Boots a machine that trusts its uptime from the start, and whose uptime is a file.
fn with_uptime(mode: &str, change: impl Fn(&mut tinqs_ci_reconciler::model::Boot)) -> Machine {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    change(&mut attempt.boot);
    let fake = Fake::new();
    let uptime = fake.said("uptime");
    std::fs::write(&uptime, "100.25 50.00\n").unwrap();
    let text = script(&attempt_id, 0, &attempt);
    for wanted in ["/proc/uptime", "settles_after=60"] {
        assert!(text.contains(wanted), "no {wanted}");
    }
    let text = text
        .replace("/proc/uptime", &uptime.display().to_string())
        .replace("settles_after=60", "settles_after=0");
    Machine::boot_as(fake, mode, &attempt_id, &text)
}

#[test]
fn a_clock_that_runs_ahead_of_the_uptime_ends_nothing() {
    let mut machine = with_uptime("idle", |boot| {
        boot.deadline = in_seconds(10);
        boot.idle_within = SignedDuration::from_secs(2);
    });
    machine.wait_ready();
    std::thread::sleep(Duration::from_secs(16));
    assert!(machine.child.try_wait().unwrap().is_none(), "{}", machine.fake.heard("stderr"));
    assert_eq!(machine.fake.heard("signals"), "");
    std::fs::write(machine.fake.said("uptime"), "103.25 50.00\n").unwrap();
    wait_until("the idle runner is drained", || machine.fake.heard("signals") == "term\n");
    machine.ends();
}

#[test]
fn an_uptime_that_runs_ahead_of_the_clock_ends_nothing() {
    let begun = Instant::now();
    let mut machine = with_uptime("busy", |boot| boot.deadline = in_seconds(14));
    machine.wait_ready();
    std::fs::write(machine.fake.said("uptime"), "99999.25 50.00\n").unwrap();
    machine.ends();
    assert!(begun.elapsed() > Duration::from_secs(12), "{:?}", begun.elapsed());
    assert!(machine.fake.heard("stderr").contains("the deadline is reached"));
}
