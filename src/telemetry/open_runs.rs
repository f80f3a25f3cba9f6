//! The open runs of the last listing, for all who ask, with what this process wrote since.
//!
//! A listing of many runs takes long. The last one is kept for those who ask soon after it. What this
//! process writes is applied to it, so that a person sees each change made through this process at
//! once; what other replicas write is seen by the next listing.

use std::collections::{BTreeSet, HashMap};
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{Phase, Run, RunName, Uid};
use tinqs_ci_reconciler::ports::{OpenRun, PortError, RunStore};

use super::Telemetry;

mod waiting;

/// A list of at most so many runs is read again whenever somebody asks: that takes some 10 ms.
const SHORT: usize = 2_000;
/// The age up to which a longer list is used as it is.
const FRESH: Duration = Duration::from_secs(2);
/// The age beyond which a longer list is not used at all.
const OLD: Duration = Duration::from_secs(30);
/// The time that those who have an older list wait for a newer one.
const PATIENCE: Duration = Duration::from_millis(30);
/// A reader of the runs asks again within this time: a scrape, the page.
const ASKED_AGAIN: Duration = Duration::from_mins(5);
/// The maximum number of writes that are kept for a list. With more, the runs are listed again.
const WRITES: usize = 16_384;
/// A reader that only follows changes uses a list for one second per this many runs,
const PER_SECOND: u32 = 10_000;
/// and at most for this time: polls list the runs as often.
const FOLLOWED: Duration = Duration::from_secs(10);

/// Open runs, as they were listed last, with later writes of this process.
#[derive(Clone, Debug)]
pub struct Listing {
    runs: Arc<Vec<OpenRun>>,
    /// The time when they were listed.
    pub at: Timestamp,
    /// The number of the listing in this process.
    pub number: u64,
}

impl Listing {
    /// Whether it is kept for those who ask later.
    fn is_long(&self) -> bool {
        self.runs.len() > SHORT
    }
}

impl Deref for Listing {
    type Target = [OpenRun];

    fn deref(&self) -> &[OpenRun] {
        &self.runs
    }
}

/// The last listing, and the last page of waiting runs.
#[derive(Default)]
pub(super) struct OpenRuns {
    state: Mutex<State>,
    /// Only one reader at a time lists.
    reading: tokio::sync::Mutex<()>,
    waiting: waiting::Waiting,
}

#[derive(Default)]
struct State {
    /// Numbers listings and writes in their order.
    last: u64,
    /// The listings that have begun and not ended.
    underway: BTreeSet<u64>,
    /// The writes since the first of them began.
    written: Writes,
    /// Listings that began before this write lack some that were dropped.
    dropped: u64,
    kept: Option<CachedList>,
    /// The time and the error of the last listing that failed.
    failed: Option<(Instant, PortError)>,
}

struct CachedList {
    listing: Listing,
    began: Instant,
    ended: Instant,
    /// The writes since it began that are not applied yet.
    written: Writes,
}

type Writes = HashMap<RunName, Write>;

#[derive(Clone)]
struct Write {
    number: u64,
    uid: Uid,
    version: u64,
    /// `None`: it is not open any more.
    run: Option<OpenRun>,
}

impl State {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// Adds a write, unless a later one of the same run is there: writes are noted after they happened,
/// in any order.
fn add(writes: &mut Writes, name: &RunName, write: Write) {
    let known = writes.get(name);
    if known.is_none_or(|known| known.uid != write.uid || known.version <= write.version) {
        writes.insert(name.clone(), write);
    }
}

impl CachedList {
    /// Returns the list with all writes.
    fn listing(&mut self) -> Listing {
        if !self.written.is_empty() {
            let mut written = std::mem::take(&mut self.written);
            let runs = Arc::make_mut(&mut self.listing.runs);
            runs.retain_mut(|known| match written.remove(&known.name) {
                Some(Write { run: Some(run), .. }) => {
                    *known = run;
                    true
                }
                Some(Write { run: None, .. }) => false,
                None => true,
            });
            runs.extend(written.into_values().filter_map(|write| write.run));
        }
        self.listing.clone()
    }

