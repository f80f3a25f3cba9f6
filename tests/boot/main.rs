//! The boot script, run in bash with a runner that records its input.

mod alone;
mod config;
mod download;
mod environment;
mod hold;
mod hostile;
mod notice;
mod promise;
mod restart;
mod steps;
mod user;

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_boot::{MARKER, script};
use tinqs_ci_reconciler::model::{Attempt, AttemptId, Secret, Uid8};
use tinqs_ci_testing::fake_runner::{Fake, mode, processes};
use tinqs_ci_testing::make;

/// Text that breaks out if it is read as shell, YAML, JSON or git configuration.
const HOSTILE: &str = "a'b\"c\\d\nEND_OF_IDENTITY\nEND_OF_GIT\nEND\n$(touch pwned)`touch pwned`\
    ${HOME}\u{202e}\u{7f}\u{1}\u{1f600}\r\n]\n[core]\n\tx = y;touch pwned #%s";

/// The steps of a boot: its beginning, and what only some boots have.
const BEGAN: &str = "the boot script began";
const LOGIN: &str = "the environment of a login is read";
const AUTHORITY: &str = "installing the authority of the class";

/// The messages of the boot script around a runner that takes one job.
const QUICK: [&str; 2] = ["starting gitea-runner", "the runner ended with status 0: powering off"];

/// Returns what the boot script said beside the steps of every boot.
fn beside_steps(fake: &Fake) -> Vec<String> {
    let is_step = |line: &str| line == BEGAN || line == LOGIN || line.starts_with("found ");
    fake.console().into_iter().filter(|line| !is_step(line)).collect()
}

