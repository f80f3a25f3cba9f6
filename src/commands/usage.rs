//! `usage`: what the machines of a month did, and what that cost.

use super::args::{Usage, UsageOutput};
use super::failure::{Failure, out};
use super::local;
use super::print;
use super::remote::client;
use super::screen::screen;
use crate::settings::Env;

/// Prints the usage of a month.
pub(super) async fn usage(args: Usage, env: &Env) -> Result<(), Failure> {
    let month = args.month.map(|month| month.to_string());
    let list = client(&args.server, env)?.usage(args.by.into(), month.as_deref()).await?;
    out(&match args.output {
        UsageOutput::Table => print::usage(&list, screen(env)),
        UsageOutput::Csv => list.csv(),
        UsageOutput::Json => local::json(&list)?,
        UsageOutput::Yaml => print::yaml(&list)
            .map_err(|error| Failure::failed(format!("cannot encode as YAML: {error}")))?,
    })
}
