//! What stands for the parts in AWS in a build without them. The configuration refuses such parts
//! before this is reached.

use std::convert::Infallible;
use std::sync::Arc;

use tinqs_ci_reconciler::ports::{Clock, Compute, Queue};

use super::Error;
use super::parts::Kept;
use crate::settings::ComputeUrl;

#[expect(clippy::unused_async, reason = "as the other")]
pub(super) async fn dynamodb(
    _table: &str,
    _compute: &ComputeUrl,
    _replica: &str,
) -> Result<Kept, Error> {
    Err(absent("store", "DynamoDB", "store = \"redb:DIR\""))
}

#[expect(clippy::unused_async, reason = "as the other")]
pub(super) async fn ec2(
    _region: &str,
    _installation: &str,
    _clock: &Arc<dyn Clock>,
) -> Result<(Arc<dyn Compute>, Infallible), Error> {
    Err(absent("compute", "EC2", "compute = \"process:\""))
}

#[expect(clippy::unused_async, reason = "as the other")]
pub(super) async fn sqs(
    _url: &str,
    _compute: &ComputeUrl,
    _owners: Option<Infallible>,
) -> Result<Arc<dyn Queue>, Error> {
    Err(absent("queue", "SQS", "queue = \"memory:\""))
}

fn absent(part: &'static str, what: &str, instead: &str) -> Error {
    Error::Part { part, message: format!("this build has no {what}: use `{instead}`") }
}
