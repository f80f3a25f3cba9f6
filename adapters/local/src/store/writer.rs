//! The file, and the one thread that writes it.

use std::any::Any;
use std::fs::OpenOptions;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend, StorageError,
};
use tokio::sync::{mpsc, oneshot};

use super::record::NewItem;
use super::tables::{self, Answer, FORMAT, Op, Refused};
use super::{LARGEST_PROBE, OpenError};

/// Size of redb's page cache in bytes; the system's page cache does the rest.
const CACHE: usize = 4 << 20;
/// Most writes of one commit.
const BATCH: usize = 512;
/// While writes come together, each commit waits this long for more: it costs much the same
/// whatever it holds. A lone write never waits.
const GATHER: Duration = Duration::from_millis(8);
/// Pause between two tries to reopen a closed file.
const REOPEN_EVERY: Duration = Duration::from_secs(1);

/// A write that waits for its commit.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) op: Op,
    pub(super) settled: oneshot::Sender<Result<Answer, Refused>>,
}

/// Opens the database of a store; called for each reopening.
pub(super) type Opener = Box<dyn Fn() -> Result<Database, OpenError> + Send + Sync>;

/// A database that is closed after an error and reopened.
pub(super) struct File {
    pub(super) path: PathBuf,
    opener: Opener,
    /// Write locks open and close; all other users read.
    database: RwLock<Result<Database, Closed>>,
    written: Mutex<Written>,
}

/// The last write.
#[derive(Debug, Default)]
struct Written {
    /// The time of the last successful commit; `None` if one failed since.
    at: Option<Instant>,
    /// After a failed commit, its size in bytes, until a commit of that size succeeds: on a full
    /// disk, small ones may still find room within the file.
    failed: Option<usize>,
}

#[derive(Clone, Debug)]
struct Closed {
    why: String,
    since: Instant,
}

/// Opens a file in this directory, which is created if missing.
pub(super) fn on_disk(dir: &Path, name: &str) -> Result<Opener, OpenError> {
    let failed = |source| OpenError::Io { file: dir.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    let path = dir.join(name);
    Ok(Box::new(move || {
        if !path.exists() {
            make_whole(&path)?;
        }
        open_file(&path)
    }))
}

fn open_file(path: &Path) -> Result<Database, OpenError> {
    let failed = |source| OpenError::Io { file: path.to_owned(), source };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let backend = FileBackend::new(file).map_err(|error| translate(path, error))?;
    on_backend(path, backend)
}

/// Creates an empty database under another name first: a process that is killed meanwhile must not
/// leave half of a database in the store's place, which nobody could open.
fn make_whole(path: &Path) -> Result<(), OpenError> {
    static MADE: AtomicU64 = AtomicU64::new(0);
    let failed = |source| OpenError::Io { file: path.to_owned(), source };
    let (process, number) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    let unfinished = path.with_extension(format!("new-{process}-{number}"));
    let _ = std::fs::remove_file(&unfinished);
    let created = open_file(&unfinished).map(drop).and_then(|()| {
        // A hard link never replaces a file: of two processes that create one, the first wins.
        let linked = std::fs::hard_link(&unfinished, path);
        if linked.is_err() && !path.exists() {
            // The file system has no hard links.
            std::fs::rename(&unfinished, path).map_err(failed)?;
        }
        Ok(())
    });
    let _ = std::fs::remove_file(&unfinished);
    created?;
    let dir = path.parent().map_or(Ok(()), |dir| std::fs::File::open(dir)?.sync_all());
    dir.map_err(failed)?;
    discard_unfinished(path);
    Ok(())
}

/// Deletes unfinished files of processes that were killed.
fn discard_unfinished(path: &Path) {
    let (Some(dir), Some(stem)) = (path.parent(), path.file_stem().and_then(|s| s.to_str())) else {
        return;
    };
    let begin = format!("{stem}.new-");
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&begin)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// In memory: it cannot be reopened, so nothing may close it.
pub(super) fn in_memory() -> Opener {
    Box::new(|| on_backend(Path::new("memory:"), InMemoryBackend::new()))
}

pub(super) fn on_backend(path: &Path, backend: impl StorageBackend) -> Result<Database, OpenError> {
    // redb does not panic on files that it wrote itself; on other files it may.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        redb::Builder::new().set_cache_size(CACHE).create_with_backend(backend)
    }));
    let database = opened
        .map_err(|panic| OpenError::Damaged { file: path.to_owned(), reason: told(&*panic) })?
        .map_err(|error| translate(path, error))?;
    let prepared = || -> Result<u64, redb::Error> {
        let write = database.begin_write()?;
        let format = tables::prepare(&write)?;
        write.commit()?;
        Ok(format)
    };
    match prepared() {
        Ok(FORMAT) => Ok(database),
        Ok(format) => Err(OpenError::Newer { file: path.to_owned(), format }),
        Err(redb::Error::Io(source)) => Err(OpenError::Io { file: path.to_owned(), source }),
        Err(error) => Err(OpenError::Damaged { file: path.to_owned(), reason: error.to_string() }),
    }
}

