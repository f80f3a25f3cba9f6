//! The forge's rules, part by part: one test program, because mutation testing builds it many
//! times.

mod events;
mod expressions;
mod glob;
mod jobs;
mod naive;
mod stored;
mod triggers;
mod yaml;
