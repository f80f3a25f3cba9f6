//! Creation and description of queues.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::Shared;
use super::answer::{Answer, FIFTEEN_MINUTES, TWELVE_HOURS};
use super::json::{Fault, text};
use super::queue::{Queue, QueueSettings};

pub(super) fn create(shared: &Shared, body: &Value) -> Answer {
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
            if let Some((target, _)) = &asked.dead_letters
                && !queues.contains_key(target)
            {
                let policy = &body["Attributes"]["RedrivePolicy"];
                return Err(Fault::value(format!(
                    "Value {policy} for parameter RedrivePolicy is invalid. Reason: Dead letter \
                     target does not exist."
                )));
            }
            queues.insert(name.to_owned(), Queue::new(asked));
        }
    }
    Ok((json!({"QueueUrl": shared.url_of(name)}), 1))
}

impl QueueSettings {
    fn is_as(&self, other: &Self) -> bool {
        let key = |s: &Self| {
            let (dead_letters, policy) = (s.dead_letters.clone(), s.policy.clone());
            (s.visibility, s.delay, s.retention, s.wait, s.most_bytes, dead_letters, policy)
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
                // Clients send a number or text.
                let times = &policy["maxReceiveCount"];
                let times = times.as_u64().or_else(|| times.as_str()?.parse().ok());
                let times = times.filter(|t| (1..=1000).contains(t)).ok_or_else(bad)?;
                let name = arn.rsplit(':').next().unwrap_or(arn);
                settings.dead_letters = Some((name.to_owned(), times));
            }
            "Policy" => {
                let is_policy = |text: &str| {
                    let policy: Option<Value> = serde_json::from_str(text).ok();
                    policy.is_some_and(|policy| policy["Statement"].is_array())
                };
                if !value.is_empty() && !is_policy(value) {
                    return Err(bad());
                }
                value.clone_into(&mut settings.policy);
            }
            "SqsManagedSseEnabled" | "KmsMasterKeyId" => {}
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

pub(super) fn attributes(shared: &Shared, body: &Value) -> Answer {
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
    if !settings.policy.is_empty() {
        all.push(("Policy", settings.policy.clone()));
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
