//! The package `tinqs-ci`: serves and commands. `docs/architecture.md` is its map.

pub mod api;
pub mod backends;
pub mod commands;
pub mod push;
pub mod server;
pub mod settings;
pub mod telemetry;
