//! The format of a backup: one JSON document per line. The first line says what it is, each further
//! one has an item of the store, and the last one their number and the SHA-256 of all lines before
//! it.

mod read;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tinqs_ci_reconciler::model::{AttemptId, ClassName, Pause, Run, UnknownFields, Usage, encode};
use tinqs_ci_reconciler::ports::{Seat, SnapshotPart, StoreItem};

pub use read::{BackupReader, Flaw};

/// The media type of a backup.
pub const BACKUP_TYPE: &str = "application/x-ndjson";
/// The format that the first line of every backup names.
const FORMAT: &str = "tinqs-ci-backup";
/// The format that this release writes. It reads this one and earlier ones.
const VERSION: u64 = 1;

/// The first line of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupHeader {
    format: String,
    version: u64,
    /// The installation whose store it is.
    pub installation: String,
    /// The release that made it.
    pub release: String,
    /// The time when it was begun.
    pub at: Timestamp,
    /// Whether it has the credentials of attempts.
    pub secrets: bool,
}

impl BackupHeader {
    /// Describes a backup by this release.
    pub fn new(installation: &str, at: Timestamp, secrets: bool) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            installation: installation.to_owned(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            at,
            secrets,
        }
    }
}

/// A line after the first.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    /// As the store has it, with credentials or their digests.
    Run(serde_json::Value),
    Seat {
        class: ClassName,
        attempt_id: AttemptId,
        repo: String,
        /// 0 if it is not known, and in backups by earlier releases.
        #[serde(default)]
        repo_id: i64,
    },
    Pause(Pause),
    Usage(Usage),
    /// The body in hex: it may be any bytes.
    Delivery {
        key: String,
        body: String,
    },
    End(End),
}

/// The last line.
#[derive(Serialize, Deserialize)]
struct End {
    items: u64,
    /// Items that could not be decoded, and are not in the backup.
    unreadable: u64,
    /// In hex, of all bytes before this line.
    sha256: String,
}

/// Writes a backup, line by line.
pub struct BackupWriter {
    secrets: bool,
    hash: Sha256,
    items: u64,
    unreadable: u64,
}

impl BackupWriter {
    /// Begins a backup. Returns its first line.
    pub fn begin(header: &BackupHeader) -> (Self, Vec<u8>) {
        let hash = Sha256::new();
        let mut writer = Self { secrets: header.secrets, hash, items: 0, unreadable: 0 };
        let mut line = Vec::new();
        push(&mut line, header);
        writer.hash.update(&line);
        (writer, line)
    }

    /// Returns the lines of a part.
    pub fn part(&mut self, part: SnapshotPart) -> Vec<u8> {
        let mut lines = Vec::new();
        self.unreadable += part.unreadable;
        for item in part.items {
            self.items += 1;
            match item {
                StoreItem::Run(run) => self.push_run(&mut lines, *run),
                StoreItem::Seat { class, seat } => {
                    let Seat { attempt_id, repo, repo_id } = seat;
                    push(&mut lines, &Line::Seat { class, attempt_id, repo, repo_id });
                }
                StoreItem::Pause(pause) => push(&mut lines, &Line::Pause(pause)),
                StoreItem::Usage(used) => push(&mut lines, &Line::Usage(used)),
                StoreItem::Delivery(item) => {
                    let body = hex::encode(&item.body);
                    push(&mut lines, &Line::Delivery { key: item.key, body });
                }
            }
        }
        self.hash.update(&lines);
        lines
    }

    /// Returns the last line.
    pub fn end(self) -> Vec<u8> {
        let Self { secrets: _, hash, items, unreadable } = self;
        let sha256 = hex::encode(hash.finalize());
        let mut line = Vec::new();
        push(&mut line, &Line::End(End { items, unreadable, sha256 }));
        line
    }

    /// Adds a run. Without credentials also without fields that this release does not know, and its
    /// attempt is launched by no rule.
    fn push_run(&self, lines: &mut Vec<u8>, mut run: Run) {
        if !self.secrets {
            // What a later release recorded may be a credential.
            run.unknown = UnknownFields::default();
            if let Some(attempt) = &mut run.status.attempt {
                attempt.forget_secrets();
            }
        }
        // The only form with credentials is already JSON.
        lines.extend_from_slice(b"{\"run\":");
        lines.extend_from_slice(&encode(&run));
        lines.extend_from_slice(b"}\n");
    }
}

/// Adds a document as a line.
fn push(lines: &mut Vec<u8>, document: &impl Serialize) {
    // Nothing in these can fail to serialize.
    lines.extend_from_slice(&serde_json::to_vec(document).unwrap_or_default());
    lines.push(b'\n');
}
