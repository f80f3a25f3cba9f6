//! The arguments of `config`.

use clap::Subcommand;

use super::{CODES_LOCAL, ConfigFile, TextOrJson};

#[derive(Debug, Subcommand)]
pub(in crate::commands) enum Config {
    /// Check the configuration without calling anything
    #[command(after_help = CODES_LOCAL)]
    Check {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Show every value, and whether it is a default, from the file or from a variable
    #[command(after_help = CODES_LOCAL)]
    Show {
        #[command(flatten)]
        config: ConfigFile,
        /// Output format
        #[arg(short, long, value_enum, default_value_t = TextOrJson::Text)]
        output: TextOrJson,
    },
}
