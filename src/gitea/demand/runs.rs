//! From what the forge makes of an occasion to runs of ours: their names, and what they need. Pure.

use std::collections::{HashMap, HashSet};

use tinqs_ci_reconciler::run::{About, JobRef, RunName, Spec};
use tinqs_ci_reconciler::workflow::jobs::PlannedJob;

use super::evaluate::{Evaluated, WorkflowRun};

/// Runs that one run waits for, or calls, at most. Of more, waiting for some is as good: they end
/// about together, and who comes too early tries again.
const NEIGHBOURS: usize = 256;
/// Characters kept of a text that is only for people.
const TEXT: usize = 300;

/// The name of the run of a job.
///
/// A function of what makes it that job and nothing else, so that a delivery sent twice, or
/// evaluated twice, names the same runs: repository, ref, commit, workflow, job and matrix index;
/// then what tells two workflow runs of one file and commit apart: the event and which of the
/// file's matching entries it is, and what tells two such events apart that lead to the same commit
/// (a branch moved back and forth, a label set twice).
pub fn name(evaluated: &Evaluated, run: &WorkflowRun, job: &PlannedJob) -> RunName {
    let (repo, index) = (evaluated.occasion.repo_id.to_string(), job.matrix_index.to_string());
    let ordinal = run.ordinal.to_string();
    let mut parts: Vec<&str> = vec![
        &repo,
        &run.git_ref,
        &run.commit,
        &run.workflow,
        &job.job_id,
        &index,
        &evaluated.occasion.event,
        &ordinal,
    ];
    parts.extend(evaluated.occasion.distinct.iter().map(String::as_str));
    RunName::push(&parts)
}

/// The runs that an occasion calls for, each after those that it needs. Only jobs that `served`
/// takes have one: what the others do is not known, so nobody waits for them.
pub fn runs(evaluated: &Evaluated, served: impl Fn(&[String]) -> bool) -> Vec<(RunName, Spec)> {
    let mut all = Vec::new();
    for run in evaluated.runs.iter().filter(|run| !run.held) {
        let Ok(jobs) = &run.jobs else { continue };
        let ours: Vec<&PlannedJob> =
            jobs.iter().filter(|job| job.dispatched && served(&job.runs_on)).collect();
        let mut names: HashMap<&str, Vec<RunName>> = HashMap::new();
        let mut dependents: HashMap<&str, Vec<RunName>> = HashMap::new();
        for job in &ours {
            let own = name(evaluated, run, job);
            for needed in &job.needs {
                dependents.entry(needed).or_default().push(own.clone());
            }
            names.entry(&job.job_id).or_default().push(own);
        }
        for job in in_waves(&ours) {
            let needs: Vec<RunName> = job
                .needs
                .iter()
                .filter_map(|needed| names.get(needed.as_str()))
                .flatten()
                .take(NEIGHBOURS)
                .cloned()
                .collect();
            let called = dependents.get(job.job_id.as_str());
            let needed_by = called.into_iter().flatten().take(NEIGHBOURS).cloned().collect();
            let spec = Spec {
                job: JobRef {
                    repo: bounded(&evaluated.occasion.repo),
                    repo_id: evaluated.occasion.repo_id,
                    job_id: 0,
                },
                runs_on: job.runs_on.clone(),
                about: about(evaluated, run, job),
                needs,
                needed_by,
            };
            all.push((name(evaluated, run, job), spec));
        }
    }
    all
}

/// Each job after those that it needs; a circle last, in the file's order.
fn in_waves<'a>(jobs: &[&'a PlannedJob]) -> Vec<&'a PlannedJob> {
    let ours: HashSet<&str> = jobs.iter().map(|job| job.job_id.as_str()).collect();
    let mut placed: HashSet<&str> = HashSet::new();
    let mut sorted = Vec::with_capacity(jobs.len());
    let mut rest: Vec<&PlannedJob> = jobs.to_vec();
    while !rest.is_empty() {
        let waits = |needed: &str| ours.contains(needed) && !placed.contains(needed);
        let (later, now): (Vec<&PlannedJob>, Vec<&PlannedJob>) =
            rest.iter().partition(|job| job.needs.iter().any(|needed| waits(needed)));
        if now.is_empty() {
            sorted.extend(later);
            break;
        }
        placed.extend(now.iter().map(|job| job.job_id.as_str()));
        sorted.extend(now);
        rest = later;
    }
    sorted
}

fn about(evaluated: &Evaluated, run: &WorkflowRun, job: &PlannedJob) -> About {
    let git_ref = run.git_ref.as_str();
    let short = ["refs/heads/", "refs/tags/"].iter().find_map(|begin| git_ref.strip_prefix(begin));
    let page = evaluated.occasion.payload.pointer("/repository/html_url");
    let page = page.and_then(serde_json::Value::as_str).filter(|url| url.starts_with("http"));
    About {
        repo: bounded(&evaluated.occasion.repo),
        workflow: bounded(&run.workflow),
        job: bounded(&job.name),
        branch: bounded(short.unwrap_or(git_ref)),
        commit: bounded(&run.commit),
        run_id: 0,
        url: page.map(|url| bounded(&format!("{url}/actions"))).unwrap_or_default(),
    }
}

fn bounded(text: &str) -> String {
    text.chars().take(TEXT).collect()
}
