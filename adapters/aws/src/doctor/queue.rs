//! Checks the queue: it exists, has a dead-letter queue, and accepts EC2's events.

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::QueueAttributeName as Name;
use tinqs_ci_reconciler::ports::PortError;

use super::failed;
use crate::client;
use crate::errors::{self, sqs as codes};
use crate::queue::{QueueArn, dead_letter_arn, region_of};
use tinqs_ci_reconciler::ports::check::Check;
use tinqs_ci_reconciler::text::cut;

const QUEUE: &str = "queue";
const DEAD: &str = "queue: dead letters";
const EVENTS: &str = "queue: events";
/// The maximum duration of a reconcile, in seconds.
const RECONCILE_TIME: u64 = 60;

pub(super) async fn checks(config: &SdkConfig, url: &str, machines_in: Option<&str>) -> Vec<Check> {
    let client = client::sqs(config);
    let attributes = match attributes(&client, url).await {
        Ok(attributes) => attributes,
        Err(error) => {
            let what = format!("cannot use sqs:{}", cut(url, 200));
            let mut check = failed(QUEUE, &what, "sqs:GetQueueAttributes on it", &error);
            if error.message.contains("NonExistentQueue") || error.message.contains("QueueDoesNot")
            {
                check.fix = Some(format!(
                    "create it with its dead-letter queue by `tinqs-ci init --aws`, or fix `queue`: {}",
                    "sqs:https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
                ));
            }
            return vec![check];
        }
    };
    let mut checks = vec![queue_check(url, machines_in, &attributes)];
    checks.push(match dead_letter_arn(text(&attributes, &Name::RedrivePolicy)) {
        None => without_dead_letters(url),
        Some(arn) => dead_letters_check(&arn, dead_letters(&client, &arn).await),
    });
    checks.push(events_check(text(&attributes, &Name::Policy)));
    checks
}

type Attributes = HashMap<Name, String>;

fn text<'a>(attributes: &'a Attributes, name: &Name) -> &'a str {
    attributes.get(name).map(String::as_str).unwrap_or_default()
}

fn number(attributes: &Attributes, name: &Name) -> u64 {
    text(attributes, name).parse().unwrap_or_default()
}

async fn attributes(client: &Client, url: &str) -> Result<Attributes, PortError> {
    let asked = client.get_queue_attributes().queue_url(url).attribute_names(Name::All);
    let answer = asked.send().await;
    let answer = answer.map_err(|e| errors::port_error("queue", "doctor", &e, codes::TABLE))?;
    Ok(answer.attributes.unwrap_or_default())
}

fn queue_check(url: &str, machines_in: Option<&str>, attributes: &Attributes) -> Check {
    let waiting = number(attributes, &Name::ApproximateNumberOfMessages);
    let hidden = number(attributes, &Name::VisibilityTimeout);
    let kept = number(attributes, &Name::MessageRetentionPeriod);
    let message = format!(
        "sqs:{}: {waiting} messages, visibility timeout {hidden} s, retention {} h",
        cut(url, 200),
        kept / 3_600
    );
    if let (Some(here), Some(there)) = (region_of(url), machines_in)
        && here != there
    {
        return Check::warn(
            QUEUE,
            format!("{message}; the queue is in {here}, the machines in {there}"),
            "create the queue in the machines' region: EC2's events come from there",
        );
    }
    if hidden < RECONCILE_TIME {
        return Check::warn(
            QUEUE,
            format!("{message}: a Lambda function would receive a name again mid-reconcile"),
            format!(
                "aws sqs set-queue-attributes --queue-url {} --attributes VisibilityTimeout=180 \
                 (serve asks for 120 s itself)",
                cut(url, 200)
            ),
        );
    }
    if kept < 3_600 {
        let fix = "set MessageRetentionPeriod to one day: a wake should outlive an outage";
        return Check::warn(QUEUE, message, fix);
    }
    Check::ok(QUEUE, message)
}

