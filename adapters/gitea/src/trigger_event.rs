//! Webhook deliveries from which workflows may start. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::webhook::Malformed;
use crate::wire::owner_and_name;

/// A payload up to this size is stored whole; of a longer one, the commits are omitted.
const KEPT_WHOLE: usize = 64 * 1024;
/// Limit of a payload without its commits; a longer one does not come from the forge.
const KEPT_AT_MOST: usize = 512 * 1024;
/// The forge's own user (`models/user/user_system.go`).
const ACTIONS_ID: i64 = -2;
const ACTIONS_LOGIN: &str = "gitea-actions";

/// Whether it is git's null hash, of either length.
fn is_zeros(sha: &str) -> bool {
    !sha.is_empty() && sha.bytes().all(|b| b == b'0')
}

/// A change of a branch, a tag or a pull request.
///
/// It is stored until it is evaluated, also across an update: a new field needs a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerEvent {
    /// The exact name of the event: `push`, `pull_request_sync`.
    pub event: String,
    /// `owner/name` of the repository of the event.
    pub repo: String,
    /// That repository's ID.
    pub repo_id: i64,
    /// The branch for events that have none.
    pub default_branch: String,
    /// `refs/heads/…`, `refs/tags/…`, `refs/pull/N/head`; a bare hash for a merged pull request.
    pub git_ref: String,
    /// The commit whose workflow files count; empty: the default branch's tip, which must be read.
    pub commit: String,
    /// The commit that changed files are counted from; `None`: the commit's first parent.
    pub before: Option<String>,
    /// The name and the tip of a pull request's base branch.
    pub base: Option<(String, String)>,
    /// Whether a pull request comes from another repository.
    pub fork: bool,
    /// The user who caused it.
    pub sender: String,
    /// The text that may hold skip strings: the commit's message or a pull request's title. `None`:
    /// the commit must be read.
    pub message: Option<String>,
    /// Values that distinguish two such events of the same commit; the same in a repeated delivery.
    pub distinct: Vec<String>,
    /// The whole payload, or the needed part of a long one.
    pub payload: Value,
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl TriggerEvent {
    /// Whether workflows may start from events of this name.
    pub fn is_one(event: &str) -> bool {
        let pull = event.strip_prefix("pull_request").is_some_and(|rest| {
            ["", "_sync", "_assign", "_label", "_review_request", "_milestone"].contains(&rest)
        });
        pull || matches!(event, "push" | "create" | "delete")
    }

    /// Parses a payload. `None`: no workflow can start from it.
    ///
    /// # Errors
    /// [`Malformed`] if the forge does not send such a payload.
    pub fn of(event: &str, payload: &[u8]) -> Result<Option<Self>, Malformed> {
        if !Self::is_one(event) {
            return Ok(None);
        }
        let mut payload: Value = serde_json::from_slice(payload)?;
        shorten(&mut payload)?;
        let repo = text(&payload, "/repository/full_name").to_owned();
        let repo_id = payload.pointer("/repository/id").and_then(Value::as_i64).unwrap_or(0);
        if owner_and_name(&repo).is_none() || repo_id <= 0 {
            return Err(Malformed::NoRepository);
        }
        let flag = |path: &str| payload.pointer(path).and_then(Value::as_bool).unwrap_or(false);
        let no_actions = payload.pointer("/repository/has_actions") == Some(&Value::Bool(false));
        if flag("/repository/archived") || flag("/repository/empty") || no_actions {
            return Ok(None);
        }
        if by_actions(&payload) {
            return Ok(None);
        }
        let trigger_event = Self {
            event: event.to_owned(),
            repo,
            repo_id,
            default_branch: some(text(&payload, "/repository/default_branch"))
                .unwrap_or_else(|| "main".to_owned()),
            git_ref: String::new(),
            commit: String::new(),
            before: None,
            base: None,
            fork: false,
            sender: text(&payload, "/sender/login").to_owned(),
            message: None,
            distinct: vec![text(&payload, "/repository/updated_at").to_owned()],
            payload,
        };
        match event {
            "push" => trigger_event.pushed(),
            "create" => trigger_event.created(),
            "delete" => Ok(Some(trigger_event.deleted())),
            _ => trigger_event.pulled(),
        }
    }

    fn field(&self, path: &str) -> String {
        text(&self.payload, path).to_owned()
    }

    fn pushed(mut self) -> Result<Option<Self>, Malformed> {
        let (before, after) = (self.field("/before"), self.field("/after"));
        self.git_ref = self.field("/ref");
        if self.git_ref.is_empty() || after.is_empty() {
            return Err(Malformed::NoCommit);
        }
        // No push: a branch or tag was deleted, or this is the forge's test delivery.
        if is_zeros(&after) || before == after {
            return Ok(None);
        }
        // An annotated tag is an object of its own; the commit is its target.
        self.commit = some(&self.field("/head_commit/id")).unwrap_or(after);
        self.message =
            self.payload.pointer("/head_commit/message").and_then(Value::as_str).map(Into::into);
        self.before = some(&before).filter(|before| !is_zeros(before));
        self.distinct.push(before);
        Ok(Some(self))
    }

    fn created(mut self) -> Result<Option<Self>, Malformed> {
        let (kind, name) = (self.field("/ref_type"), self.field("/ref"));
        self.commit = self.field("/sha");
        if name.is_empty() || self.commit.is_empty() {
            return Err(Malformed::NoCommit);
        }
        self.git_ref = full_ref(&kind, &name);
        Ok(Some(self))
    }

    fn deleted(mut self) -> Self {
        let (kind, name) = (self.field("/ref_type"), self.field("/ref"));
        self.git_ref = format!("refs/heads/{}", self.default_branch);
        self.distinct.push(full_ref(&kind, &name));
        self
    }

    fn pulled(mut self) -> Result<Option<Self>, Malformed> {
        let at = |path: &str| self.field(&format!("/pull_request{path}"));
        let number = self.payload.pointer("/number").and_then(Value::as_i64).unwrap_or(0);
        let head = at("/head/sha");
        if number <= 0 || head.is_empty() {
            return Err(Malformed::NoCommit);
        }
        let id = |side: &str| {
            self.payload.pointer(&format!("/pull_request/{side}/repo_id")).and_then(Value::as_i64)
        };
        let fork = id("head") != id("base");
        let merged = self.payload.pointer("/pull_request/merged").and_then(Value::as_bool);
        let merge_commit = at("/merge_commit_sha");
        let base = (at("/base/ref"), at("/base/sha"));
        let (before, title) = (some(&at("/merge_base")), at("/title"));
        let distinct = [self.field("/action"), at("/updated_at")];
        if merged == Some(true) && !merge_commit.is_empty() {
            self.git_ref.clone_from(&merge_commit);
            self.commit = merge_commit;
        } else {
            self.git_ref = format!("refs/pull/{number}/head");
            self.commit = head;
        }
        self.fork = fork;
        self.before = before;
        self.message = Some(title);
        self.base = Some(base).filter(|(name, sha)| !name.is_empty() && !sha.is_empty());
        self.distinct.extend(distinct);
        Ok(Some(self))
    }

    /// A hash of 16 hexadecimal digits that identifies it.
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).unwrap_or_default();
        hex::encode(Sha256::digest(text))[..16].to_owned()
    }
}

