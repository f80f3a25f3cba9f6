//! For machines that hang: which runners have jobs, and that a registration gets no more.

use axum::http::Method;
use tinqs_ci_reconciler::model::JobRunner;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::Client;
use super::call::Call;
use super::pages::{self, Jobs};
use crate::wire::ApiJob;

impl Client {
    /// Returns the runners of the jobs in progress, of a repository or of the scope. `None` if the
    /// token may not read them, or the repository is gone.
    pub(super) async fn runners_at_work(
        &self,
        repo_id: i64,
    ) -> Result<Option<Vec<JobRunner>>, PortError> {
        let path = match repo_id {
            1.. => match self.path_of(repo_id, true).await? {
                Some(path) => path,
                None => return Ok(None),
            },
            _ => self.scope_path(),
        };
        let jobs = match self.jobs_in_progress(&path).await {
            Ok(jobs) => jobs,
            Err(error) if error.kind == ErrorKind::Denied => return Ok(None),
            Err(error) => return Err(error),
        };
        if repo_id > 0 && !self.is_at(&path, repo_id).await? {
            let call = Call::get("at_work", &path);
            let what = "the repository was renamed meanwhile: it is tried again";
            return Err(self.sender.error(&call, ErrorKind::Unavailable, what));
        }
        let runner = |job: ApiJob| JobRunner { id: job.runner_id, name: job.runner_name };
        Ok(Some(jobs.into_iter().map(runner).collect()))
    }

    /// Reads the list twice to its reported length: without an order, it may show a job twice and
    /// omit another.
    async fn jobs_in_progress(&self, path: &str) -> Result<Vec<ApiJob>, PortError> {
        let list = format!("{path}/actions/jobs");
        let running = format!("{list}?status=in_progress");
        let mut jobs = Vec::new();
        for _ in 0..2 {
            jobs.extend(pages::read_whole::<Jobs>(&self.sender, "at_work", &running).await?);
        }
        // Since 1.27 a job may be `cancelling`: shown as in progress, and selected by no filter.
        if !self.version().await?.precedes(1, 27) {
            let newest = pages::read_newest::<Jobs>(&self.sender, "at_work", &list).await?;
            jobs.extend(newest.into_iter().filter(|job| job.status == "in_progress"));
        }
        Ok(jobs)
    }

    /// Disables a registration. Returns whether the server can do that.
    pub(super) async fn disable_registration(
        &self,
        id: i64,
        repo_id: i64,
    ) -> Result<bool, PortError> {
        let change = |path: &str| Call {
            repeats: true,
            ..Call::api("disable", Method::PATCH, path, Some(br#"{"disabled":true}"#.to_vec()))
        };
        let (call, answer) = if self.is_apart(repo_id) {
            let at = |path: &str| change(&format!("{path}/actions/runners/{id}"));
            match self.send_to_repository(repo_id, at).await? {
                Some(answered) => answered,
                None => return Ok(true),
            }
        } else {
            let call = change(&self.runner_path(id));
            let answer = self.sender.send(&call).await?;
            (call, answer)
        };
        if answer.is_html() {
            return Err(self.sender.refusal(&call, &answer));
        }
        match answer.status.as_u16() {
            405 => Ok(false),
            200..=299 | 404 => Ok(true),
            _ => Err(self.sender.refusal(&call, &answer)),
        }
    }
}
