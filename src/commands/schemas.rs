//! JSON Schemas (draft 2020-12) of what goes on a wire or disk: one function per kind.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use tinqs_ci_reconciler::controller::SweepReport;
use tinqs_ci_reconciler::model::{Instance, Observation, Run};
use tinqs_ci_reconciler::plan::Plan;

use crate::api::{self, Class, List, Machine, Problem, Ready, Registration};
use tinqs_ci_local::process::Ended;
use tinqs_ci_local::store::Projection;

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

/// What `/v1` and `/readyz` answer: one definition a type. A run is as [`run`] says.
pub fn answers() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    generator.subschema_for::<List<Run>>();
    generator.subschema_for::<List<Machine>>();
    generator.subschema_for::<List<Registration>>();
    generator.subschema_for::<List<Class>>();
    generator.subschema_for::<api::Plan>();
    generator.subschema_for::<SweepReport>();
    generator.subschema_for::<Ready>();
    generator.subschema_for::<Problem>();
    definitions(generator, "What /v1 and /readyz answer")
}

/// What the embedded adapters keep on disk: records (runs), the open index, machines and their ends.
pub fn embedded() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    generator.subschema_for::<Run>();
    generator.subschema_for::<Projection>();
    generator.subschema_for::<Instance>();
    generator.subschema_for::<Ended>();
    definitions(generator, "What the embedded store and process machines keep on disk")
}

fn definitions(mut generator: SchemaGenerator, title: &str) -> Value {
    let definitions = generator.take_definitions(true);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "$defs": definitions,
    })
}

/// The schema of any type that has one.
pub(crate) fn of<T: schemars::JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}
