//! Set-up of an account: creates the table and the queue if they are missing.

#[cfg(feature = "sdk")]
mod make;
#[cfg(feature = "sdk")]
mod queue;
mod report;

#[cfg(feature = "sdk")]
pub use make::{SetupRequest, run};
pub use report::{Mistake, SetupError, SetupReport};
