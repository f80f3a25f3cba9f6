//! Resolves the paths that modules mention to the files that define the names.

use std::collections::BTreeMap;

use super::modules::{Kind, Name, Tree, Written};
use super::{Graph, Import, Outside};

/// The target of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Module(usize),
    Item { file: String, name: String },
    Outside(Vec<String>),
}

/// The imports currently being followed for a name, to end at recursion.
type Followed = Vec<(usize, String, Follow)>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    Use(usize),
    Glob(usize),
}

pub(super) fn graph(tree: Tree) -> Graph {
    let resolver = Resolver { tree: &tree };
    let mut imports = BTreeMap::new();
    let mut outside = BTreeMap::new();
    for ((module, kind, written), line) in &tree.mentions {
        let from = &tree.modules[*module].file;
        for target in resolver.named(*module, *kind, written) {
            let (to, name) = match target {
                Target::Item { file, name } => (file, name),
                Target::Module(to) => {
                    let name = written.path.last().cloned().unwrap_or_default();
                    (tree.modules[to].file.clone(), name)
                }
                Target::Outside(path) => {
                    let mut path = path.join("::");
                    if *kind == Kind::Macro {
                        path.push('!');
                    }
                    let first = outside.entry((from.clone(), path)).or_insert(*line);
                    *first = (*first).min(*line);
                    continue;
                }
            };
            if to == *from {
                continue;
            }
            let import = imports.entry((from.clone(), to.clone())).or_insert_with(|| Import {
                from: from.clone(),
                line: *line,
                to,
                names: std::collections::BTreeSet::new(),
            });
            import.line = import.line.min(*line);
            import.names.insert(name);
        }
    }
    let outside = outside.into_iter();
    Graph {
        imports: imports.into_values().collect(),
        outside: outside.map(|((file, path), line)| Outside { file, line, path }).collect(),
        files: tree.files,
        problems: tree.problems,
    }
}

struct Resolver<'a> {
    tree: &'a Tree,
}

