//! The layers of one crate: which of its modules may import which.

use super::{Graph, Import, belongs};

/// The modules directly under `source`, from the lowest layer up. `lib.rs` and `main.rs` stand above.
pub(crate) struct Layers<'a> {
    pub(crate) source: &'a str,
    pub(crate) modules: &'a [&'a [&'a str]],
    /// Modules in the table that are still to come.
    pub(crate) later: &'a [&'a str],
}

impl Layers<'_> {
    /// The layer and the module of a file of this crate.
    fn place(&self, file: &str) -> Option<(usize, String)> {
        let inside = file.strip_prefix(self.source)?.strip_prefix('/')?;
        if inside == "lib.rs" || inside == "main.rs" {
            return Some((self.modules.len(), "lib and main".to_owned()));
        }
        self.modules.iter().enumerate().find_map(|(layer, modules)| {
            let module = modules.iter().find(|module| belongs(inside, module))?;
            Some((layer, (*module).to_owned()))
        })
    }

    fn is_of(&self, file: &str) -> bool {
        file.strip_prefix(self.source).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Where the table and the folder differ.
    pub(crate) fn unplaced(&self, graph: &Graph) -> Vec<String> {
        let mut found: Vec<String> = graph
            .files
            .iter()
            .filter(|file| self.is_of(file) && self.place(file).is_none())
            .map(|file| format!("{file}: stands in no layer"))
            .collect();
        for module in self.modules.iter().copied().flatten() {
            let stem = format!("{}/{module}", self.source);
            let exists = graph.files.iter().any(|file| belongs(file, &stem));
            match (exists, self.later.contains(module)) {
                (false, false) => found.push(format!("{stem}: stands in the table, but not there")),
                (true, true) => found.push(format!("{stem}: is there, and called still to come")),
                _ => {}
            }
        }
        found
    }

    /// Imports that go up, or to a neighbour on the same layer.
    pub(crate) fn broken<'g>(&self, graph: &'g Graph) -> Vec<(&'static str, &'g Import)> {
        graph
            .imports
            .iter()
            .filter_map(|import| {
                let (from, module) = self.place(&import.from)?;
                let (to, other) = self.place(&import.to)?;
                if module == other || to < from {
                    return None;
                }
                Some((if to > from { "upward" } else { "to a neighbour" }, import))
            })
            .collect()
    }
}
