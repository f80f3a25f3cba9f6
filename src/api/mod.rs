//! The answers of `/v1`, defined once for the server and the command line.

pub mod explain;
pub mod machine;
mod plan_view;
mod types;

pub use plan_view::plan_view;
pub use types::{
    Change, Class, Doing, Health, List, MachineJob, MachineView, Part, Plan, Problem, Ready,
    Registration, Reloaded,
};
