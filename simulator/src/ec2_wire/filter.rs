//! Filters: `Filter.N.Name`, `Filter.N.Value.M`.

use std::collections::BTreeMap;

use tinqs_ci_reconciler::model::{MachineId, MachineState, Market};

use super::account::Account;
use super::error::Fault;
use super::events::state_name;
use super::params::Params;
use super::state::Record;

/// Maximum values of a filter.
const MOST_VALUES: usize = 200;
const NAMES: [&str; 14] = [
    "architecture",
    "availability-zone",
    "client-token",
    "image-id",
    "instance-id",
    "instance-lifecycle",
    "instance-state-code",
    "instance-state-name",
    "instance-type",
    "spot-instance-request-id",
    "subnet-id",
    "tag-key",
    "vpc-id",
    "reservation-id",
];

/// The subject of a filter.
pub(super) struct Subject<'a> {
    pub(super) id: &'a MachineId,
    pub(super) record: &'a Record,
    pub(super) state: MachineState,
    pub(super) zone: &'a str,
    pub(super) account: &'a Account,
    /// The tags that the reading shows.
    pub(super) tags: BTreeMap<String, String>,
}

/// All filters of a call; a match satisfies each of them.
pub(super) struct Filters(Vec<(String, Vec<String>)>);

/// Returns the filters of a call by name and values, unchecked.
pub(super) fn read(params: &Params) -> Result<Vec<(String, Vec<String>)>, Fault> {
    let members = params.members("Filter");
    let filters = members.iter().map(|n| {
        let name = params.need(&format!("Filter.{n}.Name"))?;
        let values = params.list(&format!("Filter.{n}.Value"));
        if values.is_empty() {
            return Err(Fault::new("InvalidParameterValue", format!("filter {name} has no value")));
        }
        if values.len() > MOST_VALUES {
            let message = format!("filter {name} has more than {MOST_VALUES} values");
            return Err(Fault::new("FilterLimitExceeded", message));
        }
        Ok((name.to_owned(), values.into_iter().map(str::to_owned).collect()))
    });
    filters.collect()
}

pub(super) fn unknown(name: &str) -> Fault {
    Fault::new("InvalidParameterValue", format!("The filter '{name}' is invalid"))
}

impl Filters {
    pub(super) fn read(params: &Params) -> Result<Self, Fault> {
        let filters = read(params)?;
        let known = |name: &str| name.starts_with("tag:") || NAMES.contains(&name);
        match filters.iter().find(|(name, _)| !known(name)) {
            Some((name, _)) => Err(unknown(name)),
            None => Ok(Self(filters)),
        }
    }

    pub(super) fn fit(&self, subject: &Subject<'_>) -> bool {
        self.0.iter().all(|(name, values)| {
            let is = subject.values(name);
            values.iter().any(|pattern| is.iter().any(|value| matches(pattern, value)))
        })
    }
}

impl Subject<'_> {
    fn values(&self, name: &str) -> Vec<String> {
        let recipe = &self.record.recipe;
        if let Some(key) = name.strip_prefix("tag:") {
            return self.tags.get(key).cloned().into_iter().collect();
        }
        let (code, state) = state_name(self.state);
        let one = match name {
            "tag-key" => return self.tags.keys().cloned().collect(),
            // On-demand machines have no lifecycle.
            "instance-lifecycle" if recipe.market == Market::OnDemand => return Vec::new(),
            "instance-lifecycle" => "spot".to_owned(),
            "architecture" => {
                self.account.image(&recipe.image).map_or(String::new(), |i| i.architecture.clone())
            }
            "availability-zone" => self.zone.to_owned(),
            "client-token" => recipe.token.clone(),
            "image-id" => recipe.image.clone(),
            "instance-id" => self.id.0.clone(),
            "instance-state-code" => code.to_string(),
            "instance-state-name" => state.to_owned(),
            "instance-type" => recipe.kind.clone(),
            "reservation-id" => self.record.reservation.clone(),
            "spot-instance-request-id" => self.record.spot_request.clone(),
            "subnet-id" => recipe.subnet.clone(),
            "vpc-id" => {
                self.account.subnet(&recipe.subnet).map_or(String::new(), |s| s.vpc.clone())
            }
            _ => return Vec::new(),
        };
        vec![one]
    }
}

/// Matches `*` with any text, `?` with any character, and `\` plus a character with that character.
pub(super) fn matches(pattern: &str, value: &str) -> bool {
    fn rest(pattern: &[char], value: &[char]) -> bool {
        match pattern {
            [] => value.is_empty(),
            ['*', more @ ..] => (0..=value.len()).any(|skip| rest(more, &value[skip..])),
            ['?', more @ ..] => !value.is_empty() && rest(more, &value[1..]),
            ['\\', c, more @ ..] | [c, more @ ..] => {
                value.first() == Some(c) && rest(more, &value[1..])
            }
        }
    }
    let (pattern, value): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), value.chars().collect());
    rest(&pattern, &value)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_have_two_wildcards() {
        for (pattern, value, fits) in [
            ("spot", "spot", true),
            ("spot", "Spot", false),
            ("a*c", "abbc", true),
            ("a*c", "abbd", false),
            ("?-1", "x-1", true),
            ("?-1", "-1", false),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, value), fits, "{pattern} {value}");
        }
    }
}
