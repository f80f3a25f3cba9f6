//! The pretended world: one state, several mouths.

pub mod clock;
pub mod cloud;
pub mod executor;
pub mod faults;
pub mod forge;
pub mod gitea_wire;
pub mod laws;
pub mod ports;
pub mod world;
