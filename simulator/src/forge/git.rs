//! Repositories with contents: commits, trees and refs as the API shows them.
//!
//! Hashes are not git's own, but also depend only on the content: the same folder has the same hash
//! in every commit.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Forge, JobSpec, Webhook, digest};

/// All files of a commit: path → content.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The null hash, which payloads use for no commit.
pub const ZEROS: &str = "0000000000000000000000000000000000000000";

/// A commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its hash.
    pub sha: String,
    /// Hashes of its parents, first parent first.
    pub parents: Vec<String>,
    /// The whole message.
    pub message: String,
    /// All files.
    pub files: Files,
}

/// A push to a branch or tag.
#[derive(Clone, Debug, Default)]
pub struct Push<'a> {
    /// `refs/heads/…` or `refs/tags/…`.
    pub git_ref: &'a str,
    /// Changes to the files of the ref: `None` removes a file.
    pub changes: &'a [(&'a str, Option<&'a str>)],
    /// The commit's message.
    pub message: &'a str,
    /// Jobs that the server creates, one list per workflow run. The test states them, so that the
    /// server does not share bugs with the evaluation under test.
    pub runs: &'a [Vec<JobSpec>],
}

/// An entry of a tree in the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeEntry {
    /// Path from the root of the tree.
    pub path: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// Its hash.
    pub sha: String,
    /// Size of a file in bytes.
    pub size: usize,
}

impl TreeEntry {
    pub(crate) fn json(&self) -> Value {
        let (mode, kind) = if self.folder { ("040000", "tree") } else { ("100644", "blob") };
        json!({"path": self.path, "mode": mode, "type": kind, "size": self.size, "sha": self.sha})
    }
}

/// Returns the hash of a file's content.
pub(crate) fn blob_sha(content: &[u8]) -> String {
    digest(&format!("blob/{}", hex::encode(content)))
}

/// Returns the hash of a folder with these files, whose paths are relative to it.
fn tree_sha(files: &Files) -> String {
    let text: Vec<String> = files.iter().map(|(p, c)| format!("{p}={}", blob_sha(c))).collect();
    digest(&format!("tree/{}", text.join("/")))
}

/// Returns the files below a folder, with paths relative to it.
fn below(files: &Files, folder: &str) -> Files {
    let prefix = format!("{folder}/");
    files
        .iter()
        .filter_map(|(path, content)| {
            Some((path.strip_prefix(&prefix)?.to_owned(), content.clone()))
        })
        .collect()
}

fn folders(files: &Files) -> BTreeSet<String> {
    let ends = |path: &String| {
        path.match_indices('/').map(|(at, _)| path[..at].to_owned()).collect::<Vec<_>>()
    };
    files.keys().flat_map(ends).collect()
}

/// Returns the entries of a folder in git's order.
fn entries(files: &Files, recursive: bool) -> Vec<TreeEntry> {
    let mut found: Vec<(String, TreeEntry)> = Vec::new();
    for path in folders(files) {
        let sha = tree_sha(&below(files, &path));
        // Git sorts a folder as if its name ended in a slash.
        found.push((format!("{path}/"), TreeEntry { path, folder: true, sha, size: 0 }));
    }
    for (path, content) in files {
        let (path, sha, size) = (path.clone(), blob_sha(content), content.len());
        found.push((path.clone(), TreeEntry { path, folder: false, sha, size }));
    }
    found.retain(|(_, entry)| recursive || !entry.path.contains('/'));
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found.into_iter().map(|(_, entry)| entry).collect()
}

impl Forge {
    /// Returns the commit of a ref.
    pub fn tip(&self, repo: &str, git_ref: &str) -> Option<&Commit> {
        let sha = self.refs.get(&(repo.to_owned(), git_ref.to_owned()))?;
        self.commits.get(sha)
    }

    /// Returns a commit by its hash.
    pub fn commit(&self, sha: &str) -> Option<&Commit> {
        self.commits.get(sha)
    }

