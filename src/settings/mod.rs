//! Loads the settings from the configuration file and the environment.

mod check;
mod ec2;
mod keys;
mod load;
mod mistake;
mod reader;
mod schema;
mod show;
mod tree;
mod types;

pub(crate) use check::{address, label_problem, listen, scope};
pub use keys::{Form, Key, TOP};
pub use load::{DEFAULT_FILE, FILE_VARIABLE, Loaded, load, parse, show};
pub use mistake::Mistakes;
pub use schema::{reference, schema};
pub use show::Setting;
pub use tree::Env;
pub(crate) use tree::nearest;
pub use types::{AWS, ComputeUrl, QueueUrl, Server, Settings, StoreUrl};
