//! The cause that blocks a job, from the other jobs of its workflow run and its workflow file.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Job, Reason, serving};
use tinqs_ci_reconciler::ports::PortError;
use tinqs_ci_workflow::jobs::{self, Context, PlannedJob};
use tinqs_ci_workflow::{Dialect, files, yaml};
use tokio::time::{Instant, timeout_at};

use super::App;
use super::job::BLOCKED;
use crate::api::status::JobWhy;
use crate::words::blocked::{Blocking, JobActivity, NeededJob};
use tinqs_ci_gitea::client::{Client, RunJob, WorkflowRun};
use tinqs_ci_gitea::demand::Mode;

/// The known details of a blocked job.
struct BlockedJob {
    job: RunJob,
    blocking: Blocking,
}

/// Adds what blocks a job to its story, if the forge said that it is blocked. What cannot be found
/// out until then is noted.
pub(super) async fn tell(app: &App, story: &mut JobWhy, now: Timestamp, until: Instant) {
    let (Some("blocked"), Some(id)) = (story.at_forge.as_deref(), story.id) else { return };
    let asked = timeout_at(until, ask(app, &story.repo, id, now)).await;
    let BlockedJob { job, blocking } = match asked {
        Ok(Ok(Some(blocked))) => blocked,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => {
            story.notes.push(format!("cannot read its workflow run: {}", error.message));
            return;
        }
        Err(_) => {
            story.notes.push("the forge did not answer in time about its workflow run".to_owned());
            return;
        }
    };
    story.notes.retain(|note| note != BLOCKED);
    story.state = format!("the job is {}", blocking.sentence());
    story.waits_for = None;
    story.fix = Some(blocking.fix()).filter(|fix| !fix.is_empty());
    story.reason.get_or_insert_with(|| Reason::Blocked.to_string());
    if story.name.is_empty() {
        (story.name, story.url) = (job.name, job.url);
    }
    if story.run.is_none() {
        let settings = app.controller.settings();
        story.class = serving(&settings.classes, &story.repo, &job.labels)
            .map(|class| class.name.to_string());
        story.runs_on = job.labels;
    }
}

/// Asks the forge what blocks a job. `None` if it is not blocked, or if this server cannot ask.
///
/// # Errors
/// The forge does not answer, or the token may not read the workflow run.
async fn ask(
    app: &App,
    repo: &str,
    job_id: i64,
    now: Timestamp,
) -> Result<Option<BlockedJob>, PortError> {
    let Some(pushes) = &app.pushes else { return Ok(None) };
    let demand = pushes.demand();
    if demand.known() != Some(Mode::Jobs) {
        return Ok(None);
    }
    let client = demand.client();
    let Some(job) = client.run_job(repo, job_id).await? else { return Ok(None) };
    if job.state != Some(Job::Blocked) {
        return Ok(None);
    }
    let dialect = demand.dialect().await?;
    let Some((run, jobs)) = client.run_and_jobs(repo, job.run_id).await? else { return Ok(None) };
    let needs = if is_blocked_as_a_whole(&jobs) {
        None
    } else {
        // Without the file, the other jobs are named.
        needs(client, repo, &run, dialect, &job.name).await.unwrap_or_default()
    };
    // A name that the forge shows otherwise was not evaluated as the forge does.
    let shown = |needed: &String| jobs.iter().any(|job| job.name == *needed);
    let needs = needs.filter(|needs| needs.iter().all(shown));
    let blocking = judge(&job, &run, &jobs, needs.as_deref(), dialect, now);
    Ok(Some(BlockedJob { job, blocking }))
}

