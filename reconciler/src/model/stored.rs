//! The stored form of a record: the only one that contains credentials, or their digests.

use serde::Deserialize;
use serde_json::Value;

use super::attempt::Attempt;
use super::record_formats::{self, RecordFormats};
use super::run::{Condition, Reason, Run};
use super::runner_setup::RunnerConfig;
use super::unknown_fields::UnknownFields;

/// The reason why stored bytes are not read as a run.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A later release wrote them, in a format that this one does not read.
    #[error(
        "it has format {format}, and this release reads formats up to {}",
        RecordFormats::OWN.reads
    )]
    Newer {
        /// Their format.
        format: u32,
    },
    /// They are not a run.
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
}

/// The part that a record of any format has.
#[derive(Deserialize)]
struct Header {
    #[serde(default = "record_formats::first")]
    format: u32,
}

/// Beside a reason that every release knows: the one that it stands for in records of the first
/// format. Releases that read only that format cannot read a record with a reason that they do not
/// know.
const STANDS_FOR: &str = "stands_for";

/// Encodes a run for the store as JSON, including its credentials and what it keeps of a later
/// release.
pub fn encode(run: &Run) -> Vec<u8> {
    let is_new = |condition: &Condition| condition.reason == Reason::AwaitsRerun;
    let replaces = run.format == RecordFormats::FIRST && run.status.conditions.iter().any(is_new);
    if run.status.attempt.is_none() && run.unknown.is_empty() && !replaces {
        // Without an attempt there is no credential. Nothing in it can fail to serialize.
        return serde_json::to_vec(run).unwrap_or_default();
    }
    let mut value = serde_json::to_value(run).unwrap_or_default();
    if let Some(attempt) = &run.status.attempt {
        put_credentials(attempt, &mut value["status"]["attempt"]);
    }
    if replaces {
        replace_reasons(&mut value);
    }
    run.unknown.put_into(&mut value);
    value.to_string().into_bytes()
}

/// Replaces the reason that releases before it cannot read.
fn replace_reasons(run: &mut Value) {
    let conditions = run["status"]["conditions"].as_array_mut().into_iter().flatten();
    for condition in conditions.filter(|it| it["reason"] == Reason::AwaitsRerun.as_str()) {
        condition["reason"] = Reason::MachineLost.as_str().into();
        condition[STANDS_FOR] = Reason::AwaitsRerun.as_str().into();
    }
}

/// Reads the reasons that others stand for.
fn restore_reasons(run: &mut Run, bytes: &[u8]) -> serde_json::Result<()> {
    let conditions = &mut run.status.conditions;
    if !conditions.iter().any(|condition| condition.reason == Reason::MachineLost) {
        return Ok(());
    }
    let stored: Value = serde_json::from_slice(bytes)?;
    let stored = stored["status"]["conditions"].as_array().into_iter().flatten();
    for (condition, stored) in conditions.iter_mut().zip(stored) {
        let stands_for = &stored[STANDS_FOR];
        if condition.reason == Reason::MachineLost && *stands_for == Reason::AwaitsRerun.as_str() {
            condition.reason = Reason::AwaitsRerun;
        }
    }
    Ok(())
}

/// Puts the credentials of an attempt into its stored form.
fn put_credentials(attempt: &Attempt, stored: &mut Value) {
    stored["runner"]["token"] = attempt.runner.token.to_stored().into();
    if let Some(token) = &attempt.boot.git_token {
        stored["boot"]["git_token"] = token.expose().into();
    }
    let placements = stored["placements"].as_array_mut().into_iter().flatten();
    for (stored, placement) in placements.zip(&attempt.placements) {
        let setup = placement.machine.runner.as_ref();
        if let Some(config) = setup.and_then(|setup| setup.config.as_ref()) {
            put_secrets(config, &mut stored["machine"]["runner"]["config"]);
        }
    }
}

/// Puts the credentials of a runner's configuration into its stored form.
fn put_secrets(config: &RunnerConfig, stored: &mut Value) {
    for (name, value) in &config.envs {
        stored["envs"][name.as_str()] = value.expose().into();
    }
    if let Some(secret) = &config.cache.external_secret {
        stored["cache"]["external_secret"] = secret.expose().into();
    }
}

/// Decodes a run from the store.
///
/// # Errors
/// [`DecodeError`], also if the bytes are of a newer format than this release reads.
pub fn decode(bytes: &[u8]) -> Result<Run, DecodeError> {
    let mut run: Run = match serde_json::from_slice(bytes) {
        Ok(run) => run,
        Err(error) => {
            let header: Result<Header, _> = serde_json::from_slice(bytes);
            header.map_or(Ok(()), |header| readable(header.format))?;
            return Err(error.into());
        }
    };
    readable(run.format)?;
    if let Some(attempt) = &mut run.status.attempt {
        attempt.runner.token.read_stored();
    }
    restore_reasons(&mut run, bytes)?;
    // Almost always this release wrote them, and everything is known.
    let known = encode(&run);
    if known != bytes {
        let (stored, known) = (serde_json::from_slice(bytes)?, serde_json::from_slice(&known)?);
        run.unknown = UnknownFields::of(&stored, &known);
    }
    Ok(run)
}

fn readable(format: u32) -> Result<(), DecodeError> {
    if format > RecordFormats::OWN.reads { Err(DecodeError::Newer { format }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::names::RunName;
    use super::super::run::Spec;
    use super::super::timeline::SeenBy;
    use super::*;

    #[test]
    fn a_reason_that_earlier_releases_do_not_know_is_stored_as_one_that_they_know() {
        let at = Timestamp::UNIX_EPOCH;
        let mut run = Run::new("test", RunName::job(1), Spec::default(), SeenBy::Poll, at);
        let condition = |reason| Condition { reason, since: at, message: "m".to_owned() };
        for reason in [Reason::AwaitsRerun, Reason::MachineLost] {
            run.status.conditions = vec![condition(reason)];
            let bytes = encode(&run);
            let stored: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(stored["status"]["conditions"][0]["reason"], "MachineLost");
            assert_eq!(decode(&bytes).unwrap(), run, "{reason}");
        }
        // An earlier release writes only what it knows.
        run.status.conditions = vec![condition(Reason::MachineLost)];
        assert!(decode(&encode(&run)).unwrap().unknown.is_empty());
    }
}
