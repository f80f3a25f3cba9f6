//! Loads the settings from the configuration file and the environment.

mod beside;
mod changes;
mod check;
mod credentials;
mod ec2;
mod forge;
mod keys;
mod load;
mod log_filter;
mod mistake;
mod prices;
mod reader;
mod renamed;
mod schema;
mod secret_file;
mod server;
mod show;
mod tree;
mod types;

pub use beside::{Beside, data_socket, own_token_file, runtime_socket};
pub use changes::{Changes, merge};
pub(crate) use check::label_problem;
pub(crate) use forge::{address, scope};
pub use keys::{Form, Key, TOP};
pub use load::{DEFAULT_FILE, FILE_VARIABLE, Loaded, Source, load, parse, show};
pub use mistake::Mistakes;
pub use schema::{reference, schema};
pub use secret_file::SecretFile;
pub(crate) use server::listen;
pub use show::Setting;
pub use tree::Env;
pub(crate) use tree::nearest;
pub use types::{AWS, ComputeUrl, ProcessUser, QueueUrl, Right, Server, Settings, StoreUrl, Token};
