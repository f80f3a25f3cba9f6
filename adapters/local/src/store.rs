//! Runs in one file on this host: redb, crash-safe, one process at a time.
//!
//! - Reads of one record go to one thread, which reads all waiting ones in one transaction; other
//!   reads run on a few blocking threads.
//! - Writes go to one thread, which puts all waiting ones into one durable commit, so that many
//!   small writes cost few disk flushes.
//! - After an I/O error (a full disk) the file is closed and reopened, until that succeeds.

mod archive;
mod error;
mod inbox;
mod index;
mod pages;
mod pauses;
mod probe;
mod put;
mod reader;
mod record;
mod reruns;
mod seats;
mod tables;
mod usage;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{
    AttemptId, ClassName, Pause, RepoRef, RerunKey, Reruns, Run, RunName, SeatLimits, Uid, Usage,
};
use tinqs_ci_reconciler::ports::{
    Cursor, ErrorKind, Expect, Filter, NewerRecord, OpenRun, Page, PortError, RunStore, Seat,
    UnreadRecords,
};
use tokio::sync::{Semaphore, mpsc, oneshot};

pub use error::OpenError;
pub use index::Projection;
use reader::Wanted;
use tables::{Answer, Op, Refused};
use writer::{File, Opener, Ticket};

/// The file's name in the store's directory.
const FILE: &str = "tinqs-ci.redb";
/// Time limit of one call, including the wait for its turn.
const DEADLINE: Duration = Duration::from_secs(10);
/// Concurrent reads of more than one record.
const READERS: usize = 8;
/// Most queued writes, and most queued reads of one record.
const WAITING: usize = 4096;
/// The time for which a result of [`Store::can_be_written`] is valid.
const PROBE_EVERY: Duration = Duration::from_secs(3);

/// The size of a probe after a failed write, in bytes: a write also copies the pages of its indexes.
const LEAST_PROBE: usize = 64 << 10;
const LARGEST_PROBE: usize = 16 << 20;

/// A store in one file, or in memory for tests and the demo.
pub struct Store {
    file: Arc<File>,
    readers: Arc<Semaphore>,
    /// Both are `None` only during drop.
    gets: Option<mpsc::Sender<Wanted>>,
    writes: Option<mpsc::Sender<Ticket>>,
    threads: Vec<JoinHandle<()>>,
    /// The file has one owner, so a lease is only ever held between tasks of this process, and ends
    /// with it.
    leases: Mutex<HashMap<String, (String, Timestamp)>>,
    unread: Arc<UnreadRecords>,
    probe: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("file", &self.file.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store of a directory; creates both if missing (0700, 0600).
    ///
    /// # Errors
    /// [`OpenError`]; `Busy` if another process has opened it.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let opener = writer::on_disk(dir, FILE)?;
        Self::with(dir.join(FILE), opener)
    }

    /// Returns a store that ends with the process.
    ///
    /// # Errors
    /// [`OpenError::Thread`].
    pub fn memory() -> Result<Self, OpenError> {
        Self::with(PathBuf::from("memory:"), writer::in_memory())
    }

    fn with(path: PathBuf, opener: Opener) -> Result<Self, OpenError> {
        let file = Arc::new(File::open(path, opener)?);
        let (writes, tickets) = mpsc::channel(WAITING);
        let (gets, wanted) = mpsc::channel(WAITING);
        let (to_write, to_read) = (Arc::clone(&file), Arc::clone(&file));
        let threads = vec![
            thread("store", move || writer::run(&to_write, tickets))?,
            thread("store-get", move || reader::run(&to_read, wanted))?,
        ];
        Ok(Self {
            file,
            readers: Arc::new(Semaphore::new(READERS)),
            gets: Some(gets),
            writes: Some(writes),
            threads,
            leases: Mutex::default(),
            unread: Arc::default(),
            probe: Mutex::default(),
        })
    }

