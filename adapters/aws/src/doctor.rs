//! `doctor`'s checks of AWS. They read, and try launches as dry runs; they change nothing.

mod account;
mod identity;
mod launch;
mod machines;
mod queue;
mod quota;
mod routes;
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

/// Limit for one service; its calls have shorter limits of their own.
const WITHIN: Duration = Duration::from_secs(40);

/// Checks everything that is configured in AWS; empty if nothing is.
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
            "set AWS_REGION; unset AWS_CA_BUNDLE, or set it to a PEM file",
        )
    })?;
    Ok(client::hasty(&config))
}

/// A service's checks, or one failed check if they take too long.
async fn within(name: &'static str, checks: impl Future<Output = Vec<Check>>) -> Vec<Check> {
    tokio::time::timeout(WITHIN, checks).await.unwrap_or_else(|_| {
        let message = format!("AWS did not answer within {} s", WITHIN.as_secs());
        vec![Check::fail(name, message, NETWORK)]
    })
}

const NETWORK: &str = "check this host's network, the region, and that AWS_ENDPOINT_URL is not set \
                       by mistake";

/// A failed call that `serve` needs too; `right` is the IAM action to allow.
fn failed(name: &'static str, what: &str, right: &str, error: &PortError) -> Check {
    let message = format!("{what}: {}", error.message);
    match error.kind {
        ErrorKind::Unavailable => Check::fail(name, message, NETWORK),
        ErrorKind::Throttled => {
            Check::warn(name, message, "AWS throttles this account: try again later")
        }
        ErrorKind::Denied => {
            Check::fail(name, message, format!("allow {right} to the role of this process"))
        }
        ErrorKind::Conflict | ErrorKind::NoCapacity | ErrorKind::Limit | ErrorKind::Invalid => {
            Check::fail(name, message, "fix the configuration, or the AWS resource that it names")
        }
    }
}

/// A failed call that `serve` does not need: a missing permission is only a warning.
fn unseen(name: &'static str, what: &str, right: &str, error: &PortError) -> Check {
    if error.kind == ErrorKind::Denied {
        let message = format!("cannot read {what}: {}", error.message);
        let fix = format!("allow {right} to the user of doctor; serve does not need it");
        return Check::warn(name, message, fix);
    }
    failed(name, what, right, error)
}
