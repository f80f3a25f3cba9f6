//! `schemas/` holds what the types say. `UPDATE_EXPECT=1` rewrites it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tinqs_ci::schemas;

/// Every schema that is written from this test, by its file's stem.
fn generated() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("observation", schemas::observation()),
        ("plan", schemas::plan()),
        ("run", schemas::run()),
    ])
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

#[test]
fn the_schemas_are_what_the_types_say() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    for (name, schema) in generated() {
        let path = folder().join(format!("{name}.json"));
        let text = format!("{schema:#}\n");
        if update {
            fs::create_dir_all(folder()).expect("schemas/ can be made");
            fs::write(&path, &text).expect("the schema can be written");
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == text,
            "schemas/{name}.json is not current: UPDATE_EXPECT=1 cargo test --test schemas"
        );
    }
}

#[test]
fn the_schemas_are_draft_2020_12_and_valid_themselves() {
    for (name, schema) in generated() {
        assert_eq!(
            schema["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "schemas/{name}.json"
        );
        assert!(jsonschema::meta::is_valid(&schema), "schemas/{name}.json is no schema");
    }
}
