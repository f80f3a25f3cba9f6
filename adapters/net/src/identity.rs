//! The certificate of a server and its private key.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, Error, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

pub use tokio_rustls::server::TlsStream;

/// The protocol that the server speaks over TLS.
const PROTOCOL: &[u8] = b"http/1.1";
/// A name that no certificate has; the verifier answers with those that it has.
const NO_NAME: &str = "names-of-this-certificate.invalid";
/// The end of the year 9999, the last time that a certificate can hold, in seconds.
const LAST: u64 = 253_402_300_799;

/// A certificate chain and the key that belongs to it, ready to serve. It shows nothing of the key.
#[derive(Clone)]
pub struct Identity {
    config: Arc<ServerConfig>,
    chain: Arc<[CertificateDer<'static>]>,
    names: Arc<[String]>,
    valid_from: i64,
    valid_until: i64,
    is_authority: bool,
}

/// The file that a flaw is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// That of the certificate.
    Certificate,
    /// That of the private key.
    Key,
}

/// The reason why a certificate and a key cannot be used. No message has a part of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The text has no certificate.
    #[error(
        "has no certificate: expected PEM text with -----BEGIN CERTIFICATE-----, the server's own \
         certificate first"
    )]
    NoCertificate,
    /// The PEM text of the certificate is damaged.
    #[error("has a damaged certificate: copy the whole file again")]
    DamagedCertificate,
    /// The certificate is none that clients accept.
    #[error("has a certificate that clients cannot use ({0}): issue it again as X.509 version 3")]
    BadCertificate(String),
    /// The text has no private key.
    #[error("has no private key: expected PEM text with -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// The PEM text of the key is damaged.
    #[error("has a damaged private key: copy the whole file again")]
    DamagedKey,
    /// The key needs a passphrase.
    #[error(
        "has an encrypted private key, and nobody can be asked for its passphrase: decrypt it with \
         `openssl pkey -in FILE -out NEW-FILE`"
    )]
    EncryptedKey,
    /// The key is of a kind that is not supported.
    #[error(
        "has a private key that cannot be used: create one of ECDSA P-256 or P-384, of Ed25519, or \
         of RSA with 2048 to 4096 bits"
    )]
    BadKey,
    /// The key is that of another certificate.
    #[error(
        "has the private key of another certificate: name the two files that were issued together"
    )]
    OtherKey,
}

impl Flaw {
    /// Returns the file that it is in.
    pub fn part(&self) -> Part {
        match self {
            Self::NoCertificate | Self::DamagedCertificate | Self::BadCertificate(_) => {
                Part::Certificate
            }
            Self::NoKey | Self::DamagedKey | Self::EncryptedKey | Self::BadKey | Self::OtherKey => {
                Part::Key
            }
        }
    }
}

impl Identity {
    /// Reads a certificate chain and its key from PEM text. When the certificate is valid is not
    /// checked.
    ///
    /// # Errors
    /// The first [`Flaw`].
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, Flaw> {
        let provider = Arc::new(ring::default_provider());
        let chain = chain(certificate)?;
        let named = Certificate::read(&chain[0], &provider)?;
        let key = private_key(key)?;
        let certified = CertifiedKey::from_der(chain.clone(), key, &provider);
        let certified = certified.map_err(|error| match error {
            Error::InconsistentKeys(_) => Flaw::OtherKey,
            _ => Flaw::BadKey,
        })?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| Flaw::BadKey)?
            .with_no_client_auth();
        let mut config = config.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        let Certificate { names, valid_from, valid_until, is_authority } = named;
        Ok(Self {
            config: Arc::new(config),
            chain: chain.into(),
            names: names.into(),
            valid_from,
            valid_until,
            is_authority,
        })
    }

    /// Takes the server's part of a handshake. The caller limits its time.
    ///
    /// # Errors
    /// The client speaks no TLS, or another kind of it, or has gone.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        TlsAcceptor::from(self.config.clone()).accept(stream).await
    }

    /// Returns the certificate of the server itself.
    pub(crate) fn certificate(&self) -> &CertificateDer<'static> {
        &self.chain[0]
    }

    /// Returns the names of the certificate, host names and IP addresses; `*.` stands for one label.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether clients accept the certificate for this host name or IP address.
    pub fn is_for(&self, name: &str) -> bool {
        let name = name.trim_matches(['[', ']']);
        let (Ok(certificate), Ok(name)) =
            (ParsedCertificate::try_from(&self.chain[0]), ServerName::try_from(name))
        else {
            return false;
        };
        verify_server_name(&certificate, &name).is_ok()
    }

    /// Returns the time from which the certificate is valid, in seconds since 1970.
    pub fn valid_from(&self) -> i64 {
        self.valid_from
    }

    /// Returns the time at which the certificate expires, in seconds since 1970.
    pub fn valid_until(&self) -> i64 {
        self.valid_until
    }

    /// Whether the certificate is one of an authority, which many clients do not accept of a server.
    pub fn is_authority(&self) -> bool {
        self.is_authority
    }
}

