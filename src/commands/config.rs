//! `config`: checks the configuration, and shows the effective one.

use super::args::{Config, TextOrJson};
use super::failure::{Failure, out, warn};
use super::local;
use crate::settings::{self, Env, Setting};

pub(super) fn run(verb: Config, env: &Env) -> Result<(), Failure> {
    match verb {
        Config::Check { config } => {
            let loaded = settings::load(config.config.as_deref(), env)?;
            for warning in &loaded.warnings {
                warn(warning);
            }
            out(&format!("✓ {loaded}\n"))
        }
        Config::Show { config, output } => {
            let shown = settings::show(config.config.as_deref(), env)?;
            out(&match output {
                TextOrJson::Text => table(&shown),
                TextOrJson::Json => local::json(&shown)?,
            })
        }
    }
}

/// Formats one line per value, with aligned origins.
fn table(settings: &[Setting]) -> String {
    use std::fmt::Write as _;
    let lines: Vec<(String, &str)> = settings
        .iter()
        .map(|setting| (format!("{} = {}", setting.key, setting.value), setting.origin.as_str()))
        .collect();
    // A long value must not move all origins.
    let width = lines.iter().map(|(line, _)| line.chars().count()).filter(|w| *w <= 60).max();
    let width = width.unwrap_or(0);
    let mut text = String::new();
    for (line, origin) in lines {
        let _ = writeln!(text, "{line:width$}  # {origin}");
    }
    text
}
