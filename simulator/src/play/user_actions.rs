//! Actions of people, drawn from the seed.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Class, ClassName, Conclusion, Market};

use super::draw::{KEEP, linux, minutes, one_of, pick, seconds};
use super::profile::UserAction;
use crate::cloud::UNPRICED;
use crate::faults::Rng;
use crate::forge::JobSpec;

/// Actions, each with its time after the start.
type UserActions = Vec<(SignedDuration, UserAction)>;

pub(super) const REPOS: [&str; 3] = ["acme/widget", "acme/gadget", "umbrella/t-virus"];

fn job(rng: &mut Rng, number: usize, label: &str) -> JobSpec {
    JobSpec {
        work: rng.between(seconds(20), minutes(8)),
        conclusion: if rng.chance(0.1) { Conclusion::Failure } else { Conclusion::Success },
        ..JobSpec::new(format!("build ({number})"), &[label])
    }
}

pub(super) fn push(rng: &mut Rng, repo: &str, count: usize) -> UserAction {
    let jobs = (0..count).map(|n| job(rng, n, "linux")).collect();
    UserAction::Push { repo: repo.to_owned(), jobs }
}

fn in_order(mut user_actions: UserActions) -> UserActions {
    user_actions.sort_by_key(|(at, _)| *at);
    user_actions
}

/// 40 jobs, half an hour apart.
pub(super) fn far_apart(rng: &mut Rng) -> UserActions {
    (0..40)
        .map(|n| {
            let at = minutes(30 * n) + rng.between(seconds(1), minutes(10));
            (at, push(rng, "acme/widget", 1))
        })
        .collect()
}

/// A burst each morning and each afternoon of January, the second one for some class.
pub(super) fn month(rng: &mut Rng) -> UserActions {
    let mut user_actions = Vec::new();
    for day in 0..31 {
        let midnight = minutes(day * 24 * 60);
        let at = midnight + rng.between(minutes(8 * 60), minutes(12 * 60));
        let (repo, count) = (one_of(rng, &REPOS), 3 + pick(rng, 4));
        user_actions.push((at, push(rng, repo, count)));
        let at = midnight + rng.between(minutes(13 * 60), minutes(17 * 60));
        let (repo, count) = (one_of(rng, &REPOS), 1 + pick(rng, 3));
        let label = one_of(rng, &["linux", "deploy", "gpu"]);
        let jobs = (0..count).map(|n| job(rng, n, label)).collect();
        user_actions.push((at, UserAction::Push { repo: repo.to_owned(), jobs }));
    }
    user_actions
}

/// Six bursts of 20.
pub(super) fn bursts(rng: &mut Rng) -> UserActions {
    let mut at = seconds(5);
    (0..6)
        .map(|_| {
            at += rng.between(seconds(20), minutes(30));
            (at, push(rng, "acme/widget", 20))
        })
        .collect()
}

/// Six bursts of 20 jobs of one second.
pub(super) fn short_bursts(rng: &mut Rng) -> UserActions {
    let mut user_actions = bursts(rng);
    for (_, user_action) in &mut user_actions {
        let UserAction::Push { jobs, .. } = user_action else { continue };
        for job in jobs {
            job.work = seconds(1);
        }
    }
    user_actions
}

/// Pushes of one to six jobs over six hours: at least 36 jobs.
pub(super) fn pushes(rng: &mut Rng) -> UserActions {
    let mut at = seconds(5);
    let mut user_actions = Vec::new();
    for n in 0..18 {
        at += rng.between(seconds(1), minutes(36));
        let count = if n < 12 { 2 + pick(rng, 5) } else { 1 + pick(rng, 3) };
        let repo = one_of(rng, &REPOS);
        user_actions.push((at, push(rng, repo, count)));
    }
    user_actions
}

/// The same, and half of the jobs run for up to two hours.
pub(super) fn long_jobs(rng: &mut Rng) -> UserActions {
    let mut user_actions = pushes(rng);
    for (_, user_action) in &mut user_actions {
        let UserAction::Push { jobs, .. } = user_action else { continue };
        for job in jobs {
            if rng.chance(0.5) {
                job.work = rng.between(minutes(10), minutes(120));
            }
        }
    }
    user_actions
}

