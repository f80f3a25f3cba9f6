//! `tinqs-ci eval`: the forge's rules on their own, one JSON case per line.

use std::io::{self, BufRead, Read, Write};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tinqs_ci_reconciler::class::labels_match;
use tinqs_ci_reconciler::run::Secret;

use crate::gitea::webhook;

/// Longest line that is read, in bytes.
const LINE: u64 = 16 * 1024 * 1024;
/// What product.md names and this build does not have yet.
const LATER: [&str; 6] =
    ["patterns", "trigger", "notify", "jobs", "changed-files", "workflow-path"];

/// Which rule is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Whether a delivery is signed with a secret: `method`, `headers`, `query`, `body`,
    /// `verify_with_secret` → `accept`.
    Signature,
    /// Whether a runner may take a job: `runner`, `runs_on` → `match`.
    Labels,
}

/// A kind that cannot be evaluated: a usage error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownKind {
    /// It comes with the forge's trigger rules.
    #[error("`eval {0}` is not in this build yet: it has `labels` and `signature`")]
    Later(&'static str),
    /// It is none.
    #[error("`{0}` is not a kind of `eval`: this build has `labels` and `signature`")]
    Unknown(String),
}

impl Kind {
    /// Reads a kind as the command line names it.
    ///
    /// # Errors
    /// For any other word; the caller shows it as a usage error.
    pub fn parse(word: &str) -> Result<Self, UnknownKind> {
        match word {
            "signature" => Ok(Self::Signature),
            "labels" => Ok(Self::Labels),
            other => Err(LATER.iter().find(|later| **later == other).map_or_else(
                || {
                    let shown = other.chars().take(40).flat_map(char::escape_debug).collect();
                    UnknownKind::Unknown(shown)
                },
                |later| UnknownKind::Later(later),
            )),
        }
    }
}

/// Answers each line of `input` with a line of `output`, in order and at once; blank lines are
/// passed over. `false`: some lines were malformed, which their answers say in `problem`.
///
/// # Errors
/// Where reading or writing fails.
pub fn run(kind: Kind, mut input: impl BufRead, mut output: impl Write) -> io::Result<bool> {
    let mut all_well = true;
    while let Some(line) = next_line(&mut input)? {
        let answer = match line {
            Ok(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Ok(line) => answer(kind, &line),
            Err(problem) => json!({ "id": Value::Null, "problem": problem }),
        };
        all_well &= answer.get("problem").is_none();
        writeln!(output, "{answer}")?;
    }
    output.flush()?;
    Ok(all_well)
}

/// The next line without its end; a line over the bound is passed over and is a problem.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Result<Vec<u8>, &'static str>>> {
    let mut line = Vec::new();
    if input.by_ref().take(LINE + 1).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() as u64 > LINE {
        drop(line);
        input.skip_until(b'\n')?;
        return Ok(Some(Err("the line is longer than 16 MiB")));
    }
    Ok(Some(Ok(line)))
}

fn answer(kind: Kind, line: &[u8]) -> Value {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        id: Value,
    }
    if line.trim_ascii_start().first() != Some(&b'{') {
        return json!({ "id": Value::Null, "problem": "the line is not a JSON object" });
    }
    let id = match serde_json::from_slice::<Named>(line) {
        Ok(Named { id }) => id,
        Err(error) => return json!({ "id": Value::Null, "problem": problem(&error) }),
    };
    let result = match kind {
        Kind::Signature => serde_json::from_slice(line)
            .map_err(|error| problem(&error))
            .and_then(|case| signature(&case))
            .map(|accept| json!({ "id": id, "accept": accept })),
        Kind::Labels => serde_json::from_slice(line)
            .map(|case: Labels| labels(&case))
            .map(|matches| json!({ "id": id, "match": matches }))
            .map_err(|error| problem(&error)),
    };
    result.unwrap_or_else(|problem| json!({ "id": id, "problem": problem }))
}

