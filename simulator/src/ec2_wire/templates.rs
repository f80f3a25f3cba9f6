//! `DescribeLaunchTemplateVersions`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::Fault;
use super::outcome::Outcome;
use super::params::Params;
use super::state::Shared;
use super::xml::{Element, leaf, list, node};

/// Handles the call.
pub(super) fn answer(shared: &Shared, params: &Params) -> Outcome {
    if !shared.state().buckets.take(shared.options.now(), "DescribeLaunchTemplateVersions", 0) {
        return Outcome::throttled();
    }
    let outcome = match versions(shared, params) {
        Ok(items) => {
            let count = items.len();
            Outcome::of(vec![list("launchTemplateVersionSet", items)], count)
        }
        Err(fault) => Outcome::from(fault),
    };
    outcome.taking((1, 0))
}

fn versions(shared: &Shared, params: &Params) -> Result<Vec<Vec<Element>>, Fault> {
    let id = params.need("LaunchTemplateId")?;
    let missing = |code: &str| Fault::new(code, format!("{id} does not exist"));
    let template = shared.options.account.launch_template(id);
    let template = template.ok_or_else(|| missing("InvalidLaunchTemplateId.NotFound"))?;
    let mut items = Vec::new();
    for asked in params.list("LaunchTemplateVersion") {
        let number = asked.parse::<u32>().ok();
        let found = number.and_then(|number| template.versions.get_key_value(&number));
        let (number, parameters) =
            found.ok_or_else(|| missing("InvalidLaunchTemplateId.VersionNotFound"))?;
        items.push(vec![
            leaf("launchTemplateId", id),
            leaf("versionNumber", number),
            data(parameters),
        ]);
    }
    Ok(items)
}

/// Returns parameters as EC2 shows them: `A.B` as nested elements, `A.N` as items of `aSet`.
fn data(parameters: &BTreeMap<String, String>) -> Element {
    let mut tree = Map::new();
    for (name, value) in parameters {
        let mut at = &mut tree;
        let mut parts: Vec<&str> = name.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            let inner = at.entry(part).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(inner) = inner else { return leaf("launchTemplateData", "") };
            at = inner;
        }
        at.insert(last.to_owned(), Value::from(value.as_str()));
    }
    node("launchTemplateData", tree.iter().map(|(name, value)| element(name, value)))
}

fn element(name: &str, value: &Value) -> Element {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    let name: String = first.into_iter().chain(letters).collect();
    match value {
        Value::Object(parts) if parts.keys().all(|key| key.parse::<u32>().is_ok()) => {
            node(&format!("{name}Set"), parts.values().map(|part| element("item", part)))
        }
        Value::Object(parts) => node(&name, parts.iter().map(|(part, of)| element(part, of))),
        other => leaf(&name, other.as_str().unwrap_or_default()),
    }
}
