//! The directory of a machine: its state across restarts.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, ErrorKind as Io, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::model::{AttemptId, EndedBy, Machine, MachineState};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::discard::{DISCARDED, set_aside};
use super::scan::{self, Scan};
use super::user::Account;

pub(super) const HOME: &str = "home";
pub(super) const TMP: &str = "tmp";
pub(super) const STARTED: &str = "started";
const MACHINE: &str = "machine.json";
const SCRIPT: &str = "boot.sh";
pub(super) const LOG: &str = "log";
pub(super) const TERMINATED: &str = "terminated";
const ENDED: &str = "ended";
/// Written by the boot script before it ends the machine.
const POWERED_OFF: &str = ".tinqs-ci-powered-off";
/// Written before the launch of a machine whose boot script writes that. Those of earlier releases
/// do not.
const TELLS_END: &str = "tells-end";

/// The directory of an attempt's placement, whether it exists or not.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The client token and the machine's ID: `<attempt ID>-<placement>`.
    pub(super) token: String,
    pub(super) dir: PathBuf,
    /// The directory of the job's files: the same, or one of the machines' user.
    pub(super) work: PathBuf,
    pub(super) account: Account,
}

/// Result of preparing a launch.
#[derive(Debug)]
pub(super) enum Prepared {
    /// The machine runs or has run.
    Exists(Machine),
    /// All files are written; nothing was started.
    Ready(Machine),
}

/// The end of a machine, in its directory.
#[derive(Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "MachineEnded")]
pub struct Ended {
    #[schemars(with = "String")]
    at: Timestamp,
    by: EndedBy,
}

/// Converts an error of the file system.
pub(super) fn failed(operation: &'static str, path: &Path, error: io::Error) -> PortError {
    let (kind, remedy) = match error.kind() {
        Io::PermissionDenied | Io::ReadOnlyFilesystem => {
            (ErrorKind::Denied, "check that this user may write there")
        }
        _ => (ErrorKind::Unavailable, "check the disk's space and health"),
    };
    let message = format!("`{}`: {error}; {remedy}", path.display());
    PortError::new("compute", operation, kind, message).caused_by(error)
}

/// Creates a directory for this user alone, and its parents.
pub(super) fn make(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Lists the directories of all machines.
pub(super) fn places(dir: &Path, account: &Account) -> io::Result<Vec<Place>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| Place::of_token(dir, account, name)));
    }
    Ok(found)
}

/// Parses a client token; `None` for any other text, so that text from outside never becomes a
/// path.
fn parse(token: &str) -> Option<(AttemptId, u32)> {
    let (attempt_id, placement) = token.rsplit_once('-')?;
    let (attempt_id, placement): (AttemptId, u32) =
        (attempt_id.parse().ok()?, placement.parse().ok()?);
    (attempt_id.token(placement) == token).then_some((attempt_id, placement))
}

impl Place {
    pub(super) fn of_token(dir: &Path, account: &Account, token: &str) -> Option<Self> {
        parse(token)?;
        let dir = dir.join(token);
        let work = account.0.as_ref().map_or_else(|| dir.clone(), |u| u.workspace.join(token));
        Some(Self { token: token.to_owned(), dir, work, account: account.clone() })
    }

    pub(super) fn has(&self, file: &str) -> bool {
        self.dir.join(file).exists()
    }

    fn read<T: serde::de::DeserializeOwned>(&self, file: &str) -> Option<T> {
        let bytes = std::fs::read(self.dir.join(file)).ok()?;
        serde_json::from_slice(&bytes)
            .inspect_err(|error| {
                tracing::warn!(machine = %self.token, file, %error, "cannot read file of machine");
            })
            .ok()
    }

    /// Writes a file whole or not at all, even if several callers write it.
    fn write(&self, file: &str, bytes: &[u8]) -> io::Result<()> {
        static WRITES: AtomicU64 = AtomicU64::new(0);
        let (process, write) = (std::process::id(), WRITES.fetch_add(1, Ordering::Relaxed));
        let unfinished = self.dir.join(format!("{file}.{process}-{write}"));
        let mut new = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        let written =
            new.write_all(bytes).and_then(|()| std::fs::rename(&unfinished, self.dir.join(file)));
        written.inspect_err(|_| {
            // A full disk does not get a file more for each try.
            let _ = std::fs::remove_file(&unfinished);
        })
    }

    /// Whether it may have been started, or must no longer be started.
    fn is_begun(&self) -> bool {
        self.has(STARTED) || self.has(TERMINATED) || self.has(ENDED)
    }

    /// Writes all files that a machine needs to start, or finds that it was started. Completes what
    /// a killed controller left unfinished.
    pub(super) fn prepare(
        &self,
        machine: Machine,
        script: &str,
        now: Timestamp,
    ) -> io::Result<Prepared> {
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Ok(()) => {}
            Err(error) if error.kind() == Io::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let recorded = self.read::<Machine>(MACHINE);
        if self.is_begun() {
            let seen = self.inspect(&mut Scan::new(&self.account), now);
            return Ok(Prepared::Exists(
                seen.unwrap_or_else(|| gone(recorded.unwrap_or(machine), EndedBy::Itself, now)),
            ));
        }
        let machine = if let Some(machine) = recorded {
            machine
        } else {
            self.write(MACHINE, &serde_json::to_vec(&machine).map_err(io::Error::other)?)?;
            machine
        };
        if self.account.0.is_none() {
            self.write(SCRIPT, script.as_bytes())?;
        }
        self.write(TELLS_END, b"")?;
        let make_all = || [HOME, TMP].iter().try_for_each(|part| make(&self.work.join(part)));
        self.account.files(make_all)??;
        Ok(Prepared::Ready(machine))
    }

