//! The part of IAM's evaluation that the policies of `deploy/aws/iam/` use. Everything else is an
//! error.
//! Source: AWS IAM User Guide, "Policy evaluation logic" and "Condition operators".

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One authorization: a call needs one per resource.
#[derive(Clone, Debug)]
pub struct Call {
    /// `ec2:RunInstances`.
    pub action: String,
    /// The ARN, or `*`.
    pub resource: String,
    /// Condition keys with their values.
    pub context: BTreeMap<String, Vec<String>>,
}

/// Returns the folder of the policies.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/aws/iam")
}

/// A policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Policy {
    #[serde(rename = "Version")]
    version: String,
    statement: Vec<Statement>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    sid: String,
    effect: Effect,
    #[serde(default)]
    action: Words,
    #[serde(default)]
    not_action: Words,
    #[serde(default)]
    resource: Words,
    #[serde(default)]
    not_resource: Words,
    #[serde(default)]
    principal: Option<serde_json::Value>,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, Words>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
enum Effect {
    Allow,
    Deny,
}

/// One string or a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Either")]
struct Words(Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Either {
    One(String),
    Many(Vec<String>),
}

impl From<Either> for Words {
    fn from(words: Either) -> Self {
        Self(match words {
            Either::One(word) => vec![word],
            Either::Many(words) => words,
        })
    }
}

impl Words {
    fn any_like(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| like(pattern.as_bytes(), text.as_bytes()))
    }
}

impl Policy {
    /// Parses a policy.
    ///
    /// # Errors
    /// It is not one, or has a part that is not evaluated here.
    pub fn read(text: &str) -> Result<Self, String> {
        let policy: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if policy.version != "2012-10-17" {
            return Err(format!("unknown version {}", policy.version));
        }
        for statement in &policy.statement {
            let sid = &statement.sid;
            if statement.action.0.is_empty() == statement.not_action.0.is_empty() {
                return Err(format!("{sid}: needs either Action or NotAction"));
            }
            let on_resources =
                !statement.resource.0.is_empty() || !statement.not_resource.0.is_empty();
            if on_resources == statement.principal.is_some() {
                return Err(format!("{sid}: needs either resources or a principal"));
            }
            for operator in statement.condition.keys() {
                if !OPERATORS.contains(&operator.as_str()) {
                    return Err(format!("{sid}: unknown operator {operator}"));
                }
            }
        }
        Ok(policy)
    }

    /// Reads a file of [`folder`] with these values for its placeholders.
    ///
    /// # Panics
    /// There is no such policy, or a placeholder has no value.
    pub fn of_file(name: &str, values: &[(&str, &str)]) -> Self {
        let path = folder().join(format!("{name}.json"));
        let read = std::fs::read_to_string(&path);
        let mut text = read.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for (placeholder, value) in values {
            text = text.replace(&format!("${{{placeholder}}}"), value);
        }
        assert!(!text.contains("${"), "{name}: a placeholder without a value");
        Self::read(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Returns whether a call is allowed: an explicit denial wins, and the default is denial.
    pub fn allows(&self, call: &Call) -> bool {
        let effects: Vec<Effect> =
            self.statement.iter().filter(|s| s.matches(call)).map(|s| s.effect).collect();
        effects.contains(&Effect::Allow) && !effects.contains(&Effect::Deny)
    }

    /// Returns the condition keys of the policy.
    pub fn keys(&self) -> BTreeSet<String> {
        let conditions = self.statement.iter().flat_map(|s| s.condition.values());
        conditions.flat_map(|keys| keys.keys().cloned()).collect()
    }

    /// Returns each statement's Sid, whether it allows, and its actions.
    pub fn actions(&self) -> impl Iterator<Item = (&str, bool, &[String])> {
        self.statement
            .iter()
            .map(|s| (s.sid.as_str(), s.effect == Effect::Allow, s.action.0.as_slice()))
    }
}

const OPERATORS: [&str; 7] = [
    "StringEquals",
    "StringNotEquals",
    "StringLike",
    "NumericLessThanEquals",
    "ForAllValues:StringEquals",
    "ForAllValues:StringLike",
    "Null",
];

impl Statement {
    fn matches(&self, call: &Call) -> bool {
        let acts = if self.not_action.0.is_empty() {
            self.action.any_like(&call.action)
        } else {
            !self.not_action.any_like(&call.action)
        };
        let on = if self.not_resource.0.is_empty() {
            self.resource.any_like(&call.resource)
        } else {
            !self.not_resource.any_like(&call.resource)
        };
        acts && on
            && self.condition.iter().all(|(operator, keys)| {
                keys.iter().all(|(key, wanted)| holds(operator, call.context.get(key), wanted))
            })
    }
}

/// Evaluates one operator on one key. A missing key fails every positive operator and satisfies the
/// negated one and `ForAllValues`.
fn holds(operator: &str, given: Option<&Vec<String>>, wanted: &Words) -> bool {
    let equal = |value: &String| wanted.0.contains(value);
    match operator {
        "StringEquals" => given.is_some_and(|values| values.iter().any(equal)),
        "StringNotEquals" => given.is_none_or(|values| !values.iter().any(equal)),
        "StringLike" => given.is_some_and(|values| values.iter().any(|v| wanted.any_like(v))),
        "NumericLessThanEquals" => given.is_some_and(|values| {
            let number = |text: &String| text.parse::<f64>().expect("a number");
            values.iter().any(|value| wanted.0.iter().any(|most| number(value) <= number(most)))
        }),
        "ForAllValues:StringEquals" => given.is_none_or(|values| values.iter().all(equal)),
        "ForAllValues:StringLike" => {
            given.is_none_or(|values| values.iter().all(|v| wanted.any_like(v)))
        }
        "Null" => {
            let absent = wanted.0 == ["true"];
            assert!(absent || wanted.0 == ["false"], "Null takes true or false");
            given.is_none() == absent
        }
        other => panic!("unknown operator {other}"),
    }
}

/// Matches a pattern in which `*` is any text and `?` any one character.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            like(rest, text) || text.split_first().is_some_and(|(_, text)| like(pattern, text))
        }
        (Some((b'?', pattern)), Some((_, text))) => like(pattern, text),
        (Some((a, pattern)), Some((b, text))) if a == b => like(pattern, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match() {
        let like = |pattern: &str, text: &str| like(pattern.as_bytes(), text.as_bytes());
        assert!(like("*", "") && like("ec2:*", "ec2:RunInstances") && like("a?c*", "abcd"));
        assert!(!like("ec2:*", "ecs:RunTask") && !like("a?c", "ac") && !like("a*b", "abc"));
    }
}
