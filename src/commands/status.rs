//! `status` and `why`.

use jiff::Timestamp;

use super::args::{Server, TextOrJson};
use super::failure::{Failure, out};
use super::local;
use super::remote::client;
use crate::commands::client::Error;
use crate::commands::print;
use crate::settings::Env;

/// Prints what is well and what is not. Ends with exit code 1 if something needs a person.
pub(super) async fn status(output: TextOrJson, server: &Server, env: &Env) -> Result<(), Failure> {
    let status = client(server, env)?.status().await?;
    out(&match output {
        TextOrJson::Text => print::status(&status),
        TextOrJson::Json => local::json(&status)?,
    })?;
    if status.needs_person() { Err(Failure::silent(1)) } else { Ok(()) }
}

/// Prints why a job waits, or everything that is not well.
pub(super) async fn why(
    what: &str,
    output: TextOrJson,
    server: &Server,
    env: &Env,
) -> Result<(), Failure> {
    let answer = client(server, env)?.why(what.trim()).await;
    let why = answer.map_err(|error| match error {
        // The detail says what to pass.
        Error::Refused { status, detail } if status.as_u16() == 400 => {
            Failure::usage(detail).hint("see `tinqs-ci why --help`")
        }
        Error::NotFound { kind: _, name: _, detail } if !detail.is_empty() => {
            Failure::not_found(detail).hint("`tinqs-ci why` without arguments lists what waits")
        }
        error => error.into(),
    })?;
    out(&match output {
        TextOrJson::Text => print::why(&why, Timestamp::now()),
        TextOrJson::Json => local::json(&why)?,
    })
}
