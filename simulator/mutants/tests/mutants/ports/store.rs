//! The changed store.

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    AttemptId, ClassName, Outcome, Pause, Phase, RepoRef, RerunKey, Reruns, Run, RunName,
    SeatLimits, Uid, UnknownFields, Usage, owner_of,
};
use tinqs_ci_reconciler::ports::{
    ErrorKind, Expect, Filter, OpenRun, Page, PortError, ReadByAll, RunStore, Seat,
};

use super::{ChangedPorts, ReadRecord, Reconcile};
use crate::mutant::Mutant;

impl ChangedPorts {
    /// Returns the version that a write without the safeguard expects.
    async fn expected(&self, name: &RunName, expect: Expect) -> Result<Expect, PortError> {
        let stored = self.ports.store.get(name).await?.map(|run| (run.uid, run.version));
        Ok(match (expect, stored) {
            (_, Some((uid, version))) if self.has(Mutant::NoCompareAndSet) => {
                Expect::At(uid, version)
            }
            (_, None) if self.has(Mutant::NoCompareAndSet) => Expect::Absent,
            (Expect::At(_, read), Some((uid, version))) if read == version => {
                Expect::At(uid, version)
            }
            (expect, _) => expect,
        })
    }

    /// Launches the machine of an attempt that is about to be recorded.
    async fn launch_first(&self, run: &Run) -> Result<(), PortError> {
        let stored = self.ports.store.get(&run.name).await?;
        let stored = stored.and_then(|run| run.status.attempt).map(|attempt| attempt.number);
        if let Some(attempt) = &run.status.attempt
            && stored != Some(attempt.number)
        {
            // The launch after the record is the one whose answer counts.
            let attempt_id = run.attempt_id(attempt.number);
            let _ = self.ports.compute.launch(&attempt_id, 0, attempt).await;
        }
        Ok(())
    }

    async fn write(
        &self,
        run: &Run,
        expect: Expect,
        used: Option<&Usage>,
    ) -> Result<u64, PortError> {
        let Some(used) = used else { return self.ports.store.put(run, expect).await };
        if !self.has(Mutant::CountedApart) {
            return self.ports.store.put_counting(run, expect, used).await;
        }
        let version = self.ports.store.put(run, expect).await?;
        self.ports.store.put_counting(run, Expect::At(run.uid, version), used).await
    }

    async fn put_record(
        &self,
        run: &Run,
        expect: Expect,
        used: Option<&Usage>,
    ) -> Result<u64, PortError> {
        if self.has(Mutant::LaunchBeforeRecord) {
            self.launch_first(run).await?;
        }
        if !self.has(Mutant::NoCompareAndSet) && !self.has(Mutant::VersionWithoutUid) {
            return self.write(run, expect, used).await;
        }
        loop {
            let expected = self.expected(&run.name, expect).await?;
            match self.write(run, expected, used).await {
                // Written meanwhile, which this store does not notice.
                Err(error)
                    if error.kind == ErrorKind::Conflict && self.has(Mutant::NoCompareAndSet) => {}
                result => return result,
            }
        }
    }
}

#[async_trait]
impl RunStore for ChangedPorts {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        let once = self.has(Mutant::RecordReadOnce);
        if once && let Some(ReadRecord(first)) = Reconcile::first_answer(name) {
            return Ok(first);
        }
        let mut run = self.ports.store.get(name).await?;
        if once {
            Reconcile::answered(name, run.as_ref());
        }
        if self.has(Mutant::CountedForgotten)
            && let Some(run) = &mut run
        {
            run.status.usage.machines.retain(|used| !used.counted);
        }
        if self.has(Mutant::UnknownFieldsDropped)
            && let Some(run) = &mut run
        {
            run.unknown = UnknownFields::default();
        }
        if self.has(Mutant::GaveUpReopened)
            && let Some(outcome) = run.as_mut().and_then(|run| run.status.outcome.as_mut())
            && *outcome == Outcome::GaveUp
        {
            *outcome = Outcome::JobGone;
        }
        Ok(run)
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
        self.ports.store.usage(first, last).await
    }

    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError> {
        let (mut uid, mut version) = (uid, version);
        if self.has(Mutant::VersionWithoutUid)
            && let Expect::At(stored, same) = self.expected(name, Expect::At(uid, version)).await?
        {
            (uid, version) = (stored, same);
        }
        self.ports.store.remove(name, uid, version).await
    }

    async fn open(&self, now: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        let mut open = self.ports.store.open(now).await?;
        if self.has(Mutant::SweepIgnoresDue) {
            for run in open.iter_mut().filter(|run| run.phase != Phase::Finished) {
                run.due = now + SignedDuration::from_mins(1);
            }
        }
        if self.has(Mutant::PassedByIgnored) {
            for run in &mut open {
                run.waiting_since = run.waiting_since.max(now - SignedDuration::from_mins(29));
            }
        }
        Ok(open)
    }

    async fn page(&self, filter: &Filter, after: Option<&str>) -> Result<Page, PortError> {
        self.ports.store.page(filter, after).await
    }

    async fn seat(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        limits: SeatLimits,
    ) -> Result<bool, PortError> {
        if self.has(Mutant::NoLimit) {
            return Ok(true);
        }
        let owner = limits.owner.filter(|_| !self.has(Mutant::NoOwnerLimit));
        let limits = SeatLimits { owner, ..limits };
        let repo = if self.has(Mutant::SeatsByName) { RepoRef::named(repo.name) } else { repo };
        self.ports.store.seat(class, attempt_id, repo, limits).await
    }

    async fn unseat(&self, class: &ClassName, attempt_id: &AttemptId) -> Result<(), PortError> {
        self.ports.store.unseat(class, attempt_id).await
    }

    async fn seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError> {
        let mut seats = self.ports.store.seats(class).await?;
        if self.has(Mutant::ReposByAge) {
            for seat in &mut seats {
                let owner = owner_of(&seat.repo);
                (seat.repo, seat.repo_id) = (format!("{owner}/all"), 0);
            }
        }
        Ok(seats)
    }

    async fn pause(&self, pause: &Pause) -> Result<Pause, PortError> {
        self.ports.store.pause(pause).await
    }

    async fn resume(&self, class: Option<&ClassName>) -> Result<Vec<Pause>, PortError> {
        self.ports.store.resume(class).await
    }

    async fn pauses(&self) -> Result<Vec<Pause>, PortError> {
        self.ports.store.pauses().await
    }

    async fn reruns(&self, key: &RerunKey) -> Result<Option<Reruns>, PortError> {
        self.ports.store.reruns(key).await
    }

    async fn put_reruns(&self, reruns: &Reruns) -> Result<u64, PortError> {
        if self.has(Mutant::RerunNotRecorded) {
            return Ok(reruns.version + 1);
        }
        let version = self.ports.store.put_reruns(reruns).await?;
        if let Some((_, is_asked)) = self.readings.lock().get_mut(&reruns.key.run_id) {
            *is_asked = true;
        }
        Ok(version)
    }

    async fn lease(
        &self,
        what: &str,
        holder: &str,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<bool, PortError> {
        if self.has(Mutant::ProbesTogether) && what.starts_with("boot/") {
            return Ok(true);
        }
        self.ports.store.lease(what, holder, now, ttl).await
    }

    async fn announce(
        &self,
        replica: &str,
        reads: u32,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<ReadByAll, PortError> {
        let read_by_all = self.ports.store.announce(replica, reads, now, ttl).await?;
        if self.has(Mutant::FormatOfOwnRelease) {
            return Ok(ReadByAll { format: reads, silent: None });
        }
        Ok(read_by_all)
    }
}
