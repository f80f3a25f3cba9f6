//! The operations.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::Shared;
use super::json::{Fault, allowed, attributes_md5, number, text};
use super::queue::{IN_FLIGHT, Queue, QueueSettings, Received, md5, read_handle};
use crate::aws_wire::Twist;

/// Most entries of a batch, and most messages of a receive.
const BATCH: usize = 10;
/// Most attributes of a message.
const ATTRIBUTES: usize = 10;
/// In seconds.
const TWELVE_HOURS: i64 = 43_200;
const FIFTEEN_MINUTES: i64 = 900;

type Answer = Result<(Value, usize), Fault>;

pub(super) async fn answer(shared: &Shared, op: &str, body: &Value, twist: &Twist) -> Answer {
    match op {
        "CreateQueue" => create(shared, body),
        "GetQueueUrl" => queue_url(shared, body),
        "SendMessage" => send(shared, body),
        "SendMessageBatch" => batch(
            shared,
            body,
            |body| {
                let total: usize = entries(body).iter().map(size).sum();
                let most = shared.options.most_batch_bytes;
                if total > most {
                    let message = format!("Batch requests cannot be longer than {most} bytes.");
                    return Err(Fault::new("BatchRequestTooLong", message));
                }
                Ok(())
            },
            send_one,
        ),
        "ReceiveMessage" => receive(shared, body, twist).await,
        "DeleteMessage" => delete(shared, body),
        "DeleteMessageBatch" => batch(
            shared,
            body,
            |_| Ok(()),
            |shared, name, entry| {
                delete_one(shared, name, entry).map(|()| json!({"Id": entry["Id"]}))
            },
        ),
        "ChangeMessageVisibility" => {
            let name = shared.queue_name(body)?;
            change_one(shared, &name, body).map(|()| (json!({}), 1))
        }
        "ChangeMessageVisibilityBatch" => batch(
            shared,
            body,
            |_| Ok(()),
            |shared, name, entry| {
                change_one(shared, name, entry).map(|()| json!({"Id": entry["Id"]}))
            },
        ),
        "GetQueueAttributes" => attributes(shared, body),
        other => {
            let other: String = other.chars().take(80).collect();
            Err(Fault::new("InvalidAction", format!("The action {other} is not valid.")))
        }
    }
}

fn create(shared: &Shared, body: &Value) -> Answer {
    let name = text(body, "QueueName")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 80 || !name.chars().all(plain) {
        return Err(Fault::value(
            "Can only include alphanumeric characters, hyphens, underscores.",
        ));
    }
    let asked = settings(&body["Attributes"])?;
    let mut queues = shared.queues();
    match queues.get(name) {
        Some(queue) if body["Attributes"].is_object() && !queue.settings.is_as(&asked) => {
            return Err(Fault::new("QueueNameExists", "A queue exists with other attributes."));
        }
        Some(_) => {}
        None => {
            queues.insert(name.to_owned(), Queue::new(asked));
        }
    }
    Ok((json!({"QueueUrl": shared.url_of(name)}), 1))
}

impl QueueSettings {
    fn is_as(&self, other: &Self) -> bool {
        let key = |s: &Self| {
            (s.visibility, s.delay, s.retention, s.wait, s.most_bytes, s.dead_letters.clone())
        };
        key(self) == key(other)
    }
}