/// Returns the names of the jobs that a job needs, from its workflow file. `None` if the file cannot
/// be read, or does not have the job.
async fn needs(
    client: &Client,
    repo: &str,
    run: &WorkflowRun,
    dialect: Dialect,
    name: &str,
) -> Result<Option<Vec<String>>, PortError> {
    let folders = client.workflow_files(repo, &run.head_sha, &files::DIRECTORIES).await?;
    let Some(folders) = folders else { return Ok(None) };
    let path = folders.there.first().map(|folder| format!("{folder}/{}", run.workflow()));
    let file = folders.files.into_iter().find(|file| Some(&file.path) == path.as_ref());
    let Some(text) = file.and_then(|file| file.text.ok()) else { return Ok(None) };
    Ok(needs_in(&text, dialect, name))
}

/// Returns the names of the jobs that a job of this workflow file needs.
fn needs_in(text: &[u8], dialect: Dialect, name: &str) -> Option<Vec<String>> {
    let file = yaml::parse(text).ok()?;
    let planned: Vec<PlannedJob> = jobs::jobs(&file, &Context::default(), dialect).ok()?;
    let job = planned.iter().find(|job| job.name == name)?;
    let is_needed = |other: &&PlannedJob| job.needs.contains(&other.job_id);
    Some(planned.iter().filter(is_needed).map(|other| other.name.clone()).collect())
}

/// Whether no job of the workflow run has ever been queued.
fn is_blocked_as_a_whole(jobs: &[RunJob]) -> bool {
    jobs.iter().all(|job| job.state == Some(Job::Blocked))
}

/// Tells needs, approval and concurrency apart, as far as the answers allow. `needs`: the names of
/// the needed jobs, if they are known.
fn judge(
    job: &RunJob,
    run: &WorkflowRun,
    jobs: &[RunJob],
    needs: Option<&[String]>,
    dialect: Dialect,
    now: Timestamp,
) -> Blocking {
    // Concurrency groups came with Gitea 1.26.
    let has_groups = dialect >= Dialect::V1_26;
    if is_blocked_as_a_whole(jobs) {
        // Only a pull request may need an approval.
        return match (run.event.starts_with("pull_request"), has_groups) {
            (true, true) => Blocking::ApprovalOrConcurrency,
            (true, false) => Blocking::Approval,
            (false, true) => Blocking::Concurrency,
            (false, false) => Blocking::NothingSeen,
        };
    }
    let others = jobs.iter().filter(|other| other.id != job.id);
    let others = others.filter(|other| needs.is_none_or(|needs| needs.contains(&other.name)));
    let left: Vec<NeededJob> = others.filter_map(|other| unfinished(other, now)).collect();
    match (left.is_empty(), needs.is_some(), has_groups) {
        (false, true, _) | (false, false, false) => Blocking::Needs(left),
        (false, false, true) => Blocking::NeedsOrConcurrency(left),
        (true, _, true) => Blocking::Concurrency,
        (true, _, false) => Blocking::NothingSeen,
    }
}

