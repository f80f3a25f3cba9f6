//! The commit that a person names by its hash, or by a branch or tag.

use tinqs_ci_gitea::client::{Client, Commit};
use tinqs_ci_reconciler::ports::PortError;

/// The maximum length of a name.
const LONGEST: usize = 250;

/// A commit, and the ref that names it.
pub(super) struct Revision {
    pub(super) commit: Commit,
    /// `refs/…`; `None` if the commit was named by its hash.
    pub(super) git_ref: Option<String>,
}

/// Returns whether a text may name a commit, a branch or a tag. Git allows no `..` in a name.
pub(super) fn is_name(text: &str) -> bool {
    let fits = (1..=LONGEST).contains(&text.len());
    fits && text != "." && !text.contains("..") && !text.contains(char::is_control)
}

fn is_hash(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Returns the commit of this name; a branch is preferred to a tag of the same name. `None`: there
/// is none.
pub(super) async fn find(
    client: &Client,
    repo: &str,
    name: &str,
) -> Result<Option<Revision>, PortError> {
    let (branch, tag) = match name.strip_prefix("refs/") {
        Some(rest) => (rest.strip_prefix("heads/"), rest.strip_prefix("tags/")),
        None => (Some(name), Some(name)),
    };
    if is_hash(name)
        && let Some(commit) = client.commit(repo, name).await?
    {
        return Ok(Some(Revision { commit, git_ref: None }));
    }
    if let Some(branch) = branch
        && let Some(sha) = client.tip(repo, branch).await?
    {
        let git_ref = Some(format!("refs/heads/{branch}"));
        let commit = client.commit(repo, &sha).await?;
        return Ok(commit.map(|commit| Revision { commit, git_ref }));
    }
    if let Some(tag) = tag
        && let Some(sha) = client.tagged(repo, tag).await?
    {
        let git_ref = Some(format!("refs/tags/{tag}"));
        let commit = client.commit(repo, &sha).await?;
        return Ok(commit.map(|commit| Revision { commit, git_ref }));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_place_in_a_path() {
        for name in ["main", "release/1.2", "refs/tags/v1", "0123abc", "größe"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/../b", "a\nb", "a\u{0}"] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(!is_name(&"x".repeat(LONGEST + 1)));
        assert!(is_hash("0123abc") && !is_hash("main") && !is_hash("abc"));
    }
}
