//! Lookups about a repository: commits, branches, permissions, variables.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use serde::Deserialize;
use tinqs_ci_reconciler::ports::PortError;

use super::{Client, in_repository};
use crate::client::call::Call;
use crate::wire::{nullable, owner_and_name, percent_encode};

/// The time for which a list of disabled workflows is cached.
const DISABLED_FOR: SignedDuration = SignedDuration::from_mins(1);

/// A commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// Its hash.
    pub sha: String,
    /// The whole message.
    pub message: String,
    /// The hashes of its parents, the first parent first.
    pub parents: Vec<String>,
    /// The files that differ from its first parent.
    pub files: Vec<String>,
}

impl Client {
    /// Returns a commit with the files that differ from its first parent. `None`: it does not
    /// exist.
    ///
    /// # Errors
    /// The forge does not answer, or the token may not read the repository.
    pub async fn commit(&self, repo: &str, sha: &str) -> Result<Option<Commit>, PortError> {
        let rest = format!("/git/commits/{}?stat=false&verification=false", percent_encode(sha));
        let call = in_repository("commit", repo, &rest)?;
        let found: Option<ApiCommit> = self.found(&call, b'{').await?;
        Ok(found.map(|ApiCommit { sha, commit, parents, files }| Commit {
            sha,
            message: commit.message,
            parents: parents.into_iter().map(|parent| parent.sha).collect(),
            files: files.into_iter().map(|file| file.filename).collect(),
        }))
    }

    /// Returns a repository by name. `None`: it does not exist, or the token may not see it.
    ///
    /// # Errors
    /// The forge does not answer, or refuses the token.
    pub async fn about(&self, repo: &str) -> Result<Option<Repository>, PortError> {
        let call = in_repository("repository", repo, "")?;
        self.found(&call, b'{').await
    }

    /// Returns a branch whose tip is this commit, preferably the default branch. Reads the first 50
    /// branches.
    ///
    /// # Errors
    /// The forge does not answer, or the token may not read the repository.
    pub async fn branch_at(
        &self,
        repo: &str,
        sha: &str,
        default: &str,
    ) -> Result<Option<String>, PortError> {
        let call = in_repository("branches", repo, "/branches?limit=50")?;
        let branches: Vec<Branch> = self.found(&call, b'[').await?.unwrap_or_default();
        let at = |branch: &&Branch| branch.commit.as_ref().is_some_and(|commit| commit.id == sha);
        let mut found: Vec<&str> = branches.iter().filter(at).map(|b| b.name.as_str()).collect();
        found.sort_by_key(|name| *name != default);
        Ok(found.first().map(|name| (*name).to_owned()))
    }

    /// Returns the tip of a branch. `None`: the branch does not exist.
    ///
    /// # Errors
    /// The forge does not answer, or the token may not read the repository.
    pub async fn tip(&self, repo: &str, branch: &str) -> Result<Option<String>, PortError> {
        let rest = format!("/branches/{}", percent_encode(branch));
        let call = in_repository("branch", repo, &rest)?;
        let branch: Option<Branch> = self.found(&call, b'{').await?;
        Ok(branch.and_then(|branch| branch.commit).map(|commit| commit.id))
    }

    /// Returns the commit of a tag. `None`: the tag does not exist.
    ///
    /// # Errors
    /// The forge does not answer, or the token may not read the repository.
    pub async fn tagged(&self, repo: &str, tag: &str) -> Result<Option<String>, PortError> {
        let rest = format!("/tags/{}", percent_encode(tag));
        let call = in_repository("tag", repo, &rest)?;
        let tag: Option<Tag> = self.found(&call, b'{').await?;
        Ok(tag.and_then(|tag| tag.commit).map(|commit| commit.sha))
    }

