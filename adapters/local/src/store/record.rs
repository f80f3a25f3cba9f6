//! The content of writes: records, and the items of a backup.

use tinqs_ci_reconciler::model::{ClassName, Pause, Run, RunName, Uid, Usage, encode};
use tinqs_ci_reconciler::ports::{InboxItem, Seat, StoreItem};

use super::index::project;

/// A run ready to be written.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: RunName,
    pub(super) uid: Uid,
    pub(super) version: u64,
    pub(super) created: i64,
    pub(super) expires: Option<i64>,
    pub(super) body: Vec<u8>,
    pub(super) projection: Vec<u8>,
}

impl Record {
    pub(super) fn bytes(&self) -> usize {
        self.body.len() + self.projection.len()
    }

    pub(super) fn of(run: &Run, version: u64) -> Self {
        let run = Run { version, ..run.clone() };
        let expires = (!run.is_open()).then(|| run.status.due.as_millisecond());
        Self {
            uid: run.uid,
            version,
            created: run.created_at.as_microsecond(),
            expires,
            body: encode(&run),
            projection: project(&run),
            name: run.name,
        }
    }
}

#[cfg(test)]
impl Record {
    /// Makes the record unreadable.
    pub(super) fn damage(&mut self) {
        self.body = b"{\"name\": \"job-2\", \"uid\": 7".to_vec();
        self.projection = b"[]".to_vec();
    }
}

/// An item of a backup, ready to be written.
#[derive(Debug)]
pub(super) enum NewItem {
    Run(Record),
    Seat { class: ClassName, seat: Seat },
    Pause(Pause),
    Usage(Usage),
    Delivery(InboxItem),
}

impl NewItem {
    pub(super) fn of(item: StoreItem) -> Self {
        match item {
            StoreItem::Run(run) => Self::Run(Record::of(&run, run.version)),
            StoreItem::Seat { class, seat } => Self::Seat { class, seat },
            StoreItem::Pause(pause) => Self::Pause(pause),
            StoreItem::Usage(usage) => Self::Usage(usage),
            StoreItem::Delivery(item) => Self::Delivery(item),
        }
    }

    /// The bytes that it brings, without those of the indexes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Run(record) => record.bytes(),
            Self::Delivery(item) => item.body.len(),
            Self::Seat { .. } | Self::Pause(_) | Self::Usage(_) => 0,
        }
    }
}
