//! Narrow worlds: what is pushed when, in which weather, and what is expected of it.

use jiff::SignedDuration;
use tinqs_ci_reconciler::class::{Class, ClassName, Machine, Market, Times};
use tinqs_ci_reconciler::observation::Conclusion;

use crate::faults::{Faults, Rng};
use crate::forge::{JobSpec, Line};

/// What people do at the forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Push a commit whose workflow has these jobs.
    Push {
        /// To this repository.
        repo: String,
        /// The jobs.
        jobs: Vec<JobSpec>,
    },
    /// Cancel the job that was pushed so many jobs ago.
    Cancel(usize),
    /// Run that job again, if it is over.
    Rerun(usize),
}

/// A narrow world.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// Its weather, while jobs come; drawn anew for each seed.
    pub weather: fn(&mut Rng) -> Faults,
    /// What is done, and how long after the start.
    pub deeds: fn(&mut Rng) -> Vec<(SignedDuration, Deed)>,
    /// The classes.
    pub classes: Vec<Class>,
    /// The forge's release line.
    pub line: Line,
    /// How long a job may wait.
    pub waits_at_most: SignedDuration,
    /// How long is looked on, after the last job, for calls that change something while finished
    /// runs are still kept. Zero where they are not kept for so long.
    pub settled: SignedDuration,
}

fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn fair(_: &mut Rng) -> Faults {
    Faults::default()
}

/// One class of spot machines, then on demand.
pub fn linux(keep: SignedDuration) -> Class {
    let machine = |market, subnet: &str| Machine {
        kind: "t3.small".to_owned(),
        subnet: subnet.to_owned(),
        market,
        image: "ami-1".to_owned(),
        security_groups: vec!["sg-1".to_owned()],
        instance_profile: String::new(),
    };
    Class {
        name: ClassName("linux".to_owned()),
        labels: vec!["linux".to_owned(), "ubuntu-latest:host".to_owned()],
        serves_unlabelled: false,
        machines: vec![
            machine(Market::Spot, "subnet-a"),
            machine(Market::Spot, "subnet-b"),
            machine(Market::OnDemand, "subnet-a"),
        ],
        limit: None,
        repo_limit: None,
        times: Times { keep, ..Times::default() },
        short: Vec::new(),
    }
}

impl Profile {
    /// Jobs far apart, no faults.
    pub fn calm() -> Self {
        Self {
            name: "calm",
            weather: fair,
            deeds: far_apart,
            classes: vec![linux(SignedDuration::from_hours(48))],
            line: Line::V1_27,
            waits_at_most: minutes(2),
            settled: SignedDuration::from_hours(24),
        }
    }

    /// Bursts of 20, no faults: most jobs run on another run's machine.
    pub fn steal() -> Self {
        Self {
            name: "steal",
            deeds: bursts,
            waits_at_most: minutes(2),
            classes: vec![linux(SignedDuration::from_hours(2))],
            settled: SignedDuration::ZERO,
            ..Self::calm()
        }
    }

    /// Webhooks are lost, late or doubled.
    pub fn webhooks_lost() -> Self {
        Self {
            name: "webhooks_lost",
            weather: |rng| Faults {
                webhook_lost: [0.2, 0.5, 1.0][pick(rng, 3)],
                webhook_doubled: 0.1,
                webhook_late: 0.2,
                ..Faults::default()
            },
            deeds: mixed,
            waits_at_most: minutes(10),
            ..Self::steal()
        }
    }

    /// Replicas die, at any call, before or after its effect.
    pub fn crash() -> Self {
        Self {
            name: "crash",
            weather: |rng| Faults {
                crash: [0.001, 0.004, 0.015, 0.04][pick(rng, 4)],
                ..Faults::default()
            },
            deeds: mixed,
            waits_at_most: minutes(30),
            ..Self::steal()
        }
    }

    /// Calls have their effect and their replies are lost; others are refused.
    pub fn lost_reply() -> Self {
        Self {
            name: "lost_reply",
            weather: |rng| Faults {
                reply_lost: [0.02, 0.1, 0.25][pick(rng, 3)],
                refused: [0.0, 0.05][pick(rng, 2)],
                ..Faults::default()
            },
            deeds: mixed,
            waits_at_most: minutes(30),
            ..Self::steal()
        }
    }

    /// All that this world knows of bad weather at once, each seed a part of it. Machines are taken
    /// back, lists lag, calls take minutes, replicas stand still.
    pub fn chaos() -> Self {
        Self {
            name: "chaos",
            weather: chaos,
            deeds: mixed,
            waits_at_most: SignedDuration::from_hours(3),
            ..Self::steal()
        }
    }

