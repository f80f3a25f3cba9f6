//! Finds import cycles as strongly connected components, with Tarjan's algorithm.

use std::collections::BTreeMap;

use super::Import;

/// Returns the imports within each component of more than one module.
pub(super) fn cycles(imports: &[Import]) -> Vec<Vec<&Import>> {
    let mut graph: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in imports.iter().filter_map(Import::units) {
        graph.entry(from).or_default().push(to);
        graph.entry(to).or_default();
    }
    let mut search = Search::over(&graph);
    for module in graph.keys() {
        if !search.order.contains_key(module) {
            search.enter(module);
        }
    }
    let mut cycles: Vec<Vec<&Import>> = search
        .components
        .iter()
        .filter(|modules| modules.len() > 1)
        .map(|modules| {
            let inside = |(from, to)| modules.contains(&from) && modules.contains(&to);
            imports.iter().filter(|import| import.units().is_some_and(inside)).collect()
        })
        .collect();
    cycles.sort();
    cycles
}

struct Search<'a> {
    graph: &'a BTreeMap<&'a str, Vec<&'a str>>,
    /// The order in which a module was entered, and the earliest one that is reachable from it.
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

    fn enter(&mut self, module: &'a str) {
        let entered = self.order.len();
        self.order.insert(module, entered);
        self.lowest.insert(module, entered);
        self.stack.push(module);
        for next in &self.graph[module] {
            if !self.order.contains_key(next) {
                self.enter(next);
                self.lower(module, self.lowest[next]);
            } else if self.stack.contains(next) {
                self.lower(module, self.order[next]);
            }
        }
        if self.lowest[module] == entered {
            let begin = self.stack.iter().position(|other| *other == module).unwrap_or_default();
            self.components.push(self.stack.split_off(begin));
        }
    }

    fn lower(&mut self, module: &'a str, to: usize) {
        if let Some(lowest) = self.lowest.get_mut(module) {
            *lowest = to.min(*lowest);
        }
    }
}
