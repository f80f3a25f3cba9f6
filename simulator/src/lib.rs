//! The pretended world: one state, several mouths.

pub mod cloud;
pub mod forge;
pub mod clock;
pub mod faults;
pub mod laws;
pub mod ports;
pub mod executor;
pub mod world;
pub mod gitea_wire;
