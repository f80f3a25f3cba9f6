//! Values of expressions and matrices, as the server's evaluator knows and prints them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::yaml::{Core, Kind, Node};

/// One value. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Arc<str>),
    /// A date, or a date with a time, as written.
    Time(Arc<str>),
    List(Arc<[Value]>),
    Map(Arc<BTreeMap<Arc<str>, Value>>),
    /// A map whose keys are not texts: it has no readable fields.
    OddMap(Arc<BTreeMap<Arc<str>, Value>>),
    /// A structure of the server: its name there, whether it is set, its fields.
    Record(&'static str, bool, Arc<BTreeMap<Arc<str>, Value>>),
}

/// The reason why a node is not a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoValue {
    /// The server's decoder rejects it.
    Refused,
    /// Too large.
    TooLarge,
}

impl Value {
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(text.into())
    }

    /// Converts JSON; its numbers become floats.
    pub(crate) fn from_json(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(*value),
            serde_json::Value::Number(number) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Self::text(text.as_str()),
            serde_json::Value::Array(items) => {
                Self::List(items.iter().map(Self::from_json).collect())
            }
            serde_json::Value::Object(entries) => Self::Map(Arc::new(
                entries.iter().map(|(k, v)| (Arc::from(k.as_str()), Self::from_json(v))).collect(),
            )),
        }
    }

    /// Decodes a node to any value. `budget`: bytes that may still be used.
    pub(crate) fn from_node(node: &Node, budget: &mut usize) -> Result<Self, NoValue> {
        let node = node.resolved();
        let size = 32 + node.as_str().map_or(0, str::len);
        *budget = budget.checked_sub(size).ok_or(NoValue::TooLarge)?;
        match &node.kind {
            Kind::Scalar { text, .. } => Ok(match node.core().ok_or(NoValue::Refused)? {
                Core::Null => Self::Null,
                Core::Bool(value) => Self::Bool(value),
                Core::Int(value) => Self::Int(value),
                Core::Float(value) => Self::Float(value),
                Core::Timestamp => Self::Time(text.as_str().into()),
                Core::Merge | Core::Str => Self::text(text.as_str()),
            }),
            Kind::Sequence(items) => items
                .iter()
                .map(|item| Self::from_node(item, budget))
                .collect::<Result<_, _>>()
                .map(Self::List),
            Kind::Mapping(_) => {
                let fields = super::fields::Fields::read(node).map_err(|_| NoValue::Refused)?;
                let mut entries = BTreeMap::new();
                for (key, value) in fields.iter() {
                    let value = Self::from_node(value, budget)?;
                    *budget = budget.checked_sub(key.len()).ok_or(NoValue::TooLarge)?;
                    entries.insert(Arc::from(key), value);
                }
                Ok(if fields.keys_are_texts() {
                    Self::Map(Arc::new(entries))
                } else {
                    Self::OddMap(Arc::new(entries))
                })
            }
            // An alias within its own target.
            Kind::Alias(_) => Err(NoValue::Refused),
        }
    }

    /// Whether it counts as true in a condition.
    pub(crate) fn is_truthy(&self) -> bool {
        match self {
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0 && !value.is_nan(),
            Self::Text(text) => !text.is_empty(),
            Self::List(_) | Self::Map(_) | Self::OddMap(_) => true,
            Self::Null | Self::Time(_) | Self::Record(..) => false,
        }
    }

    /// Its text in an expression's result.
    pub(crate) fn coerced(&self) -> Arc<str> {
        match self {
            Self::Null => "".into(),
            Self::Bool(value) => if *value { "true" } else { "false" }.into(),
            Self::Int(value) => value.to_string().into(),
            Self::Float(value) if value.is_infinite() => {
                if value.is_sign_positive() { "Infinity" } else { "-Infinity" }.into()
            }
            Self::Float(value) => float(*value, Some(15), 'E').into(),
            Self::Text(text) => text.clone(),
            Self::Time(_) => "<time.Time Value>".into(),
            Self::List(_) => "Array".into(),
            Self::Map(_) | Self::OddMap(_) => "Object".into(),
            Self::Record(name, ..) => format!("<{name} Value>").into(),
        }
    }

    /// Prints it as Go does, as in a job's name.
    pub(crate) fn print(&self, out: &mut String) {
        // Writing to a string does not fail.
        match self {
            Self::Null => out.push_str("<nil>"),
            Self::Bool(value) => _ = write!(out, "{value}"),
            Self::Int(value) => _ = write!(out, "{value}"),
            Self::Float(value) => out.push_str(&float(*value, None, 'e')),
            Self::Text(text) => out.push_str(text),
            Self::Time(text) => out.push_str(&date(text, " 00:00:00 +0000 UTC")),
            Self::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    item.print(out);
                }
                out.push(']');
            }
            Self::Map(entries) | Self::OddMap(entries) | Self::Record(_, _, entries) => {
                out.push_str("map[");
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(' ');
                    }
                    out.push_str(key);
                    out.push(':');
                    value.print(out);
                }
                out.push(']');
            }
        }
    }
}

