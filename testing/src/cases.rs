//! Cases of the decision table: base observations, merge patches on them, and times relative to a
//! fixed now. They lie in `tests/plan_table/`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tinqs_ci_reconciler::model::Observation;

/// The time that `now` stands for in the cases.
pub const NOW: &str = "2026-01-01T12:00:00Z";

/// A base observation, complete or as a change of another base.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    #[allow(dead_code, reason = "for people")]
    about: String,
    #[serde(default)]
    from: Option<String>,
    see: Value,
}

/// The cases of one rule.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The rule that at least one case covers, or `several`.
    pub rule: String,
    /// The text of the rule.
    pub says: String,
    /// The cases.
    pub cases: Vec<Case>,
}

/// One observation and its plan.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// One sentence.
    pub name: String,
    /// The observation it starts from.
    pub base: String,
    /// The differences of the observation: a merge patch, in which an object with numbers as keys
    /// changes single elements of a list.
    #[serde(default)]
    pub see: Value,
    /// The expected plan, in the same notation; of the status only the changes.
    #[serde(default)]
    pub then: Value,
}

/// Returns the folder of the cases.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/plan_table")
}

/// Returns the fixed now.
pub fn now() -> Timestamp {
    NOW.parse().expect("NOW is a timestamp")
}

/// Reads every table, by the stem of its file.
pub fn tables() -> BTreeMap<String, Table> {
    let files = fs::read_dir(folder()).expect("tests/plan_table is there");
    let mut all = BTreeMap::new();
    for file in files {
        let path = file.expect("tests/plan_table can be listed").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == "main.rs" || name == "bases.json" {
            continue;
        }
        let stem = name.strip_suffix(".json").unwrap_or_else(|| panic!("stray file {name}"));
        let text = fs::read_to_string(&path).expect("a table can be read");
        let table = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        all.insert(stem.to_owned(), table);
    }
    all
}

/// Reads every base, with its changes applied, in the notation of the cases.
pub fn bases() -> BTreeMap<String, Value> {
    let text = fs::read_to_string(folder().join("bases.json")).expect("bases.json can be read");
    let bases: BTreeMap<String, Base> = serde_json::from_str(&text).expect("bases.json is in form");
    let whole = |name: &str| {
        let mut chain = Vec::new();
        let mut next = Some(name.to_owned());
        while let Some(name) = next.take() {
            let base = bases.get(&name).unwrap_or_else(|| panic!("no base `{name}`"));
            assert!(chain.len() < bases.len(), "base `{name}` depends on itself");
            chain.push(&base.see);
            next.clone_from(&base.from);
        }
        chain.iter().rev().fold(Value::Null, |value, change| patched(value, change))
    };
    bases.keys().map(|name| (name.clone(), whole(name))).collect()
}

/// Returns the observation of a case.
///
/// # Panics
/// If a field of the case is not a field of an observation.
pub fn observation(bases: &BTreeMap<String, Value>, case: &Case) -> Observation {
    let name = &case.name;
    let base =
        bases.get(&case.base).unwrap_or_else(|| panic!("{name}: no base `{}`", case.base)).clone();
    let value = resolved(patched(base, &case.see));
    let seen: Observation =
        serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let again = serde_json::to_value(&seen).expect("an observation is JSON");
    if let Some(path) = missing(&value, &again) {
        panic!("{name}: {path} is not a field of an observation, or is not in canonical form");
    }
    seen
}

/// Returns the path of a value in `part` that `whole` lacks.
fn missing(part: &Value, whole: &Value) -> Option<String> {
    let below = |key: String, part: &Value, whole: Option<&Value>| {
        let whole = whole.unwrap_or(&Value::Null);
        missing(part, whole).map(|path| format!("/{key}{path}"))
    };
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().find_map(|(key, value)| below(key.clone(), value, whole.get(key)))
        }
        (Value::Array(part), Value::Array(whole)) if part.len() == whole.len() => part
            .iter()
            .enumerate()
            .find_map(|(index, value)| below(index.to_string(), value, whole.get(index))),
        _ => (part != whole).then(String::new),
    }
}

/// A merge patch (RFC 7396) that also changes single elements of a list: an index beyond the end
/// appends, `null` takes the element out.
pub fn patched(target: Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else { return patch.clone() };
    if let (Value::Array(mut list), Some(indices)) = (target.clone(), indices(changes)) {
        for (index, change) in indices.into_iter().rev() {
            match change {
                Value::Null if index < list.len() => drop(list.remove(index)),
                Value::Null => {}
                _ if index < list.len() => list[index] = patched(list[index].take(), change),
                _ => list.push(patched(Value::Null, change)),
            }
        }
        return Value::Array(list);
    }
    let mut object = match target {
        Value::Object(object) if !another_variant(&object, changes) => object,
        _ => Map::new(),
    };
    for (key, change) in changes {
        if change.is_null() {
            object.remove(key);
        } else {
            let old = object.remove(key).unwrap_or_default();
            object.insert(key.clone(), patched(old, change));
        }
    }
    Value::Object(object)
}

