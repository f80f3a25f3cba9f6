//! Loads the settings from the configuration file and the environment.

mod changes;
mod check;
mod ec2;
mod forge;
mod keys;
mod load;
mod log_filter;
mod mistake;
mod reader;
mod schema;
mod secret_file;
mod show;
mod tree;
mod types;

pub use changes::{Changes, merge};
pub(crate) use check::{label_problem, listen};
pub(crate) use forge::{address, scope};
pub use keys::{Form, Key, TOP};
pub use load::{DEFAULT_FILE, FILE_VARIABLE, Loaded, Source, load, parse, show};
pub use mistake::Mistakes;
pub use schema::{reference, schema};
pub use secret_file::SecretFile;
pub use show::Setting;
pub use tree::Env;
pub(crate) use tree::nearest;
pub use types::{AWS, ComputeUrl, QueueUrl, Server, Settings, StoreUrl};
