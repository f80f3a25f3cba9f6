//! The real binary on AWS's wires: runs in `DynamoDB`, EC2 machines that run the real boot script
//! as processes, and a forge on loopback.
//!
//! `TINQS_CI_KILLS` and `TINQS_CI_JOBS` set the size, `TINQS_CI_SEED` the seed.

mod lost_table;
mod machines;
mod predecessor;
#[allow(dead_code, reason = "the suite of the roles uses the rest")]
mod region;
#[allow(dead_code, reason = "the store's own suite uses the rest")]
#[path = "../wire/mod.rs"]
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{MachineState, Market};
use tinqs_ci_simulator::aws_wire::{Kind, Rule, When};
use tinqs_ci_simulator::ec2_wire::Ec2Options;
use tinqs_ci_simulator::faults::Rng;

use region::{Region, number};

/// A class with a short `assign_within`, so that a displaced job soon gets its own machine.
const CLASS: &str = "labels = [\"linux\"]\nlimit = 50\nassign_within = \"20s\"\nidle_within = \"30s\"\n\
    [class.machines]\nmarkets = [\"spot\"]\nkinds = [\"t3.small\", \"t3a.small\"]\n\
    subnets = [\"subnet-a\", \"subnet-b\"]\nimage = \"ami-0123\"\nsecurity_groups = [\"sg-1\"]\n\
    instance_profile = \"tinqs-ci-runner\"\n";

/// Sets only the predecessor's eight variables and the addresses of the wires, and starts `serve`.
#[tokio::test(flavor = "multi_thread")]
async fn the_predecessors_eight_variables_are_enough() {
    let mut region = Region::new().await;
    region.predecessors_table().await;
    region.start(0);
    let jobs = region.push(3, "echo \"$PPID\"");
    let host = region.push_on_host();
    region.all_done(&jobs, 120).await;
    region.all_gone(120, 0).await;
    let launches = region.ec2.ledger();
    assert_eq!(launches.count("RunInstances"), 3, "one call per job");
    for entry in launches.of("RunInstances") {
        assert_eq!(entry.status, 200, "{entry:?}");
    }
    for machine in region.ec2.machines() {
        let recipe = &machine.recipe;
        assert_eq!(recipe.kind, "t3.small");
        assert_eq!(recipe.image, "ami-0123");
        assert_eq!(recipe.subnet, "subnet-a");
        assert_eq!(recipe.market, Market::Spot, "like the predecessor's machines");
        assert_eq!(recipe.credits, "", "AWS decides: nothing is asked for");
        assert_eq!(machine.reason, "Client.InstanceInitiatedShutdown", "each powered itself off");
    }
    assert!(!region.is_done(host), "`host` gets no machine");
    region.lawful();
    let runs = region.statuses(&jobs).await;
    assert_eq!(
        runs.values().map(String::as_str).collect::<BTreeSet<_>>(),
        BTreeSet::from(["completed"])
    );
    region.assert_no_secret_told();
}

/// The predecessor's table has many items, so that its indexes take a while. The server lives, says
/// what it waits for, and goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_does_not_wait_for_the_indexes_of_the_table() {
    let mut region = Region::new().await;
    region.predecessors_table().await;
    region.dynamodb.indexes_take(Duration::from_secs(14));
    region.configure(CLASS);
    region.start(0);
    let jobs = region.push(1, "true");
    region.answers(0, "/healthz", "ok").await;
    let ready =
        region.answers(0, "/readyz", "an index of the store's table is being created").await;
    assert!(ready.contains("\"ready\":false") && ready.contains("by itself"), "{ready}");
    let says = [
        "StoreFailing",
        "index `open` of table predecessor is being created, for 0 min so far",
        "wait: DynamoDB takes minutes over many items, and this server goes on by itself",
    ];
    region.says(&["status"], &says).await;
    assert_eq!(region.logged(0, "an index is being created, not ready until it is there"), 1);
    assert_eq!(region.ec2.ledger().count("RunInstances"), 0);
    region.answers(0, "/readyz", "\"ready\":true").await;
    let complete = || region.logged(0, "the table is complete") == 1;
    region.until("the log says it", 10, complete).await;
    region.all_done(&jobs, 120).await;
    region.all_gone(120, 0).await;
    assert_eq!(region.ec2.machines().len(), 1);
    assert!(!region.printed(&["status"]).contains("StoreFailing"));
    region.lawful();
    region.assert_no_secret_told();
}