fn settings(attributes: &Value) -> Result<QueueSettings, Fault> {
    let mut settings = QueueSettings::default();
    let Some(attributes) = attributes.as_object() else { return Ok(settings) };
    for (name, value) in attributes {
        let bad = || Fault::new("InvalidAttributeValue", format!("Invalid value for {name}."));
        let value = value.as_str().ok_or_else(bad)?;
        let seconds = |most: i64, least: i64| {
            let seconds: i64 = value.parse().map_err(|_| bad())?;
            let fits = (least..=most).contains(&seconds);
            fits.then_some(SignedDuration::from_secs(seconds)).ok_or_else(bad)
        };
        match name.as_str() {
            "VisibilityTimeout" => settings.visibility = seconds(TWELVE_HOURS, 0)?,
            "DelaySeconds" => settings.delay = seconds(FIFTEEN_MINUTES, 0)?,
            "MessageRetentionPeriod" => settings.retention = seconds(1_209_600, 60)?,
            "ReceiveMessageWaitTimeSeconds" => settings.wait = seconds(20, 0)?,
            "MaximumMessageSize" => {
                let bytes = value.parse().ok().filter(|b| (1024..=1 << 20).contains(b));
                settings.most_bytes = bytes.ok_or_else(bad)?;
            }
            "RedrivePolicy" => {
                let policy: Value = serde_json::from_str(value).map_err(|_| bad())?;
                let arn = policy["deadLetterTargetArn"].as_str().ok_or_else(bad)?;
                // Written as a number or as text.
                let times = &policy["maxReceiveCount"];
                let times = times.as_u64().or_else(|| times.as_str()?.parse().ok());
                let times = times.filter(|t| (1..=1000).contains(t)).ok_or_else(bad)?;
                let name = arn.rsplit(':').next().unwrap_or(arn);
                settings.dead_letters = Some((name.to_owned(), times));
            }
            "Policy" | "SqsManagedSseEnabled" | "KmsMasterKeyId" => {}
            _ => {
                return Err(Fault::new(
                    "InvalidAttributeName",
                    format!("Unknown attribute {name}."),
                ));
            }
        }
    }
    Ok(settings)
}

fn queue_url(shared: &Shared, body: &Value) -> Answer {
    let name = text(body, "QueueName")?;
    if !shared.queues().contains_key(name) {
        return Err(super::no_queue());
    }
    Ok((json!({"QueueUrl": shared.url_of(name)}), 1))
}

fn entries(body: &Value) -> &[Value] {
    body["Entries"].as_array().map_or(&[], Vec::as_slice)
}

/// Of a message: body and attributes.
fn size(message: &Value) -> usize {
    let attributes = message["MessageAttributes"].as_object();
    let of = |value: &Value, name: &str| value[name].as_str().map_or(0, str::len);
    let attributes = attributes.into_iter().flatten().map(|(name, value)| {
        name.len()
            + ["DataType", "StringValue", "BinaryValue"].iter().map(|n| of(value, n)).sum::<usize>()
    });
    of(message, "MessageBody") + attributes.sum::<usize>()
}

/// Ten entries at most, each by itself: what fails stands in `Failed` beside what does not.
fn batch(
    shared: &Shared,
    body: &Value,
    check: impl Fn(&Value) -> Result<(), Fault>,
    one: impl Fn(&Shared, &str, &Value) -> Result<Value, Fault>,
) -> Answer {
    let name = shared.queue_name(body)?;
    let entries = entries(body);
    if entries.is_empty() {
        return Err(Fault::new("EmptyBatchRequest", "There should be at least one entry."));
    }
    if entries.len() > BATCH {
        let message = format!("Maximum number of entries per request are {BATCH}.");
        return Err(Fault::new("TooManyEntriesInBatchRequest", message));
    }
    let mut ids = std::collections::BTreeSet::new();
    for entry in entries {
        let id = text(entry, "Id")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 80 || !id.chars().all(plain) {
            return Err(Fault::new("InvalidBatchEntryId", format!("{id} is no id of an entry.")));
        }
        if !ids.insert(id) {
            return Err(Fault::new("BatchEntryIdsNotDistinct", format!("Id {id} repeated.")));
        }
    }
    check(body)?;
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        let id = entry["Id"].as_str().unwrap_or_default();
        let outcome = if shared.fails_in_batch() {
            Err(Fault::new("InternalError", "simulated: this entry fails"))
        } else {
            one(shared, &name, entry)
        };
        match outcome {
            Ok(value) => done.push(value),
            Err(fault) => failed.push(fault.entry(id)),
        }
    }
    let count = entries.len();
    Ok((json!({"Successful": done, "Failed": failed}), count))
}

