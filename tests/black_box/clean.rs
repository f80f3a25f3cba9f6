//! Checks after the faults: every job is done once and nothing is left.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tinqs_ci_local::store::Store;
use tinqs_ci_reconciler::model::{Conclusion, decode, encode};
use tinqs_ci_reconciler::ports::{Expect, Filter, RunStore as _};
use tinqs_ci_simulator::forge::{Line, Status};

use tinqs_ci_test_host::{Host, Options};

/// Returns options with which only an injected fault can cost an attempt: long times, and a forge
/// that always assigns (before 1.27 an idle runner may stay next to a waiting job).
pub(crate) fn patient() -> Options {
    Options { line: Line::V1_27, class: PATIENT, ..Options::default() }
}

/// A class whose finished records expire soon, so that tests see it.
const PATIENT: &str = "labels = [\"linux\"]\nlimit = 16\nboot_within = \"5m\"\n\
    idle_within = \"2m\"\nassign_within = \"30s\"\nkeep = \"15s\"";

/// Reads a number from the environment, for longer runs and other seeds.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: {text:?} is not a number")))
}

/// Returns the seed, and prints it so that a test can be repeated.
pub(crate) fn seed() -> u64 {
    let seed = number("TINQS_CI_SEED").unwrap_or(1);
    println!("TINQS_CI_SEED={seed}");
    seed
}

/// Waits until all jobs of [`Host::push_told`] are done and no process, registration, seat, record
/// or directory is left. Asserts that each job succeeded and ran once, on its own machine. Returns
/// the number of machines.
pub(crate) async fn all_done_and_nothing_left(
    host: &mut Host,
    jobs: &[i64],
    seconds: u64,
) -> usize {
    host.all_done(jobs, seconds).await;
    let lost: Vec<_> = jobs
        .iter()
        .map(|job| (job, host.status(*job)))
        .filter(|(_, status)| *status != Status::Done(Conclusion::Success))
        .collect();
    assert!(lost.is_empty(), "jobs that did not succeed: {lost:?}");

    let ledger = host.ledger();
    let workers: BTreeSet<&String> = ledger.iter().collect();
    assert_eq!(ledger.len(), jobs.len(), "each job runs once: {ledger:?}");
    assert_eq!(workers.len(), jobs.len(), "each on its own machine: {ledger:?}");

    host.rests(seconds).await;
    let machines = host.machines_ever();
    assert!(workers.iter().all(|worker| machines.contains(*worker)), "{workers:?} {machines:?}");

    host.until("every machine's end is recorded", seconds, async |host| {
        machines.iter().all(|machine| host.machine(machine).join("ended").exists())
    })
    .await;
    half_an_hour_passes(host).await;
    host.settles(seconds).await;
    host.until("all seats are free", seconds, async |host| {
        let classes = host.get("/v1/classes").await;
        items(&classes).iter().all(|class| class["seats"] == 0)
    })
    .await;
    host.until("all records are gone", seconds, async |host| {
        items(&host.get("/v1/runs?limit=500").await).is_empty()
    })
    .await;
    host.until("all directories are gone", seconds, async |host| host.left().is_empty()).await;
    host.assert_no_secret_told();
    machines.len()
}

fn items(list: &Value) -> Vec<Value> {
    list["items"].as_array().cloned().unwrap_or_else(|| panic!("no list: {list}"))
}

/// Makes long waits due: kills the controller, makes every time in its records and machine
/// directories half an hour older, and starts it again. (A launch interrupted by a kill may still
/// land, so its resources are kept for 22 minutes; an ended machine stays listed for 30.)
async fn half_an_hour_passes(host: &mut Host) {
    host.kill();
    let store = Store::open(&host.dir.path().join("data")).expect("the store of a killed process");
    let (mut runs, mut after) = (Vec::new(), None::<String>);
    loop {
        let filter = Filter { limit: 500, ..Filter::default() };
        let page = store.page(&filter, after.as_deref()).await.expect("a page of runs");
        runs.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    for run in runs {
        let mut record: Value = serde_json::from_slice(&encode(&run)).expect("a record is JSON");
        age(&mut record["status"]);
        let older = decode(record.to_string().as_bytes()).expect("it is still a record");
        store.put(&older, Expect::At(run.uid, run.version)).await.expect("it is written");
    }
    drop(store);
    for machine in host.directories() {
        let dir = host.machine(&machine);
        for file in ["machine.json", "ended"] {
            let path = dir.join(file);
            let Ok(text) = fs::read(&path) else { continue };
            let mut told: Value = serde_json::from_slice(&text).expect("it is JSON");
            age(&mut told);
            fs::write(&path, told.to_string()).expect("it can be changed");
        }
        // A launch that was killed before it wrote anything has only its directory's time.
        let then = SystemTime::now() - Duration::from_mins(31);
        fs::File::open(&dir).and_then(|dir| dir.set_modified(then)).expect("a directory of ours");
    }
    host.start().await;
}

/// Makes every time in a value 31 minutes older.
fn age(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Ok(at) = text.parse::<Timestamp>() {
                *text = (at - SignedDuration::from_mins(31)).to_string();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(age),
        Value::Object(fields) => fields.values_mut().for_each(age),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
