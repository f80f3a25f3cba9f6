//! A run store in memory that answers at once and has no threads.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{ClassName, Run, RunName, SeatLimits, Slot, Uid};
use tinqs_ci_reconciler::ports::{
    ErrorKind, Expect, Filter, OpenRun, Page, PortError, RunStore, Seat,
};

#[derive(Default)]
pub(crate) struct Memory(Mutex<BTreeMap<RunName, Run>>);

impl Memory {
    fn records(&self) -> MutexGuard<'_, BTreeMap<RunName, Run>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn runs(&self) -> Vec<Run> {
        self.records().values().cloned().collect()
    }
}

fn conflict(name: &RunName) -> PortError {
    PortError::new("store", "put", ErrorKind::Conflict, name.to_string())
}

#[async_trait]
impl RunStore for Memory {
    async fn get(&self, name: &RunName) -> Result<Option<Run>, PortError> {
        Ok(self.records().get(name).cloned())
    }

    async fn put(&self, run: &Run, expect: Expect) -> Result<u64, PortError> {
        let mut records = self.records();
        let there = records.get(&run.name).map(|run| (run.uid, run.version));
        let version = match (expect, there) {
            (Expect::Absent, None) => 1,
            (Expect::At(uid, version), Some(there)) if there == (uid, version) => version + 1,
            _ => return Err(conflict(&run.name)),
        };
        records.insert(run.name.clone(), Run { version, ..run.clone() });
        Ok(version)
    }

    async fn remove(&self, name: &RunName, uid: Uid, version: u64) -> Result<(), PortError> {
        let mut records = self.records();
        match records.get(name).map(|run| (run.uid, run.version)) {
            Some(there) if there != (uid, version) => Err(conflict(name)),
            _ => {
                records.remove(name);
                Ok(())
            }
        }
    }

    async fn open(&self, now: Timestamp) -> Result<Vec<OpenRun>, PortError> {
        let listed = |run: &&Run| run.is_open() || run.status.due <= now;
        Ok(self.records().values().filter(listed).map(OpenRun::of).collect())
    }

    async fn page(&self, filter: &Filter, _after: Option<&str>) -> Result<Page, PortError> {
        let records = self.records();
        let items = records.values().filter(|run| filter.takes(run)).take(filter.limit);
        Ok(Page { items: items.cloned().collect(), next: None })
    }

    // No class of a burst has a limit.
    async fn seat(
        &self,
        _: &ClassName,
        _: &Slot,
        _: &str,
        _: SeatLimits,
    ) -> Result<bool, PortError> {
        Ok(true)
    }

    async fn unseat(&self, _: &ClassName, _: &Slot) -> Result<(), PortError> {
        Ok(())
    }

    async fn seats(&self, _: &ClassName) -> Result<Vec<Seat>, PortError> {
        Ok(Vec::new())
    }

    // There is one replica.
    async fn lease(
        &self,
        _: &str,
        _: &str,
        _: Timestamp,
        _: SignedDuration,
    ) -> Result<bool, PortError> {
        Ok(true)
    }
}
