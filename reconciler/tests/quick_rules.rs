//! The tests of the forge's rules in one program, for mutation testing (`docs/testing.md`).

#[path = "workflow_events.rs"]
mod workflow_events;
#[path = "workflow_expressions.rs"]
mod workflow_expressions;
#[path = "workflow_glob.rs"]
mod workflow_glob;
#[path = "workflow_jobs.rs"]
mod workflow_jobs;
#[path = "workflow_stored.rs"]
mod workflow_stored;
#[path = "workflow_triggers.rs"]
mod workflow_triggers;
#[path = "workflow_yaml.rs"]
mod workflow_yaml;
