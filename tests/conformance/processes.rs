//! Machines on this host: the laws of a `Compute`, and what only processes can do.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_boot::MARKER;
use tinqs_ci_local::process::{Options, Processes};
use tinqs_ci_local::store::{OpenError, Store};
use tinqs_ci_reconciler::model::{AttemptId, EndedBy, Machine, MachineId, MachineState, Uid8};
use tinqs_ci_reconciler::ports::{
    Clock, Compute as _, ErrorKind, Expect, MachineEnds as _, RunStore as _,
};
use tinqs_ci_testing::conformance::compute::{all, listed, seen};
use tinqs_ci_testing::fake_runner::{Fake, mode, processes};
use tinqs_ci_testing::make::{attempt, attempt_id, own_attempt_id, process, run, until};

/// The host's clock, ahead by a duration that the test sets.
struct Ahead(parking_lot::Mutex<SignedDuration>);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Timestamp::now() + *self.0.lock()
    }
}

/// Machines in a directory, killed when the test ends.
struct Host {
    fake: Fake,
    clock: Arc<Ahead>,
}

impl Host {
    fn new() -> Self {
        Self { fake: Fake::new(), clock: Arc::new(Ahead(parking_lot::Mutex::default())) }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.fake.dir.path().join("machines")
    }

    fn open(&self, mode: &str) -> Processes {
        let mut options = Options::inherit(self.fake.environment(mode));
        assert_eq!(options.environment.len(), 1, "PATH alone");
        options.environment = self.fake.environment(mode);
        options.grace = Duration::from_millis(500);
        Processes::new(&self.dir(), Arc::<Ahead>::clone(&self.clock), options).unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.dir()).into_iter().flatten().flatten() {
            for pid in processes(&entry.file_name().to_string_lossy()) {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        }
    }
}

fn later() -> Timestamp {
    Timestamp::now() + SignedDuration::from_mins(5)
}

async fn launch(host: &Processes, attempt_id: &AttemptId) -> Machine {
    host.launch(attempt_id, 0, &attempt(attempt_id, "linux", 1, later())).await.unwrap()
}

