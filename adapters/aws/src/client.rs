//! SDK clients: one shared configuration, and timeouts and retries for each use.
//!
//! Credentials come from the SDK's own chain. `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_<SERVICE>`
//! are honored by the SDK itself; an endpoint may be `http:` or `https:`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use aws_config::{AppName, BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_dynamodb::config::{RuntimeComponents, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Environment variable with a PEM file that is trusted instead of the host's certificates; the AWS
/// command line reads it too.
pub const CA_BUNDLE: &str = "AWS_CA_BUNDLE";

/// Time limit for connecting.
const CONNECT: Duration = Duration::from_secs(3);
/// First and longest backoff of the SDK's retries of `DynamoDB`.
const DYNAMODB_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// An error that prevents all calls to AWS.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No source names a region.
    #[error(
        "no AWS region is known: set AWS_REGION, or compute = \"ec2:REGION\", or a region in the AWS profile"
    )]
    Region,
    /// The certificate file cannot be read.
    #[error("cannot read the trusted certificates `{file}` (AWS_CA_BUNDLE)")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file holds no usable certificate.
    #[error(
        "`{file}` (AWS_CA_BUNDLE) holds no usable certificate ({reason}): expected PEM, `-----BEGIN CERTIFICATE-----`"
    )]
    Certificates {
        /// The file.
        file: PathBuf,
        /// The problem with it.
        reason: String,
    },
}

/// Loads what every client shares: region, credentials, endpoints, connections. The region is the
/// one given, or that of the environment, the profile, or the instance.
///
/// # Errors
/// [`ConfigError`], before any request is sent.
pub async fn load(region: Option<&str>) -> Result<SdkConfig, ConfigError> {
    let mut loader = loader()?;
    if let Some(region) = region.filter(|region| !region.is_empty()) {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let config = loader.load().await;
    if config.region().is_none() { Err(ConfigError::Region) } else { Ok(config) }
}

/// Returns the loader of this configuration; what is set on it takes precedence over the
/// environment.
///
/// # Errors
/// [`ConfigError`] if the trusted certificates cannot be used.
pub fn loader() -> Result<ConfigLoader, ConfigError> {
    let trust = trust(std::env::var_os(CA_BUNDLE).map(PathBuf::from))?;
    let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client(trust))
        .timeout_config(within(Duration::from_secs(5), Duration::from_secs(15)));
    Ok(match AppName::new("tinqs-ci") {
        Ok(name) => loader.app_name(name),
        Err(_) => loader,
    })
}

/// Shortens the timeouts for interactive use.
pub fn hasty(config: &SdkConfig) -> SdkConfig {
    let within = within(Duration::from_secs(4), Duration::from_secs(9));
    config.to_builder().timeout_config(within).build()
}

/// Client that reads the caller identity.
pub fn sts(config: &SdkConfig) -> aws_sdk_sts::Client {
    let config = aws_sdk_sts::config::Builder::from(config).retry_config(RetryConfig::standard());
    aws_sdk_sts::Client::from_conf(config.build())
}

/// Client of the store. A retried write may find its own first try; the store distinguishes them.
pub fn dynamodb(config: &SdkConfig) -> aws_sdk_dynamodb::Client {
    let (first, most) = DYNAMODB_BACKOFF;
    let retries = RetryConfig::standard()
        .with_max_attempts(5)
        .with_initial_backoff(first)
        .with_max_backoff(most);
    let config = aws_sdk_dynamodb::config::Builder::from(config).retry_config(retries);
    aws_sdk_dynamodb::Client::from_conf(config.build())
}

/// Client of the queue, except for receiving.
pub fn sqs(config: &SdkConfig) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::config::Builder::from(config).retry_config(RetryConfig::standard());
    aws_sdk_sqs::Client::from_conf(config.build())
}

/// Client that receives wakes: a long poll answers after 20 s, so its timeouts are longer.
pub fn sqs_receive(config: &SdkConfig) -> aws_sdk_sqs::Client {
    let config = aws_sdk_sqs::config::Builder::from(config)
        .retry_config(RetryConfig::standard())
        .timeout_config(within(Duration::from_secs(30), Duration::from_secs(40)));
    aws_sdk_sqs::Client::from_conf(config.build())
}

