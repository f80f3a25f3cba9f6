//! Derives runs from an evaluated trigger event: their names and what they need. Pure.

use std::collections::{HashMap, HashSet};

use tinqs_ci_reconciler::model::{About, JobRef, RunName, Spec};
use tinqs_ci_workflow::jobs::PlannedJob;

use super::evaluate::{Evaluated, WorkflowRun};

/// The maximum number of runs that a run waits for, or wakes. Beyond it, waiting for some is
/// enough: they end at about the same time, and a run that comes too early retries.
const NEIGHBORS: usize = 256;
/// The maximum length of texts for people, in characters.
const TEXT: usize = 300;

/// Returns the name of a job's run.
///
/// The name depends only on the identity of the job, so that a delivery that is sent or evaluated
/// twice names the same runs. It consists of repository, ref, commit, workflow, job and matrix
/// index; the event and the index of the file's matching entry, which distinguish workflow runs of
/// one file and commit; and what distinguishes events that lead to the same commit (a branch moved
/// back and forth, a label set twice).
pub fn name(evaluated: &Evaluated, run: &WorkflowRun, job: &PlannedJob) -> RunName {
    let (repo, index) = (evaluated.trigger_event.repo_id.to_string(), job.matrix_index.to_string());
    let ordinal = run.ordinal.to_string();
    let mut parts: Vec<&str> = vec![
        &repo,
        &run.git_ref,
        &run.commit,
        &run.workflow,
        &job.job_id,
        &index,
        &evaluated.trigger_event.event,
        &ordinal,
    ];
    parts.extend(evaluated.trigger_event.distinct.iter().map(String::as_str));
    RunName::push(&parts)
}

