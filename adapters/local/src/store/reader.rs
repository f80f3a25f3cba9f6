//! Reads of one record each, by one thread: waking one thread for all waiting reads costs less than
//! one per read, and a lookup itself is cheap.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tinqs_ci_reconciler::model::RunName;
use tokio::sync::{mpsc, oneshot};

use super::tables::{self, Stored};
use super::writer::{File, told};

/// Most reads in one transaction.
const TOGETHER: usize = 512;

/// A requested record.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: RunName,
    /// The error is a sentence.
    pub(super) settled: oneshot::Sender<Result<Option<Stored>, String>>,
}

/// Reads all waiting requests and answers them, until the channel closes.
pub(super) fn run(file: &File, mut wanted: mpsc::Receiver<Wanted>) {
    while let Some(first) = wanted.blocking_recv() {
        let mut waiting = vec![first];
        while waiting.len() < TOGETHER
            && let Ok(next) = wanted.try_recv()
        {
            waiting.push(next);
        }
        let names = waiting.iter().map(|wanted| &wanted.name);
        let read = AssertUnwindSafe(|| file.read(|transaction| tables::get(transaction, names)));
        let read = catch_unwind(read)
            .unwrap_or_else(|panic| Err(format!("reading failed: {}", told(&*panic))));
        match read {
            Ok(found) => {
                for (Wanted { settled, .. }, found) in waiting.into_iter().zip(found) {
                    // The caller may have stopped waiting.
                    let _ = settled.send(Ok(found));
                }
            }
            Err(why) => {
                for Wanted { settled, .. } in waiting {
                    let _ = settled.send(Err(why.clone()));
                }
            }
        }
    }
}