    /// Checks whether records can be written. Cheap: a result is valid for 3 seconds, and a recent
    /// successful write replaces the probe. After a failed write, only a write of at least its size
    /// counts, or a probe that is larger.
    ///
    /// # Errors
    /// `Unavailable`, with the reason.
    pub async fn can_be_written(&self) -> Result<(), PortError> {
        if self.file.written_within(PROBE_EVERY) {
            return Ok(());
        }
        let failed = self.file.failed_bytes();
        let last = self.probe.lock().clone();
        if let Some((at, result)) = last
            && at.elapsed() < PROBE_EVERY
            && (result.is_err() || failed.is_none())
        {
            return result.map_err(|message| unavailable("writable", message));
        }
        let bytes = failed.map_or(0, |bytes| (2 * bytes).clamp(LEAST_PROBE, LARGEST_PROBE));
        let result = self.write("writable", Op::Probe { bytes }).await.map(|_| ());
        let known = result.as_ref().copied().map_err(|error| error.message.clone());
        *self.probe.lock() = Some((Instant::now(), known));
        result
    }

    fn closing(&self, operation: &'static str) -> PortError {
        unavailable(operation, format!("the store `{}` is closing", self.file.path.display()))
    }

    /// Passes a write to the thread and waits until it is durable.
    async fn write(&self, operation: &'static str, op: Op) -> Result<Answer, PortError> {
        let (settled, answer) = oneshot::channel();
        let ended = || self.closing(operation);
        let writes = self.writes.as_ref().ok_or_else(ended)?;
        let request = async {
            writes.send(Ticket { op, settled }).await.map_err(|_| ended())?;
            answer.await.map_err(|_| ended())
        };
        let answer =
            tokio::time::timeout(DEADLINE, request).await.map_err(|_| self.late(operation))??;
        answer.map_err(|refused| match refused {
            Refused::Conflict(message) => {
                PortError::new("store", operation, ErrorKind::Conflict, message)
            }
            Refused::Invalid(message) => {
                PortError::new("store", operation, ErrorKind::Invalid, message)
            }
            Refused::Storage(message) => unavailable(operation, message),
        })
    }

    async fn write_pauses(&self, operation: &'static str, op: Op) -> Result<Vec<Pause>, PortError> {
        match self.write(operation, op).await? {
            Answer::Pauses(pauses) => Ok(pauses),
            _ => Err(unexpected(operation)),
        }
    }

    /// Runs a read on a blocking thread.
    async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        read: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error> + Send + 'static,
    ) -> Result<T, PortError> {
        let (file, readers) = (Arc::clone(&self.file), Arc::clone(&self.readers));
        let reading = async move {
            // Never closed, so the permit always comes.
            let permit = readers.acquire_owned().await.ok();
            tokio::task::spawn_blocking(move || {
                let result = file.read(read);
                drop(permit);
                result
            })
            .await
        };
        let answer =
            tokio::time::timeout(DEADLINE, reading).await.map_err(|_| self.late(operation))?;
        let result = match answer {
            Ok(result) => result,
            Err(panicked) => Err(format!("reading failed: {panicked}")),
        };
        result.map_err(|message| self.failed_to_read(operation, message))
    }

    /// A read cannot reopen the file; any request to the writer thread does.
    fn failed_to_read(&self, operation: &'static str, message: String) -> PortError {
        if let Some(writes) = &self.writes {
            let (settled, _) = oneshot::channel();
            let _ = writes.try_send(Ticket { op: Op::Nothing, settled });
        }
        unavailable(operation, message)
    }

    fn late(&self, operation: &'static str) -> PortError {
        let path = self.file.path.display();
        unavailable(
            operation,
            format!("`{path}` did not answer within {} s: check its disk", DEADLINE.as_secs()),
        )
    }
}

impl Drop for Store {
    /// Waits for pending work, so that the file is free when this returns.
    fn drop(&mut self) {
        (self.gets, self.writes) = (None, None);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.file.close();
    }
}

fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(work).map_err(OpenError::Thread)
}

fn unavailable(operation: &'static str, message: impl Into<String>) -> PortError {
    PortError::new("store", operation, ErrorKind::Unavailable, message)
}

fn unexpected(operation: &'static str) -> PortError {
    PortError::new(
        "store",
        operation,
        ErrorKind::Invalid,
        "the store returned an unexpected result",
    )
}

