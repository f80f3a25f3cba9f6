//! The functions of expressions.

use std::fmt::Write as _;
use std::sync::Arc;

use super::parse::Comparison;
use super::{Evaluator, Fault, LONGEST, Status, bounded, halt, wrong};
use crate::value::{Value, date};

impl Evaluator<'_> {
    pub(super) fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, Fault> {
        // The server does not count the arguments, and panics on a missing one.
        let argument = |index: usize| match arguments.get(index) {
            Some(value) => Ok(value),
            None => halt("a function has too few arguments"),
        };
        let lower = |index: usize| self.lowered(argument(index)?);
        match name {
            "contains" => self.contains(argument(0)?, argument(1)?).map(Value::Bool),
            "startswith" => Ok(Value::Bool(lower(0)?.starts_with(&lower(1)?))),
            "endswith" => Ok(Value::Bool(lower(0)?.ends_with(&lower(1)?))),
            "format" => format(&argument(0)?.coerced(), &arguments[1..]),
            "join" => {
                let separator = arguments.get(1).map_or_else(|| ",".into(), Value::coerced);
                join(argument(0)?, &separator)
            }
            "tojson" => {
                let mut out = String::new();
                json(argument(0)?, 0, &mut out)?;
                bounded(out)
            }
            "fromjson" => {
                let Value::Text(text) = argument(0)? else {
                    return wrong("fromJSON() needs a text");
                };
                self.charge(text.len())?;
                match serde_json::from_str(text) {
                    Ok(json) => Ok(Value::from_json(&json)),
                    Err(_) => wrong("fromJSON() got invalid JSON"),
                }
            }
            "hashfiles" => wrong("hashFiles() is not available while jobs are planned"),
            "always" => Ok(Value::Bool(true)),
            "success" => self.status().map(Value::Bool),
            "failure" => self.status().map(|_| Value::Bool(false)),
            "cancelled" => halt("cancelled() is not available while jobs are planned"),
            _ => wrong("unknown function"),
        }
    }

    fn status(&self) -> Result<bool, Fault> {
        match self.scope.status {
            Status::Outside => wrong("status functions are not available outside of a job"),
            Status::Needs(fine) => Ok(fine),
            Status::Broken => {
                halt("a status function with needs that do not exist or form a cycle")
            }
        }
    }

    fn contains(&self, search: &Value, item: &Value) -> Result<bool, Fault> {
        match search {
            Value::List(items) => {
                for candidate in items.iter() {
                    if self.compare(Comparison::Equal, candidate, item)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Value::Map(_) | Value::OddMap(_) | Value::Record(..) | Value::Time(_) => Ok(false),
            _ => Ok(self.lowered(search)?.contains(&self.lowered(item)?)),
        }
    }

    fn lowered(&self, value: &Value) -> Result<String, Fault> {
        let text = value.coerced();
        self.charge(text.len())?;
        Ok(text.to_lowercase())
    }
}

/// Formats: `{0}` is the first argument, `{{` a brace.
fn format(template: &str, arguments: &[Value]) -> Result<Value, Fault> {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = after;
        } else if brace == "}" {
            return if rest.is_empty() {
                wrong("unmatched closing brace")
            } else {
                halt("format() has an unmatched closing brace")
            };
        } else {
            let Some(end) = rest.find(['{', '}']) else { return wrong("unclosed brace") };
            let (number, closing) = (&rest[..end], rest[end..].starts_with('}'));
            rest = &rest[end + 1..];
            if closing {
                out.push_str(&numbered(number, arguments)?);
            } else {
                // A second brace after some digits: the server's parser drops the digits.
                out.push('{');
            }
        }
        if out.len() > LONGEST {
            return bounded(out);
        }
    }
    out.push_str(rest);
    bounded(out)
}

/// Returns the argument of a number in braces.
fn numbered(number: &str, arguments: &[Value]) -> Result<Arc<str>, Fault> {
    let Ok(index) = number.parse::<i32>() else { return wrong("no number in braces") };
    let Ok(index) = usize::try_from(index) else { return halt("format() has a negative index") };
    match arguments.get(index) {
        Some(value) => Ok(value.coerced()),
        None => wrong("format() has too few arguments"),
    }
}

fn join(value: &Value, separator: &str) -> Result<Value, Fault> {
    let Value::List(items) = value else { return Ok(Value::Text(value.coerced())) };
    let mut out = String::new();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push_str(separator);
        }
        out.push_str(&item.coerced());
        if out.len() > LONGEST {
            break;
        }
    }
    bounded(out)
}

/// Writes indented JSON as Go does.
fn json(value: &Value, depth: usize, out: &mut String) -> Result<(), Fault> {
    if out.len() > LONGEST {
        return halt("toJSON() produces too large a text");
    }
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match value {
        Value::Null | Value::Record(_, false, _) => out.push_str("null"),
        Value::Bool(value) => _ = write!(out, "{value}"),
        Value::Int(value) => _ = write!(out, "{value}"),
        Value::Float(value) if !value.is_finite() => {
            return wrong("the number is not valid in JSON");
        }
        Value::Float(value) if value.abs() >= 1e21 || (*value != 0.0 && value.abs() < 1e-6) => {
            // Go writes `1e+21` and `1e-7`.
            let text = format!("{value:e}");
            out.push_str(&if value.abs() >= 1.0 { text.replace('e', "e+") } else { text });
        }
        Value::Float(value) => _ = write!(out, "{value}"),
        Value::Text(text) => quote(text, out),
        Value::Time(text) => quote(&date(text, "T00:00:00Z"), out),
        Value::List(items) if items.is_empty() => out.push_str("[]"),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index != 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                json(item, depth + 1, out)?;
            }
            line(out, depth);
            out.push(']');
        }
        Value::OddMap(_) => return wrong("a map whose keys are not texts"),
        Value::Map(entries) | Value::Record(_, true, entries) if entries.is_empty() => {
            out.push_str("{}");
        }
        Value::Map(entries) | Value::Record(_, true, entries) => {
            out.push('{');
            for (index, (key, item)) in entries.iter().enumerate() {
                if index != 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                quote(key, out);
                out.push_str(": ");
                json(item, depth + 1, out)?;
            }
            line(out, depth);
            out.push('}');
        }
    }
    Ok(())
}

/// Writes a JSON string; Go also escapes HTML characters.
fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}