fn translate(path: &Path, error: DatabaseError) -> OpenError {
    let file = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::Busy { file },
        DatabaseError::Storage(StorageError::Io(error))
            if error.kind() == std::io::ErrorKind::InvalidData =>
        {
            OpenError::Damaged { file, reason: error.to_string() }
        }
        DatabaseError::Storage(StorageError::Io(source)) => OpenError::Io { file, source },
        other => OpenError::Damaged { file, reason: other.to_string() },
    }
}

pub(super) fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".to_owned())
}

fn closed(closed: &Closed) -> String {
    format!("the store is closed after an error and will be reopened: {}", closed.why)
}

impl File {
    pub(super) fn open(path: PathBuf, opener: Opener) -> Result<Self, OpenError> {
        let database = RwLock::new(Ok(opener()?));
        Ok(Self { path, opener, database, written: Mutex::default() })
    }

    /// Whether a commit succeeded within this time, and none failed since.
    pub(super) fn written_within(&self, within: Duration) -> bool {
        let written = self.written.lock();
        written.failed.is_none() && written.at.is_some_and(|at| at.elapsed() < within)
    }

    /// Returns the size of a commit that failed, if none of that size has succeeded since.
    pub(super) fn failed_bytes(&self) -> Option<usize> {
        self.written.lock().failed
    }

    fn wrote(&self, bytes: usize) {
        let mut written = self.written.lock();
        written.at = Some(Instant::now());
        if written.failed.is_some_and(|failed| bytes >= failed) {
            written.failed = None;
            tracing::info!(file = %self.path.display(), "store can be written again");
        }
    }

    fn failed(&self, bytes: usize) {
        let mut written = self.written.lock();
        written.at = None;
        written.failed = Some(written.failed.unwrap_or(0).max(bytes).min(LARGEST_PROBE / 2));
    }

    /// Reads committed data. The error is a sentence.
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, String> {
        let database = self.database.read();
        let database = database.as_ref().map_err(closed)?;
        let result = database.begin_read().map_err(redb::Error::from).and_then(|txn| read(&txn));
        result.map_err(|error| self.unread(&error))
    }

    /// Begins a read that may take long. It does not keep the file from being reopened, after which
    /// it fails. The error is a sentence.
    pub(super) fn begin(&self) -> Result<ReadTransaction, String> {
        let database = self.database.read();
        let database = database.as_ref().map_err(closed)?;
        database.begin_read().map_err(|error| self.unread(&redb::Error::from(error)))
    }

    /// Says in a sentence why a read failed.
    pub(super) fn unread(&self, error: &redb::Error) -> String {
        match error {
            // The write that failed has its own error.
            redb::Error::PreviousIo => {
                let path = self.path.display();
                format!("the store `{path}` is being reopened, because a write has failed")
            }
            error => self.sentence("read", error),
        }
    }

    pub(super) fn close(&self) {
        let why = format!("the store `{}` is closed", self.path.display());
        *self.database.write() = Err(Closed { why, since: Instant::now() });
    }

    fn sentence(&self, what: &str, error: &dyn std::fmt::Display) -> String {
        let path = self.path.display();
        format!("cannot {what} the store `{path}`: {error}; check the disk's space and health")
    }

