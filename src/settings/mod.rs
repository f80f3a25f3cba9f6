//! Loads the settings from the configuration file and the environment.

mod check;
mod ec2;
mod keys;
mod load;
mod mistake;
mod reader;
mod schema;
mod tree;
mod types;

pub(crate) use check::{address, label_problem, listen, scope};
pub use keys::{Form, Key, TOP};
pub use load::{DEFAULT_FILE, FILE_VARIABLE, Loaded, load, parse};
pub use mistake::Mistakes;
pub use schema::{reference, schema};
pub use tree::Env;
pub use types::{AWS, ComputeUrl, QueueUrl, Server, Settings, StoreUrl};
