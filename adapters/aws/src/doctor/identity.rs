//! Whose credentials these are.

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
/// Credentials from a machine's metadata or a container may have to be waited for.
const WITHIN: Duration = Duration::from_secs(10);
const NONE: &str = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this \
                    host a role";

/// Whose they are; an error where there are none, or AWS does not know them.
pub(super) async fn checks(config: &SdkConfig) -> Result<Check, Check> {
    let Some(provider) = config.credentials_provider() else {
        return Err(Check::fail(NAME, "there are no credentials", NONE));
    };
    match tokio::time::timeout(WITHIN, provider.provide_credentials()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            // The SDK tells each place it has looked in, a line each.
            let why = chain(&error).replace("\n  ", "; ");
            let why = why.replace("the credential provider was not enabled", "none");
            return Err(Check::fail(
                NAME,
                format!("there are no credentials: {}", cut(&why, 400)),
                NONE,
            ));
        }
        Err(_) => {
            let message = format!("credentials did not come within {} s", WITHIN.as_secs());
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
    let message = format!("whose the credentials are is not known: {}", error.message);
    match error.kind {
        // What is needed may be reached where STS is not, by endpoints in a VPC.
        ErrorKind::Unavailable | ErrorKind::Throttled => Ok(Check::warn(NAME, message, NETWORK)),
        _ => Err(Check::fail(NAME, message, "are they of the right account, and not run out?")),
    }
}
