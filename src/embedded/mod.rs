//! One host: redb, a queue in the process, child processes as machines.

pub mod process;
pub mod queue;
pub mod store;
