//! The times at which a job waited, started and ended, by the forge's clock. For people and
//! metrics; of the decisions, only those about lost jobs and their next machines read them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The times of a job at the forge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct JobTimes {
    /// Time at which a runner took the job; `None` if none did since it was last queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub started_at: Option<Timestamp>,
    /// Time at which the job ended; `None` if it has not, or if the forge does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub completed_at: Option<Timestamp>,
    /// The number of this attempt of the job, from 1; `None` if the forge does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// The wait of a job for a runner, as recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct JobWait {
    /// The latest of the job's creation at the forge, its unblocking and its re-run; `None` if it
    /// is not known better than `waiting_since`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub queued_at: Option<Timestamp>,
    /// Time at which a runner took the job, as the forge reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub started_at: Option<Timestamp>,
    /// The number of this attempt of the job, from 1; `None` if the forge does not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

impl JobWait {
    /// Returns whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// Begins the wait again: the job was unblocked or re-run.
    pub(crate) fn restart(&mut self, now: Timestamp) {
        self.queued_at = self.queued_at.map(|_| now);
        self.started_at = None;
    }

    /// Notes the start of the job. `waiting_since` is used where the forge told no earlier time.
    pub(crate) fn starts(&mut self, times: JobTimes, waiting_since: Timestamp) {
        let Some(started_at) = times.started_at else { return };
        self.queued_at = match self.started_at {
            None => Some(self.queued_at.unwrap_or(waiting_since)),
            Some(known) if known == started_at => self.queued_at,
            // A re-run started that nobody saw waiting.
            Some(_) => None,
        };
        self.started_at = Some(started_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn started(second: i64) -> JobTimes {
        JobTimes { started_at: Some(at(second)), ..JobTimes::default() }
    }

    #[test]
    fn a_start_ends_the_wait_once() {
        let mut wait = JobWait { queued_at: Some(at(0)), ..JobWait::default() };
        wait.starts(JobTimes::default(), at(5));
        assert_eq!((wait.queued_at, wait.started_at), (Some(at(0)), None));
        wait.starts(started(9), at(5));
        wait.starts(started(9), at(5));
        assert_eq!((wait.queued_at, wait.started_at), (Some(at(0)), Some(at(9))));
        wait.starts(started(60), at(5));
        assert_eq!((wait.queued_at, wait.started_at), (None, Some(at(60))), "nobody saw it wait");
    }

    #[test]
    fn without_a_time_of_the_forge_the_wait_counts_from_when_it_was_seen() {
        let mut wait = JobWait::default();
        wait.restart(at(3));
        assert!(wait.is_unknown());
        wait.starts(started(9), at(5));
        assert_eq!(wait.queued_at, Some(at(5)));
        wait.restart(at(70));
        assert_eq!((wait.queued_at, wait.started_at), (Some(at(70)), None));
    }
}
