//! The runner starts again while it has taken no job.

use jiff::SignedDuration;
use tinqs_ci_boot::script;
use tinqs_ci_testing::fake_runner::Fake;

use super::alone::{power_programs, powered_off, start_alone};
use super::{Machine, attempt_id, beside_steps, in_seconds, usual, wait_until, with};

/// A runner that fails until it was started this often, then ends as after a job.
pub(super) fn failing(times: u32) -> Fake {
    let fake = Fake::without_runner();
    let text = format!(
        "#!/bin/bash\ncp config.yaml \"$FAKE/config\"\necho once >>\"$FAKE/starts\"\n\
         [ \"$(grep -c once \"$FAKE/starts\")\" -gt {times} ] && exit 0\n\
         echo 'level=error msg=\"fail to invoke Declare\"' >&2\nexit 1\n"
    );
    fake.program("gitea-runner", &text);
    fake
}

#[test]
fn a_runner_that_fails_its_first_call_starts_again() {
    let attempt_id = attempt_id();
    let mut machine = Machine::boot(failing(1), "", &attempt_id, &usual(&attempt_id));
    machine.ends();
    assert_eq!(
        beside_steps(&machine.fake),
        [
            "starting gitea-runner",
            "the runner ended with status 1 before it took a job: it starts again in 3 s",
            "starting gitea-runner",
            "the runner ended with status 0: powering off",
        ]
    );
    let config = machine.fake.heard("config");
    assert!(config.contains("container:\n  docker_timeout: 60s"), "{config}");
}

#[test]
fn a_runner_that_always_fails_starts_no_more_after_idle_within() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.idle_within = SignedDuration::from_secs(8);
    // The time ends while the script waits, however long the runner took.
    let text = script(&attempt_id, 0, &attempt);
    let text = with(&text, "\nsleep 3\n", "\nsleep 12\n");
    let mut machine = Machine::boot_as(failing(1_000), "", &attempt_id, &text);
    machine.ends();
    let console = machine.fake.console();
    let starts = console.iter().filter(|line| line.starts_with("starting")).count();
    assert_eq!(starts, 1, "{console:?}");
    assert!(console.iter().all(|line| !line.contains("takes no new job")), "{console:?}");
    assert_eq!(console.last().unwrap(), "the runner ended with status 1: powering off");
    assert!(machine.fake.heard("stderr").contains("fail to invoke Declare"));
}

#[test]
fn an_old_act_runner_is_refused() {
    for (version, runs) in
        [("v0.2.12", false), ("0.3.0", false), ("v0.3.1", true), ("v1.0.0", true)]
    {
        let fake = Fake::without_runner();
        let text = format!(
            "#!/bin/bash\n[ \"$1\" = --version ] && echo 'act_runner version {version}' && exit\n\
             echo act >\"$FAKE/name\"\n"
        );
        fake.program("act_runner", &text);
        let attempt_id = attempt_id();
        let mut machine = Machine::boot(fake, "", &attempt_id, &usual(&attempt_id));
        machine.ends();
        assert_eq!(machine.fake.heard("name") == "act\n", runs, "{version}");
        let console = machine.fake.console();
        let refused = format!(
            "act_runner {version} is too old: install gitea-runner, or act_runner 0.3.1 or later, \
             where machines boot"
        );
        assert_eq!(console.contains(&refused), !runs, "{version}: {console:?}");
        let starts = format!("starting act_runner {version}");
        assert_eq!(console.contains(&starts), runs, "{version}: {console:?}");
    }
}

#[test]
fn a_second_copy_of_the_script_leaves_the_machine_to_the_first() {
    let fake = Fake::new();
    power_programs(&fake);
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.deadline = in_seconds(90);
    let text = script(&attempt_id, 0, &attempt);
    // The image's own unit starts the script, and cloud-init does so again.
    let first = start_alone(&fake, "busy", &text, "stderr");
    wait_until("the runner is ready", || fake.said("ready").exists());
    let second = start_alone(&fake, "quick", &text, "second").wait().unwrap();
    assert!(second.success(), "{second}");
    let said = fake.heard("second");
    let is_it = said.ends_with("s this script runs already: nothing to do\n");
    assert!(is_it && said.lines().count() == 1, "{said}");
    assert_eq!((fake.heard("power"), fake.heard("signals")), (String::new(), String::new()));
    std::fs::write(fake.said("finish"), "").unwrap();
    powered_off(&fake, first);
    assert_eq!(fake.heard("finished"), "done\n");
    assert_eq!(beside_steps(&fake), super::QUICK);
}
