//! The layers of a crate, which restrict the imports of its modules.

use super::{Graph, Import, belongs};

/// The modules directly under `source`, lowest layer first. `lib.rs` and `main.rs` are above all.
pub(crate) struct Layers<'a> {
    pub(crate) source: &'a str,
    pub(crate) modules: &'a [&'a [&'a str]],
}

impl Layers<'_> {
    /// Returns the layer and the module of a file of this crate.
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

    /// Returns the differences between the table and the folder.
    pub(crate) fn unplaced(&self, graph: &Graph) -> Vec<String> {
        let mut found: Vec<String> = graph
            .files
            .iter()
            .filter(|file| self.is_of(file) && self.place(file).is_none())
            .map(|file| format!("{file}: in no layer"))
            .collect();
        for module in self.modules.iter().copied().flatten() {
            let stem = format!("{}/{module}", self.source);
            let exists = graph.files.iter().any(|file| belongs(file, &stem));
            if !exists {
                found.push(format!("{stem}: in the table, but does not exist"));
            }
        }
        found
    }

    /// Returns imports of a higher layer, or of another module of the same layer.
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
                Some((if to > from { "upward" } else { "same layer" }, import))
            })
            .collect()
    }
}
