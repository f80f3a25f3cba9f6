//! A runner that the machine fetches, because its image has none.

use tinqs_ci_boot::script;
use tinqs_ci_reconciler::model::{Attempt, RunnerDownload, RunnerSetup};
use tinqs_ci_testing::fake_runner::Fake;

use super::{Machine, attempt_id, beside_steps, usual};

/// A runner that says its version, and records how it was started.
pub(super) const RUNNER: &str = "#!/bin/bash\n[ \"$1\" = --version ] && echo 'gitea-runner version v1.0.8' && exit\n\
    echo \"$0\" >\"$FAKE/name\"\n";
/// A `curl` that serves the file `served`.
pub(super) const CURL: &str = "#!/bin/bash\necho \"${!#}\" >\"$FAKE/asked\"\n\
    while [ \"$1\" != -o ]; do shift; done\n[ -e \"$FAKE/served\" ] && cp \"$FAKE/served\" \"$2\"\n";
const URL: &str = "https://example.com/a$(touch pwned)`b`;c'd\"e";

/// Returns the SHA-256 of a text, as `sha256sum` prints it.
pub(super) fn sha256(fake: &Fake, text: &str) -> String {
    let path = fake.said("served");
    std::fs::write(&path, text).unwrap();
    let said = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
    String::from_utf8(said.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

fn without_runner() -> Fake {
    let fake = Fake::without_runner();
    fake.program("curl", CURL);
    fake
}

/// Returns an attempt whose machine may fetch a runner with this hash.
fn fetching(mut attempt: Attempt, sha256: String) -> Attempt {
    let download = Some(RunnerDownload { url: URL.to_owned(), sha256 });
    let setup = RunnerSetup { download, ..RunnerSetup::default() };
    attempt.placements[0].machine.runner = Some(Box::new(setup));
    attempt
}

/// Boots a machine that may fetch a runner with this hash.
fn booted(fake: Fake, sha256: String) -> Machine {
    let attempt_id = attempt_id();
    let attempt = fetching(usual(&attempt_id), sha256);
    let mut machine = Machine::boot(fake, "quick", &attempt_id, &attempt);
    machine.ends();
    machine
}

#[test]
fn a_missing_runner_is_fetched_and_started() {
    let fake = without_runner();
    let hash = sha256(&fake, RUNNER);
    let machine = booted(fake, hash);
    let expected = machine.home().join("tinqs-ci/bin/gitea-runner");
    assert_eq!(machine.fake.heard("name"), format!("{}\n", expected.display()));
    let asked = "https://example.com/a$(touch%20pwned)%60b%60;c%27d%22e\n";
    assert_eq!(machine.fake.heard("asked"), asked);
    assert!(!machine.home().join("tinqs-ci/pwned").exists(), "the URL was executed");
    let console = beside_steps(&machine.fake);
    assert!(console[0].starts_with("neither gitea-runner nor act_runner is in PATH"));
    assert!(console[0].contains(": fetching https://example.com/"), "{console:?}");
    let fetched = format!("fetched {}", expected.display());
    assert_eq!(console[1..], [fetched.as_str(), "starting gitea-runner v1.0.8", super::QUICK[1]]);
}

#[test]
fn an_old_act_runner_is_replaced() {
    let fake = without_runner();
    fake.program("act_runner", "#!/bin/bash\necho 'act_runner version v0.2.11'\n");
    let hash = sha256(&fake, RUNNER);
    let machine = booted(fake, hash);
    assert!(machine.fake.heard("name").ends_with("bin/gitea-runner\n"));
    let console = beside_steps(&machine.fake);
    assert!(console[0].starts_with("act_runner v0.2.11 is too old: fetching "), "{console:?}");
}

#[test]
fn a_runner_of_the_image_is_used_as_it_is() {
    let fake = Fake::new();
    fake.program("curl", CURL);
    let machine = booted(fake, "0".repeat(64));
    assert_eq!(machine.fake.heard("asked"), "");
    assert_eq!(beside_steps(&machine.fake), super::QUICK);
}

#[test]
fn a_runner_with_another_hash_is_never_executed() {
    let fake = without_runner();
    let hash = sha256(&fake, RUNNER);
    let machine = booted(fake, "0".repeat(64));
    assert_eq!(machine.fake.heard("name"), "");
    let said = format!(
        "the runner has the SHA-256 {hash}, and the class says {}: powering off",
        "0".repeat(64)
    );
    assert_eq!(machine.fake.console().last(), Some(&said));
}

#[test]
fn what_cannot_be_fetched_or_run_powers_the_machine_off() {
    let machine = booted(without_runner(), "0".repeat(64));
    let said = machine.fake.console();
    assert_eq!(said.last().unwrap(), "the runner cannot be fetched, by curl or wget: powering off");

    let fake = without_runner();
    let hash = sha256(&fake, "#!/nowhere/sh\n");
    let said = booted(fake, hash).fake.console();
    assert!(said.last().unwrap().starts_with("the runner does not run on "), "{said:?}");

    let fake = without_runner();
    let hash = sha256(&fake, &RUNNER.replace("v1.0.8", "v0.3.0"));
    let machine = booted(fake, hash);
    assert_eq!(machine.fake.heard("name"), "");
    assert_eq!(
        machine.fake.console().last().unwrap(),
        "act_runner v0.3.0 is too old: powering off"
    );
}

#[test]
fn only_a_class_with_a_download_makes_a_script_that_fetches() {
    let attempt_id = attempt_id();
    let attempt = usual(&attempt_id);
    assert!(!script(&attempt_id, 0, &attempt).contains("curl"));
    assert!(script(&attempt_id, 0, &fetching(attempt, "0".repeat(64))).contains("curl"));
}
