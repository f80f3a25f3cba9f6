//! Wakes in SQS: one standard queue whose bodies are run names. EC2's events may come into the same
//! queue and become wakes of the runs whose machines they are about.
//!
//! Unreadable messages go to the queue's dead-letter queue, if it has one; their bodies are never
//! logged. Losing or doubling every message affects latency only.

mod depth;
mod entries;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{Message as Received, MessageSystemAttributeName, QueueAttributeName};
use jiff::SignedDuration;
use serde::Deserialize;
use tinqs_ci_reconciler::model::{MachineId, RunName};
use tinqs_ci_reconciler::ports::{
    Delivery, ErrorKind, LONGEST_DELAY, PortError, Queue, QueueDepth,
};
use tokio::sync::OnceCell;

use super::batch::{Batches, Bundle};
use super::errors::{self, sqs as codes};
use super::events::{self, Message, Owners};
use depth::Depths;
use entries::{Outgoing, delete, send};

/// Entries of a batch, and messages of a receive.
const BATCH: usize = 10;
const SENDS: Bundle =
    Bundle { port: "queue", operation: "wake", most: BATCH, at_once: 8, linger: Duration::ZERO };
const DELETES: Bundle = Bundle {
    port: "queue",
    operation: "done",
    most: BATCH,
    at_once: 4,
    linger: Duration::from_millis(20),
};

/// Options of a queue.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A message that is not deleted within this time comes again: longer than a reconcile may take
    /// (60 s). Whole seconds.
    pub again_after: Duration,
    /// The time that `next` waits for the first message; at most 20 s. Whole seconds.
    pub patience: Duration,
    /// The time for which the counts of messages are kept, because reading them costs calls.
    pub depth_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            again_after: Duration::from_mins(2),
            patience: Duration::from_secs(20),
            depth_every: Duration::from_mins(1),
        }
    }
}

/// The clients of SQS, one per use.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For receives: its timeouts are longer than the long poll.
    pub receive: Client,
    /// For all other calls.
    pub send: Client,
}

/// A queue.
pub struct Sqs {
    clients: Clients,
    url: String,
    options: Options,
    /// Maps instances to runs; `None`: events are dropped.
    owners: Option<Arc<dyn Owners>>,
    /// The dead-letter queue's URL, once known; `None`: there is none.
    dead: OnceCell<Option<String>>,
    depths: Depths,
    sends: Batches<Outgoing, ()>,
    deletes: Batches<String, ()>,
}

