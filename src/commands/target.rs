//! The target of an argument: a run, by its name, its job's ID or its job's URL, or a machine.

use tinqs_ci_reconciler::model::{Run, RunName};
use tinqs_ci_reconciler::text::cut;

use super::failure::Failure;
use super::remote;
use crate::api::status::{JobWhy, RunReason, WaitReasons};
use crate::commands::client::{Client, Error};

/// The subject of a command.
#[derive(Debug)]
pub(super) enum Target {
    Run(Box<Run>),
    /// The ID of a machine.
    Machine(String),
}

/// Finds what `text` names.
pub(super) async fn find(text: &str, client: &Client) -> Result<Target, Failure> {
    let id = text.strip_prefix("machine/").or_else(|| text.strip_prefix("machines/"));
    if id.is_none() && (is_of_job(text) || is_run(text)) {
        return Ok(Target::Run(Box::new(find_run(text, client).await?)));
    }
    let id = id.unwrap_or(text);
    // None of these is a segment of a path.
    if matches!(id, "" | "." | "..") {
        return Err(Failure::usage(format!("`{}` is not a machine ID", cut(text, 100)))
            .hint("`tinqs-ci get machines -o name` lists the machines"));
    }
    Ok(Target::Machine(id.to_owned()))
}

/// Finds the run that `text` names: `job-1`, `run/job-1`, the ID of its job, or the URL of that
/// job's page.
pub(super) async fn find_run(text: &str, client: &Client) -> Result<Run, Failure> {
    let name =
        if is_of_job(text) { run_of_job(text, client).await? } else { remote::run_name(text)? };
    Ok(client.run(&name).await?.run)
}

/// Asks the server why a job waits.
pub(super) async fn why(what: &str, client: &Client) -> Result<WaitReasons, Failure> {
    client.why(what).await.map_err(|error| match error {
        // The detail says what to pass.
        Error::Refused { status, detail } if status.as_u16() == 400 => {
            Failure::usage(detail).hint("see `tinqs-ci why --help`")
        }
        Error::NotFound { kind: _, name: _, detail } if !detail.is_empty() => {
            Failure::not_found(detail).hint("`tinqs-ci why` without arguments lists what waits")
        }
        error => error.into(),
    })
}

/// Returns the name of the run of a job, given by its ID or its URL. The server finds it.
async fn run_of_job(text: &str, client: &Client) -> Result<RunName, Failure> {
    let WaitReasons { job, runs, .. } = why(text.trim(), client).await?;
    let name = match (job, runs.as_slice()) {
        (Some(JobWhy { run: Some(name), .. }), _) => name,
        (None, [RunReason { run, .. }]) => run.clone(),
        (None, runs) if !runs.is_empty() => {
            let names: Vec<&str> = runs.iter().map(|run| run.run.as_str()).collect();
            return Err(Failure::usage(format!("{} has several jobs", cut(text, 300)))
                .hint(format!("name one of {}", cut(&names.join(", "), 300))));
        }
        (job, _) => {
            let state = job.map(|job| format!(": {}", cut(&job.state, 300))).unwrap_or_default();
            return Err(Failure::not_found(format!("{} has no run{state}", cut(text, 300)))
                .hint("`tinqs-ci why` with the same argument says what happens next"));
        }
    };
    remote::run_name(&name)
}

/// Whether the text is a URL or the ID of a job.
fn is_of_job(text: &str) -> bool {
    let text = text.trim();
    let digits = text.strip_prefix('#').unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number || text.contains("://")
}

fn is_run(text: &str) -> bool {
    text.starts_with("run/") || text.starts_with("runs/") || text.parse::<RunName>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_urls_are_of_jobs() {
        for text in ["7", "#7", " 7 ", "https://git.example.com/acme/web/actions/runs/8", "x://"] {
            assert!(is_of_job(text), "{text}");
        }
        for text in ["", "#", "job-7", "run/job-7", "i-07", "-7", "machine/7"] {
            assert!(!is_of_job(text), "{text}");
        }
    }
}
