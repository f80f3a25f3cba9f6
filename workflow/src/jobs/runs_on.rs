//! Lists of texts that the server decodes from nodes: the labels of `runs-on`, and `needs`.

use crate::fields::Fields;
use crate::yaml::{Kind, Node};

/// The labels of `runs-on`, expressions not yet evaluated. If the server cannot decode them (an
/// alias, for example), there are none, and any runner will do.
pub(super) fn labels(node: Option<&Node>) -> Vec<String> {
    let Some(node) = node else { return Vec::new() };
    let Kind::Mapping(_) = &node.kind else { return texts(Some(node)) };
    let Ok(fields) = Fields::read(node) else { return Vec::new() };
    let group = match fields.get("group").map(Node::resolved) {
        Some(group) if group.is_null() => "",
        // A group that is not a text makes the whole value undecodable.
        Some(group) => match group.core().and(group.as_str()) {
            Some(group) => group,
            None => return Vec::new(),
        },
        None => "",
    };
    let mut labels = texts(fields.get("labels"));
    if !group.is_empty() {
        labels.push(group.to_owned());
    }
    labels
}

/// A text or a list of texts. A null is the empty text, in a list it is ignored; a list that holds
/// an alias or anything but texts is empty.
pub(super) fn texts(node: Option<&Node>) -> Vec<String> {
    let Some(node) = node else { return Vec::new() };
    match &node.kind {
        Kind::Scalar { .. } if node.is_null() => vec![String::new()],
        Kind::Scalar { text, .. } if node.core().is_some() => vec![text.clone()],
        Kind::Sequence(items) => {
            let mut texts = Vec::with_capacity(items.len());
            for item in items.iter().map(Node::resolved).filter(|item| !item.is_null()) {
                match item.core().and(item.as_str()) {
                    Some(text) => texts.push(text.to_owned()),
                    None => return Vec::new(),
                }
            }
            texts
        }
        _ => Vec::new(),
    }
}