fn send(shared: &Shared, body: &Value) -> Answer {
    let name = shared.queue_name(body)?;
    let mut answer = send_one(shared, &name, body)?;
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("Id");
    }
    Ok((answer, 1))
}

fn send_one(shared: &Shared, name: &str, entry: &Value) -> Result<Value, Fault> {
    let body = text(entry, "MessageBody")?;
    let attributes = &entry["MessageAttributes"];
    if body.is_empty() {
        return Err(Fault::new("MissingParameter", "The message body must not be empty."));
    }
    if !allowed(body) {
        let message = "Invalid characters found. Valid unicode characters are those of XML.";
        return Err(Fault::new("InvalidMessageContents", message));
    }
    if attributes.as_object().is_some_and(|all| all.len() > ATTRIBUTES) {
        return Err(Fault::value(format!("more than {ATTRIBUTES} message attributes")));
    }
    let delay = number(entry, "DelaySeconds", 0..=FIFTEEN_MINUTES)?;
    let mut queues = shared.queues();
    let queue = queues.get_mut(name).ok_or_else(super::no_queue)?;
    let most = queue.settings.most_bytes;
    if size(entry) > most {
        let message = format!(
            "One or more parameters are invalid. Message must be shorter than {most} bytes."
        );
        return Err(Fault::value(message));
    }
    let delay = delay.map_or(queue.settings.delay, SignedDuration::from_secs);
    let id = shared.post(queue, body, attributes.clone(), shared.options.quick(delay));
    let mut answer = json!({
        "Id": entry["Id"], "MessageId": id, "MD5OfMessageBody": md5(body.as_bytes()),
    });
    if let Some(digest) = attributes_md5(attributes) {
        answer["MD5OfMessageAttributes"] = digest.into();
    }
    Ok(answer)
}

async fn receive(shared: &Shared, body: &Value, twist: &Twist) -> Answer {
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
        // Armed before looking, so that nothing comes in between unnoticed.
        let changed = shared.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let now = Timestamp::now();
        let long = wait > SignedDuration::ZERO;
        let found =
            if twist.omit { Vec::new() } else { take(shared, &name, now, most, visibility, long)? };
        if !found.is_empty() || now >= until {
            let count = found.len();
            let messages: Vec<Value> = found.iter().map(|one| message(one, body)).collect();
            // AWS leaves an empty list out.
            let answer = if count == 0 { json!({}) } else { json!({"Messages": messages}) };
            return Ok((answer, count));
        }
        let next = shared.queues().get(&name).and_then(|queue| queue.next_visible(now));
        let pause = next.map_or(until, |at| at.min(until)).duration_since(now);
        let pause = pause.unsigned_abs().max(Duration::from_millis(1));
        // Either is a reason to look.
        let _ = tokio::time::timeout(pause, changed).await;
    }
}

fn take(
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
    if queue.counts(now).1 >= IN_FLIGHT {
        // A long poll just finds nothing.
        let fault = Fault::new("OverLimit", "Too many messages in flight.");
        return if long { Ok(Vec::new()) } else { Err(fault) };
    }
    let visibility = visibility.map_or(queue.settings.visibility, SignedDuration::from_secs);
    let weather = shared.weather();
    let air = (&weather, shared.options.seed);
    let (found, dead) = queue.receive(now, most, shared.options.quick(visibility), air);
    let target = queue.settings.dead_letters.as_ref().map(|(name, _)| name.clone());
    if let Some(target) = target.and_then(|name| queues.get_mut(&name)) {
        for message in dead {
            target.bury(now, message);
        }
    }
    Ok(found)
}

/// The names of a list among which `All` stands for every one.
fn asked<'a>(body: &'a Value, list: &str) -> impl Fn(&str) -> bool + use<'a> {
    let names = body[list].as_array().map_or(&[][..], Vec::as_slice);
    move |name| names.iter().any(|asked| asked == "All" || asked == name)
}

