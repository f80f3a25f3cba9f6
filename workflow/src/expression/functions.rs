//! The functions an expression may call.

use std::fmt::Write as _;
use std::sync::Arc;

use super::parse::Comparison;
use super::{Evaluator, Fault, LONGEST, Status, bounded, halt, wrong};
use crate::value::{Value, date};

impl Evaluator<'_> {
    pub(super) fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, Fault> {
        // The server takes the arguments without counting them, and falls over one that is missing.
        let argument = |index: usize| match arguments.get(index) {
            Some(value) => Ok(value),
            None => halt("a function with too few arguments"),
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
                let Value::Text(text) = argument(0)? else { return wrong("no text of JSON") };
                self.charge(text.len())?;
                match serde_json::from_str(text) {
                    Ok(json) => Ok(Value::from_json(&json)),
                    Err(_) => wrong("not JSON"),
                }
            }
            "hashfiles" => wrong("there are no files while jobs are planned"),
            "always" => Ok(Value::Bool(true)),
            "success" => self.status().map(Value::Bool),
            "failure" => self.status().map(|_| Value::Bool(false)),
            "cancelled" => halt("cancelled() while jobs are planned"),
            _ => wrong("an unknown function"),
        }
    }

    fn status(&self) -> Result<bool, Fault> {
        match self.scope.status {
            Status::Outside => wrong("a status outside of a job"),
            Status::Needs(fine) => Ok(fine),
            Status::Broken => halt("the status of needs that do not exist or go in a circle"),
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

/// `{0}` is the first argument, `{{` a brace.
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
                wrong("a closing brace alone")
            } else {
                halt("a closing brace alone in format()")
            };
        } else {
            let Some(end) = rest.find(['{', '}']) else { return wrong("an unclosed brace") };
            let (number, closing) = (&rest[..end], rest[end..].starts_with('}'));
            rest = &rest[end + 1..];
            if closing {
                out.push_str(&numbered(number, arguments)?);
            } else {
                // A second brace after some digits: the server's reader forgets the digits.
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

/// The argument that a number in braces means.
fn numbered(number: &str, arguments: &[Value]) -> Result<Arc<str>, Fault> {
    let Ok(index) = number.parse::<i32>() else { return wrong("no number in braces") };
    let Ok(index) = usize::try_from(index) else { return halt("a negative index in format()") };
    match arguments.get(index) {
        Some(value) => Ok(value.coerced()),
        None => wrong("format() with too few arguments"),
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

/// JSON in lines, as Go writes it.
fn json(value: &Value, depth: usize, out: &mut String) -> Result<(), Fault> {
    if out.len() > LONGEST {
        return halt("toJSON() of too large a value");
    }
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match value {
        Value::Null | Value::Record(_, false, _) => out.push_str("null"),
        Value::Bool(value) => _ = write!(out, "{value}"),
        Value::Int(value) => _ = write!(out, "{value}"),
        Value::Float(value) if !value.is_finite() => return wrong("no number of JSON"),
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
        Value::OddMap(_) => return wrong("a map whose keys are no texts"),
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

/// A text of JSON; Go also escapes what means something in HTML.
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
