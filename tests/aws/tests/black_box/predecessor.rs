//! The predecessor and tinqs-ci run for a while over one table and one forge, and the webhook moves
//! from one to the other: nothing is doubled, and the way back is open.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Stdio;

use aws_sdk_dynamodb::types::AttributeValue::{self, S};
use jiff::Timestamp;
use serde_json::json;
use tinqs_ci_reconciler::model::{Conclusion, MachineId, MachineState};
use tinqs_ci_simulator::forge::RunnerRow;
use tinqs_ci_simulator::gitea_wire::Hook;
use tinqs_ci_test_host::free_port;

use super::region::{Region, TABLE};

type Item = BTreeMap<String, AttributeValue>;

/// The items, machines, runners and webhook of the predecessor.
#[derive(Default)]
struct Predecessor {
    /// Its items, by the job.
    items: BTreeMap<i64, Item>,
    machines: BTreeSet<MachineId>,
    /// The runners of its machines, and the tasks that they have.
    runners: Vec<(RunnerRow, Option<i64>)>,
    /// Its webhook at the forge.
    hook: i64,
}

impl Predecessor {
    async fn put(&mut self, region: &Region, job: i64, machine: &str, status: &str) {
        let item = [
            ("run_id", job.to_string()),
            ("repo", "acme/widget".to_owned()),
            ("instance_id", machine.to_owned()),
            ("status", status.to_owned()),
        ];
        let item: Item = item.map(|(name, value)| (name.to_owned(), S(value))).into();
        let client = region.dynamodb.client().await;
        let put = client.put_item().table_name(TABLE);
        let put = put.set_item(Some(item.clone().into_iter().collect()));
        put.send().await.expect("written");
        self.items.insert(job, item);
    }

    /// Serves the job that has waited longest, which must be this one.
    async fn serve(&mut self, region: &Region, job: i64) {
        let taken = self.launch(region, job).await;
        assert_eq!(taken, Some(job), "the job was not taken by anybody else");
    }

    /// Launches for a job: an item, a machine, and its runner, which is registered for all
    /// repositories. Returns the job that the runner takes.
    async fn launch(&mut self, region: &Region, job: i64) -> Option<i64> {
        let tags = [("Name".to_owned(), "gitea-runner".to_owned())];
        let machine = region.ec2.add_foreign(tags.into()).expect("a machine");
        self.put(region, job, &machine.0, "running").await;
        let (runner, task) = {
            let (now, mut forge) = (Timestamp::now(), region.gitea.forge());
            let labels = ["linux".to_owned()];
            let runner = forge.register(now, &format!("ip-10-0-0-{job}"), &labels, false);
            let fetched = forge.fetch(now, &runner.uuid, &runner.token, 0).expect("registered");
            (runner, fetched.task)
        };
        self.machines.insert(machine);
        self.runners.push((runner, task.as_ref().map(|task| task.id)));
        task.map(|task| task.job_id)
    }

    /// Enables or disables its webhook, as a person does at the forge.
    fn set_hook(&self, region: &Region, active: bool) {
        region.gitea.change_hook(self.hook, |hook| hook.active = active);
    }

    /// Ends the jobs that run.
    fn end_jobs(&self, region: &Region) {
        let (now, mut forge) = (Timestamp::now(), region.gitea.forge());
        for (runner, task) in &self.runners {
            let Some(task) = task else { continue };
            let end = Some(Conclusion::Success);
            forge.report(now, &runner.uuid, &runner.token, *task, end).expect("registered");
        }
    }

    /// Asserts that its items are as it wrote them, and that its machines run.
    async fn assert_untouched(&self, region: &Region) {
        let client = region.dynamodb.client().await;
        for (job, item) in &self.items {
            let get = client.get_item().table_name(TABLE).key("run_id", S(job.to_string()));
            let read = get.send().await.expect("read").item.unwrap_or_default();
            assert_eq!(read.into_iter().collect::<Item>(), *item, "job {job}");
        }
        let machines = region.ec2.machines();
        let its: Vec<_> = machines.iter().filter(|m| self.machines.contains(&m.id)).collect();
        assert_eq!(its.len(), self.machines.len());
        for machine in its {
            let is_live = matches!(machine.state, MachineState::Booting | MachineState::Up);
            assert!(is_live, "{machine:?}");
        }
    }

    /// Asserts that only its machines and runners are left, all of them.
    async fn is_left_alone(&self, region: &Region) {
        let its = u64::try_from(self.runners.len()).expect("few");
        region.all_gone(120, its).await;
        self.assert_untouched(region).await;
        let runners: BTreeSet<i64> = region.gitea.forge().runners().map(|row| row.id).collect();
        assert!(self.runners.iter().all(|(row, _)| runners.contains(&row.id)));
    }
}

/// Returns the variables of a process of tinqs-ci, which has a configuration file instead of the
/// predecessor's eight.
fn variables(region: &Region) -> Vec<(&'static str, String)> {
    let without = region.eight().into_iter().map(|(name, _)| (name, String::new()));
    without.chain([("AWS_ENDPOINT_URL_STS", region.ec2.url())]).collect()
}

/// Runs a command with these variables. It succeeds, and shows no secret. Returns what it prints.
fn command(region: &Region, args: &[&str], input: &str) -> String {
    let mut more = variables(region);
    more.push(("TINQS_CI_SERVER__API", "127.0.0.1:0".to_owned()));
    let mut program = region.program(0, args, &more);
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().expect("it starts");
    let mut to = child.stdin.take().expect("a pipe");
    if !input.is_empty() {
        to.write_all(input.as_bytes()).expect("it reads its input");
    }
    drop(to);
    let output = tokio::task::block_in_place(|| child.wait_with_output()).expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{args:?}: {told}");
    region.assert_no_secret_in(&told);
    told
}

