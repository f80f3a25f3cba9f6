//! The answers of `/v1`, defined once for the server and the command line.

pub mod backup;
mod drift;
mod events;
pub mod explain;
mod log;
pub mod machine;
mod plan_view;
pub mod status;
mod types;
mod usage;

pub use drift::{DriftList, DriftView, drift_views};
pub use events::{Event, EventKind, EventList, EventObject};
pub use log::{LOG_CUT, LOG_TAIL_LIMIT, MACHINE_STATE};
pub use plan_view::plan_view;
pub use types::{
    BudgetUse, Change, Class, Health, List, MachineActivity, MachineJob, MachineView, Part, Pauses,
    Plan, Problem, Ready, Registration, Reloaded, RepoSeats, SignIn, Unavailable,
};
pub use usage::{Month, UsageBy, UsageList, UsageRow, UsageSum, usage_list};
