//! A standard queue: delivers at least once, in any order, and hides received messages.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use md5::{Digest, Md5};

use crate::aws_wire::{chance, draw, request_id};

/// Fault probabilities of messages, from 0 to 1. The default has no faults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueFaults {
    /// A message is accepted but never delivered.
    pub lost: f64,
    /// A message is delivered five times.
    pub doubled: f64,
    /// A message is delivered up to 15 minutes late.
    pub late: f64,
    /// A deleted message is delivered once more.
    pub undeleted: f64,
    /// Messages are delivered in random order instead of oldest first.
    pub shuffled: bool,
}

/// Settings of a queue. Durations are those of the real service.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    /// Default visibility timeout.
    pub visibility: SignedDuration,
    /// Default delay of a sent message.
    pub delay: SignedDuration,
    /// Message retention period.
    pub retention: SignedDuration,
    /// Default wait time of a receive.
    pub wait: SignedDuration,
    /// Maximum size of a message in bytes.
    pub most_bytes: usize,
    /// Maximum number of messages in flight.
    pub most_in_flight: usize,
    /// Dead-letter queue: its name and the maximum receive count.
    pub dead_letters: Option<(String, u64)>,
    /// Access policy in JSON; empty: none. Stored and shown, not enforced.
    pub policy: String,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            visibility: SignedDuration::from_secs(30),
            delay: SignedDuration::ZERO,
            retention: SignedDuration::from_hours(4 * 24),
            wait: SignedDuration::ZERO,
            most_bytes: 1 << 20,
            most_in_flight: 120_000,
            dead_letters: None,
            policy: String::new(),
        }
    }
}

/// A message in a queue.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) attributes: serde_json::Value,
    pub(super) sent_at: Timestamp,
    pub(super) visible_at: Timestamp,
    pub(super) received: u64,
    pub(super) first_received_at: Option<Timestamp>,
    /// Number of the latest receipt.
    receipt: u64,
}

/// A queue.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub(super) settings: QueueSettings,
    messages: BTreeMap<u64, Message>,
    next: u64,
    receipts: u64,
    deletions: u64,
}

/// A received message.
#[derive(Clone, Debug)]
pub(super) struct Received {
    pub(super) message: Message,
    pub(super) handle: String,
}

/// Returns the message and receipt of a receipt handle.
pub(super) fn read_handle(handle: &str) -> Option<(u64, u64)> {
    let mut parts = handle.strip_prefix("rh-")?.split('-');
    let (message, receipt) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    parts.next().is_none().then_some((message, receipt))
}

/// Returns the MD5 in hexadecimal, with which SQS confirms what it received.
pub(super) fn md5(text: &[u8]) -> String {
    hex::encode(Md5::digest(text))
}

impl Queue {
    pub(super) fn new(settings: QueueSettings) -> Self {
        Self { settings, messages: BTreeMap::new(), next: 0, receipts: 0, deletions: 0 }
    }

    /// Accepts a message and returns its ID. `late` is the longest delay of a late message.
    pub(super) fn send(
        &mut self,
        now: Timestamp,
        body: &str,
        attributes: serde_json::Value,
        delay: SignedDuration,
        air: (&QueueFaults, u64, SignedDuration),
    ) -> String {
        let (queue_faults, seed, late) = air;
        let number = self.next + 1;
        let id = request_id(format!("{seed} message {number}").as_bytes());
        let copies = match () {
            () if chance(seed, "sqs/lost", number, queue_faults.lost) => 0,
            () if chance(seed, "sqs/doubled", number, queue_faults.doubled) => 5,
            () => 1,
        };
        let mut visible_at = now + delay;
        if chance(seed, "sqs/late", number, queue_faults.late) {
            let most = u64::try_from(late.as_millis()).unwrap_or_default();
            let wait = draw(seed, "sqs/late/by", number) % (most + 1);
            visible_at += SignedDuration::from_millis(i64::try_from(wait).unwrap_or_default());
        }
        self.next = number;
        for _ in 0..copies {
            let message = Message {
                id: id.clone(),
                body: body.to_owned(),
                attributes: attributes.clone(),
                sent_at: now,
                visible_at,
                received: 0,
                first_received_at: None,
                receipt: 0,
            };
            self.messages.insert(self.next, message);
            self.next += 1;
        }
        id
    }

