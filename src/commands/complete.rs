//! The names that a shell completes: this program asks the server for them.
//!
//! A completion must be quick and silent: without an answer in time there is nothing to complete.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use tinqs_ci_net::Trust;
use tinqs_ci_reconciler::model::{Run, Secret};
use tinqs_ci_reconciler::text::cut;

use crate::commands::client::{self, Client, RunFilter};

/// The longest wait for the server.
const WITHIN: Duration = Duration::from_millis(700);
/// The maximum number of names.
const MOST: usize = 200;
/// The columns of a description.
const SHOWN: usize = 60;

/// The kinds of `get`.
pub(super) fn kinds(current: &OsStr) -> Vec<CompletionCandidate> {
    let kinds = ["runs", "machines", "registrations", "classes", "events"];
    of_names(current, kinds.map(|kind| (kind.to_owned(), String::new())))
}

/// The names of runs, newest first.
pub(super) fn runs(current: &OsStr) -> Vec<CompletionCandidate> {
    let list = asked(async |client| {
        let filter = RunFilter { limit: Some(MOST), ..RunFilter::default() };
        Ok(client.runs(&filter).await?.items)
    });
    let about = |run: &Run| {
        let (about, phase) = (&run.spec.about, run.status.phase);
        cut(&format!("{} {} {phase:?}", run.spec.job.repo, about.job), SHOWN)
    };
    of_names(current, list.iter().map(|run| (run.name.to_string(), about(run))))
}

/// The IDs of machines, newest first.
pub(super) fn machines(current: &OsStr) -> Vec<CompletionCandidate> {
    let list = asked(async |client| Ok(client.machines().await?.items));
    let about = |run: &str| cut(&format!("launched for {run}"), SHOWN);
    of_names(current, list.iter().map(|machine| (machine.id.clone(), about(&machine.run))))
}

/// The names of runs and the IDs of machines.
pub(super) fn runs_and_machines(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut all = runs(current);
    all.extend(machines(current));
    all
}

/// The names of classes.
pub(super) fn classes(current: &OsStr) -> Vec<CompletionCandidate> {
    let list = asked(async |client| Ok(client.classes().await?.items));
    let about = |labels: &[String]| cut(&labels.join(", "), SHOWN);
    of_names(current, list.iter().map(|class| (class.name.clone(), about(&class.labels))))
}

/// Returns the names that begin with what was typed. A name that is not plain cannot be typed.
fn of_names(
    current: &OsStr,
    names: impl IntoIterator<Item = (String, String)>,
) -> Vec<CompletionCandidate> {
    let typed = current.to_str().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let names = names.into_iter().filter(|(name, _)| name.starts_with(typed));
    let names = names.filter(|(name, _)| name.chars().all(plain)).take(MOST);
    names
        .map(|(name, about)| {
            let about = Some(about).filter(|about| !about.is_empty());
            CompletionCandidate::new(name).help(about.map(Into::into))
        })
        .collect()
}

/// Asks the server of `TINQS_CI_URL`. Without an answer in time there is nothing.
fn asked<T>(call: impl AsyncFnOnce(&Client) -> Result<Vec<T>, client::Error>) -> Vec<T> {
    let variable = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
    let url = variable("TINQS_CI_URL");
    let token = variable("TINQS_CI_API_TOKEN").map(Secret::new);
    let trust = variable("TINQS_CI_CA_FILE").and_then(|file| std::fs::read(file).ok());
    let trust = trust.and_then(|text| Trust::also(&text).ok()).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let client = Client::new(url.as_deref().unwrap_or(client::DEFAULT_URL), token, &trust);
    let (Ok(client), Ok(runtime)) = (client, runtime) else {
        return Vec::new();
    };
    let answer = async { tokio::time::timeout(WITHIN, call(&client)).await };
    let list = runtime.block_on(answer).ok().and_then(Result::ok).unwrap_or_default();
    // A resolver that hangs must not delay the shell.
    runtime.shutdown_background();
    list
}
