//! The simulated records as the controller's `RunStore` port.

use async_trait::async_trait;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    AttemptId, ClassName, DecodeError, Pause, RecordFormats, RepoRef, RerunKey, Reruns, Run,
    RunName, SeatLimits, Uid, Usage,
};
use tinqs_ci_reconciler::ports::{
    Announced, ErrorKind, Expect, Filter, OpenRun, Page, PortError, ReadByAll, RunStore, Seat,
};

use super::{Call, SimulatedPorts, error};
use crate::faults::OngoingFault;
use crate::formats::stored;

impl SimulatedPorts {
    async fn put_record(
        &self,
        run: &Run,
        expect: Expect,
        used: Option<&Usage>,
    ) -> Result<u64, PortError> {
        let attempt = run.status.attempt.as_ref().map(|a| (a.number, a.placements.len(), a.ended));
        let status = &run.status;
        let call = Call::new(
            "store.put",
            format!(
                "{} {:?} next {} attempt {attempt:?} reason {:?}",
                run.name,
                status.phase,
                status.next,
                status.reason()
            ),
        );
        let replica = self.replica();
        self.call(call, |world, _| {
            let now = world.now();
            let storm = if world.suffers(now, OngoingFault::Storm) { 0.33 } else { 0.0 };
            let conflict = world.faults.at(now).conflict.max(storm);
            if world.strikes("conflict", conflict) {
                world.records.touch(&run.name);
            }
            let before = world.records.run(&run.name).cloned();
            let conflict = |message| error("store.put", ErrorKind::Conflict, message);
            let version = world.records.put(&stored(run), expect).map_err(conflict)?;
            let (writer, read) = (world.releases.of(replica), world.releases.read_by_all());
            world.laws.on_format(now, before.as_ref(), run, writer, read);
            let earlier = before.as_ref().map(|before| before.format);
            match earlier {
                _ if run.format > RecordFormats::FIRST => world.count("format_2"),
                Some(earlier) if earlier > run.format => world.count("format_1_again"),
                _ => {}
            }
            world.laws.on_noted(run);
            if let Some(used) = used {
                world.records.count(used);
                world.laws.on_counted(run, used);
            }
            world.laws.on_put(now, before.as_ref(), run, expect);
            world.laws.on_lost(now, run, world.cloud.live());
            world.laws.on_boots(now, run, world.cloud.machines());
            Ok(version)
        })
        .await
    }
}

#[async_trait]
impl RunStore for SimulatedPorts {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        let call = Call::new("store.get", name);
        let replica = self.replica();
        self.call(call, |world, _| match world.records.run(name) {
            Some(run) if run.format > world.releases.of(replica).reads => {
                let message = DecodeError::Newer { format: run.format }.to_string();
                Err(error("store.get", ErrorKind::Invalid, message))
            }
            run => Ok(run.cloned()),
        })
        .await
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
        self.call(Call::new("store.usage", ""), |world, _| Ok(world.records.usage(first, last)))
            .await
    }

    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError> {
        let conflict = |message| error("store.remove", ErrorKind::Conflict, message);
        let call = Call::new("store.remove", name);
        self.call(call, |world, _| world.records.remove(name, uid, version).map_err(conflict)).await
    }

    async fn open(&self, now: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        let replica = self.replica();
        let call = Call::new("store.open", "");
        self.call(call, |world, _| Ok(world.records.open(now, world.releases.of(replica).reads)))
            .await
    }

    async fn page(&self, filter: &Filter, after: Option<&str>) -> Result<Page, PortError> {
        let invalid = |message| error("store.page", ErrorKind::Invalid, message);
        let call = Call::new("store.page", "");
        let replica = self.replica();
        self.call(call, |world, _| {
            let reads = world.releases.of(replica).reads;
            world.records.page(filter, after, reads).map_err(invalid)
        })
        .await
    }

    async fn seat(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        limits: SeatLimits,
    ) -> Result<bool, PortError> {
        let call = Call::new("store.seat", format!("{class} {attempt_id}"));
        self.call(call, |world, _| {
            let of_class = world.records.seats().filter(|(of, _)| *of == class);
            let held: Vec<Seat> = of_class.map(|(_, seat)| seat.clone()).collect();
            let is_taken = world.records.seat(class, attempt_id, repo, limits);
            if is_taken && !held.iter().any(|seat| seat.attempt_id == *attempt_id) {
                world.seat_taken(class, attempt_id, repo, &held);
            }
            Ok(is_taken)
        })
        .await
    }

    async fn unseat(&self, class: &ClassName, attempt_id: &AttemptId) -> Result<(), PortError> {
        let call = Call::new("store.unseat", format!("{class} {attempt_id}"));
        self.call(call, |world, _| {
            let now = world.now();
            if let Some(seat) = world.records.unseat(class, attempt_id) {
                world.laws.on_seat_freed(now, class, &seat);
            }
            Ok(())
        })
        .await
    }

    async fn seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError> {
        let call = Call::new("store.seats", class);
        self.call(call, |world, _| {
            let of_class = world.records.seats().filter(|(of, _)| *of == class);
            Ok(of_class.map(|(_, seat)| seat.clone()).collect())
        })
        .await
    }

    async fn pause(&self, pause: &Pause) -> Result<Pause, PortError> {
        Ok(self.world().records.pause(pause))
    }

    async fn resume(&self, class: Option<&ClassName>) -> Result<Vec<Pause>, PortError> {
        Ok(self.world().records.resume(class))
    }

    /// Answers at once and without faults: a reconcile that cannot read the pauses ends as one that
    /// cannot read the seats does.
    async fn pauses(&self) -> Result<Vec<Pause>, PortError> {
        Ok(self.world().records.pauses())
    }

    async fn reruns(&self, key: &RerunKey) -> Result<Option<Reruns>, PortError> {
        let call = Call::new("store.reruns", key.run_id);
        self.call(call, |world, _| Ok(world.records.reruns(key))).await
    }

    async fn put_reruns(&self, reruns: &Reruns) -> Result<u64, PortError> {
        let RerunKey { run_id, job, .. } = &reruns.key;
        let call = Call::new("store.put_reruns", format!("{run_id} {job} {}", reruns.count));
        self.call(call, |world, _| {
            let conflict = || error("store.put_reruns", ErrorKind::Conflict, "written by another");
            let version = world.records.put_reruns(reruns).ok_or_else(conflict)?;
            let now = world.now();
            world.laws.on_rerun_recorded(now, reruns);
            Ok(version)
        })
        .await
    }

    async fn lease(
        &self,
        what: &str,
        holder: &str,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<bool, PortError> {
        let call = Call::new("store.lease", format!("{what} {holder}"));
        self.call(call, |world, _| Ok(world.records.lease(what, holder, now, ttl))).await
    }

    /// Answers at once and without faults: a failure only delays the next format.
    async fn announce(
        &self,
        replica: &str,
        reads: u32,
        now: Timestamp,
        ttl: SignedDuration,
    ) -> Result<ReadByAll, PortError> {
        let own = Announced { replica: replica.to_owned(), reads, until: now + ttl };
        Ok(self.world().records.announce(own, now))
    }
}
