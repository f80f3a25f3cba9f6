//! The times and the attempt of a job, as the forge tells them.
//!
//! Sources: Gitea's `modules/structs/repo_actions.go` and `services/convert`. Times are whole
//! seconds; one that has not come is the epoch. Up to Gitea 1.26 a re-run keeps the job's row with
//! its `created_at`, and `run_attempt` counts the runners that took the job; since 1.27 each attempt
//! is a row, and `run_attempt` counts from 1.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::JobTimes;

use super::version::Version;
use super::wire::ApiJob;

/// Returns what a job's row tells. `version`: that of the server, if it is known.
pub(crate) fn times(job: &ApiJob, version: Option<&Version>) -> JobTimes {
    // The row of a re-run may keep the end of the attempt before.
    let completed_at = job.completed_at.filter(|_| job.status == "completed");
    JobTimes { started_at: job.started_at, completed_at, attempt: attempt(job, version) }
}

/// Returns when this attempt of a job was created; `None` if the row may be older than the attempt.
pub(crate) fn created(job: &ApiJob, version: Option<&Version>) -> Option<Timestamp> {
    let is_first = version.is_none_or(has_row_per_attempt) || attempt(job, version) == Some(1);
    job.created_at.filter(|_| is_first)
}

/// Whether the attempt of a job cannot be told without the server's version.
pub(crate) fn depends_on_version(job: &ApiJob) -> bool {
    job.started_at.is_none() && job.run_attempt.is_some_and(|number| number > 0)
}

fn attempt(job: &ApiJob, version: Option<&Version>) -> Option<u32> {
    let number = u32::try_from(job.run_attempt?).ok()?;
    match (job.started_at, version) {
        // Both ways of counting agree once a runner took the job.
        (Some(_), _) => Some(number).filter(|number| *number > 0),
        (None, _) if number == 0 => Some(1),
        (None, Some(version)) if has_row_per_attempt(version) => Some(number),
        (None, Some(_)) => number.checked_add(1),
        (None, None) => None,
    }
}

fn has_row_per_attempt(version: &Version) -> bool {
    !version.is_older_than(1, 27)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED: &str = "2026-08-01T10:00:00Z";
    const STARTED: &str = "2026-08-01T12:00:30+02:00";
    const NEVER: &str = "1970-01-01T00:00:00Z";

    fn job(attempt: &str, started: &str) -> ApiJob {
        let json = format!(
            r#"{{"id":7,"run_attempt":{attempt},"created_at":"{CREATED}","started_at":"{started}"}}"#
        );
        serde_json::from_str(&json).expect("a job")
    }

    #[test]
    fn times_are_read_and_those_that_have_not_come_are_unknown() {
        let created: Timestamp = CREATED.parse().expect("a time");
        let started = times(&job("1", STARTED), None).started_at.expect("started");
        assert_eq!(started.duration_since(created).as_secs(), 30);
        for never in [NEVER, "0001-01-01T00:00:00Z", "soon", ""] {
            assert_eq!(times(&job("0", never), None).started_at, None, "{never}");
        }
        let null: ApiJob = serde_json::from_str(r#"{"id":7,"started_at":null}"#).expect("a job");
        assert_eq!(times(&null, None), JobTimes::default());
        assert!(serde_json::from_str::<ApiJob>(r#"{"id":7,"created_at":5}"#).is_err());
    }

    #[test]
    fn an_attempt_is_counted_from_1_on_every_server() {
        let (old, new) = (Version::parse("1.26.4"), Version::parse("1.27.0"));
        let told = |attempt, started, version| times(&job(attempt, started), version).attempt;
        for version in [None, Some(&old), Some(&new)] {
            assert_eq!(told("2", STARTED, version), Some(2), "{version:?}");
            assert_eq!(told("0", NEVER, version), Some(1), "{version:?}");
            assert_eq!(told("null", NEVER, version), None, "the server does not tell it");
            assert_eq!(told("-1", NEVER, version), None);
        }
        assert_eq!(told("1", NEVER, Some(&old)), Some(2), "a runner took it once before");
        assert_eq!(told("1", NEVER, Some(&new)), Some(1));
        assert_eq!(told("1", NEVER, None), None, "it may be either");
        assert!(depends_on_version(&job("1", NEVER)) && !depends_on_version(&job("1", STARTED)));
        assert!(!depends_on_version(&job("0", NEVER)) && !depends_on_version(&job("null", NEVER)));
    }

    #[test]
    fn a_re_run_is_not_dated_by_the_row_that_it_keeps() {
        let (old, new) = (Version::parse("1.26.4"), Version::parse("1.27.0"));
        let at = CREATED.parse().ok();
        assert_eq!(created(&job("0", NEVER), Some(&old)), at);
        assert_eq!(created(&job("1", NEVER), Some(&old)), None);
        assert_eq!(created(&job("2", NEVER), Some(&new)), at);
        assert_eq!(created(&job("1", NEVER), None), at);
    }
}