/// Equal certificates have equal keys.
impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

/// Returns the certificates of a PEM text, at least one.
pub(crate) fn chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Flaw> {
    let chain: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(text).collect();
    // The errors of the parser quote the text.
    let chain = chain.map_err(|_| Flaw::DamagedCertificate)?;
    if chain.is_empty() { Err(Flaw::NoCertificate) } else { Ok(chain) }
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Flaw> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(_) if is_encrypted(text) => Err(Flaw::EncryptedKey),
        Err(pem::Error::NoItemsFound) => Err(Flaw::NoKey),
        Err(_) => Err(Flaw::DamagedKey),
    }
}

/// Whether a key has one of the two headers of encrypted ones.
fn is_encrypted(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n').any(|line| {
        line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
            || line.starts_with(b"Proc-Type: 4,ENCRYPTED")
    })
}

/// The parts of a certificate that clients see.
struct Certificate {
    names: Vec<String>,
    valid_from: i64,
    valid_until: i64,
    is_authority: bool,
}

impl Certificate {
    /// Reads it by asking the verifier of clients, which names what it compares.
    fn read(der: &CertificateDer<'static>, provider: &CryptoProvider) -> Result<Self, Flaw> {
        let bad = |error: &Error| Flaw::BadCertificate(error.to_string());
        let certificate = ParsedCertificate::try_from(der).map_err(|error| bad(&error))?;
        let mut itself = RootCertStore::empty();
        itself.add(der.clone()).map_err(|error| bad(&error))?;
        let algorithms = provider.signature_verification_algorithms.all;
        let at = |seconds| {
            let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
            verify_server_cert_signed_by_trust_anchor(&certificate, &itself, &[], time, algorithms)
        };
        // One that is valid from 1970, or for ever, gives no error there.
        let valid_from = match at(0) {
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => not_before.as_secs(),
            _ => 0,
        };
        let valid_until = match at(LAST) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => not_after.as_secs(),
            _ => LAST,
        };
        let is_authority = matches!(
            at(valid_until),
            Err(Error::InvalidCertificate(error)) if is_of_authority(&error)
        );
        let name = ServerName::try_from(NO_NAME).map_err(|_| Flaw::DamagedCertificate)?;
        let presented = match verify_server_name(&certificate, &name) {
            Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                presented,
                ..
            })) => presented,
            _ => Vec::new(),
        };
        Ok(Self {
            names: names(&presented),
            valid_from: i64::try_from(valid_from).unwrap_or_default(),
            valid_until: i64::try_from(valid_until).unwrap_or(i64::MAX),
            is_authority,
        })
    }
}

/// Whether the verifier refuses a certificate because it is one of an authority.
pub(crate) fn is_of_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(_))
        && format!("{error:?}").contains("CaUsedAsEndEntity")
}

/// Returns the host names and IP addresses among what the verifier has found.
pub(crate) fn names(presented: &[String]) -> Vec<String> {
    presented.iter().filter_map(|name| plain(name)).collect()
}

/// Returns a host name or an IP address as people write it: the verifier adds its kind.
fn plain(name: &str) -> Option<String> {
    let (kind, rest) = name.split_once('(')?;
    let inner = rest.strip_suffix(')')?;
    matches!(kind, "DnsName" | "IpAddress").then(|| inner.trim_matches('"').to_owned())
}
