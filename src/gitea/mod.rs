//! The forge: webhooks in, API and runner protocol out.

pub mod client;
pub mod demand;
pub mod version;
pub mod webhook;
mod wire;
