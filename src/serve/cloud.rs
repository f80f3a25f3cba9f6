//! The parts that are in AWS.

use std::sync::Arc;

use tinqs_ci_reconciler::ports::{Clock, Compute, Queue};

use super::Error;
use super::parts::{Kept, part};
use crate::aws::client;
use crate::aws::ec2::{self, Machines};
use crate::aws::events::Owners;
use crate::aws::pace::Rates;
use crate::aws::queue::{self, Sqs};
use crate::aws::store::DynamoStore;
use crate::settings::ComputeUrl;

/// Runs in a table of `DynamoDB`. It is completed first, where this process may; a missing one is
/// made.
pub(super) async fn dynamodb(
    table: &str,
    compute: &ComputeUrl,
    replica: &str,
) -> Result<Kept, Error> {
    let region = match compute {
        ComputeUrl::Ec2(region) => Some(region.as_str()),
        ComputeUrl::Process(_) => None,
    };
    let config = client::load(region).await.map_err(|error| part("store", &error))?;
    let store = DynamoStore::new(client::dynamodb(&config), table, replica);
    let done = store.ensure_table().await.map_err(|error| part("store", &error))?;
    for warning in &done.warnings {
        tracing::warn!("{warning}");
    }
    if done.made || !done.indexes.is_empty() || done.expires {
        let indexes = done.indexes.join(" ");
        tracing::info!(table, made = done.made, indexes, expires = done.expires, "table completed");
    }
    let store = Arc::new(store);
    Ok(Kept { runs: store.clone(), inbox: store, writable: None })
}

/// Machines in EC2, and who knows whose they are.
pub(super) async fn ec2(
    region: &str,
    installation: &str,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<dyn Compute>, Arc<dyn Owners>), Error> {
    let config = client::load(Some(region)).await.map_err(|error| part("compute", &error))?;
    let clients = ec2::Clients { launch: client::ec2_launch(&config), ask: client::ec2(&config) };
    let machines = Arc::new(Machines::new(clients, installation, clock.clone(), Rates::default()));
    Ok((machines.clone(), machines))
}

/// Wake-ups in SQS.
pub(super) async fn sqs(
    url: &str,
    compute: &ComputeUrl,
    owners: Option<Arc<dyn Owners>>,
) -> Result<Arc<dyn Queue>, Error> {
    let region = queue::region_of(url).or(match compute {
        ComputeUrl::Ec2(region) => Some(region.as_str()),
        ComputeUrl::Process(_) => None,
    });
    let config = client::load(region).await.map_err(|error| part("queue", &error))?;
    let clients =
        queue::Clients { receive: client::sqs_receive(&config), send: client::sqs(&config) };
    Ok(Arc::new(Sqs::new(clients, url, queue::Options::default(), owners)))
}
