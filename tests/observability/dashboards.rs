//! Checks `docs/dashboards/`: what each panel has, and what its queries read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use crate::queries::{Reads, reads};
use crate::registry::Registry;
use crate::{read, root};

/// The window that stands for `$__rate_interval`: no other query has it.
const RATE_INTERVAL: Duration = Duration::from_secs(421);
/// The rows of the overview.
const ROWS: [&str; 7] =
    ["Is it fine?", "Drift", "Jobs", "Machines", "Controller", "Ingest", "Cost"];
/// The forms of panels that are used.
const FORMS: [&str; 4] = ["stat", "timeseries", "table", "heatmap"];
/// The columns of a dashboard.
const COLUMNS: u64 = 24;

fn files() -> Vec<PathBuf> {
    let folder = root().join("docs/dashboards");
    let entries = std::fs::read_dir(folder).expect("docs/dashboards is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    files
}

fn dashboard(file: &Path) -> Value {
    serde_json::from_str(&read(file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Returns the panels and rows.
fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().expect("panels")
}

/// Puts values in the place of the dashboard's variables.
fn filled(query: &str) -> String {
    let interval = format!("{}s", RATE_INTERVAL.as_secs());
    query.replace("$__rate_interval", &interval)
}

/// Returns what the queries of all dashboards read.
pub(crate) fn all_reads(registry: &Registry) -> Vec<Reads> {
    let dashboards: Vec<Value> = files().iter().map(|file| dashboard(file)).collect();
    let panels = dashboards.iter().flat_map(|dashboard| panels(dashboard).iter());
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| reads(&filled(text(target, "expr")), registry)).collect()
}

#[test]
fn the_overview_has_its_seven_rows() {
    let overview = dashboard(&root().join("docs/dashboards/tinqs-ci-overview.json"));
    let rows = panels(&overview).iter().filter(|panel| text(panel, "type") == "row");
    assert_eq!(rows.map(|row| text(row, "title")).collect::<Vec<_>>(), ROWS);
}

#[test]
fn every_dashboard_selects_data_source_job_instance_and_class() {
    for file in files() {
        let dashboard = dashboard(&file);
        let list = dashboard["templating"]["list"].as_array().expect("variables").clone();
        let names: Vec<&str> = list.iter().map(|variable| text(variable, "name")).collect();
        assert_eq!(names, ["datasource", "job", "instance", "class"], "{}", file.display());
        for variable in &list[1..] {
            assert_eq!(text(&variable["datasource"], "uid"), "${datasource}");
        }
        for key in ["title", "uid", "description"] {
            assert!(!text(&dashboard, key).is_empty(), "{}: no {key}", file.display());
        }
    }
}

#[test]
fn every_panel_says_what_it_shows() {
    for file in files() {
        let dashboard = dashboard(&file);
        let (mut ids, mut titles) = (BTreeSet::new(), BTreeSet::new());
        for panel in panels(&dashboard) {
            let title = text(panel, "title");
            let place = format!("{}, panel {title:?}", file.display());
            assert!(!title.is_empty() && titles.insert(title), "{place}: its title");
            assert!(ids.insert(panel["id"].as_u64().expect("an ID")), "{place}: its ID");
            if text(panel, "type") == "row" {
                continue;
            }
            assert!(FORMS.contains(&text(panel, "type")), "{place}: {}", text(panel, "type"));
            let description = text(panel, "description");
            assert!(description.len() > 10 && description.ends_with('.'), "{place}: description");
            assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{place}: unit");
            let source = json!({ "type": "prometheus", "uid": "${datasource}" });
            assert_eq!(panel["datasource"], source, "{place}: data source");
            let targets = panel["targets"].as_array().expect("targets");
            assert!(!targets.is_empty(), "{place}: no query");
            for target in targets {
                assert_eq!(target["datasource"], source, "{place}: data source");
                assert!(!text(target, "expr").is_empty(), "{place}: an empty query");
            }
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    for file in files() {
        let mut taken = BTreeSet::new();
        for panel in panels(&dashboard(&file)) {
            let side = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
            let (x, y, width, height) = (side("x"), side("y"), side("w"), side("h"));
            assert!(width > 0 && height > 0 && x + width <= COLUMNS, "{}", panel["title"]);
            for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{} lies on another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn every_query_reads_what_is_exported() {
    let registry = Registry::read();
    let mut wrong = Vec::new();
    let mut queries = 0;
    for file in files() {
        for panel in panels(&dashboard(&file)) {
            for target in panel["targets"].as_array().unwrap_or(&Vec::new()) {
                queries += 1;
                let query = text(target, "expr");
                let found = mistakes(&registry, query, target, text(panel, "title"));
                let title = text(panel, "title");
                wrong.extend(found.into_iter().map(|wrong| format!("{title}: {wrong}: {query}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(queries > 50, "only {queries} queries");
}

/// Returns what is wrong with a query of a panel.
fn mistakes(registry: &Registry, query: &str, target: &Value, title: &str) -> Vec<String> {
    let reads = reads(&filled(query), registry);
    let mut wrong = reads.wrong;
    for matchers in &reads.matchers {
        for (label, variable) in [("job", "$job"), ("instance", "$instance")] {
            let is_it = |(name, value): &(String, String)| name == label && value == variable;
            if !matchers.iter().any(is_it) {
                wrong.push(format!("a selector does not select the {label}"));
            }
        }
    }
    for window in &reads.windows {
        // A window of its own is in the title.
        let hours = window.as_secs() / 3600;
        let named = match hours {
            0 => format!("{} min", window.as_secs() / 60),
            _ => format!("{hours} h"),
        };
        if *window != RATE_INTERVAL && !title.contains(&named) {
            wrong.push(format!("the title does not name the window of {named}"));
        }
    }
    let legend = text(target, "legendFormat");
    for label in legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
        let has = reads.labels.as_ref().is_none_or(|labels| labels.contains(label.trim()));
        if !has {
            wrong.push(format!("the legend names {label}, which the result does not have"));
        }
    }
    wrong
}
