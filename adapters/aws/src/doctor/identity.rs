//! Checks the credentials.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::{Credentials, ProvideCredentials as _};
use tinqs_ci_reconciler::ports::ErrorKind;

use super::NETWORK;
use crate::client;
use crate::errors::{self, ec2 as codes};
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::text::{chain, cut};

const NAME: &str = "aws";
/// Credentials from instance metadata or a container may take a while.
const WITHIN: Duration = Duration::from_secs(10);
const NONE: &str = "set AWS_PROFILE (and run `aws sso login` again if the profile uses it), or \
                    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this host a role";

/// Reports the account and identity; an error if there are no credentials or AWS rejects them.
pub(super) async fn checks(config: &SdkConfig) -> Result<Check, Check> {
    let Some(provider) = config.credentials_provider() else {
        return Err(Check::fail(NAME, "no AWS credentials found", NONE));
    };
    let origin = match tokio::time::timeout(WITHIN, provider.provide_credentials()).await {
        Ok(Ok(credentials)) => origin(&credentials, &profile()),
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
    };
    let region = config.region().map(AsRef::as_ref).unwrap_or_default();
    let error = match client::sts(config).get_caller_identity().send().await {
        Ok(who) => {
            let (account, arn) = (who.account().unwrap_or("?"), who.arn().unwrap_or("?"));
            let (account, arn) = (cut(account, 20), cut(arn, 300));
            let message = format!("account {account}, {arn}, credentials {origin}, {region}");
            return Ok(Check::ok(NAME, message));
        }
        Err(error) => errors::port_error("sts", "doctor", &error, codes::TABLE),
    };
    let message =
        format!("cannot read the caller identity, credentials {origin}: {}", error.message);
    match error.kind {
        // The services in use may be reachable where STS is not, through VPC endpoints.
        ErrorKind::Unavailable | ErrorKind::Throttled => Ok(Check::warn(NAME, message, NETWORK)),
        _ => Err(Check::fail(NAME, message, "check that the credentials have not expired")),
    }
}

/// Returns the profile that the environment names.
fn profile() -> String {
    let named = std::env::var("AWS_PROFILE").ok().filter(|profile| !profile.is_empty());
    cut(named.as_deref().unwrap_or("default"), 60)
}

/// Says where credentials came from. The SDK tells it in their debug output only, which hides the
/// secret ones.
fn origin(credentials: &Credentials, profile: &str) -> String {
    let shown = format!("{credentials:?}");
    let provider = shown.split_once("provider_name: \"").and_then(|(_, rest)| rest.split_once('"'));
    let provider = provider.map_or("", |(provider, _)| provider);
    match provider {
        "EnvironmentVariable" => "of the environment".to_owned(),
        "ProfileFile" => format!("of profile {profile}"),
        "AssumeRoleProvider" => format!("of profile {profile}, by assuming its role"),
        "CredentialProcess" => format!("of profile {profile}, by credential_process"),
        "SSO" => format!("of profile {profile}, by aws sso login"),
        "WebIdentityToken" => "of a web identity".to_owned(),
        "EcsContainer" => "of the container".to_owned(),
        "IMDSv2" => "of the instance profile".to_owned(),
        other => format!("of {}", if other.is_empty() { "an unknown source" } else { other }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_origin_of_credentials_is_named_without_them() {
        let of = |provider: &'static str| {
            let token = Some("s3cret-token".to_owned());
            let credentials = Credentials::new("AKID", "s3cret", token, None, provider);
            let said = origin(&credentials, "ci");
            assert!(!said.contains("s3cret") && !said.contains("AKID"), "{said}");
            said
        };
        for (provider, says) in [
            ("EnvironmentVariable", "of the environment"),
            ("ProfileFile", "of profile ci"),
            ("AssumeRoleProvider", "of profile ci, by assuming its role"),
            ("CredentialProcess", "of profile ci, by credential_process"),
            ("SSO", "of profile ci, by aws sso login"),
            ("WebIdentityToken", "of a web identity"),
            ("EcsContainer", "of the container"),
            ("IMDSv2", "of the instance profile"),
            ("Another", "of Another"),
        ] {
            assert_eq!(of(provider), says);
        }
    }
}
