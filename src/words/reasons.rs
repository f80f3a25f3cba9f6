//! The reasons of runs: what a run waits for, what happens next, and what would unblock it.
//!
//! A reason may come from another version, and then has no words.

use tinqs_ci_reconciler::model::Reason;

use super::services::ServiceReason;

/// The page of the book that explains every reason, as a path in the repository.
const PAGE: &str = "docs/troubleshooting.md";

/// The words about a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Advice {
    /// The event or the resource that the run waits for.
    pub waits_for: &'static str,
    /// The next step, taken without a person.
    pub next: &'static str,
    /// The remedy for a person; empty if there is nothing to do.
    pub fix: &'static str,
    /// The weight.
    pub weight: Weight,
}

/// The weight of a reason, most important last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Normal operation.
    #[default]
    Normal,
    /// Not as usual, but it passes by itself, or a person wants it.
    Passing,
    /// A person must act.
    Person,
}

/// The reason of a job that no class serves.
pub const NO_CLASS: &str = Reason::NoClass.as_str();
/// The reason of a class whose launches the cloud rejects.
pub const BREAKER_OPEN: &str = Reason::BreakerOpen.as_str();

/// The reason of a class that a person paused.
pub const PAUSED: &str = Reason::Paused.as_str();

/// The reason of a class with a budget that leaves machines out.
pub const PRICE_UNKNOWN: &str = "PriceUnknown";

/// The reason of a class whose machines on demand come first.
pub const SPOT_BREAKER_OPEN: &str = "SpotBreakerOpen";

/// Returns the words about a reason, by its name in JSON; empty ones if the name is unknown.
pub fn advice(reason: &str) -> Advice {
    let known = Reason::ALL.iter().find(|known| known.as_str() == reason);
    known.map(|reason| of(*reason)).unwrap_or_default()
}

/// Returns where the book explains a reason of a run or of a service, by its name in JSON: the page
/// and, after `#`, the heading. `None` if the name is unknown.
pub fn explained_at(reason: &str) -> Option<String> {
    let of_runs = Reason::ALL.iter().map(|known| known.as_str());
    let of_services = ServiceReason::ALL.iter().map(|known| known.as_str());
    let is_known = of_runs.chain(of_services).any(|known| known == reason);
    is_known.then(|| format!("{PAGE}#{}", reason.to_ascii_lowercase()))
}

/// Returns the words about a reason.
pub fn of(reason: Reason) -> Advice {
    let (waits_for, next, fix) = words(reason);
    let weight = match reason {
        reason if reason.needs_person() => Weight::Person,
        Reason::BackingOff | Reason::NoCapacity | Reason::Paused | Reason::Budget => {
            Weight::Passing
        }
        _ => Weight::Normal,
    };
    Advice { waits_for, next, fix, weight }
}

fn words(reason: Reason) -> (&'static str, &'static str, &'static str) {
    match reason {
        Reason::BreakerOpen => (
            "the cloud to accept launches of its class, or a machine of it to come online",
            "one attempt of the class tries every 5 min",
            "do what the message says; `tinqs-ci doctor` names what else is missing",
        ),
        Reason::NoClass => (
            "a class that serves its labels",
            "nothing, until a class serves them or another runner takes the job",
            "add the labels to a [[class]], or correct `runs-on` in the workflow",
        ),
        Reason::MachineLost => (
            "the forge to end the job of the lost machine",
            "Gitea usually fails the job 10 to 15 min after its machine is gone",
            "re-run the job at the forge when it has failed",
        ),
        Reason::MaxAge => (
            "the forge to end the job, whose machine reached `max_age`",
            "Gitea usually fails the job 10 to 15 min after its machine is gone",
            "raise `max_age` of the class, then re-run the job at the forge",
        ),
        Reason::AwaitsRerun => (
            "its workflow run to be over: from Gitea 1.26 on the job is run again then",
            "Gitea fails the job 10 to 15 min after its machine is gone; then it is asked for it",
            "",
        ),
        Reason::Cancelled => {
            ("nothing: the job was canceled", "its machine ends once its registration is gone", "")
        }
        Reason::BackingOff => (
            "the next attempt, after failed ones",
            "a new machine is tried at the time of the next attempt",
            "fix why the attempts ended, then `tinqs-ci retry RUN` tries at once",
        ),
        Reason::NoCapacity => (
            "the cloud to have capacity for its class",
            "it is launched when an offering may be tried again",
            "add kinds, subnets or the market `on-demand` to the class",
        ),
        Reason::MachineReassigned => (
            "a machine, because another job took its own",
            "it gets the machine of that job, or after `assign_within` a new one",
            "",
        ),
        Reason::AtLimit => (
            "another machine of its class, repository or owner to end",
            "it gets a machine once one ends and its turn has come; who has the fewest goes first",
            "raise `limit`, `repo_limit` or `owner_limit` of the class",
        ),
        Reason::Paused => (
            "a person to resume the launches of its class",
            "nothing, until somebody resumes them; running jobs go on",
            "`tinqs-ci resume`, or `tinqs-ci resume CLASS` if only its class is paused",
        ),
        Reason::Budget => (
            "its class to have budget left: it is spent for today, or no price is known",
            "it is launched after midnight UTC, or once the budget is higher; running jobs go on",
            "raise `budget` of the class; if no spot price is known, allow \
             `ec2:DescribeSpotPriceHistory` and check the class's `kinds`",
        ),
        Reason::Paced => (
            "the launch rate that the cloud allows",
            "it is launched within seconds; who has the fewest machines goes first",
            "",
        ),
        Reason::Blocked => (
            "jobs it needs, an approval, or its concurrency group at the forge",
            "it gets a machine as soon as the forge queues the job",
            "approve the workflow run at the forge, or fix the job that it needs",
        ),
        Reason::Deleted => (
            "nothing: a person deleted the run",
            "its job gets no machine",
            "`tinqs-ci retry RUN` undoes the deletion",
        ),
        Reason::Other => (
            "something that only a newer release can tell",
            "it is reconciled as before; the message is that of the newer release",
            "upgrade this replica",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_a_run_has_words() {
        for reason in Reason::ALL {
            let advice = advice(reason.as_str());
            assert!(!advice.waits_for.is_empty() && !advice.next.is_empty(), "{reason}");
            let must_act = advice.weight == Weight::Person;
            assert!(!must_act || !advice.fix.is_empty(), "{reason} needs a remedy");
        }
    }

    #[test]
    fn an_unknown_reason_has_no_words() {
        assert_eq!(advice("Newer"), Advice::default());
        assert_eq!(explained_at("Newer"), None);
        assert!(Weight::Person > Weight::Passing && Weight::Passing > Weight::Normal);
    }
}
