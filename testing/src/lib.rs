//! Test support that several crates share. Only tests depend on it.
//!
//! - [`world`]: all ports of the controller in memory, as one world that a test arranges.
//! - [`conformance`]: the laws of each port, for every adapter and for the world itself.
//! - [`make`]: runs, classes, attempts and machines.
//! - [`cases`]: the decision table's cases, as data.
//! - [`certificates`]: certificates and keys, for TLS.
//! - [`iam`]: evaluates the policies of the AWS roles.
//! - [`fake_runner`]: a runner for process machines that does what it is told.

pub mod cases;
pub mod certificates;
pub mod conformance;
pub mod fake_runner;
pub mod iam;
pub mod make;
pub mod world;

pub use world::{LaunchAnswer, LaunchCall, State, TestWorld, ready};
