//! Jobs, repositories and runners as the forge sends them, parsed tolerantly.
//!
//! Every field may be missing or `null` (Go writes empty lists as `null`), unknown words are kept
//! as text, and unknown fields are skipped. A field of the wrong type is an error: half a response
//! must not be taken for a whole one.

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};
use tinqs_ci_reconciler::model::{About, Conclusion, Job, JobRef};
use tinqs_ci_reconciler::ports::WaitingJob;

/// Characters kept of a display text and of a repository's name. Gitea's own names are shorter; the
/// rest of a longer one would only fill the record.
const TEXT: usize = 300;
/// Limit of all labels of a job together, in bytes. No runner carries more, and a record has to
/// hold them.
const LABELS: usize = 16 * 1024;
/// Deepest nesting of arrays and objects. The forge's own payloads stay below 10.
const DEPTH: usize = 100;

/// Treats `null` as the type's default.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a list that may be left out. `null` is an empty one.
fn told<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    Ok(Some(Option::deserialize(deserializer)?.unwrap_or_default()))
}

/// Reads a time. `null`, one that has not come and one that cannot be parsed are `None`: times
/// inform people and decide nothing.
pub(crate) fn moment<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    Ok(text.parse().ok().filter(|at| *at > Timestamp::UNIX_EPOCH))
}

/// A job, as webhooks and lists show it (`ActionWorkflowJob` of `modules/structs/repo_actions.go`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ApiJob {
    #[serde(deserialize_with = "nullable")]
    pub(crate) id: i64,
    /// `…/api/v1/repos/{owner}/{repo}/actions/jobs/{id}`: lists name the repository only here.
    #[serde(deserialize_with = "nullable")]
    pub(crate) url: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) html_url: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) run_id: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    /// `None` if the server does not tell them; `null` are none.
    #[serde(deserialize_with = "told")]
    pub(crate) labels: Option<Vec<String>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) head_sha: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) head_branch: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) conclusion: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) runner_id: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) runner_name: String,
    /// The number of the attempt, see [`crate::job_times`]; `None` if the server does not tell it.
    pub(crate) run_attempt: Option<i64>,
    #[serde(deserialize_with = "moment")]
    pub(crate) created_at: Option<Timestamp>,
    #[serde(deserialize_with = "moment")]
    pub(crate) started_at: Option<Timestamp>,
    #[serde(deserialize_with = "moment")]
    pub(crate) completed_at: Option<Timestamp>,
}

/// A repository: the ID identifies it, the name is for paths.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ApiRepository {
    #[serde(deserialize_with = "nullable")]
    pub(crate) id: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) full_name: String,
}

/// A registration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ApiRunner {
    #[serde(deserialize_with = "nullable")]
    pub(crate) id: i64,
    #[serde(deserialize_with = "nullable")]
    pub(crate) uuid: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) status: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) busy: bool,
    /// Not shown before Gitea 1.26.
    pub(crate) disabled: Option<bool>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) labels: Vec<ApiLabel>,
}

/// A label of a registration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ApiLabel {
    #[serde(deserialize_with = "nullable")]
    pub(crate) name: String,
}

/// Whether the labels of a job are within the limit.
pub(crate) fn labels_fit(labels: &[String]) -> bool {
    labels.iter().map(|label| label.len() + 1).sum::<usize>() <= LABELS
}

/// Converts a waiting job, whose attempt was created at this time; `None` if its labels exceed the
/// limit.
pub(crate) fn waiting_job(
    repo: &str,
    repo_id: i64,
    job: ApiJob,
    created_at: Option<Timestamp>,
) -> Option<WaitingJob> {
    let ApiJob { id, html_url, run_id, name, labels, head_sha, head_branch, .. } = job;
    let labels = labels.unwrap_or_default();
    if !labels_fit(&labels) {
        return None;
    }
    let repo = bounded(repo);
    let about = About {
        repo: repo.clone(),
        workflow: String::new(),
        job: bounded(&name),
        branch: bounded(&head_branch),
        commit: bounded(&head_sha),
        run_id,
        url: bounded(&html_url),
    };
    let job = JobRef { repo, repo_id, job_id: id };
    Some(WaitingJob { job, runs_on: labels, about, created_at })
}

/// Converts a job's status; `None` for an unknown one. `queued` is the forge's "waiting" and
/// `waiting` its "blocked" (`services/convert` `ToActionsStatus`).
pub(crate) fn job_status(job: &ApiJob) -> Option<Job> {
    Some(match job.status.as_str() {
        "queued" => Job::Waiting,
        "waiting" | "blocked" | "pending" | "requested" | "action_required" => Job::Blocked,
        "in_progress" => Job::Running { runner: job.runner_name.clone() },
        "completed" => Job::Done {
            conclusion: match job.conclusion.as_str() {
                "success" => Conclusion::Success,
                "cancelled" => Conclusion::Cancelled,
                "skipped" => Conclusion::Skipped,
                // Completed without a conclusion is half a response.
                "" => return None,
                _ => Conclusion::Failure,
            },
        },
        _ => return None,
    })
}

/// The repository in a job's `url`, as `(owner, name)`. Only the path counts: the host is the
/// server's own name, which may differ from how it is reached.
pub(crate) fn repository_of(url: &str) -> Option<(String, String)> {
    let (_, path) = url.split_once("/api/v1/repos/")?;
    let mut parts = path.split('/');
    let (owner, name, rest) = (parts.next()?, parts.next()?, parts.next()?);
    (rest == "actions").then_some(())?;
    let part = |text: &str| String::from_utf8(percent_decode(text.as_bytes(), false)?).ok();
    owner_and_name(&format!("{}/{}", part(owner)?, part(name)?))
}

