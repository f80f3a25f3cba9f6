//! Push mode: evaluates webhook deliveries as the forge does, and creates runs.

pub mod evaluate;
mod inbox_loop;
pub mod runs;

pub use inbox_loop::{Pass, PushResult, Pushes};
