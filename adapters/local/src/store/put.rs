//! Writes of runs, with what they count.

use tinqs_ci_reconciler::model::{Run, Usage};
use tinqs_ci_reconciler::ports::{Expect, PortError};

use super::record::Record;
use super::tables::{Answer, Op};
use super::{Store, unexpected};

impl Store {
    /// Writes a run, and what it counts in the same commit.
    pub(super) async fn put_record(
        &self,
        run: &Run,
        expect: Expect,
        used: Option<&Usage>,
    ) -> Result<u64, PortError> {
        let version = match expect {
            Expect::Absent => 1,
            Expect::At(_, version) => version.saturating_add(1),
        };
        let record = Box::new(Record::of(run, version));
        let used = used.cloned().map(Box::new);
        match self.write("put", Op::Put { record, expect, used }).await? {
            Answer::Version(version) => Ok(version),
            _ => Err(unexpected("put")),
        }
    }
}
