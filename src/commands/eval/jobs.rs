//! Lists the jobs of a workflow file.

use serde::Deserialize;
use serde_json::{Value, json};
use tinqs_ci_workflow::jobs::{self, Context, PlannedJob};
use tinqs_ci_workflow::{Dialect, yaml};

/// A workflow file, and the context of its expressions.
#[derive(Deserialize)]
pub(super) struct Case {
    workflow_yaml: String,
    #[serde(default)]
    context: Option<Context>,
}

/// Returns the jobs as the forge creates them.
pub(super) fn jobs(case: &Case, dialect: Dialect) -> Value {
    let context = case.context.clone().unwrap_or_default();
    let planned =
        yaml::parse(case.workflow_yaml.as_bytes()).map_err(|error| error.to_string()).and_then(
            |workflow| jobs::jobs(&workflow, &context, dialect).map_err(|error| error.to_string()),
        );
    match planned {
        Ok(planned) => json!({
            "jobs": planned.iter().map(job).collect::<Vec<_>>(),
            "runners_needed_at_once": jobs::runners_needed_at_once(&planned),
            "error": false,
        }),
        Err(why) => {
            json!({ "jobs": null, "runners_needed_at_once": null, "error": true, "why": why })
        }
    }
}

fn job(job: &PlannedJob) -> Value {
    json!({
        "job_id": job.job_id,
        "name": job.name,
        "runs_on": job.runs_on,
        "needs": job.needs,
        "initial_status": job.initial.as_str(),
        "dispatched_to_runner": job.dispatched,
    })
}
