//! The blocks of a job at the forge, and what would unblock it.

use super::lasting;
use jiff::SignedDuration;

/// The maximum number of jobs that are named.
const NAMED: usize = 5;

/// The obstacle of a job, as far as the forge's answers tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// Jobs that it needs have not ended.
    Needs(Vec<NeededJob>),
    /// Other jobs of its workflow run have not ended: it needs one of them, or waits for its
    /// concurrency group.
    NeedsOrConcurrency(Vec<NeededJob>),
    /// A person must approve its workflow run.
    Approval,
    /// Another job or workflow run of its concurrency group has not ended.
    Concurrency,
    /// One of these two.
    ApprovalOrConcurrency,
    /// Nothing that can be seen: the forge is about to queue it, or it needs a job that does not
    /// exist.
    NothingSeen,
}

/// A job of the same workflow run that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededJob {
    /// Its ID.
    pub id: i64,
    /// Its name. It comes from outside.
    pub name: String,
    /// The current activity.
    pub doing: JobActivity,
}

/// The activity of a job that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobActivity {
    /// It runs, since so long if that is known.
    Runs(Option<SignedDuration>),
    /// It waits for a runner.
    Waits,
    /// It is blocked too.
    IsBlocked,
    /// Something that this version does not know.
    Unknown,
}

impl Blocking {
    /// Says what blocks the job: `blocked by …`.
    pub fn sentence(&self) -> String {
        match self {
            Self::Needs(jobs) => format!("blocked by {}", named(jobs)),
            Self::NeedsOrConcurrency(jobs) => format!(
                "blocked by {}, or by its concurrency group: the forge does not tell which",
                named(jobs)
            ),
            Self::Approval => "blocked until a person approves its workflow run".to_owned(),
            Self::Concurrency => {
                "blocked by its concurrency group: another workflow run or job of \
                                  the group has not ended"
                    .to_owned()
            }
            Self::ApprovalOrConcurrency => {
                "blocked until a person approves its workflow run, or by \
                                            its concurrency group: the forge does not tell which"
                    .to_owned()
            }
            Self::NothingSeen => "blocked, but no job that it could need is left: the forge is \
                                  about to queue it, or it needs a job that does not exist"
                .to_owned(),
        }
    }

    /// Says what would unblock it; empty if nobody has to do anything.
    pub fn fix(&self) -> String {
        match self {
            Self::Needs(jobs) | Self::NeedsOrConcurrency(jobs) => jobs
                .iter()
                .find(|job| job.doing == JobActivity::Waits)
                .map(|job| format!("`tinqs-ci why job-{}` tells what that job waits for", job.id))
                .unwrap_or_default(),
            Self::Approval => "approve the workflow run on its page at the forge".to_owned(),
            Self::Concurrency => {
                "wait for the other workflow run of the group, or cancel it at the forge".to_owned()
            }
            Self::ApprovalOrConcurrency => "look at the page of the workflow run at the forge: it \
                                            has a button if an approval is needed"
                .to_owned(),
            Self::NothingSeen => {
                "if it stays so, check `needs` of the job in its workflow file".to_owned()
            }
        }
    }
}

/// Names the jobs: `` `compile` (job-23, running 18 s) and `lint` (job-24, waiting) ``.
fn named(jobs: &[NeededJob]) -> String {
    let mut named: Vec<String> = jobs.iter().take(NAMED).map(NeededJob::told).collect();
    if jobs.len() > NAMED {
        named.push(format!("{} more jobs", jobs.len() - NAMED));
    }
    match named.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
        None => "a job that it needs".to_owned(),
    }
}

impl NeededJob {
    fn told(&self) -> String {
        let doing = match self.doing {
            JobActivity::Runs(Some(since)) => format!("running {}", lasting(since)),
            JobActivity::Runs(None) => "running".to_owned(),
            JobActivity::Waits => "waiting for a runner".to_owned(),
            JobActivity::IsBlocked => "blocked too".to_owned(),
            JobActivity::Unknown => "not ended".to_owned(),
        };
        format!("`{}` (job-{}, {doing})", self.name, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: i64, name: &str, doing: JobActivity) -> NeededJob {
        NeededJob { id, name: name.to_owned(), doing }
    }

    #[test]
    fn the_jobs_that_block_are_named_with_what_they_do() {
        let running = job(23, "compile", JobActivity::Runs(Some(SignedDuration::from_secs(18))));
        let one = Blocking::Needs(vec![running.clone()]);
        assert_eq!(one.sentence(), "blocked by `compile` (job-23, running 18 s)");
        assert_eq!(one.fix(), "");
        let two = Blocking::Needs(vec![running, job(24, "lint", JobActivity::Waits)]);
        assert_eq!(
            two.sentence(),
            "blocked by `compile` (job-23, running 18 s) and `lint` (job-24, waiting for a runner)"
        );
        assert!(two.fix().contains("`tinqs-ci why job-24`"), "{}", two.fix());
        let many = (1..=8).map(|id| job(id, "test", JobActivity::IsBlocked)).collect();
        let many = Blocking::Needs(many).sentence();
        assert!(many.ends_with("`test` (job-5, blocked too) and 3 more jobs"), "{many}");
    }

    #[test]
    fn what_cannot_be_told_says_which_two_it_may_be() {
        let jobs = vec![job(3, "build", JobActivity::Runs(None))];
        let either = Blocking::NeedsOrConcurrency(jobs).sentence();
        assert!(
            either.contains("`build` (job-3, running), or by its concurrency group"),
            "{either}"
        );
        let either = Blocking::ApprovalOrConcurrency.sentence();
        for word in ["approves", "concurrency group", "does not tell which"] {
            assert!(either.contains(word), "{either}");
        }
        for blocking in [
            Blocking::Approval,
            Blocking::Concurrency,
            Blocking::ApprovalOrConcurrency,
            Blocking::NothingSeen,
        ] {
            assert!(blocking.sentence().starts_with("blocked"), "{blocking:?}");
            assert!(!blocking.fix().is_empty(), "{blocking:?}");
        }
    }
}
