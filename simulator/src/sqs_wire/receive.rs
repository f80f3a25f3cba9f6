//! `ReceiveMessage`.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::Shared;
use super::answer::{Answer, TWELVE_HOURS};
use super::json::{Fault, attributes_md5, number};
use super::queue::{Received, md5};
use crate::aws_wire::ReadFault;

pub(super) async fn receive(shared: &Shared, body: &Value, read_fault: &ReadFault) -> Answer {
    let name = shared.queue_name(body)?;
    let most = number(body, "MaxNumberOfMessages", 1..=10)?.unwrap_or(1);
    let most = usize::try_from(most).unwrap_or(1);
    let visibility = number(body, "VisibilityTimeout", 0..=TWELVE_HOURS)?;
    let wait = number(body, "WaitTimeSeconds", 0..=20)?;
    let wait = match wait {
        Some(seconds) => SignedDuration::from_secs(seconds),
        None => shared.queues().get(&name).map_or(SignedDuration::ZERO, |q| q.settings.wait),
    };
    let until = Timestamp::now() + wait;
    let _counted = shared.poll();
    loop {
        // Registered before reading, so that no change is missed.
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let now = Timestamp::now();
        let long = wait > SignedDuration::ZERO;
        let found = if read_fault.omit {
            Vec::new()
        } else {
            take(shared, &name, now, most, visibility, long)?
        };
        if !found.is_empty() || now >= until {
            let count = found.len();
            let messages: Vec<Value> = found.iter().map(|one| message(one, body)).collect();
            // AWS omits an empty list.
            let answer = if count == 0 { json!({}) } else { json!({"Messages": messages}) };
            return Ok((answer, count));
        }
        let next = shared.queues().get(&name).and_then(|queue| queue.next_visible(now));
        let pause = next.map_or(until, |at| at.min(until)).duration_since(now);
        let pause = pause.unsigned_abs().max(Duration::from_millis(1));
        // Both are a reason to read again.
        let _ = tokio::time::timeout(pause, changed).await;
    }
}

pub(super) fn take(
    shared: &Shared,
    name: &str,
    now: Timestamp,
    most: usize,
    visibility: Option<i64>,
    long: bool,
) -> Result<Vec<Received>, Fault> {
    let mut queues = shared.queues();
    let queue = queues.get_mut(name).ok_or_else(super::no_queue)?;
    queue.expire(now, shared.options.quick(queue.settings.retention));
    if queue.counts(now).1 >= queue.settings.most_in_flight {
        // A long poll finds nothing instead.
        let fault = Fault::new("OverLimit", "Too many messages in flight.");
        return if long { Ok(Vec::new()) } else { Err(fault) };
    }
    let visibility = visibility.map_or(queue.settings.visibility, SignedDuration::from_secs);
    let queue_faults = shared.queue_faults();
    let air = (&queue_faults, shared.options.seed);
    let (found, dead) = queue.receive(now, most, shared.options.quick(visibility), air);
    let target = queue.settings.dead_letters.as_ref().map(|(name, _)| name.clone());
    if let Some(target) = target.and_then(|name| queues.get_mut(&name)) {
        for message in dead {
            target.bury(now, message);
        }
    }
    Ok(found)
}

/// Returns whether a call's list contains a name or `All`.
fn asked<'a>(body: &'a Value, list: &str) -> impl Fn(&str) -> bool + use<'a> {
    let names = body[list].as_array().map_or(&[][..], Vec::as_slice);
    move |name| names.iter().any(|asked| asked == "All" || asked == name)
}

/// Returns a message with only the requested attributes.
fn message(received: &Received, body: &Value) -> Value {
    let Received { message, handle } = received;
    let first = message.first_received_at.unwrap_or(message.sent_at);
    let mut answer = json!({
        "MessageId": message.id,
        "ReceiptHandle": handle,
        "MD5OfBody": md5(message.body.as_bytes()),
        "Body": message.body,
    });
    let (old, new) = (asked(body, "AttributeNames"), asked(body, "MessageSystemAttributeNames"));
    let told: Map<String, Value> = [
        ("SenderId", "AIDASIMULATED".to_owned()),
        ("ApproximateReceiveCount", message.received.to_string()),
        ("SentTimestamp", message.sent_at.as_millisecond().to_string()),
        ("ApproximateFirstReceiveTimestamp", first.as_millisecond().to_string()),
    ]
    .into_iter()
    .filter(|(name, _)| old(name) || new(name))
    .map(|(name, value)| (name.to_owned(), value.into()))
    .collect();
    if !told.is_empty() {
        answer["Attributes"] = told.into();
    }
    let own = asked(body, "MessageAttributeNames");
    let named = message.attributes.as_object().into_iter().flatten();
    let named: Map<String, Value> =
        named.filter(|(name, _)| own(name)).map(|(n, v)| (n.clone(), v.clone())).collect();
    let named = Value::from(named);
    if let Some(digest) = attributes_md5(&named) {
        answer["MessageAttributes"] = named;
        answer["MD5OfMessageAttributes"] = digest.into();
    }
    answer
}
