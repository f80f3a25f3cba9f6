//! The decision of tinqs-ci: what is seen, what is decided, what is written.
//!
//! The path, in reading order: a [`model::Run`] is one job's need for a machine; a
//! [`model::Class`] says how it is served. [`controller`] reads both sides of the world through
//! [`ports`] into a [`model::Observation`]; [`plan`] decides from it, purely; the controller
//! carries the decision out, and [`plan::record`] turns the outcomes into the next status, which
//! is written by compare-and-set.
//! Nothing here knows a vendor, a socket, a file, a clock or a thread.

pub mod controller;
pub mod model;
pub mod mutant;
pub mod plan;
pub mod ports;
pub mod text;
