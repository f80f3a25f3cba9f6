//! Everything in the file: read in one transaction, and put into an empty file.

use std::sync::Arc;

use async_trait::async_trait;
use redb::{ReadTransaction, ReadableTable as _, ReadableTableMetadata as _};
use tinqs_ci_reconciler::model::{AttemptId, ClassName, RepoRef};
use tinqs_ci_reconciler::ports::{
    Archive, InboxItem, PortError, Seat, Snapshot, SnapshotPart, StoreItem, UnreadRecords,
};
use tokio::sync::mpsc;

use super::index::{quarantined, understand};
use super::record::NewItem;
use super::seats::SEATS;
use super::tables::{INBOX, Op, RUNS};
use super::usage::{USAGE, read_one};
use super::{Store, pauses, unavailable};

/// Items of one part.
const PART: usize = 200;
/// Parts that are read ahead of a slow reader.
const AHEAD: usize = 2;

/// A message of the reading thread: a part, or `None` if it has read all. The error is a sentence.
type Sent = Result<Option<SnapshotPart>, String>;

/// The reader's end of a reading.
struct Reading {
    parts: mpsc::Receiver<Sent>,
}

#[async_trait]
impl Snapshot for Reading {
    async fn next(&mut self) -> Result<Option<SnapshotPart>, PortError> {
        // A thread that panics sends no end.
        let sent = self.parts.recv().await;
        let sent = sent.unwrap_or_else(|| Err("reading the store ended unexpectedly".to_owned()));
        sent.map_err(|message| unavailable("snapshot", message))
    }
}

/// The part that is being read, and where full ones go.
struct Parts<'r> {
    part: SnapshotPart,
    to: &'r mpsc::Sender<Sent>,
}

impl Parts<'_> {
    /// Adds an item; `false`: nobody reads any more.
    fn add(&mut self, item: Option<StoreItem>) -> bool {
        match item {
            Some(item) => self.part.items.push(item),
            None => self.part.unreadable += 1,
        }
        self.part.items.len() < PART || self.send()
    }

    fn send(&mut self) -> bool {
        self.to.blocking_send(Ok(Some(std::mem::take(&mut self.part)))).is_ok()
    }
}

/// Sends all items, until nobody reads them any more.
fn read_all(
    read: &ReadTransaction,
    to: &mpsc::Sender<Sent>,
    unread: &UnreadRecords,
) -> Result<(), redb::Error> {
    let mut parts = Parts { part: SnapshotPart::default(), to };
    for pause in pauses::all(read)? {
        if !parts.add(Some(StoreItem::Pause(pause))) {
            return Ok(());
        }
    }
    for entry in read.open_table(INBOX)?.iter()? {
        let (key, body) = entry?;
        let item = InboxItem::stored(key.value(), body.value().to_vec());
        if item.is_none() {
            quarantined(key.value(), &"its key holds no time");
        }
        if !parts.add(item.map(StoreItem::Delivery)) {
            return Ok(());
        }
    }
    for entry in read.open_table(USAGE)?.iter()? {
        let (key, sum) = entry?;
        let used = read_one(key.value().1, sum.value());
        if !parts.add(used.map(StoreItem::Usage)) {
            return Ok(());
        }
    }
    for entry in read.open_table(RUNS)?.iter()? {
        let (name, row) = entry?;
        let (_, version, _, _, body) = row.value();
        let run = understand(name.value(), version, body, unread);
        if !parts.add(run.ok().map(|run| StoreItem::Run(Box::new(run)))) {
            return Ok(());
        }
    }
    for entry in read.open_table(SEATS)?.iter()? {
        let (key, repo) = entry?;
        let (class, attempt_id) = key.value();
        let parsed = attempt_id.parse::<AttemptId>();
        let parsed = parsed.inspect_err(|reason| quarantined(attempt_id, reason));
        let seat = parsed.ok().map(|attempt_id| StoreItem::Seat {
            class: ClassName(class.to_owned()),
            seat: Seat::new(attempt_id, RepoRef::of_stored(repo.value())),
        });
        if !parts.add(seat) {
            return Ok(());
        }
    }
    if parts.send() {
        // If nobody reads it, nobody needs the end.
        let _ = to.blocking_send(Ok(None));
    }
    Ok(())
}

fn is_empty(read: &ReadTransaction) -> Result<bool, redb::Error> {
    Ok(read.open_table(RUNS)?.is_empty()?
        && read.open_table(SEATS)?.is_empty()?
        && read.open_table(pauses::PAUSES)?.is_empty()?
        && read.open_table(USAGE)?.is_empty()?
        && read.open_table(INBOX)?.is_empty()?)
}

#[async_trait]
impl Archive for Store {
    /// All items are of one moment. Writes go on meanwhile; the file grows by what they replace.
    async fn snapshot(&self) -> Result<Box<dyn Snapshot + '_>, PortError> {
        let (to, parts) = mpsc::channel(AHEAD);
        // Apart from other reads, because a slow reader keeps it for long.
        let (file, unread) = (self.file.clone(), Arc::clone(&self.unread));
        tokio::task::spawn_blocking(move || {
            let read = file.begin().and_then(|transaction| {
                read_all(&transaction, &to, &unread).map_err(|error| file.unread(&error))
            });
            if let Err(message) = read {
                let _ = to.blocking_send(Err(message));
            }
        });
        Ok(Box::new(Reading { parts }))
    }

    async fn is_empty(&self) -> Result<bool, PortError> {
        self.read("is_empty", is_empty).await
    }

    /// All items are written in one commit.
    async fn insert(&self, items: Vec<StoreItem>) -> Result<(), PortError> {
        let items = items.into_iter().map(NewItem::of).collect();
        self.write("insert", Op::Insert(items)).await.map(|_| ())
    }
}
