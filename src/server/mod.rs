//! The server: runs the controller's loops and serves HTTP. It decides nothing.

mod guarded;
pub mod http;
#[cfg(feature = "aws")]
pub mod lambda;
mod pass;
mod probe;
mod serve;
mod state;
mod ticks;
mod workers;

pub use probe::StoreProbe;
pub use serve::{run, serve};
pub use state::{Error, Intervals, Parts, PollSignal, Role, controller_settings, replica};
