//! The server: runs the controller's loops and serves HTTP. It decides nothing.

mod guarded;
pub mod http;
#[cfg(feature = "aws")]
pub mod lambda;
mod looks;
mod pass;
mod probe;
mod serve;
mod state;
mod ticks;

pub use probe::StoreProbe;
pub use serve::{run, serve};
pub use state::{Error, Nudge, Paces, Parts, Role, controller_settings, replica};
