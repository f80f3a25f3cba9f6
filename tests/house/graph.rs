//! The graph of imports between files, read from the code.
//!
//! An import is a name that a file uses from another: by `use`, or by a path in an expression,
//! type, macro or attribute. It points to the file that defines the name, even through a re-export.
//! `mod child;` and test-only code do not count.

mod attributes;
mod cases;
mod collect;
mod cycles;
mod layers;
mod modules;
mod resolve;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub(crate) use layers::Layers;

/// A crate: its name in code, and the folder of its `lib.rs` or `main.rs`.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) source: String,
}

/// An import of one file by another; `line` is its first occurrence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    pub(crate) from: String,
    pub(crate) line: usize,
    pub(crate) to: String,
    pub(crate) names: BTreeSet<String>,
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        write!(f, "{}:{} -> {} ({})", self.from, self.line, self.to, names.join(", "))
    }
}

/// A name from outside the workspace: a path, or a macro with `!`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outside {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) path: String,
}

/// The graph of a set of sources.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// All files that are not test-only.
    pub(crate) files: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    pub(crate) outside: Vec<Outside>,
    /// Read errors: a file that does not parse, a module without a file, a file that no module
    /// declares.
    pub(crate) problems: Vec<String>,
}

impl Graph {
    /// Builds the graph from `sources`, the text of each file by path.
    pub(crate) fn read(packages: &[Package], sources: &BTreeMap<String, String>) -> Self {
        let tree = modules::Tree::read(packages, sources);
        resolve::graph(tree)
    }

    /// Returns the imports of each cycle of modules. A module's file and the files in its folder
    /// are one unit among the modules beside it.
    pub(crate) fn cycles(&self) -> Vec<Vec<&Import>> {
        cycles::cycles(&self.imports)
    }
}

impl Import {
    /// Returns the two modules beside each other that contain the files, without extension.
    /// `None` within one unit, such as for a child's import of its parent, and between crates,
    /// whose cycles Cargo rejects.
    fn units(&self) -> Option<(&str, &str)> {
        let (from, to) = (stem(&self.from), stem(&self.to));
        let shared: Vec<&str> = from
            .split('/')
            .zip(to.split('/'))
            .take_while(|(from, to)| from == to)
            .map(|(part, _)| part)
            .collect();
        if !shared.contains(&"src") {
            return None;
        }
        let begin: usize = shared.iter().map(|part| part.len() + 1).sum();
        let end = |stem: &str| {
            let rest = stem.get(begin..)?;
            Some(begin + rest.find('/').unwrap_or(rest.len()))
        };
        Some((&from[..end(from)?], &to[..end(to)?]))
    }
}

/// Returns the path of a file's module: that of its folder for `lib.rs`, `main.rs` and `mod.rs`.
fn stem(file: &str) -> &str {
    ["/lib.rs", "/main.rs", "/mod.rs", ".rs"]
        .iter()
        .find_map(|end| file.strip_suffix(end))
        .unwrap_or(file)
}

/// Whether `file` is the module at `stem` (`a/b` is `a/b.rs`) or is in its folder.
pub(crate) fn belongs(file: &str, stem: &str) -> bool {
    file.strip_prefix(stem).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}
