//! `drift`: what differs for longer than its stage allows.

use super::args::{Drift, DriftOutput};
use super::failure::{Failure, out};
use super::local;
use super::print::{self, Detail, Screen};
use super::remote::client;
use super::screen::screen;
use crate::settings::Env;

/// Prints the open drift. With `--exit-code`, ends with 2 if there is some.
pub(super) async fn drift(args: Drift, env: &Env) -> Result<(), Failure> {
    let list = client(&args.server, env)?.drift().await?;
    out(&match args.output {
        DriftOutput::Text => print::drift(&list),
        DriftOutput::Wide if list.items.is_empty() => print::drift(&list),
        DriftOutput::Wide => {
            let screen = Screen { width: None, ..screen(env) };
            print::table(&list.items, Detail::Wide, list.now).lines(screen, &mut Vec::new(), true)
        }
        DriftOutput::Json => local::json(&list)?,
        DriftOutput::Yaml => print::yaml(&list)
            .map_err(|error| Failure::failed(format!("cannot encode as YAML: {error}")))?,
    })?;
    if args.exit_code && !list.items.is_empty() { Err(Failure::silent(2)) } else { Ok(()) }
}
