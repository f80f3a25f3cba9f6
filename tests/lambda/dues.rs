//! Runs that are due between invocations: SQS delays their messages, and the test is the event
//! source mapping that takes them to the function. The schedule never comes.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tinqs_ci_reconciler::model::Conclusion;
use tinqs_ci_simulator::forge::Status;

use super::{Function, QUEUE, Setup};

/// Machines that end without a job. The attempt after the second one waits up to 15 s.
const FAILING: usize = 2;

/// Invokes the function with the messages that are visible now; those that it could not handle
/// come again. Returns their bodies.
async fn deliver(function: &Function) -> Vec<String> {
    let messages = function.sqs.take(QUEUE, 10);
    if messages.is_empty() {
        return Vec::new();
    }
    let record = |(id, body): &(String, String)| {
        let handle = "r";
        json!({"messageId": id, "receiptHandle": handle, "body": body, "eventSource": "aws:sqs"})
    };
    let records: Vec<Value> = messages.iter().map(record).collect();
    let answer = function.runtime.invoke(json!({"Records": records})).await.expect("an answer");
    let failed = answer["batchItemFailures"].as_array().expect("failures").clone();
    for failed in failed {
        let again = messages.iter().find(|(id, _)| failed["itemIdentifier"] == id.as_str());
        function.sqs.post(QUEUE, &again.expect("a message of the batch").1, Duration::ZERO);
    }
    messages.into_iter().map(|(_, body)| body).collect()
}

/// Returns how many runners have started.
fn starts(function: &Function) -> usize {
    let starts = fs::read_to_string(function.dir.path().join("starts")).unwrap_or_default();
    starts.lines().count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backoff_ends_by_a_delayed_message_without_the_schedule() {
    let setup = Setup { hook: true, sqs: true, failing: FAILING, ..Setup::default() };
    let function = Function::with(setup).await;
    let job = function.push();
    let run = format!("job-{job}");
    let (mut told, mut taken) = (0, 0);
    let success = Status::Done(Conclusion::Success);
    function
        .until("the job succeeds", async |f| {
            taken += deliver(f).await.iter().filter(|body| **body == run).count();
            let started = starts(f);
            if started > told && started <= FAILING {
                // The event of EC2 about the end of the machine.
                tokio::time::sleep(Duration::from_millis(500)).await;
                f.sqs.post(QUEUE, &run, Duration::ZERO);
                told = started;
            }
            f.wire.forge().job(job).expect("there").status == success
        })
        .await;
    assert_eq!((starts(&function), function.machines().len()), (3, 3));
    // Those of webhooks, of the two events, of the backoff, and of dues that another one preceded.
    assert!((4..=20).contains(&taken), "{taken} messages");
    let left = function.sqs.bodies(QUEUE);
    assert!(left.len() <= 3 && left.iter().all(|body| *body == run), "{left:?}");
}

/// SQS may deliver a message more than once: each time it causes a reconcile, and once a successor.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_often_has_one_successor() {
    let function = Function::with(Setup { sqs: true, ..Setup::default() }).await;
    let job = function.push();
    let run = format!("job-{job}");
    // The only tick: there are no webhooks.
    assert_eq!(function.cleanup().await["errors"], 0);
    function
        .until("the machine is launched", async |f| {
            deliver(f).await;
            !f.machines().is_empty()
        })
        .await;
    assert!(!function.sqs.bodies(QUEUE).is_empty(), "a message for its due");
    for _ in 0..20 {
        function.sqs.post(QUEUE, &run, Duration::ZERO);
    }
    function.until("all are handled", async |f| deliver(f).await.is_empty()).await;
    let left = function.sqs.bodies(QUEUE);
    assert!(left.len() <= 3 && left.iter().all(|body| *body == run), "{left:?}");
}
