//! What `doctor` looks at in AWS. Everything is read, or tried without being done.

mod account;
mod identity;
mod launch;
mod machines;
mod queue;
mod quota;
mod table;

use std::future::Future;
use std::time::Duration;

use aws_config::SdkConfig;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::client;
use super::queue::region_of;
use crate::Config;
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::text::chain;

/// One side of AWS at most; its calls have shorter limits of their own.
const WITHIN: Duration = Duration::from_secs(40);

/// Everything in AWS that is configured; nothing where nothing is.
pub async fn checks(configured: &Config) -> Vec<Check> {
    let region = configured.region.as_deref();
    let queue = configured.queue.as_deref();
    let table = configured.table.as_deref();
    if region.is_none() && queue.is_none() && table.is_none() {
        return Vec::new();
    }
    let config = match loaded(region.or(queue.and_then(region_of))).await {
        Ok(config) => config,
        Err(check) => return vec![check],
    };
    let mut checks = Vec::new();
    match Box::pin(identity::checks(&config)).await {
        Ok(known) => checks.push(known),
        // With these credentials every other call would fail too.
        Err(wrong) => return vec![wrong],
    }
    let of_table = async {
        match table {
            Some(table) => within("store", Box::pin(table::checks(&config, table))).await,
            None => Vec::new(),
        }
    };
    let of_queue = async {
        match queue {
            Some(url) => match loaded(region_of(url).or(region)).await {
                Ok(config) => within("queue", Box::pin(queue::checks(&config, url, region))).await,
                Err(check) => vec![check],
            },
            None => Vec::new(),
        }
    };
    let of_machines = async {
        match region {
            Some(_) => within("machines", Box::pin(machines::checks(&config, configured))).await,
            None => Vec::new(),
        }
    };
    let (table, queue, machines) = tokio::join!(of_table, of_queue, of_machines);
    checks.extend(table.into_iter().chain(queue).chain(machines));
    checks
}

async fn loaded(region: Option<&str>) -> Result<SdkConfig, Check> {
    let config = client::load(region).await.map_err(|error| {
        Check::fail(
            "aws",
            chain(&error),
            "set AWS_REGION, and AWS_CA_BUNDLE to a file or not at all",
        )
    })?;
    Ok(client::hasty(&config))
}

/// A side's checks, or the word that it took too long.
async fn within(name: &'static str, checks: impl Future<Output = Vec<Check>>) -> Vec<Check> {
    tokio::time::timeout(WITHIN, checks).await.unwrap_or_else(|_| {
        let message = format!("AWS did not answer within {} s", WITHIN.as_secs());
        vec![Check::fail(name, message, NETWORK)]
    })
}

const NETWORK: &str = "is this host's network up, the region right, and no AWS_ENDPOINT_URL left \
                       over from elsewhere?";

/// What a failed call means, where it is needed; `right` is what it needs.
fn failed(name: &'static str, what: &str, right: &str, error: &PortError) -> Check {
    let message = format!("{what}: {}", error.message);
    match error.kind {
        ErrorKind::Unavailable => Check::fail(name, message, NETWORK),
        ErrorKind::Throttled => Check::warn(name, message, "others call too: try again later"),
        ErrorKind::Denied => {
            Check::fail(name, message, format!("allow {right} to the role of this process"))
        }
        ErrorKind::Conflict | ErrorKind::NoCapacity | ErrorKind::Limit | ErrorKind::Invalid => {
            Check::fail(name, message, "mend the configuration, or what it names in AWS")
        }
    }
}

/// The same where `serve` does without: a missing right is only told.
fn unseen(name: &'static str, what: &str, right: &str, error: &PortError) -> Check {
    if error.kind == ErrorKind::Denied {
        let message = format!("{what} cannot be looked at: {}", error.message);
        let fix = format!("allow {right} to whoever runs doctor; serve does without it");
        return Check::warn(name, message, fix);
    }
    failed(name, what, right, error)
}
