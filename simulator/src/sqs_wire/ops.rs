//! The operations.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Shared;
use super::answer::{Answer, FIFTEEN_MINUTES, TWELVE_HOURS};
use super::json::{Fault, allowed, attributes_md5, number, text};
use super::queue::{md5, read_handle};
use super::receive::receive;
use super::settings::{attributes, create};
use crate::aws_wire::ReadFault;

/// Maximum entries of a batch and messages of a receive.
const BATCH: usize = 10;
/// Maximum attributes of a message.
const ATTRIBUTES: usize = 10;

pub(super) async fn answer(
    shared: &Shared,
    op: &str,
    body: &Value,
    read_fault: &ReadFault,
) -> Answer {
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
        "ReceiveMessage" => receive(shared, body, read_fault).await,
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
        "DeleteQueue" => {
            let name = shared.queue_name(body)?;
            shared.remove(&name);
            Ok((json!({}), 1))
        }
        other => {
            let other: String = other.chars().take(80).collect();
            Err(Fault::new("InvalidAction", format!("The action {other} is not valid.")))
        }
    }
}

fn queue_url(shared: &Shared, body: &Value) -> Answer {
    let name = text(body, "QueueName")?;
    let owner = body["QueueOwnerAWSAccountId"].as_str();
    let elsewhere = owner.is_some_and(|owner| owner != shared.options.account);
    if elsewhere || !shared.queues().contains_key(name) {
        return Err(super::no_queue());
    }
    Ok((json!({"QueueUrl": shared.url_of(name)}), 1))
}

fn entries(body: &Value) -> &[Value] {
    body["Entries"].as_array().map_or(&[], Vec::as_slice)
}

/// Returns the size of a message: body and attributes.
fn size(message: &Value) -> usize {
    let attributes = message["MessageAttributes"].as_object();
    let of = |value: &Value, name: &str| value[name].as_str().map_or(0, str::len);
    let attributes = attributes.into_iter().flatten().map(|(name, value)| {
        name.len()
            + ["DataType", "StringValue", "BinaryValue"].iter().map(|n| of(value, n)).sum::<usize>()
    });
    of(message, "MessageBody") + attributes.sum::<usize>()
}

/// Processes up to ten entries independently; failed ones are listed in `Failed`.
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
    let queue_faults = shared.queue_faults();
    let mut queues = shared.queues();
    let queue = queues.get_mut(name).ok_or_else(super::no_queue)?;
    queue.delete(Timestamp::now(), handle, (&queue_faults, shared.options.seed));
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
