//! From settings to parts: the one place that knows which adapters there are.

use jiff::Timestamp;
use tinqs_ci_reconciler::ports::Clock;

use super::{Error, Parts};
use crate::settings::{ComputeUrl, Demand, QueueUrl, Settings, StoreUrl};

/// The computer's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// Builds what the settings name.
///
/// # Errors
/// [`Error::Part`] where a part cannot be had, with what helps.
pub async fn parts_from(settings: Settings, replica: &str) -> Result<Parts, Error> {
    let refuse = |part, message: &str| Err(Error::Part { part, message: message.to_owned() });
    if settings.forge.demand == Demand::Push {
        return refuse("forge", "`forge.demand = \"push\"` is not there yet: use \"jobs\"");
    }
    if let StoreUrl::Dynamodb(_) = &settings.store {
        return refuse("store", "this build has no DynamoDB: use `store = \"redb:DIR\"`");
    }
    if let QueueUrl::Sqs(_) = &settings.queue {
        return refuse("queue", "this build has no SQS: use `queue = \"memory:\"`");
    }
    if let ComputeUrl::Ec2(_) = &settings.compute {
        return refuse("compute", "this build has no EC2: use `compute = \"process:\"`");
    }
    let _ = replica;
    refuse("forge", "the adapters are not joined yet")
}
