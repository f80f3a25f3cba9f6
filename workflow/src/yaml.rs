//! A workflow file as nodes: kinds, source text, aliases and duplicate keys as written.
//!
//! The forge decides by node kind and source text (`on: [1.10]` is no event, `push: main` has no
//! filter), so neither typed nor generic values suffice. The parser reads what the forge's Go
//! parser reads: the first document within the first MiB; [`Node::core`] resolves scalars as that
//! parser does.

use std::sync::Arc;

mod build;
mod core;
mod tabs;

pub use self::core::Core;

/// Most bytes read of a file; the forge ignores the rest.
pub const READ: usize = 1024 * 1024;
/// Deepest nesting, through aliases.
pub const DEPTH: usize = 200;
/// Most nodes of a document, through aliases.
pub const NODES: u64 = 1_000_000;
/// Most bytes of anchored nodes, beside the tree that contains them.
pub(crate) const ANCHORED: usize = 16 * 1024 * 1024;

/// Most keys of a mapping that are compared pairwise.
const FEW: usize = 16;

/// One node of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its kind and content.
    pub kind: Kind,
    /// The line where it begins, from 1.
    pub line: usize,
}

/// The kind and content of a node.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A text.
    Scalar {
        /// The text after escapes and folding, otherwise as written (`1.10` stays `1.10`).
        text: String,
        /// Whether it is written without quotes and not as a block.
        plain: bool,
        /// The explicit tag, with `!!` for the common namespace (`!!str`); `None` for `!` alone.
        tag: Option<String>,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in order, duplicates kept.
    Mapping(Vec<(Node, Node)>),
    /// The target of an alias; `None` if the target contains this alias.
    Alias(Option<Arc<Node>>),
}

/// The reason why a text is not a document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct YamlError {
    /// The line, from 1; 0 if unknown.
    pub line: usize,
    /// The problem there.
    pub message: String,
}

impl YamlError {
    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Parses the first document of a file; an empty one is a null.
///
/// Total on any bytes: a document deeper than [`DEPTH`] or, through aliases, larger than [`NODES`]
/// is an error, so walking the result with its aliases terminates.
///
/// # Errors
/// [`YamlError`] if the text is not a document, or exceeds a limit.
pub fn parse(text: &[u8]) -> Result<Node, YamlError> {
    build::document(text)
}

impl Node {
    /// Returns the value of a mapping's key, or of an alias to a mapping; of duplicates the last.
    /// The key is compared as text, whatever its style or tag; keys merged by `<<` are not found.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().rev().find(|(k, _)| k.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// Returns the node itself, or the target of an alias.
    pub fn resolved(&self) -> &Node {
        let mut node = self;
        // An alias's target is not an alias: an alias cannot have an anchor.
        while let Kind::Alias(Some(target)) = &node.kind {
            node = target;
        }
        node
    }

    /// The text of a scalar as written, whatever its type; `None` for an alias.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is a null scalar (`~`, `null`, or empty).
    pub fn is_null(&self) -> bool {
        self.core() == Some(Core::Null)
    }

    /// Whether it is an alias.
    pub fn is_alias(&self) -> bool {
        matches!(self.kind, Kind::Alias(_))
    }

    /// The items of a sequence, or of an alias to one.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.resolved().kind {
            Kind::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The keys and values of a mapping, or of an alias to one.
    pub fn entries(&self) -> Option<&[(Node, Node)]> {
        match &self.resolved().kind {
            Kind::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// Returns the first duplicate key of a mapping: the forge's parser rejects it wherever it
    /// decodes the mapping.
    pub fn duplicate_key(&self) -> Option<&Node> {
        let entries = self.entries()?;
        // For few keys, comparing is faster than hashing.
        if entries.len() <= FEW {
            let stood =
                |at: usize| entries[..at].iter().any(|(key, _)| same_key(key, &entries[at].0));
            return (1..entries.len()).find(|at| stood(*at)).map(|at| &entries[at].0);
        }
        let mut seen = std::collections::HashSet::with_capacity(entries.len());
        entries.iter().map(|(key, _)| key).find(|key| match &key.kind {
            Kind::Scalar { text, .. } => !seen.insert((0, text.as_str())),
            Kind::Sequence(_) => !seen.insert((1, "")),
            Kind::Mapping(_) => !seen.insert((2, "")),
            Kind::Alias(_) => false,
        })
    }

    /// Whether it is the merge key `<<`.
    pub(crate) fn is_merge(&self) -> bool {
        // The text alone decides for nearly every key.
        match &self.kind {
            Kind::Scalar { text, tag: None, .. } if text != "<<" => false,
            Kind::Scalar { .. } => self.core() == Some(Core::Merge),
            Kind::Sequence(_) | Kind::Mapping(_) | Kind::Alias(_) => false,
        }
    }

    /// The type of a scalar in the forge's parser; `None` for any other node including aliases, and
    /// for a scalar that does not fit its explicit tag.
    pub fn core(&self) -> Option<Core> {
        match &self.kind {
            Kind::Scalar { text, plain, tag } => core::resolve(text, *plain, tag.as_deref()),
            _ => None,
        }
    }
}

/// Whether the forge's parser considers two keys equal: texts by content, lists and mappings by
/// kind alone; an alias equals nothing.
fn same_key(one: &Node, other: &Node) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Scalar { text, .. }, Kind::Scalar { text: other, .. }) => text == other,
        (Kind::Sequence(_), Kind::Sequence(_)) | (Kind::Mapping(_), Kind::Mapping(_)) => true,
        _ => false,
    }
}