impl Sqs {
    /// Returns the queue at this URL.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(
        clients: Clients,
        url: &str,
        options: Options,
        owners: Option<Arc<dyn Owners>>,
    ) -> Self {
        let url = url.to_owned();
        let (sender, deleter) = (clients.send.clone(), clients.send.clone());
        let (to, from) = (url.clone(), url.clone());
        Self {
            clients,
            url,
            options,
            owners,
            dead: OnceCell::new(),
            depths: Depths::default(),
            sends: Batches::new(SENDS, move |messages| send(sender.clone(), to.clone(), messages)),
            deletes: Batches::new(DELETES, move |handles| {
                delete(deleter.clone(), from.clone(), handles)
            }),
        }
    }

    /// Turns a received message into a delivery; `None` if it concerns no run.
    async fn sort(&self, message: Sorted) -> Option<Delivery> {
        let Sorted { handle, body, runs } = message;
        match runs {
            Runs::Of(mut names) => {
                let name = names.pop();
                for other in names {
                    // Several runs in one event: the others are woken like any other run. If that
                    // fails, the message comes again.
                    if self.wake(&other).await.is_err() {
                        return None;
                    }
                }
                match name {
                    Some(name) => Some(Delivery { name, handle }),
                    None => self.drop_it(handle).await,
                }
            }
            // The message comes again, and its instances are looked up again.
            Runs::Later => None,
            Runs::Unreadable => self.bury(handle, &body).await,
        }
    }

    /// Deletes a message that concerns no run.
    async fn drop_it(&self, handle: String) -> Option<Delivery> {
        if let Err(error) = self.deletes.ask(handle).await {
            tracing::debug!(error = %error, "cannot delete message without a run, it comes again");
        }
        None
    }

    /// Moves an unreadable message to the dead-letter queue, for an operator.
    async fn bury(&self, handle: String, body: &str) -> Option<Delivery> {
        let buried = match self.dead_letters("bury").await {
            Ok(None) => Ok(false),
            Ok(Some(url)) => {
                let request = self.clients.send.send_message();
                let sent = request.queue_url(url).message_body(body).send().await;
                sent.map(|_| true)
                    .map_err(|e| errors::port_error("queue", "bury", &e, codes::TABLE))
            }
            Err(error) => Err(error),
        };
        match buried {
            Ok(kept) => {
                tracing::warn!(
                    bytes = body.len(),
                    dead_letter = kept,
                    "unreadable message removed from the queue"
                );
                self.drop_it(handle).await
            }
            Err(error) if error.kind == ErrorKind::Denied || error.kind == ErrorKind::Invalid => {
                tracing::warn!(
                    bytes = body.len(),
                    error = %error,
                    "cannot use the dead-letter queue, unreadable message dropped"
                );
                self.drop_it(handle).await
            }
            // It comes again.
            Err(error) => {
                tracing::warn!(error = %error, "cannot move unreadable message, it comes again");
                None
            }
        }
    }

    /// Returns the URL of the dead-letter queue that the queue's redrive policy names. Errors name
    /// the operation.
    async fn dead_letters(&self, operation: &'static str) -> Result<Option<&str>, PortError> {
        let found = self.dead.get_or_try_init(|| async {
            let told = |e| errors::port_error("queue", operation, &e, codes::TABLE);
            let request = self.clients.send.get_queue_attributes().queue_url(&self.url);
            let policy = QueueAttributeName::RedrivePolicy;
            let answer = request.attribute_names(policy.clone()).send().await.map_err(told)?;
            let policy = answer.attributes().and_then(|all| all.get(&policy));
            let Some(arn) = policy.and_then(|policy| dead_letter_arn(policy)) else {
                return Ok(None);
            };
            let told = |e| errors::port_error("queue", operation, &e, codes::TABLE);
            let request = self.clients.send.get_queue_url().queue_name(arn.name);
            let answer = request.queue_owner_aws_account_id(arn.account).send().await;
            Ok(answer.map_err(told)?.queue_url().map(str::to_owned))
        });
        Ok(found.await?.as_deref())
    }

    /// Parses received messages, and looks up all their instances in one call.
    async fn read(&self, messages: Vec<Received>) -> Vec<Sorted> {
        let mut sorted = Vec::with_capacity(messages.len());
        let mut asked: Vec<(usize, MachineId)> = Vec::new();
        for message in messages {
            let Some(handle) = message.receipt_handle else { continue };
            let body = message.body.unwrap_or_default();
            let runs = match events::read(&body) {
                Message::Run(name) => Runs::Of(vec![name]),
                Message::Instances(ids) => {
                    asked.extend(ids.into_iter().map(|id| (sorted.len(), id)));
                    Runs::Of(Vec::new())
                }
                Message::Ignored => Runs::Of(Vec::new()),
                Message::Unreadable => Runs::Unreadable,
            };
            sorted.push(Sorted { handle, body, runs });
        }
        let Some(owners) = self.owners.as_ref().filter(|_| !asked.is_empty()) else {
            return sorted;
        };
        let ids: Vec<MachineId> = asked.iter().map(|(_, id)| id.clone()).collect();
        let answers = owners.runs_of(&ids).await;
        for ((at, id), answer) in asked.into_iter().zip(answers) {
            let runs = &mut sorted[at].runs;
            match (answer, &mut *runs) {
                (Ok(Some(name)), Runs::Of(names)) => {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                (Ok(_), _) => {}
                (Err(error), _) => {
                    let machine = id.0;
                    tracing::debug!(machine, error = %error, "run of instance not known yet");
                    *runs = Runs::Later;
                }
            }
        }
        sorted
    }
}

/// A parsed message.
struct Sorted {
    handle: String,
    body: String,
    runs: Runs,
}

