//! HTTP clients: every client of this program is built here.

/// Returns a client builder with TLS by `ring`.
pub fn http_client() -> reqwest::ClientBuilder {
    // Fails only if the process already has a provider, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}