fn without_dead_letters(url: &str) -> Check {
    Check::warn(
        DEAD,
        "there is no dead-letter queue: unreadable messages are dropped",
        format!(
            "create one (`tinqs-ci init --aws` does so with a new queue), then `aws sqs \
             set-queue-attributes --queue-url {} --attributes file://redrive.json` with its ARN",
            cut(url, 200)
        ),
    )
}

/// Returns how many messages are in the dead-letter queue.
async fn dead_letters(client: &Client, arn: &QueueArn) -> Result<u64, PortError> {
    let told = |e| errors::port_error("queue", "doctor", &e, codes::TABLE);
    let asked = client.get_queue_url().queue_name(&arn.name);
    let found = asked.queue_owner_aws_account_id(&arn.account).send().await.map_err(told)?;
    let url = found.queue_url().unwrap_or_default();
    let attributes = attributes(client, url).await?;
    Ok(number(&attributes, &Name::ApproximateNumberOfMessages))
}

fn dead_letters_check(arn: &QueueArn, count: Result<u64, PortError>) -> Check {
    let name = cut(&arn.name, 80);
    match count {
        Ok(0) => Check::ok(DEAD, format!("{name} exists and is empty")),
        Ok(count) => Check::warn(
            DEAD,
            format!("{name} holds {count} messages that are neither a name nor an event"),
            "follow docs/runbooks/dead-letters.md",
        ),
        Err(error) => Check::warn(
            DEAD,
            format!("cannot use {name}: {}", error.message),
            "check that it exists, and allow this process sqs:GetQueueUrl, GetQueueAttributes and \
             SendMessage on it",
        ),
    }
}

/// EC2's events are optional.
fn events_check(policy: &str) -> Check {
    if policy.contains("events.amazonaws.com") {
        return Check::ok(EVENTS, "EventBridge may send EC2's events here");
    }
    Check::ok(
        EVENTS,
        "EventBridge may not send here: the next sweep sees the end of a machine, not within a \
         second (docs/aws/queue-and-function.md)",
    )
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::ports::ErrorKind;

    use super::*;
    use tinqs_ci_reconciler::ports::check::Outcome;

    const URL: &str = "https://sqs.eu-central-1.amazonaws.com/111122223333/wakes";

    fn of(hidden: u64, kept: u64) -> Attributes {
        HashMap::from([
            (Name::VisibilityTimeout, hidden.to_string()),
            (Name::MessageRetentionPeriod, kept.to_string()),
        ])
    }

    #[test]
    fn timeouts_and_regions_decide_the_outcome() {
        let outcome =
            |region, attributes: &Attributes| queue_check(URL, region, attributes).outcome;
        let here = Some("eu-central-1");
        assert_eq!(outcome(here, &of(180, 86_400)), Outcome::Ok);
        assert_eq!(outcome(None, &of(180, 86_400)), Outcome::Ok);
        assert_eq!(outcome(here, &of(30, 86_400)), Outcome::Warn);
        assert_eq!(outcome(here, &of(180, 60)), Outcome::Warn);
        let elsewhere = queue_check(URL, Some("us-east-1"), &of(180, 86_400));
        assert_eq!(elsewhere.outcome, Outcome::Warn);
        assert!(elsewhere.message.contains("machines in us-east-1"), "{}", elsewhere.message);
    }

    #[test]
    fn dead_letters_are_a_warning() {
        let arn = QueueArn { account: "111122223333".to_owned(), name: "wakes-dead".to_owned() };
        let outcome = |count| dead_letters_check(&arn, count).outcome;
        assert_eq!(outcome(Ok(0)), Outcome::Ok);
        assert_eq!(outcome(Ok(3)), Outcome::Warn);
        let denied = PortError::new("queue", "doctor", ErrorKind::Denied, "no");
        assert_eq!(outcome(Err(denied)), Outcome::Warn);
        assert!(without_dead_letters(URL).fix.is_some_and(|fix| fix.contains(URL)));
    }

    #[test]
    fn the_policy_decides_whether_events_may_come() {
        let open = r#"{"Statement":[{"Principal":{"Service":"events.amazonaws.com"}}]}"#;
        assert!(events_check(open).message.contains("may send"));
        assert!(events_check("").message.contains("may not send"));
    }
}
