//! L15 and L17: a job is run again by us only because the cloud took its machine, and then soon.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    CLOCKS_AGREE_WITHIN, Conclusion, RerunJobs, RerunKey, Reruns, serving,
};
use tinqs_ci_reconciler::plan::{FAILED_WITHIN, RERUN_LANDS_WITHIN};

use super::Laws;
use super::time::{Allowance, Wait};
use crate::cloud::Cloud;
use crate::forge::{Forge, JobRow, Line, Status};

/// A job that ended this long before its machine was taken is run again: the controller waits a
/// minute longer, within which it lists the machine as ended.
const NOTICED_WITHIN: SignedDuration = SignedDuration::from_secs(FAILED_WITHIN.as_secs() - 60);
/// A call that takes longer than this was decided about another state of the forge.
const SLOW: SignedDuration = SignedDuration::from_secs(20);
/// Maximum age of a reading when the call based on it begins.
const READ_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// State of the check of re-runs.
#[derive(Clone, Debug, Default)]
pub(super) struct RerunWatch {
    /// The last recorded request of each job, and when it was recorded.
    recorded: BTreeMap<RerunKey, (Timestamp, Reruns)>,
    /// The ends because of which jobs were run again: the ID of the row that ran, here and below,
    /// and when it ended.
    again: BTreeSet<(i64, Timestamp)>,
    /// The number of times that each job was run again.
    counts: BTreeMap<RerunKey, u32>,
    /// Lost jobs that are not run again yet, by ID and end.
    lost: BTreeMap<(i64, Timestamp), Wait>,
    /// Ends beside a canceled job that the workflow run may show no longer.
    beside_canceled: BTreeSet<(i64, Timestamp)>,
}

fn key_of(job: &JobRow) -> RerunKey {
    RerunKey { repo_id: job.repo_id, run_id: job.run_id, job: job.spec.name.clone() }
}

impl Laws {
    /// Whether records or machines are not what the controller made of them.
    fn is_out_of_order(&self) -> bool {
        self.twins || self.records_lost || !self.scrambled.is_empty()
    }

    /// L15: a request is recorded. While an earlier one may land, no other is made.
    pub fn on_rerun_recorded(&mut self, now: Timestamp, reruns: &Reruns) {
        let recorded = (now, reruns.clone());
        let before = self.reruns.recorded.insert(reruns.key.clone(), recorded);
        let again = before.filter(|(_, before)| before.failed_at == reruns.failed_at);
        // A reconcile takes its time at its begin.
        let too_soon = again.is_some_and(|(at, before)| {
            now.duration_since(at.min(before.asked_at)) < RERUN_LANDS_WITHIN
        });
        if too_soon && self.reruns_within.is_some() && !self.is_out_of_order() {
            let RerunKey { run_id, job, .. } = &reruns.key;
            let what = format!("{job} of workflow run {run_id} was asked for again too soon");
            self.broken("L15", now, "", what);
        }
    }

    /// L15: the forge runs `job` again, which was asked for by a call that began then. `taken_at`:
    /// when the cloud took its machine.
    pub fn on_rerun(
        &mut self,
        now: Timestamp,
        began: Timestamp,
        job: &JobRow,
        taken_at: Option<Timestamp>,
    ) {
        let key = key_of(job);
        let count = self.reruns.counts.entry(key.clone()).or_default();
        *count += 1;
        let count = *count;
        if self.is_out_of_order() {
            return;
        }
        let about = format!("job-{}", job.id);
        let class = serving(&self.classes, &job.repo, &job.spec.runs_on);
        let policy = class.map(|class| class.rerun);
        let limit = policy.map_or(u32::MAX, |policy| policy.limit);
        let never = policy.is_some_and(|policy| policy.jobs == RerunJobs::Never);
        if count > limit || never {
            let what = format!("{about} is run again for the {count}. time: its limit is {limit}");
            self.broken("L15", now, &about, what);
        }
        if now.duration_since(began) > SLOW {
            return;
        }
        let failed = job.status == Status::Done(Conclusion::Failure);
        let failed_at = job.completed_at.filter(|_| failed);
        let ends = failed_at.zip(taken_at);
        // Where the cloud does not date the end, a clock does that agrees with the true time.
        let within = FAILED_WITHIN + CLOCKS_AGREE_WITHIN;
        let is_lost = ends.is_some_and(|(failed, taken)| failed + within >= taken);
        if !is_lost {
            let what = format!("{about} is run again, but the cloud did not take its machine");
            self.broken("L15", now, &about, what);
        }
        let Some(failed_at) = failed_at else { return };
        let recorded = self.reruns.recorded.get(&key);
        if recorded.is_none_or(|(_, recorded)| recorded.failed_at != failed_at) {
            let what = format!("{about} is run again without a record of it");
            self.broken("L15", now, &about, what);
        }
        if !self.reruns.again.insert((job.id, failed_at)) {
            let what = format!("{about} is run again twice because of one end");
            self.broken("L15", now, &about, what);
        }
    }

