//! Batches of entries: a 200 may report that some entries failed.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    BatchResultErrorEntry, DeleteMessageBatchRequestEntry, SendMessageBatchRequestEntry,
};
use tinqs_ci_reconciler::ports::PortError;

use crate::batch::Answers;
use crate::errors::{self, again, sqs as codes};

/// A message to send.
pub(super) struct Outgoing {
    pub(super) body: String,
    /// In whole seconds, at most 900; `None`: the delay of the queue, usually none. FIFO queues take
    /// none, but the settings refuse those.
    pub(super) delay: Option<i32>,
}

/// Sends a batch. Entries that failed on the server's side are sent once more.
pub(super) async fn send(client: Client, url: String, messages: Vec<Outgoing>) -> Answers<()> {
    let mut answers: Answers<()> = messages.iter().map(|_| Ok(())).collect();
    let mut left: Vec<usize> = (0..messages.len()).collect();
    for last in [false, true] {
        let entries = left.iter().filter_map(|at| {
            let Outgoing { body, delay } = &messages[*at];
            let entry = SendMessageBatchRequestEntry::builder().set_delay_seconds(*delay);
            entry.id(at.to_string()).message_body(body).build().ok()
        });
        let request = client.send_message_batch().queue_url(&url);
        let failed = match request.set_entries(Some(entries.collect())).send().await {
            Ok(answer) => answer.failed,
            Err(error) => {
                let error = errors::port_error("queue", "wake", &error, codes::TABLE);
                for at in left {
                    answers[at] = Err(again(&error));
                }
                return answers;
            }
        };
        left = settle("wake", &mut answers, &left, &failed);
        if left.is_empty() || last {
            break;
        }
    }
    answers
}

/// Deletes a batch. An invalid handle belongs to a message that came again or is gone.
pub(super) async fn delete(client: Client, url: String, handles: Vec<String>) -> Answers<()> {
    let mut answers: Answers<()> = handles.iter().map(|_| Ok(())).collect();
    let mut left: Vec<usize> = (0..handles.len()).collect();
    for last in [false, true] {
        let entries = left.iter().filter_map(|at| {
            let entry = DeleteMessageBatchRequestEntry::builder();
            entry.id(at.to_string()).receipt_handle(&handles[*at]).build().ok()
        });
        let request = client.delete_message_batch().queue_url(&url);
        let failed = match request.set_entries(Some(entries.collect())).send().await {
            Ok(answer) => answer.failed,
            // Some queues refuse the whole call for one invalid handle.
            Err(error) if errors::code(&error).is_some_and(codes::is_stale_handle) => {
                if left.len() == 1 {
                    return answers;
                }
                for at in left {
                    let one = vec![handles[at].clone()];
                    let answer = Box::pin(delete(client.clone(), url.clone(), one)).await.pop();
                    answers[at] = answer.unwrap_or(Ok(()));
                }
                return answers;
            }
            Err(error) => {
                let error = errors::port_error("queue", "done", &error, codes::TABLE);
                for at in left {
                    answers[at] = Err(again(&error));
                }
                return answers;
            }
        };
        let failed: Vec<_> =
            failed.into_iter().filter(|entry| !codes::is_stale_handle(entry.code())).collect();
        left = settle("done", &mut answers, &left, &failed);
        if left.is_empty() || last {
            break;
        }
    }
    answers
}

/// Records the results of a batch's entries. Returns those that may be tried once more.
fn settle(
    operation: &'static str,
    answers: &mut Answers<()>,
    sent: &[usize],
    failed: &[BatchResultErrorEntry],
) -> Vec<usize> {
    let mut again = Vec::new();
    for at in sent {
        let id = at.to_string();
        let Some(entry) = failed.iter().find(|entry| entry.id() == id) else {
            answers[*at] = Ok(());
            continue;
        };
        let status = if entry.sender_fault() { 400 } else { 500 };
        let kind = errors::kind(entry.code(), status, codes::TABLE);
        let message =
            format!("{} (an entry of a batch)", tinqs_ci_reconciler::text::cut(entry.code(), 80));
        answers[*at] = Err(PortError::new("queue", operation, kind, message));
        if !entry.sender_fault() {
            again.push(*at);
        }
    }
    again
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::ports::ErrorKind;

    use super::*;

    #[test]
    fn failed_entries_are_reported_and_server_faults_retried() {
        let entry = |id: &str, fault: bool, code: &str| {
            let entry = BatchResultErrorEntry::builder().id(id).sender_fault(fault).code(code);
            entry.build().unwrap()
        };
        let mut answers: Answers<()> = vec![Ok(()), Ok(()), Ok(())];
        let failed =
            [entry("1", true, "InvalidMessageContents"), entry("2", false, "InternalError")];
        assert_eq!(settle("wake", &mut answers, &[0, 1, 2], &failed), [2]);
        let kinds: Vec<_> = answers.iter().map(|a| a.as_ref().err().map(|e| e.kind)).collect();
        assert_eq!(kinds, [None, Some(ErrorKind::Invalid), Some(ErrorKind::Unavailable)]);
        assert_eq!(settle("wake", &mut answers, &[2], &[]), [] as [usize; 0]);
        assert!(answers[2].is_ok() && answers[1].is_err());
    }
}