/// A burst of three jobs of an hour and a half.
pub(super) fn overlong(rng: &mut Rng) -> UserActions {
    let long = |n| JobSpec { work: minutes(90), ..job(rng, n, "linux") };
    let jobs = (0..3).map(long).collect();
    vec![(seconds(5), UserAction::Push { repo: REPOS[0].to_owned(), jobs })]
}

/// The same, some with `needs`; a few are canceled or rerun.
pub(super) fn mixed(rng: &mut Rng) -> UserActions {
    let mut user_actions = pushes(rng);
    let mut more = Vec::new();
    for (at, user_action) in &mut user_actions {
        if let UserAction::Push { jobs, .. } = user_action
            && jobs.len() > 2
            && rng.chance(0.3)
        {
            let last = jobs.len() - 1;
            jobs[last].needs = (0..last).collect();
        }
        if rng.chance(0.25) {
            let wait = rng.between(seconds(1), minutes(3));
            more.push((*at + wait, UserAction::Cancel(pick(rng, 3))));
        }
        if rng.chance(0.25) {
            let wait = rng.between(minutes(1), minutes(15));
            more.push((*at + wait, UserAction::Rerun(pick(rng, 6))));
        }
    }
    user_actions.extend(more);
    in_order(user_actions)
}

/// Pushes for two classes; those for the second come in bursts.
pub(super) fn two_classes(rng: &mut Rng) -> UserActions {
    let mut user_actions = pushes(rng);
    for n in 0..12 {
        let at = minutes(28 * n) + rng.between(seconds(1), minutes(25));
        let count = 1 + pick(rng, 12);
        let jobs = (0..count).map(|n| job(rng, n, "second")).collect();
        user_actions.push((at, UserAction::Push { repo: one_of(rng, &REPOS).to_owned(), jobs }));
    }
    in_order(user_actions)
}

/// Three bursts of 20, hours apart.
pub(super) fn few_bursts(rng: &mut Rng) -> UserActions {
    (0..3)
        .map(|n| {
            let at = minutes(120 * n) + rng.between(seconds(5), minutes(90));
            let repo = REPOS[pick(rng, 2)];
            (at, push(rng, repo, 20))
        })
        .collect()
}

/// Every action of people, and matrices of 50.
pub(super) fn people(rng: &mut Rng) -> UserActions {
    let mut user_actions = mixed(rng);
    let at = rng.between(seconds(5), minutes(330));
    user_actions.push((at, push(rng, "acme/matrix", 50)));
    for _ in 0..12 {
        let at = rng.between(minutes(1), minutes(350));
        let ago = pick(rng, 8);
        let user_action = match rng.below(7) {
            0 => UserAction::Delete { ago, now: false },
            1 => UserAction::Delete { ago, now: true },
            2 => UserAction::Retry(ago),
            3 => UserAction::Terminate(ago),
            4 => UserAction::Forget(ago),
            5 => UserAction::Cancel(ago),
            _ => UserAction::Rerun(ago),
        };
        user_actions.push((at, user_action));
        if rng.chance(0.3) {
            user_actions.push((at + rng.between(seconds(1), minutes(4)), UserAction::Retry(ago)));
        }
    }
    if rng.chance(0.3) {
        let at = rng.between(minutes(30), minutes(350));
        user_actions.push((at, UserAction::RemoveRepo(one_of(rng, &REPOS).to_owned())));
    }
    in_order(user_actions)
}

/// A mixture of all, sometimes with changed classes or a lost table.
pub(super) fn anything(rng: &mut Rng) -> UserActions {
    let mut user_actions = if rng.chance(0.3) { people(rng) } else { mixed(rng) };
    if rng.chance(0.1) {
        user_actions.extend(configurations(rng));
    }
    if rng.chance(0.05) {
        user_actions.push((rng.between(minutes(30), minutes(330)), UserAction::LoseRecords));
    }
    in_order(user_actions)
}