    /// Drops messages older than the retention period.
    pub(super) fn expire(&mut self, now: Timestamp, retention: SignedDuration) {
        self.messages.retain(|_, message| now.duration_since(message.sent_at) < retention);
    }

    /// Returns the number of visible, in-flight and delayed messages.
    pub(super) fn counts(&self, now: Timestamp) -> (usize, usize, usize) {
        let hidden = |m: &&Message| m.visible_at > now;
        let visible = self.messages.values().filter(|m| m.visible_at <= now).count();
        let in_hands = self.messages.values().filter(hidden).filter(|m| m.received > 0).count();
        (visible, in_hands, self.messages.len() - visible - in_hands)
    }

    /// Returns when the next message becomes visible.
    pub(super) fn next_visible(&self, now: Timestamp) -> Option<Timestamp> {
        self.messages.values().map(|m| m.visible_at).filter(|at| *at > now).min()
    }

    /// Receives messages and removes those for the dead-letter queue.
    pub(super) fn receive(
        &mut self,
        now: Timestamp,
        most: usize,
        visibility: SignedDuration,
        air: (&QueueFaults, u64),
    ) -> (Vec<Received>, Vec<Message>) {
        let (queue_faults, seed) = air;
        let mut due: Vec<u64> = self
            .messages
            .iter()
            .filter(|(_, message)| message.visible_at <= now)
            .map(|(number, _)| *number)
            .collect();
        if queue_faults.shuffled {
            due.sort_by_key(|number| draw(seed, "sqs/order", number ^ (self.receipts << 20)));
        }
        let (mut received, mut dead) = (Vec::new(), Vec::new());
        for number in due {
            if received.len() == most {
                break;
            }
            let Some(message) = self.messages.get_mut(&number) else { continue };
            let dies = self.settings.dead_letters.as_ref();
            if dies.is_some_and(|(_, times)| message.received >= *times) {
                dead.extend(self.messages.remove(&number));
                continue;
            }
            self.receipts += 1;
            message.received += 1;
            message.receipt = self.receipts;
            message.first_received_at.get_or_insert(now);
            message.visible_at = now + visibility;
            let handle = format!("rh-{number}-{}", self.receipts);
            received.push(Received { message: message.clone(), handle });
        }
        (received, dead)
    }

    /// Accepts a message from another queue as a dead letter.
    pub(super) fn bury(&mut self, now: Timestamp, mut message: Message) {
        self.next += 1;
        message.visible_at = now;
        self.messages.insert(self.next, message);
    }

    /// Deletes the message of a handle; an outdated or unknown handle deletes nothing.
    pub(super) fn delete(&mut self, now: Timestamp, handle: (u64, u64), air: (&QueueFaults, u64)) {
        let (number, receipt) = handle;
        let current = self.messages.get(&number).is_some_and(|m| m.receipt == receipt);
        if !current {
            return;
        }
        self.deletions += 1;
        let (queue_faults, seed) = air;
        if chance(seed, "sqs/undeleted", self.deletions, queue_faults.undeleted) {
            if let Some(message) = self.messages.get_mut(&number) {
                message.visible_at = now;
            }
        } else {
            self.messages.remove(&number);
        }
    }

    /// Hides a message from now on. Returns `false` if it is not in flight.
    pub(super) fn hide(
        &mut self,
        now: Timestamp,
        handle: (u64, u64),
        hidden: SignedDuration,
    ) -> bool {
        let (number, receipt) = handle;
        let message = self.messages.get_mut(&number);
        let message = message.filter(|m| m.receipt == receipt && m.visible_at > now);
        message.map(|m| m.visible_at = now + hidden).is_some()
    }

    /// Returns the bodies of all messages, oldest first.
    pub(super) fn bodies(&self) -> Vec<String> {
        self.messages.values().map(|m| m.body.clone()).collect()
    }
}