/// Returns whether the patch changes an enum variant, as `{ "Done": … }` for `{ "Running": … }`.
fn another_variant(old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    let mut names = new.keys();
    let (Some(name), None) = (names.next(), names.next()) else { return false };
    name.starts_with(|c: char| c.is_ascii_uppercase()) && !old.contains_key(name)
}

/// Returns the changes of single elements, if all keys are indices.
fn indices(changes: &Map<String, Value>) -> Option<Vec<(usize, &Value)>> {
    let mut all = Vec::new();
    for (key, change) in changes {
        all.push((key.parse().ok()?, change));
    }
    // Removals apply from the end, additions from the front; no case does both in one list.
    all.sort_by_key(|(index, _)| *index);
    if all.iter().any(|(_, change)| !change.is_null()) {
        all.reverse();
    }
    (!all.is_empty()).then_some(all)
}

/// The patch that makes `new` of `old`; `None` where they are equal.
pub fn difference(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let mut changes = Map::new();
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().filter(|key| !new.contains_key(*key)) {
                changes.insert(key.clone(), Value::Null);
            }
            for (key, value) in new {
                match old.get(key) {
                    None => drop(changes.insert(key.clone(), value.clone())),
                    Some(before) => {
                        changes.extend(difference(before, value).map(|d| (key.clone(), d)));
                    }
                }
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() <= new.len() && !old.is_empty() => {
            for (index, value) in new.iter().enumerate() {
                let change = match old.get(index) {
                    None => Some(value.clone()),
                    Some(before) => difference(before, value),
                };
                changes.extend(change.map(|d| (index.to_string(), d)));
            }
        }
        _ => return Some(new.clone()),
    }
    Some(Value::Object(changes))
}

/// The same with every relative time (`now`, `now-5m`, `now+1h30m`) made absolute.
pub fn resolved(value: Value) -> Value {
    strings(value, &|text| {
        let wait = text.strip_prefix("now")?;
        let at = match wait.strip_prefix('-') {
            None if wait.is_empty() => now(),
            None => now() + wait.strip_prefix('+')?.parse::<SignedDuration>().ok()?,
            Some(wait) => now() - wait.parse::<SignedDuration>().ok()?,
        };
        Some(at.to_string())
    })
}

/// The same with every time made relative.
pub fn relative(value: Value) -> Value {
    strings(value, &|text| {
        let at: Timestamp = text.parse().ok()?;
        let wait = at.duration_since(now());
        let sign = if wait.is_negative() { '-' } else { '+' };
        let mut out = format!("now{sign}");
        if wait.is_zero() {
            return Some("now".to_owned());
        }
        let wait = wait.abs();
        let (whole, millis) = (wait.as_secs(), wait.subsec_millis());
        let parts = [(whole / 3600, "h"), (whole / 60 % 60, "m"), (whole % 60, "s")];
        for (count, unit) in parts.into_iter().chain([(i64::from(millis), "ms")]) {
            if count > 0 {
                let _ = write!(out, "{count}{unit}");
            }
        }
        Some(out)
    })
}

fn strings(value: Value, change: &dyn Fn(&str) -> Option<String>) -> Value {
    match value {
        Value::String(text) => Value::String(change(&text).unwrap_or(text)),
        Value::Array(list) => list.into_iter().map(|v| strings(v, change)).collect(),
        Value::Object(object) => {
            object.into_iter().map(|(key, v)| (key, strings(v, change))).collect()
        }
        other => other,
    }
}

/// JSON that reads well: what fits on a line stands on one.
pub fn pretty(value: &Value, indent: usize, used: usize) -> String {
    let line = one_line(value);
    let nested = matches!(value, Value::Object(_) | Value::Array(_));
    if !nested || indent + used + line.chars().count() <= 98 {
        return line;
    }
    let pad = " ".repeat(indent + 2);
    let (open, close, parts): (_, _, Vec<String>) = match value {
        Value::Object(object) => (
            '{',
            '}',
            in_order(object)
                .into_iter()
                .map(|(key, v)| {
                    let key = Value::from(key.as_str()).to_string();
                    format!("{pad}{key}: {}", pretty(v, indent + 2, key.len() + 3))
                })
                .collect(),
        ),
        Value::Array(list) => {
            ('[', ']', list.iter().map(|v| format!("{pad}{}", pretty(v, indent + 2, 1))).collect())
        }
        _ => return line,
    };
    format!("{open}\n{}\n{}{close}", parts.join(",\n"), " ".repeat(indent))
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Object(object) if object.is_empty() => "{}".to_owned(),
        Value::Object(object) => {
            let parts: Vec<String> = in_order(object)
                .into_iter()
                .map(|(key, v)| format!("{}: {}", Value::from(key.as_str()), one_line(v)))
                .collect();
            format!("{{ {} }}", parts.join(", "))
        }
        Value::Array(list) => {
            format!("[{}]", list.iter().map(one_line).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Returns the entries in the order of a case, then by name.
fn in_order(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    const FIRST: [&str; 12] = [
        "rule", "says", "name", "base", "about", "from", "see", "then", "phase", "status",
        "prepare", "actions",
    ];
    let place = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    let mut all: Vec<_> = object.iter().collect();
    all.sort_by(|(a, _), (b, _)| (place(a), a).cmp(&(place(b), b)));
    all
}