    /// Reopens a closed file, at most once a second.
    fn revive(&self) -> Result<(), String> {
        let mut database = self.database.write();
        let Err(closed) = &*database else { return Ok(()) };
        if closed.since.elapsed() < REOPEN_EVERY {
            return Err(closed.why.clone());
        }
        match (self.opener)() {
            Ok(opened) => {
                *database = Ok(opened);
                tracing::info!(file = %self.path.display(), "store reopened");
                Ok(())
            }
            Err(error) => {
                let source = std::error::Error::source(&error);
                let why =
                    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
                *database = Err(Closed { why: why.clone(), since: Instant::now() });
                Err(why)
            }
        }
    }

    /// Closes the file after an error, and tries to reopen it at once.
    fn poisoned(&self, why: String) {
        tracing::error!(file = %self.path.display(), error = %why, "store failed, reopening it");
        let long_ago = Instant::now().checked_sub(REOPEN_EVERY).unwrap_or_else(Instant::now);
        *self.database.write() = Err(Closed { why, since: long_ago });
        if let Err(error) = self.revive() {
            tracing::error!(file = %self.path.display(), %error, "cannot reopen the store yet");
        }
    }

    /// Applies all these writes in one durable commit. An error concerns all: any may have
    /// happened.
    fn commit(&self, ops: Vec<Op>) -> Result<Vec<Result<Answer, Refused>>, redb::Error> {
        let database = self.database.read();
        let Ok(database) = &*database else { return Err(redb::Error::DatabaseClosed) };
        let bytes = ops.iter().map(bytes_of).sum();
        let write = database.begin_write()?;
        let (mut answers, mut changed) = (Vec::with_capacity(ops.len()), false);
        let mut runs = None;
        for op in ops {
            let (answer, change) = tables::apply(&write, &mut runs, op)?;
            changed |= change;
            answers.push(answer);
        }
        drop(runs);
        if changed {
            write.commit()?;
            self.wrote(bytes);
        } else {
            write.abort()?;
        }
        Ok(answers)
    }
}

/// The bytes that a write brings, without those of the indexes.
fn bytes_of(op: &Op) -> usize {
    match op {
        Op::Put { record, .. } => record.bytes(),
        Op::TakeIn { body, .. } => body.len(),
        Op::Insert(items) => items.iter().map(NewItem::bytes).sum(),
        Op::Probe { bytes } => *bytes,
        Op::Remove { .. }
        | Op::Seat { .. }
        | Op::Unseat { .. }
        | Op::Pause(_)
        | Op::Resume(_)
        | Op::Reruns(_)
        | Op::TakeOut { .. }
        | Op::Nothing => 0,
    }
}

/// Writes all waiting requests and answers them, until the channel closes.
pub(super) fn run(file: &File, mut tickets: mpsc::Receiver<Ticket>) {
    let mut together = false;
    while let Some(first) = tickets.blocking_recv() {
        if together && tickets.len() < BATCH {
            std::thread::sleep(GATHER);
        }
        let (mut ops, mut waiting) = (vec![first.op], vec![first.settled]);
        while ops.len() < BATCH
            && let Ok(Ticket { op, settled }) = tickets.try_recv()
        {
            ops.push(op);
            waiting.push(settled);
        }
        together = ops.len() > 1;
        // What a probe writes does not have to fit.
        let bytes = ops.iter().filter(|op| !matches!(op, Op::Probe { .. })).map(bytes_of).sum();
        let result = file.revive().and_then(|()| {
            catch_unwind(AssertUnwindSafe(|| file.commit(ops)))
                .map_err(|panic| told(&*panic))
                .and_then(|done| done.map_err(|error| error.to_string()))
                .map_err(|error| file.sentence("write", &error))
                .inspect_err(|why| {
                    file.failed(bytes);
                    file.poisoned(why.clone());
                })
        });
        together |= !tickets.is_empty();
        match result {
            Ok(answers) => {
                for (settled, answer) in waiting.into_iter().zip(answers) {
                    // The caller may have stopped waiting.
                    let _ = settled.send(answer);
                }
            }
            Err(why) => {
                for settled in waiting {
                    let _ = settled.send(Err(Refused::Storage(why.clone())));
                }
            }
        }
    }
}
