//! The file's tables, and the reads and writes of them.

use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata as _, Table, TableDefinition,
    WriteTransaction,
};
use tinqs_ci_reconciler::model::{
    AttemptId, ClassName, Pause, Reruns, RunName, SeatLimits, Uid, Usage,
};
use tinqs_ci_reconciler::ports::{Expect, MOST_ITEMS, Seat};
use uuid::Uuid;

use super::record::{NewItem, Record};
use super::seats::{self, SEATS};
use super::{pauses, probe, reruns, usage};

/// The fields that guard a write and maintain the indexes precede the record, so that a write never
/// has to parse the record that it replaces: uid, version, created at, expires at, record.
type Row<'a> = (u128, u64, i64, Option<i64>, &'a [u8]);

/// Name → row.
pub(super) const RUNS: TableDefinition<&str, Row<'static>> = TableDefinition::new("runs");
/// Name → projection: unfinished runs.
pub(super) const OPEN: TableDefinition<&str, &[u8]> = TableDefinition::new("open");
/// Due, name → projection: finished runs, by the end of their `keep`.
pub(super) const EXPIRY: TableDefinition<(i64, &str), &[u8]> = TableDefinition::new("expiry");
/// Created at, name: for lists, newest first.
pub(super) const CREATED: TableDefinition<(i64, &str), ()> = TableDefinition::new("created");
/// Key → item, oldest first.
pub(super) const INBOX: TableDefinition<&str, &[u8]> = TableDefinition::new("inbox");
/// `format`, and `probe`, the number of probes.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The only format so far.
pub(super) const FORMAT: u64 = 1;

/// A write.
#[derive(Debug)]
pub(super) enum Op {
    Put {
        record: Box<Record>,
        expect: Expect,
        used: Option<Box<Usage>>,
    },
    Remove {
        name: RunName,
        uid: Uid,
        version: u64,
    },
    Seat {
        class: ClassName,
        seat: Seat,
        limits: SeatLimits,
    },
    Unseat {
        class: ClassName,
        attempt_id: AttemptId,
    },
    Pause(Pause),
    /// Ends the pause of a class; with `None` every pause.
    Resume(Option<ClassName>),
    Reruns(Box<Reruns>),
    TakeIn {
        key: String,
        body: Vec<u8>,
    },
    TakeOut {
        key: String,
    },
    /// Adds items of a backup.
    Insert(Vec<NewItem>),
    /// Writes a counter and this many bytes, to check whether writing works.
    Probe {
        bytes: usize,
    },
    /// Only reopens the file if it is closed.
    Nothing,
}

/// Result of a write.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Version(u64),
    Taken(bool),
    Pauses(Vec<Pause>),
    Done,
}

/// The reason why a write failed.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    Conflict(String),
    Invalid(String),
    /// The file failed; the write may have happened.
    Storage(String),
}

/// The tables of runs, opened once for all writes of a transaction.
pub(super) struct Runs<'t> {
    records: Table<'t, &'static str, Row<'static>>,
    open: Table<'t, &'static str, &'static [u8]>,
    expiry: Table<'t, (i64, &'static str), &'static [u8]>,
    created: Table<'t, (i64, &'static str), ()>,
}

impl<'t> Runs<'t> {
    /// Opens the tables unless an earlier write has done so.
    fn of<'o>(
        write: &'t WriteTransaction,
        opened: &'o mut Option<Self>,
    ) -> Result<&'o mut Self, redb::Error> {
        if opened.is_none() {
            *opened = Some(Self {
                records: write.open_table(RUNS)?,
                open: write.open_table(OPEN)?,
                expiry: write.open_table(EXPIRY)?,
                created: write.open_table(CREATED)?,
            });
        }
        opened.as_mut().ok_or(redb::Error::DatabaseClosed)
    }
}