    /// L15: a workflow run is run again. Checks that no person canceled a job of it before it was
    /// read.
    pub fn on_rerun_of_canceled(
        &mut self,
        now: Timestamp,
        began: Timestamp,
        run_id: i64,
        cancelled_at: Option<Timestamp>,
    ) {
        let known = cancelled_at.is_some_and(|at| began.duration_since(at) > READ_WITHIN);
        if known && now.duration_since(began) <= SLOW && !self.is_out_of_order() {
            let what = format!("workflow run {run_id} is run again, but a person canceled it");
            self.broken("L15", now, "", what);
        }
    }

    /// L17: a person runs a job of a workflow run again, or removes it. If a job is canceled, the
    /// controller may have read that already: then the jobs that ended beside it stay to a person.
    pub fn on_person_at_run(&mut self, forge: &Forge, run_id: i64) {
        let of_run = forge.jobs_of_run(run_id);
        if of_run.iter().any(|job| job.status == Status::Done(Conclusion::Cancelled)) {
            let end = |job: &&JobRow| Some((forge.ran_as(job.id), job.completed_at?));
            let ends = of_run.iter().filter_map(end);
            self.reruns.beside_canceled.extend(ends);
        }
    }

    /// L17: checks that lost jobs are run again soon. `is_gone`: whether the run of a job has no
    /// record, or a person deleted it.
    pub fn lost_jobs(
        &mut self,
        now: Timestamp,
        cloud: &Cloud,
        forge: &Forge,
        excuse: &Allowance,
        is_gone: impl Fn(i64) -> bool,
    ) {
        let Some(within) = self.reruns_within else { return };
        if forge.config.line < Line::V1_26 {
            return;
        }
        let mut lost = BTreeMap::new();
        for job in forge.jobs().filter(|job| job.status == Status::Done(Conclusion::Failure)) {
            let ran_as = forge.ran_as(job.id);
            if let Some(since) = self.is_owed(cloud, forge, job).filter(|_| !is_gone(ran_as)) {
                lost.insert((ran_as, job.completed_at.unwrap_or(now)), since);
            }
        }
        self.reruns.lost.retain(|key, _| lost.contains_key(key));
        let excused = excuse.cut_off || excuse.forgotten;
        let mut late = Vec::new();
        for (key, since) in lost {
            let wait = self.reruns.lost.entry(key).or_insert(Wait::since(since));
            late.extend(wait.goes_on(now, excused, within).map(|waited| (key.0, waited)));
        }
        for (id, waited) in late {
            let what = format!("job-{id} is not run again {} s after its end", waited.as_secs());
            self.broken("L17", now, &format!("job-{id}"), what);
        }
    }

    /// Returns since when a job is to be run again, if it is.
    fn is_owed(&self, cloud: &Cloud, forge: &Forge, job: &JobRow) -> Option<Timestamp> {
        let jobs = forge.jobs_of_run(job.run_id);
        let is_latest = jobs.iter().any(|other| other.id == job.id);
        let done = |other: &&JobRow| other.status.is_done();
        let canceled = |other: &&JobRow| other.status == Status::Done(Conclusion::Cancelled);
        if !is_latest || !jobs.iter().all(done) || jobs.iter().any(canceled) {
            return None;
        }
        let class = serving(&self.classes, &job.repo, &job.spec.runs_on)?;
        let count = self.reruns.counts.get(&key_of(job)).copied().unwrap_or(0);
        if class.rerun.jobs == RerunJobs::Never || count >= class.rerun.limit {
            return None;
        }
        let taken_at = cloud.taken_at(job.runner_name.as_deref())?;
        // A runner may report the job before its machine ends.
        let over = job.completed_at?;
        if self.reruns.beside_canceled.contains(&(forge.ran_as(job.id), over)) {
            return None;
        }
        let seen_early = job.started_at.is_some_and(|at| over.duration_since(at) >= READ_WITHIN);
        if taken_at > over && (!seen_early || taken_at > over + NOTICED_WITHIN) {
            return None;
        }
        // The last job ended the workflow run.
        let over = jobs.iter().filter_map(|job| job.completed_at).max()?;
        Some(over.max(taken_at))
    }
}