    /// Whether a user may write to a repository; `false` if the token may not ask.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn can_write(&self, repo: &str, user: &str) -> Result<bool, PortError> {
        #[derive(Deserialize)]
        struct Granted {
            #[serde(default, deserialize_with = "nullable")]
            permission: String,
        }
        let rest = format!("/collaborators/{}/permission", percent_encode(user));
        let call = in_repository("permission", repo, &rest)?;
        let answer = self.read_contents(&call).await?;
        match answer.status.as_u16() {
            401 | 403 | 404 if !answer.is_html() => Ok(false),
            _ => {
                let Granted { permission } = self.sender.read(&call, &answer)?;
                Ok(["write", "admin", "owner"].contains(&permission.as_str()))
            }
        }
    }

    /// Returns the IDs of the disabled workflows of the default branch. Workflows that exist only
    /// on another branch are not listed. Empty if the token may not ask, or if the server fails the
    /// call: it does so if there is no default branch.
    ///
    /// The list is cached for a minute. If it says that a workflow in `starting` is disabled, it is
    /// read again each time: the workflow may be enabled by now, and nothing else reports its jobs.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn disabled_workflows(
        &self,
        repo: &str,
        starting: &[&str],
    ) -> Result<Arc<Vec<String>>, PortError> {
        let now = self.sender.now();
        let stops = |disabled: &[String]| disabled.iter().any(|id| starting.contains(&&**id));
        if let Some(cached) = self.contents.disabled.get(repo)
            && now.duration_since(cached.0) < DISABLED_FOR
            && !stops(&cached.1)
        {
            return Ok(cached.1.clone());
        }
        let call = in_repository("workflows", repo, "/actions/workflows")?;
        let answer = self.read_contents(&Call { reads_around: true, ..call.clone() }).await?;
        let disabled: Vec<String> = match answer.status.as_u16() {
            401 | 403 | 404 | 405 if !answer.is_html() => Vec::new(),
            _ if answer.is_own_failure() => Vec::new(),
            _ => {
                let Workflows { workflows } = self.sender.read(&call, &answer)?;
                let disabled =
                    workflows.into_iter().filter(|workflow| workflow.state.starts_with("disabled"));
                disabled.map(|workflow| workflow.id).collect()
            }
        };
        let bytes = disabled.iter().map(|id| id.len() + 24).sum();
        let disabled = Arc::new(disabled);
        self.contents.disabled.put(repo, Arc::new((now, disabled.clone())), bytes);
        Ok(disabled)
    }

    /// Whether a pull request of this user was merged into a repository, among the 50 latest closed
    /// ones; `false` if the token may not ask.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn has_merged(&self, repo: &str, user: &str) -> Result<bool, PortError> {
        let user = percent_encode(user);
        let rest = format!("/pulls?state=closed&sort=recentupdate&poster={user}&limit=50");
        let call = in_repository("pull_requests", repo, &rest)?;
        let answer = self.read_contents(&call).await?;
        match answer.status.as_u16() {
            400 | 401 | 403 | 404 if !answer.is_html() => Ok(false),
            _ => {
                let pulls: Vec<Pull> = self.sender.read_from(&call, &answer, b'[')?;
                Ok(pulls.iter().any(|pull| pull.merged))
            }
        }
    }

    /// Returns the variables of a repository over those of its owner, as far as the token may read
    /// them. Variables of the whole forge are not readable.
    ///
    /// # Errors
    /// The forge does not answer.
    pub async fn variables(&self, repo: &str) -> Result<BTreeMap<String, String>, PortError> {
        let owner = owner_and_name(repo).map(|(owner, _)| owner).unwrap_or_default();
        let owners = format!("/orgs/{}/actions/variables?limit=50", percent_encode(&owner));
        let own = in_repository("variables", repo, "/actions/variables?limit=50")?;
        let mut variables = BTreeMap::new();
        for call in [Call::get("variables", &owners), own] {
            let answer = self.read_contents(&call).await?;
            match answer.status.as_u16() {
                // The owner is a user, or the token may not read them: they count as empty.
                401 | 403 | 404 | 405 if !answer.is_html() => {}
                _ => {
                    let rows: Vec<Variable> = self.sender.read_from(&call, &answer, b'[')?;
                    variables.extend(rows.into_iter().map(|v| (v.name, v.data)));
                }
            }
        }
        Ok(variables)
    }
}

#[derive(Deserialize)]
struct ApiCommit {
    sha: String,
    #[serde(default, deserialize_with = "nullable")]
    commit: Message,
    #[serde(default, deserialize_with = "nullable")]
    parents: Vec<Parent>,
    #[serde(default, deserialize_with = "nullable")]
    files: Vec<ChangedFile>,
}

/// The fields of a repository that evaluations need.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Repository {
    /// Its ID.
    pub id: i64,
    /// `owner/name`.
    pub full_name: String,
    /// The branch for events that have none.
    #[serde(default, deserialize_with = "nullable")]
    pub default_branch: String,
}

#[derive(Deserialize)]
struct Workflows {
    #[serde(default, deserialize_with = "nullable")]
    workflows: Vec<Workflow>,
}

#[derive(Deserialize)]
struct Workflow {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    state: String,
}

#[derive(Deserialize)]
struct Pull {
    #[serde(default, deserialize_with = "nullable")]
    merged: bool,
}

#[derive(Deserialize)]
struct Branch {
    #[serde(default, deserialize_with = "nullable")]
    name: String,
    commit: Option<BranchTip>,
}

#[derive(Deserialize)]
struct BranchTip {
    id: String,
}

/// The commit is also that of an annotated tag, which is an object of its own.
#[derive(Deserialize)]
struct Tag {
    commit: Option<Parent>,
}

#[derive(Deserialize)]
struct Parent {
    sha: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    #[serde(deserialize_with = "nullable")]
    message: String,
}

#[derive(Deserialize)]
struct ChangedFile {
    filename: String,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    data: String,
}
