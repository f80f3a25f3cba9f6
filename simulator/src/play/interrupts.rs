//! A third of all machines is taken mid-job, and the jobs are run again.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Class, ClassName, Conclusion, Market, RerunJobs};

use super::draw::{KEEP, linux, minutes, one_of, pick, seconds};
use super::profile::{Profile, UserAction};
use crate::faults::{FaultProfile, Rng};
use crate::forge::{JobSpec, Line};

impl Profile {
    /// The cloud takes a third of all machines within their first ten minutes; half of these report
    /// their jobs as failed before. Matrices, some of whose jobs fail by themselves; a class whose
    /// jobs are never run again; people who cancel, re-run and delete meanwhile; crashes, and calls
    /// whose replies are lost.
    pub fn interrupt() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            interrupted: 0.33,
            noticed: 0.5,
            crash: one_of(rng, &[0.0, 0.002]),
            reply_lost: one_of(rng, &[0.0, 0.05]),
            refused: one_of(rng, &[0.0, 0.05]),
            wake_doubled: one_of(rng, &[0.0, 0.5]),
            ..FaultProfile::default()
        };
        Self {
            name: "interrupt",
            faults,
            classes: classes(),
            line: |rng| one_of(rng, &[Line::V1_26, Line::V1_26, Line::V1_27, Line::V1_25]),
            user_actions: matrices,
            waits_at_most: minutes(120),
            ..Self::steal()
        }
    }

    /// The same on lines that can run jobs again, where requests often fail before or after their
    /// effect. There are spot machines only, so that a job can lose several in a row.
    pub fn interrupt_lost() -> Self {
        let faults = |_: &mut Rng| FaultProfile {
            interrupted: 0.5,
            noticed: 0.3,
            reply_lost: 0.05,
            refused: 0.1,
            ..FaultProfile::default()
        };
        let mut classes = classes();
        for class in &mut classes {
            class.machines.retain(|spec| spec.market == Market::Spot);
        }
        let line = |rng: &mut Rng| one_of(rng, &[Line::V1_26, Line::V1_26, Line::V1_27]);
        Self { name: "interrupt_lost", faults, classes, line, ..Self::interrupt() }
    }

    /// The cloud takes half of all spot machines, while machines on demand stay.
    pub fn taken() -> Self {
        let faults = |_: &mut Rng| FaultProfile { interrupted: 0.5, ..FaultProfile::default() };
        Self { name: "taken", faults, ..Self::spot() }
    }
}

fn classes() -> Vec<Class> {
    let mut deploy = linux(KEEP);
    deploy.name = ClassName("deploy".to_owned());
    deploy.labels = vec!["deploy".to_owned()];
    deploy.rerun.jobs = RerunJobs::Never;
    vec![linux(KEEP), deploy]
}

/// Matrices over six hours, and people who act on the jobs of the last ones.
fn matrices(rng: &mut Rng) -> Vec<(SignedDuration, UserAction)> {
    let mut at = seconds(5);
    let mut user_actions = Vec::new();
    for _ in 0..20 {
        at += rng.between(seconds(1), minutes(32));
        let repo = one_of(rng, &["acme/widget", "acme/gadget", "umbrella/t-virus"]).to_owned();
        user_actions.push((at, UserAction::Push { repo, jobs: matrix(rng) }));
        let wait = rng.between(seconds(30), minutes(40));
        let ago = pick(rng, 6);
        match rng.below(10) {
            0 | 1 => user_actions.push((at + wait, UserAction::Cancel(ago))),
            2..=4 => user_actions.push((at + wait, UserAction::Rerun(ago))),
            5 => user_actions.push((at + wait, UserAction::Delete { ago, now: false })),
            _ => {}
        }
    }
    user_actions.sort_by_key(|(at, _)| *at);
    user_actions
}

/// Jobs of one matrix, and sometimes one that needs them all.
fn matrix(rng: &mut Rng) -> Vec<JobSpec> {
    let label = if rng.chance(0.2) { "deploy" } else { "linux" };
    let mut job = |name: String| JobSpec {
        work: rng.between(minutes(2), minutes(15)),
        conclusion: if rng.chance(0.15) { Conclusion::Failure } else { Conclusion::Success },
        ..JobSpec::new(name, &[label])
    };
    let mut jobs: Vec<JobSpec> = (0..4).map(|n| job(format!("test ({n})"))).collect();
    let last = JobSpec { needs: (0..4).collect(), ..job("publish".to_owned()) };
    jobs.truncate(1 + pick(rng, 4));
    if jobs.len() == 4 {
        jobs.push(last);
    }
    jobs
}
