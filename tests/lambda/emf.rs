//! Metrics in `CloudWatch`'s embedded metric format on the function's stdout.
//! Source of the schema: Amazon `CloudWatch` User Guide, "Specification: Embedded metric format".

use std::collections::BTreeMap;
use std::fs;

use jiff::Timestamp;
use serde_json::Value;

use super::{Function, SECRET, Setup, TOKEN};

/// The part of AWS's JSON Schema that concerns what the function writes.
const SCHEMA: &str = r##"{
  "type": "object",
  "required": ["_aws"],
  "properties": {
    "_aws": {
      "type": "object",
      "required": ["Timestamp", "CloudWatchMetrics"],
      "additionalProperties": false,
      "properties": {
        "Timestamp": { "type": "integer" },
        "CloudWatchMetrics": {
          "type": "array", "minItems": 1, "items": { "$ref": "#/definitions/directive" }
        }
      }
    }
  },
  "definitions": {
    "directive": {
      "type": "object",
      "required": ["Namespace", "Dimensions", "Metrics"],
      "properties": {
        "Namespace": { "type": "string", "minLength": 1, "maxLength": 1024 },
        "Dimensions": {
          "type": "array", "minItems": 1,
          "items": { "type": "array", "maxItems": 1, "items": { "const": "class" } }
        },
        "Metrics": {
          "type": "array", "minItems": 1, "maxItems": 8,
          "items": { "$ref": "#/definitions/metric" }
        }
      }
    },
    "metric": {
      "type": "object",
      "required": ["Name"],
      "properties": {
        "Name": { "type": "string", "pattern": "^tinqs_ci_[a-z_]+$" },
        "Unit": { "enum": ["Count", "Seconds", "None"] }
      }
    }
  }
}"##;

/// Returns the lines of stdout, which must be of the format, and name each value.
fn lines(function: &Function, started: i64) -> Vec<Value> {
    let schema: Value = serde_json::from_str(SCHEMA).expect("JSON");
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let text = fs::read_to_string(function.dir.path().join("out")).expect("stdout");
    assert!(!text.contains(SECRET) && !text.contains(TOKEN), "{text}");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON"));
    let lines: Vec<Value> = lines.collect();
    for line in &lines {
        assert!(schema.is_valid(line), "{line}");
        let at = line["_aws"]["Timestamp"].as_i64().expect("milliseconds");
        assert!((started..=Timestamp::now().as_millisecond()).contains(&at), "{line}");
        let told = &line["_aws"]["CloudWatchMetrics"][0];
        for metric in told["Metrics"].as_array().expect("metrics") {
            let name = metric["Name"].as_str().expect("a name");
            assert!(line[name].as_f64().is_some_and(|by| by > 0.0), "{name}: {line}");
        }
        let has_class = told["Dimensions"][0].as_array().is_some_and(|all| !all.is_empty());
        assert_eq!(line["class"].is_string(), has_class, "{line}");
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_invocation_counted_is_printed_for_cloudwatch() {
    let started = Timestamp::now().as_millisecond();
    let function = Function::with(Setup { emf: true, ..Setup::default() }).await;
    let job = function.push();
    // There are no webhooks: the schedule finds the job.
    assert_eq!(function.cleanup().await["errors"], 0);
    function.done(job).await;
    function.finished(&format!("job-{job}")).await;
    let mut sums: BTreeMap<(String, String), f64> = BTreeMap::new();
    for line in lines(&function, started) {
        let class = line["class"].as_str().unwrap_or_default().to_owned();
        for metric in line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("metrics") {
            let name = metric["Name"].as_str().expect("a name");
            let by = line[name].as_f64().expect("a number");
            *sums.entry((class.clone(), name.to_owned())).or_default() += by;
        }
    }
    let of = |class: &str, name: &str| sums.get(&(class.to_owned(), name.to_owned())).copied();
    assert_eq!(of("linux", "tinqs_ci_run_outcomes_total"), Some(1.0), "{sums:?}");
    assert_eq!(of("linux", "tinqs_ci_launch_attempts_total"), Some(1.0), "{sums:?}");
    assert_eq!(of("", "tinqs_ci_resync_found_jobs_total"), Some(1.0), "{sums:?}");
    assert_eq!(of("", "tinqs_ci_reconcile_panics_total"), None, "{sums:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_setting_nothing_is_printed() {
    let function = Function::start(false).await;
    let job = function.push();
    assert_eq!(function.cleanup().await["errors"], 0);
    function.done(job).await;
    assert_eq!(fs::read_to_string(function.dir.path().join("out")).expect("stdout"), "");
}