/// A second class, whose image does not exist.
const BAD_CLASS: &str = "[[class]]\nname = \"bad\"\nlabels = [\"bad\"]\n[class.machines]\n\
    markets = [\"spot\"]\nkinds = [\"t3.small\"]\nsubnets = [\"subnet-a\", \"subnet-b\"]\n\
    image = \"ami-9999\"\nsecurity_groups = [\"sg-1\"]\ninstance_profile = \"tinqs-ci-runner\"\n";

/// Fifty jobs wait for a class with a wrong image: one launch is tried, not fifty; each run says
/// why it waits; and the other class is served as usual.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_image_is_tried_once_and_stops_only_its_class() {
    let mut region = Region::new().await;
    region.predecessors_table().await;
    region.configure(&format!("{CLASS}{BAD_CLASS}"));
    let bad = region.push_for("bad", 50, "true");
    region.start(0);
    let good = region.push(5, "true");
    region.all_done(&good, 120).await;
    for job in &bad {
        let path = format!("/v1/runs/job-{job}");
        let run = region.answers(0, &path, "BreakerOpen").await;
        assert!(run.contains("check the class's `image`"), "{run}");
    }
    let launches = region.ec2.ledger();
    let refused = launches.of("RunInstances").filter(|entry| entry.status == 400).count();
    assert!((1..=2).contains(&refused), "{refused} launches tried for 50 jobs");
    assert_eq!(launches.count("RunInstances"), refused + good.len());
    let metrics = region.answers(0, "/metrics", "tinqs_ci_breaker_opened_timestamp_seconds").await;
    let since = |class: &str| {
        let labels = format!("cause=\"refused\",class=\"{class}\"");
        let series = format!("tinqs_ci_breaker_opened_timestamp_seconds{{{labels}}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
        line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("{metrics}"))
    };
    assert!(since("bad") > 0.0);
    assert!(since("linux").abs() < f64::EPSILON, "the other class's breaker is closed");
    assert_eq!(region.logged(0, "breaker opened"), 1, "logged once");
    let waiting = bad.iter().filter(|job| !region.is_done(**job)).count();
    assert_eq!(waiting, 50);
    region.lawful();
    region.assert_no_secret_told();
}

