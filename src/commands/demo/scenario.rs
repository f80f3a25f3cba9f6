//! The chapters of the demo, and its summary.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::EndedBy;
use tinqs_ci_reconciler::ports::Clock as _;
use tinqs_ci_simulator::cloud::machine::Doing;
use tinqs_ci_simulator::forge::JobSpec;

use super::host::Host;
use super::reporter::Reporter;
use super::{Error, Summary};

const REPO: &str = "acme/widget";
/// The longest wait for an expected event, in real time; generous, in case the computer is slow.
const PATIENCE: Duration = Duration::from_mins(2);
/// What the machine that is interrupted needs to boot, beside what all need.
const SLOW_BOOT: SignedDuration = SignedDuration::from_mins(4);

/// Runs all chapters. Returns the host, so that the demo can keep running.
pub(super) async fn tell(reporter: &mut Reporter, host: Host) -> Result<(Host, Summary), Error> {
    let mut scenario = Scenario { reporter, host, pushed: Vec::new(), cancelled: BTreeSet::new() };
    scenario.matrix().await?;
    scenario.lost_webhook().await?;
    scenario.interrupted().await?;
    scenario.cancelled().await?;
    scenario.restarted().await?;
    let summary = scenario.end().await?;
    Ok((scenario.host, summary))
}

struct Scenario<'a> {
    reporter: &'a mut Reporter,
    host: Host,
    pushed: Vec<i64>,
    cancelled: BTreeSet<i64>,
}

impl Scenario<'_> {
    async fn matrix(&mut self) -> Result<(), Error> {
        self.reporter.chapter("1. A push starts a workflow with a matrix of four");
        let jobs = self.push("build", &["1.93", "1.94", "1.95", "nightly"], 30);
        self.done("the matrix is done", &jobs).await
    }

    async fn lost_webhook(&mut self) -> Result<(), Error> {
        self.reporter.chapter("2. A webhook is lost (the forge sends each only once)");
        let before = self.host.wire.counters().lost;
        self.host.wire.lose_webhooks(1);
        let jobs = self.push("lint", &["all"], 20);
        self.until("the webhook is lost", |scenario| scenario.host.wire.counters().lost > before)
            .await?;
        self.reporter.say("  the webhook is lost; the next poll of the job list finds the job");
        self.done("the job without a webhook is done", &jobs).await
    }

    async fn interrupted(&mut self) -> Result<(), Error> {
        self.reporter.chapter("3. The cloud interrupts a spot machine while it boots");
        let before = self.host.world().cloud.machines().count();
        // On a busy computer, too, the interruption comes before the job.
        self.host.world().faults.slow_boot = SLOW_BOOT;
        let jobs = self.push("bench", &["all"], 20);
        self.until("a machine is launched", |scenario| {
            scenario.host.world().cloud.machines().count() > before
        })
        .await?;
        {
            let mut world = self.host.world();
            world.faults.slow_boot = SignedDuration::ZERO;
            let now = world.now();
            let latest = world.cloud.live().map(|m| (m.launched_at, m.id.clone())).max();
            if let Some((_, id)) = latest {
                world.cloud.interrupt(now, &id);
            }
        }
        self.done("the interrupted job is done", &jobs).await
    }

    async fn cancelled(&mut self) -> Result<(), Error> {
        self.reporter.chapter("4. A job is canceled while its machine boots");
        let before = self.host.world().cloud.machines().count();
        let jobs = self.push("deploy", &["staging"], 20);
        self.until("a machine boots", |scenario| {
            scenario.host.world().cloud.machines().count() > before
        })
        .await?;
        let now = self.now();
        for job in &jobs {
            self.host.wire.forge().cancel(now, *job);
            self.cancelled.insert(*job);
        }
        self.reporter.update(&self.host);
        self.reporter.say("  the machine is not terminated: it may just be taking another job");
        self.until("no machine is left", Scenario::no_machine_lives).await
    }

    async fn restarted(&mut self) -> Result<(), Error> {
        self.reporter.chapter("5. tinqs-ci is killed mid-job and started again");
        let before = self.host.world().cloud.machines().count();
        let jobs = self.push("test", &["unit", "model", "wire"], 30);
        self.until("the first of its machines is launched", |scenario| {
            scenario.host.world().cloud.machines().count() > before
        })
        .await?;
        self.host.restart().await?;
        self.reporter
            .say("  tinqs-ci was killed; the new process continues from the stored records");
        self.done("the matrix is done", &jobs).await
    }

    /// Waits until everything is cleaned up, and counts.
    async fn end(&mut self) -> Result<Summary, Error> {
        self.reporter.chapter("6. Summary");
        self.until("machines and registrations are gone", |scenario| scenario.leaked() == 0)
            .await?;
        let summary = self.summary();
        let Summary { jobs, machines, lost, doubled, leaked } = summary;
        self.reporter.say(&format!(
            "  jobs {jobs}, machines {machines} (one was interrupted), lost {lost}, doubled {doubled}, leaked {leaked}"
        ));
        Ok(summary)
    }

    fn summary(&self) -> Summary {
        let world = self.host.world();
        let machines = world.cloud.machines().count();
        let taken_back =
            world.cloud.machines().filter(|m| m.ended_by == Some(EndedBy::Cloud)).count();
        let forge = world.forge();
        let ran = |id: &i64| {
            forge.job(*id).is_some_and(|job| job.status.is_done() && job.started_at.is_some())
        };
        let owed = self.pushed.iter().filter(|id| !self.cancelled.contains(id));
        let lost = owed.filter(|id| !ran(id)).count();
        drop(forge);
        drop(world);
        Summary {
            jobs: self.pushed.len(),
            machines,
            lost,
            doubled: machines.saturating_sub(self.pushed.len() + taken_back),
            leaked: self.leaked(),
        }
    }

    /// Counts live machines and registrations.
    fn leaked(&self) -> usize {
        let world = self.host.world();
        let rows = world.forge().runners().count();
        rows + world.cloud.machines().filter(|m| !matches!(m.doing, Doing::Gone)).count()
    }

    fn no_machine_lives(&self) -> bool {
        self.host.world().cloud.live().next().is_none()
    }

    fn now(&self) -> Timestamp {
        self.host.clock.now()
    }

    /// Pushes a workflow run with a job per matrix value. Returns the job IDs.
    fn push(&mut self, name: &str, matrix: &[&str], seconds: i64) -> Vec<i64> {
        let job = |(index, value): (usize, &&str)| {
            let more = i64::try_from(index).unwrap_or(0) * 4;
            JobSpec {
                work: SignedDuration::from_secs(seconds + more),
                ..JobSpec::new(format!("{name} ({value})"), &["linux"])
            }
        };
        let jobs: Vec<JobSpec> = matrix.iter().enumerate().map(job).collect();
        let ids = self.host.wire.forge().push(self.host.clock.now(), REPO, &jobs);
        self.pushed.extend(&ids);
        ids
    }

    async fn done(&mut self, what: &'static str, jobs: &[i64]) -> Result<(), Error> {
        self.until(what, |scenario| {
            let forge = scenario.host.wire.forge();
            let done = |id: &i64| forge.job(*id).is_some_and(|job| job.status.is_done());
            jobs.iter().all(done)
        })
        .await?;
        // The end of the machines belongs to this chapter.
        self.until("its machines are off", Scenario::no_machine_lives).await
    }

    async fn until(
        &mut self,
        what: &'static str,
        holds: impl Fn(&Self) -> bool,
    ) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        loop {
            self.reporter.update(&self.host);
            if holds(self) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(Error::InVain { what, seconds: PATIENCE.as_secs() });
            }
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
    }
}
