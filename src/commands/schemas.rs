//! JSON Schemas (draft 2020-12) of the API and the stored data.

pub mod openapi;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use tinqs_ci_reconciler::controller::SweepReport;
use tinqs_ci_reconciler::model::{Machine, Observation, Run};
use tinqs_ci_reconciler::plan::Plan;

use crate::api::status::{StatusView, WaitReasons};
use crate::api::{self, Class, EventList, List, MachineView, Problem, Ready, Registration};
use tinqs_ci_local::process::Ended;
use tinqs_ci_local::store::Projection;

/// Returns the schema of a run, as served and stored.
pub fn run() -> Value {
    of::<Run>()
}

/// Returns the schema of an observation, the input of a reconcile.
pub fn observation() -> Value {
    of::<Observation>()
}

/// Returns the schema of a plan, the decision on an observation.
pub fn plan() -> Value {
    of::<Plan>()
}

/// Returns the schemas of the answers of `/v1` and `/readyz`, one definition per type.
pub fn answers() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    generator.subschema_for::<List<Run>>();
    generator.subschema_for::<List<MachineView>>();
    generator.subschema_for::<List<Registration>>();
    generator.subschema_for::<List<Class>>();
    generator.subschema_for::<StatusView>();
    generator.subschema_for::<WaitReasons>();
    generator.subschema_for::<EventList>();
    generator.subschema_for::<api::DriftList>();
    generator.subschema_for::<api::UsageList>();
    generator.subschema_for::<api::Plan>();
    generator.subschema_for::<SweepReport>();
    generator.subschema_for::<api::Reloaded>();
    generator.subschema_for::<api::Pauses>();
    generator.subschema_for::<api::SignIn>();
    generator.subschema_for::<Ready>();
    generator.subschema_for::<Problem>();
    definitions(generator, "The answers of /v1 and /readyz")
}

/// Returns the schemas of the embedded adapters' files: runs, the open index, machines and their
/// ends.
pub fn embedded() -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    generator.subschema_for::<Run>();
    generator.subschema_for::<Projection>();
    generator.subschema_for::<Machine>();
    generator.subschema_for::<Ended>();
    definitions(generator, "The files of the embedded store and of process machines")
}

fn definitions(mut generator: SchemaGenerator, title: &str) -> Value {
    let definitions = generator.take_definitions(true);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "$defs": definitions,
    })
}

/// Returns the schema of a type.
pub(crate) fn of<T: schemars::JsonSchema>() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<T>().to_value()
}
