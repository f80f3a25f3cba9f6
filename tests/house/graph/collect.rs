//! Collects the names, modules and mentioned paths of each file.

use std::collections::BTreeMap;

use syn::ext::IdentExt as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item, Meta, UseTree, Visibility};

use super::attributes::{attributes, given_paths, needs_test};
use super::modules::{Kind, Name, Tree, Written, folder_of};
use super::tokens;

/// Walks the files; `module` is the current module.
pub(super) struct Collector<'a> {
    tree: &'a mut Tree,
    sources: &'a BTreeMap<String, String>,
    module: usize,
    in_attribute: bool,
}

impl<'a> Collector<'a> {
    pub(super) fn new(
        tree: &'a mut Tree,
        sources: &'a BTreeMap<String, String>,
        module: usize,
    ) -> Self {
        Self { tree, sources, module, in_attribute: false }
    }

    /// Reads the file of the current module.
    pub(super) fn load(&mut self) {
        let file = self.tree.modules[self.module].file.clone();
        let Some(parsed) = self.parse(&file) else {
            self.tree.left_out.insert(file);
            return;
        };
        if needs_test(&parsed.attrs) {
            self.leave_out(&file);
            return;
        }
        self.tree.files.insert(file);
        self.visit_file(&parsed);
    }

    fn parse(&mut self, file: &str) -> Option<syn::File> {
        let Some(text) = self.sources.get(file) else {
            self.tree.problems.push(format!("{file}: no such file"));
            return None;
        };
        match syn::parse_file(text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let line = error.span().start().line;
                self.tree.problems.push(format!("{file}:{line}: cannot be parsed: {error}"));
                None
            }
        }
    }

    /// Marks a test-only file and the modules that it declares.
    fn leave_out(&mut self, file: &str) {
        if !self.tree.left_out.insert(file.to_owned()) {
            return;
        }
        let Some(parsed) = self.parse(file) else { return };
        let stem = file.strip_suffix(".rs").unwrap_or(file);
        let folder = stem.strip_suffix("/mod").unwrap_or(stem).to_owned();
        for item in &parsed.items {
            if let Item::Mod(module) = item
                && module.content.is_none()
            {
                for file in self.files_of(module, &folder, &folder_of(file)) {
                    self.leave_out(&file);
                }
            }
        }
    }

    /// Returns the files of `mod name;`; more than one if a feature selects the file.
    fn files_of(&self, module: &syn::ItemMod, folder: &str, beside: &str) -> Vec<String> {
        let name = module.ident.unraw();
        let (given, always) = given_paths(&module.attrs);
        let mut files: Vec<String> =
            given.iter().map(|path| join(beside, path)).collect::<Vec<_>>();
        if !always {
            let plain = join(folder, &format!("{name}.rs"));
            let nested = join(folder, &format!("{name}/mod.rs"));
            let exists = self.sources.contains_key(&plain) || !self.sources.contains_key(&nested);
            files.push(if exists { plain } else { nested });
        }
        files
    }

    fn child(&mut self, item: &syn::ItemMod) {
        let name = item.ident.unraw().to_string();
        let open = is_open(&item.vis);
        let parent = self.module;
        let folder = self.tree.modules[parent].folder.clone();
        if let Some((_, items)) = &item.content {
            let file = self.tree.modules[parent].file.clone();
            let module = self.tree.add(Some(parent), &file, join(&folder, &name));
            self.name(&name, Name::Module { module, open });
            self.module = module;
            for item in items {
                self.visit_item(item);
            }
            self.module = parent;
            return;
        }
        let beside = folder_of(&self.tree.modules[parent].file);
        for file in self.files_of(item, &folder, &beside) {
            let is_mod = file.ends_with("/mod.rs");
            let stem = file.strip_suffix(".rs").unwrap_or(&file);
            let folder = if is_mod { folder_of(&file) } else { stem.to_owned() };
            let module = self.tree.add(Some(parent), &file, folder);
            self.name(&name, Name::Module { module, open });
            self.module = module;
            self.load();
            self.module = parent;
        }
    }

    fn name(&mut self, name: &str, what: Name) {
        self.tree.modules[self.module].names.entry(name.to_owned()).or_default().push(what);
    }

    fn item(&mut self, ident: &Ident, vis: &Visibility) {
        let file = self.tree.modules[self.module].file.clone();
        let open = is_open(vis);
        self.name(&ident.unraw().to_string(), Name::Item { file, is_macro: false, open });
    }

    fn mention(&mut self, written: Written, kind: Kind, line: usize) {
        let first = self.tree.mentions.entry((self.module, kind, written)).or_insert(line);
        *first = line.min(*first);
    }

    fn uses(&mut self, tree: &UseTree, before: &Written, open: bool) {
        match tree {
            UseTree::Path(path) => {
                let mut longer = before.clone();
                longer.path.push(path.ident.unraw().to_string());
                self.uses(&path.tree, &longer, open);
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.uses(tree, before, open));
            }
            UseTree::Name(name) => self.leaf(&name.ident, &name.ident, before, open),
            UseTree::Rename(name) => self.leaf(&name.ident, &name.rename, before, open),
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                let kind = if open { Kind::OpenGlob } else { Kind::Glob };
                self.mention(before.clone(), kind, line);
                self.tree.modules[self.module].globs.push((before.clone(), open));
            }
        }
    }

    fn leaf(&mut self, ident: &Ident, name: &Ident, before: &Written, open: bool) {
        let mut written = before.clone();
        let ident_text = ident.unraw().to_string();
        // `use a::b::{self}` names `b`.
        let is_self = ident_text == "self" && !written.path.is_empty();
        if !is_self {
            written.path.push(ident_text);
        }
        let mut name = name.unraw().to_string();
        if name == "self" {
            name = written.path.last().cloned().unwrap_or_default();
        }
        let kind = if open { Kind::Reexport } else { Kind::Use };
        self.mention(written.clone(), kind, ident.span().start().line);
        self.name(&name, Name::Use { written, open });
    }

    fn macro_item(&mut self, item: &syn::ItemMacro) {
        let Some(ident) = &item.ident else {
            let names = tokens::identifiers(&item.mac.tokens);
            self.tree.modules[self.module].made.extend(names);
            return;
        };
        let file = self.tree.modules[self.module].file.clone();
        let name = ident.unraw().to_string();
        self.name(&name, Name::Item { file: file.clone(), is_macro: true, open: true });
        if item.attrs.iter().any(|attr| attr.path().is_ident("macro_export")) {
            let root = self.tree.modules[self.module].root;
            let exported = Name::Item { file, is_macro: true, open: true };
            self.tree.modules[root].names.entry(name).or_default().push(exported);
        }
    }
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attrs = attributes(item);
        if needs_test(attrs) {
            if let Item::Mod(module) = item
                && module.content.is_none()
            {
                let own = &self.tree.modules[self.module];
                let (folder, beside) = (own.folder.clone(), folder_of(&own.file));
                for file in self.files_of(module, &folder, &beside) {
                    self.leave_out(&file);
                }
            }
            return;
        }
        match item {
            Item::Mod(module) => return self.child(module),
            Item::Use(tree) => {
                let absolute = tree.leading_colon.is_some();
                let before = Written { absolute, path: Vec::new() };
                return self.uses(&tree.tree, &before, is_open(&tree.vis));
            }
            Item::Const(item) => self.item(&item.ident, &item.vis),
            Item::Enum(item) => self.item(&item.ident, &item.vis),
            Item::Fn(item) => self.item(&item.sig.ident, &item.vis),
            Item::Static(item) => self.item(&item.ident, &item.vis),
            Item::Struct(item) => self.item(&item.ident, &item.vis),
            Item::Trait(item) => self.item(&item.ident, &item.vis),
            Item::TraitAlias(item) => self.item(&item.ident, &item.vis),
            Item::Type(item) => self.item(&item.ident, &item.vis),
            Item::Union(item) => self.item(&item.ident, &item.vis),
            Item::Macro(item) => self.macro_item(item),
            Item::ExternCrate(item) => {
                let written = Written { absolute: true, path: vec![item.ident.to_string()] };
                let name = item.rename.as_ref().map_or(&item.ident, |(_, name)| name);
                self.name(&name.to_string(), Name::Use { written, open: is_open(&item.vis) });
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &'ast syn::ImplItem) {
        let attrs = match item {
            syn::ImplItem::Const(item) => &item.attrs,
            syn::ImplItem::Fn(item) => &item.attrs,
            syn::ImplItem::Type(item) => &item.attrs,
            syn::ImplItem::Macro(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !needs_test(attrs) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if let Some(first) = path.segments.first() {
            let absolute = path.leading_colon.is_some();
            let segments = path.segments.iter().map(|part| part.ident.unraw().to_string());
            let written = Written { absolute, path: segments.collect() };
            self.mention(written, Kind::Path, first.ident.span().start().line);
        }
        visit::visit_path(self, path);
    }

    /// A name in a pattern may be a constant.
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        let name = pattern.ident.unraw().to_string();
        if name.chars().next().is_some_and(char::is_uppercase) {
            let line = pattern.ident.span().start().line;
            self.mention(Written { absolute: false, path: vec![name] }, Kind::Path, line);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if let Some(first) = call.path.segments.first() {
            let absolute = call.path.leading_colon.is_some();
            let segments = call.path.segments.iter().map(|part| part.ident.unraw().to_string());
            let written = Written { absolute, path: segments.collect() };
            self.mention(written, Kind::Macro, first.ident.span().start().line);
        }
        self.visit_token_stream(&call.tokens);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if attribute.path().is_ident("doc") {
            return;
        }
        let before = std::mem::replace(&mut self.in_attribute, true);
        if let Meta::List(list) = &attribute.meta {
            self.visit_token_stream(&list.tokens);
        }
        self.in_attribute = before;
    }

    fn visit_token_stream(&mut self, stream: &'ast proc_macro2::TokenStream) {
        for found in tokens::paths(stream, self.in_attribute) {
            self.mention(found.written, found.kind, found.line);
        }
    }

    /// `pub(in path)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}
}

fn is_open(vis: &Visibility) -> bool {
    !matches!(vis, Visibility::Inherited)
}

fn join(folder: &str, name: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}
