//! The forge's rules for workflow files, as pure functions: which file runs for which event, and
//! which jobs it has.
//!
//! In reading order: [`yaml`] turns a file's bytes into nodes; [`shape`] says whether they fit the
//! forge's types, [`on`] which events the file names and [`jobs`] which jobs it has; [`glob`]
//! matches patterns; [`files`] says which of a commit's files are workflows and [`changes`] which
//! files a push changed; [`trigger`] sets one file against one event, and [`notify`] goes the whole
//! way from an event to runs.

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

/// The line of the server whose rules are meant: they differ in parts.
///
/// A value that is passed along, chosen from what the server says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// 1.25 and older.
    V1_25,
    /// 1.26: the whole file is validated before it triggers; `WORKFLOW_DIRS`.
    V1_26,
    /// 1.27 and newer: another pattern engine; reusable workflows expanded on the server.
    V1_27,
}
