//! From settings to parts: the one place that knows which adapters there are.

use std::ffi::OsString;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tinqs_ci_reconciler::ports::{Clock, Compute, Forge, PortError, Ports, Queue, RunStore};

use super::{Error, Parts, Writable, cloud};
use crate::embedded::process::{Options, Processes};
use crate::embedded::queue::MemoryQueue;
use crate::embedded::store::Store;
use crate::gitea::client::Client;
use crate::gitea::demand::chosen::Demanding;
use crate::gitea::demand::inbox::Inbox;
use crate::gitea::demand::pushes::Pushes;
use crate::gitea::demand::{Means, Refusal};
use crate::print;
use crate::settings::{ComputeUrl, QueueUrl, Settings, StoreUrl};

/// The computer's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Builds what the settings name. `environment` is this process's; machines get a chosen part.
///
/// # Errors
/// [`Error::Part`] where a part cannot be had, with what helps.
pub async fn parts_from(
    settings: Settings,
    replica: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Parts, Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let kept = kept(&settings, replica).await?;
    let mut machines = None;
    let (compute, owners): (Arc<dyn Compute>, _) = match &settings.compute {
        ComputeUrl::Process(dir) => {
            let found = Processes::new(dir, clock.clone(), Options::inherit(environment));
            let found = Arc::new(found.map_err(|error| part("compute", &error))?);
            machines = Some(found.clone());
            (found, None)
        }
        ComputeUrl::Ec2(region) => {
            let (compute, owners) = cloud::ec2(region, &settings.installation, &clock).await?;
            (compute, Some(owners))
        }
    };
    let queue: Arc<dyn Queue> = match &settings.queue {
        QueueUrl::Memory => Arc::new(MemoryQueue::new()),
        QueueUrl::Sqs(url) => cloud::sqs(url, &settings.compute, owners).await?,
    };
    let client = Arc::new(Client::new(&settings.forge).map_err(|error| part("forge", &error))?);
    let demand = Arc::new(Demanding::new(client, Means::of(&settings.forge)));
    choose_demand(&demand).await?;
    let forge: Arc<dyn Forge> = demand.clone();
    let Kept { runs, inbox, writable } = kept;
    let ports = Ports { clock, store: runs, queue, compute, forge };
    let watched = Parts::over(settings, ports, replica);
    let pushes = Pushes::new(demand, inbox, watched.controller.clone());
    let writable = writable.unwrap_or_else(|| watched.writable.clone());
    Ok(Parts { writable, pushes: Some(Arc::new(pushes)), machines, ..watched })
}

/// What is kept, each side of it by its own port.
pub(super) struct Kept {
    pub(super) runs: Arc<dyn RunStore>,
    pub(super) inbox: Arc<dyn Inbox>,
    /// The store's own probe; `None`: a write by the port's means tells.
    pub(super) writable: Option<Arc<dyn Writable>>,
}

async fn kept(settings: &Settings, replica: &str) -> Result<Kept, Error> {
    let file = match &settings.store {
        StoreUrl::Redb(dir) => Store::open(dir),
        StoreUrl::Memory => Store::memory(),
        StoreUrl::Dynamodb(table) => {
            return cloud::dynamodb(table, &settings.compute, replica).await;
        }
    };
    let file = Arc::new(file.map_err(|error| part("store", &error))?);
    let writable: Arc<dyn Writable> = Arc::new(Disk(file.clone()));
    Ok(Kept { runs: file.clone(), inbox: file, writable: Some(writable) })
}

/// A forge that is down is no reason not to start: webhooks are taken, and the loops try again.
async fn choose_demand(demand: &Demanding) -> Result<(), Error> {
    match demand.choose().await {
        Ok(Ok(choice)) => tracing::info!("{}", choice.why),
        Ok(Err(refusal @ Refusal::Forgejo { .. })) => {
            return Err(Error::Unsupported(refusal.to_string()));
        }
        Ok(Err(refusal)) => return Err(part("forge", &refusal)),
        Err(error) => {
            tracing::warn!(error = %error, "the forge does not answer yet; going on once it does");
            demand.assume();
        }
    }
    Ok(())
}

pub(super) fn part(part: &'static str, error: &dyn std::error::Error) -> Error {
    Error::Part { part, message: print::chain(error) }
}

/// The store's own probe: it sees a full disk before a webhook does.
struct Disk(Arc<Store>);

#[async_trait]
impl Writable for Disk {
    async fn check(&self) -> Result<(), PortError> {
        self.0.writable().await
    }
}