impl Resolver<'_> {
    /// Returns the targets that count as imports. An alias of a module does not count; the paths
    /// through it do.
    fn named(&self, at: usize, kind: Kind, written: &Written) -> Vec<Target> {
        let mut targets = self.resolve(at, written, &mut Vec::new());
        if kind == Kind::Macro
            && let [name] = written.path.as_slice()
            && targets.iter().all(|target| matches!(target, Target::Outside(_)))
        {
            targets.extend(self.textual_macro(at, name));
        }
        let has_item = targets.iter().any(|target| matches!(target, Target::Item { .. }));
        let is_long = written.path.len() > 1;
        targets.retain(|target| match (target, kind) {
            (Target::Item { .. }, _)
            | (Target::Module(_), Kind::Reexport | Kind::OpenGlob | Kind::Attribute) => true,
            (Target::Module(to), Kind::Glob) => !self.is_spelt_out(at, *to),
            (Target::Module(_), Kind::Path) => is_long && !has_item,
            (Target::Module(_), Kind::Use | Kind::Macro) => false,
            (Target::Outside(path), _) => !has_item && (path.len() > 1 || kind == Kind::Macro),
        });
        if kind == Kind::OpenGlob || kind == Kind::Glob {
            for target in &mut targets {
                if let Target::Module(to) = target {
                    let file = self.tree.modules[*to].file.clone();
                    *target = Target::Item { file, name: "*".to_owned() };
                }
            }
        }
        targets
    }

    /// Whether any name from a glob is mentioned, so that the names count instead of the glob.
    fn is_spelt_out(&self, at: usize, glob: usize) -> bool {
        let own = &self.tree.modules[at].names;
        self.tree.mentions.keys().filter(|(module, ..)| *module == at).any(|(_, _, written)| {
            written.path.first().is_some_and(|head| {
                !own.contains_key(head) && !self.lookup(glob, head, at, &mut Vec::new()).is_empty()
            })
        })
    }

    fn resolve(&self, at: usize, written: &Written, asked: &mut Followed) -> Vec<Target> {
        let Some(first) = written.path.first() else { return Vec::new() };
        let mut rest = &written.path[1..];
        let head = match first.as_str() {
            _ if written.absolute => vec![self.library(first)],
            "crate" => vec![Target::Module(self.tree.modules[at].root)],
            "Self" => return Vec::new(),
            "self" | "super" => {
                let mut module = at;
                if first == "super" {
                    let Some(parent) = self.tree.modules[module].parent else { return Vec::new() };
                    module = parent;
                }
                while let Some((_, more)) = rest.split_first().filter(|(next, _)| *next == "super")
                {
                    let Some(parent) = self.tree.modules[module].parent else { return Vec::new() };
                    module = parent;
                    rest = more;
                }
                vec![Target::Module(module)]
            }
            name => {
                let found = self.lookup(at, name, at, asked);
                if found.is_empty() { vec![self.library(name)] } else { found }
            }
        };
        self.walk(at, head, rest, asked)
    }

    fn library(&self, name: &str) -> Target {
        match self.tree.crates.get(name) {
            Some(root) => Target::Module(*root),
            None => Target::Outside(vec![name.to_owned()]),
        }
    }

    fn walk(
        &self,
        from: usize,
        head: Vec<Target>,
        rest: &[String],
        asked: &mut Followed,
    ) -> Vec<Target> {
        let mut here = head;
        for segment in rest {
            // A function and a module may share a name; a path continues through the module.
            if here.iter().any(|target| matches!(target, Target::Module(_))) {
                here.retain(|target| matches!(target, Target::Module(_)));
            }
            let mut next = Vec::new();
            for target in here {
                match target {
                    Target::Module(module) => {
                        let found = self.lookup(module, segment, from, asked);
                        let is_known =
                            found.iter().any(|target| !matches!(target, Target::Outside(_)));
                        if is_known {
                            next.extend(
                                found.into_iter().filter(|t| !matches!(t, Target::Outside(_))),
                            );
                        } else {
                            // Defined outside the workspace or by a macro: counts for this module.
                            let file = self.tree.modules[module].file.clone();
                            next.push(Target::Item { file, name: segment.clone() });
                        }
                    }
                    Target::Item { .. } => next.push(target),
                    Target::Outside(mut path) => {
                        path.push(segment.clone());
                        next.push(Target::Outside(path));
                    }
                }
            }
            here = next;
        }
        here
    }

    /// Returns the targets of `name` in `module` that are visible from `from`.
    fn lookup(&self, module: usize, name: &str, from: usize, asked: &mut Followed) -> Vec<Target> {
        let own = &self.tree.modules[module];
        let is_inside = self.is_inside(from, module);
        let mut found = Vec::new();
        for (index, what) in own.names.get(name).into_iter().flatten().enumerate() {
            if !what.is_open() && !is_inside {
                continue;
            }
            match what {
                Name::Module { module, .. } => found.push(Target::Module(*module)),
                Name::Item { file, .. } => {
                    found.push(Target::Item { file: file.clone(), name: name.to_owned() });
                }
                Name::Use { written, .. } => {
                    let key = (module, name.to_owned(), Follow::Use(index));
                    found.extend(once(asked, key, |asked| self.resolve(module, written, asked)));
                }
            }
        }
        if found.is_empty() && own.made.contains(name) {
            found.push(Target::Item { file: own.file.clone(), name: name.to_owned() });
        }
        if found.is_empty() {
            for (index, (written, open)) in own.globs.iter().enumerate() {
                if !open && !is_inside {
                    continue;
                }
                let key = (module, name.to_owned(), Follow::Glob(index));
                found.extend(once(asked, key, |asked| {
                    let globs = self.resolve(module, written, asked).into_iter();
                    globs
                        .filter_map(|target| match target {
                            Target::Module(glob) => Some(self.glob(glob, name, module, asked)),
                            _ => None,
                        })
                        .flatten()
                        .collect()
                }));
            }
        }
        found
    }

    /// Like [`Self::lookup`], but a name from outside the workspace counts for the module.
    fn glob(&self, module: usize, name: &str, from: usize, asked: &mut Followed) -> Vec<Target> {
        let mut found = self.lookup(module, name, from, asked);
        for target in &mut found {
            if matches!(target, Target::Outside(_)) {
                let file = self.tree.modules[module].file.clone();
                *target = Target::Item { file, name: name.to_owned() };
            }
        }
        found
    }

    fn is_inside(&self, module: usize, outer: usize) -> bool {
        let mut at = Some(module);
        while let Some(module) = at {
            if module == outer {
                return true;
            }
            at = self.tree.modules[module].parent;
        }
        false
    }

    /// Finds a `macro_rules!` of this crate: in the module or an enclosing one, else the only one.
    fn textual_macro(&self, at: usize, name: &str) -> Option<Target> {
        let of = |module: usize| {
            self.tree.modules[module].names.get(name).into_iter().flatten().find_map(|what| {
                match what {
                    Name::Item { file, is_macro: true, .. } => {
                        Some(Target::Item { file: file.clone(), name: name.to_owned() })
                    }
                    _ => None,
                }
            })
        };
        let mut module = Some(at);
        while let Some(here) = module {
            if let Some(found) = of(here) {
                return Some(found);
            }
            module = self.tree.modules[here].parent;
        }
        let root = self.tree.modules[at].root;
        let mut all: Vec<Target> = (0..self.tree.modules.len())
            .filter(|module| self.tree.modules[*module].root == root)
            .filter_map(of)
            .collect();
        all.dedup();
        if all.len() == 1 { all.pop() } else { None }
    }
}

/// Follows an import unless it is already being followed.
fn once(
    asked: &mut Followed,
    key: (usize, String, Follow),
    follow: impl FnOnce(&mut Followed) -> Vec<Target>,
) -> Vec<Target> {
    if asked.contains(&key) {
        return Vec::new();
    }
    asked.push(key);
    let found = follow(asked);
    asked.pop();
    found
}
