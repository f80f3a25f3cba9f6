//! The outer package: everything of tinqs-ci that touches the world.

pub mod api;
#[cfg(feature = "aws")]
pub mod aws;
pub mod boot;
pub mod cli;
pub mod client;
pub mod config;
mod cursor;
pub mod demo;
pub mod doctor;
pub mod embedded;
pub mod eval;
pub mod gitea;
pub mod http;
pub mod init;
#[cfg(feature = "aws")]
pub mod lambda;
pub mod print;
pub mod schemas;
pub mod serve;
pub mod settings;
pub mod telemetry;
mod tls;
