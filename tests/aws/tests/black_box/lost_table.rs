//! The table is lost while jobs run and wait: `rebuild`, or a backup that is restored into another
//! table.

use std::fs;
use std::time::Duration;

use tinqs_ci_reconciler::model::MachineState;
use tinqs_ci_test_host::until_exists;

use super::region::{Region, TABLE};

/// A class with fewer machines than jobs.
const CLASS: &str = "labels = [\"linux\"]\nlimit = 4\nassign_within = \"20s\"\n\
    idle_within = \"30s\"\n[class.machines]\nmarkets = [\"on-demand\"]\nkinds = [\"t3.small\"]\n\
    subnets = [\"subnet-a\"]\nimage = \"ami-0123\"\nsecurity_groups = [\"sg-1\"]\n";
const LIMIT: usize = 4;
const JOBS: usize = 8;
/// The table into which the backup is restored.
const RESTORED: &str = "restored";

/// Runs a command without a server. Asserts its exit code, and that it prints these texts.
#[track_caller]
fn says(region: &Region, args: &[&str], code: i32, texts: &[&str]) {
    let (ended, told) = region.run(args);
    assert_eq!(ended, Some(code), "{args:?}: {told}");
    for text in texts {
        assert!(told.contains(text), "{args:?} does not print {text:?}, but: {told}");
    }
    region.assert_no_secret_in(&told);
}

/// Waits until so many machines were launched, and as many jobs have started on them.
async fn all_busy(region: &Region, machines: usize) {
    let is_so = || region.ec2.machines().len() == machines && region.ledger().len() == machines;
    region.until(&format!("{machines} machines with jobs"), 120, is_so).await;
}

/// Lets the jobs end. Asserts that each ran once, on a machine of its own.
async fn ends_well(region: &Region, jobs: &[i64]) {
    fs::write(region.file("go"), "").expect("the jobs go on");
    region.all_done(jobs, 180).await;
    region.all_gone(120, 0).await;
    assert_eq!(region.ledger().len(), jobs.len(), "each job ran once");
    assert_eq!(region.ec2.machines().len(), jobs.len(), "no machine is doubled");
    region.lawful();
    region.assert_no_secret_told();
}

/// All items of the table are lost mid-burst. They are made again from the tags of machines, the
/// registrations and the waiting jobs, so that the class is full and nothing is launched.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_table_is_rebuilt_and_nothing_is_lost_or_doubled() {
    let mut region = Region::new().await;
    region.predecessors_table().await;
    region.configure_on("missing", CLASS);
    let hint = "a missing table is created by `tinqs-ci init --aws`, and with --yes";
    says(&region, &["rebuild"], 1, &[hint]);
    region.configure(CLASS);
    let jobs = region.push(JOBS, &until_exists(&region.file("go")));
    region.start(0);
    let is_mid_burst = || region.ec2.machines().len() == LIMIT && !region.ledger().is_empty();
    region.until("a full class, and a job that runs", 60, is_mid_burst).await;
    region.stop(0).await;

    let holds_runs = ["the store holds runs", "only an empty store can be rebuilt"];
    says(&region, &["rebuild"], 1, &holds_runs);
    let leased = "a server works with this store, or did so until a minute ago";
    says(&region, &["rebuild", "--yes"], 1, &[leased, "try again after 90 seconds"]);

    region.empty_table(TABLE).await;
    says(&region, &["rebuild"], 0, &["would write runs: ", "seats: 4", "nothing was written"]);
    assert!(region.keys_of(TABLE).await.is_empty(), "nothing was written");
    says(&region, &["rebuild", "--yes"], 0, &["wrote runs: ", "seats: 4"]);

    region.start(0);
    all_busy(&region, LIMIT).await;
    region.four_passes().await;
    assert_eq!(region.ec2.machines().len(), LIMIT, "the class is full");
    ends_well(&region, &jobs).await;
}

/// A backup is made while the class is full. Two machines are launched after it: the restored table
/// does not know them, so they count for no limit, but no job gets a second machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_restored_into_another_table() {
    let mut region = Region::new().await;
    region.predecessors_table().await;
    region.configure(CLASS);
    let first = region.push(2, &until_exists(&region.file("first")));
    let others = region.push(JOBS - first.len(), &until_exists(&region.file("go")));
    region.start(0);
    all_busy(&region, LIMIT).await;
    let (code, told) = region.ask(&["backup", "backup.ndjson"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("wrote 8 runs and "), "{told}");
    fs::write(region.file("first"), "").expect("two jobs go on");
    region.all_done(&first, 60).await;
    let unknown = first.len();
    all_busy(&region, LIMIT + unknown).await;
    region.stop(0).await;

    region.configure_on(RESTORED, CLASS);
    says(&region, &["restore", "backup.ndjson"], 0, &["restored 8 runs and "]);
    // The lease of the first one ends a second after it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let refusal = "the store is not empty: a backup is restored into an empty one only";
    says(&region, &["restore", "backup.ndjson"], 1, &[refusal]);

    region.start(0);
    all_busy(&region, JOBS).await;
    let machines = region.ec2.machines();
    let live = machines.iter().filter(|machine| machine.state != MachineState::Gone).count();
    assert_eq!(live, LIMIT + unknown, "more than the limit by those that are in no record");
    ends_well(&region, &[first, others].concat()).await;
}