    /// Returns the machine with its present state. `None` if it does not exist or never started:
    /// then the same launch makes it. Records an end that is seen for the first time.
    pub(super) fn inspect(&self, processes: &mut Scan, now: Timestamp) -> Option<Machine> {
        if !self.dir.is_dir() {
            return None;
        }
        let machine = self.read::<Machine>(MACHINE)?;
        if let Some(Ended { at, by }) = self.read(ENDED) {
            return Some(gone(machine, by, at));
        }
        let begun = self.is_begun();
        if processes.has(&self.token) || self.leads() || (begun && processes.still_has(&self.token))
        {
            let ending = self.has(TERMINATED);
            let state = if ending { MachineState::Ending } else { MachineState::Up };
            return Some(Machine { state, ..machine });
        }
        if !begun {
            return None;
        }
        let by = if self.has(TERMINATED) {
            EndedBy::Request
        } else if self.was_killed() && now < machine.deadline {
            EndedBy::Cloud
        } else {
            EndedBy::Itself
        };
        self.close(&Ended { at: now, by });
        Some(gone(machine, by, now))
    }

    /// Whether its processes were killed, or the host restarted: its boot script would have told
    /// that it powers off, and did not. Nothing follows from a file that cannot be looked up.
    fn was_killed(&self) -> bool {
        let file = self.work.join(HOME).join(POWERED_OFF);
        self.has(TELLS_END) && self.account.files(|| !file.exists()).unwrap_or(false)
    }

    /// Whether its first process is alive. The process always carries its marker, except at the
    /// instant when it executes the boot script.
    pub(super) fn leads(&self) -> bool {
        std::fs::read_to_string(self.dir.join(STARTED)).is_ok_and(|started| {
            // A process that cannot be looked up may be alive.
            self.account.files(|| scan::is_alive(&started)).unwrap_or(true)
        })
    }

    /// Records the end and deletes what only the live machine needed, credentials first. While the
    /// end cannot be recorded, its evidence stays.
    fn close(&self, ended: &Ended) {
        let _ = std::fs::remove_file(self.dir.join(SCRIPT));
        let bytes = serde_json::to_vec(ended).map_err(io::Error::other);
        if let Err(error) = bytes.and_then(|bytes| self.write(ENDED, &bytes)) {
            tracing::warn!(machine = %self.token, %error, "cannot record end, will retry");
            return;
        }
        if self.account.0.is_some() {
            self.set_work_aside();
            return;
        }
        for part in [HOME, TMP] {
            set_aside(&self.dir.join(part), &self.discarded(&self.dir, &format!("-{part}")));
        }
    }

    /// Sets the directory of the machines' user aside, if they have one.
    fn set_work_aside(&self) {
        if self.account.0.is_none() {
            return;
        }
        let discarded = self.discarded(&self.work, "");
        if let Err(error) = self.account.files(|| set_aside(&self.work, &discarded)) {
            tracing::warn!(machine = %self.token, %error, "cannot set aside leftovers");
        }
    }

    fn discarded(&self, of: &Path, suffix: &str) -> PathBuf {
        of.with_file_name(format!("{DISCARDED}{}{suffix}", self.token))
    }

    /// Sets the directory aside `keep` after the machine's end, or if it never started.
    pub(super) fn clean(&self, processes: &mut Scan, now: Timestamp, keep: SignedDuration) {
        let since = match self.read::<Ended>(ENDED) {
            Some(Ended { at, by: _ }) => Some(at),
            None => match self.read::<Machine>(MACHINE) {
                // Its end will be seen and recorded.
                Some(_) if self.is_begun() => None,
                Some(machine) => Some(machine.launched_at),
                // An interrupted launch, or a file that a power failure left empty.
                None => self.changed(),
            },
        };
        let over = since.is_some_and(|since| now.duration_since(since) >= keep);
        if !over || processes.has(&self.token) {
            return;
        }
        set_aside(&self.dir, &self.discarded(&self.dir, ""));
        self.set_work_aside();
    }

    fn changed(&self) -> Option<Timestamp> {
        let changed = std::fs::metadata(&self.dir).and_then(|found| found.modified()).ok()?;
        Timestamp::try_from(changed).ok()
    }

    /// Records that termination was requested. `false` if there is nothing to terminate here: the
    /// marker may belong to another installation's machine.
    pub(super) fn request_end(&self) -> io::Result<bool> {
        if !self.dir.is_dir() || self.has(ENDED) {
            return Ok(false);
        }
        match OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(self.dir.join(TERMINATED))
        {
            // It was deleted meanwhile.
            Err(error) if error.kind() == Io::NotFound => Ok(false),
            other => other.map(|_| true),
        }
    }
}

fn gone(machine: Machine, by: EndedBy, at: Timestamp) -> Machine {
    Machine { state: MachineState::Gone, ended_by: Some(by), ended_at: Some(at), ..machine }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_client_tokens_become_paths() {
        let dir = Path::new("/nowhere");
        let good = "tq-job-7-0a1b2c3d-1-0";
        let own = Account::default();
        assert_eq!(Place::of_token(dir, &own, good).unwrap().dir, dir.join(good));
        let bad = [
            "",
            "..",
            "/etc",
            "tq-job-7-0a1b2c3d-1",
            "tq-job-7-0a1b2c3d-1-00",
            "tq-job-7-0a1b2c3d-01-0",
            "tq-job-7/../x-0a1b2c3d-1-0",
            "tq-job-7-0a1b2c3d-1-0/..",
            "tq-job-7-0A1B2C3D-1-0",
            "tq-job-7-0a1b2c3d-1-+1",
        ];
        for token in bad {
            assert!(Place::of_token(dir, &own, token).is_none(), "{token}");
        }
    }
}
