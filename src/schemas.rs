//! JSON Schemas (draft 2020-12) of what goes on a wire or disk: one function per kind.

use schemars::generate::SchemaSettings;
use serde_json::Value;
use tinqs_ci_reconciler::observation::Observation;
use tinqs_ci_reconciler::plan::Plan;
use tinqs_ci_reconciler::run::Run;

/// The schema of a run, as answers show it and stores keep it.
pub fn run() -> Value {
    of::<Run>()
}

/// The schema of what one look sees.
pub fn observation() -> Value {
    of::<Observation>()
}

/// The schema of what is decided from it.
pub fn plan() -> Value {
    of::<Plan>()
}

/// The schema of any type that has one.
pub(crate) fn of<T: schemars::JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}
