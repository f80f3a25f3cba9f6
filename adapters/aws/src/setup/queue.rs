//! Creates the queue and its dead-letter queue.

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Name;
use serde_json::json;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::report::{DOCTOR, RIGHTS, SetupError, SetupReport};
use crate::client;
use crate::errors::{self, sqs as codes};
use crate::queue::region_of;

use tinqs_ci_reconciler::text::cut;

/// Visibility timeout in seconds: six times the timeout of a Lambda function, as AWS recommends;
/// `serve` sets its own.
const HIDDEN: u64 = 180;
/// Retention in seconds: a wake outlives an outage of a day; older ones add nothing to the table.
const KEPT: u64 = 86_400;
/// Retention of dead letters in seconds: the longest that SQS allows, for an operator to see them.
const DEAD_KEPT: u64 = 1_209_600;
/// Wait time of a receive in seconds, if the call sets none.
const WAIT: u64 = 20;
/// The number of times that a message is received before it becomes a dead letter.
const TIMES: u64 = 5;
/// Suffix of a dead-letter queue's name.
const DEAD: &str = "-dead";

/// The queue to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    name: String,
    /// Its URL in the configuration.
    configured: Option<String>,
}

fn name_of(url: &str) -> &str {
    url.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// Account and name: hosts differ between endpoints.
fn path_of(url: &str) -> Option<(&str, &str)> {
    let mut parts = url.trim_end_matches('/').rsplit('/');
    let (name, account) = (parts.next()?, parts.next()?);
    Some((account, name))
}

impl Named {
    /// The requested queue, else the configured one.
    pub(super) fn of(
        wished: Option<&str>,
        configured: Option<&str>,
    ) -> Result<Option<Self>, SetupError> {
        let name = match (wished, configured) {
            (None, None) => return Ok(None),
            (Some(wished), Some(url)) if wished != name_of(url) => {
                let (wished, is) = (cut(wished, 80), cut(name_of(url), 80));
                let message =
                    format!("--queue-name {wished} differs from the configured queue {is}");
                return Err(SetupError::usage(message).hint("remove one of them"));
            }
            (Some(name), _) => name,
            (None, Some(url)) => name_of(url),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let fits = (1..=80 - DEAD.len()).contains(&name.len()) && name.chars().all(plain);
        if !fits {
            let message = format!("\"{}\" is not a valid queue name", cut(name, 100));
            return Err(SetupError::usage(message)
                .hint("expected at most 75 letters, digits, `-` or `_`; not a FIFO queue"));
        }
        Ok(Some(Self { name: name.to_owned(), configured: configured.map(str::to_owned) }))
    }

    pub(super) fn region(&self) -> Option<&str> {
        self.configured.as_deref().and_then(region_of)
    }
}

fn failure(what: &str, error: &PortError) -> SetupError {
    let hint = if error.kind == ErrorKind::Denied { RIGHTS } else { DOCTOR };
    SetupError::failed(format!("{what}: {}", error.message)).hint(hint)
}

/// Creates the queue unless it exists.
pub(super) async fn make(
    config: &SdkConfig,
    queue: &Named,
    dry_run: bool,
    report: &mut SetupReport,
) -> Result<(), SetupError> {
    let client = client::sqs(config);
    let name = &queue.name;
    let dead = format!("{name}{DEAD}");
    let lookup_failed =
        |name: &str, error: &PortError| failure(&format!("cannot look up queue {name}"), error);
    let there = url_of(&client, name).await.map_err(|error| lookup_failed(name, &error))?;
    let url = if let Some(url) = there {
        report.say(&format!("✓ queue {name} exists\n"));
        url
    } else {
        let dead_there =
            url_of(&client, &dead).await.map_err(|error| lookup_failed(&dead, &error))?;
        if dry_run {
            let and = if dead_there.is_none() { format!(" and {dead}") } else { String::new() };
            report.say(&format!("would create queue {name}{and}\n"));
            return Ok(());
        }
        let dead_url = if let Some(url) = dead_there {
            report.say(&format!("✓ queue {dead} exists\n"));
            url
        } else {
            let kept = [(Name::MessageRetentionPeriod, DEAD_KEPT.to_string())];
            let url = create(&client, &dead, &kept).await?;
            report.say(&format!("✓ queue {dead} created, for unreadable messages\n"));
            url
        };
        let arn = arn_of(&client, &dead_url).await.map_err(|error| lookup_failed(&dead, &error))?;
        let url = create(&client, name, &attributes(&arn)).await?;
        report.say(&format!("✓ queue {name} created\n"));
        url
    };
    match &queue.configured {
        None => {
            report.say(&format!("Add this to the configuration:\n  queue = \"sqs:{url}\"\n"));
            Ok(())
        }
        Some(configured) if path_of(configured) == path_of(&url) => Ok(()),
        Some(configured) => Err(SetupError::failed(format!(
            "the queue is {}, but the configuration names {}",
            cut(&url, 200),
            cut(configured, 200)
        ))
        .hint("set `queue` to the first, or use credentials of the other account")),
    }
}

/// Returns its URL; `None` if this account and region have no queue of that name.
async fn url_of(client: &Client, name: &str) -> Result<Option<String>, PortError> {
    match client.get_queue_url().queue_name(name).send().await {
        Ok(answer) => Ok(answer.queue_url),
        Err(error) if errors::code(&error).is_some_and(codes::is_unknown_queue) => Ok(None),
        Err(error) => Err(errors::port_error("queue", "init", &error, codes::TABLE)),
    }
}

async fn arn_of(client: &Client, url: &str) -> Result<String, PortError> {
    let asked = client.get_queue_attributes().queue_url(url).attribute_names(Name::QueueArn);
    let answer = asked.send().await;
    let answer = answer.map_err(|e| errors::port_error("queue", "init", &e, codes::TABLE))?;
    let arn = answer.attributes().and_then(|all| all.get(&Name::QueueArn));
    Ok(arn.cloned().unwrap_or_default())
}

async fn create(
    client: &Client,
    name: &str,
    attributes: &[(Name, String)],
) -> Result<String, SetupError> {
    let asked = client.create_queue().queue_name(name);
    let all = attributes.iter().cloned().collect();
    let answer = asked.set_attributes(Some(all)).send().await.map_err(|e| {
        let error = errors::port_error("queue", "init", &e, codes::TABLE);
        failure(&format!("cannot create queue {name}"), &error)
    })?;
    Ok(answer.queue_url.unwrap_or_default())
}

/// Attributes of a queue with this dead-letter queue; rules of `EventBridge` of the same account
/// and region may send to it.
fn attributes(dead: &str) -> Vec<(Name, String)> {
    let redrive = json!({"deadLetterTargetArn": dead, "maxReceiveCount": TIMES});
    let mut all = vec![
        (Name::VisibilityTimeout, HIDDEN.to_string()),
        (Name::MessageRetentionPeriod, KEPT.to_string()),
        (Name::ReceiveMessageWaitTimeSeconds, WAIT.to_string()),
        (Name::RedrivePolicy, redrive.to_string()),
    ];
    // arn:PARTITION:sqs:REGION:ACCOUNT:NAME
    let parts: Vec<&str> = dead.split(':').collect();
    if let [_, partition, "sqs", region, account, name] = parts[..] {
        let name = name.strip_suffix(DEAD).unwrap_or(name);
        let policy = json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Sid": "EventsOfThisAccount",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": format!("arn:{partition}:sqs:{region}:{account}:{name}"),
                "Condition": {
                    "ArnLike": {
                        "aws:SourceArn": format!("arn:{partition}:events:{region}:{account}:rule/*"),
                    },
                },
            }],
        });
        all.push((Name::Policy, policy.to_string()));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://sqs.eu-central-1.amazonaws.com/111122223333/wakes";

    #[test]
    fn the_queue_is_the_requested_or_the_configured_one() {
        let name = |wished, configured| {
            Named::of(wished, configured).map(|named| named.map(|named| named.name)).ok()
        };
        assert_eq!(name(None, None), Some(None));
        assert_eq!(name(Some("wakes"), None), Some(Some("wakes".to_owned())));
        assert_eq!(name(None, Some(URL)), Some(Some("wakes".to_owned())));
        assert_eq!(name(Some("wakes"), Some(URL)), Some(Some("wakes".to_owned())));
        let long = "x".repeat(76);
        for wrong in ["", "a b", "wakes.fifo", &long] {
            assert_eq!(name(Some(wrong), None), None, "{wrong}");
        }
        assert_eq!(name(Some("other"), Some(URL)), None, "two at once");
        let named = Named::of(None, Some(URL)).ok().flatten().expect("named");
        assert_eq!(named.region(), Some("eu-central-1"));
    }

    #[test]
    fn only_rules_of_the_same_account_may_send() {
        let all = attributes("arn:aws:sqs:eu-central-1:111122223333:wakes-dead");
        let text = |name: &Name| all.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        let policy: serde_json::Value =
            serde_json::from_str(text(&Name::Policy).expect("a policy")).expect("JSON");
        let statement = &policy["Statement"][0];
        assert_eq!(statement["Resource"], "arn:aws:sqs:eu-central-1:111122223333:wakes");
        assert_eq!(
            statement["Condition"]["ArnLike"]["aws:SourceArn"],
            "arn:aws:events:eu-central-1:111122223333:rule/*"
        );
        assert!(text(&Name::RedrivePolicy).is_some_and(|redrive| redrive.contains("wakes-dead")));
        assert_eq!(attributes("nonsense").len(), 4, "nobody else may send");
    }
}
