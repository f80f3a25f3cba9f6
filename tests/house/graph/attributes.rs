//! Reads attributes: whether an item is test-only, and the path of its file.

use syn::punctuated::Punctuated;
use syn::{Attribute, Item, Meta, Token};

/// Returns the paths of `#[path]`, and whether one of them is unconditional.
pub(super) fn given_paths(attrs: &[Attribute]) -> (Vec<String>, bool) {
    let mut always = false;
    let mut paths = Vec::new();
    for attr in attrs {
        if let Some(path) = path_value(&attr.meta) {
            always = true;
            paths.push(path);
        } else if attr.path().is_ident("cfg_attr") {
            paths.extend(nested(&attr.meta).iter().filter_map(path_value));
        }
    }
    (paths, always)
}

fn path_value(meta: &Meta) -> Option<String> {
    let Meta::NameValue(pair) = meta else { return None };
    let syn::Expr::Lit(value) = &pair.value else { return None };
    let syn::Lit::Str(value) = &value.lit else { return None };
    pair.path.is_ident("path").then(|| value.value())
}

fn nested(meta: &Meta) -> Vec<Meta> {
    let Meta::List(list) = meta else { return Vec::new() };
    list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)
        .map(|metas| metas.into_iter().collect())
        .unwrap_or_default()
}

/// Whether these attributes make an item test-only.
pub(super) fn needs_test(attrs: &[Attribute]) -> bool {
    attrs.iter().any(|attr| {
        attr.path().is_ident("test")
            || (attr.path().is_ident("cfg") && nested(&attr.meta).iter().any(is_of_tests))
    })
}

fn is_of_tests(meta: &Meta) -> bool {
    if meta.path().is_ident("all") {
        nested(meta).iter().any(is_of_tests)
    } else if meta.path().is_ident("any") {
        let parts = nested(meta);
        !parts.is_empty() && parts.iter().all(is_of_tests)
    } else {
        matches!(meta, Meta::Path(path) if path.is_ident("test"))
    }
}

pub(super) fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