fn attempt_id() -> AttemptId {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    make::own_attempt_id(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Returns a script in which `new` stands instead of `old`, which must occur once.
fn with(script: &str, old: &str, new: &str) -> String {
    assert_eq!(script.matches(old).count(), 1, "{old}");
    script.replace(old, new)
}

fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

/// Waits up to 30 s for a condition.
fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !so() {
        assert!(Instant::now() < end, "timed out after 30 s waiting for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A booted machine, whose processes are killed on drop.
struct Machine {
    fake: Fake,
    token: String,
    child: Child,
}

impl Machine {
    fn boot(fake: Fake, mode: &str, attempt_id: &AttemptId, attempt: &Attempt) -> Self {
        Self::boot_as(fake, mode, attempt_id, &script(attempt_id, 0, attempt))
    }

    /// Boots a script with the marker of an attempt.
    fn boot_as(fake: Fake, mode: &str, attempt_id: &AttemptId, script: &str) -> Self {
        let token = attempt_id.token(0);
        let path = fake.dir.path().join("boot.sh");
        std::fs::write(&path, script).unwrap();
        let child = Command::new("bash")
            .arg(&path)
            .env_clear()
            .envs(fake.environment(mode))
            .env("HOME", fake.dir.path().join("home"))
            .env(MARKER, &token)
            .current_dir(fake.dir.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(fake.said("stderr")).unwrap())
            .spawn()
            .unwrap();
        Self { fake, token, child }
    }

    fn home(&self) -> PathBuf {
        self.fake.dir.path().join("home")
    }

    fn wait_ready(&self) {
        wait_until("the runner is ready", || self.fake.said("ready").exists());
    }

    /// Waits for the end, and asserts that no process is left.
    fn ends(&mut self) {
        let end = Instant::now() + Duration::from_mins(1);
        while self.child.try_wait().unwrap().is_none() {
            assert!(
                Instant::now() < end,
                "the machine does not end: {}",
                self.fake.heard("stderr")
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        wait_until("no process is left", || processes(&self.token).is_empty());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for pid in processes(&self.token) {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        }
        let _ = self.child.wait();
    }
}

fn usual(attempt_id: &AttemptId) -> Attempt {
    make::attempt(attempt_id, "linux", 1, in_seconds(3_600))
}

#[test]
fn the_script_is_small_and_deterministic() {
    let attempt_id = make::attempt_id(7, 1);
    let mut attempt = make::attempt(&attempt_id, "linux", 1, make::at(3_600));
    attempt.runner.labels = (0..20).map(|n| format!("a-rather-long-label-{n}:host")).collect();
    let text = script(&attempt_id, 0, &attempt);
    assert_eq!(text, script(&attempt_id, 0, &attempt.clone()));
    assert!(text.len() < 9_000, "{} bytes", text.len());
    assert!(text.starts_with("#!/bin/bash\n"));
    assert!(
        text.contains("tq-job-7-")
            && text.contains(&format!("deadline={} #", make::at(3_600).as_second()))
    );
    let check = Command::new("bash").args(["-n", "-c", &text]).output().unwrap();
    assert!(check.status.success() && check.stderr.is_empty(), "{check:?}");
}

#[test]
fn the_deadline_timer_starts_first() {
    let attempt_id = make::attempt_id(7, 1);
    let text = script(&attempt_id, 0, &make::attempt(&attempt_id, "linux", 1, make::at(0)));
    let place = |what: &str| text.find(what).unwrap_or_else(|| panic!("no {what}"));
    let order = [
        "while seconds_left",
        "trap power_off EXIT",
        ">.runner",
        ">>\"$HOME/.gitconfig\"",
        ">config.yaml",
        "daemon",
    ];
    assert!(order.map(place).is_sorted(), "{text}");
}

#[test]
fn a_runner_gets_its_identity_and_the_machine_ends_with_it() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.runner.labels = vec!["linux".to_owned(), "x64:docker://node".to_owned()];
    let mut machine = Machine::boot(Fake::new(), "quick", &attempt_id, &attempt);
    machine.ends();
    let fake = &machine.fake;
    let identity: serde_json::Value = serde_json::from_str(&fake.heard("identity")).unwrap();
    let expected = serde_json::json!({
        "id": 4711, "uuid": "a-uuid", "name": attempt_id.to_string(), "token": "runner-SECRET",
        "address": "http://127.0.0.1:3000", "labels": ["linux:host", "x64:docker://node"], "ephemeral": true,
    });
    assert_eq!(identity, expected);
    assert_eq!(fake.heard("modes"), "700\n600\n600\n");
    assert_eq!(fake.heard("arguments"), "daemon\n--config\nconfig.yaml\n");
    let config = fake.heard("config");
    let left: i64 = config
        .lines()
        .find_map(|line| {
            line.trim().strip_prefix("shutdown_timeout: ")?.strip_suffix('s')?.parse().ok()
        })
        .unwrap_or_else(|| panic!("{config}"));
    assert!((3_500..=3_600).contains(&left), "{config}");
    assert!(config.contains("file: .runner\n") && config.contains("level: info\n"), "{config}");
    let git = machine.home().join(".gitconfig");
    assert_eq!(mode(&git), 0o600);
    assert_eq!(
        std::fs::read_to_string(git).unwrap(),
        "[url \"http://git-SECRET:x-oauth-basic@127.0.0.1:3000/\"]\n\tinsteadOf = \"http://127.0.0.1:3000/\"\n"
    );
    assert!(fake.heard("stderr").contains("the runner ended with status 0"));
    for shown in ["environment", "stderr", "arguments"] {
        assert!(!fake.heard(shown).contains("SECRET"), "{}", fake.heard(shown));
    }
}

#[test]
fn without_a_git_token_there_is_no_git_configuration() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.git_token = None;
    let mut machine = Machine::boot(Fake::new(), "quick", &attempt_id, &attempt);
    machine.ends();
    assert!(!machine.home().join(".gitconfig").exists());
    assert!(!script(&attempt_id, 0, &attempt).contains(">>\"$HOME/.gitconfig\""));
}

#[test]
fn hostile_values_stay_data() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    let runner = &mut attempt.runner;
    for text in [&mut runner.uuid, &mut runner.name] {
        HOSTILE.clone_into(text);
    }
    runner.token = Secret::new(HOSTILE);
    runner.labels =
        vec![HOSTILE.to_owned(), format!("{HOSTILE}:host"), String::new(), "x".repeat(10_000)];
    attempt.boot.instance_url = format!("https://{HOSTILE}/");
    attempt.boot.git_token = Some(Secret::new(HOSTILE));
    let text = script(&attempt_id, 0, &attempt);
    assert!(text.bytes().all(|byte| byte == b'\n' || byte == b'\t' || (32..127).contains(&byte)));

    let mut machine = Machine::boot(Fake::new(), "quick", &attempt_id, &attempt);
    machine.ends();
    let identity: serde_json::Value =
        serde_json::from_str(&machine.fake.heard("identity")).unwrap();
    for key in ["uuid", "name", "token"] {
        assert_eq!(identity[key], HOSTILE, "{key}");
    }
    assert_eq!(identity["labels"][0], format!("{HOSTILE}:host"), "`:host` is appended");
    assert_eq!(identity["labels"][2], ":host");
    assert_eq!(identity["address"], format!("https://{HOSTILE}/"));
    let git = std::fs::read_to_string(machine.home().join(".gitconfig")).unwrap();
    assert_eq!(git.lines().count(), 2, "{git}");
    assert_eq!(beside_steps(&machine.fake), QUICK);
    for dir in [machine.fake.dir.path().to_owned(), machine.home(), machine.home().join("tinqs-ci")]
    {
        assert!(!dir.join("pwned").exists(), "a value was executed in {}", dir.display());
    }
}

#[test]
fn a_hostile_attempt_id_stays_a_comment() {
    let mut attempt_id = attempt_id();
    attempt_id.uid = Uid8("\ntouch pwned\n".to_owned());
    let text = script(&attempt_id, 0, &usual(&attempt_id));
    assert!(text.lines().nth(1).unwrap().contains("?touch?pwned?"), "{text}");
    assert!(text.lines().nth(2).unwrap().starts_with("deadline="), "{text}");
}

#[test]
fn an_idle_runner_is_drained_once() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.idle_within = SignedDuration::from_millis(7_500);
    let mut machine = Machine::boot(Fake::new(), "idle", &attempt_id, &attempt);
    machine.ends();
    assert_eq!(machine.fake.heard("signals"), "term\n");
    assert!(machine.fake.heard("stderr").contains("takes no new job"));
    assert!(machine.fake.heard("stderr").contains("ended with status 0"));
}

#[test]
fn a_busy_runner_finishes_first() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.idle_within = SignedDuration::from_millis(7_500);
    let mut machine = Machine::boot(Fake::new(), "busy", &attempt_id, &attempt);
    wait_until("the runner gets SIGTERM", || machine.fake.heard("signals") == "term\n");
    assert!(machine.child.try_wait().unwrap().is_none(), "the runner continues");
    std::fs::write(machine.fake.said("finish"), "").unwrap();
    machine.ends();
    assert_eq!(machine.fake.heard("finished"), "done\n");
    assert_eq!(machine.fake.heard("signals"), "term\n", "the runner gets one SIGTERM");
}

#[test]
fn the_deadline_kills_the_machine() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.deadline = in_seconds(15);
    let begun = Instant::now();
    let mut machine = Machine::boot(Fake::new(), "stubborn", &attempt_id, &attempt);
    machine.wait_ready();
    assert!(processes(&machine.token).len() >= 5, "{:?}", processes(&machine.token));
    machine.ends();
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(
        machine.fake.heard("stderr").contains("the deadline is reached"),
        "{}",
        machine.fake.heard("stderr")
    );
}

