//! Reads of one record each, by one thread: a thread woken for all that wait costs less than one
//! woken for each, and a look-up itself next to nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tinqs_ci_reconciler::model::RunName;
use tokio::sync::{mpsc, oneshot};

use super::tables::{self, Stored};
use super::writer::{File, told};

/// Reads in one transaction.
const TOGETHER: usize = 512;

/// A record that is asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) name: RunName,
    /// The error is a sentence.
    pub(super) settled: oneshot::Sender<Result<Option<Stored>, String>>,
}

/// Until nobody can ask any more: takes all that waits, reads it, answers.
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
                    // Who asked may have gone.
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
