//! Between the launch and the job: each way in which a machine does not get as far as its job, or
//! stays after it, with its end and what `why`, `describe` and `logs` say. Machines run the real
//! boot script.

use std::fs;
use std::time::Duration;

use jiff::SignedDuration;
use sha2::{Digest as _, Sha256};
use tinqs_ci_reconciler::model::{MachineId, MachineState};
use tinqs_ci_simulator::ec2_wire::{Ec2Options, MachineSeen};
use tinqs_ci_test_host::until_exists;

use super::region::Region;

/// The place of machines on demand, without a role.
const PLACE: &str = "[class.machines]\nmarkets = [\"on-demand\"]\nkinds = [\"t3.small\"]\n\
    subnets = [\"subnet-a\"]\nimage = \"ami-0123\"\nsecurity_groups = [\"sg-1\"]\n";
/// The line of the boot script before it starts the runner again.
const AGAIN: &str = "the runner ended with status 1 before it took a job: it starts again in 3 s";
/// The reason of the end of a machine without a job.
const ENDED: &str = "the machine ended before it got a job";
const POWERED_OFF: &str = "Client.InstanceInitiatedShutdown";

/// Returns the settings of the class `linux`.
fn class(keys: &str, machines: &str) -> String {
    format!("labels = [\"linux\"]\nidle_within = \"30s\"\n{keys}{PLACE}{machines}")
}

/// Starts a Region whose first replica has this class.
async fn started(class: &str) -> Region {
    started_with(|_| {}, class).await
}

/// As [`started`], over an EC2 with other options.
async fn started_with(change: impl FnOnce(&mut Ec2Options), class: &str) -> Region {
    let mut region = Region::with(change).await;
    region.predecessors_table().await;
    region.configure(class);
    region.start(0);
    region
}

/// Pushes a job. Returns its ID and the name of its run.
fn push(region: &Region, script: &str) -> (i64, String) {
    let job = region.push(1, script)[0];
    (job, format!("job-{job}"))
}

/// Waits until the console of the machine with this number shows a text. Returns its ID.
async fn prints(region: &Region, number: usize, text: &str) -> MachineId {
    let shown = || region.ec2.machines().get(number).is_some_and(|it| it.console.contains(text));
    region.until(text, 60, shown).await;
    region.ec2.machines()[number].id.clone()
}

/// Waits until the machine with this number is gone. Returns it.
async fn is_gone(region: &Region, number: usize, seconds: u64) -> MachineSeen {
    let state = || region.ec2.machines().get(number).map(|machine| machine.state);
    region.until("it is gone", seconds, || state() == Some(MachineState::Gone)).await;
    region.ec2.machines().remove(number)
}

/// Asserts that the job is done by the last of so many machines, and that nothing is left.
async fn is_done(region: &Region, job: i64, machines: usize) {
    region.all_done(&[job], 120).await;
    region.all_gone(120, 0).await;
    assert_eq!(region.ec2.machines().len(), machines);
    assert_eq!(region.ec2.ledger().count("RunInstances"), machines);
    let name = format!("job-{job}");
    region.says(&["describe", &name], &["the job succeeded"]).await;
    region.says(&["why", &name], &["succeeded"]).await;
    region.lawful();
    region.assert_no_secret_told();
}

/// A class whose jobs run in containers. Its runner gives up when Docker does not answer within
/// `docker_timeout`, and the boot script starts it again.
#[tokio::test(flavor = "multi_thread")]
async fn docker_is_up_late() {
    let labels = "labels = [\"linux:docker://node:22\"]\nidle_within = \"30s\"\n";
    let runner = "[class.runner.config.container]\ndocker_timeout = \"1s\"\n";
    let region = started(&format!("{labels}{PLACE}{runner}")).await;
    region.uninstall("gitea-runner");
    let (up, program) = (region.file("docker-is-up"), tinqs_ci_test_runner::program());
    // As gitea-runner 1.0.8 does, which the test's runner does not.
    let waiting = format!(
        "#!/bin/bash\n\
         timeout=$(sed -n 's/^ *docker_timeout: \\([0-9]*\\)s$/\\1/p' config.yaml)\n\
         for ((n = 0; n < timeout * 10; n++)); do\n\
         [ -e '{}' ] && exec '{}' \"$@\"\nsleep 0.1\ndone\n\
         echo 'Error: cannot ping the docker daemon, is it running?' >&2\nexit 1\n",
        up.display(),
        program.display()
    );
    region.install("gitea-runner", &waiting);
    let (job, name) = push(&region, "true");
    let machine = prints(&region, 0, AGAIN).await;
    // The machine is up, so nobody has to act.
    region.says(&["why", &name], &[&machine.0, "in progress"]).await;
    let said = ["cannot ping the docker daemon", AGAIN];
    region.says(&["logs", &name], &said).await;
    fs::write(up, "").expect("Docker is up");
    is_done(&region, job, 1).await;
    assert_eq!(region.ec2.machines()[0].reason, POWERED_OFF);
    region.says(&["describe", &name], &["attempt 1 of 1", &machine.0]).await;
    region.says(&["logs", &name], &said).await;
}