/// A machine is lost while its job still waits, and only the event causes the next launch. The
/// replica that receives it was started after the launch, holds no lease (so it neither polls nor
/// sweeps) and caches no due time: without the event it never reconciles.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_machine_is_replaced_by_its_event_alone() {
    // Machines boot for longer than the test runs, so the job keeps waiting.
    let slow = |options: &mut Ec2Options| options.boots_in = SignedDuration::from_hours(8);
    let mut region = Region::with(slow).await;
    region.predecessors_table().await;
    region.configure_with_queue(CLASS);
    let job = region.push(1, "true")[0];
    region.start(0);
    let run = format!("/v1/runs/job-{job}");
    region.answers(0, &run, "\"answered\":{").await;
    region.kill(0);
    region.start(1);
    region.until("its poll and its sweep", 60, || region.logged(1, "pass finished") >= 2).await;
    let with_the_lease = |replica| region.logged(replica, "\"leader\":true");
    assert!(with_the_lease(0) > 0, "the first replica held the lease");
    let first = region.ec2.machines().remove(0);
    // It lists for what it shows, which wakes nothing. EC2 may still hide the machine from this list.
    let lists = || {
        let ledger = region.ec2.ledger();
        ledger.of("DescribeInstances").filter(|entry| entry.caller == "AKIDREPLICA1").count()
    };
    region.until("its list of machines", 30, || lists() == 1).await;
    assert_eq!(region.ec2.ledger().count("RunInstances"), 1);
    let lost_at = Timestamp::now();
    region.ec2.interrupt_unwarned(&first.id);
    region.until("the next machine", 30, || region.ec2.machines().len() == 2).await;
    let ledger = region.ec2.ledger();
    let launches: Vec<_> = ledger.of("RunInstances").collect();
    assert_eq!(launches.len(), 2, "{launches:?}");
    assert_eq!(launches[1].caller, "AKIDREPLICA1");
    let machines = region.ec2.machines();
    assert_eq!(machines[0].reason, "Server.SpotInstanceTermination");
    let place = |n: usize| (&machines[n].recipe.kind, &machines[n].recipe.subnet);
    assert_ne!(place(0), place(1), "the replacement uses another offering");
    println!("launched {:#} after the machine was lost", launches[1].at.duration_since(lost_at));
    assert_eq!(with_the_lease(1), 0, "the second replica neither polled nor swept");
    region.lawful();
    region.assert_no_secret_told();
}

/// The cloud announces that it takes a machine back. The machine ends its job, so that the forge knows
/// within seconds, and the run tells why it failed.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_reported_before_the_cloud_takes_its_machine() {
    // 28 s: a machine's clock is not faster.
    let notice = |options: &mut Ec2Options| options.warning = SignedDuration::from_secs(28 * 8);
    let mut region = Region::with(notice).await;
    region.predecessors_table().await;
    region.configure(CLASS);
    let job = region.push(1, "sleep 600")[0];
    region.start(0);
    region.until("the job runs", 60, || region.ledger().len() == 1).await;
    let run = format!("/v1/runs/job-{job}");
    region.answers(0, &run, "\"phase\":\"Running\"").await;
    region.ec2.interrupt(&region.ec2.machines()[0].id);
    region.until("the forge knows", 25, || region.is_done(job)).await;
    assert_eq!(region.ec2.machines()[0].state, MachineState::Up, "the cloud takes it later");
    region.answers(0, &run, "\"outcome\":\"MachineLost\"").await;
    let machine = region.ec2.machines().remove(0);
    assert_eq!(machine.reason, "Server.SpotInstanceTermination");
    let said = "the job is ended now, so that the runner can report it";
    assert!(machine.console.contains(said), "{}", machine.console);
    assert_eq!(region.ec2.machines().len(), 1, "the job is not repeated");
    let (name, lost) = (format!("job-{job}"), "the machine of the job was lost while it ran");
    region.says(&["describe", &name], &[&machine.id.0, lost]).await;
    region.says(&["why", &name], &[&machine.id.0, lost, "re-run the job at the forge"]).await;
    region.says(&["logs", &name], &[said]).await;
    region.lawful();
    region.assert_no_secret_told();
}

/// A machine of a T kind without CPU credits boots and works at its baseline, a fifth of its CPU.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_ends_on_a_machine_without_cpu_credits() {
    let mut region = Region::with(|options| options.spends_credits = true).await;
    region.predecessors_table().await;
    region.configure(&format!("{CLASS}cpu_credits = \"standard\"\n"));
    // It lasts for several of the wire's periods of half a second, on a busy host too.
    let jobs = region.push(1, "sleep 3");
    region.start(0);
    region.all_done(&jobs, 240).await;
    region.all_gone(120, 0).await;
    let machines = region.ec2.machines();
    let [machine] = &machines[..] else { panic!("one machine: {machines:?}") };
    assert_eq!(machine.recipe.kind, "t3.small");
    assert_eq!(machine.recipe.credits, "standard");
    assert!(machine.stops > 0, "it is slowed down");
    assert_eq!(machine.reason, "Client.InstanceInitiatedShutdown");
    region.lawful();
    region.assert_no_secret_told();
}

