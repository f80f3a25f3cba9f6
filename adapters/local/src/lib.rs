//! Adapters for one host: a store in redb, a queue in the process, child processes as machines.

mod clock;
pub mod process;
pub mod queue;
pub mod store;

pub use clock::SystemClock;
