//! What is configured of AWS.

use tinqs_ci_reconciler::model::Class;

/// What is kept and runs in AWS; empty where nothing does.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Value of the machine tag `tinqs-ci`.
    pub installation: String,
    /// The table of `DynamoDB` that runs are kept in.
    pub table: Option<String>,
    /// The address of the SQS queue that wake-ups are kept in.
    pub queue: Option<String>,
    /// The region of EC2 that machines run in.
    pub region: Option<String>,
    /// The classes, whose machines are launched in EC2.
    pub classes: Vec<Class>,
}
