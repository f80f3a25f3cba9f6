//! Pull requests as webhooks show them.

use jiff::Timestamp;
use serde_json::json;

use super::{Forge, JobSpec, Webhook};

/// An event of a pull request.
#[derive(Clone, Copy, Debug)]
pub struct PullRequest<'a> {
    /// Its number.
    pub number: i64,
    /// The action in payloads: `opened`, `synchronized`, …
    pub action: &'a str,
    /// Its title.
    pub title: &'a str,
    /// Source branch.
    pub head: &'a str,
    /// Target branch.
    pub base: &'a str,
}

impl Forge {
    /// Records that a pull request of this user was merged into the repository.
    pub fn merged_pull_request(&mut self, repo: &str, user: &str) {
        if let Some(row) = self.repos.get_mut(repo) {
            row.merged.insert(user.to_owned());
        }
    }

    /// Emits a pull request webhook and creates jobs on its head.
    pub fn pull_request(
        &mut self,
        now: Timestamp,
        repo: &str,
        pull: &PullRequest<'_>,
        runs: &[Vec<JobSpec>],
    ) -> Vec<i64> {
        let tip = |branch: &str| {
            let commit = self.tip(repo, &format!("refs/heads/{branch}"));
            commit.map(|commit| commit.sha.clone()).unwrap_or_default()
        };
        let (head, base) = (tip(pull.head), tip(pull.base));
        self.touch(repo, now);
        let Some(row) = self.repo(repo) else { return Vec::new() };
        let side = |name: &str, sha: &str| {
            json!({"label": name, "ref": name, "sha": sha, "repo_id": row.id,
                   "repo": self.repository_json(row)})
        };
        let payload = json!({
            "action": pull.action,
            "number": pull.number,
            "pull_request": {
                "number": pull.number,
                "title": pull.title,
                "state": "open",
                "draft": false,
                "merged": false,
                "merge_commit_sha": null,
                "merge_base": base,
                "base": side(pull.base, &base),
                "head": side(pull.head, &head),
                "updated_at": now.to_string(),
            },
            "repository": self.repository_json(row),
            "sender": self.user_json(2, "alice"),
            "commit_id": "",
            "review": null,
        });
        let kind = match pull.action {
            "synchronized" => "pull_request_sync",
            "label_updated" | "label_cleared" => "pull_request_label",
            _ => "pull_request",
        };
        self.webhooks.push(Webhook::of(repo, "pull_request", kind, payload));
        runs.iter().flat_map(|jobs| self.start_run(now, repo, &head, jobs)).collect()
    }
}