/// The runs that a message concerns.
enum Runs {
    /// These runs; empty: none.
    Of(Vec<RunName>),
    /// Not known yet.
    Later,
    /// The message is unreadable.
    Unreadable,
}

#[async_trait]
impl Queue for Sqs {
    /// Durable once it returns.
    async fn wake(&self, name: &RunName) -> Result<(), PortError> {
        self.sends.ask(Outgoing { body: name.to_string(), delay: None }).await
    }

    /// Durable once it returns. Whole seconds, rounded up: a message does not come before its time.
    async fn wake_later(&self, name: &RunName, delay: SignedDuration) -> Result<(), PortError> {
        let delay = delay.clamp(SignedDuration::ZERO, LONGEST_DELAY);
        let seconds = delay.as_secs() + i64::from(delay.subsec_nanos() > 0);
        let delay = i32::try_from(seconds).ok();
        self.sends.ask(Outgoing { body: name.to_string(), delay }).await
    }

    /// Receives at most 10 messages. Dropping the future loses nothing: they come again.
    async fn next(&self, max: usize) -> Result<Vec<Delivery>, PortError> {
        let most = i32::try_from(max.clamp(1, BATCH)).unwrap_or(1);
        let Options { again_after, patience, .. } = self.options;
        let request = self.clients.receive.receive_message().queue_url(&self.url);
        let answer = request
            .max_number_of_messages(most)
            .wait_time_seconds(whole_seconds(patience).min(20))
            .visibility_timeout(whole_seconds(again_after))
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(|e| errors::port_error("queue", "next", &e, codes::TABLE))?;
        let messages = answer.messages.unwrap_or_default();
        self.depths.note_received(&messages);
        let mut deliveries = Vec::new();
        for message in self.read(messages).await {
            deliveries.extend(self.sort(message).await);
        }
        Ok(deliveries)
    }

    async fn done(&self, delivery: Delivery) -> Result<(), PortError> {
        if delivery.handle.is_empty() {
            return Ok(());
        }
        self.deletes.ask(delivery.handle).await
    }

    /// Approximate, and kept for `depth_every`. SQS does not tell the age of the oldest message: it
    /// is at most how long each reading has found one, and at most the age of the oldest one that
    /// this process received of late. `None`: reading it is not allowed.
    async fn depth(&self) -> Result<Option<QueueDepth>, PortError> {
        self.read_depth().await
    }
}

/// The region in a queue's URL: `https://sqs.REGION.amazonaws.com/…`.
pub fn region_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    rest.strip_prefix("sqs.")?.split('.').next()
}

fn whole_seconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)
}

/// A queue as named in a redrive policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QueueArn {
    pub(super) account: String,
    pub(super) name: String,
}

pub(super) fn dead_letter_arn(policy: &str) -> Option<QueueArn> {
    #[derive(Deserialize)]
    struct Policy {
        #[serde(rename = "deadLetterTargetArn")]
        target: String,
    }
    let Policy { target } = serde_json::from_str(policy).ok()?;
    // arn:PARTITION:sqs:REGION:ACCOUNT:NAME
    let parts: Vec<&str> = target.split(':').collect();
    let [_, _, "sqs", _, account, name] = parts[..] else { return None };
    Some(QueueArn { account: account.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_url_names_its_region() {
        let rows = [
            ("https://sqs.eu-central-1.amazonaws.com/123456789012/wakes", Some("eu-central-1")),
            ("http://127.0.0.1:9324/000000000000/wakes", None),
            ("sqs.eu", None),
        ];
        for (url, region) in rows {
            assert_eq!(region_of(url), region, "{url}");
        }
    }

    #[test]
    fn the_dead_letter_queue_is_read_from_the_policy() {
        let policy = r#"{"deadLetterTargetArn":"arn:aws:sqs:eu-central-1:123456789012:dead","maxReceiveCount":5}"#;
        let arn = QueueArn { account: "123456789012".to_owned(), name: "dead".to_owned() };
        assert_eq!(dead_letter_arn(policy), Some(arn));
        for policy in ["", "{}", r#"{"deadLetterTargetArn":"arn:aws:sns:x:1:t"}"#, "7"] {
            assert_eq!(dead_letter_arn(policy), None, "{policy}");
        }
    }
}
