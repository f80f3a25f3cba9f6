//! A workflow file as nodes: kinds, source text, aliases and duplicate keys as they are written.
//!
//! The forge decides by node kind and source text (`on: [1.10]` is no event, `push: main` has no
//! filter), so no typed or generic value will do. Read is what the forge's Go parser reads: the
//! first document, its first MiB; scalars are resolved by [`Node::core`] as that parser does.

use std::sync::Arc;

mod build;
mod core;
mod tabs;

pub use self::core::Core;

/// What of a file is read, in bytes; the forge ignores the rest.
pub const READ: usize = 1024 * 1024;
/// Deepest nesting, aliases followed.
pub const DEPTH: usize = 200;
/// Most nodes of a document, aliases followed.
pub const NODES: u64 = 1_000_000;
/// Most bytes that anchored nodes may hold beside the tree they stand in.
pub(crate) const ANCHORED: usize = 16 * 1024 * 1024;

/// Keys of a mapping that are compared each with each.
const FEW: usize = 16;

/// One node of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// The line it begins on, from 1.
    pub line: usize,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// A text.
    Scalar {
        /// After escapes and folding; otherwise as written (`1.10` stays `1.10`).
        text: String,
        /// Written without quotes and not as a block.
        plain: bool,
        /// The explicit tag, with `!!` for the common namespace (`!!str`); `!` alone is none.
        tag: Option<String>,
    },
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in order, duplicates kept.
    Mapping(Vec<(Node, Node)>),
    /// The node an alias stands for; `None`: a node that contains this very alias.
    Alias(Option<Arc<Node>>),
}

/// Why a text is no document: where and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct YamlError {
    /// The line, from 1; 0 where there is none.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl YamlError {
    pub(crate) fn new(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

/// Reads the first document of a file; an empty one is a null.
///
/// Total on any bytes: what is deeper than [`DEPTH`] or, aliases followed, larger than [`NODES`]
/// is an error, so whoever walks the result with its aliases ends.
///
/// # Errors
/// For whatever is no document, or a hostile one.
pub fn parse(text: &[u8]) -> Result<Node, YamlError> {
    build::document(text)
}

impl Node {
    /// The value of a key of a mapping, an alias followed on the way in; of duplicates the last.
    /// The key is compared as text, whatever its style or tag; keys that are merged by `<<` are
    /// not seen.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries()?.iter().rev().find(|(k, _)| k.as_str() == Some(key)).map(|(_, value)| value)
    }

    /// The node itself, or what it is an alias of.
    pub fn resolved(&self) -> &Node {
        let mut node = self;
        // An alias' target is no alias: an anchor cannot stand on one.
        while let Kind::Alias(Some(target)) = &node.kind {
            node = target;
        }
        node
    }

    /// The text of a scalar as written, whatever its type; an alias is none.
    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether it is a null scalar (`~`, `null`, nothing at all).
    pub fn is_null(&self) -> bool {
        self.core() == Some(Core::Null)
    }

    /// Whether it is an alias.
    pub fn is_alias(&self) -> bool {
        matches!(self.kind, Kind::Alias(_))
    }

    /// The items of a sequence, an alias followed.
    pub fn items(&self) -> Option<&[Node]> {
        match &self.resolved().kind {
            Kind::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The keys and values of a mapping, an alias followed.
    pub fn entries(&self) -> Option<&[(Node, Node)]> {
        match &self.resolved().kind {
            Kind::Mapping(entries) => Some(entries),
            _ => None,
        }
    }

    /// The first key of a mapping that stands there before: the forge's parser refuses it wherever
    /// it decodes the mapping.
    pub fn duplicate_key(&self) -> Option<&Node> {
        let entries = self.entries()?;
        // Few keys are compared with each other faster than they are hashed.
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

    /// Whether it is the key `<<`, which merges.
    pub(crate) fn is_merge(&self) -> bool {
        // Decided by its first characters for nearly every key.
        match &self.kind {
            Kind::Scalar { text, tag: None, .. } if text != "<<" => false,
            Kind::Scalar { .. } => self.core() == Some(Core::Merge),
            Kind::Sequence(_) | Kind::Mapping(_) | Kind::Alias(_) => false,
        }
    }

    /// What a scalar is in the forge's parser; `None` for anything else, aliases too, and for a
    /// scalar that its explicit tag does not fit.
    pub fn core(&self) -> Option<Core> {
        match &self.kind {
            Kind::Scalar { text, plain, tag } => core::resolve(text, *plain, tag.as_deref()),
            _ => None,
        }
    }
}

/// Whether the forge's parser takes one key for the other: texts by what they say, lists and mappings
/// by their kind alone; an alias is like nothing.
fn same_key(one: &Node, other: &Node) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Scalar { text, .. }, Kind::Scalar { text: other, .. }) => text == other,
        (Kind::Sequence(_), Kind::Sequence(_)) | (Kind::Mapping(_), Kind::Mapping(_)) => true,
        _ => false,
    }
}