/// Creates the tables. Returns the file's format.
pub(super) fn prepare(write: &WriteTransaction) -> Result<u64, redb::Error> {
    write.open_table(RUNS)?;
    write.open_table(OPEN)?;
    write.open_table(EXPIRY)?;
    write.open_table(CREATED)?;
    write.open_table(SEATS)?;
    write.open_table(INBOX)?;
    write.open_table(pauses::PAUSES)?;
    write.open_table(usage::USAGE)?;
    write.open_table(reruns::RERUNS)?;
    let mut meta = write.open_table(META)?;
    let format = meta.get("format")?.map(|found| found.value());
    if format.is_none() {
        meta.insert("format", FORMAT)?;
    }
    Ok(format.unwrap_or(FORMAT))
}

/// Applies a write. A refused one changes nothing, but for items of a backup. The flag: whether anything was changed.
pub(super) fn apply<'t>(
    write: &'t WriteTransaction,
    runs: &mut Option<Runs<'t>>,
    op: Op,
) -> Result<(Result<Answer, Refused>, bool), redb::Error> {
    match op {
        Op::Put { record, expect, used } => {
            let applied = put(Runs::of(write, runs)?, &record, expect)?;
            if let (Ok(_), Some(used)) = (&applied.0, used) {
                usage::add(write, &used)?;
            }
            Ok(applied)
        }
        Op::Remove { name, uid, version } => remove(Runs::of(write, runs)?, &name, uid, version),
        Op::Seat { class, seat, limits } => {
            let (taken, changed) = seats::take(write, &class, &seat, limits)?;
            Ok((Ok(Answer::Taken(taken)), changed))
        }
        Op::Unseat { class, attempt_id } => {
            let was = seats::give_back(write, &class, &attempt_id)?;
            Ok((Ok(Answer::Done), was))
        }
        Op::Pause(pause) => {
            let (pauses, changed) = pauses::pause(write, &pause)?;
            Ok((Ok(Answer::Pauses(pauses)), changed))
        }
        Op::Resume(class) => {
            let (pauses, changed) = pauses::resume(write, class.as_ref())?;
            Ok((Ok(Answer::Pauses(pauses)), changed))
        }
        Op::Reruns(requests) => Ok(match reruns::put(write, &requests)? {
            Ok(version) => (Ok(Answer::Version(version)), true),
            Err(conflict) => (Err(Refused::Conflict(conflict)), false),
        }),
        Op::TakeIn { key, body } => take_in(write, &key, &body),
        Op::TakeOut { key } => take_out(write, &key),
        Op::Insert(items) => {
            for item in items {
                if let Err(refused) = insert(write, Runs::of(write, runs)?, item)? {
                    return Ok((Err(refused), true));
                }
            }
            Ok((Ok(Answer::Done), true))
        }
        Op::Probe { bytes } => {
            probe::occupy(write, bytes)?;
            let mut meta = write.open_table(META)?;
            let count = meta.get("probe")?.map_or(0, |found| found.value());
            meta.insert("probe", count.wrapping_add(1))?;
            Ok((Ok(Answer::Done), true))
        }
        Op::Nothing => Ok((Ok(Answer::Done), false)),
    }
}

/// The guarding fields of the existing record.
struct Guard {
    uid: Uid,
    version: u64,
    created: i64,
    expires: Option<i64>,
}

fn guard(tables: &Runs, name: &str) -> Result<Option<Guard>, redb::Error> {
    let found = tables.records.get(name)?;
    Ok(found.map(|found| {
        let (uid, version, created, expires, _) = found.value();
        Guard { uid: Uid(Uuid::from_u128(uid)), version, created, expires }
    }))
}

fn conflict(name: &RunName, current: Option<&Guard>) -> Refused {
    Refused::Conflict(match current {
        None => format!("{name} no longer exists"),
        Some(Guard { uid, version, .. }) => {
            format!("{name} was changed by another process: it is at version {version} of {uid}")
        }
    })
}

type Applied = Result<(Result<Answer, Refused>, bool), redb::Error>;

