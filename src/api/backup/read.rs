//! Reads a backup: item by item, with constant memory but for the names.

use std::collections::HashSet;
use std::io::{self, BufRead, Read as _};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tinqs_ci_reconciler::model::{DecodeError, RunName, decode};
use tinqs_ci_reconciler::ports::{InboxItem, Seat, StoreItem};

use super::{BackupHeader, End, FORMAT, Line, VERSION};

/// The longest line, in bytes. No store keeps a longer document.
const LONGEST: u64 = 64 << 20;

/// The reason that a file is no whole backup.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// Its first line is not that of a backup.
    #[error("it is not a backup of tinqs-ci: its first line says something else")]
    NotABackup,
    /// It has a format of a later release.
    #[error("a newer tinqs-ci made it, with format {version}; this one reads up to {VERSION}")]
    Newer {
        /// Its format.
        version: u64,
    },
    /// Its last line is missing.
    #[error("it was cut after line {line}: its end with the checksum is missing")]
    Cut {
        /// The last whole line.
        line: u64,
    },
    /// Its content is not what was written.
    #[error("it was altered: its checksum, or its number of items, does not match")]
    Altered,
    /// Something follows the last line.
    #[error("it goes on after its end, in line {line}")]
    Longer {
        /// The first line that is too much.
        line: u64,
    },
    /// A line cannot be used.
    #[error("line {line}: {why}")]
    Line {
        /// Its number.
        line: u64,
        /// The reason, which shows nothing of the line.
        why: String,
    },
    /// An item is there twice.
    #[error("line {line}: {what} is there twice")]
    Twice {
        /// The number of the second line.
        line: u64,
        /// The item.
        what: String,
    },
    /// The file cannot be read.
    #[error("cannot read it")]
    Read(#[from] io::Error),
}

/// Reads a backup.
pub struct BackupReader<R> {
    from: R,
    header: BackupHeader,
    hash: Sha256,
    line: u64,
    names: HashSet<String>,
    items: u64,
    unreadable: Option<u64>,
}

impl<R: BufRead> BackupReader<R> {
    /// Reads the first line.
    ///
    /// # Errors
    /// [`Flaw`]
    pub fn open(mut from: R) -> Result<Self, Flaw> {
        let line = read_line(&mut from, 0)?.ok_or(Flaw::NotABackup)?;
        let value: Value = serde_json::from_slice(&line).map_err(|_| Flaw::NotABackup)?;
        if value["format"] != FORMAT {
            return Err(Flaw::NotABackup);
        }
        match value["version"].as_u64() {
            Some(version) if version > VERSION => return Err(Flaw::Newer { version }),
            Some(1..) => {}
            Some(0) | None => return Err(Flaw::NotABackup),
        }
        let header = serde_json::from_value(value)
            .map_err(|error| Flaw::Line { line: 1, why: shapeless(&error) })?;
        let hash = Sha256::new_with_prefix(&line);
        let names = HashSet::new();
        Ok(Self { from, header, hash, line: 1, names, items: 0, unreadable: None })
    }

    /// Returns what the first line says.
    pub fn header(&self) -> &BackupHeader {
        &self.header
    }

    /// Returns how many items were read so far.
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Returns how many items of the store the backup lacks, because they could not be decoded.
    /// Known at the end.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.unwrap_or(0)
    }

    /// Returns the next item; `None` at the end of a whole and unaltered backup.
    ///
    /// # Errors
    /// [`Flaw`]: the items before may be altered, too.
    pub fn next_item(&mut self) -> Result<Option<StoreItem>, Flaw> {
        if self.unreadable.is_some() {
            return Ok(None);
        }
        let bytes = read_line(&mut self.from, self.line)?.ok_or(Flaw::Cut { line: self.line })?;
        self.line += 1;
        let line = self.line;
        let flaw = |why: String| Flaw::Line { line, why };
        let document: Line =
            serde_json::from_slice(&bytes).map_err(|error| flaw(shapeless(&error)))?;
        let item = match document {
            Line::End(end) => return self.end(&end).map(|()| None),
            Line::Run(run) => {
                let name = run["name"].as_str().and_then(|name| name.parse::<RunName>().ok());
                let run = decode(run.to_string().as_bytes());
                let run = run.map_err(|error| match error {
                    DecodeError::Malformed(error) => flaw(shapeless(&error)),
                    newer @ DecodeError::Newer { .. } => flaw(newer.to_string()),
                })?;
                if name.as_ref() != Some(&run.name) {
                    return Err(flaw("it names no run".to_owned()));
                }
                StoreItem::Run(Box::new(run))
            }
            Line::Seat { class, attempt_id, repo, repo_id } => {
                StoreItem::Seat { class, seat: Seat { attempt_id, repo, repo_id } }
            }
            Line::Pause(pause) => StoreItem::Pause(pause),
            Line::Usage(used) => StoreItem::Usage(used),
            Line::Delivery { key, body } => {
                let body = hex::decode(body).map_err(|_| flaw("its body is not hex".to_owned()))?;
                let item = InboxItem::stored(&key, body);
                item.map(StoreItem::Delivery).ok_or_else(|| flaw("its key holds no time".into()))?
            }
        };
        self.hash.update(&bytes);
        self.items += 1;
        let what = name_of(&item);
        if !self.names.insert(what.clone()) {
            return Err(Flaw::Twice { line, what });
        }
        Ok(Some(item))
    }

    /// Compares what was read with the last line.
    fn end(&mut self, end: &End) -> Result<(), Flaw> {
        let End { items, unreadable, sha256 } = end;
        let hash = hex::encode(self.hash.clone().finalize());
        if *items != self.items || *sha256 != hash {
            return Err(Flaw::Altered);
        }
        if !self.from.fill_buf()?.is_empty() {
            return Err(Flaw::Longer { line: self.line + 1 });
        }
        self.unreadable = Some(*unreadable);
        Ok(())
    }
}

/// Returns the next line with its end; `None` if there is none.
fn read_line(from: &mut impl BufRead, before: u64) -> Result<Option<Vec<u8>>, Flaw> {
    let mut line = Vec::new();
    from.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
    match line.last() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() as u64 == LONGEST => {
            Err(Flaw::Line { line: before + 1, why: "it is longer than 64 MiB".to_owned() })
        }
        Some(_) => Err(Flaw::Cut { line: before }),
    }
}

/// Describes a JSON error without any content: that may be a credential.
fn shapeless(error: &serde_json::Error) -> String {
    format!("it is not the expected JSON ({:?}, column {})", error.classify(), error.column())
}

/// Names an item, so that it is known again.
fn name_of(item: &StoreItem) -> String {
    match item {
        StoreItem::Run(run) => format!("the run {}", run.name),
        StoreItem::Seat { class, seat } => {
            format!("the seat of {} in class {class}", seat.attempt_id)
        }
        StoreItem::Pause(pause) => match &pause.class {
            Some(class) => format!("the pause of class {class}"),
            None => "the pause of every class".to_owned(),
        },
        StoreItem::Usage(used) => {
            format!("the usage of {}, {}", used.key.day, used.key.text().replace('\n', " "))
        }
        StoreItem::Delivery(item) => format!("the delivery {}", item.key),
    }
}