async fn none_left(token: &str) {
    until("no process is left", async || processes(token).is_empty().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_are_machines() {
    let host = Host::new();
    all(&host.open("idle"), &process(), later()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_ends_itself_is_gone_and_leaves_no_secret() {
    let host = Host::new();
    let machines = host.open("quick");
    let machine = launch(&machines, &own_attempt_id(1)).await;
    let gone = seen(&machines, &machine, MachineState::Gone).await;
    assert_eq!(gone.ended_by, Some(EndedBy::Itself));
    assert_eq!(gone.launched_at, machine.launched_at);
    let log = machines.log(&machine.id, 1 << 20).await.unwrap().expect("it stays after the end");
    let log = String::from_utf8(log.bytes).unwrap();
    assert!(log.ends_with("s the runner ended with status 0: powering off\n"), "{log}");
    let dir = host.dir().join(&machine.id.0);
    assert_eq!(mode(&dir), 0o700);
    for left in ["machine.json", "log", "started", "ended"] {
        let path = dir.join(left);
        assert_eq!(mode(&path) & 0o077, 0, "{left}");
        assert!(!std::fs::read_to_string(&path).unwrap().contains("SECRET"), "{left}");
    }
    for dropped in ["boot.sh", "home", "tmp"] {
        assert!(!dir.join(dropped).exists(), "{dropped}");
    }
    let entries = || std::fs::read_dir(host.dir()).unwrap().count();
    until("what it left is removed", async || {
        machines.list().await.unwrap();
        (entries() == 1).then_some(())
    })
    .await;

    // An ended machine is listed for half an hour.
    *host.clock.0.lock() = SignedDuration::from_mins(29);
    assert_eq!(listed(&machines, &machine).await.len(), 1);
    *host.clock.0.lock() = SignedDuration::from_mins(31);
    until("it is forgotten", async || {
        machines.list().await.unwrap();
        (entries() == 0).then_some(())
    })
    .await;
    assert_eq!(machines.find(&machine.id).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_machine_is_told_once_also_of_one_that_was_found_again() {
    let host = Host::new();
    let (first, second) = (own_attempt_id(31), own_attempt_id(32));
    let machines = host.open("idle");
    let ended = async |machines: &Processes| {
        let ended = machines.ended().await.unwrap();
        (!ended.is_empty()).then_some(ended)
    };
    assert_eq!(machines.ended().await.unwrap(), [], "nothing was launched");
    let one = launch(&machines, &first).await;
    let other = launch(&machines, &second).await;
    assert_eq!(machines.ended().await.unwrap(), [], "both live");
    machines.terminate(&one.id).await.unwrap();
    assert_eq!(until("the end is told", async || ended(&machines).await).await, [first.run]);
    assert_eq!(machines.ended().await.unwrap(), [], "told once");
    drop(machines);

    let machines = host.open("idle");
    assert_eq!(listed(&machines, &other).await.len(), 1);
    assert_eq!(machines.ended().await.unwrap(), [], "it lives");
    machines.terminate(&other.id).await.unwrap();
    assert_eq!(until("the end is told", async || ended(&machines).await).await, [second.run]);
    machines.list().await.unwrap();
    assert_eq!(machines.ended().await.unwrap(), [], "one that is gone is not started again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_is_told_only_what_it_needs() {
    let host = Host::new();
    let machines = host.open("idle");
    let machine = launch(&machines, &own_attempt_id(2)).await;
    until("the runner is there", async || host.fake.said("ready").exists().then_some(())).await;
    let environment = host.fake.heard("environment");
    let names: Vec<&str> =
        environment.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let known = "PATH HOME USER LOGNAME TMPDIR TINQS_CI_JOB FAKE FAKE_MODE PWD OLDPWD SHLVL _";
    for name in &names {
        let known = *name == MARKER || known.split(' ').any(|known| known == *name);
        assert!(known, "{name} is none of its business");
    }
    assert!(names.contains(&"USER") && names.contains(&"LOGNAME"), "{names:?}");
    assert_eq!(host.fake.heard("umask"), "0022\n");
    let dir = host.dir().join(&machine.id.0);
    assert!(
        environment.contains(&format!("HOME={}\n", dir.join("home").display())),
        "{environment}"
    );
    assert_eq!((mode(&dir.join("boot.sh")), mode(&dir.join("machine.json"))), (0o600, 0o600));
    machines.terminate(&machine.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminate_ends_every_process_of_the_machine_and_no_other() {
    let host = Host::new();
    let machines = host.open("stubborn");
    // Without the marker, with another machine's, with the marker as an argument, and with the marker
    // as the value of another variable.
    let token = own_attempt_id(3).token(0);
    let elsewhere = own_attempt_id(4_000).token(0);
    let mut others = [("X", "y"), (MARKER, &elsewhere), ("Y", &format!("{MARKER}={token}"))]
        .map(|(name, value)| Bystander::new(name, value, &format!("{MARKER}={token}")));
    let machine = launch(&machines, &own_attempt_id(3)).await;
    until("its steps run", async || host.fake.said("ready").exists().then_some(())).await;
    assert!(processes(&token).len() >= 5, "{:?}", processes(&token));
    machines.terminate(&machine.id).await.unwrap();
    assert_eq!(processes(&token), [] as [i32; 0]);
    let gone = machines.find(&machine.id).await.unwrap().expect("it is still known");
    assert_eq!((gone.state, gone.ended_by), (MachineState::Gone, Some(EndedBy::Request)));
    machines.terminate(&MachineId(elsewhere)).await.expect("nothing of ours");
    for Bystander(other) in &mut others {
        assert!(other.try_wait().unwrap().is_none(), "it was none of the machine's");
    }
}

/// Kills every process of a machine, also one that was started while the others were killed.
async fn kill_all(machine: &Machine) {
    let token = &machine.id.0;
    until("it runs", async || (!processes(token).is_empty()).then_some(())).await;
    let mut empty = 0;
    until("no process is left", async || {
        let pids = processes(token);
        // A process that executes another program is not seen for an instant.
        empty = if pids.is_empty() { empty + 1 } else { 0 };
        // One of them may end by itself meanwhile, so that `kill` does not find it.
        for pid in pids {
            Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
        }
        (empty == 3).then_some(())
    })
    .await;
}

/// As by the host: out of memory, or a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_whose_processes_are_all_killed_was_taken_by_its_host() {
    let host = Host::new();
    let machines = host.open("idle");
    let machine = launch(&machines, &own_attempt_id(5)).await;
    kill_all(&machine).await;
    let gone = seen(&machines, &machine, MachineState::Gone).await;
    assert_eq!(gone.ended_by, Some(EndedBy::Cloud));
}

/// The boot script of an earlier release does not tell that it powers off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_of_an_earlier_release_is_its_own_end() {
    let host = Host::new();
    let machines = host.open("idle");
    let machine = launch(&machines, &own_attempt_id(6)).await;
    std::fs::remove_file(host.dir().join(&machine.id.0).join("tells-end")).unwrap();
    kill_all(&machine).await;
    let gone = seen(&machines, &machine, MachineState::Gone).await;
    assert_eq!(gone.ended_by, Some(EndedBy::Itself));
}

/// As on a full disk, which may be why the job failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_cannot_be_recorded_stays_the_same() {
    let host = Host::new();
    let machines = host.open("quick");
    let machine = launch(&machines, &own_attempt_id(7)).await;
    let dir = host.dir().join(&machine.id.0);
    let told = dir.join("home/.tinqs-ci-powered-off");
    until("it powers off", async || told.exists().then_some(())).await;
    none_left(&machine.id.0).await;
    // In the way of the record.
    std::fs::create_dir(dir.join("ended")).unwrap();
    for _ in 0..2 {
        let gone = seen(&machines, &machine, MachineState::Gone).await;
        assert_eq!(gone.ended_by, Some(EndedBy::Itself));
        assert!(told.exists() && !dir.join("boot.sh").exists());
    }
    std::fs::remove_dir(dir.join("ended")).unwrap();
    let gone = seen(&machines, &machine, MachineState::Gone).await;
    assert_eq!(gone.ended_by, Some(EndedBy::Itself));
    assert!(dir.join("ended").is_file() && !dir.join("home").exists());
}

/// A process that belongs to no machine of the test, killed when the test ends.
struct Bystander(std::process::Child);

impl Bystander {
    fn new(name: &str, value: &str, argument: &str) -> Self {
        let mut command = Command::new("bash");
        command.args(["-c", "read -r; exit", argument]).env(name, value);
        Self(
            command
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_are_found_again_by_another_controller() {
    let host = Host::new();
    let machine = {
        let machines = host.open("idle");
        launch(&machines, &own_attempt_id(4)).await
    };
    let machines = host.open("idle");
    let found = seen(&machines, &machine, MachineState::Up).await;
    assert_eq!(found, machine);
    let again = launch(&machines, &own_attempt_id(4)).await;
    assert_eq!(again, machine);
    let leaders =
        || std::fs::read_to_string(host.dir().join(&machine.id.0).join("started")).unwrap();
    let before = leaders();
    machines.terminate(&machine.id).await.unwrap();
    none_left(&machine.id.0).await;
    let machines = host.open("idle");
    let again = launch(&machines, &own_attempt_id(4)).await;
    assert_eq!((again.state, again.ended_by), (MachineState::Gone, Some(EndedBy::Request)));
    assert_eq!(leaders(), before, "nothing was started");
}

/// Runs another controller in a process of its own, for the test below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of the test below, which runs it"]
async fn another_controller() {
    let Some(dir) = std::env::var_os(CONTROLLER) else { return };
    let store = Store::open(&Path::new(&dir).join("data")).unwrap();
    let fake = std::env::var_os("FAKE").unwrap();
    let options = Options {
        environment: vec![
            ("PATH".into(), std::env::var_os("PATH").unwrap()),
            ("FAKE".into(), fake),
            ("FAKE_MODE".into(), "idle".into()),
        ],
        ..Options::inherit([])
    };
    let clock = Arc::new(Ahead(parking_lot::Mutex::default()));
    let machines = Processes::new(&Path::new(&dir).join("machines"), clock, options).unwrap();
    launch(&machines, &attempt_id(own_id(), 1)).await;
    assert_eq!(store.put(&run(1, "o/r"), Expect::Absent).await.unwrap(), 1);
    // It runs until it is killed, or until its parent has gone.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

const CONTROLLER: &str = "TEST_CONTROLLER_DIR";

fn own_id() -> i64 {
    std::env::var("TEST_CONTROLLER_ID").unwrap().parse().unwrap()
}

/// Machines survive a SIGINT to the controller's process group and a `kill -9` of the controller. No
/// other process can open its store while it runs, and the store is whole afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_outlive_a_controller_that_is_killed() {
    let host = Host::new();
    let wanted = own_attempt_id(40);
    let mut controller = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::another_controller", "--ignored"])
        .envs(host.fake.environment("idle"))
        .env(CONTROLLER, host.fake.dir.path())
        .env("TEST_CONTROLLER_ID", wanted.run.as_str().trim_start_matches("job-"))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let data = host.fake.dir.path().join("data");
    until("its runner is there", async || host.fake.said("ready").exists().then_some(())).await;
    let refused = Store::open(&data).unwrap_err();
    assert!(matches!(refused, OpenError::Busy { .. }), "{refused}");
    // To the process group, like Ctrl-C. Afterwards only what the controller made is left of it.
    let group = format!("-{}", controller.id());
    assert!(Command::new("kill").args(["-INT", "--", &group]).status().unwrap().success());
    let _ = controller.kill();
    controller.wait().unwrap();

    let machines = host.open("idle");
    let machine = launch(&machines, &wanted).await;
    assert_eq!(machine.state, MachineState::Up);
    assert_eq!(listed(&machines, &machine).await, std::slice::from_ref(&machine));
    assert_eq!(host.fake.heard("signals"), "", "the runner noticed nothing");
    machines.terminate(&machine.id).await.unwrap();
    none_left(&machine.id.0).await;
    drop(Store::open(&data).unwrap());
}

/// Leaves in a directory what an interrupted launch leaves.
type BreakOff = fn(&Path);

/// However far a launch had come when the controller was killed, the same launch completes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_launch_that_was_broken_off_is_completed() {
    let host = Host::new();
    let machines = host.open("idle");
    let breaks: [(i64, BreakOff); 4] = [
        (10, |dir| std::fs::create_dir(dir).unwrap()),
        (11, |dir| {
            std::fs::create_dir(dir).unwrap();
            std::fs::write(dir.join("machine.json.new"), "{\"id\":").unwrap();
        }),
        (12, |dir| {
            std::fs::create_dir(dir).unwrap();
            std::fs::write(dir.join("machine.json"), "{\"id\":").unwrap();
        }),
        (13, |dir| {
            std::fs::create_dir(dir).unwrap();
            std::fs::create_dir(dir.join("home")).unwrap();
            std::fs::write(dir.join("boot.sh"), "exit 1").unwrap();
        }),
    ];
    for (id, break_off) in breaks {
        let attempt_id = own_attempt_id(id);
        break_off(&host.dir().join(attempt_id.token(0)));
        let unborn = MachineId(attempt_id.token(0));
        assert_eq!(machines.find(&unborn).await.unwrap(), None, "it never began: {id}");
        let machine = launch(&machines, &attempt_id).await;
        seen(&machines, &machine, MachineState::Up).await;
        machines.terminate(&machine.id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_launches_at_once_make_one_machine() {
    let host = Host::new();
    // Two controllers on one directory, as after a kill that failed.
    let (one, two) = (host.open("idle"), host.open("idle"));
    let attempt_id = own_attempt_id(20);
    let attempt = attempt(&attempt_id, "linux", 1, later());
    let launches =
        [&one, &two, &one, &two, &one, &two].map(|host| host.launch(&attempt_id, 0, &attempt));
    for launched in crate::make::at_once(launches.into()).await {
        assert_eq!(launched.unwrap().id.0, attempt_id.token(0));
    }
    until("the runner is there", async || host.fake.said("ready").exists().then_some(())).await;
    let runners = || {
        let name = |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let wanted = b"daemon";
        processes(&attempt_id.token(0))
            .iter()
            .filter(|pid| name(pid).windows(6).any(|w| w == wanted))
            .count()
    };
    until("the losers have gone", async || (runners() == 1).then_some(())).await;
    one.terminate(&MachineId(attempt_id.token(0))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_was_ended_before_it_began_never_begins() {
    let host = Host::new();
    let machines = host.open("idle");
    let attempt_id = own_attempt_id(21);
    std::fs::create_dir(host.dir().join(attempt_id.token(0))).unwrap();
    machines.terminate(&MachineId(attempt_id.token(0))).await.unwrap();
    let machine = launch(&machines, &attempt_id).await;
    assert_eq!(machine.state, MachineState::Gone);
    assert_eq!(processes(&attempt_id.token(0)), [] as [i32; 0]);
}

/// Such a machine cannot be recognized, so its end would go unnoticed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_launch_that_was_cut_short_left_goes_in_time() {
    let host = Host::new();
    let machines = host.open("idle");
    for (id, left) in [(22, None), (23, Some("terminated")), (24, Some("started"))] {
        let dir = host.dir().join(own_attempt_id(id).token(0));
        std::fs::create_dir(&dir).unwrap();
        // The state that a power cut leaves.
        std::fs::write(dir.join("machine.json"), "").unwrap();
        if let Some(file) = left {
            std::fs::write(dir.join(file), "").unwrap();
        }
    }
    let left = || std::fs::read_dir(host.dir()).unwrap().count();
    assert_eq!((machines.list().await.unwrap(), left()), (Vec::new(), 3));
    *host.clock.0.lock() = SignedDuration::from_mins(31);
    until("all is gone", async || {
        machines.list().await.unwrap();
        (left() == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_launched_is_told_apart() {
    let host = Host::new();
    let options =
        Options { environment: vec![("PATH".into(), "/nowhere".into())], ..Options::inherit([]) };
    let machines = Processes::new(&host.dir(), Arc::<Ahead>::clone(&host.clock), options).unwrap();
    let attempt_id = own_attempt_id(30);
    let good = attempt(&attempt_id, "linux", 1, later());
    let refused = machines.launch(&attempt_id, 0, &good).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
    assert!(refused.message.contains("bash"), "{refused}");
    let refused = machines.launch(&attempt_id, 1, &good).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid, "no such placement: {refused}");
    let hostile = AttemptId { uid: Uid8("../../../x".to_owned()), ..attempt_id };
    let refused = machines.launch(&hostile, 0, &good).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid, "{refused}");
    assert_eq!(std::fs::read_dir(host.dir()).unwrap().count(), 1);
}
