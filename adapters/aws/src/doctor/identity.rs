//! Checks the credentials.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::ProvideCredentials as _;
use tinqs_ci_reconciler::ports::ErrorKind;

use super::NETWORK;
use crate::client;
use crate::errors::{self, ec2 as codes};
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::text::{chain, cut};

const NAME: &str = "aws";
/// Credentials from instance metadata or a container may take a while.
const WITHIN: Duration = Duration::from_secs(10);
const NONE: &str = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this \
                    host a role";

/// Reports the account and identity; an error if there are no credentials or AWS rejects them.
pub(super) async fn checks(config: &SdkConfig) -> Result<Check, Check> {
    let Some(provider) = config.credentials_provider() else {
        return Err(Check::fail(NAME, "no AWS credentials found", NONE));
    };
    match tokio::time::timeout(WITHIN, provider.provide_credentials()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            // The SDK reports each place it has searched, one per line.
            let why = chain(&error).replace("\n  ", "; ");
            let why = why.replace("the credential provider was not enabled", "none");
            return Err(Check::fail(
                NAME,
                format!("no AWS credentials found: {}", cut(&why, 400)),
                NONE,
            ));
        }
        Err(_) => {
            let message =
                format!("the AWS credentials did not arrive within {} s", WITHIN.as_secs());
            return Err(Check::fail(NAME, message, NONE));
        }
    }
    let region = config.region().map(AsRef::as_ref).unwrap_or_default();
    let error = match client::sts(config).get_caller_identity().send().await {
        Ok(who) => {
            let (account, arn) = (who.account().unwrap_or("?"), who.arn().unwrap_or("?"));
            let message = format!("account {}, {}, {region}", cut(account, 20), cut(arn, 300));
            return Ok(Check::ok(NAME, message));
        }
        Err(error) => errors::port_error("sts", "doctor", &error, codes::TABLE),
    };
    let message = format!("cannot read the caller identity: {}", error.message);
    match error.kind {
        // The services in use may be reachable where STS is not, through VPC endpoints.
        ErrorKind::Unavailable | ErrorKind::Throttled => Ok(Check::warn(NAME, message, NETWORK)),
        _ => Err(Check::fail(NAME, message, "check that the credentials have not expired")),
    }
}
