//! Sentences for people: reasons, services, ends, events and durations, and what to do about them.

pub mod blocked;
pub mod clock;
pub mod drift;
mod durations;
pub mod events;
pub mod fence;
pub mod foreign;
pub mod jobs;
pub mod money;
pub mod newer;
pub mod offerings;
pub mod progress;
pub mod reasons;
pub mod services;
pub mod timeline;
pub mod unserved;

pub use durations::{ago, lasting, precisely};
