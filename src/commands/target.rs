//! What an argument names: a run, by its name or by its job's URL, or a machine.

use reqwest::Url;
use tinqs_ci_reconciler::model::{Run, RunName};
use tinqs_ci_reconciler::text::cut;

use super::failure::Failure;
use super::remote;
use crate::commands::client::{Client, RunFilter};

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
    if id.is_none() && (is_url(text) || is_run(text)) {
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

/// Finds the run that `text` names: `job-1`, `run/job-1`, or the URL of its job's page.
pub(super) async fn find_run(text: &str, client: &Client) -> Result<Run, Failure> {
    if !is_url(text) {
        return Ok(client.run(&remote::run_name(text)?).await?.run);
    }
    let wrong = || Failure::usage(format!("`{}` is not a URL", cut(text, 200)));
    let url = Url::parse(text).map_err(|_| wrong())?;
    let runs = client.runs(&RunFilter::default()).await?.items;
    let path = url.path().trim_end_matches('/');
    let of_page = |page: &str| -> Vec<&Run> {
        let is_part = |run: &&Run| path_of(run).is_some_and(|of| is_below(&of, page));
        runs.iter().filter(is_part).collect()
    };
    let mut found = of_page(path);
    if let (true, Some((page, _))) = (found.is_empty(), path.rsplit_once("/jobs/")) {
        // The forge may number the jobs of a page in another way; one job needs no number.
        found = of_page(page);
        if found.len() > 1 {
            found.clear();
        }
    }
    match found[..] {
        [run] => Ok(run.clone()),
        [] => Err(Failure::not_found(format!("no run is known for {}", cut(text, 300)))
            .hint("`tinqs-ci get runs` lists the runs; `tinqs-ci explain job ID` explains a job")),
        _ => {
            let names: Vec<&str> = found.iter().map(|run| run.name.as_str()).collect();
            Err(Failure::usage(format!("{} has several jobs", cut(text, 300)))
                .hint(format!("name one of {}", cut(&names.join(", "), 300))))
        }
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

fn is_run(text: &str) -> bool {
    text.starts_with("run/") || text.starts_with("runs/") || text.parse::<RunName>().is_ok()
}

/// Returns the path of the page of a run's job. The host may have several names.
fn path_of(run: &Run) -> Option<String> {
    let url = Url::parse(&run.spec.about.url).ok()?;
    let path = url.path().trim_end_matches('/');
    path.contains("/actions/runs/").then(|| path.to_owned())
}

/// Whether the page of a job is this page, or belongs to it.
fn is_below(job: &str, page: &str) -> bool {
    let rest = job.strip_prefix(page).filter(|_| page.contains("/actions/runs/"));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_jobs_below_it() {
        let job = "/acme/web/actions/runs/8/jobs/0";
        for page in [job, "/acme/web/actions/runs/8"] {
            assert!(is_below(job, page), "{page}");
        }
        for page in ["", "/acme/web", "/acme/web/actions", "/acme/web/actions/runs/8/jobs/1"] {
            assert!(!is_below(job, page), "{page}");
        }
        assert!(!is_below("/acme/web/actions/runs/81/jobs/0", "/acme/web/actions/runs/8"));
    }
}