/// Returns the runs of a trigger event, each after those that it needs. Only jobs whose labels are
/// `served` have one: the state of other jobs is unknown, so no run waits for them.
pub fn runs(evaluated: &Evaluated, served: impl Fn(&[String]) -> bool) -> Vec<(RunName, Spec)> {
    let mut all = Vec::new();
    for run in evaluated.runs.iter().filter(|run| !run.held) {
        let Ok(jobs) = &run.jobs else { continue };
        let served_jobs: Vec<&PlannedJob> =
            jobs.iter().filter(|job| job.dispatched && served(&job.runs_on)).collect();
        let mut names: HashMap<&str, Vec<RunName>> = HashMap::new();
        let mut dependents: HashMap<&str, Vec<RunName>> = HashMap::new();
        for job in &served_jobs {
            let run_name = name(evaluated, run, job);
            for needed in &job.needs {
                dependents.entry(needed).or_default().push(run_name.clone());
            }
            names.entry(&job.job_id).or_default().push(run_name);
        }
        for job in in_waves(&served_jobs) {
            let needs: Vec<RunName> = job
                .needs
                .iter()
                .filter_map(|needed| names.get(needed.as_str()))
                .flatten()
                .take(NEIGHBORS)
                .cloned()
                .collect();
            let called = dependents.get(job.job_id.as_str());
            let needed_by = called.into_iter().flatten().take(NEIGHBORS).cloned().collect();
            let spec = Spec {
                job: JobRef {
                    repo: bounded(&evaluated.trigger_event.repo),
                    repo_id: evaluated.trigger_event.repo_id,
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

/// Sorts each job after those that it needs. Cyclic jobs come last, in the file's order.
fn in_waves<'a>(jobs: &[&'a PlannedJob]) -> Vec<&'a PlannedJob> {
    let ids: HashSet<&str> = jobs.iter().map(|job| job.job_id.as_str()).collect();
    let mut placed: HashSet<&str> = HashSet::new();
    let mut sorted = Vec::with_capacity(jobs.len());
    let mut rest: Vec<&PlannedJob> = jobs.to_vec();
    while !rest.is_empty() {
        let waits = |needed: &str| ids.contains(needed) && !placed.contains(needed);
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
    let page = evaluated.trigger_event.payload.pointer("/repository/html_url");
    let page = page.and_then(serde_json::Value::as_str).filter(|url| url.starts_with("http"));
    About {
        repo: bounded(&evaluated.trigger_event.repo),
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tinqs_ci_workflow::notify::Notified;
    use tinqs_ci_workflow::{Dialect, jobs, yaml};

    use super::*;
    use tinqs_ci_gitea::trigger_event::TriggerEvent;

    const FILE: &str = "\
on: push
jobs:
  last:
    runs-on: linux
    needs: [test, elsewhere]
    steps: [{run: 'true'}]
  test:
    runs-on: linux
    needs: build
    strategy: {matrix: {n: [1, 2]}}
    steps: [{run: 'true'}]
  build:
    runs-on: linux
    steps: [{run: 'true'}]
  elsewhere:
    runs-on: other
    steps: [{run: 'true'}]
";

    fn trigger_event(change: impl FnOnce(&mut serde_json::Value)) -> TriggerEvent {
        let mut payload = json!({
            "ref": "refs/heads/main", "before": "1".repeat(40), "after": "2".repeat(40),
            "repository": {
                "id": 7, "full_name": "a/b", "updated_at": "2026-01-01T00:00:00Z",
                "html_url": "https://git.example.com/a/b",
            },
        });
        change(&mut payload);
        let trigger_event = TriggerEvent::of("push", payload.to_string().as_bytes());
        trigger_event.expect("well-formed").expect("a push")
    }

    fn evaluated(trigger_event: TriggerEvent, ordinals: &[usize]) -> Evaluated {
        let file = yaml::parse(FILE.as_bytes()).expect("YAML");
        let jobs = jobs::jobs(&file, &jobs::Context::default(), Dialect::V1_26).expect("jobs");
        let run = |ordinal: &usize| WorkflowRun {
            workflow: "ci.yml".to_owned(),
            event: "push".to_owned(),
            git_ref: trigger_event.git_ref.clone(),
            commit: trigger_event.commit.clone(),
            ordinal: *ordinal,
            held: false,
            jobs: Ok(jobs.clone()),
        };
        let runs = ordinals.iter().map(run).collect();
        let notified = Notified::default();
        let (dialect, changed, notes) = (Dialect::V1_26, None, Vec::new());
        Evaluated { trigger_event, dialect, changed, notified, runs, notes }
    }

    fn linux(labels: &[String]) -> bool {
        labels == ["linux"]
    }

    fn names(evaluated: &Evaluated) -> Vec<RunName> {
        runs(evaluated, linux).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn runs_come_after_the_runs_they_need_and_name_each_other() {
        let all = runs(&evaluated(trigger_event(|_| {}), &[0]), linux);
        let jobs: Vec<&str> = all.iter().map(|(_, spec)| spec.about.job.as_str()).collect();
        assert_eq!(jobs, ["build", "test (1)", "test (2)", "last"]);
        let name = |index: usize| all[index].0.clone();
        let needs: Vec<Vec<RunName>> = all.iter().map(|(_, spec)| spec.needs.clone()).collect();
        // The job of another class has no run here, so no run waits for it.
        let expected = [vec![], vec![name(0)], vec![name(0)], vec![name(1), name(2)]];
        assert_eq!(needs, expected);
        let called: Vec<Vec<RunName>> =
            all.iter().map(|(_, spec)| spec.needed_by.clone()).collect();
        let expected = [vec![name(1), name(2)], vec![name(3)], vec![name(3)], vec![]];
        assert_eq!(called, expected);
        let spec = &all[3].1;
        assert_eq!((spec.job.repo_id, spec.job.job_id), (7, 0));
        assert_eq!((spec.about.branch.as_str(), spec.about.workflow.as_str()), ("main", "ci.yml"));
    }

    #[test]
    fn a_repeated_delivery_names_the_same_runs_and_another_event_names_others() {
        let first = names(&evaluated(trigger_event(|_| {}), &[0]));
        assert_eq!(first, names(&evaluated(trigger_event(|_| {}), &[0])));
        let differs = |change: fn(&mut serde_json::Value)| {
            let other = names(&evaluated(trigger_event(change), &[0]));
            assert!(first.iter().all(|name| !other.contains(name)));
        };
        differs(|payload| payload["after"] = "3".repeat(40).into());
        differs(|payload| payload["before"] = "3".repeat(40).into());
        differs(|payload| payload["ref"] = "refs/heads/other".into());
        differs(|payload| payload["repository"]["id"] = 8.into());
        // The branch moved away and back: the same commits at another time.
        differs(|payload| payload["repository"]["updated_at"] = "2026-01-02T00:00:00Z".into());
    }

    #[test]
    fn two_matching_events_of_a_file_make_two_runs_of_each_job() {
        let both = names(&evaluated(trigger_event(|_| {}), &[0, 1]));
        let distinct: HashSet<&RunName> = both.iter().collect();
        assert_eq!((both.len(), distinct.len()), (8, 8));
    }

    #[test]
    fn workflow_runs_that_are_held_or_have_no_jobs_make_no_run() {
        let mut evaluated = evaluated(trigger_event(|_| {}), &[0, 1]);
        evaluated.runs[0].held = true;
        evaluated.runs[1].jobs = Err("no jobs".to_owned());
        assert_eq!(names(&evaluated), []);
    }
}