/// The shortest form of a float counts as having six digits, however many it has.
const SHORTEST: i32 = 6;

/// A float as Go's `%g` prints it with a precision, or with the fewest digits that identify it.
fn float(value: f64, precision: Option<usize>, exponent: char) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value.is_sign_positive() { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = match precision {
        Some(digits) => format!("{value:.*e}", digits - 1),
        None => format!("{value:e}"),
    };
    let (mantissa, power) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    let mantissa = if mantissa.contains('.') {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let widest = precision.map_or(SHORTEST, |digits| i32::try_from(digits).unwrap_or(i32::MAX));
    if power < -4 || power >= widest {
        return format!("{sign}{mantissa}{exponent}{power:+03}");
    }
    let shown = match usize::try_from(power) {
        Ok(power) if digits.len() > power + 1 => {
            format!("{}.{}", &digits[..=power], &digits[power + 1..])
        }
        Ok(power) => format!("{digits:0<width$}", width = power + 1),
        Err(_) => {
            let zeros = usize::try_from(-power - 1).unwrap_or(0);
            format!("0.{}{digits}", "0".repeat(zeros))
        }
    };
    [sign, &shown].concat()
}

/// Completes a date without time by `midnight`; a date with a time stays as written.
pub(crate) fn date(text: &str, midnight: &str) -> String {
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        [year, month, day] if day.len() <= 2 => format!("{year}-{month:0>2}-{day:0>2}{midnight}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_printed_as_go_does() {
        for (value, printed, coerced) in [
            (1.1, "1.1", "1.1"),
            (2.0, "2", "2"),
            (0.0001, "0.0001", "0.0001"),
            (0.000_01, "1e-05", "1E-05"),
            (123_456.0, "123456", "123456"),
            (1e6, "1e+06", "1000000"),
            (1_234_567.0, "1.234567e+06", "1234567"),
            (1e15, "1e+15", "1E+15"),
            (-0.5, "-0.5", "-0.5"),
            (0.1 + 0.2, "0.30000000000000004", "0.3"),
        ] {
            let value = Value::Float(value);
            let mut out = String::new();
            value.print(&mut out);
            assert_eq!((out.as_str(), &*value.coerced()), (printed, coerced));
        }
    }

    #[test]
    fn dates_are_completed_and_times_stay() {
        for (text, want) in [
            ("2024-1-2", "2024-01-02 noon"),
            ("2024-10-12", "2024-10-12 noon"),
            // The server would print these in full as well.
            ("2024-1-2T03:04:05Z", "2024-1-2T03:04:05Z"),
            ("2024-1-2 3:4:5", "2024-1-2 3:4:5"),
        ] {
            assert_eq!(date(text, " noon"), want);
        }
    }
}