    fn is_long(&self) -> bool {
        self.listing.is_long()
    }
}

impl OpenRuns {
    /// Notes that a listing begins.
    pub(super) fn begin(&self) -> Underway<'_> {
        let mut state = self.state.lock();
        let number = state.next();
        state.underway.insert(number);
        Underway { of: self, number, began: Instant::now() }
    }

    /// Notes a record that this process wrote in this version.
    pub(super) fn wrote(&self, run: &Run, version: u64) {
        let open = || run.is_open().then(|| OpenRun::of(run));
        self.note(&run.name, (run.uid, version), open);
    }

    /// Notes a record that this process removed in this version.
    pub(super) fn removed(&self, name: &RunName, uid: Uid, version: u64) {
        self.note(name, (uid, version.saturating_add(1)), || None);
    }

    fn note(
        &self,
        name: &RunName,
        (uid, version): (Uid, u64),
        run: impl FnOnce() -> Option<OpenRun>,
    ) {
        let mut state = self.state.lock();
        if state.kept.is_none() && state.underway.is_empty() {
            return;
        }
        let write = Write { number: state.next(), uid, version, run: run() };
        if !state.underway.is_empty() {
            if state.written.len() >= WRITES {
                state.written.clear();
                state.dropped = write.number;
            }
            add(&mut state.written, name, write.clone());
        }
        let Some(kept) = &mut state.kept else { return };
        add(&mut kept.written, name, write);
        if kept.written.len() > WRITES {
            state.kept = None;
        }
    }

    /// Returns the list if it is fit for somebody who has `arrived` then, and the failure if it was
    /// read in vain since. `age`: up to which a list of so many runs is used.
    fn usable(
        &self,
        arrived: Instant,
        age: fn(usize) -> Duration,
    ) -> Option<Result<Listing, PortError>> {
        let mut state = self.state.lock();
        if let Some(kept) = &mut state.kept {
            let is_young = || kept.began.elapsed() <= age(kept.listing.len());
            if kept.ended >= arrived || (kept.is_long() && is_young()) {
                return Some(Ok(kept.listing()));
            }
        }
        let (at, error) = state.failed.as_ref()?;
        (*at >= arrived).then(|| Err(copy(error)))
    }

    /// Returns the list if it is better than a long wait.
    fn at_hand(&self) -> Option<Listing> {
        let mut state = self.state.lock();
        let kept = state.kept.as_mut()?;
        (kept.is_long() && kept.began.elapsed() <= OLD).then(|| kept.listing())
    }

    /// Whether a list of the last minutes has runs that are not finished.
    fn has_recent(&self) -> bool {
        let mut state = self.state.lock();
        let kept = state.kept.as_mut().filter(|kept| kept.began.elapsed() <= ASKED_AGAIN);
        kept.is_some_and(|kept| kept.listing().iter().any(|run| run.phase != Phase::Finished))
    }

    /// Whether there is a list that is better than a long wait.
    fn is_at_hand(&self) -> bool {
        let state = self.state.lock();
        state.kept.as_ref().is_some_and(|kept| kept.is_long() && kept.began.elapsed() <= OLD)
    }
}

/// An error's source cannot be shared; its words can.
fn copy(error: &PortError) -> PortError {
    let PortError { port, operation, kind, message, cause: _, source: _ } = error;
    let message = message.clone();
    PortError { port, operation, kind: *kind, message, cause: None, source: None }
}

/// A listing that has begun.
pub(super) struct Underway<'a> {
    of: &'a OpenRuns,
    number: u64,
    began: Instant,
}

