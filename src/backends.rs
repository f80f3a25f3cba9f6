//! Builds the ports from the settings. Only this file names every adapter.

use std::ffi::OsString;
use std::sync::Arc;

use tinqs_ci_aws::setup::{SetupError, SetupReport};
use tinqs_ci_gitea::client::{Access, Client};
use tinqs_ci_gitea::demand::by_mode::DemandSource;
use tinqs_ci_gitea::demand::{DemandConfig, Refusal};
use tinqs_ci_gitea::{Config, RegisterIn};
use tinqs_ci_local::SystemClock;
use tinqs_ci_local::process::{Options, Processes};
use tinqs_ci_local::queue::MemoryQueue;
use tinqs_ci_local::store::Store;
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::ports::{
    Archive, Clock, Compute, Inbox, MachineEnds, Ports, Queue, RunStore,
};
use tinqs_ci_reconciler::text::chain;

use crate::settings::{ComputeUrl, ProcessUser, QueueUrl, Settings, StoreUrl};

#[cfg(feature = "aws")]
mod aws;
#[cfg(not(feature = "aws"))]
mod no_aws;
#[cfg(not(feature = "aws"))]
use no_aws as aws;

/// The adapters that the settings name.
pub struct Backends {
    /// The ports of the controller.
    pub ports: Ports,
    /// Stores webhook deliveries until they are evaluated.
    pub inbox: Arc<dyn Inbox>,
    /// Reads everything that the store keeps.
    pub archive: Arc<dyn Archive>,
    /// The forge, and how its demand is found.
    pub demand: Arc<DemandSource>,
    /// Reports ended machines of this host; `None` if machines run elsewhere.
    pub ends: Option<Arc<dyn MachineEnds>>,
}

/// A store, by its ports.
pub struct Stores {
    /// Runs, seats, pauses, leases and usage.
    pub runs: Arc<dyn RunStore>,
    /// Webhook deliveries that are not evaluated yet.
    pub inbox: Arc<dyn Inbox>,
    /// Everything.
    pub archive: Arc<dyn Archive>,
}

impl Stores {
    fn of<S: RunStore + Inbox + Archive + 'static>(store: Arc<S>) -> Self {
        Self { runs: store.clone(), inbox: store.clone(), archive: store }
    }
}

/// An adapter could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// A part is unusable.
    #[error("cannot use the {part}: {message}")]
    Part {
        /// `store`, `queue`, `compute`, `forge` or `Lambda runtime`.
        part: &'static str,
        /// The cause and the remedy.
        message: String,
    },
    /// The forge is not supported.
    #[error("{message}")]
    Unsupported {
        /// The forge found.
        message: String,
        /// The remedy.
        hint: &'static str,
    },
}

impl BackendError {
    pub(crate) fn new(part: &'static str, error: &dyn std::error::Error) -> Self {
        Self::Part { part, message: chain(error) }
    }
}

/// The calls that building the adapters makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The table is completed, and the forge is asked how demand is found.
    Checked,
    /// The forge is asked how demand is found. A table is used as it is, for a command that changes
    /// nothing.
    ReadOnly,
    /// Nothing is asked, for a process that has the right to nothing of that. The mode of demand is
    /// the configured one; with `auto` none is decided.
    Unasked,
}

/// Builds the adapters that the settings name. `environment` is that of this process; child
/// processes inherit selected variables of it.
///
/// # Errors
/// An adapter cannot be built; the error says what to do.
pub async fn backends(
    settings: &Settings,
    replica: &str,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    start: Start,
) -> Result<Backends, BackendError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let Stores { runs: store, inbox, archive } = stores(settings, replica, start).await?;
    let mut ends: Option<Arc<dyn MachineEnds>> = None;
    let (compute, owners): (Arc<dyn Compute>, _) = match &settings.compute {
        ComputeUrl::Process(dir) => {
            let ProcessUser { user, directory, .. } = settings.process.clone();
            let options = Options::inherit(environment);
            let options = Options { user, user_directory: directory, ..options };
            let processes = Processes::new(dir, clock.clone(), options);
            let processes =
                Arc::new(processes.map_err(|error| BackendError::new("compute", &error))?);
            ends = Some(processes.clone());
            (processes, None)
        }
        ComputeUrl::Ec2(region) => {
            let (compute, owners) = aws::ec2(region, settings, &clock, start).await?;
            (compute, Some(owners))
        }
    };
    let queue: Arc<dyn Queue> = match &settings.queue {
        QueueUrl::Memory => Arc::new(MemoryQueue::new()),
        QueueUrl::Sqs(url) => aws::sqs(url, &settings.compute, owners).await?,
    };
    let client = Client::new(&settings.forge, clock.clone())
        .map_err(|error| BackendError::new("forge", &error))?;
    let demand = Arc::new(DemandSource::new(Arc::new(client), DemandConfig::of(&settings.forge)));
    match start {
        Start::Checked | Start::ReadOnly => choose_demand(&demand).await?,
        Start::Unasked => demand.assume(),
    }
    let ports = Ports { clock, store, queue, compute, forge: demand.clone() };
    Ok(Backends { ports, inbox, archive, demand, ends })
}

