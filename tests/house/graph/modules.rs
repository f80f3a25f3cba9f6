//! The module trees of the crates: the names in each module, and the paths that it mentions.

use std::collections::{BTreeMap, BTreeSet};

use super::Package;
use super::collect::Collector;

/// A path as written; an `absolute` one begins with `::`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Written {
    pub(super) absolute: bool,
    pub(super) path: Vec<String>,
}

/// The meaning of a name in a module.
#[derive(Debug)]
pub(super) enum Name {
    Module { module: usize, open: bool },
    Item { file: String, is_macro: bool, open: bool },
    Use { written: Written, open: bool },
}

impl Name {
    /// Whether the name is visible outside its module.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Module { open, .. } | Self::Item { open, .. } | Self::Use { open, .. } => *open,
        }
    }
}

#[derive(Debug)]
pub(super) struct Module {
    pub(super) root: usize,
    pub(super) parent: Option<usize>,
    pub(super) file: String,
    /// The folder of the files of its child modules.
    pub(super) folder: String,
    pub(super) names: BTreeMap<String, Vec<Name>>,
    /// `use path::*`, and whether it re-exports.
    pub(super) globs: Vec<(Written, bool)>,
    /// Identifiers in item macros, which may define these names.
    pub(super) made: BTreeSet<String>,
}

/// The form in which a path occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Path,
    Use,
    Reexport,
    Glob,
    OpenGlob,
    Macro,
    Attribute,
}

#[derive(Debug, Default)]
pub(super) struct Tree {
    /// The root module of each library, by its crate name in code.
    pub(super) crates: BTreeMap<String, usize>,
    pub(super) modules: Vec<Module>,
    /// The paths that a module mentions, with the first line of each.
    pub(super) mentions: BTreeMap<(usize, Kind, Written), usize>,
    pub(super) files: BTreeSet<String>,
    /// Files that are test-only or cannot be parsed.
    pub(super) left_out: BTreeSet<String>,
    pub(super) problems: Vec<String>,
}

impl Tree {
    pub(super) fn read(packages: &[Package], sources: &BTreeMap<String, String>) -> Self {
        let mut tree = Self::default();
        for package in packages {
            let folder = format!("{}/", package.source);
            let own: Vec<&String> =
                sources.keys().filter(|file| file.starts_with(&folder)).collect();
            let before = tree.modules.len();
            for file in &own {
                let name = &file[folder.len()..];
                let is_binary = name.strip_prefix("bin/").is_some_and(|bin| !bin.contains('/'));
                if name != "lib.rs" && name != "main.rs" && !is_binary {
                    continue;
                }
                let root = tree.add(None, file, folder_of(file));
                if name == "lib.rs" {
                    tree.crates.insert(package.name.clone(), root);
                }
                Collector::new(&mut tree, sources, root).load();
            }
            if tree.modules.len() == before {
                tree.problems.push(format!("{}: neither lib.rs nor main.rs", package.source));
            }
            let unread = own
                .into_iter()
                .filter(|file| !tree.files.contains(*file) && !tree.left_out.contains(*file))
                .map(|file| format!("{file}: no module declares it"))
                .collect::<Vec<_>>();
            tree.problems.extend(unread);
        }
        tree
    }

    pub(super) fn add(&mut self, parent: Option<usize>, file: &str, folder: String) -> usize {
        let module = self.modules.len();
        self.modules.push(Module {
            root: parent.map_or(module, |parent| self.modules[parent].root),
            parent,
            file: file.to_owned(),
            folder,
            names: BTreeMap::new(),
            globs: Vec::new(),
            made: BTreeSet::new(),
        });
        module
    }
}

/// Returns the folder of a file.
pub(super) fn folder_of(file: &str) -> String {
    file.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned())
}
