//! The messages that pages quote are in the sources, so that a search for one finds its page.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use crate::book::{pages, read, root};

/// The sources of messages.
const SOURCES: &[&str] = &["adapters", "deploy", "helm", "reconciler/src", "src", "workflow/src"];
/// The first words of code spans that are commands.
const PROGRAMS: &[&str] =
    &["aws", "cargo", "docker", "helm", "kubectl", "openssl", "packer", "sudo", "tinqs-ci"];
/// The fewest words of a code span that is taken for a message.
const WORDS: usize = 4;
/// Quotes that are not in the sources: the page, the quote, and why.
const OTHERS: &[(&str, &str, &str)] = &[
    (
        "docs/troubleshooting.md",
        "x509: certificate signed by unknown authority",
        "Gitea shows it with a delivery",
    ),
    ("docs/troubleshooting.md", "certificate is valid for …", "Gitea shows it with a delivery"),
    (
        "docs/troubleshooting.md",
        "cannot write the store",
        "the verb is put into it: `sentence` in adapters/local/src/store/writer.rs",
    ),
];

/// Returns a text with single spaces, and string literals in one line.
fn flat(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    for line in text.lines().map(str::trim) {
        match line.strip_suffix('\\') {
            Some(begin) => joined.push_str(begin),
            None => joined.extend([line, " "]),
        }
    }
    joined.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns all sources in one text.
fn sources() -> String {
    let mut text = String::new();
    let mut folders: Vec<PathBuf> = SOURCES.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of sources").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if let Ok(file) = fs::read_to_string(entry.path()) {
                text.extend([flat(&file).as_str(), "\n"]);
            }
        }
    }
    text
}

/// Returns the messages that a page quotes: code spans of several words that are no commands, paths
/// or values.
fn quotes(page: &str) -> BTreeSet<String> {
    let mut is_fenced = false;
    let prose = page.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_fenced ^= is_fence;
        !is_fence && !is_fenced
    });
    let prose = prose.collect::<Vec<_>>().join("\n");
    let spans = prose.split("\n\n").flat_map(|part| part.split('`').skip(1).step_by(2));
    let spans = spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" "));
    spans.filter(|span| is_message(span)).collect()
}

fn is_message(span: &str) -> bool {
    let words: Vec<&str> = span.split(' ').collect();
    words.len() >= WORDS
        && !PROGRAMS.contains(&words[0])
        && !span.contains("--")
        && !span.contains(|c: char| "={}$<>|/\"[]()_~&*".contains(c))
}

/// Whether the sources have a message, whatever they put in place of names and numbers.
fn has(sources: &str, quote: &str) -> bool {
    let is_name = |word: &str| {
        word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || ".…".contains(c))
    };
    let words: Vec<&str> = quote.split(' ').collect();
    let mut parts = words.split(|word| is_name(word)).map(|part| part.join(" "));
    parts.all(|part| sources.contains(&part))
}

#[test]
fn every_message_that_a_page_quotes_is_in_the_sources() {
    let sources = sources();
    let mut unknown = Vec::new();
    let mut found = BTreeSet::new();
    for page in pages() {
        for quote in quotes(&read(&page)) {
            let is_other = OTHERS.iter().any(|(of, text, _)| *of == page && *text == quote);
            if !has(&sources, &quote) && !is_other {
                unknown.push(format!("{page}: {quote}"));
            }
            found.insert((page.clone(), quote));
        }
    }
    assert!(unknown.is_empty(), "no source has these messages:\n  {}", unknown.join("\n  "));
    assert!(found.len() > 20, "only {} messages were found", found.len());
    for (page, quote, why) in OTHERS {
        let is_there = found.contains(&((*page).to_owned(), (*quote).to_owned()));
        assert!(is_there && !has(&sources, quote), "{quote} is no exception any more");
        assert!(why.len() > 10, "{quote} needs a reason");
    }
}

#[test]
fn messages_are_told_from_other_code_spans() {
    let page = "`the store is\nnot empty`, `a b c`, `tinqs-ci get runs -w`, `a = b or c`\n\n\
                ```sh\n`not a message here`\n```\n`no such table NAME`";
    let expected = ["no such table NAME", "the store is not empty"];
    assert_eq!(quotes(page), BTreeSet::from(expected.map(str::to_owned)));
    let source = flat("error(\"the store \\\n         is not empty\")\nno such table {name}");
    assert!(has(&source, "the store is not empty") && has(&source, "no such table NAME"));
    assert!(!has(&source, "the store was not empty"));
}