    /// Returns the branches of a repository with their commits.
    pub fn branches<'a>(&'a self, repo: &'a str) -> impl Iterator<Item = (&'a str, &'a Commit)> {
        self.refs.iter().filter(move |((of, _), _)| of == repo).filter_map(|((_, name), sha)| {
            Some((name.strip_prefix("refs/heads/")?, self.commits.get(sha)?))
        })
    }

    /// Returns the entries of a tree by the hash of a commit or folder.
    pub fn tree(&self, sha: &str, recursive: bool) -> Option<Vec<TreeEntry>> {
        if let Some(commit) = self.commits.get(sha) {
            return Some(entries(&commit.files, recursive));
        }
        let of = |commit: &Commit| {
            let folder = folders(&commit.files).into_iter().map(|f| below(&commit.files, &f));
            std::iter::once(commit.files.clone()).chain(folder).find(|f| tree_sha(f) == sha)
        };
        Some(entries(&self.commits.values().find_map(of)?, recursive))
    }

    /// Returns a file's content by its hash.
    pub fn blob(&self, sha: &str) -> Option<&[u8]> {
        let files = self.commits.values().flat_map(|commit| commit.files.values());
        files.map(Vec::as_slice).find(|content| blob_sha(content) == sha)
    }

    /// Returns the paths that differ from the first parent.
    pub fn changed(&self, commit: &Commit) -> Vec<String> {
        let none = Files::new();
        let parent = commit.parents.first().and_then(|sha| self.commits.get(sha));
        let before = parent.map_or(&none, |parent| &parent.files);
        let paths: BTreeSet<&String> = before.keys().chain(commit.files.keys()).collect();
        let differs = |path: &&&String| before.get(**path) != commit.files.get(**path);
        paths.iter().filter(differs).map(|path| (*path).clone()).collect()
    }

    /// Pushes one commit: moves the ref, emits webhooks, creates jobs. Returns the commit's hash
    /// and the jobs' IDs. Creates an absent ref, with its own webhook.
    pub fn push_commit(
        &mut self,
        now: Timestamp,
        repo: &str,
        push: &Push<'_>,
    ) -> (String, Vec<i64>) {
        self.add_repo(repo);
        let key = (repo.to_owned(), push.git_ref.to_owned());
        let before = self.refs.get(&key).cloned();
        let mut files = before
            .as_ref()
            .and_then(|sha| self.commits.get(sha))
            .map_or_else(Files::new, |commit| commit.files.clone());
        for (path, content) in push.changes {
            match content {
                Some(content) => {
                    files.insert((*path).to_owned(), content.as_bytes().to_vec());
                }
                None => drop(files.remove(*path)),
            }
        }
        let parents: Vec<String> = before.iter().cloned().collect();
        let text = format!("commit/{repo}/{parents:?}/{}/{}", push.message, tree_sha(&files));
        let sha = digest(&format!("{text}/{}", self.commits.len()));
        let commit = Commit { sha: sha.clone(), parents, message: push.message.to_owned(), files };
        self.commits.insert(sha.clone(), commit);
        let jobs = self.move_ref(now, repo, push.git_ref, &sha, push.runs);
        (sha, jobs)
    }

    /// Moves a ref to an existing commit, as a forced push does, or creates the ref.
    pub fn move_ref(
        &mut self,
        now: Timestamp,
        repo: &str,
        git_ref: &str,
        sha: &str,
        runs: &[Vec<JobSpec>],
    ) -> Vec<i64> {
        let key = (repo.to_owned(), git_ref.to_owned());
        let before = self.refs.insert(key, sha.to_owned());
        self.touch(repo, now);
        let payload = self.push_json(repo, git_ref, before.as_deref().unwrap_or(ZEROS), sha);
        let pushed = Webhook::of(repo, "push", "push", payload);
        if before.is_some() {
            self.webhooks.push(pushed);
        } else {
            let created = self.ref_json(repo, git_ref, Some(sha));
            let created = Webhook::of(repo, "create", "create", created);
            // For a branch, `create` precedes the push; for a tag, it follows.
            let tag = git_ref.starts_with("refs/tags/");
            self.webhooks.extend(if tag { [pushed, created] } else { [created, pushed] });
        }
        runs.iter().flat_map(|jobs| self.start_run(now, repo, sha, jobs)).collect()
    }

    /// Removes a ref.
    pub fn delete_ref(&mut self, now: Timestamp, repo: &str, git_ref: &str) {
        let Some(before) = self.refs.remove(&(repo.to_owned(), git_ref.to_owned())) else { return };
        self.touch(repo, now);
        if git_ref.starts_with("refs/tags/") {
            let payload = self.push_json(repo, git_ref, &before, ZEROS);
            self.webhooks.push(Webhook::of(repo, "push", "push", payload));
        }
        let payload = self.ref_json(repo, git_ref, None);
        self.webhooks.push(Webhook::of(repo, "delete", "delete", payload));
    }

    /// Disables or enables a workflow by its ID, without a webhook.
    pub fn disable_workflow(&mut self, repo: &str, id: &str, disabled: bool) {
        let Some(row) = self.repos.get_mut(repo) else { return };
        if disabled {
            row.disabled.insert(id.to_owned());
        } else {
            row.disabled.remove(id);
        }
    }

    /// Returns the workflows of the default branch as `GET …/actions/workflows` lists them: those
    /// of the first existing folder. `None` without a default branch, where servers fail.
    pub(crate) fn workflows_json(&self, repo: &str) -> Option<Vec<Value>> {
        let commit = self.tip(repo, "refs/heads/main")?;
        let row = self.repo(repo)?;
        let list = |folder: &str| {
            let files = below(&commit.files, folder);
            (!files.is_empty()).then(|| (folder.to_owned(), files))
        };
        let found = list(".gitea/workflows").or_else(|| list(".github/workflows"));
        let (folder, files) = found.unwrap_or_default();
        let named = |id: &&String| matches!(id.rsplit_once('.'), Some((_, "yml" | "yaml")));
        let shown = files.keys().filter(named).map(|id| {
            let state = if row.disabled.contains(id) { "disabled_manually" } else { "active" };
            // The name of a workflow file without `name`.
            json!({
                "id": id, "name": id, "path": format!("{folder}/{id}"), "state": state,
                "created_at": "2026-08-01T10:00:00Z", "updated_at": "2026-08-01T10:00:00Z",
                "url": format!("{}/api/v1/repos/{repo}/actions/workflows/{id}", self.config.url),
                "html_url": format!("{}/{repo}/src/branch/main/{folder}/{id}", self.config.url),
                "badge_url": format!("{}/{repo}/actions/workflows/{id}/badge.svg", self.config.url),
            })
        });
        Some(shown.collect())
    }

    pub(super) fn touch(&mut self, repo: &str, now: Timestamp) {
        if let Some(repo) = self.repos.get_mut(repo) {
            repo.updated_at = now;
        }
    }

    /// Returns the push of a test delivery: the tip of a branch, before and after. `None` without
    /// commits.
    pub(crate) fn test_push(&self, repo: &str) -> Option<Webhook> {
        let (branch, tip) = self.branches(repo).next()?;
        let git_ref = format!("refs/heads/{branch}");
        let payload = self.push_json(repo, &git_ref, &tip.sha, &tip.sha);
        Some(Webhook::of(repo, "push", "push", payload))
    }

    fn push_json(&self, repo: &str, git_ref: &str, before: &str, after: &str) -> Value {
        let Some(row) = self.repo(repo) else { return Value::Null };
        let head = self.commits.get(after).map(|commit| self.commit_json(commit));
        let tag = git_ref.starts_with("refs/tags/");
        let commits: Vec<&Value> = head.iter().filter(|_| !tag).collect();
        json!({
            "ref": git_ref,
            // The push of a tag never says what the tag held before, except on removal.
            "before": if tag && after != ZEROS { ZEROS } else { before },
            "after": after,
            "compare_url": format!("{}/{repo}/compare/{before}...{after}", self.config.url),
            "commits": commits,
            "total_commits": commits.len(),
            "head_commit": head,
            "repository": self.repository_json(row),
            "pusher": self.user_json(2, "alice"),
            "sender": self.user_json(2, "alice"),
        })
    }

    fn commit_json(&self, commit: &Commit) -> Value {
        json!({
            "id": commit.sha,
            "message": commit.message,
            "url": format!("{}/commit/{}", self.config.url, commit.sha),
            "author": {"name": "Alice", "email": "alice@example.com", "username": "alice"},
            "committer": {"name": "Alice", "email": "alice@example.com", "username": "alice"},
            "verification": null,
            "timestamp": "2026-08-01T10:00:00Z",
            "added": self.changed(commit),
            "removed": null,
            "modified": null,
        })
    }

    /// Returns the payload of `create` (with a hash) or `delete`; both use the short ref name.
    fn ref_json(&self, repo: &str, git_ref: &str, sha: Option<&str>) -> Value {
        let Some(row) = self.repo(repo) else { return Value::Null };
        let (kind, name) = match git_ref.strip_prefix("refs/tags/") {
            Some(name) => ("tag", name),
            None => ("branch", git_ref.trim_start_matches("refs/heads/")),
        };
        let mut value = json!({
            "ref": name,
            "ref_type": kind,
            "repository": self.repository_json(row),
            "sender": self.user_json(2, "alice"),
        });
        match sha {
            Some(sha) => value["sha"] = sha.into(),
            None => value["pusher_type"] = "user".into(),
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Files {
        paths.iter().map(|path| ((*path).to_owned(), path.as_bytes().to_vec())).collect()
    }

    #[test]
    fn entries_have_git_order_and_folder_hashes_depend_on_content_only() {
        let all = files(&["a.b", "a/x", "a/y/z", "b"]);
        let paths: Vec<String> = entries(&all, true).into_iter().map(|e| e.path).collect();
        assert_eq!(paths, ["a.b", "a", "a/x", "a/y", "a/y/z", "b"]);
        let top: Vec<String> = entries(&all, false).into_iter().map(|e| e.path).collect();
        assert_eq!(top, ["a.b", "a", "b"]);
        let folder = |files: &Files| entries(files, false)[1].sha.clone();
        let mut other = all.clone();
        other.insert("b".into(), b"changed".to_vec());
        assert_eq!(folder(&all), folder(&other));
        other.insert("a/y/z".into(), b"changed".to_vec());
        assert_ne!(folder(&all), folder(&other));
    }

    #[test]
    fn a_push_moves_the_ref_emits_webhooks_and_creates_jobs() {
        let mut forge = Forge::new(super::super::Config::default());
        let now = Timestamp::UNIX_EPOCH;
        let jobs = [vec![JobSpec::new("build", &["linux"])]];
        let push = Push {
            git_ref: "refs/heads/main",
            changes: &[("src/a", Some("1")), ("b", Some("2"))],
            message: "first",
            runs: &jobs,
        };
        let (first, made) = forge.push_commit(now, "acme/widget", &push);
        assert_eq!(forge.job(made[0]).map(|job| job.head_sha.clone()), Some(first.clone()));
        let told: Vec<&str> = forge.take_webhooks().iter().map(|hook| hook.event).collect();
        assert_eq!(told, ["create", "push", "workflow_job"]);
        let changes = [("b", None), ("src/a", Some("3"))];
        let (second, _) =
            forge.push_commit(now, "acme/widget", &Push { changes: &changes, runs: &[], ..push });
        let hooks = forge.take_webhooks();
        let payload = &hooks[0].payload;
        assert_eq!((&payload["before"], &payload["after"]), (&json!(first), &json!(second)));
        let commit = forge.commit(&second).expect("there");
        assert_eq!(forge.changed(commit), ["b", "src/a"]);
        let tree = forge.tree(&second, true).expect("a tree");
        assert_eq!(forge.blob(&tree[1].sha), Some(&b"3"[..]));
        assert_eq!(forge.tree(&tree[0].sha, false).map(|t| t[0].path.clone()), Some("a".into()));
        forge.delete_ref(now, "acme/widget", "refs/heads/main");
        assert!(forge.tip("acme/widget", "refs/heads/main").is_none());
        assert_eq!(forge.take_webhooks()[0].event, "delete");
    }
}
