//! Requirement 9: machines run the real user data as processes, or simulate it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{MachineId, MachineState};
use tinqs_ci_simulator::cloud::machine::MachineOutcome;
use tinqs_ci_simulator::ec2_wire::{Ec2Options, GUEST, Processes};
use tinqs_ci_simulator::forge::{self, Forge, JobSpec, Status};

use super::Cloud;
use crate::until;

/// A folder of one test, removed afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir =
            std::env::temp_dir().join(format!("tinqs-ci-guest-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn processes(folder: &Folder) -> Processes {
    let environment = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("GREETING", "good day")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Processes { dir: folder.0.clone(), environment }
}

fn with_processes(folder: &Folder) -> Cloud {
    Cloud::new(Ec2Options { guest: Some(Arc::new(processes(folder))), ..Ec2Options::instant() })
}

async fn run(cloud: &Cloud, token: &str, script: &str) -> MachineId {
    run_on(cloud, token, ("t3.small", ""), script).await
}

/// Runs user data on a machine of this kind with these CPU credits, if any.
async fn run_on(cloud: &Cloud, token: &str, on: (&str, &str), script: &str) -> MachineId {
    let data = BASE64_STANDARD.encode(format!("#!/bin/bash\n{script}\n"));
    let credits = ("CreditSpecification.CpuCredits", on.1);
    let changed = [("UserData", data.as_str()), ("InstanceType", on.0), credits];
    MachineId(cloud.machine(token, &changed).await)
}

fn state(cloud: &Cloud, id: &MachineId) -> MachineState {
    cloud.wire.machines().iter().find(|m| m.id == *id).unwrap().state
}

fn console(cloud: &Cloud, id: &MachineId) -> String {
    cloud.wire.machines().iter().find(|m| m.id == *id).unwrap().console.clone()
}

async fn ended(cloud: &Cloud, id: &MachineId) -> String {
    let answer = cloud.until(&id.0, "terminated").await;
    answer.all("code")[1].clone()
}

/// Returns whether a process exists.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

#[tokio::test]
async fn user_data_runs_and_power_off_ends_the_machine() {
    let folder = Folder::new("off");
    let cloud = with_processes(&folder);
    let id =
        run(&cloud, "t-1", "echo \"$GREETING from $PWD\"; sleep 0.1; shutdown -h now; echo never")
            .await;
    assert_eq!(ended(&cloud, &id).await, "Client.InstanceInitiatedShutdown");
    let told = console(&cloud, &id);
    assert!(told.starts_with("good day from ") && !told.contains("never"), "{told}");
    let output = cloud.call("GetConsoleOutput", &[("InstanceId", &id.0)]).await;
    assert_eq!(BASE64_STANDARD.decode(output.one("output")).unwrap(), told.as_bytes());
    let kept = folder.0.join(&id.0);
    assert!(kept.join("home").is_dir() && kept.join("log").is_file());
}

#[tokio::test]
async fn user_data_starts_as_under_cloud_init_with_its_own_etc_and_home() {
    let folder = Folder::new("etc");
    std::fs::create_dir(folder.0.join("etc")).unwrap();
    std::fs::write(folder.0.join("etc/profile"), "echo a profile of its own\n").unwrap();
    let cloud = with_processes(&folder);
    let script = "echo \"umask $(umask), user ${USER-unset}, home ${HOME-unset}\"\n\
                  . /etc/profile; HOME=~; echo \"at home in $HOME\"; cat /etc/passwd; poweroff";
    let id = run(&cloud, "t-1", script).await;
    assert_eq!(ended(&cloud, &id).await, "Client.InstanceInitiatedShutdown");
    let told = console(&cloud, &id);
    let home = folder.0.join(&id.0).join("home");
    let expected = format!(
        "umask 0022, user unset, home unset\na profile of its own\nat home in {}\ncat: ",
        home.display()
    );
    assert!(told.starts_with(&expected), "{told}");
    let machines = cloud.wire.machines();
    let asked = String::from_utf8(machines[0].recipe.user_data.clone()).unwrap();
    assert!(asked.contains(script), "the stored user data is unchanged");
}

#[tokio::test]
async fn a_power_off_can_be_scheduled_and_canceled() {
    let folder = Folder::new("later");
    let cloud = with_processes(&folder);
    let script = "systemctl start x; shutdown -h +30; shutdown -c; shutdown -P +0.002; echo set";
    let id = run(&cloud, "t-1", script).await;
    assert_eq!(ended(&cloud, &id).await, "Client.InstanceInitiatedShutdown");
    assert!(console(&cloud, &id).contains("set"), "the command returned at once");
}

#[tokio::test]
async fn a_script_that_exits_leaves_its_machine_running() {
    let folder = Folder::new("ends");
    let cloud = with_processes(&folder);
    let id = run(&cloud, "t-1", "echo done").await;
    until("its output", || console(&cloud, &id).contains("done").then_some(())).await;
    let asked = [("InstanceId", id.0.as_str()), ("Latest", "true")];
    let latest = cloud.call("GetConsoleOutput", &asked).await;
    assert_eq!(BASE64_STANDARD.decode(latest.one("output")).unwrap(), b"done\n");
    let posted = cloud.call("GetConsoleOutput", &asked[..1]).await;
    assert!(posted.all("output").is_empty(), "it is posted when the machine ends");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(state(&cloud, &id), MachineState::Up);
    cloud.terminate(&id.0).await;
    assert_eq!(ended(&cloud, &id).await, "Client.UserInitiatedShutdown");
}

#[tokio::test]
async fn all_processes_of_a_machine_end_with_it() {
    let folder = Folder::new("rest");
    let cloud = with_processes(&folder);
    let script =
        "set -m\nsleep 600 & echo $!\n(trap '' TERM; setsid sleep 601) & \nsleep 0.2; poweroff";
    let id = run(&cloud, "t-1", script).await;
    assert_eq!(ended(&cloud, &id).await, "Client.InstanceInitiatedShutdown");
    until("the end of its guest", || {
        let told = console(&cloud, &id);
        (!told.is_empty() && !runs(told.lines().next().unwrap())).then_some(())
    })
    .await;
}

#[tokio::test]
async fn termination_sends_sigterm_and_then_sigkill() {
    let folder = Folder::new("term");
    let cloud = with_processes(&folder);
    let polite = "trap 'echo asked; exit 0' TERM\necho ready $$\nwhile :; do sleep 0.05; done";
    let stubborn = "trap '' TERM\necho ready $$\nwhile :; do sleep 0.05; done";
    let (polite, stubborn) = (run(&cloud, "t-1", polite).await, run(&cloud, "t-2", stubborn).await);
    for id in [&polite, &stubborn] {
        until("its output", || console(&cloud, id).contains("ready").then_some(())).await;
        assert_eq!(cloud.terminate(&id.0).await.status, 200);
    }
    until("the trap's output", || console(&cloud, &polite).contains("asked").then_some(())).await;
    let told = console(&cloud, &stubborn);
    let pid = told.lines().next().unwrap().trim_start_matches("ready ").to_owned();
    until("the kill", || (!runs(&pid)).then_some(())).await;
    assert_eq!(ended(&cloud, &stubborn).await, "Client.UserInitiatedShutdown");
}

#[tokio::test]
async fn a_dropped_wire_leaves_no_process() {
    let folder = Folder::new("drop");
    let cloud = with_processes(&folder);
    let id = run(&cloud, "t-1", "echo $$; exec sleep 600").await;
    let pid =
        until("its output", || Some(console(&cloud, &id)).filter(|told| told.ends_with('\n')))
            .await;
    assert!(runs(&pid));
    drop(cloud);
    until("its end", || (!runs(&pid)).then_some(())).await;
}

/// A cloud whose T kinds spend their credits.
fn with_credits(folder: &Folder) -> Cloud {
    Cloud::new(Ec2Options {
        guest: Some(Arc::new(processes(folder))),
        spends_credits: true,
        ..Ec2Options::instant()
    })
}

/// Returns how often the guest of a machine was stopped for lack of CPU credits.
fn stops(cloud: &Cloud, id: &MachineId) -> usize {
    cloud.wire.machines().iter().find(|m| m.id == *id).unwrap().stops
}

/// Returns the states of a machine's processes: `T` is stopped.
fn states(folder: &Folder, id: &MachineId) -> Vec<char> {
    let mark = format!("{GUEST}={}", folder.0.join(&id.0).display());
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let marked = all.filter(|path| {
        let environ = std::fs::read(path.join("environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    });
    let state = |path: PathBuf| {
        let stat = std::fs::read_to_string(path.join("stat")).ok()?;
        stat.rsplit_once(')')?.1.trim().chars().next()
    };
    marked.filter_map(state).collect()
}

async fn stopped(folder: &Folder, id: &MachineId) {
    until("all of its processes are stopped", || {
        let states = states(folder, id);
        (!states.is_empty() && states.iter().all(|state| *state == 'T')).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_t_kind_without_credits_is_slowed_down_and_ends_its_job() {
    let folder = Folder::new("credits");
    let cloud = with_credits(&folder);
    let go = folder.0.join("go");
    // Job steps have sessions of their own.
    let waits = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
    let script = format!("setsid bash -c '{waits}' & wait; echo done; poweroff");
    let slow = run_on(&cloud, "t-0", ("t3.small", "standard"), &script).await;
    let others = [
        run_on(&cloud, "t-1", ("t3.small", "unlimited"), &script).await,
        run_on(&cloud, "t-2", ("t3.small", ""), &script).await,
        run_on(&cloud, "t-3", ("c7a.medium", ""), &script).await,
    ];
    until("some stops", || (stops(&cloud, &slow) >= 3).then_some(())).await;
    stopped(&folder, &slow).await;
    for id in &others {
        assert_eq!(stops(&cloud, id), 0);
        assert!(!states(&folder, id).contains(&'T'));
    }
    std::fs::write(&go, "").unwrap();
    for id in others.iter().chain([&slow]) {
        assert_eq!(ended(&cloud, id).await, "Client.InstanceInitiatedShutdown");
        assert!(console(&cloud, id).contains("done"));
    }
}

#[tokio::test]
async fn no_process_stays_stopped() {
    let folder = Folder::new("stopped");
    let cloud = with_credits(&folder);
    let polite = "trap 'echo asked; exit 0' TERM\nwhile :; do sleep 0.05; done";
    let asked = run_on(&cloud, "t-1", ("t3.small", "standard"), polite).await;
    let dropped = run_on(&cloud, "t-2", ("t3.small", "standard"), "sleep 600").await;
    stopped(&folder, &asked).await;
    assert_eq!(cloud.terminate(&asked.0).await.status, 200);
    until("the trap's output", || console(&cloud, &asked).contains("asked").then_some(())).await;
    stopped(&folder, &dropped).await;
    drop(cloud);
    until("its end", || states(&folder, &dropped).is_empty().then_some(())).await;
}

/// Creates a forge with one job and one registration, and a cloud whose machines simulate the
/// runner.
async fn simulated_runner(
    outcome: MachineOutcome,
    lives: i64,
) -> (Arc<Mutex<Forge>>, i64, Cloud, MachineId) {
    let mut forge = Forge::new(forge::Config::default());
    let now = Timestamp::now();
    let spec =
        JobSpec { work: SignedDuration::from_millis(100), ..JobSpec::new("build", &["linux"]) };
    let job = forge.push(now, "o/r", &[spec])[0];
    let row = forge.register(now, "tq-job-7-0a1b2c3d-1", &["linux".to_owned()], true);
    let forge = Arc::new(Mutex::new(forge));
    let options = Ec2Options {
        forge: Some(Arc::clone(&forge)),
        outcome: MachineOutcome { starts_in: SignedDuration::from_millis(50), ..outcome },
        ..Ec2Options::instant()
    };
    let cloud = Cloud::new(options);
    let identity = serde_json::json!({
        "id": row.id, "uuid": row.uuid, "name": row.name, "token": row.token, "labels": ["linux:host"],
    });
    let deadline = (now + SignedDuration::from_secs(lives)).as_second();
    let script =
        format!("deadline={deadline}\nidle_within=1\ncat >.runner <<'END'\n{identity:#}\nEND");
    let id = run(&cloud, "t-1", &script).await;
    (forge, job, cloud, id)
}

#[tokio::test]
async fn a_simulated_runner_runs_its_job_and_powers_off() {
    let (forge, job, cloud, id) = simulated_runner(MachineOutcome::default(), 3_600).await;
    assert_eq!(ended(&cloud, &id).await, "Client.InstanceInitiatedShutdown");
    let forge = forge.lock();
    assert!(forge.job(job).unwrap().status.is_done());
    assert_eq!(forge.runners().count(), 0);
}

#[tokio::test]
async fn a_simulated_machine_can_fail() {
    let waits = async |outcome: MachineOutcome, lives| {
        let (forge, job, cloud, id) = simulated_runner(outcome, lives).await;
        cloud.until(&id.0, "running").await;
        (forge, job, cloud, id)
    };
    let (forge, job, cloud, id) =
        waits(MachineOutcome { never_online: true, ..MachineOutcome::default() }, 6).await;
    assert_eq!(ended(&cloud, &id).await, "Client.InstanceInitiatedShutdown", "its timer");
    assert_eq!(forge.lock().job(job).unwrap().status, Status::Waiting);

    let hangs =
        MachineOutcome { hangs_after_job: true, ignores_timer: true, ..MachineOutcome::default() };
    let (forge, job, cloud, id) = waits(hangs, 3_600).await;
    until("the job's end", || {
        // Reading the machine advances its time.
        let up = state(&cloud, &id) == MachineState::Up;
        (up && forge.lock().job(job).unwrap().status.is_done()).then_some(())
    })
    .await;
    assert_eq!(state(&cloud, &id), MachineState::Up);
}