fn unfinished(job: &RunJob, now: Timestamp) -> Option<NeededJob> {
    let doing = match &job.state {
        Some(Job::Done { .. }) => return None,
        Some(Job::Running { .. }) => {
            JobActivity::Runs(job.started_at.map(|at| now.duration_since(at)))
        }
        Some(Job::Waiting) => JobActivity::Waits,
        Some(Job::Blocked) => JobActivity::IsBlocked,
        Some(Job::Absent | Job::Unobservable) | None => JobActivity::Unknown,
    };
    Some(NeededJob { id: job.id, name: job.name.clone(), doing })
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use tinqs_ci_reconciler::model::Conclusion;

    use super::*;

    const FILE: &str = "\
on: push
jobs:
  compile:
    runs-on: linux
    strategy:
      matrix:
        go: [1, 2]
  lint:
    runs-on: linux
  test:
    name: all tests
    runs-on: linux
    needs: compile
";

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).expect("a time")
    }

    fn job(id: i64, name: &str, state: Job) -> RunJob {
        let started_at =
            matches!(state, Job::Running { .. }).then(|| now() - SignedDuration::from_secs(18));
        RunJob {
            id,
            run_id: 1,
            name: name.to_owned(),
            labels: Vec::new(),
            url: String::new(),
            state: Some(state),
            started_at,
        }
    }

    fn running() -> Job {
        Job::Running { runner: "r".to_owned() }
    }

    fn done() -> Job {
        Job::Done { conclusion: Conclusion::Success }
    }

    fn event(event: &str) -> WorkflowRun {
        WorkflowRun { event: event.to_owned(), ..WorkflowRun::default() }
    }

    /// Judges the last of these jobs.
    fn judged(event_name: &str, jobs: &[RunJob], file: bool, dialect: Dialect) -> Blocking {
        let job = jobs.last().expect("a job");
        let needs = needs_in(FILE.as_bytes(), dialect, &job.name).filter(|_| file);
        judge(job, &event(event_name), jobs, needs.as_deref(), dialect, now())
    }

    #[test]
    fn the_workflow_file_tells_what_a_job_needs() {
        let needs = |name| needs_in(FILE.as_bytes(), Dialect::V1_26, name);
        let compiled = ["compile (1)".to_owned(), "compile (2)".to_owned()];
        assert_eq!(needs("all tests"), Some(compiled.to_vec()));
        assert_eq!(needs("lint"), Some(Vec::new()));
        assert_eq!(needs("renamed"), None);
        assert_eq!(needs_in(b"jobs: [", Dialect::V1_26, "lint"), None);
    }

    #[test]
    fn needs_are_named_where_the_file_is_known() {
        let jobs = [
            job(1, "compile (1)", done()),
            job(2, "compile (2)", running()),
            job(3, "lint", running()),
            job(4, "all tests", Job::Blocked),
        ];
        let Blocking::Needs(left) = judged("push", &jobs, true, Dialect::V1_27) else {
            panic!("needs");
        };
        assert_eq!(
            left.iter().map(|job| job.id).collect::<Vec<_>>(),
            [2],
            "not what it does not need"
        );
        assert_eq!(left[0].doing, JobActivity::Runs(Some(SignedDuration::from_secs(18))));
        // Without the file every other job may be the one.
        let Blocking::NeedsOrConcurrency(left) = judged("push", &jobs, false, Dialect::V1_27)
        else {
            panic!("needs or concurrency");
        };
        assert_eq!(left.iter().map(|job| job.id).collect::<Vec<_>>(), [2, 3]);
        let old = judged("push", &jobs, false, Dialect::V1_25);
        assert!(matches!(old, Blocking::Needs(_)), "there were no groups: {old:?}");
    }

    #[test]
    fn a_job_whose_needs_have_ended_waits_for_its_group() {
        let jobs = [
            job(1, "compile (1)", done()),
            job(2, "compile (2)", done()),
            job(3, "lint", running()),
            job(4, "all tests", Job::Blocked),
        ];
        assert_eq!(judged("push", &jobs, true, Dialect::V1_27), Blocking::Concurrency);
        assert_eq!(judged("push", &jobs, true, Dialect::V1_25), Blocking::NothingSeen);
        let jobs = [job(1, "lint", done()), job(4, "all tests", Job::Blocked)];
        assert_eq!(judged("push", &jobs, false, Dialect::V1_26), Blocking::Concurrency);
    }

    #[test]
    fn a_workflow_run_that_is_blocked_as_a_whole_waits_for_approval_or_its_group() {
        let jobs = [job(1, "lint", Job::Blocked), job(4, "all tests", Job::Blocked)];
        for (name, dialect, expected) in [
            ("push", Dialect::V1_26, Blocking::Concurrency),
            ("pull_request", Dialect::V1_25, Blocking::Approval),
            ("pull_request_sync", Dialect::V1_27, Blocking::ApprovalOrConcurrency),
            ("push", Dialect::V1_25, Blocking::NothingSeen),
        ] {
            assert_eq!(judged(name, &jobs, true, dialect), expected, "{name} {dialect:?}");
        }
    }
}
