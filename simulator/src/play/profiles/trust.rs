//! Profiles in which repositories and classes do not trust each other.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Class, ClassName};
use tinqs_ci_reconciler::ports::RegistrationLists;

use super::{any_line, any_lists};
use crate::faults::{FaultProfile, Rng};
use crate::forge::JobSpec;
use crate::play::draw::{KEEP, hours, linux, minutes, one_of, seconds};
use crate::play::profile::{Profile, UserAction};
use crate::play::{strangers, user_actions};

fn class(name: &str, labels: &[&str]) -> Class {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    Class { name: ClassName(name.to_owned()), labels, ..linux(KEEP) }
}

impl Profile {
    /// The clock of each replica is set while it runs: right, by minutes or by hours. Machines fail in
    /// every way that is told by a wait.
    pub fn skew() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            clocks_set: true,
            crash: one_of(rng, &[0.0, 0.002]),
            cloud_reply_lost: one_of(rng, &[0.0, 0.05]),
            list_lag: one_of(rng, &[seconds(0), seconds(20)]),
            never_online: 0.03,
            hangs_idle: 0.03,
            hangs_after_job: 0.05,
            ignores_timer: 0.3,
            silent: 0.3,
            ..FaultProfile::default()
        };
        // A machine that never comes is replaced only once some clock is right.
        let waits_at_most = minutes(9 * 60);
        Self {
            name: "skew",
            faults,
            user_actions: user_actions::long_jobs,
            line: any_line,
            waits_at_most,
            ..Self::steal()
        }
    }

    /// Jobs of three repositories ask for labels of each other's classes and for subsets of them.
    /// Each repository has a list of registrations of its own; lists omit rows.
    pub fn hijack() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            crash: one_of(rng, &[0.0, 0.002]),
            reply_lost: one_of(rng, &[0.0, 0.05]),
            runner_omitted: one_of(rng, &[0.0, 0.2]),
            list_lag: one_of(rng, &[seconds(0), seconds(20)]),
            wake_doubled: 0.2,
            ..FaultProfile::default()
        };
        Self {
            name: "hijack",
            faults,
            user_actions: user_actions::foreign_labels,
            classes: vec![
                class("deploy", &["deploy", "linux", "secrets:host"]),
                class("linux", &["linux", "ubuntu-latest:host"]),
                class("any", &["*"]),
            ],
            lists: |_| RegistrationLists::PerRepository,
            waits_at_most: minutes(90),
            ..Self::steal()
        }
    }

    /// Another installation, one of an earlier release and somebody with our names register runners
    /// for the same jobs; those of the first work. Repositories are renamed, transferred and
    /// replaced, and one class serves those of one owner only.
    pub fn rogue() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            crash: one_of(rng, &[0.0, 0.002]),
            reply_lost: one_of(rng, &[0.0, 0.05]),
            runner_omitted: one_of(rng, &[0.0, 0.2]),
            list_lag: one_of(rng, &[seconds(0), seconds(20)]),
            ..FaultProfile::default()
        };
        Self {
            name: "rogue",
            faults,
            user_actions: strangers::rogue,
            classes: vec![
                Class { repos: vec!["acme/*".to_owned()], ..class("acme", &["linux"]) },
                linux(KEEP),
            ],
            line: any_line,
            lists: any_lists,
            waits_at_most: minutes(90),
            ..Self::steal()
        }
    }

    /// One repository, and one owner with thirty repositories, ask for more than a class gives; a
    /// few others ask for little. Two classes serve some repositories only.
    pub fn flood() -> Self {
        let faults = |rng: &mut Rng| FaultProfile {
            crash: one_of(rng, &[0.0, 0.001]),
            reply_lost: one_of(rng, &[0.0, 0.03]),
            list_lag: one_of(rng, &[seconds(0), seconds(20)]),
            wake_doubled: 0.1,
            ..FaultProfile::default()
        };
        let only = |repos: &[&str], class: Class| Class {
            repos: repos.iter().map(|pattern| (*pattern).to_owned()).collect(),
            ..class
        };
        let linux = Class {
            limit: Some(8),
            repo_limit: Some(3),
            owner_limit: Some(5),
            ..class("linux", &["linux"])
        };
        Self {
            name: "flood",
            faults,
            user_actions: user_actions::flood,
            classes: vec![
                only(&["acme/widget", "umbrella/lab-1*"], class("deploy", &["deploy"])),
                only(&["VIP/*"], class("vip", &["linux", "deploy"])),
                linux,
            ],
            waits_at_most: hours(5),
            checks_shares: true,
            ..Self::steal()
        }
    }

    /// A repository with two hundred jobs and an owner with a hundred repositories ask a class for
    /// more than it gives, and others for one machine. In another class ten owners keep one that
    /// has a machine from its next one. No faults: the order of free seats is checked.
    pub fn shares() -> Self {
        let limited = |name, limit| Class { limit: Some(limit), ..class(name, &[name]) };
        Self {
            name: "shares",
            user_actions: floods_and_single_jobs,
            classes: vec![limited("linux", 12), limited("narrow", 2)],
            replicas: (1, 2),
            waits_at_most: hours(8),
            checks_shares: true,
            ..Self::steal()
        }
    }
}

/// A push of jobs of 20 to 90 seconds.
fn short_jobs(rng: &mut Rng, repo: String, label: &str, count: i64) -> UserAction {
    let job = |n| JobSpec {
        work: rng.between(seconds(20), seconds(90)),
        ..JobSpec::new(format!("build ({n})"), &[label])
    };
    UserAction::Push { repo, jobs: (0..count).map(job).collect() }
}

fn floods_and_single_jobs(rng: &mut Rng) -> Vec<(SignedDuration, UserAction)> {
    let mut user_actions = Vec::new();
    let mut push = |rng: &mut Rng, from: i64, to: i64, repo: String, label: &str, count: i64| {
        let at = rng.between(seconds(from), seconds(to));
        user_actions.push((at, short_jobs(rng, repo, label, count)));
    };
    // Spread over five minutes, as are the reconciles of runs that wait for a seat from then on.
    for n in 0..40 {
        push(rng, 5 + 7 * n, 12 + 7 * n, "acme/widget".to_owned(), "linux", 5);
    }
    for lab in 0..100 {
        push(rng, 5, 300, format!("umbrella/lab-{lab}"), "linux", 2);
    }
    for n in 0..20 {
        push(rng, 400 + 150 * n, 500 + 150 * n, format!("solo-{n}/app"), "linux", 1);
    }
    for round in 0..9 {
        for n in 0..10 {
            let from = 200 + 600 * round;
            push(rng, from, from + 600, format!("few-{n}/app"), "narrow", 1);
        }
    }
    push(rng, 900, 960, "slow/app".to_owned(), "narrow", 1);
    let long = JobSpec { work: minutes(180), ..JobSpec::new("long", &["narrow"]) };
    user_actions
        .push((seconds(1), UserAction::Push { repo: "slow/app".to_owned(), jobs: vec![long] }));
    user_actions.sort_by_key(|(at, _)| *at);
    user_actions
}
