//! The files that a push changed: the plain difference of two trees, as the server's `git diff-tree
//! --name-only --root --no-commit-id -r -z` prints it.
//!
//! No merge base and no rename detection: both names count, and so do deletions, modes, types and
//! submodules.

use std::cmp::Ordering;
use std::collections::BTreeMap;

/// The object at a path of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The mode as git writes it (`100644`, `120000`, `160000`).
    pub mode: String,
    /// The object's ID, or anything else that is equal if the content is.
    pub id: String,
}

/// A commit's files, without its directories, by their path from the root.
pub type Tree = BTreeMap<String, Object>;

/// The parts of a commit that decide which files changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Its parents' IDs, in order.
    pub parents: Vec<String>,
    /// Its files.
    pub tree: Tree,
}

/// A commit that git does not have: pruned after a forced push, or never there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("commit {0} not found")]
pub struct UnknownCommit(pub String);

/// Returns the paths whose objects differ, in git's order.
pub fn compare(before: &Tree, tip: &Tree) -> Vec<String> {
    let (mut old, mut new) = (before.iter().peekable(), tip.iter().peekable());
    let mut changed = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changed,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((old, _)), Some((new, _))) => old.cmp(new),
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        if was.map(|(_, object)| object) != is.map(|(_, object)| object) {
            changed.extend(was.or(is).map(|(path, _)| path.clone()));
        }
    }
}

/// Returns the files that a push from `before` to `tip` changed.
///
/// For a new branch (`before` is all zeros) these are the changes of its tip against its parent:
/// everything for a first commit, nothing for a merge.
///
/// # Errors
/// [`UnknownCommit`]; the server then treats the path filters as not satisfied.
pub fn between(
    commits: &BTreeMap<String, Commit>,
    before: &str,
    tip: &str,
) -> Result<Vec<String>, UnknownCommit> {
    let commit = |id: &str| commits.get(id).ok_or_else(|| UnknownCommit(id.to_owned()));
    let tip = commit(tip)?;
    if !is_zero(before) {
        return Ok(compare(&commit(before)?.tree, &tip.tree));
    }
    match tip.parents.as_slice() {
        [] => Ok(compare(&Tree::new(), &tip.tree)),
        [parent] => Ok(compare(&commit(parent)?.tree, &tip.tree)),
        _ => Ok(Vec::new()),
    }
}

/// Whether an ID is git's null ID: forty or sixty-four zeros.
pub fn is_zero(id: &str) -> bool {
    matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte == b'0')
}
