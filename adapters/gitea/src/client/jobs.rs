//! Jobs by their IDs.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Job, JobRef};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, SeenJob};

use super::call::Call;
use super::{Client, repository_path};
use crate::config::RegisterIn;
use crate::job_times;
use crate::version::Version;
use crate::wire::{ApiJob, ApiRepository, job_status, labels_fit, owner_and_name};

impl Client {
    /// Returns a job by repository name and job ID; `None` if the forge answers 404.
    pub(super) async fn job_in(
        &self,
        owner: &str,
        name: &str,
        id: i64,
    ) -> Result<Option<SeenJob>, PortError> {
        let call = Call::get("job", &format!("{}/actions/jobs/{id}", repository_path(owner, name)));
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() {
            return Ok(None);
        }
        let job: ApiJob = self.sender.read(&call, &answer)?;
        let unclear = |what: &str| Err(self.sender.error(&call, ErrorKind::Unavailable, what));
        if job.id != id {
            return unclear("the response is about another job");
        }
        match job_status(&job) {
            Some(state) => {
                let version = self.version_for(&job).await;
                let times = job_times::times(&job, version.as_ref());
                let fits = job.labels.as_deref().is_none_or(labels_fit);
                if state == Job::Waiting && !fits {
                    return unclear("the job's labels are longer than 16 KiB: no runner has them");
                }
                // The row of an ephemeral runner is deleted with its job, and its name with it; the
                // job's task keeps the ID.
                let runner_id = Some(job.runner_id).filter(|id| *id > 0);
                let runs_on = job.labels.filter(|_| fits);
                let (repo, repo_id) = (None, None);
                Ok(Some(SeenJob { state, times, repo, repo_id, runs_on, runner_id }))
            }
            None => unclear("this version of tinqs-ci does not know the job's status"),
        }
    }

    /// Checks the ID of the repository in which a job was found by name: a delivery told it, and
    /// runners are registered by it. It matters while the job waits.
    pub(super) async fn with_repository(
        &self,
        job: &JobRef,
        (owner, name): (&str, &str),
        seen: SeenJob,
    ) -> Result<SeenJob, PortError> {
        let matters = self.register_in == RegisterIn::Repository && seen.state == Job::Waiting;
        if !matters || job.repo_id <= 0 {
            return Ok(seen);
        }
        let fits = |id: i64| id <= 0 || id == job.repo_id;
        if self.repository(owner, name).await?.is_none_or(|found| fits(found.id)) {
            return Ok(seen);
        }
        // The cached one may have given its name to another repository.
        self.repositories.lock().remove(&format!("{owner}/{name}"));
        let found = self.repository(owner, name).await?;
        let Some(found) = found.filter(|found| !fits(found.id)) else { return Ok(seen) };
        tracing::warn!(
            job = job.job_id,
            told = job.repo_id,
            found = found.id,
            "corrected the repository id of a job"
        );
        Ok(SeenJob { repo_id: Some(found.id), ..seen })
    }

    /// Finds a job that its repository's last known name does not lead to. It is absent only if its
    /// repository answers without it, or if the repository's ID is gone while the forge answers.
    pub(super) async fn job_by_repository(&self, job: &JobRef) -> Result<SeenJob, PortError> {
        let path = match (job.repo_id, owner_and_name(&job.repo)) {
            (1.., _) => format!("/repositories/{}", job.repo_id),
            (_, Some((owner, name))) => repository_path(&owner, &name),
            (_, None) => {
                let message = "neither the id nor the name of the job's repository is known";
                return Err(PortError::new("forge", "job", ErrorKind::Unavailable, message));
            }
        };
        let call = Call::get("job", &path);
        let answer = self.sender.send(&call).await?;
        if answer.is_not_found() && job.repo_id > 0 {
            // A proxy may answer 404 too; only the forge answers with a version.
            self.version().await?;
            return Ok(Job::Absent.into());
        }
        let ApiRepository { id, full_name } = self.sender.read(&call, &answer)?;
        let named = owner_and_name(&full_name);
        let (Some((owner, name)), true) =
            (named, id > 0 && (job.repo_id <= 0 || id == job.repo_id))
        else {
            let what = "the response is about another repository";
            return Err(self.sender.error(&call, ErrorKind::Unavailable, what));
        };
        if full_name == job.repo {
            return Ok(Job::Absent.into());
        }
        let found = self.job_in(&owner, &name, job.job_id).await?;
        let found = found.map(|job| SeenJob { repo: Some(full_name), ..job });
        Ok(found.unwrap_or(Job::Absent.into()))
    }

    /// Returns the version of the server if a job's row cannot be read without it. `None` also if
    /// the server does not tell it.
    async fn version_for(&self, job: &ApiJob) -> Option<Version> {
        if !job_times::depends_on_version(job) {
            return None;
        }
        let known = self.last_version.lock().clone();
        match known {
            Some(version) => Some(version),
            None => self.version().await.ok(),
        }
    }

    /// Returns when this attempt of a listed job was created.
    pub(super) async fn created(&self, job: &ApiJob) -> Option<Timestamp> {
        job_times::created(job, self.version_for(job).await.as_ref())
    }
}
