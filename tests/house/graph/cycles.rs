//! Finds import cycles as strongly connected components, with Tarjan's algorithm.

use std::collections::BTreeMap;

use super::Import;

/// Returns the imports within each component of more than one file.
pub(super) fn cycles<'a>(imports: &[&'a Import]) -> Vec<Vec<&'a Import>> {
    let mut graph: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for import in imports.iter().copied() {
        graph.entry(&import.from).or_default().push(&import.to);
        graph.entry(&import.to).or_default();
    }
    let mut search = Search::over(&graph);
    for file in graph.keys() {
        if !search.order.contains_key(file) {
            search.enter(file);
        }
    }
    let mut cycles: Vec<Vec<&Import>> = search
        .components
        .iter()
        .filter(|files| files.len() > 1)
        .map(|files| {
            let inside = |file: &str| files.contains(&file);
            imports
                .iter()
                .filter(|import| inside(&import.from) && inside(&import.to))
                .copied()
                .collect()
        })
        .collect();
    cycles.sort();
    cycles
}

struct Search<'a> {
    graph: &'a BTreeMap<&'a str, Vec<&'a str>>,
    /// The order in which a file was entered, and the earliest file that is reachable from it.
    order: BTreeMap<&'a str, usize>,
    lowest: BTreeMap<&'a str, usize>,
    stack: Vec<&'a str>,
    components: Vec<Vec<&'a str>>,
}

impl<'a> Search<'a> {
    fn over(graph: &'a BTreeMap<&'a str, Vec<&'a str>>) -> Self {
        Self {
            graph,
            order: BTreeMap::new(),
            lowest: BTreeMap::new(),
            stack: Vec::new(),
            components: Vec::new(),
        }
    }

    fn enter(&mut self, file: &'a str) {
        let entered = self.order.len();
        self.order.insert(file, entered);
        self.lowest.insert(file, entered);
        self.stack.push(file);
        for next in &self.graph[file] {
            if !self.order.contains_key(next) {
                self.enter(next);
                self.lower(file, self.lowest[next]);
            } else if self.stack.contains(next) {
                self.lower(file, self.order[next]);
            }
        }
        if self.lowest[file] == entered {
            let begin = self.stack.iter().position(|other| *other == file).unwrap_or_default();
            self.components.push(self.stack.split_off(begin));
        }
    }

    fn lower(&mut self, file: &'a str, to: usize) {
        if let Some(lowest) = self.lowest.get_mut(file) {
            *lowest = to.min(*lowest);
        }
    }
}