    /// Both limits tight.
    pub fn limits() -> Self {
        let mut class = linux(SignedDuration::from_hours(2));
        class.limit = Some(5);
        class.repo_limit = Some(2);
        Self {
            name: "limits",
            weather: |rng| Faults {
                crash: [0.0, 0.002][pick(rng, 2)],
                reply_lost: [0.0, 0.05][pick(rng, 2)],
                ..Faults::default()
            },
            deeds: mixed,
            classes: vec![class],
            waits_at_most: SignedDuration::from_hours(2),
            ..Self::steal()
        }
    }

    /// All profiles, by name.
    pub fn all() -> Vec<Self> {
        vec![
            Self::calm(),
            Self::steal(),
            Self::webhooks_lost(),
            Self::crash(),
            Self::lost_reply(),
            Self::limits(),
            Self::chaos(),
        ]
    }
}

fn pick(rng: &mut Rng, of: u64) -> usize {
    usize::try_from(rng.below(of)).unwrap_or(0)
}

fn chaos(rng: &mut Rng) -> Faults {
    let mut sometimes = |probability: f64| if rng.chance(0.4) { probability } else { 0.0 };
    Faults {
        crash: sometimes(0.004),
        pause: sometimes(0.001),
        refused: sometimes(0.05),
        reply_lost: sometimes(0.05),
        slow: sometimes(0.01),
        webhook_lost: sometimes(0.4),
        webhook_doubled: sometimes(0.2),
        webhook_late: sometimes(0.2),
        wake_lost: sometimes(0.2),
        wake_doubled: sometimes(0.2),
        wake_late: sometimes(0.2),
        job_omitted: sometimes(0.3),
        no_capacity: sometimes(0.2),
        limit: sometimes(0.05),
        throttled: sometimes(0.05),
        interrupted: sometimes(0.15),
        never_online: sometimes(0.05),
        hangs_idle: sometimes(0.05),
        list_lag: SignedDuration::from_secs(if sometimes(1.0) > 0.0 { 20 } else { 0 }),
        ..Faults::default()
    }
}

fn job(rng: &mut Rng, number: usize) -> JobSpec {
    JobSpec {
        work: rng.between(seconds(20), minutes(8)),
        conclusion: if rng.chance(0.1) { Conclusion::Failure } else { Conclusion::Success },
        ..JobSpec::new(format!("build ({number})"), &["linux"])
    }
}

fn push(rng: &mut Rng, repo: &str, count: usize) -> Deed {
    let jobs = (0..count).map(|n| job(rng, n)).collect();
    Deed::Push { repo: repo.to_owned(), jobs }
}

/// 40 jobs, half an hour apart.
fn far_apart(rng: &mut Rng) -> Vec<(SignedDuration, Deed)> {
    (0..40)
        .map(|n| {
            let at = minutes(30 * n) + rng.between(seconds(1), minutes(10));
            (at, push(rng, "acme/widget", 1))
        })
        .collect()
}

/// Six bursts of 20.
fn bursts(rng: &mut Rng) -> Vec<(SignedDuration, Deed)> {
    let mut at = seconds(5);
    (0..6)
        .map(|_| {
            at += rng.between(seconds(20), minutes(30));
            (at, push(rng, "acme/widget", 20))
        })
        .collect()
}

/// Pushes of one to six jobs over three hours, some with `needs`; a few are cancelled or run again.
fn mixed(rng: &mut Rng) -> Vec<(SignedDuration, Deed)> {
    let repos = ["acme/widget", "acme/gadget", "umbrella/t-virus"];
    let mut at = seconds(5);
    let mut deeds = Vec::new();
    for _ in 0..16 {
        at += rng.between(seconds(1), minutes(20));
        let count = 1 + pick(rng, 6);
        let repo = repos[pick(rng, 3)];
        let mut deed = push(rng, repo, count);
        if let Deed::Push { jobs, .. } = &mut deed
            && count > 2
            && rng.chance(0.3)
        {
            jobs[count - 1].needs = (0..count - 1).collect();
        }
        deeds.push((at, deed));
        if rng.chance(0.25) {
            let wait = rng.between(seconds(1), minutes(3));
            deeds.push((at + wait, Deed::Cancel(pick(rng, 3))));
        }
        if rng.chance(0.25) {
            let wait = rng.between(minutes(1), minutes(15));
            deeds.push((at + wait, Deed::Rerun(pick(rng, 6))));
        }
    }
    deeds.sort_by_key(|(at, _)| *at);
    deeds
}
