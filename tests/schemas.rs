//! Checks that `schemas/` matches the types. `UPDATE_EXPECT=1` rewrites it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::Value;
use tinqs_ci::commands::schemas;
use tinqs_ci_reconciler::plan::plan;
use tinqs_ci_testing::cases;

/// Returns every schema that this test writes, by file stem.
fn generated() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("answers", schemas::answers()),
        ("config", tinqs_ci::settings::schema()),
        ("embedded", schemas::embedded()),
        ("observation", schemas::observation()),
        ("plan", schemas::plan()),
        ("run", schemas::run()),
    ])
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

#[test]
fn the_schemas_match_the_types() {
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    // The metric families are a list, not a schema, but are checked alike.
    let metrics = ("metrics", tinqs_ci::telemetry::metrics::schema());
    let openapi = ("openapi", schemas::openapi::document());
    for (name, schema) in generated().into_iter().chain([metrics, openapi]) {
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
fn the_schemas_are_valid_draft_2020_12() {
    for (name, schema) in generated() {
        assert_eq!(
            schema["$schema"], "https://json-schema.org/draft/2020-12/schema",
            "schemas/{name}.json"
        );
        assert!(jsonschema::meta::is_valid(&schema), "schemas/{name}.json is not a valid schema");
    }
}

#[test]
fn the_plan_table_fits_the_schemas() {
    let seen_as = jsonschema::validator_for(&schemas::observation()).expect("a schema");
    let decided_as = jsonschema::validator_for(&schemas::plan()).expect("a schema");
    let run_as = jsonschema::validator_for(&schemas::run()).expect("a schema");
    let bases = cases::bases();
    let mut runs = 0;
    for (file, table) in cases::tables() {
        for case in &table.cases {
            let seen = cases::observation(&bases, case);
            let fits = |what: &jsonschema::Validator, value: &Value| {
                if let Err(error) = what.validate(value) {
                    panic!("{file}: {}: {error} at {}", case.name, error.instance_path());
                }
            };
            fits(&seen_as, &serde_json::to_value(&seen).expect("JSON"));
            fits(&decided_as, &serde_json::to_value(plan(&seen)).expect("JSON"));
            if let Some(run) = &seen.run {
                fits(&run_as, &serde_json::to_value(run).expect("JSON"));
                runs += 1;
            }
        }
    }
    assert!(runs > 100, "the table holds runs");
}

#[test]
fn a_wrong_observation_does_not_fit() {
    let seen_as = jsonschema::validator_for(&schemas::observation()).expect("a schema");
    let bases = cases::bases();
    let good = cases::resolved(bases["waiting"].clone());
    assert!(seen_as.is_valid(&good));
    for (path, value) in [
        ("/name", Value::from("job-x")),
        ("/job", Value::from("waiting")),
        ("/room", Value::from("yes")),
        ("/run/status/phase", Value::from("waiting")),
        ("/run/status/next", Value::from(-1)),
        ("/registrations", Value::Null),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(path).unwrap_or_else(|| panic!("{path} exists")) = value;
        assert!(!seen_as.is_valid(&bad), "the schema accepts a wrong {path}");
    }
}

/// Returns the routes of `/v1` as the server has them: method and path.
fn routes() -> BTreeSet<(String, String)> {
    let source = fs::read_to_string(folder().join("../src/server/http/doors.rs")).expect("doors");
    let route = Regex::new(r#"\.route\(\s*"(/[^"]*)",\s*([^;]*?)\)\s*\n"#).expect("valid");
    let method = Regex::new(r"\b(get|post|put|patch|delete)\(").expect("valid");
    // Those behind another guard are written whole.
    let whole = route.captures_iter(&source).filter(|found| found[1].starts_with("/v1/"));
    let whole: Vec<(String, String)> = whole
        .flat_map(|found| {
            let path = found[1].to_owned();
            let methods: Vec<String> =
                method.captures_iter(&found[2]).map(|method| method[1].to_owned()).collect();
            methods.into_iter().map(move |method| (method, path.clone()))
        })
        .collect();
    let of_v1 = source.split("\nfn v1(").nth(1).expect("the routes of /v1");
    let of_v1 = of_v1.split("\n}\n").next().expect("its end");
    let mut routes: BTreeSet<(String, String)> = whole.into_iter().collect();
    for found in route.captures_iter(of_v1) {
        for method in method.captures_iter(&found[2]) {
            routes.insert((method[1].to_owned(), format!("/v1{}", &found[1])));
        }
    }
    routes
}

#[test]
fn the_description_has_every_route() {
    let document = schemas::openapi::document();
    let paths = document["paths"].as_object().expect("paths");
    let described = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("operations").keys();
        methods.map(move |method| (method.clone(), path.clone()))
    });
    let described: BTreeSet<(String, String)> = described.collect();
    let routes = routes();
    assert!(routes.len() >= 18, "only {routes:?}");
    assert_eq!(described, routes, "describe routes in src/commands/schemas/openapi/operations.rs");
    let page = fs::read_to_string(folder().join("../docs/reference/http.md")).expect("the page");
    for (method, path) in routes {
        let listed = format!("`{} {path}", method.to_uppercase());
        assert!(page.contains(&listed), "docs/reference/http.md does not list {listed}`");
    }
}

#[test]
fn the_description_is_whole() {
    let document = schemas::openapi::document();
    let text = document.to_string();
    let mut ids = BTreeSet::new();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap_or_default();
        let there = !document["components"]["schemas"][name].is_null();
        assert!(there, "the schema {name} is missing");
    }
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let id = operation["operationId"].as_str().expect("an ID");
            assert!(ids.insert(id.to_owned()), "{id} is the ID of two operations");
            let parameters = operation["parameters"].as_array().expect("parameters");
            let of_path = parameters.iter().filter(|one| one["in"] == "path");
            let named = of_path.map(|one| format!("{{{}}}", one["name"].as_str().expect("a name")));
            let missing: Vec<String> = named.filter(|name| !path.contains(name)).collect();
            assert!(missing.is_empty(), "{method} {path}: {missing:?}");
            let wanted = path.matches('{').count();
            let has = parameters.iter().filter(|one| one["in"] == "path").count();
            assert_eq!(has, wanted, "{method} {path}: parameters of the path");
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        assert!(jsonschema::meta::is_valid(schema), "{name} is not a valid schema");
    }
}
