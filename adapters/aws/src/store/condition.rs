//! The condition of a write of a run.

use std::collections::HashMap;

use tinqs_ci_reconciler::model::{Run, RunName};
use tinqs_ci_reconciler::ports::{ErrorKind, Expect, PortError};

use super::item::{self, Item, KEY, UID, VERSION, WRITER};

/// Returns the version that a write makes.
pub(super) fn checked(run: &Run, expect: Expect) -> Result<u64, PortError> {
    match expect {
        Expect::Absent => Ok(1),
        Expect::At(uid, version) if uid == run.uid => Ok(version.saturating_add(1)),
        Expect::At(uid, _) => {
            let (name, new) = (&run.name, run.uid);
            let message = format!("{name}: a write may not change the uid (from {uid} to {new})");
            Err(PortError::new("store", "put", ErrorKind::Invalid, message))
        }
    }
}

/// Returns the condition of a write with its names and values.
pub(super) fn put_condition(
    expect: Expect,
) -> (&'static str, HashMap<String, String>, Option<Item>) {
    let name = |short: &str, name: &str| (short.to_owned(), name.to_owned());
    match expect {
        Expect::Absent => ("attribute_not_exists(#key)", HashMap::from([name("#key", KEY)]), None),
        Expect::At(uid, version) => (
            "#uid = :uid AND #version = :version",
            HashMap::from([name("#uid", UID), name("#version", VERSION)]),
            Some(Item::from([
                (":uid".to_owned(), item::bytes(uid.0.as_bytes())),
                (":version".to_owned(), item::number(version)),
            ])),
        ),
    }
}

/// Returns whether a refused write found its own mark: its first try succeeded, and the reply was
/// lost.
pub(super) fn is_own(there: Option<&Item>, mark: &[u8]) -> bool {
    let writer = there.and_then(|item| item.get(WRITER)?.as_b().ok());
    writer.is_some_and(|writer| writer.as_ref() == mark)
}

pub(super) fn conflict(operation: &'static str, message: String) -> PortError {
    PortError::new("store", operation, ErrorKind::Conflict, message)
}

/// Describes what a refused write found.
pub(super) fn found(name: &RunName, there: Option<&Item>) -> String {
    let seen = there.and_then(|item| Some((item::version_of(item)?, item::uid_of(item)?)));
    match (there, seen) {
        (None, _) => format!("{name} no longer exists"),
        (Some(_), Some((version, uid))) => {
            format!("{name} was changed by another process: it is at version {version} of {uid}")
        }
        (Some(_), None) => format!("{name} was changed by another process"),
    }
}
