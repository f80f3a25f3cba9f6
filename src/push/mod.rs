//! Push mode: deliveries are evaluated as the forge would, and become runs.

pub mod evaluate;
mod inbox_loop;
pub mod runs;

pub use inbox_loop::{Pass, PushResult, Pushes};
