//! The deciding half of tinqs-ci: observe, decide, act, record.
//!
//! In reading order: a [`model::Run`] is one job's need for a machine; a [`model::Class`] says how
//! it is served. [`controller`] reads the store, the forge and the cloud through [`ports`] into a
//! [`model::Observation`]; [`plan`] is a pure function of it; the controller carries the plan out,
//! and [`plan::record`] turns the results into the next status, which is written by
//! compare-and-set. This crate uses no vendor, socket, file, clock or thread.

pub mod controller;
pub mod model;
pub mod plan;
pub mod ports;
pub mod text;