/// Splits `owner/name`; `None` if the parts cannot be two segments of a path.
pub fn owner_and_name(full_name: &str) -> Option<(String, String)> {
    let (owner, name) = full_name.split_once('/')?;
    let fits = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('/');
    (fits(owner) && fits(name)).then(|| (owner.to_owned(), name.to_owned()))
}

/// Decodes `%2B` to `+`, and with `plus_is_space` a `+` to a space. `None` if an escape is invalid.
pub(crate) fn percent_decode(text: &[u8], plus_is_space: bool) -> Option<Vec<u8>> {
    let digit =
        |byte: Option<&u8>| char::from(*byte?).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            b'+' if plus_is_space => b' ',
            other => other,
        });
    }
    Some(decoded)
}

/// Escapes everything but unreserved characters, so that any text is one segment of a path.
pub(crate) fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

/// Whether a text nests no deeper than the forge's payloads. Checked before parsing: the parser's
/// own limit does not count skipped fields.
pub(crate) fn is_shallow(json: &[u8]) -> bool {
    // Few opening brackets cannot nest deeper; counting is many times faster than following.
    if memchr::memchr2_iter(b'[', b'{', json).take(DEPTH + 1).count() <= DEPTH {
        return true;
    }
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in json {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH {
            return false;
        }
    }
    true
}

pub(crate) fn bounded(text: &str) -> String {
    let end = text.char_indices().nth(TEXT).map_or(text.len(), |(at, _)| at);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_url_names_its_repository_whatever_the_host() {
        let cases = [
            (
                "https://git.example/api/v1/repos/acme/widget/actions/jobs/1",
                Some(("acme", "widget")),
            ),
            ("http://10.0.0.1:3000/sub/api/v1/repos/a/b.c/actions/jobs/2", Some(("a", "b.c"))),
            ("https://x/api/v1/repos/a%20b/c%2Bd/actions/jobs/2", Some(("a b", "c+d"))),
            ("https://x/api/v1/repos/a/b%2F..%2Fc/actions/jobs/2", None),
            ("https://x/api/v1/repos/../b/actions/jobs/2", None),
            ("https://x/api/v1/repos/a//actions/jobs/2", None),
            ("https://x/api/v1/repos/a/b/pulls/2", None),
            ("https://x/api/v1/repos/a/%zz/actions/jobs/2", None),
            ("", None),
        ];
        for (url, expected) in cases {
            let got = repository_of(url);
            let got = got.as_ref().map(|(owner, name)| (owner.as_str(), name.as_str()));
            assert_eq!(got, expected, "{url}");
        }
    }

    #[test]
    fn known_job_states_are_mapped_and_unknown_ones_are_not_guessed() {
        let job = |status: &str, conclusion: &str| {
            let (status, conclusion) = (status.to_owned(), conclusion.to_owned());
            job_status(&ApiJob { status, conclusion, runner_name: "r".into(), ..ApiJob::default() })
        };
        assert_eq!(job("queued", ""), Some(Job::Waiting));
        assert_eq!(job("waiting", ""), Some(Job::Blocked));
        assert_eq!(job("in_progress", ""), Some(Job::Running { runner: "r".into() }));
        let done = |word: &str| job("completed", word);
        assert_eq!(done("success"), Some(Job::Done { conclusion: Conclusion::Success }));
        assert_eq!(done("timed_out"), Some(Job::Done { conclusion: Conclusion::Failure }));
        assert_eq!(done("cancelled"), Some(Job::Done { conclusion: Conclusion::Cancelled }));
        assert_eq!(done("skipped"), Some(Job::Done { conclusion: Conclusion::Skipped }));
        assert_eq!(done(""), None);
        assert_eq!(job("sleeping", ""), None);
        assert_eq!(job("", ""), None);
    }

    #[test]
    fn depth_is_counted_outside_of_strings_only() {
        assert!(is_shallow(br#"{"a":"[[[[\"{{{{","b":[{}]}"#));
        assert!(is_shallow("[{}]".repeat(500).as_bytes()));
        assert!(!is_shallow("[".repeat(DEPTH + 1).as_bytes()));
        let in_a_string = format!(r#"{{"a":"{}"}}"#, "[".repeat(1000));
        assert!(is_shallow(in_a_string.as_bytes()));
        let after_an_escape = format!(r#"{{"a":"\\",{}"#, "[".repeat(1000));
        assert!(!is_shallow(after_an_escape.as_bytes()));
    }

    #[test]
    fn escaping_turns_any_text_into_one_segment_and_back() {
        for text in ["acme", "a/../b", "\u{202e}x\n\"$(id)", "100%", "a+b"] {
            let encoded = percent_encode(text);
            assert!(!encoded.contains(['/', ' ', '\n', '"', '$']), "{encoded}");
            assert_eq!(percent_decode(encoded.as_bytes(), false), Some(text.as_bytes().to_vec()));
        }
    }

    #[test]
    fn a_job_with_oversized_labels_is_refused_and_long_texts_are_cut() {
        let labels = Some(vec!["x".repeat(LABELS)]);
        assert_eq!(waiting_job("a/b", 1, ApiJob { labels, ..ApiJob::default() }, None), None);
        let name = "\u{202e}".repeat(10_000);
        let job = ApiJob { name, ..ApiJob::default() };
        let job = waiting_job("a/b", 1, job, None).expect("bounded");
        assert_eq!(job.about.job.chars().count(), TEXT);
    }
}
