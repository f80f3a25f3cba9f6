//! A machine that stays for a person after its job asked for that.

use jiff::SignedDuration;
use tinqs_ci_boot::script;
use tinqs_ci_testing::fake_runner::{Fake, carrying};

use super::{Machine, attempt_id, beside_steps, in_seconds, usual, wait_until};

/// A runner whose job asks for its machine and leaves a process behind, beside one that has lost its
/// variables.
const RUNNER: &str = r#"#!/bin/bash
touch "$TINQS_CI_HOLD"
echo "$TINQS_CI_HOLD" >"$FAKE/file"
set -m
bash -c 'trap "" TERM; env -i "LOST=$FAKE" sleep 1000 & echo left >"$FAKE/ready"; wait' &
until [ -e "$FAKE/ready" ]; do sleep 0.02; done
exit 0
"#;

fn booted(runner: &str, hold: i64, deadline: i64) -> Machine {
    booted_in("", runner, hold, deadline)
}

/// Boots a machine in this subnet; a process has none.
fn booted_in(subnet: &str, runner: &str, hold: i64, deadline: i64) -> Machine {
    let fake = Fake::without_runner();
    fake.program("gitea-runner", runner);
    let docker =
        "#!/bin/bash\necho \"$*\" >>\"$FAKE/docker\"\n[ \"$1\" = ps ] && echo a-container\n";
    fake.program("docker", docker);
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    subnet.clone_into(&mut attempt.placements[0].machine.subnet);
    attempt.boot.hold = SignedDuration::from_secs(hold);
    attempt.boot.deadline = in_seconds(deadline);
    Machine::boot(fake, "", &attempt_id, &attempt)
}

fn said(machine: &Machine, hold: i64) -> String {
    let file = machine.home().join("tinqs-ci/hold");
    format!(
        "the job asked for it: the machine stays for {hold} s, or until {} is removed",
        file.display()
    )
}

#[test]
fn a_machine_is_held_until_its_file_is_removed_and_nothing_of_the_job_goes_on() {
    let mut machine = booted(RUNNER, 1_800, 3_600);
    let said = said(&machine, 1_800);
    wait_until("it is held", || machine.fake.console().last() == Some(&said));
    let lost = format!("LOST={}", machine.fake.dir.path().join("said").display());
    wait_until("nothing of the job is left", || carrying(&lost).is_empty());
    let file = machine.fake.heard("file");
    assert_eq!(file.trim(), machine.home().join("tinqs-ci/hold").display().to_string());
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert!(machine.child.try_wait().unwrap().is_none(), "it stays");
    std::fs::remove_file(file.trim()).unwrap();
    machine.ends();
    assert_eq!(machine.fake.console().last().unwrap(), super::QUICK[1]);
}

#[test]
fn a_held_machine_ends_after_its_hold() {
    let mut machine = booted(RUNNER, 3, 3_600);
    let said = said(&machine, 3);
    machine.ends();
    assert_eq!(beside_steps(&machine.fake), [super::QUICK[0], said.as_str(), super::QUICK[1]]);
}

/// Containers on the host of a process may be those of another machine's job.
#[test]
fn a_held_machine_ends_containers_only_on_a_host_of_its_own() {
    let mut process = booted(RUNNER, 3, 3_600);
    let mut in_ec2 = booted_in("subnet-a", RUNNER, 3, 3_600);
    process.ends();
    in_ec2.ends();
    assert!(process.fake.console().contains(&said(&process, 3)));
    assert_eq!(process.fake.heard("docker"), "");
    let stopped = "ps -q --filter name=GITEA-ACTIONS-TASK\nkill a-container\n";
    assert!(in_ec2.fake.heard("docker").starts_with(stopped));
}

#[test]
fn a_held_machine_ends_at_its_deadline() {
    let mut machine = booted(RUNNER, 1_800, 9);
    machine.ends();
    assert_eq!(machine.fake.console().last().unwrap(), "the deadline is reached: powering off");
}

#[test]
fn a_machine_whose_job_does_not_ask_is_not_held() {
    let quiet =
        "#!/bin/bash\n[ ! -e \"$TINQS_CI_HOLD\" ] && echo \"$TINQS_CI_HOLD\" >\"$FAKE/file\"\n";
    let mut machine = booted(quiet, 1_800, 3_600);
    machine.ends();
    assert!(machine.fake.heard("file").ends_with("/tinqs-ci/hold\n"));
    assert_eq!(beside_steps(&machine.fake), super::QUICK);
}

#[test]
fn without_a_hold_a_job_cannot_ask() {
    let attempt_id = attempt_id();
    let text = script(&attempt_id, 0, &usual(&attempt_id));
    assert!(!text.contains("hold=1") && text.contains("hold_file=\n"), "{text}");
    let fake = Fake::without_runner();
    fake.program("gitea-runner", "#!/bin/bash\necho \"${TINQS_CI_HOLD-unset}\" >\"$FAKE/file\"\n");
    let mut machine = Machine::boot(fake, "", &attempt_id, &usual(&attempt_id));
    machine.ends();
    assert_eq!(machine.fake.heard("file"), "unset\n");
}
