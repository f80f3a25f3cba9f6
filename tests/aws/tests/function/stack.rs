//! The function of `deploy/aws/stack.yaml`: its settings, and its environment with parameters
//! filled in.
//!
//! The template is read by lines, because a parser of values drops its own tags such as `!Ref`. A
//! form that is not known here fails the test, so that a changed template is not misread.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Names and their values.
pub(crate) type Values = BTreeMap<String, String>;

/// The template of a stack.
pub(crate) struct Stack {
    text: String,
    /// Parameters, and what `Ref` and `GetAtt` return for resources. Lists are joined by commas.
    values: Values,
    /// The secrets in Secrets Manager, by name or ARN.
    secrets: Values,
}

impl Stack {
    /// Reads the template. `values` are parameters without or with another default, and what the
    /// resources are called.
    pub(crate) fn read(values: Values, secrets: Values) -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/aws/stack.yaml");
        let text = fs::read_to_string(&file).expect("the template");
        let lines: Vec<&str> = text.lines().collect();
        let mut all = defaults(&block(&lines, "Parameters"));
        all.extend(values);
        Self { text, values: all, secrets }
    }

    /// Returns the function's part.
    fn function(&self) -> Vec<&str> {
        block(&self.text.lines().collect::<Vec<_>>(), "Controller")
    }

    /// Returns a setting of the function, such as `Timeout`.
    pub(crate) fn setting(&self, name: &str) -> &str {
        let lines = self.function().into_iter();
        let found: Vec<&str> = lines.filter_map(|line| value_of(line, name)).collect();
        let [value] = found[..] else { panic!("{name} of the function: {found:?}") };
        value.trim_matches('\'')
    }

    /// Returns the variables of the function.
    pub(crate) fn environment(&self) -> Values {
        let mut variables = Values::new();
        let part = block(&self.function(), "Variables");
        let mut lines = part.into_iter().map(str::trim);
        while let Some(line) = lines.next() {
            let (name, text) = line.split_once(": ").unwrap_or_else(|| panic!("read {line:?}"));
            let mut item = || lines.next().and_then(|line| line.strip_prefix("- "));
            let text = if text == "!If" {
                let items = (item(), item(), item());
                let (Some("ApiToken"), Some(then), Some("!Ref AWS::NoValue")) = items else {
                    panic!("{name}: the condition {items:?} is not known here")
                };
                // The condition is that the parameter is not empty.
                if self.named("ApiTokenSecret").is_empty() {
                    continue;
                }
                then
            } else {
                text
            };
            let value = self.resolved(self.value(text));
            assert!(variables.insert(name.to_owned(), value).is_none(), "{name} is there twice");
        }
        assert!(variables.len() > 10, "variables are missing: {:?}", variables.keys());
        variables
    }

    fn value(&self, text: &str) -> String {
        match text.split_once(' ') {
            Some(("!Ref" | "!GetAtt", name)) => self.named(name),
            Some(("!Sub", quoted)) => self.substituted(quoted.trim_matches('"')),
            Some(("!Join", list)) => {
                let name = list.strip_prefix("[\",\", !Ref ");
                let name = name.and_then(|rest| rest.strip_suffix(']'));
                self.named(name.unwrap_or_else(|| panic!("!Join {list} is not known here")))
            }
            _ => panic!("{text} is not known here"),
        }
    }

    fn named(&self, name: &str) -> String {
        self.values.get(name).unwrap_or_else(|| panic!("{name} has no value here")).clone()
    }

    fn substituted(&self, text: &str) -> String {
        let mut parts = text.split("${");
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = part.split_once('}').unwrap_or_else(|| panic!("read {text:?}"));
            whole += &self.named(name);
            whole += rest;
        }
        whole
    }

    /// Reads a secret as `CloudFormation` does.
    fn resolved(&self, text: String) -> String {
        let name = text.strip_prefix("{{resolve:secretsmanager:");
        let Some(name) = name.and_then(|rest| rest.strip_suffix("}}")) else { return text };
        self.secrets.get(name).unwrap_or_else(|| panic!("there is no secret {name}")).clone()
    }
}

/// Returns what a line gives a key.
fn value_of<'t>(line: &'t str, key: &str) -> Option<&'t str> {
    line.trim().strip_prefix(key)?.strip_prefix(": ")
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Returns the lines below a key that is there once, without comments and empty lines.
fn block<'t>(lines: &[&'t str], key: &str) -> Vec<&'t str> {
    let is_head = |line: &str| line.trim().strip_suffix(':') == Some(key);
    let heads: Vec<usize> = (0..lines.len()).filter(|at| is_head(lines[*at])).collect();
    let [head] = heads[..] else { panic!("{key} is in the template {} times", heads.len()) };
    let mut below = Vec::new();
    for line in &lines[head + 1..] {
        if line.trim().is_empty() || line.trim().starts_with('#') {
            continue;
        }
        if indentation(line) <= indentation(lines[head]) {
            break;
        }
        below.push(*line);
    }
    below
}

/// Returns the defaults of the parameters that have one.
fn defaults(parameters: &[&str]) -> Values {
    let mut parameter = "";
    let mut defaults = Values::new();
    for line in parameters {
        match (indentation(line), line.trim().split_once(':')) {
            (2, Some((name, _))) => parameter = name,
            (4, Some(("Default", value))) => {
                defaults.insert(parameter.to_owned(), value.trim().trim_matches('"').to_owned());
            }
            _ => {}
        }
    }
    defaults
}
