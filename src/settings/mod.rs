//! Loads the settings from the configuration file and the environment.

mod beside;
mod certificate;
mod changes;
mod check;
mod credentials;
mod ec2;
mod forge;
mod keys;
mod load;
mod log_filter;
mod machine_options;
mod machines;
mod mistake;
mod numbers;
mod prices;
mod reader;
mod refused;
mod renamed;
mod reruns;
mod runner;
mod runner_config;
mod schema;
mod secret_sources;
mod server;
mod show;
mod small_file;
mod tls;
mod tree;
mod types;

pub use beside::{LocalServer, data_socket, own_token_file, runtime_socket};
pub(crate) use certificate::days;
pub use certificate::{Tls, Validity};
pub use changes::{Changes, merge};
pub(crate) use check::label_problem;
pub(crate) use forge::{address, scope};
pub use keys::{Form, Key, TOP};
pub use load::{DEFAULT_FILE, FILE_VARIABLE, Loaded, Source, load, parse, show};
pub use mistake::Mistakes;
pub use schema::{reference, schema};
pub use secret_sources::{SecretFile, SecretInAws, SecretSources};
pub(crate) use server::listen;
pub use show::Setting;
pub use tree::Env;
pub(crate) use tree::nearest;
pub use types::{
    AWS, ComputeUrl, LaunchRate, ProcessUser, QueueUrl, Right, Server, Settings, StoreUrl, Token,
};