fn problem(error: &serde_json::Error) -> String {
    // The line's number is the reader's, not the parser's.
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

#[derive(Deserialize)]
struct Signature {
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: Option<std::collections::BTreeMap<String, String>>,
    #[serde(default)]
    query: Option<String>,
    #[serde(default)]
    body: Option<String>,
    verify_with_secret: String,
}

/// Whether the delivery is signed with the secret. Unlike the server, which takes no `GET`, this
/// knows the forge's `GET` deliveries too: their payload stands in the query.
fn signature(case: &Signature) -> Result<bool, String> {
    let Signature { method, headers, query, body, verify_with_secret } = case;
    let mut map = HeaderMap::new();
    for (name, value) in headers.iter().flatten() {
        let header = HeaderName::from_bytes(name.as_bytes())
            .ok()
            .zip(HeaderValue::from_bytes(value.as_bytes()).ok());
        let (key, value) =
            header.ok_or_else(|| format!("the header {name:?} cannot be one of HTTP"))?;
        map.append(key, value);
    }
    let secret = Secret::new(verify_with_secret.as_str());
    Ok(match method.as_deref().unwrap_or("POST") {
        "POST" => {
            let content_type = map.get("content-type").and_then(|value| value.to_str().ok());
            let body = body.as_deref().unwrap_or_default().as_bytes();
            webhook::verify(&secret, &map, content_type, body).is_ok()
        }
        "GET" => webhook::form_payload(query.as_deref().unwrap_or_default().as_bytes())
            .is_some_and(|text| webhook::check_signature(&secret, &map, &text).is_ok()),
        _ => false,
    })
}

#[derive(Deserialize)]
struct Labels {
    #[serde(deserialize_with = "list_or_null")]
    runner: Vec<String>,
    #[serde(deserialize_with = "list_or_null")]
    runs_on: Vec<String>,
}

/// Go writes an empty list as `null`; a list that is left out is a mistake.
fn list_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn labels(case: &Labels) -> bool {
    let Labels { runner, runs_on } = case;
    labels_match(runner, runs_on)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, input: &[u8], well: bool, expected: &str) {
        let mut output = Vec::new();
        let got = run(kind, input, &mut output).expect("reads and writes");
        assert_eq!(String::from_utf8(output).expect("text"), expected);
        assert_eq!(got, well);
    }

    #[test]
    fn each_line_is_answered_in_order_and_malformed_ones_do_not_stop_the_others() {
        check(Kind::Labels, b"", true, "");
        let input = br#"{"id":1,"runner":["a","b"],"runs_on":["a"],"expect":true}

{"id":"x","runner":["a"]}
{"id":{"n":[2]},"runner":null,"runs_on":["a"]}
[1]
{"id":3,
{"id":4,"runner":["a:host"],"runs_on":["a"]}"#;
        let expected = r#"{"id":1,"match":true}
{"id":"x","problem":"missing field `runs_on`"}
{"id":{"n":[2]},"match":false}
{"id":null,"problem":"the line is not a JSON object"}
{"id":null,"problem":"EOF while parsing a value"}
{"id":4,"match":true}
"#;
        // What is missing in an object that ends early differs between the parser's versions.
        let mut output = Vec::new();
        assert!(!run(Kind::Labels, &input[..], &mut output).expect("reads and writes"));
        let output = String::from_utf8(output).expect("text");
        let ids = |text: &str| -> Vec<(Value, bool)> {
            let parse = |line| serde_json::from_str::<Value>(line).expect("JSON");
            text.lines().map(parse).map(|v| (v["id"].clone(), v["problem"].is_null())).collect()
        };
        assert_eq!(ids(&output), ids(expected));
    }

    #[test]
    fn hostile_lines_are_problems() {
        let deep = format!("{{\"id\":{}1{}}}", "[".repeat(200_000), "]".repeat(200_000));
        let mut long = vec![b'x'; usize::try_from(LINE).expect("small") + 1];
        long.extend(b"\n{\"id\":1,\"runner\":[],\"runs_on\":[]}\n");
        let not_text = b"{\"id\":\"\xff\"}";
        for input in [deep.as_bytes(), &long, not_text] {
            let mut output = Vec::new();
            assert!(!run(Kind::Labels, input, &mut output).expect("reads and writes"));
            assert!(output.starts_with(br#"{"id":null,"problem":"#), "{:?}", output.get(..80));
        }
        let mut output = Vec::new();
        run(Kind::Labels, &long[..], &mut output).expect("reads and writes");
        assert!(output.ends_with(b"{\"id\":1,\"match\":true}\n"));
    }

    #[test]
    fn a_signature_case_without_its_parts_is_not_accepted_or_a_problem() {
        check(
            Kind::Signature,
            br#"{"id":1,"verify_with_secret":"s"}
{"id":2,"method":"PUT","verify_with_secret":"s","body":""}
{"id":3,"method":"GET","query":null,"verify_with_secret":"s"}
{"id":4,"headers":{"a b":"c"},"verify_with_secret":"s"}
"#,
            false,
            r#"{"accept":false,"id":1}
{"accept":false,"id":2}
{"accept":false,"id":3}
{"id":4,"problem":"the header \"a b\" cannot be one of HTTP"}
"#,
        );
    }

    #[test]
    fn kinds_of_later_builds_are_named_as_such() {
        assert_eq!(Kind::parse("signature"), Ok(Kind::Signature));
        assert_eq!(Kind::parse("labels"), Ok(Kind::Labels));
        let later = Kind::parse("notify").expect_err("not yet").to_string();
        assert!(later.contains("not in this build yet"), "{later}");
        let unknown = Kind::parse("x\u{1b}[31m").expect_err("unknown").to_string();
        assert!(!unknown.contains('\u{1b}'), "{unknown}");
    }
}
