//! A simulated cloud, forge, store and queue: one shared state behind several interfaces.

#![allow(
    clippy::struct_excessive_bools,
    clippy::single_match_else,
    clippy::needless_pass_by_value,
    reason = "independent switches of a fault profile; match arms read better side by side"
)]

pub mod aws_wire;
pub mod clock;
pub mod cloud;
pub mod ec2_wire;
pub mod executor;
pub mod faults;
pub mod forge;
pub mod formats;
pub mod gitea_wire;
pub mod laws;
mod loopback;
pub mod play;
pub mod ports;
pub mod schedule;
pub mod sqs_wire;
pub mod world;
