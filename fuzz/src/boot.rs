//! The boot script. Input: fields separated by NUL: UUID, name, token, URL, git token, UID of the
//! attempt ID, then labels.

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tinqs_ci_boot::script;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Boot, ClassName, RunName, Runner, Secret, Uid8,
};

const FIELDS: [&str; 6] = ["uuid", "name", "token", "address", "git token", "uid"];

/// Checks that bash sees the same script whatever the values are, except for a comment: they occur
/// only in quoted here-documents, as JSON and as two lines of git's configuration.
///
/// # Panics
/// Panics if that does not hold.
pub(crate) fn check(data: &[u8]) {
    static WITH_GIT: LazyLock<String> = LazyLock::new(|| harmless("http://host/"));
    static WITHOUT: LazyLock<String> = LazyLock::new(|| harmless("none://host/"));
    let mut fields =
        data.split(|byte| *byte == 0).map(|field| String::from_utf8_lossy(field).into_owned());
    let [uuid, name, token, url, git, incarnation] =
        FIELDS.map(|_| fields.next().unwrap_or_default());
    let labels: Vec<String> = fields.collect();
    let hostile = attempt(&uuid, &name, &token, &url, &git, labels.clone());
    let text = script(&attempt_id(&incarnation), 3, &hostile);
    assert!(text.bytes().all(|byte| matches!(byte, b'\n' | b'\t' | b' '..=b'~')), "{text:?}");
    if data.len().is_multiple_of(16) {
        assert_eq!(
            text,
            script(&attempt_id(&incarnation), 3, &hostile),
            "a function of the attempt"
        );
    }

    // A harmless one with the same kind of URL, so that git is configured in both or none.
    let scheme = url.split_once("://").map_or("none", |(scheme, _)| scheme);
    let known = if matches!(scheme, "http" | "https") { &WITH_GIT } else { &WITHOUT };
    let (hostile, harmless) = (Parts::of(&text), Parts::of(known));
    assert_eq!(hostile.commands.len(), harmless.commands.len());
    for (number, (ours, known)) in hostile.commands.iter().zip(&harmless.commands).enumerate() {
        if number == 1 {
            assert!(ours.starts_with("# tinqs-ci: the machine "), "{ours}");
        } else {
            assert_eq!(ours, known, "line {number} of what bash reads as commands");
        }
    }
    assert_eq!(hostile.documents.len(), harmless.documents.len());
    identity(&hostile.documents[0], &[&uuid, &name, &token, &url], &labels);
    if hostile.documents.len() == 3 {
        git_configuration(&hostile.documents[1], scheme);
    }
}

fn harmless(address: &str) -> String {
    script(&attempt_id("0a1b2c3d"), 3, &attempt("u", "n", "t", address, "g", Vec::new()))
}

fn attempt_id(uid: &str) -> AttemptId {
    AttemptId { run: RunName::job(7), uid: Uid8(uid.to_owned()), number: 2 }
}

fn attempt(
    uuid: &str,
    name: &str,
    token: &str,
    url: &str,
    git: &str,
    labels: Vec<String>,
) -> Attempt {
    Attempt {
        number: 2,
        decided_at: Timestamp::UNIX_EPOCH,
        class: ClassName("linux".to_owned()),
        runner: Runner {
            repo_id: 0,
            id: 5,
            uuid: uuid.to_owned(),
            name: name.to_owned(),
            labels,
            token: Secret::new(token),
        },
        boot: Boot {
            deadline: Timestamp::UNIX_EPOCH,
            idle_within: SignedDuration::from_mins(2),
            start_by: Some(Timestamp::UNIX_EPOCH),
            hold: SignedDuration::ZERO,
            instance_url: url.to_owned(),
            git_token: Some(Secret::new(git)),
        },
        placements: Vec::new(),
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    }
}

/// A script as bash splits it: a here-document begins after the line that names its delimiter, and
/// ends at the first line that is only the delimiter.
struct Parts<'a> {
    commands: Vec<&'a str>,
    documents: Vec<Vec<&'a str>>,
}

impl<'a> Parts<'a> {
    fn of(script: &'a str) -> Self {
        let mut parts = Self { commands: Vec::new(), documents: Vec::new() };
        let mut lines = script.split('\n');
        while let Some(line) = lines.next() {
            parts.commands.push(line);
            let Some((_, word)) = line.split_once("<<").filter(|_| !line.starts_with('#')) else {
                continue;
            };
            let word = word.split([' ', '|', ';']).next().unwrap_or_default().trim_matches('\'');
            let document = lines.by_ref().take_while(|line| *line != word).collect();
            parts.documents.push(document);
        }
        parts
    }
}

fn identity(document: &[&str], texts: &[&str; 4], labels: &[String]) {
    let read: Value = serde_json::from_str(&document.join("\n")).expect("the identity is JSON");
    let [uuid, name, token, address] = texts;
    let labels: Vec<String> = labels
        .iter()
        .map(|label| if label.contains(':') { label.clone() } else { format!("{label}:host") })
        .collect();
    let said = json!({
        "id": 5, "uuid": uuid, "name": name, "token": token, "address": address,
        "labels": labels, "ephemeral": true,
    });
    assert_eq!(read, said);
}

/// Checks `[url "URL"]` and `insteadOf = "URL"`: no URL may end its quotes or begin an escape.
fn git_configuration(document: &[&str], scheme: &str) {
    let [section, instead] = document else { panic!("not two lines: {document:?}") };
    let quoted = |line: &str, before: &str, after: &str| {
        let url = line.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        let url = url.unwrap_or_else(|| panic!("{line}")).to_owned();
        assert!(url.starts_with(&format!("{scheme}://")), "{url}");
        assert!(!url.contains(['"', '\\', ' ', '#', ';', '\n', '\t']), "{url}");
        url
    };
    let with = quoted(section, "[url \"", "\"]");
    let without = quoted(instead, "\tinsteadOf = \"", "\"");
    let (_, place) = with.split_once(":x-oauth-basic@").expect("a user and a place");
    assert_eq!(format!("{scheme}://{place}"), without, "the token goes to the forge only");
}
