//! Writes and reads a machine's tags, and the client token that goes with them. They hold IDs and
//! numbers only: everyone who may describe instances can read them.

use aws_sdk_ec2::types::Tag;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use tinqs_ci_reconciler::model::{Attempt, AttemptId, BootPromise, ClassName};

/// The tag that names the machine's installation.
pub const INSTALLATION: &str = "tinqs-ci";
const RUN: &str = "tinqs-ci/run";
const UID: &str = "tinqs-ci/uid";
const ATTEMPT: &str = "tinqs-ci/attempt";
const PLACEMENT: &str = "tinqs-ci/placement";
const REGISTRATION: &str = "tinqs-ci/registration";
/// Only where the registration serves one repository.
const REPOSITORY: &str = "tinqs-ci/repository";
const DEADLINE: &str = "tinqs-ci/deadline";
/// Both or neither: machines of earlier releases have none.
const START_BY: &str = "tinqs-ci/start-by";
const IDLE_WITHIN: &str = "tinqs-ci/idle-within";
/// Only if the machine may stay after its job.
const HOLD: &str = "tinqs-ci/hold";
const CLASS: &str = "tinqs-ci/class";
/// Shown in consoles; not read.
const NAME: &str = "Name";

/// The content of our tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The attempt it belongs to.
    pub attempt_id: AttemptId,
    /// The index of the placement.
    pub placement: u32,
    /// The ID of its runner registration.
    pub registration: i64,
    /// The ID of the repository that the registration serves; 0: every repository of the scope.
    pub repo_id: i64,
    /// The time when it powers itself off, in whole seconds.
    pub deadline: Timestamp,
    /// The promise of its boot script, with `start_by` in whole seconds.
    pub promise: Option<BootPromise>,
    /// Its class.
    pub class: ClassName,
}

/// The client token of a launch: the attempt ID, the placement, and six hex digits of the
/// installation's hash, so that a changed tag does not turn another installation's machine into one
/// of ours. At most 64 characters (limit of EC2). EC2 stores it with the instance; nobody can
/// change it afterwards.
pub fn token(installation: &str, attempt_id: &AttemptId, placement: u32) -> String {
    let hash = Sha256::digest(installation.as_bytes());
    format!("{}-{:02x}{:02x}{:02x}", attempt_id.token(placement), hash[0], hash[1], hash[2])
}

/// Returns the attempt and the placement that a client token names; `None` if it has not the form
/// of this installation's.
pub(super) fn named_by(installation: &str, text: &str) -> Option<(AttemptId, u32)> {
    let (of, _) = text.rsplit_once('-')?;
    let (attempt_id, placement) = of.rsplit_once('-')?;
    let attempt_id: AttemptId = attempt_id.parse().ok()?;
    let placement: u32 = number(placement)?;
    (token(installation, &attempt_id, placement) == text).then_some((attempt_id, placement))
}

/// Returns the tags of a launch, always in this order: ours, then those of the class.
pub fn write(
    installation: &str,
    attempt_id: &AttemptId,
    placement: u32,
    attempt: &Attempt,
) -> Vec<Tag> {
    let deadline = whole_seconds(attempt.boot.deadline);
    let repository = attempt.runner.repo_id;
    let repository = (repository != 0).then(|| (REPOSITORY, repository.to_string()));
    let tags = [
        (INSTALLATION, installation.to_owned()),
        (RUN, attempt_id.run.to_string()),
        (UID, attempt_id.uid.to_string()),
        (ATTEMPT, attempt_id.to_string()),
        (PLACEMENT, placement.to_string()),
        (REGISTRATION, attempt.runner.id.to_string()),
        (DEADLINE, deadline.to_string()),
        (CLASS, attempt.class.to_string()),
        (NAME, attempt_id.token(placement)),
    ];
    let tag = |(key, value): (&str, String)| Tag::builder().key(key).value(value).build();
    let promise = attempt.boot.promise().into_iter().flat_map(|promise| {
        let start_by = whole_seconds(promise.start_by);
        [(START_BY, start_by.to_string()), (IDLE_WITHIN, format!("{:#}", promise.idle_within))]
    });
    let hold = attempt.boot.hold;
    let hold = (!hold.is_zero()).then(|| (HOLD, format!("{hold:#}")));
    let recorded = usize::try_from(placement).ok().and_then(|at| attempt.placements.get(at));
    let own = recorded.map(|placement| &placement.machine.options.tags).into_iter().flatten();
    let own =
        own.filter(|(key, _)| !is_ours(key)).map(|(key, value)| (key.as_str(), value.clone()));
    tags.into_iter().chain(repository).chain(promise).chain(hold).chain(own).map(tag).collect()
}

/// Whether a tag is one that only we set.
fn is_ours(key: &str) -> bool {
    let rest = key.strip_prefix(INSTALLATION);
    key == NAME || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a tag is none that a launch template may set. IAM compares keys without case.
pub(super) fn is_reserved(key: &str) -> bool {
    key.eq_ignore_ascii_case(NAME) || key.to_lowercase().starts_with(INSTALLATION)
}

fn whole_seconds(at: Timestamp) -> Timestamp {
    // Always in range, since it comes from a timestamp.
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Reads the tags if all are there, exactly once, consistent, and of this installation. `None`: the
/// instance is foreign or was edited; it is left alone. Anybody who may tag instances can write
/// them: alone they prove nothing.
pub fn read(installation: &str, tags: &[Tag]) -> Option<Tagged> {
    let value = |key: &str| {
        let mut values = tags.iter().filter(|tag| tag.key() == Some(key)).map(Tag::value);
        let value = values.next()?;
        if values.next().is_some() { None } else { value }
    };
    if value(INSTALLATION)? != installation {
        return None;
    }
    let attempt_id: AttemptId = value(ATTEMPT)?.parse().ok()?;
    if value(RUN)? != attempt_id.run.as_str() || value(UID)? != attempt_id.uid.0 {
        return None;
    }
    let class = value(CLASS)?;
    if class.is_empty() {
        return None;
    }
    let repository = tags.iter().any(|tag| tag.key() == Some(REPOSITORY));
    let repo_id: i64 = if repository { number(value(REPOSITORY)?)? } else { 0 };
    let has = |key: &str| tags.iter().any(|tag| tag.key() == Some(key));
    let promise = if has(START_BY) || has(IDLE_WITHIN) {
        let start_by = value(START_BY)?.parse().ok()?;
        let idle_within = value(IDLE_WITHIN)?.parse().ok()?;
        let hold = if has(HOLD) { value(HOLD)?.parse().ok()? } else { SignedDuration::ZERO };
        Some(BootPromise { start_by, idle_within, hold })
    } else {
        None
    };
    Some(Tagged {
        attempt_id,
        placement: number(value(PLACEMENT)?)?,
        registration: number(value(REGISTRATION)?)?,
        repo_id,
        deadline: value(DEADLINE)?.parse().ok()?,
        promise,
        class: ClassName(class.to_owned()),
    })
}

/// Parses a number that is written as we write it.
fn number<N: std::str::FromStr + ToString>(text: &str) -> Option<N> {
    let number: N = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
