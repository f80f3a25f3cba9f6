//! Each step of a boot is one line of the console: the last one tells in which step a machine hangs.

use jiff::Timestamp;
use tinqs_ci_boot::script;
use tinqs_ci_reconciler::model::{AttemptId, RunnerConfig, RunnerDownload, RunnerSetup};
use tinqs_ci_testing::fake_runner::Fake;

use super::alone::boot_alone;
use super::download::{CURL, RUNNER, sha256};
use super::user::{booted, image};
use super::{AUTHORITY, BEGAN, LOGIN, Machine, QUICK, attempt_id, in_seconds, usual};

const AS_USER: &str = "the job runs as runner";
const FENCED: &str = "the instance metadata service is closed to runner";
const FETCHING: &str = "neither gitea-runner nor act_runner is in PATH (";
const HANGS: &str = "#!/bin/bash\nexec sleep 1000\n";

/// Returns an image without a runner, in which everything works.
fn bare_image() -> Fake {
    let fake = image();
    std::fs::remove_file(fake.dir.path().join("bin/gitea-runner")).unwrap();
    fake.program("curl", CURL);
    fake.program("update-ca-certificates", "#!/bin/bash\nexit 0\n");
    fake
}

/// Returns the script of a class that says everything, and whose machines fetch this runner.
fn everything(fake: &Fake, attempt_id: &AttemptId, runner: &str, start_by: Timestamp) -> String {
    let mut attempt = usual(attempt_id);
    attempt.boot.deadline = in_seconds(90);
    attempt.boot.start_by = Some(start_by);
    let url = "https://example.com/r".to_owned();
    let setup = RunnerSetup {
        download: Some(RunnerDownload { url, sha256: sha256(fake, runner) }),
        user: Some("runner".to_owned()),
        docker: false,
        config: Some(RunnerConfig { ca: Some("MIIB".to_owned()), ..RunnerConfig::default() }),
    };
    attempt.placements[0].machine.runner = Some(Box::new(setup));
    // Certificates are installed in the directory of the fake.
    let share = fake.dir.path().join("share").display().to_string();
    script(attempt_id, 0, &attempt).replace("/usr/local/share", &share)
}

/// Asserts that the console has these lines; the part of one with the PATH is its beginning.
fn assert_says(fake: &Fake, expected: &[&str]) {
    let console = fake.console();
    let same = |(said, expected): (&String, &&str)| match *expected {
        FETCHING => said.starts_with(FETCHING) && said.contains(": fetching https://"),
        whole => said == whole,
    };
    let is_same = console.iter().zip(expected).all(same);
    assert!(is_same && console.len() == expected.len(), "{console:#?}");
    assert!(!fake.heard("stderr").contains("SECRET"), "{console:#?}");
}

fn found(fake: &Fake) -> String {
    format!("found {}", fake.dir.path().join("bin/gitea-runner").display())
}

#[test]
fn a_whole_boot_says_each_step_once_and_in_order() {
    let attempt_id = attempt_id();
    let mut process = Machine::boot(Fake::new(), "quick", &attempt_id, &usual(&attempt_id));
    process.ends();
    let [starting, ended] = QUICK;
    assert_says(&process.fake, &[BEGAN, &found(&process.fake), starting, ended]);

    let fake = image();
    booted(&fake, "runner", false, "");
    assert_says(&fake, &[BEGAN, AS_USER, FENCED, LOGIN, &found(&fake), starting, ended]);

    let fake = bare_image();
    boot_alone(&fake, &everything(&fake, &attempt_id, RUNNER, in_seconds(60)));
    let place = fake.dir.path().join("user/tinqs-ci/bin/gitea-runner");
    let fetched = format!("fetched {}", place.display());
    let starting = "starting gitea-runner v1.0.8";
    let expected =
        [BEGAN, AS_USER, FENCED, LOGIN, AUTHORITY, FETCHING, fetched.as_str(), starting, ended];
    assert_says(&fake, &expected);
}

/// A profile that hangs is stopped: `environment::a_broken_profile_loses_only_its_own_exports`.
#[test]
fn the_last_step_that_a_machine_says_is_the_one_in_which_it_hangs() {
    // The program that hangs, and the step; the last program is the runner that is fetched.
    let hanging = [
        ("getent", AS_USER),
        ("nft", AS_USER),
        ("update-ca-certificates", AUTHORITY),
        ("act_runner", "found "),
        ("curl", FETCHING),
        ("gitea-runner", "fetched "),
    ];
    let boot = |program: &str| {
        let (fake, attempt_id) = (bare_image(), attempt_id());
        let runner = if program == "gitea-runner" { HANGS } else { RUNNER };
        if program != "gitea-runner" {
            fake.program(program, HANGS);
        }
        let text = everything(&fake, &attempt_id, runner, in_seconds(10));
        Machine::boot_as(fake, "quick", &attempt_id, &text)
    };
    // All at once: each gives up some 20 s after its start.
    let machines = hanging.map(|(program, step)| (boot(program), program, step));
    for (mut machine, program, step) in machines {
        machine.ends();
        let console = machine.fake.console();
        let gave_up = "no runner was started in time: powering off";
        let at = console.iter().position(|line| line == gave_up);
        let last = at.and_then(|at| console.get(at.checked_sub(1)?));
        assert!(last.is_some_and(|line| line.starts_with(step)), "{program}: {console:#?}");
        assert_eq!(machine.fake.heard("name"), "", "{program}: no runner starts");
    }
}
