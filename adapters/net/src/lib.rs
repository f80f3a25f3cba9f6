//! HTTP clients: each one of this program begins here.

/// A client to be set up, with TLS by `ring`.
pub fn http_client() -> reqwest::ClientBuilder {
    // Refused only where the process has a provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
