//! The arguments of `demo`.

use std::path::PathBuf;

use clap::Args;

use crate::commands::demo::Fault;

#[derive(Debug, Args)]
pub(in crate::commands) struct Demo {
    /// Keep running after the demo, until Ctrl-C
    #[arg(long)]
    pub(in crate::commands) stay: bool,
    /// Seed of the random durations
    #[arg(long, default_value_t = 1)]
    pub(in crate::commands) seed: u64,
    /// Speed factor; at 1, a simulated minute takes one second
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    pub(in crate::commands) speed: f64,
    /// Inject a fault until Ctrl-C, to see which alert it fires
    #[arg(long, hide = true, value_enum)]
    pub(in crate::commands) fault: Option<Fault>,
    /// Serve by TLS with the certificate in this file, which the simulated forge does not verify
    #[arg(long, hide = true, value_name = "FILE", requires = "tls_key")]
    pub(in crate::commands) tls_cert: Option<PathBuf>,
    /// The private key of the certificate
    #[arg(long, hide = true, value_name = "FILE", requires = "tls_cert")]
    pub(in crate::commands) tls_key: Option<PathBuf>,
}
