//! The access token: where it comes from, and where the server will find it.

use std::path::{Path, PathBuf};

use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::{cut, escape};

use super::Flags;
use super::ask::Prompter;
use crate::commands::failure::Failure;
use crate::settings::Env;

/// The way to get a token, as a hint.
pub(super) const CREATE: &str = "create one in Gitea: Settings → Applications → Generate New Token";

/// The place where the server will find the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenPlace {
    /// In the named environment variable.
    Variable(String),
    /// In the named file.
    File(PathBuf),
    /// In the file beside the configuration, which `init` writes if it does not exist.
    Beside,
}

/// Whether a token is given, or was kept in the file `beside` the configuration, so that no question is needed.
pub(super) fn is_given(flags: &Flags, env: &Env, beside: &Path) -> bool {
    flags.token.is_some()
        || flags.token_file.is_some()
        || flags.token_env.is_some()
        || env.get("GITEA_TOKEN").is_some_and(|token| !token.is_empty())
        || beside.exists()
}

/// Returns the token of the flags, of `GITEA_TOKEN`, or of the file `beside` the configuration that an
/// earlier `init` wrote; else asks for it.
pub(super) fn first(
    flags: &Flags,
    env: &Env,
    beside: &Path,
    prompter: &mut Prompter,
) -> Result<(Secret, TokenPlace), Failure> {
    if let Some(token) = &flags.token {
        return Ok((Secret::new(token.trim()), TokenPlace::Beside));
    }
    if let Some(name) = &flags.token_env {
        let token = env.get(name).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| {
            let shown = cut(name, 60);
            Failure::usage(format!("--token-env: the environment variable {shown} is not set"))
                .hint("set it to an access token, here and where `serve` runs")
        })?;
        return Ok((Secret::new(token.trim()), TokenPlace::Variable(name.clone())));
    }
    if let Some(file) = &flags.token_file {
        let token = read(file)?;
        let whole = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        return Ok((token, TokenPlace::File(whole)));
    }
    // Not by its variable: the next command would have to be given it, too.
    if let Some(token) = env.get("GITEA_TOKEN").filter(|token| !token.is_empty()) {
        return Ok((Secret::new(token.trim()), TokenPlace::Beside));
    }
    if beside.exists() {
        return Ok((read(beside)?, TokenPlace::Beside));
    }
    let question = "Access token (from Settings → Applications; input is hidden)";
    loop {
        let answer = prompter.ask_hidden(question)?;
        if !answer.is_empty() {
            return Ok((Secret::new(answer), TokenPlace::Beside));
        }
        let failure = Failure::usage("no access token was entered").hint(CREATE);
        if !prompter.can_ask() {
            return Err(failure);
        }
        failure.end();
    }
}

/// Asks for another token; `None` keeps the present one.
pub(super) fn another(prompter: &mut Prompter) -> Result<Option<Secret>, Failure> {
    let answer = prompter.ask_hidden("Access token (empty: try the same again)")?;
    Ok((!answer.is_empty()).then(|| Secret::new(answer)))
}

/// Reads a token from a file.
fn read(file: &Path) -> Result<Secret, Failure> {
    let shown = escape(&file.to_string_lossy());
    let hint = "the file must contain an access token on one line";
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!("cannot read the token file {shown}: {error}")).hint(hint)
    })?;
    if text.trim().is_empty() {
        return Err(Failure::usage(format!("the token file {shown} is empty")).hint(hint));
    }
    Ok(Secret::new(text.trim()))
}
