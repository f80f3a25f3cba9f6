//! Finds paths in the unparsed tokens of macros and attributes.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use syn::ext::IdentExt as _;

use super::modules::{Kind, Written};

pub(super) struct Found {
    pub(super) written: Written,
    pub(super) kind: Kind,
    pub(super) line: usize,
}

/// Returns every identifier at any depth.
pub(super) fn identifiers(stream: &TokenStream) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for token in stream.clone() {
        match token {
            TokenTree::Ident(ident) => drop(found.insert(ident.unraw().to_string())),
            TokenTree::Group(group) => found.extend(identifiers(&group.stream())),
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
    }
    found
}

/// Returns every path at any depth; in attributes also those in strings such as `with = "a::b"`.
pub(super) fn paths(stream: &TokenStream, in_attribute: bool) -> Vec<Found> {
    let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Group(group) => {
                found.extend(paths(&group.stream(), in_attribute));
                at += 1;
            }
            TokenTree::Ident(_) => at = path(&tokens, at, in_attribute, &mut found),
            TokenTree::Literal(literal) => {
                if in_attribute {
                    found.extend(in_string(&literal.to_string(), &tokens, at));
                }
                at += 1;
            }
            TokenTree::Punct(_) => at += 1,
        }
    }
    found
}

/// Finds the path that begins at `start`. Returns the index of the token after it.
fn path(tokens: &[TokenTree], start: usize, in_attribute: bool, found: &mut Vec<Found>) -> usize {
    let before = &tokens[..start];
    let mut segments = Vec::new();
    let mut at = start;
    let mut group = None;
    while let Some(TokenTree::Ident(ident)) = tokens.get(at) {
        segments.push(ident.unraw().to_string());
        at += 1;
        if !is_colons(tokens, at) {
            break;
        }
        at += 2;
        if let Some(TokenTree::Group(braces)) = tokens.get(at)
            && braces.delimiter() == Delimiter::Brace
        {
            group = Some(braces.stream());
            at += 1;
            break;
        }
    }
    let line = tokens[start].span().start().line;
    let is_member = is_punct(before.last(), '.') && !is_range(before);
    let is_field = segments.len() == 1 && is_punct(tokens.get(at), ':');
    if is_member || (is_field && !in_attribute) {
        return at;
    }
    let absolute = before.len() >= 2 && is_colons(before, before.len() - 2);
    if let Some(group) = group {
        // `use a::{b, c::d}` within a macro.
        for mut inner in paths(&group, in_attribute) {
            inner.written.absolute = absolute;
            inner.written.path = [segments.clone(), inner.written.path].concat();
            found.push(inner);
        }
        return at;
    }
    let is_call = is_punct(tokens.get(at), '!')
        && matches!(tokens.get(at + 1), Some(TokenTree::Group(_) | TokenTree::Ident(_)));
    let kind = match (is_call, in_attribute) {
        (true, _) => Kind::Macro,
        (false, true) if segments.len() > 1 => Kind::Attribute,
        (false, _) => Kind::Path,
    };
    found.push(Found { written: Written { absolute, path: segments }, kind, line });
    at
}

/// Finds a path in a string, as in attributes of `serde` and `schemars`.
fn in_string(literal: &str, tokens: &[TokenTree], at: usize) -> Option<Found> {
    let value = syn::parse_str::<syn::LitStr>(literal).ok()?.value();
    let path = syn::parse_str::<syn::Path>(&value).ok()?;
    let is_with = matches!(
        at.checked_sub(2).map(|key| &tokens[key]),
        Some(TokenTree::Ident(key)) if key.to_string().ends_with("with")
    );
    if path.segments.len() < 2 && !is_with {
        return None;
    }
    let absolute = path.leading_colon.is_some();
    let segments = path.segments.iter().map(|part| part.ident.unraw().to_string()).collect();
    let line = tokens[at].span().start().line;
    Some(Found { written: Written { absolute, path: segments }, kind: Kind::Attribute, line })
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_colons(tokens: &[TokenTree], at: usize) -> bool {
    let joint = matches!(
        tokens.get(at),
        Some(TokenTree::Punct(punct)) if punct.as_char() == ':' && punct.spacing() == Spacing::Joint
    );
    joint && is_punct(tokens.get(at + 1), ':')
}

fn is_range(before: &[TokenTree]) -> bool {
    before.len() >= 2 && is_punct(before.get(before.len() - 2), '.')
}
