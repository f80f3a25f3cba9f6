//! The fields of a record that this release does not know. A later release wrote them.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// The fields that tell which one of several a value is about.
const IDENTITY: [&str; 5] = ["number", "id", "reason", "at", "kind"];
/// The words that stand for a word that this release does not know.
const PLACEHOLDERS: [&str; 3] = ["Other", "other", "Unknown"];

/// The fields of a record that this release does not know, and the words for which it reads a
/// placeholder. They are written back as they were.
///
/// The fields of an attempt stay with its number, and those of a list's element with that element:
/// what a later release recorded about one attempt is not about the next.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct UnknownFields {
    fields: BTreeMap<String, Value>,
    /// Those within known fields and elements.
    within: BTreeMap<String, UnknownFields>,
}

/// Shows no content: it may be a credential.
impl fmt::Debug for UnknownFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "none" } else { "some" })
    }
}

impl UnknownFields {
    /// Returns whether everything is known.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.within.is_empty()
    }

    /// Returns what a stored value has beyond the known part of it.
    pub(super) fn of(stored: &Value, known: &Value) -> Self {
        let mut unknown = Self::default();
        match (stored, known) {
            (Value::Object(stored), Value::Object(known)) => {
                for (name, value) in stored {
                    match known.get(name) {
                        Some(read) if !is_placeholder(read) => {
                            unknown.add_within(place(name, read), Self::of(value, read));
                        }
                        Some(read) if read == value => {}
                        // A field without a value says nothing.
                        None if value.is_null() => {}
                        Some(_) | None => {
                            unknown.fields.insert(name.clone(), value.clone());
                        }
                    }
                }
            }
            (Value::Array(stored), Value::Array(known)) => {
                for (index, (value, read)) in stored.iter().zip(known).enumerate() {
                    unknown.add_within(place_in_list(index, read), Self::of(value, read));
                }
            }
            _ => {}
        }
        unknown
    }

    fn add_within(&mut self, place: String, unknown: Self) {
        if !unknown.is_empty() {
            self.within.insert(place, unknown);
        }
    }

    /// Puts them back into a value that is about to be stored. What it has itself stays.
    pub(super) fn put_into(&self, value: &mut Value) {
        if self.is_empty() {
            return;
        }
        match value {
            Value::Object(object) => {
                for (name, value) in object.iter_mut() {
                    if let Some(unknown) = self.within.get(&place(name, value)) {
                        unknown.put_into(value);
                    }
                }
                for (name, value) in &self.fields {
                    if object.get(name).is_none_or(is_placeholder) {
                        object.insert(name.clone(), value.clone());
                    }
                }
            }
            Value::Array(elements) => {
                for (index, element) in elements.iter_mut().enumerate() {
                    if let Some(unknown) = self.within.get(&place_in_list(index, element)) {
                        unknown.put_into(element);
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_placeholder(value: &Value) -> bool {
    value.as_str().is_some_and(|word| PLACEHOLDERS.contains(&word))
}

fn identity(value: &Value) -> String {
    IDENTITY.iter().filter_map(|name| Some(format!(" {name}={}", value.get(*name)?))).collect()
}

fn place(name: &str, value: &Value) -> String {
    name.to_owned() + &identity(value)
}

/// Elements of a list move, unless nothing but their place tells which one they are.
fn place_in_list(index: usize, element: &Value) -> String {
    let identity = identity(element);
    if identity.is_empty() { index.to_string() } else { identity }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_return_to_their_places() {
        let stored = json!({
            "new": {"a": 1},
            "reason": "Novel",
            "empty": null,
            "attempt": {"number": 3, "new": true, "runner": {"id": 7, "new": [1]}},
            "list": [{"at": 1, "kind": "Unknown"}, {"at": 2, "new": "x"}],
            "placements": [{"new": 1}, {}],
        });
        let known = json!({
            "reason": "Other",
            "attempt": {"number": 3, "runner": {"id": 7}},
            "list": [{"at": 1, "kind": "Unknown"}, {"at": 2}],
            "placements": [{}, {}],
        });
        let unknown = UnknownFields::of(&stored, &known);
        let mut again = known.clone();
        unknown.put_into(&mut again);
        let mut expected = stored.clone();
        expected.as_object_mut().unwrap().remove("empty");
        assert_eq!(again, expected);
        assert_eq!(UnknownFields::of(&again, &known), unknown);
        assert!(UnknownFields::of(&known, &known).is_empty());
        assert_eq!(format!("{unknown:?}"), "some");
    }

    #[test]
    fn what_is_known_or_about_something_else_is_not_replaced() {
        let stored = json!({
            "new": 1,
            "reason": "Novel",
            "attempt": {"number": 3, "new": true},
            "list": [{"at": 1, "new": 1}, {"at": 2, "new": 2}],
        });
        let known = json!({
            "reason": "Other",
            "attempt": {"number": 3},
            "list": [{"at": 1}, {"at": 2}],
        });
        let unknown = UnknownFields::of(&stored, &known);
        let mut later = json!({
            "new": 5,
            "reason": "Paced",
            "attempt": {"number": 4},
            "list": [{"at": 2}, {"at": 3}],
        });
        unknown.put_into(&mut later);
        let expected = json!({
            "new": 5,
            "reason": "Paced",
            "attempt": {"number": 4},
            "list": [{"at": 2, "new": 2}, {"at": 3}],
        });
        assert_eq!(later, expected);
    }
}
