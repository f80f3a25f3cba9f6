//! Builds the AWS adapters.

use std::sync::Arc;

use tinqs_ci_aws::client;
use tinqs_ci_aws::ec2::{self, Machines};
use tinqs_ci_aws::events::Owners;
use tinqs_ci_aws::pace::{Rate, Rates};
use tinqs_ci_aws::queue::{self, Sqs};
use tinqs_ci_aws::setup::{self, SetupError, SetupReport, SetupRequest};
use tinqs_ci_aws::store::{DynamoStore, Ensured, Progress};
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::ports::{Clock, Compute, Queue};

use super::{BackendError, Start, Stores, in_aws};
use crate::settings::{ComputeUrl, LaunchRate, Settings};

/// Builds the `DynamoDB` store. If the start is checked, creates the table if it is missing and
/// completes its indexes and expiry if permitted. What takes longer than seconds goes on in the
/// background: until then the store says what it waits for.
pub(super) async fn dynamodb(
    table: &str,
    compute: &ComputeUrl,
    replica: &str,
    start: Start,
) -> Result<Stores, BackendError> {
    let failed = |error: &dyn std::error::Error| BackendError::new("store", error);
    let config = client::load(region(compute)).await.map_err(|error| failed(&error))?;
    let store = Arc::new(DynamoStore::new(client::dynamodb(&config), table, replica));
    if start == Start::Checked {
        let done = store.open_table().await.map_err(|error| failed(&error))?;
        log_completed(table, &done);
        if let Some(index) = done.awaited {
            tracing::warn!(
                table,
                index,
                "an index is being created, not ready until it is there: DynamoDB takes minutes, \
                 and this process goes on by itself"
            );
            let store = store.clone();
            tokio::spawn(async move {
                let done = store.complete_table().await;
                log_completed(store.table(), &done);
                tracing::info!(table = store.table(), "the table is complete");
            });
        }
    }
    Ok(Stores::of(store))
}

fn log_completed(table: &str, done: &Ensured) {
    for warning in &done.warnings {
        tracing::warn!(table, warning, "the table may be incomplete");
    }
    if done.made || !done.indexes.is_empty() || done.expires {
        let indexes = done.indexes.join(" ");
        tracing::info!(table, made = done.made, indexes, expires = done.expires, "completed table");
    }
}

/// Builds the EC2 compute, and the lookup from an instance to its run. If the start is checked,
/// the launch templates of the classes are read meanwhile: a launch reads those that are missing.
pub(super) async fn ec2(
    region: &str,
    settings: &Settings,
    clock: &Arc<dyn Clock>,
    start: Start,
) -> Result<(Arc<dyn Compute>, Arc<dyn Owners>), BackendError> {
    check_user_data(settings)?;
    let config =
        client::load(Some(region)).await.map_err(|error| BackendError::new("compute", &error))?;
    let clients = ec2::Clients::of(&config);
    let rates = rates(settings.launches);
    let machines = Machines::new(clients, &settings.installation, clock.clone(), rates);
    let machines = Arc::new(machines);
    if start == Start::Checked {
        let (machines, classes) = (machines.clone(), settings.classes.clone());
        tokio::spawn(async move { machines.read_templates(&classes).await });
    }
    Ok((machines.clone(), machines))
}

/// Checks that each class's machines can be given what they need at boot.
fn check_user_data(settings: &Settings) -> Result<(), BackendError> {
    let Settings { installation, forge, classes, .. } = settings;
    let url = forge.machine_url.as_ref().unwrap_or(&forge.url);
    for class in classes {
        ec2::check_user_data(installation, class, url, forge.git_token.as_ref())
            .map_err(|error| BackendError::new("compute", &error))?;
    }
    Ok(())
}

/// Returns the rates of calls, with the configured one of launches.
fn rates(launches: LaunchRate) -> Rates {
    let usual = Rates::default();
    let launch = Rate {
        capacity: launches.burst.map_or(usual.launch.capacity, f64::from),
        per_second: launches.per_second.unwrap_or(usual.launch.per_second),
    };
    Rates { launch, ..usual }
}

/// Builds the SQS queue.
pub(super) async fn sqs(
    url: &str,
    compute: &ComputeUrl,
    owners: Option<Arc<dyn Owners>>,
) -> Result<Arc<dyn Queue>, BackendError> {
    let config = client::load(queue::region_of(url).or(region(compute)))
        .await
        .map_err(|error| BackendError::new("queue", &error))?;
    let clients =
        queue::Clients { receive: client::sqs_receive(&config), send: client::sqs(&config) };
    Ok(Arc::new(Sqs::new(clients, url, queue::Options::default(), owners)))
}

fn region(compute: &ComputeUrl) -> Option<&str> {
    match compute {
        ComputeUrl::Ec2(region) => Some(region),
        ComputeUrl::Process(_) => None,
    }
}

pub(super) async fn checks(settings: &Settings) -> Vec<Check> {
    Box::pin(tinqs_ci_aws::doctor::checks(&in_aws(settings))).await
}

pub(super) async fn set_up(
    settings: &Settings,
    queue_name: Option<String>,
    dry_run: bool,
    progress: Progress<'_>,
) -> (SetupReport, Result<(), SetupError>) {
    let mut report = SetupReport::default();
    let request = SetupRequest { queue_name, dry_run };
    let done = Box::pin(setup::run(&in_aws(settings), &request, progress, &mut report)).await;
    (report, done)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;
    use crate::settings::parse;

    #[test]
    fn user_data_that_ec2_refuses_is_refused_at_the_start() {
        let settings = |labels: &str| {
            let text = format!(
                "compute = \"ec2:eu-central-1\"\n[forge]\nurl = \"https://forge\"\n[[class]]\n\
                 name = \"linux\"\nlabels = [{labels}]\n[class.machines]\nimage = \"ami-1\"\n\
                 kinds = [\"c7a.medium\"]\nsubnets = [\"subnet-a\"]\n"
            );
            parse(&text, Some(Path::new("ci.toml")), &BTreeMap::new()).expect("valid").settings
        };
        assert!(check_user_data(&settings("\"linux\"")).is_ok());
        let many: Vec<String> = (0..500).map(|n| format!("\"label-number-{n}\"")).collect();
        let error = check_user_data(&settings(&many.join(", "))).expect_err("too large");
        let error = error.to_string();
        for told in ["the script itself ", ", identity with its labels ", "EC2 accepts 16384"] {
            assert!(error.contains(told), "{error}");
        }
        assert!(error.contains("[class.runner] of class linux"), "{error}");
    }

    #[test]
    fn launches_have_the_configured_rate_and_other_calls_their_own() {
        let usual = Rates::default();
        assert_eq!(rates(LaunchRate::default()), usual);
        let rates = rates(LaunchRate { per_second: Some(9.5), burst: Some(30) });
        assert_eq!(rates.launch, Rate { capacity: 30.0, per_second: 9.5 });
        assert_eq!((rates.terminate, rates.describe), (usual.terminate, usual.describe));
    }
}