/// Replaces the labels of the class, and lets the replica read its configuration again.
fn serve_labels(region: &Region, before: &str, after: &str) {
    let file = region.configuration();
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let (before, after) = (format!("labels  = [{before}]"), format!("labels  = [{after}]"));
    assert_eq!(text.matches(&before).count(), 1, "{text}");
    std::fs::write(&file, text.replace(&before, &after)).expect("written");
    let (code, told) = region.ask(&["reload"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("labels"), "{told}");
}

/// Writes the configuration, as the page says, and starts a replica beside the predecessor. Returns
/// the URL of its webhooks.
async fn install_beside(region: &mut Region) -> String {
    let eight: BTreeMap<_, _> = region.eight().into_iter().collect();
    let function = json!({
        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:ci",
        "Environment": { "Variables": eight },
    });
    command(region, &["init", "--from-lambda", "-"], &function.to_string());
    command(region, &["config", "check"], "");
    let told = command(region, &["doctor"], "");
    assert!(told.contains(", 0 failed"), "{told}");
    command(region, &["init", "--aws"], "");
    let address = format!("127.0.0.1:{}", free_port());
    let mut more = variables(region);
    more.push(("TINQS_CI_FORGE__POLL_EVERY", "1s".to_owned()));
    more.push(("TINQS_CI_FORGE__SWEEP_EVERY", "3s".to_owned()));
    more.push(("TINQS_CI_SERVER__WEBHOOKS", address.clone()));
    region.start_as(0, &["serve"], &more);
    region.four_passes().await;
    format!("http://{address}/webhook")
}

/// Moves the webhook from the predecessor to this URL.
fn move_webhook(region: &Region, predecessor: &Predecessor, url: &str) {
    predecessor.set_hook(region, false);
    let told = command(region, &["webhook", "add", "--url", url], "");
    assert!(told.contains("created webhook") && told.contains(url), "{told}");
    let before = region.gitea.counters();
    assert_eq!(before.sent, 0, "so far nobody accepts one");
    assert!(before.failed > 0, "the predecessor was told of its jobs");
}

/// Moves the webhook back.
fn return_webhook(region: &Region, predecessor: &Predecessor, url: &str) {
    let told = command(region, &["webhook", "remove", "--url", url], "");
    assert!(told.contains("removed webhook") && told.contains(url), "{told}");
    predecessor.set_hook(region, true);
    let left: Vec<i64> = region.gitea.hooks().iter().map(|hook| hook.id).collect();
    assert_eq!(left, [predecessor.hook]);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_run_for_a_while_and_nothing_is_doubled() {
    let mut region = Region::new().await;
    // Nothing listens there: here the predecessor knows its jobs without it.
    let hook = region.gitea.add_hook(Hook::system("http://127.0.0.1:1/ci", "its-own-secret"));
    let mut predecessor = Predecessor { hook, ..Predecessor::default() };
    region.predecessors_table().await;
    predecessor.put(&region, 100_017, "i-00000000000000017", "completed").await;
    let before = region.push(2, "true");
    for job in &before {
        predecessor.serve(&region, *job).await;
    }

    // Beside it: jobs of the trial label get machines, the others are left to the predecessor.
    let url = install_beside(&mut region).await;
    let dry_runs = region.ec2.ledger().count("RunInstances");
    let launches = |region: &Region| region.ec2.ledger().count("RunInstances") - dry_runs;
    let trial = region.push_for("tinqs-ci-trial", 2, "true");
    let taken = predecessor.launch(&region, trial[0]).await;
    assert_eq!(taken, None, "its runner does not have the trial's label");
    let during = region.push(2, "true");
    region.all_done(&trial, 120).await;
    region.four_passes().await;
    assert_eq!(launches(&region), trial.len(), "none for the jobs of the predecessor");
    for job in &during {
        predecessor.serve(&region, *job).await;
    }
    predecessor.assert_untouched(&region).await;

    // The webhook moves, and a job waits until all are served, while the predecessor's still run.
    move_webhook(&region, &predecessor, &url);
    let waiting = region.push(1, "true");
    region.until("an accepted delivery", 30, || region.gitea.counters().sent > 0).await;
    region.four_passes().await;
    assert_eq!(launches(&region), trial.len(), "it waits");
    serve_labels(&region, "\"tinqs-ci-trial\"", "\"*\"");
    let after = [waiting, region.push(2, "true")].concat();
    region.all_done(&after, 120).await;
    region.four_passes().await;
    let ours = trial.len() + after.len();
    assert_eq!(launches(&region), ours, "one machine for each job");
    assert_eq!(region.ledger().len(), ours, "each job ran once");
    predecessor.end_jobs(&region);
    region.all_done(&[before, during].concat(), 30).await;
    predecessor.is_left_alone(&region).await;

    // Back: the predecessor serves again, with its items.
    return_webhook(&region, &predecessor, &url);
    serve_labels(&region, "\"*\"", "\"tinqs-ci-trial\"");
    let back = region.push(1, "true")[0];
    region.four_passes().await;
    assert_eq!(launches(&region), ours, "none any more");
    predecessor.serve(&region, back).await;
    predecessor.end_jobs(&region);
    region.all_done(&[back], 30).await;
    predecessor.assert_untouched(&region).await;
    region.lawful();
    region.assert_no_secret_told();
}