impl Underway<'_> {
    /// Keeps what was listed at this time of the ports' clock, unless a later one is kept.
    pub(super) fn ended(self, open: &[OpenRun], at: Timestamp) {
        let ended = Instant::now();
        let listing = Listing { runs: Arc::new(open.to_vec()), at, number: self.number };
        let mut state = self.of.state.lock();
        state.failed = None;
        let is_newest = state.kept.as_ref().is_none_or(|kept| kept.listing.number < self.number);
        if !is_newest || self.number < state.dropped {
            return;
        }
        let later = state.written.iter().filter(|(_, write)| write.number > self.number);
        let written = later.map(|(name, write)| (name.clone(), write.clone())).collect();
        let former = state.kept.replace(CachedList { listing, began: self.began, ended, written });
        drop(state);
        // Takes long with many runs.
        drop(former);
    }

    /// Notes that it failed.
    pub(super) fn failed(self, error: &PortError) {
        self.of.state.lock().failed = Some((Instant::now(), copy(error)));
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        let mut state = self.of.state.lock();
        state.underway.remove(&self.number);
        if state.underway.is_empty() {
            state.written = Writes::new();
        }
    }
}

impl Telemetry {
    /// Returns whether somebody asked for the open runs in the last minutes, and there were some.
    pub fn knows_open_runs(&self) -> bool {
        self.open_runs.has_recent()
    }

    /// Returns the open runs for an answer to a person: at most two seconds old, or, if there are
    /// many and they cannot be listed in a moment, at most 30 seconds. Writes of this process are
    /// always in it.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn open_runs(
        self: &Arc<Self>,
        store: &Arc<dyn RunStore>,
    ) -> Result<Listing, PortError> {
        self.listing(store, |_| FRESH).await
    }

    /// Returns the open runs for somebody who follows their changes: as [`Self::open_runs`], but a
    /// list of many runs may be up to ten seconds old, so that following costs little.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn followed_runs(
        self: &Arc<Self>,
        store: &Arc<dyn RunStore>,
    ) -> Result<Listing, PortError> {
        self.listing(store, followed).await
    }

    async fn listing(
        self: &Arc<Self>,
        store: &Arc<dyn RunStore>,
        age: fn(usize) -> Duration,
    ) -> Result<Listing, PortError> {
        let arrived = Instant::now();
        if let Some(listing) = self.open_runs.usable(arrived, age) {
            return listing;
        }
        if !self.open_runs.is_at_hand() {
            return read(self.clone(), store.clone(), arrived).await;
        }
        let reading = tokio::spawn(read(self.clone(), store.clone(), arrived));
        // A task that is not awaited continues, and serves the next one who asks.
        if let Ok(Ok(listing)) = tokio::time::timeout(PATIENCE, reading).await {
            return listing;
        }
        match self.open_runs.at_hand() {
            Some(listing) => Ok(listing),
            None => read(self.clone(), store.clone(), arrived).await,
        }
    }
}

/// Lists the runs, unless somebody else has done so since then. The store's decorator keeps the list.
pub(super) async fn read(
    telemetry: Arc<Telemetry>,
    store: Arc<dyn RunStore>,
    arrived: Instant,
) -> Result<Listing, PortError> {
    let _one_at_a_time = telemetry.open_runs.reading.lock().await;
    if let Some(listing) = telemetry.open_runs.usable(arrived, |_| FRESH) {
        return listing;
    }
    let at = telemetry.now();
    let open = store.open(at).await?;
    match telemetry.open_runs.usable(arrived, |_| FRESH) {
        Some(Ok(listing)) => Ok(listing),
        // So much was written meanwhile that it is not kept.
        _ => Ok(Listing { runs: Arc::new(open), at, number: 0 }),
    }
}

/// The age up to which a list of so many runs is used by those who only follow changes.
fn followed(runs: usize) -> Duration {
    let runs = u32::try_from(runs).unwrap_or(u32::MAX);
    (Duration::from_secs(1) * runs / PER_SECOND).clamp(FRESH, FOLLOWED)
}

#[cfg(test)]
mod tests;