/// The runner's first call finds no forge. It is started again until one answers.
#[tokio::test(flavor = "multi_thread")]
async fn the_forge_is_down_while_the_machine_boots() {
    // Long enough to take the forge down meanwhile.
    let boots_in = SignedDuration::from_secs(80);
    let region = started_with(|ec2| ec2.boots_in = boots_in, &class("", "")).await;
    let (job, name) = push(&region, "true");
    region.until("a launch", 60, || region.ec2.machines().len() == 1).await;
    region.gitea.faults(|faults| faults.down = true);
    let machine = prints(&region, 0, AGAIN).await;
    region.says(&["status"], &["ForgeUnreachable", "forge.url"]).await;
    region.says(&["why", &name], &["ForgeUnreachable", &machine.0]).await;
    region.gitea.faults(|faults| faults.down = false);
    is_done(&region, job, 1).await;
    assert_eq!(region.ec2.machines()[0].reason, POWERED_OFF);
    region.says(&["describe", &name], &["attempt 1 of 1", &machine.0]).await;
    region.says(&["logs", &name], &["Declare", AGAIN, "starting gitea-runner"]).await;
}

/// Each machine says what its image lacks and ends itself. Once the image has a runner, a person
/// need not wait for the next attempt.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits a minute or two: cargo test -p tinqs-ci-aws-tests --test black_box -- --ignored"]
async fn the_image_has_no_runner() {
    let region = started(&class("", "")).await;
    region.uninstall("gitea-runner");
    let (job, name) = push(&region, "true");
    let missing = "neither gitea-runner nor act_runner is in PATH";
    let remedy = format!("`tinqs-ci retry {name}` tries at once");
    region.says(&["why", &name], &["BackingOff", ENDED, missing, &remedy]).await;
    let install = "install gitea-runner, or act_runner 0.3.1 or later, where machines boot";
    region.says(&["describe", &name], &["attempt 2 of 2", ENDED, missing, install]).await;
    region.says(&["logs", &name], &[missing, install]).await;
    assert_eq!(region.ec2.machines().len(), 2);
    assert!(region.ec2.machines().iter().all(|machine| machine.reason == POWERED_OFF));
    region.install_runner();
    region.says(&["retry", &name], &["retried"]).await;
    is_done(&region, job, 3).await;
    region.says(&["logs", &name, "--previous"], &[install]).await;
}

/// The fetched file has another hash, and is not executed.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits a minute or two: cargo test -p tinqs-ci-aws-tests --test black_box -- --ignored"]
async fn the_fetched_runner_has_another_hash() {
    let program = tinqs_ci_test_runner::program();
    let runner = format!("#!/bin/bash\nexec '{}' \"$@\"\n", program.display());
    let right = hex::encode(Sha256::digest(&runner));
    let url = "https://mirror.example/gitea-runner";
    let download = format!("[class.runner.download]\nurl = \"{url}\"\nsha256 = \"{right}\"\n");
    let region = started(&class("", &download)).await;
    region.uninstall("gitea-runner");
    let (served, pwned) = (region.file("served"), region.file("pwned"));
    let other = format!("#!/bin/bash\ntouch '{}'\n", pwned.display());
    fs::write(&served, &other).expect("a file to serve");
    let curl = "#!/bin/bash\nwhile [ \"$1\" != -o ]; do shift; done\n";
    region.install("curl", &format!("{curl}cp '{}' \"$2\"\n", served.display()));
    let (job, name) = push(&region, "true");
    let wrong = hex::encode(Sha256::digest(&other));
    let said = format!("the runner has the SHA-256 {wrong}, and the class says {right}");
    let remedy = format!("`tinqs-ci retry {name}` tries at once");
    region.says(&["why", &name], &["BackingOff", ENDED, &said, &remedy]).await;
    region.says(&["describe", &name], &["attempt 2 of 2", ENDED, &said]).await;
    let fetching = format!("fetching {url}");
    region.says(&["logs", &name], &[&fetching, &said, "powering off"]).await;
    assert_eq!(region.ec2.machines().len(), 2);
    assert!(!pwned.exists(), "it was executed");
    fs::write(&served, &runner).expect("the right file");
    region.says(&["retry", &name], &["retried"]).await;
    is_done(&region, job, 3).await;
    assert!(!pwned.exists(), "it was executed");
}

/// The boot script waits for a server that never answers. Its own timer powers the machine off
/// after `start_by`, and nobody has to terminate it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits a minute or two: cargo test -p tinqs-ci-aws-tests --test black_box -- --ignored"]
async fn the_boot_script_hangs() {
    let download = format!(
        "[class.runner.download]\nurl = \"https://mirror.example/r\"\nsha256 = \"{}\"\n",
        "0".repeat(64)
    );
    let keys = "limit = 1\nboot_within = \"8s\"\n";
    let region = started(&class(keys, &download)).await;
    region.uninstall("gitea-runner");
    region.install("curl", "#!/bin/bash\nexec sleep 1000\n");
    let (job, name) = push(&region, "true");
    let machine = prints(&region, 0, "fetching https://mirror.example/r").await;
    // The next machine finds one.
    region.install_runner();
    region.says(&["why", &name], &[&machine.0, ENDED]).await;
    region.says(&["describe", &name], &[ENDED, "fetching"]).await;
    let gone = is_gone(&region, 0, 60).await;
    assert_eq!(gone.reason, POWERED_OFF);
    assert_eq!(region.ec2.ledger().count("TerminateInstances"), 0);
    let said = "no runner was started in time: powering off";
    assert!(gone.console.contains(said), "{}", gone.console);
    region.says(&["logs", &machine.0], &[said]).await;
    is_done(&region, job, 2).await;
}

