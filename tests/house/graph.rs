//! The graph of files: which file of a crate imports which, read from the code itself.
//!
//! An import is a name that one file takes from another: by `use`, by a path in an expression, a
//! type or a macro, by a path in an attribute. It counts for the file that defines the name, also
//! when it is reached through a re-export. `mod child;` and whatever only tests build do not count.

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

/// A crate whose sources are read: its name in code, and the folder of its `lib.rs` or `main.rs`.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) source: String,
}

/// One file imports another; `line` is the first one that does.
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

/// A name from outside the workspace: a path, or a macro with its `!`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outside {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) path: String,
}

/// What the sources say.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    /// Every file that is built outside of tests.
    pub(crate) files: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    pub(crate) outside: Vec<Outside>,
    /// What could not be read: a file that does not parse, a module without a file, a file that no
    /// module declares.
    pub(crate) problems: Vec<String>,
}

impl Graph {
    /// Reads the graph from `sources`: the text of each file, by its path.
    pub(crate) fn read(packages: &[Package], sources: &BTreeMap<String, String>) -> Self {
        let tree = modules::Tree::read(packages, sources);
        resolve::graph(tree)
    }

    /// The imports of each group of files that import each other in a circle. A child's import of
    /// the file that its module lies in does not count: the two are one unit.
    pub(crate) fn cycles(&self) -> Vec<Vec<&Import>> {
        let imports: Vec<&Import> =
            self.imports.iter().filter(|import| !import.is_of_parent()).collect();
        cycles::cycles(&imports)
    }
}

impl Import {
    /// Whether a file imports the file of a module that it lies in.
    pub(crate) fn is_of_parent(&self) -> bool {
        let stem = ["/lib.rs", "/main.rs", "/mod.rs", ".rs"]
            .iter()
            .find_map(|end| self.to.strip_suffix(end))
            .unwrap_or(&self.to);
        self.from.strip_prefix(stem).is_some_and(|rest| rest.starts_with('/'))
    }
}

/// Whether `file` is the module at `stem` (`a/b` is `a/b.rs`) or lies in its folder.
pub(crate) fn belongs(file: &str, stem: &str) -> bool {
    file.strip_prefix(stem).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}
