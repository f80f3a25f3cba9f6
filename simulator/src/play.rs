//! Histories: what people push and when, under which fault profile, and the outcome. [`run`] plays
//! a seed's history in a [`World`](crate::world::World).

mod draw;
mod drive;
mod interrupts;
mod month;
mod narrow;
mod outcome;
mod people;
mod profile;
mod profiles;
mod renames;
mod replica;
mod scramble;
mod strangers;
mod truth;
mod user_actions;
mod variant;

pub use draw::linux;
pub use drive::{chronicle, run, run_scheduled, run_variant, run_world};
pub use outcome::Outcome;
pub use profile::{Profile, Stranger, Upgrade, UserAction};
pub use variant::Variant;