/// Builds the store that the settings name. `replica` names this process.
///
/// # Errors
/// The store cannot be opened; the error says what to do.
pub async fn stores(
    settings: &Settings,
    replica: &str,
    start: Start,
) -> Result<Stores, BackendError> {
    let file = match &settings.store {
        StoreUrl::Redb(dir) => Store::open(dir),
        StoreUrl::Memory => Store::memory(),
        StoreUrl::Dynamodb(table) => {
            return aws::dynamodb(table, &settings.compute, replica, start).await;
        }
    };
    Ok(Stores::of(Arc::new(file.map_err(|error| BackendError::new("store", &error))?)))
}

/// Decides how demand is found. An unreachable forge does not prevent the start: webhooks are
/// accepted, and the loops retry.
async fn choose_demand(demand: &DemandSource) -> Result<(), BackendError> {
    match demand.choose().await {
        Ok(Ok(choice)) => tracing::info!(why = choice.why, "chose how demand is found"),
        Ok(Err(refusal @ Refusal::Forgejo { .. })) => {
            let (message, hint) = (refusal.to_string(), Refusal::OTHER_SERVER);
            return Err(BackendError::Unsupported { message, hint });
        }
        // A new token in its file, or one that is valid again, must not need a restart.
        Ok(Err(refusal @ Refusal::Rejected(_))) => {
            tracing::error!(error = %refusal, "the forge does not accept the token, will retry");
            demand.assume();
        }
        Ok(Err(refusal @ Refusal::NoScope(_))) => {
            let (message, hint) = (refusal.to_string(), Refusal::OTHER_SCOPE);
            return Err(BackendError::Unsupported { message, hint });
        }
        Ok(Err(refusal)) => return Err(BackendError::new("forge", &refusal)),
        Err(error) => {
            tracing::warn!(error = %error, "cannot reach the forge, will retry");
            demand.assume();
        }
    }
    Ok(())
}

/// Checks that the token may register runners, and warns if any repository can take them. If the
/// forge cannot be asked, or does not accept the token for now, the loops retry.
///
/// # Errors
/// The token lacks the right; the error names it, and the alternative.
pub async fn check_registration(forge: &Config, client: &Client) -> Result<(), BackendError> {
    if forge.register_in == RegisterIn::Scope {
        tracing::warn!(
            "runners register in `forge.scope`: any repository in scope can take these machines",
        );
    }
    match client.registration_access().await {
        Ok(Access::Denied(why)) => {
            let message = format!("cannot register runners: {why}");
            let hint = "give forge.token that right, or set forge.register_in to \"scope\", with \
                        which any repository in scope can take every machine";
            Err(BackendError::Unsupported { message, hint })
        }
        Ok(_) => Ok(()),
        Err(error) => {
            tracing::warn!(error = %error, "cannot check whether runners can be registered");
            Ok(())
        }
    }
}

/// The part of the settings that concerns AWS.
#[cfg(feature = "aws")]
fn in_aws(settings: &Settings) -> tinqs_ci_aws::Config {
    tinqs_ci_aws::Config {
        installation: settings.installation.clone(),
        table: match &settings.store {
            StoreUrl::Dynamodb(table) => Some(table.clone()),
            StoreUrl::Redb(_) | StoreUrl::Memory => None,
        },
        queue: match &settings.queue {
            QueueUrl::Sqs(url) => Some(url.clone()),
            QueueUrl::Memory => None,
        },
        region: match &settings.compute {
            ComputeUrl::Ec2(region) => Some(region.clone()),
            ComputeUrl::Process(_) => None,
        },
        classes: settings.classes.clone(),
    }
}

/// Checks the AWS resources that the settings name. Returns no checks if they name none.
pub async fn check_aws(settings: &Settings) -> Vec<Check> {
    aws::checks(settings).await
}

/// Creates the missing AWS table and queue that the settings name, and with `queue_name` a queue
/// that they do not name. `progress` is told how far a step is that takes minutes. The report lists
/// what was done, also if an error follows.
///
/// # Errors
/// The settings name nothing, a resource cannot be created, or this build has no AWS adapters.
pub async fn set_up_aws(
    settings: &Settings,
    queue_name: Option<String>,
    dry_run: bool,
    progress: &(dyn Fn(&str) + Sync),
) -> (SetupReport, Result<(), SetupError>) {
    aws::set_up(settings, queue_name, dry_run, progress).await
}
