//! Configuration of AWS.

use tinqs_ci_reconciler::model::Class;

/// The resources in AWS to use; empty if there are none.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Value of the machine tag `tinqs-ci`.
    pub installation: String,
    /// The `DynamoDB` table that stores runs.
    pub table: Option<String>,
    /// The URL of the SQS queue that holds wakes.
    pub queue: Option<String>,
    /// The EC2 region that machines run in.
    pub region: Option<String>,
    /// The classes whose machines are launched in EC2.
    pub classes: Vec<Class>,
}
