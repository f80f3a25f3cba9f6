//! Reads numbers and switches.

use std::str::FromStr;

use super::keys::Form;
use super::reader::Reader;
use super::tree::{Node, Place, Value};

impl Reader<'_> {
    /// Parses a value that an environment variable gives as text.
    fn from_variable<T: FromStr>(node: &Node) -> Option<T> {
        match (&node.value, &node.at) {
            (Value::Text(text), Place::Variable(_)) => text.trim().parse().ok(),
            _ => None,
        }
    }

    /// Returns a whole number from 1, or its default; `None` for the word that means no limit.
    pub(super) fn count_or(&self, name: &str) -> Option<u32> {
        let key = self.key(name);
        let Form::CountOr(word) = key.form else { return self.count(name) };
        match self.node(name).map(|node| &node.value) {
            None => key.default.and_then(|default| default.parse().ok()),
            Some(Value::Text(text)) if text == word => None,
            Some(_) => self.count(name),
        }
    }

    /// Returns a whole number from 1.
    pub(super) fn count(&self, name: &str) -> Option<u32> {
        let node = self.node(name)?;
        let number = match &node.value {
            Value::Number(number) => Some(*number),
            _ => Self::from_variable(node),
        };
        let Some(number) = number else {
            self.wrong_type(name, node);
            return None;
        };
        match u32::try_from(number) {
            Ok(count) if count > 0 => Some(count),
            Ok(_) => {
                self.mistake(name, "0 would allow none: remove the key for its default");
                None
            }
            Err(_) => {
                self.mistake(name, &format!("{number} is not valid: from 1 to {}", u32::MAX));
                None
            }
        }
    }

    /// Returns a whole number in the range of its form.
    pub(super) fn count_in(&self, name: &str) -> Option<u32> {
        let Form::CountIn(least, most) = self.key(name).form else { return self.count(name) };
        let node = self.node(name)?;
        let number = match &node.value {
            Value::Number(number) => Some(*number),
            _ => Self::from_variable::<i64>(node),
        };
        let Some(number) = number else {
            self.wrong_type(name, node);
            return None;
        };
        let count = u32::try_from(number).ok().filter(|count| (least..=most).contains(count));
        if count.is_none() {
            self.mistake(name, &format!("{number} is not valid: from {least} to {most}"));
        }
        count
    }

    /// Returns a number in the range of its form.
    pub(super) fn decimal_in(&self, name: &str) -> Option<f64> {
        let Form::DecimalIn(least, most) = self.key(name).form else { return None };
        let node = self.node(name)?;
        let number = match &node.value {
            Value::Decimal(number) => Some(*number),
            Value::Number(number) => number.to_string().parse().ok(),
            _ => Self::from_variable(node),
        };
        let Some(number) = number else {
            self.wrong_type(name, node);
            return None;
        };
        if !(least..=most).contains(&number) {
            self.mistake(name, &format!("{number} is not valid: from {least} to {most}"));
            return None;
        }
        Some(number)
    }

    /// Returns `true` or `false`.
    pub(super) fn switch(&self, name: &str) -> bool {
        let Some(node) = self.node(name) else { return self.key(name).default == Some("true") };
        let switch = match &node.value {
            Value::Switch(switch) => Some(*switch),
            _ => Self::from_variable(node),
        };
        if switch.is_none() {
            self.wrong_type(name, node);
        }
        switch.unwrap_or_default()
    }
}
