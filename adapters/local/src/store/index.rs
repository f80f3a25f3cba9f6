//! Encodes and decodes a record and its projection.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::model::{
    AttemptId, ClassBoot, DecodeError, Phase, RecordFormats, Run, decode,
};
use tinqs_ci_reconciler::ports::{OpenRun, UnreadRecords};

/// A record that cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the record of {name} ({reason}): if a newer tinqs-ci wrote it, upgrade this \
     replica"
)]
pub(super) struct Unreadable {
    name: String,
    reason: String,
    /// Its format, if that is newer than this release reads.
    newer: Option<u32>,
}

/// [`OpenRun`] as it is stored.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "OpenRun")]
pub struct Projection {
    p: Phase,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    x: bool,
    #[schemars(with = "String")]
    d: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    a: Option<AttemptId>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    l: bool,
    o: Vec<String>,
    r: String,
    /// The repository's ID, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    i: Option<i64>,
    #[schemars(with = "String")]
    w: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    b: Vec<ClassBoot>,
    /// The format of the record, if it is not the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    f: Option<u32>,
}

pub(super) fn project(run: &Run) -> Vec<u8> {
    let OpenRun {
        name: _,
        phase,
        deleted,
        due,
        attempt,
        at_limit,
        runs_on,
        repo,
        repo_id,
        waiting_since,
        boots,
    } = OpenRun::of(run);
    let projection = Projection {
        p: phase,
        x: deleted,
        d: due,
        a: attempt,
        l: at_limit,
        o: runs_on.to_vec(),
        r: repo.to_string(),
        i: (repo_id != 0).then_some(repo_id),
        w: waiting_since,
        b: boots,
        f: (run.format != RecordFormats::FIRST).then_some(run.format),
    };
    // Its serialization cannot fail; an empty result would be skipped as unreadable.
    serde_json::to_vec(&projection).unwrap_or_default()
}

pub(super) fn unproject(name: &str, bytes: &[u8], unread: &UnreadRecords) -> Option<OpenRun> {
    let parsed = || -> Result<OpenRun, Box<dyn std::error::Error>> {
        let Projection { p, x, d, a, l, o, r, i, w, b, f } = serde_json::from_slice(bytes)?;
        if let Some(format) = f.filter(|format| *format > RecordFormats::OWN.reads) {
            return Err(Box::new(DecodeError::Newer { format }));
        }
        Ok(OpenRun {
            name: name.parse()?,
            phase: p,
            deleted: x,
            due: d,
            attempt: a,
            at_limit: l,
            runs_on: o.into(),
            repo: r.into(),
            repo_id: i.unwrap_or_default(),
            waiting_since: w,
            boots: b,
        })
    };
    parsed()
        .inspect_err(|reason| {
            let newer = reason.downcast_ref::<DecodeError>().and_then(newer_format);
            unread.failed(name, newer);
            quarantined(name, &**reason);
        })
        .ok()
}

fn newer_format(error: &DecodeError) -> Option<u32> {
    match error {
        DecodeError::Newer { format } => Some(*format),
        DecodeError::Malformed(_) => None,
    }
}

/// Logs an unreadable record, which stays as it is; each time.
pub(super) fn quarantined(name: &str, reason: &dyn std::fmt::Display) {
    tracing::error!(run = %name.escape_debug(), %reason, "skipped unreadable record");
}

fn decoded(name: &str, version: u64, body: &[u8]) -> Result<Run, Unreadable> {
    let unreadable = |reason: String, newer| Unreadable { name: name.to_owned(), reason, newer };
    let run = decode(body).map_err(|error| unreadable(error.to_string(), newer_format(&error)))?;
    if run.name.as_str() != name {
        return Err(unreadable(format!("it belongs to {}", run.name), None));
    }
    Ok(Run { version, ..run })
}

/// Reads a stored record, and notes whether it could be read.
pub(super) fn understand(
    name: &str,
    version: u64,
    body: &[u8],
    unread: &UnreadRecords,
) -> Result<Run, Unreadable> {
    decoded(name, version, body).inspect(|_| unread.is_fine(name)).inspect_err(|error| {
        unread.failed(name, error.newer);
        quarantined(name, &error.reason);
    })
}
