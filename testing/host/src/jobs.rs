//! The jobs of a host's repository.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use tinqs_ci_simulator::forge::{JobSpec, Status};

use crate::Host;

/// Returns the script of a job that ends once this file exists, however busy the host is.
pub fn until_exists(file: &Path) -> String {
    format!("until [ -e '{}' ]; do sleep 0.1; done", file.display())
}

impl Host {
    /// Pushes jobs to `acme/widget` that each run `script`. Returns their IDs.
    pub fn push(&self, count: usize, labels: &[&str], script: &str) -> Vec<i64> {
        let jobs: Vec<JobSpec> = (0..count)
            .map(|n| JobSpec {
                script: Some(script.to_owned()),
                ..JobSpec::new(format!("build ({n})"), labels)
            })
            .collect();
        self.forge().push(Timestamp::now(), "acme/widget", &jobs)
    }

    /// Pushes jobs that each write their machine into the ledger, then run `script`.
    pub fn push_told(&self, count: usize, script: &str) -> Vec<i64> {
        let ledger = self.dir.path().join("ledger");
        let told = format!("echo \"$TINQS_CI_MACHINE\" >>'{}'\n{script}", ledger.display());
        self.push(count, &["linux"], &told)
    }

    /// Returns the machine of each started job of [`Host::push_told`].
    pub fn ledger(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("ledger")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Returns the script of a job that runs until [`Host::release_jobs`].
    pub fn until_released(&self) -> String {
        until_exists(&self.dir.path().join("released"))
    }

    /// Ends the jobs of [`Host::until_released`], also those that have not started.
    pub fn release_jobs(&self) {
        fs::write(self.dir.path().join("released"), "").expect("the file is written");
    }

    /// Returns the status of a job at the forge.
    ///
    /// # Panics
    /// If there is no such job.
    pub fn status(&self, job: i64) -> Status {
        self.forge().job(job).expect("a job that was pushed").status
    }

    /// Waits until these jobs are done.
    pub async fn all_done(&self, jobs: &[i64], seconds: u64) {
        let jobs = jobs.to_vec();
        self.until("every job is done", seconds, async |host| {
            jobs.iter().all(|job| host.status(*job).is_done())
        })
        .await;
    }
}
