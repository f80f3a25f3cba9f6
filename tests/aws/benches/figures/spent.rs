//! Cost of a period: the server's CPU and the calls to `DynamoDB`, EC2 and the forge.

use std::time::Instant;

use crate::figure::{Result, number};
use crate::machine;
use crate::region::Region;
use crate::table::Books;

/// The counters at the start of a period.
pub(crate) struct Meter {
    began: Instant,
    cpu: f64,
    books: Books,
    entries: usize,
    forge: u64,
}

/// The cost of a period.
pub(crate) struct Spent {
    /// Wall-clock seconds.
    pub(crate) seconds: f64,
    /// Seconds of the server's CPU.
    pub(crate) cpu: f64,
    /// Calls to `DynamoDB`.
    pub(crate) asked: usize,
    pub(crate) written: f64,
    pub(crate) read: f64,
    /// Writes whose condition failed.
    pub(crate) refused: usize,
    /// Calls to `DynamoDB` that failed for another reason.
    pub(crate) failed: usize,
    /// Each call to EC2: the operation and the bytes of its response.
    ec2: Vec<(String, usize)>,
    /// Calls that EC2 throttled since its start.
    pub(crate) throttled: usize,
    /// Requests to the forge.
    pub(crate) forge: f64,
}

impl Meter {
    /// Starts a period. The server must be running.
    pub(crate) fn start(region: &Region) -> Result<Self> {
        Ok(Self {
            began: Instant::now(),
            cpu: cpu(region)?,
            books: region.table.books(),
            entries: region.ec2.ledger().entries.len(),
            forge: region.forge_calls(),
        })
    }

    /// Returns the cost since the start of the period.
    pub(crate) fn read(&self, region: &Region) -> Result<Spent> {
        let seconds = self.began.elapsed().as_secs_f64();
        let (books, ledger) = (region.table.books(), region.ec2.ledger());
        let asked = |books: &Books| books.calls.values().sum::<usize>();
        let new = &ledger.entries[self.entries..];
        #[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
        let forge = (region.forge_calls() - self.forge) as f64;
        Ok(Spent {
            seconds,
            cpu: cpu(region)? - self.cpu,
            asked: asked(&books) - asked(&self.books),
            written: books.written - self.books.written,
            read: books.read - self.books.read,
            refused: books.refused - self.books.refused,
            failed: books.failed - self.books.failed,
            ec2: new.iter().map(|entry| (entry.op.clone(), entry.bytes_out)).collect(),
            throttled: ledger.throttled(),
            forge,
        })
    }
}

impl Spent {
    /// Returns the number of calls to EC2 of one operation.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.ec2.iter().filter(|(op, _)| op == operation).count()
    }

    /// Returns the number of all calls to EC2.
    pub(crate) fn all_calls(&self) -> usize {
        self.ec2.len()
    }

    /// Returns the megabytes of EC2's responses.
    pub(crate) fn megabytes(&self) -> f64 {
        number(self.ec2.iter().map(|(_, bytes)| bytes).sum()) / 1e6
    }
}

fn cpu(region: &Region) -> Result<f64> {
    Ok(machine::cpu(region.server()?.pid())?.as_secs_f64())
}