/// Something before the user data hangs, so that no timer of ours runs. Rule 22 ends the machine
/// once its promise is over; until then it keeps its place within the limit.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits a minute or two: cargo test -p tinqs-ci-aws-tests --test black_box -- --ignored"]
async fn user_data_never_runs() {
    let keys = "labels = [\"linux\"]\nlimit = 1\nboot_within = \"8s\"\nidle_within = \"4s\"\n";
    let region = started(&format!("{keys}{PLACE}")).await;
    region.install("bash", "#!/bin/sh\nexec sleep 1000\n");
    let (job, name) = push(&region, "true");
    let state = || region.ec2.machines().first().map(|machine| machine.state);
    region.until("it is up", 60, || state() == Some(MachineState::Up)).await;
    let late = "the machine did not come online in time";
    let waits = ["AtLimit", "raise `limit`", late];
    region.says(&["why", &name], &waits).await;
    let machine = region.ec2.machines().remove(0);
    region.says(&["describe", &name], &[late, &machine.id.0]).await;
    region.says(&["logs", &machine.id.0], &["has printed nothing yet"]).await;
    // The next machine is of a better image.
    region.uninstall("bash");
    let gone = is_gone(&region, 0, 240).await;
    assert_eq!(gone.reason, "Client.UserInitiatedShutdown", "nothing on it powers it off");
    assert_eq!(gone.console, "");
    is_done(&region, job, 2).await;
    region.says(&["describe", &name], &["attempt 2 of 2", late]).await;
}

/// EC2 accepts the launches, and ends the machines because the key of their disks may not be used.
/// Two in a row stop the class; a person repairs the key.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "waits a minute or two: cargo test -p tinqs-ci-aws-tests --test black_box -- --ignored"]
async fn the_key_of_the_disks_may_not_be_used() {
    let key = "arn:aws:kms:us-east-1:123456789012:key/0a1b";
    let region = started(&class("", &format!("disk_encryption = \"{key}\"\n"))).await;
    region.ec2.fail_launches(2, "Client.InternalError");
    let (job, name) = push(&region, "true");
    let stopped = [
        "BreakerOpen",
        "the cloud accepts launches of class linux but ends the machines before they boot",
        "check the key that encrypts their disks",
    ];
    region.says(&["why", &name], &stopped).await;
    let said = "cloud: Client.InternalError: Client error on launch: usually the KMS key";
    region.says(&["describe", &name], &["attempt 2 of 2", ENDED, said]).await;
    region.says(&["logs", &name], &["has ended and shows no output"]).await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(region.ec2.ledger().count("RunInstances"), 2, "two sweeps later");
    for machine in region.ec2.machines() {
        assert_eq!(machine.reason, "Client.InternalError");
        assert_eq!(machine.recipe.disks[0].key, key);
    }
    region.says(&["retry", &name], &["retried"]).await;
    is_done(&region, job, 3).await;
}

/// A job asks for its machine. That stays, and counts, until the person is done with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_holds_its_machine() {
    let keys = "repos = [\"acme/widget\"]\nlimit = 1\nhold = \"5m\"\n";
    let region = started(&class(keys, "")).await;
    let go = region.file("go");
    let script =
        format!("touch \"$TINQS_CI_HOLD\"\nsleep 1000 >/dev/null 2>&1 &\n{}", until_exists(&go));
    let (job, name) = push(&region, &script);
    region.answers(0, &format!("/v1/runs/{name}"), "\"phase\":\"Running\"").await;
    fs::write(go, "").expect("the job goes on");
    region.all_done(&[job], 60).await;
    let machine = prints(&region, 0, "the job asked for it: the machine stays for 300 s").await;
    region.says(&["describe", &name], &["the job succeeded", "may be held until"]).await;
    region.says(&["why", &name], &["succeeded"]).await;
    let file = region.home(&machine).join("tinqs-ci/hold");
    let until = format!("or until {} is removed", file.display());
    region.says(&["logs", &name], &["the job asked for it", &until]).await;
    let (next, its_name) = push(&region, "true");
    region.says(&["why", &its_name], &["AtLimit", "raise `limit`"]).await;
    assert_eq!(region.ec2.machines()[0].state, MachineState::Up);
    fs::remove_file(file).expect("a held machine has it");
    let gone = is_gone(&region, 0, 60).await;
    assert_eq!(gone.reason, POWERED_OFF);
    assert_eq!(region.ec2.ledger().count("TerminateInstances"), 0);
    is_done(&region, next, 2).await;
}
