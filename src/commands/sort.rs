//! The order of lists that `--sort` asks for.

use std::cmp::Ordering;

use tinqs_ci_reconciler::model::Run;

use super::args::Sort;
use crate::api::MachineView;

/// Sorts runs by what their table shows. Those that are equal stay newest first, and those without
/// the value come last.
pub(super) fn runs(all: &mut [Run], by: Sort) {
    match by {
        Sort::Age => all.sort_by_key(|run| run.status.queued_at()),
        Sort::Repo => all.sort_by(|one, other| known_first(repo(one), repo(other))),
        Sort::Class => all.sort_by(|one, other| known_first(class(one), class(other))),
        Sort::Phase => all.sort_by_key(|run| run.status.phase),
    }
}

/// Sorts machines in the same way. Their repository is that of the job that they execute; `get`
/// refuses the phase, which they do not have.
pub(super) fn machines(all: &mut [MachineView], by: Sort) {
    match by {
        Sort::Age => all.sort_by_key(|machine| machine.launched_at),
        Sort::Repo => all.sort_by(|one, other| known_first(job_repo(one), job_repo(other))),
        Sort::Class => all.sort_by(|one, other| one.class.cmp(&other.class)),
        Sort::Phase => {}
    }
}

fn repo(run: &Run) -> Option<&str> {
    let (about, job) = (run.spec.about.repo.as_str(), run.spec.job.repo.as_str());
    Some(if about.is_empty() { job } else { about }).filter(|repo| !repo.is_empty())
}

fn job_repo(machine: &MachineView) -> Option<&str> {
    machine.job.as_ref().map(|job| job.repo.as_str())
}

fn class(run: &Run) -> Option<&str> {
    run.status.attempt.as_ref().map(|attempt| attempt.class.0.as_str())
}

fn known_first(one: Option<&str>, other: Option<&str>) -> Ordering {
    (one.is_none(), one).cmp(&(other.is_none(), other))
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::model::{MachineState, Market, Phase};
    use tinqs_ci_testing::make;

    use super::*;
    use crate::api::{MachineActivity, MachineJob};

    fn list() -> Vec<Run> {
        let rows = [
            (4, "acme/web", Some("linux"), Phase::Waiting),
            (3, "acme/api", None, Phase::Finished),
            (2, "acme/web", Some("gpu"), Phase::Running),
            (1, "acme/api", Some("linux"), Phase::Starting),
        ];
        let run = |(id, repo, class, phase): (i64, &str, Option<&str>, Phase)| {
            let mut run = make::run(id, repo);
            run.status.phase = phase;
            run.status.attempt = class
                .map(|class| make::attempt(&make::attempt_id(id, 1), class, 1, make::at(3_600)));
            run
        };
        rows.into_iter().map(run).collect()
    }

    #[test]
    fn runs_are_sorted_by_what_is_asked_and_equal_ones_stay_newest_first() {
        let sorted = |by| {
            let mut all = list();
            runs(&mut all, by);
            all.iter().map(|run| run.name.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(sorted(Sort::Age), "job-1 job-2 job-3 job-4");
        assert_eq!(sorted(Sort::Repo), "job-3 job-1 job-4 job-2");
        assert_eq!(sorted(Sort::Class), "job-2 job-4 job-1 job-3", "without a class last");
        assert_eq!(sorted(Sort::Phase), "job-4 job-1 job-2 job-3");
    }

    #[test]
    fn machines_are_sorted_by_age_class_and_the_repository_of_their_job() {
        let rows = [
            ("c", "linux", None, 30),
            ("b", "gpu", Some("acme/web"), 20),
            ("a", "linux", Some("acme/api"), 10),
        ];
        let machine = |(id, class, repo, at): (&str, &str, Option<&str>, i64)| MachineView {
            id: id.to_owned(),
            attempt_id: make::attempt_id(at, 1).to_string(),
            run: make::name(at).to_string(),
            class: class.to_owned(),
            kind: "small".to_owned(),
            zone: String::new(),
            market: Market::OnDemand,
            state: MachineState::Up,
            doing: if repo.is_some() { MachineActivity::Job } else { MachineActivity::Idle },
            job: repo.map(|repo| MachineJob {
                run: make::name(at).to_string(),
                repo: repo.to_owned(),
                name: "build".to_owned(),
                url: String::new(),
            }),
            launched_at: make::at(at),
            deadline: make::at(3_600),
            hourly_micro_usd: None,
            cost_micro_usd: None,
        };
        let sorted = |by| {
            let mut all: Vec<MachineView> = rows.into_iter().map(machine).collect();
            machines(&mut all, by);
            all.iter().map(|machine| machine.id.as_str()).collect::<String>()
        };
        assert_eq!(sorted(Sort::Age), "abc");
        assert_eq!(sorted(Sort::Class), "bca");
        assert_eq!(sorted(Sort::Repo), "abc", "without a job last");
    }
}
