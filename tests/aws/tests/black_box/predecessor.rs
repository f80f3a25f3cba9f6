//! The predecessor and tinqs-ci run for a while over one table and one forge: nothing is doubled,
//! and the way back is open.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::Stdio;

use aws_sdk_dynamodb::types::AttributeValue::{self, S};
use jiff::Timestamp;
use serde_json::json;
use tinqs_ci_reconciler::model::{Conclusion, MachineId, MachineState};
use tinqs_ci_simulator::forge::RunnerRow;

use super::region::{Region, TABLE};

type Item = BTreeMap<String, AttributeValue>;

/// What the predecessor has done.
#[derive(Default)]
struct Predecessor {
    /// Its items, by the job.
    items: BTreeMap<i64, Item>,
    machines: BTreeSet<MachineId>,
    /// The runners of its machines, and the tasks that they have.
    runners: Vec<(RunnerRow, i64)>,
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

    /// Serves the job that has waited longest, which must be this one: an item, a machine, and its
    /// runner, which is registered for all repositories.
    async fn serve(&mut self, region: &Region, job: i64) {
        let tags = [("Name".to_owned(), "gitea-runner".to_owned())];
        let machine = region.ec2.add_foreign(tags.into()).expect("a machine");
        self.put(region, job, &machine.0, "running").await;
        let (runner, task) = {
            let (now, mut forge) = (Timestamp::now(), region.gitea.forge());
            let labels = ["linux".to_owned()];
            let runner = forge.register(now, &format!("ip-10-0-0-{job}"), &labels, false);
            let fetched = forge.fetch(now, &runner.uuid, &runner.token, 0).expect("registered");
            (runner, fetched.task.expect("a job waits"))
        };
        assert_eq!(task.job_id, job, "the job was not taken by anybody else");
        self.machines.insert(machine);
        self.runners.push((runner, task.id));
    }

    /// Ends the jobs that run.
    fn end_jobs(&self, region: &Region) {
        let (now, mut forge) = (Timestamp::now(), region.gitea.forge());
        for (runner, task) in &self.runners {
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
}

/// Runs a command without the eight variables. It succeeds, and shows no secret.
fn command(region: &Region, args: &[&str], input: &str) {
    let eight = region.eight();
    let none: Vec<(&str, String)> = eight.iter().map(|(name, _)| (*name, String::new())).collect();
    let mut program = region.program(0, args, &none);
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().expect("it starts");
    let mut to = child.stdin.take().expect("a pipe");
    if !input.is_empty() {
        to.write_all(input.as_bytes()).expect("it reads its input");
    }
    drop(to);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{args:?}: {told}");
    region.assert_no_secret_in(&told);
}

/// Replaces the labels of the class, and lets the replica read its configuration again.
async fn serve_labels(region: &Region, before: &str, after: &str) {
    let file = region.configuration();
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let (before, after) = (format!("labels  = [{before}]"), format!("labels  = [{after}]"));
    assert_eq!(text.matches(&before).count(), 1, "{text}");
    std::fs::write(&file, text.replace(&before, &after)).expect("written");
    assert_eq!(region.post(0, "/v1/reload").await, 200);
}

/// Waits for four passes of the replica: polls and sweeps.
async fn four_passes(region: &Region) {
    let so_far = region.logged(0, "pass finished");
    region.until("its passes", 60, || region.logged(0, "pass finished") >= so_far + 4).await;
}

/// Writes the configuration, as the page says, and starts a replica beside the predecessor.
async fn install_beside(region: &mut Region) {
    let variables: BTreeMap<_, _> = region.eight().into_iter().collect();
    let function = json!({
        "FunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:ci",
        "Environment": { "Variables": variables },
    });
    let run =
        |args: &[&str], input: &str| tokio::task::block_in_place(|| command(region, args, input));
    run(&["init", "--from-lambda", "-"], &function.to_string());
    run(&["config", "check"], "");
    run(&["init", "--aws"], "");
    let mut more: Vec<(&str, String)> =
        region.eight().iter().map(|(name, _)| (*name, String::new())).collect();
    more.push(("TINQS_CI_FORGE__POLL_EVERY", "1s".to_owned()));
    more.push(("TINQS_CI_FORGE__SWEEP_EVERY", "3s".to_owned()));
    region.start_as(0, &["serve"], &more);
    four_passes(region).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_run_for_a_while_and_nothing_is_doubled() {
    let mut region = Region::new().await;
    let mut predecessor = Predecessor::default();
    region.predecessors_table().await;
    predecessor.put(&region, 100_017, "i-00000000000000017", "completed").await;
    let before = region.push(2, "true");
    for job in &before {
        predecessor.serve(&region, *job).await;
    }
    let launches = |region: &Region| region.ec2.ledger().count("RunInstances");

    // Beside it: jobs of the trial label get machines, the others are left to the predecessor.
    install_beside(&mut region).await;
    let during = region.push(2, "true");
    let trial = region.push_for("tinqs-ci-trial", 2, "true");
    region.all_done(&trial, 120).await;
    four_passes(&region).await;
    assert_eq!(launches(&region), trial.len(), "none for the jobs of the predecessor");
    for job in &during {
        predecessor.serve(&region, *job).await;
    }
    predecessor.assert_untouched(&region).await;

    // All jobs from now on, while the predecessor's still run.
    serve_labels(&region, "\"tinqs-ci-trial\"", "\"*\"").await;
    let after = region.push(3, "true");
    region.all_done(&after, 120).await;
    four_passes(&region).await;
    let ours = trial.len() + after.len();
    assert_eq!(launches(&region), ours, "one machine for each job");
    assert_eq!(region.ledger().len(), ours, "each job ran once");
    predecessor.end_jobs(&region);
    region.all_done(&[before, during].concat(), 30).await;
    let its = u64::try_from(predecessor.runners.len()).expect("few");
    region.all_gone(120, its).await;
    predecessor.assert_untouched(&region).await;
    let runners: BTreeSet<i64> = region.gitea.forge().runners().map(|row| row.id).collect();
    assert!(predecessor.runners.iter().all(|(row, _)| runners.contains(&row.id)));

    // Back: the predecessor serves again, with its items.
    serve_labels(&region, "\"*\"", "\"tinqs-ci-trial\"").await;
    let back = region.push(1, "true")[0];
    four_passes(&region).await;
    assert_eq!(launches(&region), ours, "none any more");
    predecessor.serve(&region, back).await;
    predecessor.end_jobs(&region);
    region.all_done(&[back], 30).await;
    predecessor.assert_untouched(&region).await;
    region.lawful();
    region.assert_no_secret_told();
}
