//! `tinqs-ci eval KIND`: evaluates the forge's rules, one JSON case per line.

use std::io::{self, BufRead, Read, Write};

use serde::Deserialize;
use serde_json::{Value, json};
use tinqs_ci_workflow::Dialect;

#[cfg(test)]
mod corpus;
mod delivery;
mod jobs;
mod notify;
mod workflow;

/// The maximum length of a line, in bytes.
const LINE: u64 = 16 * 1024 * 1024;

/// The evaluated rule, with its input and output fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Matches a filter's patterns against names: `filter`, `patterns`, `input` → `skip`, `error`.
    Patterns,
    /// Matches a file against an event: `workflow_yaml`, `event`, `event_payload`, `ref`,
    /// `changed_files`, `changed_files_error` → `match`, `events`, `file_invalid`.
    Trigger,
    /// Lists the workflow runs of an event: `repo_files`, `event`, `event_payload`, `context`,
    /// `changed_files` → `match`, `runs`.
    Notify,
    /// Lists a file's jobs when its workflow run is created: `workflow_yaml`, `context` → `jobs`,
    /// `runners_needed_at_once`, `error`.
    Jobs,
    /// Whether a runner may take a job: `runner`, `runs_on` → `match`.
    Labels,
    /// Lists what a push changed: `commits`, `before`, `tip` → `files`, `error`.
    ChangedFiles,
    /// Whether a delivery is signed with a secret: `method`, `headers`, `query`, `body`,
    /// `verify_with_secret` → `accept`.
    Signature,
    /// Whether a path is that of a workflow: `workflow_dirs`, `path` → `match`.
    WorkflowPath,
}

/// All kinds by their names on the command line.
pub const KINDS: [(&str, Kind); 8] = [
    ("patterns", Kind::Patterns),
    ("trigger", Kind::Trigger),
    ("notify", Kind::Notify),
    ("jobs", Kind::Jobs),
    ("labels", Kind::Labels),
    ("changed-files", Kind::ChangedFiles),
    ("signature", Kind::Signature),
    ("workflow-path", Kind::WorkflowPath),
];

/// An unknown kind, which is a usage error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown rule `{word}`: expected one of {}", names())]
pub struct UnknownKind {
    /// The given word, escaped.
    pub word: String,
}

fn names() -> String {
    KINDS.map(|(name, _)| name).join(", ")
}

impl Kind {
    /// Parses a kind by its name on the command line.
    ///
    /// # Errors
    /// The word is not in [`KINDS`].
    pub fn parse(word: &str) -> Result<Self, UnknownKind> {
        KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind).ok_or_else(|| {
            UnknownKind { word: word.chars().take(40).flat_map(char::escape_debug).collect() }
        })
    }
}

/// Answers each line of `input` with a line of `output`, in order; skips blank lines. Returns
/// `false` if a line was malformed; its answer then has the field `problem`.
///
/// # Errors
/// Reading or writing fails.
pub fn run(
    kind: Kind,
    dialect: Dialect,
    mut input: impl BufRead,
    mut output: impl Write,
) -> io::Result<bool> {
    let mut all_well = true;
    while let Some(line) = next_line(&mut input)? {
        let answer = match line {
            Ok(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Ok(line) => answer(kind, dialect, &line),
            Err(problem) => json!({ "id": Value::Null, "problem": problem }),
        };
        all_well &= answer.get("problem").is_none();
        writeln!(output, "{answer}")?;
    }
    output.flush()?;
    Ok(all_well)
}

/// Reads the next line without its end. A line over the limit is skipped and is a problem.
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

fn answer(kind: Kind, dialect: Dialect, line: &[u8]) -> Value {
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
        Kind::Patterns => case(line, |case| workflow::patterns(&case, dialect)),
        Kind::Trigger => case(line, |case| Ok(workflow::trigger(&case, dialect))),
        Kind::Notify => case(line, |case| Ok(notify::notify(&case, dialect))),
        Kind::Jobs => case(line, |case| Ok(jobs::jobs(&case, dialect))),
        Kind::Labels => case(line, |case| Ok(delivery::labels(&case))),
        Kind::ChangedFiles => case(line, |case| Ok(workflow::changed_files(case))),
        Kind::Signature => case(line, |case| delivery::signature(&case)),
        Kind::WorkflowPath => case(line, |case| Ok(workflow::path(&case))),
    };
    let mut answer = result.unwrap_or_else(|problem| json!({ "problem": problem }));
    answer["id"] = id;
    answer
}

/// Reads a case and answers it.
fn case<'l, C: Deserialize<'l>>(
    line: &'l [u8],
    rule: impl FnOnce(C) -> Result<Value, String>,
) -> Result<Value, String> {
    serde_json::from_slice(line).map_err(|error| problem(&error)).and_then(rule)
}

fn problem(error: &serde_json::Error) -> String {
    // The parser's line number is not that of the input.
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, input: &[u8], well: bool, expected: &str) {
        let mut output = Vec::new();
        let got = run(kind, Dialect::V1_27, input, &mut output).expect("reads and writes");
        assert_eq!(String::from_utf8(output).expect("text"), expected);
        assert_eq!(got, well);
    }

    #[test]
    fn lines_are_answered_in_order_and_malformed_lines_do_not_stop_the_rest() {
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
        // The message for a truncated object differs between the parser's versions.
        let mut output = Vec::new();
        assert!(
            !run(Kind::Labels, Dialect::V1_27, &input[..], &mut output).expect("reads and writes")
        );
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
            assert!(
                !run(Kind::Labels, Dialect::V1_27, input, &mut output).expect("reads and writes")
            );
            assert!(output.starts_with(br#"{"id":null,"problem":"#), "{:?}", output.get(..80));
        }
        let mut output = Vec::new();
        run(Kind::Labels, Dialect::V1_27, &long[..], &mut output).expect("reads and writes");
        assert!(output.ends_with(b"{\"id\":1,\"match\":true}\n"));
    }

    #[test]
    fn an_incomplete_signature_case_is_rejected_or_a_problem() {
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
{"id":4,"problem":"the header \"a b\" is not valid in HTTP"}
"#,
        );
    }

    #[test]
    fn every_kind_parses_from_its_name() {
        for (name, kind) in KINDS {
            assert_eq!(Kind::parse(name), Ok(kind));
        }
        let unknown = Kind::parse("x\u{1b}[31m").expect_err("unknown").to_string();
        assert!(!unknown.contains('\u{1b}') && unknown.contains("workflow-path"), "{unknown}");
    }
}
