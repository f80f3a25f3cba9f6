//! Dedicated machines, as in EC2: the script has no marker, and powers its machine off.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use tinqs_ci_boot::script;
use tinqs_ci_testing::fake_runner::{Fake, carrying};

use super::{attempt_id, in_seconds, usual, wait_until};

/// The command with which the script finds the home of its user, as cloud-init gives it none.
const LOOK_UP: &str = "HOME=~";

/// Returns the script with the fake's directories instead of `/etc`, `/run` and that home.
fn relocated(fake: &Fake, script: &str) -> String {
    let dir = fake.dir.path();
    std::fs::create_dir_all(dir.join("run")).unwrap();
    assert!(script.contains(LOOK_UP), "it would write to the home of the user who runs this");
    let script = script.replace(LOOK_UP, &format!("HOME={}", dir.join("home").display()));
    let script = script.replace("/etc/", &format!("{}/", dir.join("etc").display()));
    script.replace("/run/", &format!("{}/", dir.join("run").display()))
}

/// Starts a script without the marker and without HOME, as on a dedicated machine. `said(stderr)`
/// gets its output.
pub(super) fn start_alone(fake: &Fake, mode: &str, script: &str, stderr: &str) -> Child {
    let path = fake.dir.path().join(format!("{stderr}.sh"));
    std::fs::write(&path, relocated(fake, script)).unwrap();
    Command::new("bash")
        .arg(&path)
        .env_clear()
        .envs(fake.environment(mode))
        .process_group(0)
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(fake.said(stderr)).unwrap())
        .spawn()
        .unwrap()
}

/// Boots a dedicated machine that powers off, here with fake power programs.
pub(super) fn boot_alone(fake: &Fake, script: &str) {
    power_programs(fake);
    powered_off(fake, start_alone(fake, "quick", script, "stderr"));
}

/// Makes programs that note the power-off, and end the script as that would.
pub(super) fn power_programs(fake: &Fake) {
    fake.program("systemctl", "#!/bin/bash\necho \"$@\" >>\"$FAKE/power\"\nexit 1\n");
    fake.program(
        "shutdown",
        "#!/bin/bash\necho \"shutdown $*\" >>\"$FAKE/power\"\nkill -KILL $PPID\n",
    );
    fake.program("poweroff", "#!/bin/bash\necho poweroff >>\"$FAKE/power\"\n");
}

/// Waits until the machine has powered off.
pub(super) fn powered_off(fake: &Fake, mut child: Child) {
    let status = child.wait().unwrap();
    // Kills remaining sleeps, like a real power-off.
    let mark = format!("FAKE={}", fake.dir.path().join("said").display());
    for pid in carrying(&mark) {
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
    }
    wait_until("no process is left", || carrying(&mark).is_empty());
    assert!(!status.success());
    assert_eq!(fake.heard("power"), "poweroff\nshutdown -h now\n");
}

/// The lookup of the script, without HOME or with an empty one, gives the home of the user in bash.
#[test]
fn bash_looks_up_the_home_of_its_user() {
    let attempt_id = attempt_id();
    let text = script(&attempt_id, 0, &usual(&attempt_id));
    let line = text.lines().find(|line| line.contains(LOOK_UP)).unwrap();
    let told = |home: Option<&str>| {
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("set -u\n{line}\necho \"$HOME\"")]);
        bash.env_remove("HOME").envs(home.map(|home| ("HOME", home)));
        let said = bash.output().unwrap();
        assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
        String::from_utf8(said.stdout).unwrap()
    };
    let real = Command::new("bash")
        .args(["-c", "getent passwd \"$UID\" | cut -d : -f 6"])
        .output()
        .unwrap();
    let real = String::from_utf8(real.stdout).unwrap();
    assert!(real.starts_with('/'), "{real}");
    assert_eq!((told(None), told(Some(""))), (real.clone(), real));
    assert_eq!(told(Some("/given")), "/given\n");
}

#[test]
fn a_dedicated_machine_is_powered_off() {
    let fake = Fake::new();
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.deadline = in_seconds(90);
    boot_alone(&fake, &script(&attempt_id, 0, &attempt));
    assert!(fake.heard("stderr").contains("the runner ended with status 0"));
}
