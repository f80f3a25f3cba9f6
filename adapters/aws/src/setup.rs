//! The set-up of an account: the table and the queue, made where they are missing.

#[cfg(feature = "sdk")]
mod make;
#[cfg(feature = "sdk")]
mod queue;
mod report;

#[cfg(feature = "sdk")]
pub use make::{Wish, run};
pub use report::{Mistake, SetupError, SetupReport};
