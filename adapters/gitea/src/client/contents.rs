//! Reads what an evaluation needs of a repository: trees, files, commits, branches, variables.
//!
//! Trees and files are read by hash and cached: they never change. A first push with one workflow
//! file and a path filter takes three calls (both trees and the file), the next push two. If a
//! workflow would start, the list of workflows is one more call, cached for a minute.

mod compare;
mod lookups;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tokio::sync::Semaphore;

use super::cache::Cache;
use super::call::{Answer, Call};
use super::{Client, repository_path};
use crate::wire::{nullable, owner_and_name, percent_encode};

pub use compare::Changes;
pub use lookups::{Commit, Repository};

/// Entries per page of a tree (`[api] DEFAULT_GIT_TREES_PER_PAGE`), and most pages.
const PER_PAGE: usize = 1000;
const PAGES: usize = 100;
/// Files per call (`[api] DEFAULT_PAGING_NUM`), and bytes of their names.
const FILES_AT_ONCE: usize = 30;
const NAMES_AT_ONCE: usize = 4000;
/// Most workflow files of one commit.
pub const MOST_FILES: usize = 256;
/// Most bytes of a workflow file: the server reads no more (`modules/actions/workflows.go`).
pub const LARGEST_FILE: u64 = 1024 * 1024;
/// Concurrent calls of all evaluations together.
const AT_ONCE: usize = 4;
/// Size of each cache in bytes.
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Paths of workflow folders sort before this.
const PAST_WORKFLOWS: &str = ".github/workflows0";

/// An entry of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Entry {
    /// The path from the tree's root.
    #[serde(deserialize_with = "nullable")]
    pub path: String,
    /// As git writes it: `100644`.
    #[serde(deserialize_with = "nullable")]
    pub mode: String,
    /// `blob`, `tree` or `commit`.
    #[serde(rename = "type", deserialize_with = "nullable")]
    pub kind: String,
    /// The object's hash.
    #[serde(deserialize_with = "nullable")]
    pub sha: String,
    /// Size of a blob in bytes.
    #[serde(deserialize_with = "nullable")]
    pub size: u64,
}

impl Entry {
    fn is_tree(&self) -> bool {
        self.kind == "tree"
    }
}

#[derive(Deserialize)]
struct TreePage {
    #[serde(default, deserialize_with = "nullable")]
    tree: Vec<Entry>,
    #[serde(default, deserialize_with = "nullable")]
    truncated: bool,
}

/// Entries of a tree, from its beginning.
#[derive(Debug)]
pub(super) struct Tree {
    entries: Vec<Entry>,
    /// Whether these are all.
    whole: bool,
}

/// A file of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The path from the repository's root.
    pub path: String,
    /// Its bytes; `Err`: why they were not read.
    pub text: Result<Arc<Vec<u8>>, String>,
}

/// The files of a commit that may be workflows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    /// All `.yml` and `.yaml` files below the folders, by path, with their texts.
    pub files: Vec<File>,
    /// The requested folders that exist, even without a file.
    pub there: Vec<String>,
}

/// Caches, and the limit of concurrent calls.
pub(super) struct Contents {
    trees: Cache<Tree>,
    files: Cache<Vec<u8>>,
    /// Disabled workflows by repository, and when they were listed.
    disabled: Cache<(Timestamp, Arc<Vec<String>>)>,
    turns: Semaphore,
    /// Whether the server lacks `file-contents`.
    one_by_one: AtomicBool,
}

impl Default for Contents {
    fn default() -> Self {
        Self {
            trees: Cache::new(CACHE_BYTES),
            files: Cache::new(CACHE_BYTES),
            disabled: Cache::new(CACHE_BYTES / 64),
            turns: Semaphore::new(AT_ONCE),
            one_by_one: AtomicBool::new(false),
        }
    }
}

impl Client {
    /// Sends a call of an evaluation, within the limit of concurrent calls.
    async fn read_contents(&self, call: &Call) -> Result<Answer, PortError> {
        // Never closed, so the permit always comes.
        let _turn = self.contents.turns.acquire().await;
        self.sender.send(call).await
    }

    /// Reads the response of a call; `None` if the forge itself answers 404.
    async fn found<T: serde::de::DeserializeOwned>(
        &self,
        call: &Call,
        begin: u8,
    ) -> Result<Option<T>, PortError> {
        let answer = self.read_contents(call).await?;
        if answer.is_not_found() {
            // A proxy may answer 404 too; only the forge answers with a version.
            self.version().await?;
            return Ok(None);
        }
        self.sender.read_from(call, &answer, begin).map(Some)
    }

