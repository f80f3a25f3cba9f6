//! HTTP clients and TLS: every client of this program is built here, and the server's side of TLS.

mod identity;
mod trust;

pub use identity::{Flaw, Identity, Part, TlsStream};
pub use trust::{Distrust, Trust, http_client, http_client_of};
