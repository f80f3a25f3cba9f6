//! The depth of the queue and of its dead-letter queue, for metrics and alerts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName as Name};
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, QueueDepth};
use tokio::sync::Mutex;

use super::Sqs;
use crate::errors::{self, sqs as codes};

/// Between two readings that are further apart, the queue may have been empty.
const GAP: Duration = Duration::from_mins(5);

/// The last reading.
#[derive(Default)]
pub(super) struct Depths {
    last: Mutex<Option<Reading>>,
    /// The earliest send time of the messages that were received since the last reading.
    received: parking_lot::Mutex<Option<Instant>>,
    /// Whether the log has said that counts may not be read.
    warned: AtomicBool,
}

struct Reading {
    at: Instant,
    /// Without the age; `None`: not known.
    held: Option<QueueDepth>,
    /// The time since which the oldest message waits, if that can be told; `None`: none waits.
    oldest: Option<Instant>,
}

impl Depths {
    /// Notes the messages of one receive.
    pub(super) fn note_received(&self, messages: &[Message]) {
        // Without one, nothing waited.
        let age = messages.iter().filter_map(age_of).max().unwrap_or_default();
        let Some(sent) = Instant::now().checked_sub(age) else { return };
        let mut received = self.received.lock();
        *received = Some(received.map_or(sent, |before| before.min(sent)));
    }
}

/// Returns how long ago a message was sent. The clocks of SQS and of this host may differ a little.
/// A delayed message looks older than it is: only functions send them, which do not receive.
fn age_of(message: &Message) -> Option<Duration> {
    let attributes = message.attributes.as_ref()?;
    let sent = attributes.get(&MessageSystemAttributeName::SentTimestamp)?.parse::<i64>().ok()?;
    let age = Timestamp::now().as_millisecond().saturating_sub(sent);
    Some(Duration::from_millis(u64::try_from(age).unwrap_or(0)))
}

impl Reading {
    fn depth(&self) -> Option<QueueDepth> {
        let age = |since: Instant| SignedDuration::try_from(since.elapsed()).unwrap_or_default();
        Some(QueueDepth { oldest_age: self.oldest.map(age), ..self.held? })
    }
}

/// The counts of a queue's messages.
struct Counts {
    /// Those that wait for delivery. Delayed ones do not: the runs that they name are not due.
    waiting: u64,
    in_flight: u64,
}

impl Sqs {
    /// Returns what the queue holds, by a reading that is at most `depth_every` old.
    pub(super) async fn read_depth(&self) -> Result<Option<QueueDepth>, PortError> {
        // Held during the calls, so that concurrent callers share one reading.
        let mut last = self.depths.last.lock().await;
        let every = self.options.depth_every;
        if last.as_ref().is_none_or(|last| last.at.elapsed() >= every) {
            let held = self.held().await?;
            let before = last.as_ref().filter(|last| last.at.elapsed() < GAP);
            let received = self.depths.received.lock().take();
            // A queue that is merely busy always holds some. Messages come about in the order in
            // which they were sent, so that those that wait are no older than those received.
            let since = before.and_then(|last| last.oldest);
            let since = since.map(|since| received.map_or(since, |sent| since.max(sent)));
            let waits = held.is_some_and(|held| held.visible > 0);
            let oldest = waits.then(|| since.unwrap_or_else(Instant::now));
            *last = Some(Reading { at: Instant::now(), held, oldest });
        }
        Ok(last.as_ref().and_then(Reading::depth))
    }

    /// Reads what both queues hold; `None`: it is not known.
    async fn held(&self) -> Result<Option<QueueDepth>, PortError> {
        let counts = match self.counts(&self.url).await {
            Ok(counts) => counts,
            Err(error) => self.leave_out("queue", error)?,
        };
        let Some(counts) = counts else { return Ok(None) };
        let dead_letters = match self.buried().await {
            Ok(buried) => buried,
            Err(error) => self.leave_out("dead-letter queue", error)?,
        };
        Ok(Some(QueueDepth {
            visible: counts.waiting,
            in_flight: counts.in_flight,
            oldest_age: None,
            dead_letters,
        }))
    }

    /// Returns the number of dead letters; `None`: it is not known.
    async fn buried(&self) -> Result<Option<u64>, PortError> {
        let Some(url) = self.dead_letters("depth").await? else { return Ok(Some(0)) };
        // One that somebody is reading is still there.
        let all = |counts: Counts| counts.waiting.saturating_add(counts.in_flight);
        Ok(self.counts(url).await?.map(all))
    }

    /// Returns a queue's counts; `None`: the answer has none.
    async fn counts(&self, url: &str) -> Result<Option<Counts>, PortError> {
        let names =
            vec![Name::ApproximateNumberOfMessages, Name::ApproximateNumberOfMessagesNotVisible];
        let request = self.clients.send.get_queue_attributes().queue_url(url);
        let answer = request.set_attribute_names(Some(names)).send().await;
        let answer = answer.map_err(|e| errors::port_error("queue", "depth", &e, codes::TABLE))?;
        let all = answer.attributes.unwrap_or_default();
        let of = |name: &Name| all.get(name).and_then(|count| count.parse::<u64>().ok());
        let in_flight = of(&Name::ApproximateNumberOfMessagesNotVisible).unwrap_or(0);
        let waiting = of(&Name::ApproximateNumberOfMessages);
        Ok(waiting.map(|waiting| Counts { waiting, in_flight }))
    }

    /// Returns that counts are not known if a setting must change first, and warns of it once.
    fn leave_out<T>(&self, of: &str, error: PortError) -> Result<Option<T>, PortError> {
        if !matches!(error.kind, ErrorKind::Denied | ErrorKind::Invalid) {
            return Err(error);
        }
        if !self.depths.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(of, error = %error, "cannot count messages, metrics leave them out");
        }
        Ok(None)
    }
}
