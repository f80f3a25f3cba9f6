//! The forge's rules for workflow files, as pure functions: which files run for which event, and
//! which jobs they have.
//!
//! In reading order: [`yaml`] parses a file to nodes; [`shape`] checks them against the forge's
//! types, [`on`] reads the events that the file names and [`jobs`] its jobs; [`glob`] matches
//! patterns; [`files`] finds a commit's workflow files and [`changes`] the files that a push
//! changed; [`trigger`] evaluates one file for one event, and [`notify`] goes the whole way from an
//! event to workflow runs.

pub mod changes;
mod expression;
mod fields;
pub mod files;
pub mod glob;
pub mod jobs;
pub mod notify;
pub mod on;
pub mod shape;
pub mod trigger;
mod value;
pub mod yaml;

/// The server's release line: the rules differ in parts.
///
/// Passed as a value, chosen from the server's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// 1.25 and older.
    V1_25,
    /// 1.26: the whole file is validated before it triggers; `WORKFLOW_DIRS`.
    V1_26,
    /// 1.27 and newer: another pattern engine; reusable workflows expanded on the server.
    V1_27,
}