#[async_trait]
impl RunStore for Store {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        let closing = || self.closing("get");
        let (settled, found) = oneshot::channel();
        let request = async {
            let gets = self.gets.as_ref().ok_or_else(closing)?;
            let wanted = Wanted { name: name.clone(), settled };
            gets.send(wanted).await.map_err(|_| closing())?;
            found.await.map_err(|_| closing())
        };
        let found =
            tokio::time::timeout(DEADLINE, request).await.map_err(|_| self.late("get"))??;
        let found = found.map_err(|message| self.failed_to_read("get", message))?;
        let Some((version, body)) = found else {
            self.unread.is_fine(name.as_str());
            return Ok(None);
        };
        let read = index::understand(name.as_str(), version, &body, &self.unread);
        read.map(Some).map_err(|unreadable| {
            PortError::new("store", "get", ErrorKind::Invalid, unreadable.to_string())
        })
    }

    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError> {
        self.put_record(run, expect, None).await
    }

    async fn put_counting(
        &self,
        run: &Run,
        expect: Expect,
        used: &Usage,
    ) -> Result<u64, PortError> {
        self.put_record(run, expect, Some(used)).await
    }

    async fn usage(&self, first: Date, last: Date) -> Result<Vec<Usage>, PortError> {
        self.read("usage", move |read| usage::read(read, first, last)).await
    }

    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError> {
        self.write("remove", Op::Remove { name: name.clone(), uid, version }).await.map(|_| ())
    }

    /// Returns at most 10,000 of the runs whose `keep` is over, oldest first; the rest next time.
    async fn open(&self, now: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        let unread = Arc::clone(&self.unread);
        self.read("open", move |read| pages::open(read, now, &unread)).await
    }

    /// Reads at most 10,000 records, so a page may be short, even empty, and still have a `next`.
    async fn page(&self, filter: &Filter, after: Option<&str>) -> Result<Page, PortError> {
        let after = after
            .map(Cursor::parse)
            .transpose()
            .map_err(|message| PortError::new("store", "page", ErrorKind::Invalid, message))?;
        let (filter, unread) = (filter.clone(), Arc::clone(&self.unread));
        self.read("page", move |read| pages::page(read, &filter, after.as_ref(), &unread)).await
    }

    async fn seat(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        limits: SeatLimits,
    ) -> Result<bool, PortError> {
        let (class, seat) = (class.clone(), Seat::new(attempt_id.clone(), repo));
        match self.write("seat", Op::Seat { class, seat, limits }).await? {
            Answer::Taken(taken) => Ok(taken),
            _ => Err(unexpected("seat")),
        }
    }

    async fn unseat(&self, class: &ClassName, attempt_id: &AttemptId) -> Result<(), PortError> {
        self.write("unseat", Op::Unseat { class: class.clone(), attempt_id: attempt_id.clone() })
            .await
            .map(|_| ())
    }

    async fn seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError> {
        let class = class.clone();
        self.read("seats", move |read| seats::of_class(read, &class)).await
    }

    async fn pause(&self, pause: &Pause) -> Result<Pause, PortError> {
        let held = self.write_pauses("pause", Op::Pause(pause.clone())).await?;
        held.into_iter().next().ok_or_else(|| unexpected("pause"))
    }

    async fn resume(&self, class: Option<&ClassName>) -> Result<Vec<Pause>, PortError> {
        self.write_pauses("resume", Op::Resume(class.cloned())).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>, PortError> {
        self.read("pauses", pauses::all).await
    }

    async fn reruns(&self, key: &RerunKey) -> Result<Option<Reruns>, PortError> {
        let key = key.clone();
        self.read("reruns", move |read| reruns::get(read, &key)).await
    }

    async fn put_reruns(&self, reruns: &Reruns) -> Result<u64, PortError> {
        match self.write("put_reruns", Op::Reruns(Box::new(reruns.clone()))).await? {
            Answer::Version(version) => Ok(version),
            _ => Err(unexpected("put_reruns")),
        }
    }

    async fn lease(
        &self,
        what: &str,
        holder: &str,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<bool, PortError> {
        let mut leases = self.leases.lock();
        let free = leases.get(what).is_none_or(|(who, until)| who == holder || *until <= now);
        if free {
            leases.retain(|_, (_, until)| *until > now);
            let until = now.saturating_add(ttl).unwrap_or(Timestamp::MAX);
            leases.insert(what.to_owned(), (holder.to_owned(), until));
        }
        Ok(free)
    }
    async fn writable(&self, _holder: &str, _now: Timestamp) -> Result<(), PortError> {
        self.can_be_written().await
    }

    /// Counts each record once, and at most 1,000.
    fn unreadable(&self) -> usize {
        self.unread.count()
    }

    fn newer(&self) -> Vec<NewerRecord> {
        self.unread.newer()
    }
}

#[cfg(test)]
mod tests;
