//! `status` and `why`.

use jiff::Timestamp;

use super::args::{Server, TextOrJson};
use super::failure::{Failure, out};
use super::remote::client;
use super::{local, target};
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
    let why = target::why(what.trim(), &client(server, env)?).await?;
    out(&match output {
        TextOrJson::Text => print::why(&why, Timestamp::now()),
        TextOrJson::Json => local::json(&why)?,
    })
}
