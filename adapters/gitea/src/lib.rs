//! The Gitea adapter: webhooks, API and runner protocol.

pub mod client;
mod config;
pub mod demand;
mod job_times;
pub mod trigger_event;
pub mod version;
pub mod webhook;
mod wire;

pub use config::{Config, Demand, RegisterIn, Scope};
pub use wire::owner_and_name;
