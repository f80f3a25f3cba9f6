//! Secrets that AWS holds: parameters of Systems Manager, and secrets of Secrets Manager.

#[cfg(feature = "sdk")]
mod read;

use std::fmt;

#[cfg(feature = "sdk")]
use read::read as value;
use tinqs_ci_reconciler::text::cut;

/// The name of a secret in AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretId {
    /// A parameter of Systems Manager: its path, such as `/ci/token`, or its ARN.
    Parameter(String),
    /// A secret of Secrets Manager: its name, such as `ci/token`, or its ARN.
    Secret(String),
}

impl SecretId {
    /// Returns the Region of an ARN: its fourth part.
    fn region(&self) -> Option<&str> {
        let (Self::Parameter(name) | Self::Secret(name)) = self;
        let region = name.strip_prefix("arn:")?.split(':').nth(2)?;
        Some(region).filter(|region| !region.is_empty())
    }

    /// Reads the secret, decrypted: in the Region of its ARN, else in the given one, else in that
    /// of the environment, the profile or the instance. Blocks until AWS has answered, at most
    /// 30 s.
    ///
    /// # Errors
    /// A sentence that names the secret, the cause and the remedy, but nothing of its value.
    pub fn read(&self, region: Option<&str>) -> Result<String, String> {
        value(self, self.region().or(region)).map_err(|why| format!("{self}: {why}"))
    }
}

#[cfg(not(feature = "sdk"))]
fn value(_: &SecretId, _: Option<&str>) -> Result<String, String> {
    Err("this build has no AWS adapters: use a build with the feature `aws` (`cargo build \
         --release --features aws`), or { env = \"NAME\" } or { file = \"path\" }"
        .to_owned())
}

impl fmt::Display for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter(name) => write!(f, "the SSM parameter `{}`", cut(name, 200)),
            Self::Secret(name) => write!(f, "the secret `{}` of Secrets Manager", cut(name, 200)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_the_region() {
        let region = |name: &str| SecretId::Secret(name.to_owned()).region().map(str::to_owned);
        let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:ci/token-AbCdEf";
        assert_eq!(region(arn).as_deref(), Some("eu-west-1"));
        for name in ["ci/token", "/ci/token", "arn:aws:secretsmanager", "arn:aws:ssm::1:x"] {
            assert_eq!(region(name), None, "{name}");
        }
    }

    #[cfg(not(feature = "sdk"))]
    #[test]
    fn a_build_without_aws_names_the_feature() {
        let error = SecretId::Parameter("/ci/token".to_owned()).read(None).expect_err("no AWS");
        assert!(error.starts_with("the SSM parameter `/ci/token`: this build has no"), "{error}");
        assert!(error.contains("feature `aws`"), "{error}");
    }
}
