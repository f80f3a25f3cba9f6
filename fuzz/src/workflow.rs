//! Workflow files: from bytes to nodes, events and jobs, in each dialect.

use std::collections::BTreeMap;

use tinqs_ci_workflow::jobs::{Context, Initial, MOST_JOBS, jobs, runners_needed_at_once};
use tinqs_ci_workflow::{Dialect, on, yaml};

const ALL: [Dialect; 3] = [Dialect::V1_25, Dialect::V1_26, Dialect::V1_27];

/// Checks that any bytes are a document or an error, and any document has events and jobs or an
/// error: the same each time, within the documented limits.
///
/// # Panics
/// Panics if that does not hold.
pub(crate) fn check(data: &[u8]) {
    let node = match yaml::parse(data) {
        Ok(node) => node,
        Err(error) => {
            told(&error.to_string());
            assert_eq!(yaml::parse(data).expect_err("the same again"), error);
            return;
        }
    };
    assert_eq!(yaml::parse(data).as_ref(), Ok(&node));
    let context = context();
    for dialect in ALL {
        match on::parse(&node, dialect) {
            Ok(entries) => assert!(entries.iter().all(|entry| entry.line >= 1)),
            Err(invalid) => told(&invalid.to_string()),
        }
        let planned = jobs(&node, &context, dialect);
        assert_eq!(jobs(&node, &context, dialect), planned, "the same again");
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) => {
                told(&error.to_string());
                continue;
            }
        };
        assert!(planned.len() <= MOST_JOBS, "{} jobs", planned.len());
        let waiting = planned.iter().filter(|job| job.initial == Initial::Waiting).count();
        assert!(runners_needed_at_once(&planned) <= waiting);
        let mut combinations = BTreeMap::<&str, usize>::new();
        for job in &planned {
            let next = combinations.entry(&job.job_id).or_default();
            assert_eq!(job.matrix_index, *next, "combinations are counted from 0");
            *next += 1;
            assert!(
                !job.needs.is_empty()
                    || job.initial == Initial::Waiting
                    || dialect == Dialect::V1_27,
                "{job:?}"
            );
        }
    }
}

/// Checks the length of a message.
fn told(message: &str) {
    assert!(!message.is_empty() && message.len() < 4_000, "{} bytes", message.len());
}

fn context() -> Context {
    let event = serde_json::json!({
        "ref": "refs/heads/main", "event_name": "push", "actor": "alice", "sha": "c0ffee",
        "event": {"head_commit": {"message": "fix: x"}, "commits": [1, 2, 3]},
    });
    Context {
        vars: BTreeMap::from([
            ("RUNNER".to_owned(), "linux".to_owned()),
            ("LIST".to_owned(), "[1,2]".to_owned()),
        ]),
        inputs: serde_json::Map::from_iter([("debug".to_owned(), true.into())]),
        github: event.as_object().cloned().unwrap_or_default(),
    }
}
