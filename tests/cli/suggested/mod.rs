//! Each command that a message, the help or the book suggests exists, and does what it says.
//!
//! The commands are collected mechanically. An exception has a reason, and an unused one fails.

mod collect;
mod run;

use std::collections::BTreeSet;

use collect::{Suggestion, of_docs, of_sources};
use tinqs_ci::commands;

/// Texts in the form of a command that are none: the file, the text, and why.
const NO_COMMANDS: &[(&str, &str, &str)] = &[(
    "reconciler/src/plan/decide.rs",
    "tinqs-ci retry",
    "the message is in records: a change of it would write each deleted run again",
)];

/// A command in its words, with values in place of placeholders.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Words(Vec<String>);

/// The values of placeholders.
struct Values {
    run: String,
    machine: String,
    class: String,
    repo: String,
    branch: String,
    server: String,
}

impl Values {
    /// Values that are well-formed.
    fn well_formed() -> Self {
        Self {
            run: "job-7".to_owned(),
            machine: "m-1".to_owned(),
            class: "linux".to_owned(),
            repo: "acme/widget".to_owned(),
            branch: "main".to_owned(),
            server: "http://127.0.0.1:8080".to_owned(),
        }
    }

    /// Returns the value of a placeholder after these words.
    fn of(&self, word: &str, before: &[String]) -> Option<String> {
        let is_run = |text: &str| text.starts_with("job-") || text.starts_with("run/job-");
        let verb = before.first().map(String::as_str).unwrap_or_default();
        let is_upper = word.chars().any(char::is_uppercase)
            && word.chars().all(|c| c.is_uppercase() || "-_/|@0123456789".contains(c));
        let value = match word {
            "N" | "SECONDS" => "3",
            "SHELL" => "bash",
            "http://127.0.0.1:PORT" => &self.server,
            "MACHINE" => &self.machine,
            "CLASS" => &self.class,
            "OWNER/REPO" | "OWNER/NAME" | "{repo}" => &self.repo,
            "BRANCH" | "SHA" | "COMMIT" | "COMMIT|BRANCH|TAG" => &self.branch,
            // A placeholder of a format string.
            _ if word.contains('{') => match verb {
                "get" => "runs",
                "terminate" => &self.machine,
                "pause" | "resume" => &self.class,
                _ => &self.run,
            },
            _ if is_run(word) => &self.run,
            _ if is_upper && verb == "eval" => "labels",
            _ if is_upper && verb == "terminate" => &self.machine,
            _ if is_upper => &self.run,
            _ => return None,
        };
        Some(value.to_owned())
    }
}

/// Returns the words after `tinqs-ci`, up to the end of the command in a shell.
fn words(text: &str, values: &Values) -> Words {
    let mut words: Vec<String> = Vec::new();
    for word in text.split_whitespace().skip(1) {
        if matches!(word, "|" | ">" | "<" | "&&" | ";" | "#" | "&") {
            break;
        }
        let word = word.trim_matches(['[', ']', '"', '\'']);
        if matches!(word, "…" | "..." | "") {
            continue;
        }
        let word = values.of(word, &words).unwrap_or_else(|| word.to_owned());
        words.push(word);
    }
    Words(words)
}

fn of(suggestion: &Suggestion) -> (&str, &str) {
    (&suggestion.file, &suggestion.text)
}

/// Everything that is suggested, without what is no command.
fn suggestions() -> BTreeSet<Suggestion> {
    let mut all = of_sources();
    all.extend(of_docs());
    all.retain(|suggestion| {
        NO_COMMANDS.iter().all(|(file, text, _)| (*file, *text) != of(suggestion))
    });
    all
}

#[test]
fn every_suggested_command_is_one() {
    let all = suggestions();
    assert!(all.len() > 100, "commands are found: {}", all.len());
    let values = Values::well_formed();
    let mut wrong = Vec::new();
    for Suggestion { text, file } in &all {
        let Words(words) = words(text, &values);
        if let Err(why) = commands::accepts(&words) {
            wrong.push(format!("{file}: `{text}`: {why}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_exception_is_needed() {
    let mut all = of_sources();
    all.extend(of_docs());
    for (file, text, why) in NO_COMMANDS {
        assert!(why.len() > 10, "{text} needs a reason");
        let is_there = all.iter().any(|suggestion| of(suggestion) == (*file, *text));
        assert!(is_there, "{file} does not say {text} any more");
    }
}
