//! Compares two commits by their trees.

use std::collections::BTreeMap;
use std::sync::Arc;

use tinqs_ci_reconciler::ports::PortError;

use super::{Client, Depth, Entry, Tree};

/// Most calls of one comparison of two large trees.
const COMPARISON: usize = 400;

/// Files that differ between two commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// Exactly these.
    All(Vec<String>),
    /// These and perhaps more: the trees are too large to compare fully.
    Some(Vec<String>),
    /// Unknown: the forge no longer has one of the commits.
    Unknown(String),
}

/// One side of a comparison; `None`: nothing is there.
type Side = Option<String>;

impl Client {
    /// Returns the files that differ between two commits, by comparing their trees.
    ///
    /// # Errors
    /// The forge does not answer, or the token may not read the repository.
    pub async fn changed_files(
        &self,
        repo: &str,
        before: &str,
        tip: &str,
    ) -> Result<Changes, PortError> {
        let gone = |sha: &str| Changes::Unknown(format!("the forge does not have commit {sha}"));
        let Some(new) = self.tree(repo, tip, Depth::UntilPastWorkflows).await? else {
            return Ok(gone(tip));
        };
        let Some(old) = self.tree(repo, before, Depth::UntilPastWorkflows).await? else {
            return Ok(gone(before));
        };
        if new.whole && old.whole {
            return Ok(Changes::All(compare("", &old.entries, &new.entries).files));
        }
        self.compare_by_folder(repo, before, tip).await
    }

    /// Reads only folders whose hashes differ: large trees mostly differ in few.
    async fn compare_by_folder(
        &self,
        repo: &str,
        before: &str,
        tip: &str,
    ) -> Result<Changes, PortError> {
        let mut files = Vec::new();
        let mut folders: Vec<(String, Side, Side)> =
            vec![(String::new(), Some(before.to_owned()), Some(tip.to_owned()))];
        let mut calls = 0;
        while let Some((prefix, old, new)) = folders.pop() {
            if calls >= COMPARISON {
                tracing::warn!(repo, before, tip, "change too large to compare fully");
                files.sort();
                return Ok(Changes::Some(files));
            }
            let read = async |side: Side| match side {
                None => Ok(Some(Arc::new(Tree { entries: Vec::new(), whole: true }))),
                Some(sha) => self.tree(repo, &sha, Depth::One).await,
            };
            calls += usize::from(old.is_some()) + usize::from(new.is_some());
            let (old, new) = tokio::try_join!(read(old), read(new))?;
            let (Some(old), Some(new)) = (old, new) else {
                let what = format!("the forge does not have a folder of {before} or {tip}");
                return Ok(Changes::Unknown(what));
            };
            let Difference { files: some, folders: below } =
                compare(&prefix, &old.entries, &new.entries);
            files.extend(some);
            folders.extend(below);
        }
        files.sort();
        Ok(Changes::All(files))
    }
}

struct Difference {
    files: Vec<String>,
    /// Folders that differ, on either side.
    folders: Vec<(String, Side, Side)>,
}

/// Compares two listings of the same folder: names, modes, types and hashes count.
fn compare(prefix: &str, old: &[Entry], new: &[Entry]) -> Difference {
    let index = |entries: &[Entry]| -> BTreeMap<String, Entry> {
        entries.iter().map(|entry| (entry.path.clone(), entry.clone())).collect()
    };
    let (old, new) = (index(old), index(new));
    let mut difference = Difference { files: Vec::new(), folders: Vec::new() };
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let (was, is) = (old.get(name), new.get(name));
        if was.map(|e| (&e.mode, &e.kind, &e.sha)) == is.map(|e| (&e.mode, &e.kind, &e.sha)) {
            continue;
        }
        let path = format!("{prefix}{name}");
        if [was, is].into_iter().flatten().any(|entry| !entry.is_tree()) {
            difference.files.push(path.clone());
        }
        let folder = |side: Option<&Entry>| side.filter(|e| e.is_tree()).map(|e| e.sha.clone());
        let (was, is) = (folder(was), folder(is));
        if was.is_some() || is.is_some() {
            difference.folders.push((format!("{path}/"), was, is));
        }
    }
    difference
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;

    #[test]
    fn names_modes_types_and_hashes_make_a_difference() {
        let old = [
            entry("same", "blob", "1"),
            entry("gone", "blob", "2"),
            entry("dir", "tree", "3"),
            entry("becomes", "blob", "4"),
            entry("module", "commit", "5"),
            Entry { mode: "100755".into(), ..entry("mode", "blob", "6") },
        ];
        let new = [
            entry("same", "blob", "1"),
            entry("new", "blob", "2"),
            entry("dir", "tree", "9"),
            entry("becomes", "tree", "8"),
            entry("module", "commit", "7"),
            entry("mode", "blob", "6"),
        ];
        let Difference { files, folders } = compare("a/", &old, &new);
        assert_eq!(files, ["a/becomes", "a/gone", "a/mode", "a/module", "a/new"]);
        let side = |sha: &str| Some(sha.to_owned());
        let expected = [
            ("a/becomes/".to_owned(), None, side("8")),
            ("a/dir/".to_owned(), side("3"), side("9")),
        ];
        assert_eq!(folders, expected);
    }
}