/// Kills one of two replicas again and again, while AWS loses replies, is slow and throttles: every
/// job is done, each by a machine of its own.
#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_are_killed_in_turn_while_aws_fails() {
    let seed = number("TINQS_CI_SEED").unwrap_or(1);
    let kills = number("TINQS_CI_KILLS").unwrap_or(20);
    let total = usize::try_from(number("TINQS_CI_JOBS").unwrap_or(80)).expect("a number of jobs");
    println!("TINQS_CI_SEED={seed}");
    let mut rng = Rng::new(seed);
    let mut region = Region::new().await;
    region.predecessors_table().await;
    let strangers = region.add_strangers();
    set_faults(&region, true);
    region.configure(CLASS);
    region.start(0);
    region.start(1);
    let mut jobs = Vec::new();
    let step = total.div_ceil(usize::try_from(kills.max(1)).expect("small"));
    for _ in 0..kills {
        let more = step.min(total - jobs.len());
        jobs.extend(region.push(more, &format!("sleep 0.{}", 1 + rng.below(9))));
        tokio::time::sleep(Duration::from_millis(500 + rng.below(2_500))).await;
        let victim = usize::from(rng.below(2) == 1);
        region.kill(victim);
        region.start(victim);
    }
    jobs.extend(region.push(total - jobs.len(), "true"));
    region.all_done(&jobs, 600).await;
    let struck = region.struck();
    set_faults(&region, false);
    // A kill between a registration and its record leaves a registration that is retired half an
    // hour later, which `tests/black_box` covers.
    region.all_gone(120, kills).await;

    let machines = region.ec2.machines();
    let ours: Vec<_> = machines.iter().filter(|m| !strangers.contains(&m.id)).collect();
    let tokens: BTreeMap<&str, usize> = ours.iter().fold(BTreeMap::new(), |mut tokens, machine| {
        *tokens.entry(machine.recipe.token.as_str()).or_default() += 1;
        tokens
    });
    let doubled: Vec<_> = tokens.iter().filter(|(_, machines)| **machines > 1).collect();
    assert!(doubled.is_empty(), "one machine per client token: {doubled:?}");
    assert_eq!(ours.len(), jobs.len(), "exactly one machine per job");
    let ledger = region.ledger();
    assert_eq!(ledger.len(), jobs.len(), "each job ran once");
    for stranger in &machines {
        let untouched = stranger.state == MachineState::Up;
        assert!(
            untouched || !strangers.contains(&stranger.id),
            "a foreign machine was terminated: {stranger:?}"
        );
    }
    println!("{kills} kills, {} jobs, {} machines, {struck} faults", jobs.len(), ours.len());
    assert!(struck > kills / 2, "only {struck} faults occurred");
    region.lawful();
    region.assert_no_secret_told();
}

/// Sets or clears the faults of EC2.
fn set_faults(region: &Region, bad: bool) {
    region.ec2.faults(|rules| {
        rules.clear();
        if !bad {
            return;
        }
        let mut add = |op: &str, rate: f64, kind: Kind| {
            rules.add(Rule::new("ec2", op, When::Rate(rate), kind));
        };
        add("RunInstances", 0.10, Kind::DropAfter);
        add("RunInstances", 0.05, Kind::DropBefore);
        add("RunInstances", 0.05, Kind::Error { code: "InternalError".to_owned(), status: 500 });
        add("RunInstances", 0.05, Kind::Throttle);
        add("DescribeInstances", 0.05, Kind::ResetMidBody);
        add("DescribeInstances", 0.05, Kind::Omit);
        add("DescribeInstances", 0.05, Kind::Delay(Duration::from_millis(700)));
        add("TerminateInstances", 0.10, Kind::DropAfter);
    });
}
