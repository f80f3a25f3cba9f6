//! The decision of tinqs-ci: what is seen, what is decided, what is written.
//!
//! The path, in reading order: a [`run::Run`] is one job's need for a machine; a [`class::Class`]
//! says how it is served. [`controller`] reads both sides of the world through [`ports`] into an
//! [`observation::Observation`]; [`plan`] and [`tidy`] decide from it, purely; the controller
//! carries the decision out and [`record`] turns the outcomes into the next status, which is
//! written by compare-and-set. Beside them [`workflow`] holds the forge's rules for workflow files.
//! Nothing here knows a vendor, a socket, a file, a clock or a thread.

pub mod class;
pub mod controller;
mod facts;
pub mod observation;
pub mod plan;
pub mod ports;
pub mod record;
pub mod run;
pub mod tidy;
pub mod workflow;
