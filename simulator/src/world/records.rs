//! The store in memory: compare-and-set, seats and leases are atomic.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Amount, AttemptId, ClassName, Pause, RepoRef, RerunKey, Reruns, Run, RunName, SeatLimits, Uid,
    Usage, UsageKey,
};
use tinqs_ci_reconciler::ports::{Announced, Expect, Filter, OpenRun, Page, ReadByAll, Seat};

/// The contents of the store.
#[derive(Clone, Debug, Default)]
pub struct Records {
    runs: BTreeMap<RunName, Run>,
    seats: BTreeMap<(ClassName, AttemptId), Seat>,
    leases: BTreeMap<String, (String, Timestamp)>,
    announced: Vec<Announced>,
    /// By class; `None`: every class.
    pauses: BTreeMap<Option<ClassName>, Pause>,
    removed: u64,
    usage: BTreeMap<UsageKey, Amount>,
    reruns: BTreeMap<RerunKey, Reruns>,
}

impl Records {
    /// Returns all records by name.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values()
    }

    /// Returns a record.
    pub fn run(&self, name: &RunName) -> Option<&Run> {
        self.runs.get(name)
    }

    /// Returns all seats in use.
    pub fn seats(&self) -> impl Iterator<Item = (&ClassName, &Seat)> {
        self.seats.iter().map(|((class, _), seat)| (class, seat))
    }

    /// Returns how many records were removed.
    pub fn removed(&self) -> u64 {
        self.removed
    }

    /// Removes everything, as if the table was lost.
    pub fn lose_all(&mut self) {
        *self = Self::default();
    }

    /// Writes a run if the current record matches `expect`. Returns the new version.
    pub fn put(&mut self, run: &Run, expect: Expect) -> Result<u64, String> {
        let there = self.runs.get(&run.name).map(|r| (r.uid, r.version));
        let version = match (expect, there) {
            (Expect::Absent, None) => 1,
            (Expect::At(uid, version), Some(found)) if found == (uid, version) => version + 1,
            (Expect::Absent | Expect::At(..), found) => {
                return Err(format!("{}: expected {expect:?}, found {found:?}", run.name));
            }
        };
        self.runs.insert(run.name.clone(), Run { version, ..run.clone() });
        Ok(version)
    }

    /// Adds to the usage.
    pub(crate) fn count(&mut self, used: &Usage) {
        *self.usage.entry(used.key.clone()).or_default() += used.amount;
    }

    /// Returns the usage of these days.
    pub fn usage(&self, first: Date, last: Date) -> Vec<Usage> {
        let of_days = self.usage.iter().filter(|(key, _)| (first..=last).contains(&key.day));
        of_days.map(|(key, amount)| Usage { key: key.clone(), amount: *amount }).collect()
    }

    /// Increments a record's version, as if another writer wrote it unchanged.
    pub(crate) fn touch(&mut self, name: &RunName) {
        if let Some(run) = self.runs.get_mut(name) {
            run.version += 1;
        }
    }

    /// Replaces a record without a write of the controller.
    pub fn rewrite(&mut self, run: Run) {
        self.runs.insert(run.name.clone(), run);
    }

    pub(crate) fn remove(&mut self, name: &RunName, uid: Uid, version: u64) -> Result<(), String> {
        match self.runs.get(name).map(|r| (r.uid, r.version)) {
            None => Ok(()),
            Some(found) if found == (uid, version) => {
                self.runs.remove(name);
                self.removed += 1;
                Ok(())
            }
            Some(found) => Err(format!("{name}: expected {uid} at {version}, found {found:?}")),
        }
    }

    /// Returns open runs, and finished ones past their due time: this store removes nothing itself.
    /// Leaves out those of a newer format than `reads`.
    pub(crate) fn open(&self, now: Timestamp, reads: u32) -> Vec<OpenRun> {
        let wanted = |run: &&Run| run.format <= reads && (run.is_open() || run.status.due <= now);
        self.runs.values().filter(wanted).map(OpenRun::of).collect()
    }

    /// Leaves out runs of a newer format than `reads`.
    pub(crate) fn page(
        &self,
        filter: &Filter,
        after: Option<&str>,
        reads: u32,
    ) -> Result<Page, String> {
        let wanted = |run: &&Run| run.format <= reads && filter.takes(run);
        let key = |run: &Run| (std::cmp::Reverse(run.created_at), run.name.clone());
        let mut runs: Vec<&Run> = self.runs.values().filter(wanted).collect();
        runs.sort_by_key(|run| key(run));
        if let Some(cursor) = after {
            let parsed = cursor.split_once('/').and_then(|(at, name)| {
                Some((at.parse::<Timestamp>().ok()?, name.parse::<RunName>().ok()?))
            });
            let (at, name) = parsed.ok_or_else(|| format!("`{cursor}` is not our cursor"))?;
            let last = (std::cmp::Reverse(at), name);
            runs.retain(|run| key(run) > last);
        }
        let more = runs.len() > filter.limit.max(1);
        runs.truncate(filter.limit.max(1));
        let next = runs.last().filter(|_| more).map(|r| format!("{}/{}", r.created_at, r.name));
        Ok(Page { items: runs.into_iter().cloned().collect(), next })
    }

    pub(crate) fn seat(
        &mut self,
        class: &ClassName,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        limits: SeatLimits,
    ) -> bool {
        let key = (class.clone(), attempt_id.clone());
        if self.seats.contains_key(&key) {
            return true;
        }
        let in_class = self.seats().filter(|(of, _)| *of == class);
        let fits = limits.reached(repo, in_class.map(|(_, seat)| seat.repo_ref())).is_none();
        if fits {
            self.seats.insert(key, Seat::new(attempt_id.clone(), repo));
        }
        fits
    }

    /// Releases a seat. Returns it, if it was held.
    pub(crate) fn unseat(&mut self, class: &ClassName, attempt_id: &AttemptId) -> Option<Seat> {
        self.seats.remove(&(class.clone(), attempt_id.clone()))
    }

    /// Stores a pause. Returns the one that holds.
    pub fn pause(&mut self, pause: &Pause) -> Pause {
        self.pauses.entry(pause.class.clone()).or_insert_with(|| pause.clone()).clone()
    }

    /// Ends the pause of a class, or every pause. Returns those that ended.
    pub fn resume(&mut self, class: Option<&ClassName>) -> Vec<Pause> {
        let ends = |of: &Option<ClassName>| class.is_none() || of.as_ref() == class;
        self.pauses.extract_if(.., |of, _| ends(of)).map(|(_, pause)| pause).collect()
    }

    /// Returns the pauses, that of every class first.
    pub fn pauses(&self) -> Vec<Pause> {
        self.pauses.values().cloned().collect()
    }

    /// Returns the requests to run a job again.
    pub fn reruns(&self, key: &RerunKey) -> Option<Reruns> {
        self.reruns.get(key).cloned()
    }

    /// Writes the requests to run a job again. Returns the new version; `None` if another write
    /// came first.
    pub(crate) fn put_reruns(&mut self, reruns: &Reruns) -> Option<u64> {
        let stored = self.reruns.get(&reruns.key).map_or(0, |stored| stored.version);
        let version = stored + 1;
        (stored == reruns.version).then(|| {
            self.reruns.insert(reruns.key.clone(), Reruns { version, ..reruns.clone() });
            version
        })
    }

    pub(crate) fn lease(
        &mut self,
        what: &str,
        holder: &str,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> bool {
        let free = self.leases.get(what).is_none_or(|(who, until)| who == holder || *until <= now);
        if free {
            self.leases.insert(what.to_owned(), (holder.to_owned(), now + ttl));
        }
        free
    }

    pub(crate) fn announce(&mut self, own: Announced, now: Timestamp) -> ReadByAll {
        self.announced.retain(|one| one.replica != own.replica);
        self.announced.push(own);
        let leader = self.leases.get("sweep").filter(|(_, until)| *until > now);
        ReadByAll::of(&self.announced, leader.map(|(holder, _)| holder.as_str()), now)
    }
}
