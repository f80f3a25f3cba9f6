//! Rules for the book: the width of its prose, and the folders that its map names.

use std::collections::BTreeSet;

use super::tree::{files, has_extension, read};
use super::words::words;

/// The maximum width of a line of prose, in characters.
const WIDTH: usize = 100;

/// Whether a page belongs to the book: those at the root and under `docs/`.
fn is_page(file: &str) -> bool {
    has_extension(file, "md") && (file.starts_with("docs/") || !file.contains('/'))
}

/// Whether a line is too long although it can be broken.
fn is_too_long(line: &str) -> bool {
    if line.chars().count() <= WIDTH {
        return false;
    }
    let text = line.trim_start();
    let numbered = |word: &str| word.trim_end_matches('.').parse::<u32>().is_ok();
    let marked = text.split(' ').next().is_some_and(|first| first == "-" || numbered(first));
    words(text).len() > if marked { 2 } else { 1 }
}

/// Returns the lines of a page that are prose, with their numbers. Tables, code blocks and headings
/// are not, nor are the entries of the summary, which mdBook reads line by line, and comments, such
/// as the marks of command blocks (`tests/how_to/marks.rs`).
fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(page.lines()).filter(move |(_, line)| {
        let text = line.trim_start();
        let fence = text.starts_with("```");
        fenced ^= fence;
        let summary = text.starts_with("- [") && text.ends_with(".md)");
        let other = summary || text.starts_with(['|', '#']) || text.starts_with("<!--");
        !fenced && !fence && !other
    })
}

#[test]
fn prose_has_at_most_100_columns() {
    let mut broken = Vec::new();
    let mut lines = 0;
    for file in files().into_iter().filter(|file| is_page(file)) {
        for (number, line) in prose(&read(&file)) {
            lines += 1;
            if is_too_long(line) {
                broken.push(format!("{file}:{number}: {line}"));
            }
        }
    }
    assert!(broken.is_empty(), "wrap at {WIDTH} columns:\n  {}", broken.join("\n  "));
    assert!(lines > 1_000, "only {lines} lines of prose were found");
}

#[test]
fn a_long_line_is_told_from_one_that_cannot_be_broken() {
    let (long, short) = ("word ".repeat(21), "word ".repeat(20));
    assert!(is_too_long(long.trim_end()) && !is_too_long(short.trim_end()));
    let span = format!("`{}`", "a b".repeat(40));
    assert!(!is_too_long(&span) && !is_too_long(&format!("  - {span}:")));
    assert!(!is_too_long(&format!("12. {span}")));
    assert!(is_too_long(&format!("see {span}")) && is_too_long(&format!("- {span} too")));
    let page = format!("| {long} |\n```text\n{long}\n```\n# {long}\n{long}\n<!-- {long} -->\n");
    assert_eq!(prose(&page).map(|(number, _)| number).collect::<Vec<_>>(), [6]);
}

/// Returns every folder below a crate's `src/` that holds a source file, as the part up to the
/// folder below `src/`, and the name of the folder.
fn folders() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for file in files().into_iter().filter(|file| has_extension(file, "rs")) {
        let (head, rest) = match file.strip_prefix("src/") {
            Some(rest) => ("src/".to_owned(), rest),
            None => match file.split_once("/src/") {
                Some((head, rest)) => (format!("{head}/src/"), rest),
                None => continue,
            },
        };
        let mut parts: Vec<&str> = rest.split('/').collect();
        parts.pop();
        let Some(first) = parts.first() else { continue };
        let outer = format!("{head}{first}/");
        // The parts of a deeper folder belong to it.
        for part in parts.iter().skip(1).take(if outer == "src/server/" { 2 } else { 1 }) {
            found.insert((outer.clone(), format!("{part}/")));
        }
        found.insert((outer.clone(), outer));
    }
    found
}

#[test]
fn the_map_names_every_source_folder() {
    let page = read("docs/architecture.md");
    let row = |outer: &str| {
        let begin = format!("| `{outer}` |");
        page.lines().find(|line| line.starts_with(&begin)).unwrap_or_default()
    };
    let folders = folders();
    assert!(folders.len() > 60, "{folders:?}");
    let missing: Vec<_> =
        folders.iter().filter(|(outer, name)| !row(outer).contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "the table of docs/architecture.md lacks {missing:?}");
}
