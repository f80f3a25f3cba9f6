//! The package `tinqs-ci`: the server and the commands. See `docs/architecture.md`.

pub mod api;
pub mod backends;
pub mod commands;
pub mod push;
pub mod server;
pub mod settings;
pub mod telemetry;
pub mod words;
