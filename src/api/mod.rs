//! The answers of `/v1`, defined once for the server and the command line.

pub mod explain;
mod plan_view;
pub mod status;
mod types;

pub use plan_view::plan_view;
pub use types::{
    Change, Class, Health, List, MachineView, Part, Plan, Problem, Ready, Registration,
};