    /// Returns the workflow files below these folders of a commit, with their texts. `None`: the
    /// commit does not exist, or the token may not see the repository.
    ///
    /// # Errors
    /// The forge does not answer, or the folders hold too many files.
    pub async fn workflow_files(
        &self,
        repo: &str,
        commit: &str,
        folders: &[&str],
    ) -> Result<Option<Folders>, PortError> {
        let Some(tree) = self.tree(repo, commit, Depth::UntilPastWorkflows).await? else {
            return Ok(None);
        };
        let mut there = Vec::new();
        let mut wanted = Vec::new();
        for folder in folders {
            let below = |entry: &Entry| {
                entry.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
            };
            let itself = |entry: &Entry| entry.is_tree() && entry.path == *folder;
            if tree.entries.iter().any(|entry| itself(entry) || below(entry)) {
                there.push((*folder).to_owned());
            }
            let named = |entry: &&Entry| {
                let path = std::path::Path::new(&entry.path);
                below(entry)
                    && entry.kind == "blob"
                    && path.extension().is_some_and(|end| end == "yml" || end == "yaml")
            };
            wanted.extend(tree.entries.iter().filter(named));
        }
        if wanted.len() > MOST_FILES {
            let what =
                format!("{repo}@{commit} has more than {MOST_FILES} workflow files, the limit");
            return Err(PortError::new("forge", "tree", ErrorKind::Invalid, what));
        }
        let mut texts = self.texts(repo, commit, &wanted).await?;
        let files = wanted.iter().map(|entry| File {
            path: entry.path.clone(),
            text: match texts.remove(&entry.path) {
                Some(text) => Ok(text),
                None => Err(format!("the file is larger than {LARGEST_FILE} bytes")),
            },
        });
        Ok(Some(Folders { files: files.collect(), there }))
    }

    /// Returns the texts of these blobs, except those that are too large.
    async fn texts(
        &self,
        repo: &str,
        commit: &str,
        wanted: &[&Entry],
    ) -> Result<HashMap<String, Arc<Vec<u8>>>, PortError> {
        let mut texts = HashMap::new();
        let mut missing: Vec<&Entry> = Vec::new();
        for entry in wanted.iter().filter(|entry| entry.size <= LARGEST_FILE) {
            match self.contents.files.get(&entry.sha) {
                Some(text) => drop(texts.insert(entry.path.clone(), text)),
                None => missing.push(entry),
            }
        }
        if missing.len() > 1 && !self.contents.one_by_one.load(Ordering::Relaxed) {
            for portion in portions(&missing) {
                let Some(found) = self.files_at_once(repo, commit, portion).await? else { break };
                texts.extend(found);
            }
            missing.retain(|entry| !texts.contains_key(&entry.path));
        }
        // One after the other: few are left, and the limit of concurrent calls applies anyway.
        for entry in missing {
            texts.insert(entry.path.clone(), self.blob(repo, entry).await?);
        }
        Ok(texts)
    }

