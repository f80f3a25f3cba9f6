//! The server: runs the controller's loops and serves HTTP. It decides nothing.

mod audit;
mod drift;
mod file_watch;
mod guarded;
pub mod http;
#[cfg(feature = "aws")]
pub mod lambda;
mod listeners;
mod live;
mod own_token;
mod pass;
mod pauses;
mod probe;
mod reload;
mod secret_sources;
mod secret_watch;
mod serve;
mod state;
mod ticks;
mod tls_watch;
mod workers;

pub use listeners::Listeners;
pub use live::{Live, controller_settings};
pub use probe::StoreProbe;
pub use reload::Reloader;
pub use serve::{run, serve};
pub use state::{Error, Intervals, Parts, PollSignal, Role, replica};