/// Some jobs that no machine can run; people may retry.
pub(super) fn hopeless(rng: &mut Rng) -> UserActions {
    let mut user_actions = mixed(rng);
    for _ in 0..6 {
        let at = rng.between(seconds(5), minutes(300));
        let count = 1 + pick(rng, 3);
        let jobs = (0..count).map(|n| job(rng, n, "broken")).collect();
        user_actions.push((at, UserAction::Push { repo: "acme/broken".to_owned(), jobs }));
        if rng.chance(0.4) {
            let wait = rng.between(minutes(1), minutes(120));
            user_actions.push((at + wait, UserAction::Retry(pick(rng, 3))));
        }
    }
    in_order(user_actions)
}

/// All records are lost once, and in half of the histories rebuilt.
pub(super) fn lost(rng: &mut Rng) -> UserActions {
    let mut user_actions = mixed(rng);
    if rng.chance(0.5) {
        // During a burst, when many calls are in progress.
        let at = rng.between(minutes(30), minutes(320));
        user_actions.push((at, push(rng, "acme/widget", 20)));
        // Or while most of its jobs wait.
        let most = one_of(rng, &[minutes(1), minutes(6)]);
        user_actions.push(UserAction::lose(at + rng.between(seconds(1), most)));
    } else {
        user_actions.push(UserAction::lose(rng.between(minutes(5), minutes(350))));
    }
    in_order(user_actions)
}

/// Records are rewritten at random a few times.
pub(super) fn scrambled(rng: &mut Rng) -> UserActions {
    let mut user_actions = if rng.chance(0.5) { mixed(rng) } else { few_bursts(rng) };
    for _ in 0..=pick(rng, 4) {
        let percent = one_of(rng, &[5, 30, 100]);
        // Soon after a push, when many calls are in progress, or at any time.
        let at = if rng.chance(0.7) {
            let at = user_actions[pick(rng, u64::try_from(user_actions.len()).unwrap_or(1))].0;
            at + rng.between(seconds(1), minutes(8))
        } else {
            rng.between(minutes(1), minutes(400))
        };
        user_actions.push((at, UserAction::Scramble(percent)));
    }
    in_order(user_actions)
}

/// Pushes of jobs that need a runner at once; a few are canceled.
pub(super) fn first_waves(rng: &mut Rng) -> UserActions {
    let mut user_actions = pushes(rng);
    for _ in 0..4 {
        let at = rng.between(minutes(10), minutes(350));
        user_actions.push((at, UserAction::Cancel(pick(rng, 3))));
    }
    in_order(user_actions)
}

/// Pushes for several labels while classes, labels, limits and machine specs change.
pub(super) fn changing(rng: &mut Rng) -> UserActions {
    let mut user_actions = mixed(rng);
    for _ in 0..6 {
        let at = rng.between(seconds(5), minutes(350));
        let (count, label) = (1 + pick(rng, 4), one_of(rng, &["gpu", "ubuntu-latest", "linux"]));
        let jobs = (0..count).map(|n| job(rng, n, label)).collect();
        user_actions.push((at, UserAction::Push { repo: one_of(rng, &REPOS).to_owned(), jobs }));
    }
    user_actions.extend(configurations(rng));
    in_order(user_actions)
}

fn configurations(rng: &mut Rng) -> UserActions {
    let mut at = minutes(5);
    (0..4)
        .map(|_| {
            at += rng.between(minutes(5), minutes(100));
            (at, UserAction::Configure(classes(rng)))
        })
        .collect()
}