#[test]
fn a_boot_after_the_deadline_runs_nothing() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.boot.deadline = in_seconds(-5);
    let mut machine = Machine::boot(Fake::new(), "idle", &attempt_id, &attempt);
    machine.ends();
    assert_eq!(machine.fake.heard("arguments"), "");
    assert!(machine.fake.heard("stderr").contains("the deadline is past"));
    assert!(!machine.home().join("tinqs-ci").exists());
}

#[test]
fn a_leftover_step_is_killed_with_the_machine() {
    let attempt_id = attempt_id();
    let fake = Fake::new();
    fake.program(
        "gitea-runner",
        "#!/bin/bash\nset -m\nbash -c 'trap \"\" TERM; : >\"$FAKE/ready\"; while :; do sleep 0.05; done' &\n\
         until [ -e \"$FAKE/ready\" ]; do sleep 0.02; done\nexit 0\n",
    );
    let mut machine = Machine::boot(fake, "", &attempt_id, &usual(&attempt_id));
    machine.ends();
    assert!(machine.fake.said("ready").exists());
}

#[test]
fn a_missing_runner_is_reported() {
    let attempt_id = attempt_id();
    let mut machine = Machine::boot(Fake::without_runner(), "", &attempt_id, &usual(&attempt_id));
    machine.ends();
    let said = machine.fake.heard("stderr");
    assert!(said.contains("neither gitea-runner nor act_runner is in PATH"), "{said}");
}

#[test]
fn the_runners_older_name_is_accepted() {
    let attempt_id = attempt_id();
    let fake = Fake::without_runner();
    fake.program("act_runner", "#!/bin/bash\necho act >\"$FAKE/name\"\n");
    let mut machine = Machine::boot(fake, "", &attempt_id, &usual(&attempt_id));
    machine.ends();
    assert_eq!(machine.fake.heard("name"), "act\n");
}

#[test]
fn sigterm_to_the_script_ends_the_machine() {
    let attempt_id = attempt_id();
    // On a busy host the runner needs longer than 2 s to end.
    let text = script(&attempt_id, 0, &usual(&attempt_id));
    let text = with(&text, "{1..20}", "{1..200}");
    let mut machine = Machine::boot_as(Fake::new(), "idle", &attempt_id, &text);
    machine.wait_ready();
    let pid = machine.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    machine.ends();
    assert_eq!(machine.fake.heard("signals"), "term\n");
    let said = beside_steps(&machine.fake);
    assert_eq!(said, [QUICK[0], "a signal ended this script: powering off"]);
}
