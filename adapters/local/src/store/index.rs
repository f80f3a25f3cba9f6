//! Encodes and decodes a record and its projection.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::model::{AttemptId, ClassBoot, Phase, Run, decode};
use tinqs_ci_reconciler::ports::OpenRun;

/// A record that cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read the record of {name} ({reason}): if a newer tinqs-ci wrote it, run that version"
)]
pub(super) struct Unreadable {
    name: String,
    pub(super) reason: String,
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
    #[schemars(with = "String")]
    w: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    b: Vec<ClassBoot>,
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
        w: waiting_since,
        b: boots,
    };
    // Its serialization cannot fail; an empty result would be skipped as unreadable.
    serde_json::to_vec(&projection).unwrap_or_default()
}

pub(super) fn unproject(name: &str, bytes: &[u8]) -> Option<OpenRun> {
    let parsed = || -> Result<OpenRun, Box<dyn std::error::Error>> {
        let Projection { p, x, d, a, l, o, r, w, b } = serde_json::from_slice(bytes)?;
        Ok(OpenRun {
            name: name.parse()?,
            phase: p,
            deleted: x,
            due: d,
            attempt: a,
            at_limit: l,
            runs_on: o.into(),
            repo: r.into(),
            waiting_since: w,
            boots: b,
        })
    };
    parsed().inspect_err(|reason| quarantined(name, &**reason)).ok()
}

/// Logs an unreadable record, which stays as it is; each time.
pub(super) fn quarantined(name: &str, reason: &dyn std::fmt::Display) {
    tracing::error!(run = %name.escape_debug(), %reason, "skipped unreadable record");
}

pub(super) fn understand(name: &str, version: u64, body: &[u8]) -> Result<Run, Unreadable> {
    let unreadable = |reason: String| Unreadable { name: name.to_owned(), reason };
    let run = decode(body).map_err(|error| unreadable(error.to_string()))?;
    if run.name.as_str() != name {
        return Err(unreadable(format!("it belongs to {}", run.name)));
    }
    Ok(Run { version, ..run })
}

pub(super) fn understood(name: &str, (version, body): &(u64, Vec<u8>)) -> Result<Run, Unreadable> {
    understand(name, *version, body).inspect_err(|error| quarantined(name, &error.reason))
}
