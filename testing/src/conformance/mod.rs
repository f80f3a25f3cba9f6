//! The laws of each port. Every adapter is held to them, and so is the world of the tests: a fake
//! that breaks a law proves nothing.

pub mod archive;
pub mod compute;
pub mod inbox;
pub mod queue;
pub mod store;