/// With those attributes alone that the call asked for.
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

fn handle_of(entry: &Value) -> Result<(u64, u64), Fault> {
    let handle = text(entry, "ReceiptHandle")?;
    read_handle(handle).ok_or_else(|| {
        Fault::new(
            "ReceiptHandleIsInvalid",
            "The input receipt handle is not a valid receipt handle.",
        )
    })
}

fn delete(shared: &Shared, body: &Value) -> Answer {
    let name = shared.queue_name(body)?;
    delete_one(shared, &name, body).map(|()| (json!({}), 1))
}

fn delete_one(shared: &Shared, name: &str, entry: &Value) -> Result<(), Fault> {
    let handle = handle_of(entry)?;
    let weather = shared.weather();
    let mut queues = shared.queues();
    let queue = queues.get_mut(name).ok_or_else(super::no_queue)?;
    queue.delete(Timestamp::now(), handle, (&weather, shared.options.seed));
    shared.changed.notify_waiters();
    Ok(())
}

fn change_one(shared: &Shared, name: &str, entry: &Value) -> Result<(), Fault> {
    let handle = handle_of(entry)?;
    let hidden = number(entry, "VisibilityTimeout", 0..=TWELVE_HOURS)?;
    let hidden = hidden.ok_or_else(|| Fault::new("MissingParameter", "VisibilityTimeout"))?;
    let hidden = shared.options.quick(SignedDuration::from_secs(hidden));
    let mut queues = shared.queues();
    let queue = queues.get_mut(name).ok_or_else(super::no_queue)?;
    let hit = queue.hide(Timestamp::now(), handle, hidden);
    shared.changed.notify_waiters();
    let fault = || Fault::new("MessageNotInflight", "The message is not in flight.");
    hit.then_some(()).ok_or_else(fault)
}

fn attributes(shared: &Shared, body: &Value) -> Answer {
    let name = shared.queue_name(body)?;
    let mut queues = shared.queues();
    let queue = queues.get_mut(&name).ok_or_else(super::no_queue)?;
    let now = Timestamp::now();
    queue.expire(now, shared.options.quick(queue.settings.retention));
    let (visible, in_hands, held) = queue.counts(now);
    let settings = &queue.settings;
    let mut all = vec![
        ("ApproximateNumberOfMessages", visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", in_hands.to_string()),
        ("ApproximateNumberOfMessagesDelayed", held.to_string()),
        ("QueueArn", shared.arn_of(&name)),
        ("VisibilityTimeout", settings.visibility.as_secs().to_string()),
        ("DelaySeconds", settings.delay.as_secs().to_string()),
        ("MessageRetentionPeriod", settings.retention.as_secs().to_string()),
        ("ReceiveMessageWaitTimeSeconds", settings.wait.as_secs().to_string()),
        ("MaximumMessageSize", settings.most_bytes.to_string()),
    ];
    if let Some((target, times)) = &settings.dead_letters {
        let arn = shared.arn_of(target);
        let policy = json!({"deadLetterTargetArn": arn, "maxReceiveCount": times});
        all.push(("RedrivePolicy", policy.to_string()));
    }
    let wanted: Vec<&str> =
        body["AttributeNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let known = |name: &&&str| **name != "All" && !all.iter().any(|(n, _)| n == *name);
    let rare =
        ["RedrivePolicy", "Policy", "KmsMasterKeyId", "CreatedTimestamp", "LastModifiedTimestamp"];
    if let Some(odd) = wanted.iter().find(|name| known(name) && !rare.contains(name)) {
        return Err(Fault::new("InvalidAttributeName", format!("Unknown Attribute {odd}.")));
    }
    let asked = |name: &str| wanted.contains(&"All") || wanted.contains(&name);
    let told: Map<String, Value> = all
        .into_iter()
        .filter(|(name, _)| asked(name))
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect();
    let count = told.len();
    Ok((json!({"Attributes": told}), count))
}