/// Client for launches. The SDK must not retry them: it would retry a definitive "no capacity" (a
/// 500) and empty the launch bucket. Timeouts are long, because EC2 may answer slowly.
pub fn ec2_launch(config: &SdkConfig) -> aws_sdk_ec2::Client {
    let config = aws_sdk_ec2::config::Builder::from(config)
        .retry_config(RetryConfig::disabled())
        .timeout_config(within(Duration::from_secs(15), Duration::from_secs(20)));
    aws_sdk_ec2::Client::from_conf(config.build())
}

/// Client for all other EC2 calls: reading and terminating.
pub fn ec2(config: &SdkConfig) -> aws_sdk_ec2::Client {
    let config = aws_sdk_ec2::config::Builder::from(config).retry_config(RetryConfig::standard());
    aws_sdk_ec2::Client::from_conf(config.build())
}

/// Timeouts of one attempt, and of all attempts of a call together.
fn within(attempt: Duration, operation: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(attempt)
        .operation_timeout(operation)
        .build()
}

/// The host's certificates, or those of the bundle alone. Checked here, because the SDK panics on a
/// bundle that it cannot read.
fn trust(bundle: Option<PathBuf>) -> Result<TrustStore, ConfigError> {
    let Some(file) = bundle.filter(|file| !file.as_os_str().is_empty()) else {
        return Ok(TrustStore::default());
    };
    let pem = match std::fs::read(&file) {
        Ok(pem) => pem,
        Err(source) => return Err(ConfigError::Unreadable { file, source }),
    };
    let usable = || -> Result<usize, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|error| error.to_string())?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        Ok(roots.len())
    };
    match usable() {
        Ok(1..) => Ok(TrustStore::empty().with_pem_certificate(pem)),
        Ok(0) => Err(ConfigError::Certificates { file, reason: "it holds none".to_owned() }),
        Err(reason) => Err(ConfigError::Certificates { file, reason }),
    }
}

/// HTTP and HTTPS (by `ring`), through the proxy that the environment names. Connections are
/// pooled, one pool per set of timeouts.
fn http_client(trust: TrustStore) -> SharedHttpClient {
    Builder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        let tls = TlsContext::builder().with_trust_store(trust.clone()).build();
        connector
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls.unwrap_or_default())
            .build()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_client_has_its_timeouts_and_retries() {
        let config = load(Some("eu-west-1")).await.expect("a configuration");
        assert_eq!(config.region().map(AsRef::as_ref), Some("eu-west-1"));
        let launch = ec2_launch(&config);
        assert!(!launch.config().retry_config().expect("set").has_retry());
        let times = launch.config().timeout_config().expect("set");
        assert_eq!(times.operation_attempt_timeout(), Some(Duration::from_secs(15)));
        assert_eq!(dynamodb(&config).config().retry_config().expect("set").max_attempts(), 5);
        let receive = sqs_receive(&config);
        let receive = receive.config().timeout_config().expect("set");
        assert!(receive.operation_attempt_timeout() > Some(Duration::from_secs(20)));
        let plain = sqs(&config);
        let plain = plain.config().timeout_config().expect("set");
        assert_eq!(plain.operation_attempt_timeout(), Some(Duration::from_secs(5)));
        assert_eq!(ec2(&config).config().retry_config().expect("set").max_attempts(), 3);
    }

    #[test]
    fn an_unusable_certificate_bundle_is_refused() {
        assert!(trust(None).is_ok() && trust(Some(PathBuf::new())).is_ok());
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("ca.pem");
        let error = trust(Some(file.clone())).expect_err("it is not there");
        assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
        for nonsense in
            ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            std::fs::write(&file, nonsense).expect("written");
            let error = trust(Some(file.clone())).expect_err(nonsense);
            assert!(matches!(error, ConfigError::Certificates { .. }), "{error}");
        }
    }
}
