//! Clients, and which servers they believe.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme,
};

use super::identity::{Flaw, Identity, chain, is_of_authority, names};

/// The servers that a client believes to be who they say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those whose certificate an authority of this system has issued.
    #[default]
    System,
    /// These authorities too.
    Also(Vec<CertificateDer<'static>>),
    /// The one server with this certificate, whatever its name and date.
    Only(CertificateDer<'static>),
}

impl Trust {
    /// Adds the authorities of a PEM text to those of the system.
    ///
    /// # Errors
    /// The text has no certificate, or is damaged.
    pub fn also(text: &[u8]) -> Result<Self, Flaw> {
        Ok(Self::Also(chain(text)?))
    }

    /// Believes only the server with this certificate.
    pub fn only_of(identity: &Identity) -> Self {
        Self::Only(identity.certificate().clone())
    }

    /// Believes only the server with the first certificate of a PEM text.
    ///
    /// # Errors
    /// The text has no certificate, or is damaged.
    pub fn only(text: &[u8]) -> Result<Self, Flaw> {
        Ok(Self::Only(chain(text)?.swap_remove(0)))
    }
}

/// Returns a client builder with TLS by `ring`.
pub fn http_client() -> reqwest::ClientBuilder {
    // Fails only if the process already has a provider, which is fine.
    let _ = ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// Returns a client builder that believes these servers.
///
/// # Errors
/// A certificate cannot be used.
pub fn http_client_of(trust: &Trust) -> reqwest::Result<reqwest::ClientBuilder> {
    let client = http_client();
    match trust {
        Trust::System => Ok(client),
        Trust::Also(authorities) => {
            let read = |der: &CertificateDer<'static>| reqwest::Certificate::from_der(der);
            let authorities: reqwest::Result<Vec<_>> = authorities.iter().map(read).collect();
            Ok(client.tls_certs_merge(authorities?))
        }
        Trust::Only(certificate) => Ok(match pinned(certificate.clone()) {
            Ok(config) => client.tls_backend_preconfigured(config),
            // With no version of TLS there is nothing to connect by.
            Err(_) => client.tls_certs_only([]),
        }),
    }
}

/// The reason why the TLS handshake of a client with a server failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// No authority that the client knows has issued the certificate.
    #[error("no authority that this system knows has issued its certificate")]
    UnknownAuthority,
    /// The certificate is for other names.
    #[error("its certificate is for {0}")]
    OtherName(String),
    /// The certificate is not the one that the client expects.
    #[error("it has another certificate than the file of `server.tls.cert`")]
    OtherCertificate,
    /// The certificate has expired, or is not valid yet.
    #[error("its certificate is not valid now")]
    OtherTime,
    /// The certificate is that of an authority.
    #[error("its certificate is one of an authority, not of a server")]
    OfAuthority,
    /// The server speaks no TLS.
    #[error("it speaks no TLS")]
    NoTls,
}

impl Distrust {
    /// Returns why a call failed, if its server is not believed.
    pub fn of(error: &reqwest::Error) -> Option<Self> {
        Self::of_tls(of_cause(error)?)
    }

    fn of_tls(error: &Error) -> Option<Self> {
        let certificate = match error {
            Error::InvalidCertificate(certificate) => certificate,
            Error::InvalidMessage(_) => return Some(Self::NoTls),
            _ => return None,
        };
        Some(match certificate {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Self::UnknownAuthority
            }
            CertificateError::NotValidForNameContext { presented, .. } => {
                Self::OtherName(names(presented).join(", "))
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::OtherTime,
            CertificateError::Other(OtherError(other)) if other.is::<OtherCertificate>() => {
                Self::OtherCertificate
            }
            other if is_of_authority(other) => Self::OfAuthority,
            _ => return None,
        })
    }
}

/// Returns the error of TLS among the causes. What an `io::Error` holds is not its source.
fn of_cause<'e>(cause: &'e (dyn std::error::Error + 'static)) -> Option<&'e Error> {
    let held = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    cause.downcast_ref().or_else(|| of_cause(held?)).or_else(|| of_cause(cause.source()?))
}

fn pinned(certificate: CertificateDer<'static>) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let verifier = Arc::new(Pinned { certificate, provider });
    Ok(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// The server has another certificate than the expected one.
#[derive(Debug, thiserror::Error)]
#[error("the server has another certificate than the one of `server.tls.cert`")]
struct OtherCertificate;

/// Accepts one certificate. Its server proves with each handshake that it has the key.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *end_entity == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::Other(OtherError(Arc::new(OtherCertificate))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