fn full_ref(kind: &str, name: &str) -> String {
    if name.starts_with("refs/") {
        return name.to_owned();
    }
    format!("refs/{}/{name}", if kind == "tag" { "tags" } else { "heads" })
}

/// Whether the forge's own user caused the event with a job's token: that starts no workflow. The
/// name is reserved, so no other user has it.
pub fn by_actions(payload: &Value) -> bool {
    payload.pointer("/sender/id").and_then(Value::as_i64) == Some(ACTIONS_ID)
        || text(payload, "/sender/login").eq_ignore_ascii_case(ACTIONS_LOGIN)
}

/// Removes the commits of a long payload: only they grow with the size of a push.
fn shorten(payload: &mut Value) -> Result<(), Malformed> {
    let size = |value: &Value| value.to_string().len();
    if size(payload) > KEPT_WHOLE
        && let Some(fields) = payload.as_object_mut()
    {
        fields.remove("commits");
        for name in ["added", "removed", "modified"] {
            if let Some(head) = fields.get_mut("head_commit").and_then(Value::as_object_mut) {
                head.remove(name);
            }
        }
    }
    if size(payload) > KEPT_AT_MOST { Err(Malformed::Size) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(id: &str) -> (String, Value) {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/corpus/payloads.json");
        let corpus: Value =
            serde_json::from_slice(&std::fs::read(path).expect("the corpus")).expect("JSON");
        let samples = corpus["samples"].as_array().expect("samples").clone();
        let sample = samples.into_iter().find(|s| s["id"] == id).expect("a sample of that id");
        (text(&sample, "/x_gitea_event_type").to_owned(), sample["payload"].clone())
    }

    fn of(event: &str, payload: &Value) -> Option<TriggerEvent> {
        TriggerEvent::of(event, payload.to_string().as_bytes()).expect("well-formed")
    }

    #[test]
    fn the_samples_of_the_corpus_are_parsed() {
        let read = |id: &str| {
            let (event, payload) = sample(id);
            let found = of(&event, &payload)?;
            Some((found.git_ref, found.commit, found.before))
        };
        let is = |git_ref: &str, commit: char, before: Option<char>| {
            let hash = |digit: char| digit.to_string().repeat(40);
            Some((git_ref.to_owned(), hash(commit), before.map(hash)))
        };
        assert_eq!(read("push_branch"), is("refs/heads/main", '2', Some('1')));
        let (_, tag) = sample("push_tag");
        let commit = text(&tag, "/head_commit/id").to_owned();
        let read_tag = read("push_tag").expect("a push");
        assert_eq!((read_tag.1, read_tag.2), (commit, None));
        assert_eq!(read("push_tag_delete"), None);
        assert_eq!(read("create_branch"), is("refs/heads/feature/x", '2', None));
        let deleted = read("delete_branch").expect("a deletion");
        assert_eq!(deleted, ("refs/heads/main".to_owned(), String::new(), None));
        let opened = read("pull_request_opened").expect("a pull request");
        assert!(opened.0.starts_with("refs/pull/") && opened.0.ends_with("/head"), "{opened:?}");
        assert_eq!(read("workflow_job_queued"), None);
    }

    #[test]
    fn events_that_start_no_workflow_are_ignored() {
        let (_, push) = sample("push_branch");
        let with = |path: &str, value: Value| {
            let mut changed = push.clone();
            *changed.pointer_mut(path).expect("there") = value;
            of("push", &changed)
        };
        assert!(with("/ref", "refs/heads/other".into()).is_some());
        assert_eq!(with("/repository/archived", true.into()), None);
        assert_eq!(with("/repository/empty", true.into()), None);
        assert_eq!(with("/repository/has_actions", false.into()), None);
        assert_eq!(with("/sender/id", (-2).into()), None);
        assert_eq!(with("/after", "0".repeat(40).into()), None);
        assert_eq!(with("/before", "2".repeat(40).into()), None);
        assert_eq!(of("star", &push), None);
    }

    #[test]
    fn a_repeated_delivery_has_the_same_digest_and_another_event_has_not() {
        let (_, push) = sample("push_branch");
        let digest = |payload: &Value| of("push", payload).expect("a push").digest();
        assert_eq!(digest(&push), digest(&push));
        let mut later = push.clone();
        later["repository"]["updated_at"] = "2030-01-01T00:00:00Z".into();
        assert_ne!(digest(&push), digest(&later));
    }

    #[test]
    fn a_payload_that_the_forge_never_sends_is_malformed() {
        let (_, push) = sample("push_branch");
        let without = |name: &str| {
            let mut changed = push.clone();
            changed.as_object_mut().expect("an object").remove(name);
            TriggerEvent::of("push", changed.to_string().as_bytes())
        };
        for name in ["repository", "ref", "after"] {
            assert!(without(name).is_err(), "{name}");
        }
        assert!(TriggerEvent::of("pull_request", push.to_string().as_bytes()).is_err());
        assert!(TriggerEvent::of("push", b"[").is_err());
    }

    #[test]
    fn a_long_payload_is_stored_without_its_commits() {
        let (_, mut push) = sample("push_branch");
        let names: Vec<String> = (0..20_000).map(|n| format!("some/long/path/{n}")).collect();
        push["commits"][0]["added"] = json!(names);
        let kept = of("push", &push).expect("a push");
        assert_eq!(kept.payload.get("commits"), None);
        assert_eq!(kept.commit, "2".repeat(40));
        push["compare_url"] = "x".repeat(KEPT_AT_MOST).into();
        assert!(TriggerEvent::of("push", push.to_string().as_bytes()).is_err());
    }
}
