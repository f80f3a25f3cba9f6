//! Histories: who pushes what when, in which weather, and what came of it. [`run`] lets a seed's
//! history happen in a [`World`](crate::world::World).

mod deeds;
mod draw;
mod drive;
mod narrow;
mod outcome;
mod people;
mod profile;
mod profiles;
mod replica;
mod scramble;

pub use draw::linux;
pub use drive::{chronicle, run, run_scheduled};
pub use outcome::Outcome;
pub use profile::{Deed, Profile};
