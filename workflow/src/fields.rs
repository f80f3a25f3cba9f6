//! The fields of a mapping as the server's decoder sees them: merged by `<<`, keys as texts,
//! duplicates rejected.

use std::collections::HashSet;

use super::yaml::{Core, Kind, Node};

/// A field that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadField {
    pub(crate) line: usize,
    pub(crate) why: String,
}

impl BadField {
    pub(crate) fn new(node: &Node, why: impl Into<String>) -> Self {
        Self { line: node.line, why: why.into() }
    }
}

/// Keys and values of a mapping in order, its own before the merged ones.
pub(crate) struct Fields<'n> {
    fields: Vec<(&'n str, &'n Node)>,
    keys_are_texts: bool,
}

impl<'n> Fields<'n> {
    /// Reads a mapping; a null has no fields.
    pub(crate) fn read(node: &'n Node) -> Result<Self, BadField> {
        let mut fields = Self { fields: Vec::new(), keys_are_texts: true };
        fields.collect(node, &mut None)?;
        Ok(fields)
    }

    /// Collects a mapping's own keys, then the merged ones. `seen`: within a merge, the keys that
    /// are already there and take precedence.
    fn collect(
        &mut self,
        node: &'n Node,
        seen: &mut Option<HashSet<&'n str>>,
    ) -> Result<(), BadField> {
        if node.resolved().is_null() {
            return Ok(());
        }
        let Some(entries) = node.entries() else {
            return Err(BadField::new(node, "expected a mapping"));
        };
        if let Some(key) = node.duplicate_key() {
            let name = key.as_str().unwrap_or("…");
            return Err(BadField::new(key, format!("duplicate key `{name}`")));
        }
        self.fields.reserve(entries.len());
        let mut merged = None;
        for (key, value) in entries {
            let key = key.resolved();
            let (Some(text), Some(core)) = (key.as_str(), key.core()) else {
                return Err(BadField::new(key, "a key must be a text"));
            };
            match core {
                Core::Merge => merged = Some(value),
                Core::Null => self.keys_are_texts = false,
                _ => {
                    self.keys_are_texts &= core == Core::Str;
                    if seen.as_mut().is_none_or(|seen| seen.insert(text)) {
                        self.fields.push((text, value));
                    }
                }
            }
        }
        let Some(merged) = merged else { return Ok(()) };
        seen.get_or_insert_with(|| self.fields.iter().map(|(name, _)| *name).collect());
        match &merged.resolved().kind {
            Kind::Mapping(_) => self.collect(merged, seen),
            Kind::Sequence(items) if !merged.is_alias() => {
                items.iter().try_for_each(|item| match &item.resolved().kind {
                    Kind::Mapping(_) => self.collect(item, seen),
                    _ => Err(BadField::new(item, "a merged value must be a mapping")),
                })
            }
            _ => Err(BadField::new(merged, "a merged value must be a mapping")),
        }
    }

    /// Returns the value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Node> {
        self.fields.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'n str, &'n Node)> + '_ {
        self.fields.iter().copied()
    }

    /// Whether every key is a text, not e.g. a number.
    pub(crate) fn keys_are_texts(&self) -> bool {
        self.keys_are_texts
    }
}
