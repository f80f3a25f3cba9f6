//! Runs the corpus through `eval` for all three Gitea versions, like `check.py` but in process.

use serde_json::{Value, json};
use tinqs_ci_workflow::Dialect;

use super::{Kind, run};

const LINES: [(Dialect, &[&str]); 3] = [
    (Dialect::V1_27, &[""]),
    (Dialect::V1_26, &["_1_26", ""]),
    (Dialect::V1_25, &["_1_25", "_1_26", ""]),
];

macro_rules! corpus {
    ($file:literal) => {
        serde_json::from_str::<Value>(include_str!(concat!("../../../tests/corpus/", $file)))
            .expect("the corpus is JSON")
    };
}

/// Compares an answer with the case, whose fields the second argument looks up.
type Same = fn(&Value, &dyn Fn(&str) -> Value) -> bool;

/// Sends cases through `eval` and compares each answer with the expectation for each version.
/// Returns the number of compared answers.
fn check(kind: Kind, cases: &[Value], same: Same) -> usize {
    let mut compared = 0;
    for (dialect, suffixes) in LINES {
        let numbered = |(n, case): (usize, &Value)| {
            let mut case = case.clone();
            case["id"] = json!(n);
            format!("{case}\n")
        };
        let input = cases.iter().enumerate().map(numbered).collect::<Vec<_>>().concat();
        let mut output = Vec::new();
        assert!(run(kind, dialect, input.as_bytes(), &mut output).expect("reads and writes"));
        let answers = String::from_utf8(output).expect("text");
        let answers: Vec<Value> =
            answers.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(answers.len(), cases.len());
        for (n, (case, answer)) in cases.iter().zip(&answers).enumerate() {
            assert_eq!(answer["id"], json!(n), "answers come in order");
            let expected = |field: &str| {
                let named = suffixes.iter().find_map(|suffix| case.get(format!("{field}{suffix}")));
                named.cloned().unwrap_or_default()
            };
            assert!(same(answer, &expected), "{dialect:?} {case}\n  {answer}");
            compared += 1;
        }
    }
    compared
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Whether two lists of objects agree on some fields.
fn agree(left: &Value, right: &Value, fields: &[&str]) -> bool {
    let shown = |value: &Value| -> Vec<Vec<Value>> {
        let row = |item: &Value| fields.iter().map(|field| item[*field].clone()).collect();
        list(value).iter().map(row).collect()
    };
    shown(left) == shown(right)
}

fn of_level(cases: &Value, event: bool) -> Vec<Value> {
    list(&cases["cases"])
        .iter()
        .filter(|case| (case["level"] == "event") == event)
        .cloned()
        .collect()
}

#[test]
fn patterns() {
    let compared =
        check(Kind::Patterns, list(&corpus!("patterns.json")["cases"]), |got, expected| {
            got["skip"] == expected("expect_skip")
        });
    assert!(compared > 2_000, "{compared}");
}

#[test]
fn triggers() {
    let cases = of_level(&corpus!("triggers.json"), true);
    let compared = check(Kind::Trigger, &cases, |got, expected| {
        let matches = expected("expect_match");
        let events = if matches == json!(true) { expected("expect_events") } else { json!([]) };
        got["match"] == matches && got["events"] == events
    });
    assert!(compared > 400, "{compared}");
}

#[test]
fn notifications() {
    let cases = of_level(&corpus!("triggers.json"), false);
    let compared = check(Kind::Notify, &cases, |got, expected| {
        let fields = ["workflow", "event", "ref"];
        got["match"] == expected("expect_match")
            && agree(&got["runs"], &expected("expect_runs"), &fields)
            // Only some cases say whether approval is needed.
            && list(&got["runs"]).iter().zip(list(&expected("expect_runs"))).all(|(got, run)| {
                run.get("need_approval").is_none_or(|need| *need == got["need_approval"])
            })
    });
    assert!(compared > 100, "{compared}");
}

#[test]
fn jobs() {
    let compared = check(Kind::Jobs, list(&corpus!("jobs.json")["cases"]), |got, expected| {
        let fields =
            ["job_id", "name", "runs_on", "needs", "initial_status", "dispatched_to_runner"];
        let error = expected("expect_error") == json!(true);
        let needed = expected("runners_needed_at_once");
        got["error"] == json!(error)
            && (error
                || agree(&got["jobs"], &expected("expect_jobs"), &fields)
                    && got["runners_needed_at_once"] == needed)
    });
    assert!(compared > 150, "{compared}");
}

#[test]
fn labels() {
    let compared =
        check(Kind::Labels, list(&corpus!("jobs.json")["label_match"]), |got, expected| {
            got["match"] == expected("expect")
        });
    assert!(compared > 20, "{compared}");
}

#[test]
fn changed_files() {
    let cases = corpus!("changed_files.json");
    let compared = check(Kind::ChangedFiles, list(&cases["cases"]), |got, expected| {
        let mut files = list(&expected("expect_files")).to_vec();
        files.sort_by_key(ToString::to_string);
        let mut told = list(&got["files"]).to_vec();
        told.sort_by_key(ToString::to_string);
        got["error"] == json!(expected("expect_error") == json!(true)) && told == files
    });
    assert!(compared > 30, "{compared}");
}

#[test]
fn paths() {
    let cases = corpus!("triggers.json");
    let compared = check(Kind::WorkflowPath, list(&cases["is_workflow_path"]), |got, expected| {
        got["match"] == expected("expect")
    });
    assert!(compared > 20, "{compared}");
}

#[test]
fn signatures() {
    let cases = corpus!("webhook_signature.json");
    let compared = check(Kind::Signature, list(&cases["cases"]), |got, expected| {
        got["accept"] == expected("expect_accept")
    });
    assert!(compared > 20, "{compared}");
}
