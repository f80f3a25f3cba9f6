//! Words that the project does not use any more: `docs/style.md` names what replaced them.

use regex::Regex;

use super::tree::{files, read, text};

/// Files that quote such words, or whose text is not ours.
const EXCEPT: &[&str] = &[
    "CHANGELOG.md",
    "Cargo.lock",
    "LICENSE-",
    "docs/style.md",
    "fuzz/Cargo.lock",
    "fuzz/seeds/",
    "tests/corpus/",
    "tests/house/retired.",
    // The design, as it was.
    "tests/observability/reference.toml",
];

/// A retired word, and the files in which it means something else.
struct Word {
    pattern: Regex,
    unless: Option<Regex>,
}

fn words() -> Vec<Word> {
    let regex = |text: &str| Regex::new(text.trim()).unwrap_or_else(|error| panic!("{error}"));
    let list = read("tests/house/retired.txt");
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let words: Vec<Word> = lines
        .map(|line| match line.split_once(" unless ") {
            Some((pattern, files)) => Word { pattern: regex(pattern), unless: Some(regex(files)) },
            None => Word { pattern: regex(line), unless: None },
        })
        .collect();
    assert!(words.len() > 20, "retired.txt has only {} words", words.len());
    words
}

impl Word {
    fn is_in(&self, file: &str, line: &str) -> bool {
        self.pattern.is_match(line)
            && !self.unless.as_ref().is_some_and(|unless| unless.is_match(file))
    }
}

#[test]
fn no_file_uses_a_retired_word() {
    let words = words();
    let mut found = Vec::new();
    for file in files() {
        if EXCEPT.iter().any(|except| file.starts_with(except)) {
            continue;
        }
        let Some(text) = text(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| word.is_in(&file, line)) {
                found.push(format!("{file}:{}: {}: {}", number + 1, word.pattern, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "see docs/style.md for the replacements:\n  {}", found.join("\n  "));
}

#[test]
fn retired_words_are_recognized_in_code_and_prose() {
    let words = words();
    let used = |file: &str, line: &str| words.iter().any(|word| word.is_in(file, line));
    for line in
        ["pub struct Slot {", "/// Takes one look at it.", "row 20", "to mend it", "Robbed {"]
    {
        assert!(used("src/lib.rs", line), "`{line}` is accepted");
    }
    for line in ["enum Told {", "const REMEMBERED_FOR: u8", "a stopped class", "jobs stand in line"]
    {
        assert!(used("src/lib.rs", line), "`{line}` is accepted");
    }
    assert!(!used("src/lib.rs", "the rows of a table look good"));
    assert!(!used("src/lib.rs", "Goal::Told, TokenOwner::Known(user)"));
    assert!(used("src/lib.rs", "slot") && !used("workflow/src/yaml.rs", "slot"));
}