    /// Reads several files in one call (Gitea 1.24 or newer); `None`: the server cannot.
    async fn files_at_once(
        &self,
        repo: &str,
        commit: &str,
        wanted: &[&Entry],
    ) -> Result<Option<HashMap<String, Arc<Vec<u8>>>>, PortError> {
        let names: Vec<&str> = wanted.iter().map(|entry| entry.path.as_str()).collect();
        let body = percent_encode(&json!({ "files": names }).to_string());
        let rest = format!("/file-contents?ref={}&body={body}", percent_encode(commit));
        let call = in_repository("file_contents", repo, &rest)?;
        let answer = self.read_contents(&call).await?;
        if matches!(answer.status.as_u16(), 404 | 405) {
            self.version().await?;
            self.contents.one_by_one.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        let rows: Vec<Option<Blob>> = self.sender.read_from(&call, &answer, b'[')?;
        let mut found = HashMap::new();
        for blob in rows.into_iter().flatten() {
            let of = wanted.iter().find(|entry| entry.path == blob.path && entry.sha == blob.sha);
            // A truncated or different file is read by itself.
            if let (Some(entry), Some(text)) = (of, blob.decoded()) {
                found.insert(entry.path.clone(), self.cache_file(entry, text));
            }
        }
        Ok(Some(found))
    }

    async fn blob(&self, repo: &str, entry: &Entry) -> Result<Arc<Vec<u8>>, PortError> {
        let rest = format!("/git/blobs/{}", percent_encode(&entry.sha));
        let call = in_repository("blob", repo, &rest)?;
        let blob: Option<Blob> = self.found(&call, b'{').await?;
        let text = blob.and_then(Blob::decoded).ok_or_else(|| {
            let what = "the forge lists this file but does not return it";
            self.sender.error(&call, ErrorKind::Unavailable, what)
        })?;
        Ok(self.cache_file(entry, text))
    }

    fn cache_file(&self, entry: &Entry, text: Vec<u8>) -> Arc<Vec<u8>> {
        let (bytes, text) = (text.len(), Arc::new(text));
        self.contents.files.put(&entry.sha, text.clone(), bytes);
        text
    }

    /// Returns a tree, or the tree of a commit, by hash. `None`: it does not exist.
    async fn tree(
        &self,
        repo: &str,
        sha: &str,
        depth: Depth,
    ) -> Result<Option<Arc<Tree>>, PortError> {
        let key = format!("{repo} {sha} {}", depth.is_recursive());
        if let Some(tree) = self.contents.trees.get(&key)
            && (tree.whole || depth == Depth::UntilPastWorkflows)
        {
            return Ok(Some(tree));
        }
        let mut tree = Tree { entries: Vec::new(), whole: false };
        for page in 1..=PAGES {
            let recursive = if depth.is_recursive() { "recursive=true&" } else { "" };
            let sha = percent_encode(sha);
            let rest = format!("/git/trees/{sha}?{recursive}page={page}&per_page={PER_PAGE}");
            let call = in_repository("tree", repo, &rest)?;
            let Some(TreePage { tree: entries, truncated }) = self.found(&call, b'{').await? else {
                return Ok(None);
            };
            let empty = entries.is_empty();
            tree.entries.extend(entries);
            tree.whole = !truncated || empty;
            let past = || tree.entries.last().is_some_and(|e| e.path.as_str() > PAST_WORKFLOWS);
            if tree.whole || depth == Depth::UntilPastWorkflows && past() {
                break;
            }
        }
        let bytes = tree.entries.iter().map(|e| e.path.len() + e.sha.len() + 120).sum();
        let tree = Arc::new(tree);
        self.contents.trees.put(&key, tree.clone(), bytes);
        Ok(Some(tree))
    }
}

/// A read of a repository; `rest` begins after its name.
fn in_repository(operation: &'static str, repo: &str, rest: &str) -> Result<Call, PortError> {
    let Some((owner, name)) = owner_and_name(repo) else {
        let message = "the repository's name is not `owner/name`";
        return Err(PortError::new("forge", operation, ErrorKind::Invalid, message));
    };
    Ok(Call::get(operation, &format!("{}{rest}", repository_path(&owner, &name))))
}

/// The part of a tree to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// One level.
    One,
    /// Everything up to the end of the workflow folders: git sorts by path.
    UntilPastWorkflows,
}

impl Depth {
    fn is_recursive(self) -> bool {
        match self {
            Self::One => false,
            Self::UntilPastWorkflows => true,
        }
    }
}

/// Splits entries into portions for one call each.
fn portions<'a, 'e>(entries: &'a [&'e Entry]) -> Vec<&'a [&'e Entry]> {
    let mut portions = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(FILES_AT_ONCE).take_while(|entry| {
            bytes += entry.path.len();
            bytes <= NAMES_AT_ONCE
        });
        let (portion, more) = rest.split_at(fits.count().max(1));
        portions.push(portion);
        rest = more;
    }
    portions
}

/// A file as the API returns it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Blob {
    #[serde(deserialize_with = "nullable")]
    path: String,
    #[serde(deserialize_with = "nullable")]
    sha: String,
    #[serde(deserialize_with = "nullable")]
    encoding: String,
    content: Option<String>,
}

impl Blob {
    /// Returns the bytes; `None` if they are missing or encoded in another way.
    fn decoded(self) -> Option<Vec<u8>> {
        let text: String = self.content?.split_ascii_whitespace().collect();
        (self.encoding == "base64").then(|| STANDARD.decode(text).ok()).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn entry(path: &str, kind: &str, sha: &str) -> Entry {
        let mode = if kind == "tree" { "040000" } else { "100644" }.to_owned();
        Entry { path: path.into(), mode, kind: kind.into(), sha: sha.into(), size: 1 }
    }

    #[test]
    fn a_call_reads_thirty_files_or_four_kilobytes_of_names() {
        let short: Vec<Entry> = (0..61).map(|n| entry(&format!("f{n}"), "blob", "1")).collect();
        let short: Vec<&Entry> = short.iter().collect();
        let counts: Vec<usize> = portions(&short).iter().map(|some| some.len()).collect();
        assert_eq!(counts, [30, 30, 1]);
        let long: Vec<Entry> =
            [3_000, 3_000, 9_000, 10].iter().map(|n| entry(&"x".repeat(*n), "blob", "1")).collect();
        let long: Vec<&Entry> = long.iter().collect();
        let counts: Vec<usize> = portions(&long).iter().map(|some| some.len()).collect();
        assert_eq!(counts, [1, 1, 1, 1]);
    }
}