/// Changes of classes as an operator might make. Jobs for `linux` are always served.
fn classes(rng: &mut Rng) -> Vec<Class> {
    let mut class = linux(KEEP);
    if rng.chance(0.3) {
        class.name = ClassName("linux-2".to_owned());
    }
    if rng.chance(0.5) {
        class.limit = Some(one_of(rng, &[3, 6, 12]));
    }
    if rng.chance(0.3) {
        class.repo_limit = Some(one_of(rng, &[2, 4]));
    }
    let image = one_of(rng, &["ami-1", "ami-2", "ami-3"]);
    let kept = 1 + pick(rng, 3);
    class.machines.truncate(kept);
    if rng.chance(0.3) {
        class.machines.reverse();
    }
    for machine in &mut class.machines {
        image.clone_into(&mut machine.image);
        if rng.chance(0.2) {
            machine.market = Market::OnDemand;
        }
    }
    if rng.chance(0.3) {
        class.labels = vec!["linux".to_owned()];
    }
    if rng.chance(0.2) {
        class.times.idle_within = minutes(4);
    }
    let mut all = vec![class];
    if rng.chance(0.6) {
        let mut gpu = linux(KEEP);
        gpu.name = ClassName("gpu".to_owned());
        gpu.labels = vec!["gpu".to_owned()];
        for machine in &mut gpu.machines {
            UNPRICED.clone_into(&mut machine.kind);
        }
        all.insert(pick(rng, 2), gpu);
    }
    if rng.chance(0.2) {
        let mut any = linux(KEEP);
        any.name = ClassName("any".to_owned());
        any.labels = vec!["*".to_owned()];
        all.push(any);
    }
    all
}

/// Bursts of jobs of three repositories, each with labels of another class or a subset of them.
/// Sometimes a repository is removed.
pub(super) fn foreign_labels(rng: &mut Rng) -> UserActions {
    const LABELS: [&[&str]; 7] = [
        &["deploy"],
        &["linux"],
        &["deploy", "linux"],
        &["deploy", "linux", "secrets"],
        &["linux", "ubuntu-latest"],
        &["ubuntu-latest"],
        &["gpu", "linux"],
    ];
    let mut at = seconds(5);
    let mut user_actions = Vec::new();
    for _ in 0..24 {
        at += rng.between(seconds(1), minutes(24));
        let count = 1 + pick(rng, 6);
        let jobs = (0..count)
            .map(|n| {
                let runs_on = one_of(rng, &LABELS).iter().map(|&label| label.to_owned()).collect();
                JobSpec { runs_on, ..job(rng, n, "") }
            })
            .collect();
        user_actions.push((at, UserAction::Push { repo: one_of(rng, &REPOS).to_owned(), jobs }));
        if rng.chance(0.2) {
            let wait = rng.between(seconds(1), minutes(3));
            user_actions.push((at + wait, UserAction::Cancel(pick(rng, 3))));
        }
    }
    if rng.chance(0.3) {
        let at = rng.between(minutes(30), minutes(350));
        user_actions.push((at, UserAction::RemoveRepo(one_of(rng, &REPOS).to_owned())));
    }
    in_order(user_actions)
}

/// A repository and an owner with thirty repositories push some hundred jobs at once; others push
/// single ones. Some jobs are for a class that does not serve their repository.
pub(super) fn flood(rng: &mut Rng) -> UserActions {
    let mut user_actions =
        vec![(rng.between(seconds(5), minutes(2)), push(rng, "acme/widget", 60))];
    for lab in 0..30 {
        let at = rng.between(seconds(5), minutes(20));
        let repo = format!("umbrella/lab-{lab}");
        let count = 1 + pick(rng, 4);
        user_actions.push((at, push(rng, &repo, count)));
    }
    for repo in ["lone/one", "few/two", "vip/three", "vip/four", "acme/gadget"] {
        for _ in 0..4 {
            let at = rng.between(minutes(1), minutes(240));
            let count = 1 + pick(rng, 2);
            user_actions.push((at, push(rng, repo, count)));
        }
    }
    for repo in ["acme/widget", "umbrella/lab-1", "umbrella/lab-2", "vip/three", "lone/one"] {
        let at = rng.between(seconds(5), minutes(240));
        let jobs = vec![job(rng, 0, "deploy")];
        user_actions.push((at, UserAction::Push { repo: repo.to_owned(), jobs }));
    }
    in_order(user_actions)
}
