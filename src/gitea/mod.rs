//! The forge: webhooks in, API and runner protocol out.

pub mod client;
pub mod demand;
pub mod webhook;
