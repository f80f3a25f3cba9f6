//! Replaces the AWS adapters in builds without them. Never reached from valid settings, which
//! reject such parts.

use std::convert::Infallible;
use std::sync::Arc;

use tinqs_ci_aws::setup::{SetupError, SetupReport};
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::ports::{Clock, Compute, Queue};

use super::{BackendError, Start, Stores};
use crate::settings::{ComputeUrl, Settings};

#[expect(clippy::unused_async, reason = "the same signature as with AWS")]
pub(super) async fn dynamodb(
    _table: &str,
    _compute: &ComputeUrl,
    _replica: &str,
    _start: Start,
) -> Result<Stores, BackendError> {
    Err(absent("store", "DynamoDB", "store = \"redb:DIR\""))
}

#[expect(clippy::unused_async, reason = "the same signature as with AWS")]
pub(super) async fn ec2(
    _region: &str,
    _settings: &Settings,
    _clock: &Arc<dyn Clock>,
    _start: Start,
) -> Result<(Arc<dyn Compute>, Infallible), BackendError> {
    Err(absent("compute", "EC2", "compute = \"process:\""))
}

#[expect(clippy::unused_async, reason = "the same signature as with AWS")]
pub(super) async fn sqs(
    _url: &str,
    _compute: &ComputeUrl,
    _owners: Option<Infallible>,
) -> Result<Arc<dyn Queue>, BackendError> {
    Err(absent("queue", "SQS", "queue = \"memory:\""))
}

fn absent(part: &'static str, what: &str, instead: &str) -> BackendError {
    let message = format!("this build has no {what} adapter: set `{instead}`");
    BackendError::Part { part, message }
}

#[expect(clippy::unused_async, reason = "the same signature as with AWS")]
pub(super) async fn checks(_settings: &Settings) -> Vec<Check> {
    Vec::new()
}

#[expect(clippy::unused_async, reason = "the same signature as with AWS")]
pub(super) async fn set_up(
    _settings: &Settings,
    _queue_name: Option<String>,
    _dry_run: bool,
    _progress: &(dyn Fn(&str) + Sync),
) -> (SetupReport, Result<(), SetupError>) {
    let error = SetupError::usage("this build has no AWS adapters, which `init --aws` needs")
        .hint("build with the feature `aws`: `cargo build --release --features aws`");
    (SetupReport::default(), Err(error))
}
