//! The AWS adapters: runs in `DynamoDB`, wakes in SQS, machines in EC2.
//!
//! Without the feature `sdk`, only [`Config`], the names of secrets and the types of the set-up
//! report are available.

#[cfg(feature = "sdk")]
mod batch;
#[cfg(feature = "sdk")]
pub mod client;
mod config;
#[cfg(feature = "sdk")]
pub mod doctor;
#[cfg(feature = "sdk")]
pub mod ec2;
#[cfg(feature = "sdk")]
pub mod errors;
#[cfg(feature = "sdk")]
pub mod events;
#[cfg(feature = "sdk")]
mod json_call;
#[cfg(feature = "sdk")]
pub mod pace;
#[cfg(feature = "sdk")]
pub mod queue;
pub mod secrets;
pub mod setup;
#[cfg(feature = "sdk")]
pub mod ssm;
#[cfg(feature = "sdk")]
pub mod store;

pub use config::Config;