fn put(tables: &mut Runs, record: &Record, expect: Expect) -> Applied {
    let Record { name, uid, version, created, expires, body, projection } = record;
    let current = guard(tables, name.as_str())?;
    match (expect, &current) {
        (Expect::Absent, None) => {}
        (Expect::At(uid, version), Some(current))
            if current.uid == uid && current.version == version => {}
        (Expect::Absent | Expect::At(..), _) => {
            return Ok((Err(conflict(name, current.as_ref())), false));
        }
    }
    if let Expect::At(expected, _) = expect
        && expected != *uid
    {
        let message = format!("{name}: a write may not change the uid (from {expected} to {uid})");
        return Ok((Err(Refused::Invalid(message)), false));
    }
    if let Some(current) = &current {
        unindex(tables, name.as_str(), current)?;
    }
    let name = name.as_str();
    let row = (uid.0.as_u128(), *version, *created, *expires, body.as_slice());
    tables.records.insert(name, row)?;
    tables.created.insert((*created, name), ())?;
    match expires {
        Some(due) => tables.expiry.insert((*due, name), projection.as_slice())?.is_some(),
        None => tables.open.insert(name, projection.as_slice())?.is_some(),
    };
    Ok((Ok(Answer::Version(*version)), true))
}

/// Adds an item of a backup: usage to earlier usage; a run only if there is none of its name.
fn insert(
    write: &WriteTransaction,
    runs: &mut Runs,
    item: NewItem,
) -> Result<Result<(), Refused>, redb::Error> {
    match item {
        NewItem::Run(record) => {
            let (answer, _) = put(runs, &record, Expect::Absent)?;
            return Ok(answer.map(|_| ()));
        }
        NewItem::Seat { class, seat } => {
            seats::take(write, &class, &seat, SeatLimits::default())?;
        }
        NewItem::Pause(pause) => {
            pauses::pause(write, &pause)?;
        }
        NewItem::Usage(used) => usage::add(write, &used)?,
        NewItem::Delivery(item) => {
            write.open_table(INBOX)?.insert(item.key.as_str(), item.body.as_slice())?;
        }
    }
    Ok(Ok(()))
}

fn unindex(tables: &mut Runs, name: &str, there: &Guard) -> Result<(), redb::Error> {
    tables.created.remove((there.created, name))?;
    match there.expires {
        Some(due) => tables.expiry.remove((due, name))?.is_some(),
        None => tables.open.remove(name)?.is_some(),
    };
    Ok(())
}

fn remove(tables: &mut Runs, name: &RunName, uid: Uid, version: u64) -> Applied {
    let Some(there) = guard(tables, name.as_str())? else {
        return Ok((Ok(Answer::Done), false));
    };
    if there.uid != uid || there.version != version {
        return Ok((Err(conflict(name, Some(&there))), false));
    }
    unindex(tables, name.as_str(), &there)?;
    tables.records.remove(name.as_str())?;
    Ok((Ok(Answer::Done), true))
}

fn take_in(write: &WriteTransaction, key: &str, body: &[u8]) -> Applied {
    let mut inbox = write.open_table(INBOX)?;
    if inbox.len()? >= MOST_ITEMS && inbox.get(key)?.is_none() {
        return Ok((Ok(Answer::Taken(false)), false));
    }
    inbox.insert(key, body)?;
    Ok((Ok(Answer::Taken(true)), true))
}

fn take_out(write: &WriteTransaction, key: &str) -> Applied {
    let was = write.open_table(INBOX)?.remove(key)?.is_some();
    Ok((Ok(Answer::Done), was))
}

/// A stored record: its version, and the encoded run.
pub(super) type Stored = (u64, Vec<u8>);

/// Returns these records, in the order of their names.
pub(super) fn get<'n>(
    read: &ReadTransaction,
    names: impl Iterator<Item = &'n RunName>,
) -> Result<Vec<Option<Stored>>, redb::Error> {
    let runs = read.open_table(RUNS)?;
    let stored = |name: &RunName| {
        let found = runs.get(name.as_str())?;
        Ok(found.map(|found| {
            let (_, version, _, _, body) = found.value();
            (version, body.to_vec())
        }))
    };
    names.map(stored).collect()
}

/// Returns the number of probes that have written.
#[cfg(test)]
pub(super) fn probes(read: &ReadTransaction) -> Result<u64, redb::Error> {
    let meta = read.open_table(META)?;
    let count = meta.get("probe")?;
    Ok(count.map_or(0, |count| count.value()))
}
