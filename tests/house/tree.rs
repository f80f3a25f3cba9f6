//! Lists and searches the files of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every file of the repository, relative to its root: the tracked files, or all files
/// without git.
pub(crate) fn files() -> Vec<String> {
    let git = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let tracked = git.ok().filter(|out| out.status.success()).map(|out| {
        let names = String::from_utf8(out.stdout).expect("file names here are plain text");
        names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    });
    let mut files = tracked.filter(|names| !names.is_empty()).unwrap_or_else(|| {
        let mut found = Vec::new();
        walk(root(), &mut found);
        found
    });
    files.retain(|name| root().join(name).is_file());
    files.sort();
    assert!(files.len() > 20, "the repository's files are not found: {files:?}");
    files
}

fn walk(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the folder can be read") {
        let path = entry.expect("its entries can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != ".git" && name != "target" {
                walk(&path, found);
            }
        } else if let Ok(relative) = path.strip_prefix(root()) {
            found.push(relative.to_string_lossy().into_owned());
        }
    }
}

pub(crate) fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the text of a file, or `None` if it is not UTF-8.
pub(crate) fn text(name: &str) -> Option<String> {
    String::from_utf8(fs::read(root().join(name)).expect("a listed file can be read")).ok()
}

pub(crate) fn has_extension(name: &str, wanted: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == wanted)
}

pub(crate) fn sources(under: &str) -> Vec<String> {
    files().into_iter().filter(|f| f.starts_with(under) && has_extension(f, "rs")).collect()
}

/// Returns the index of the first line whose code, not comment, contains `needle` as a word.
fn code_holds(name: &str, needle: &str) -> Option<usize> {
    let source = read(name);
    source.lines().position(|line| {
        let code = line.trim_start();
        !code.starts_with("//") && holds_word(code, needle)
    })
}

fn holds_word(line: &str, needle: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(needle).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(word);
        let after = line[at + needle.len()..].chars().next();
        let open_end = needle.chars().next_back().is_some_and(|c| !word(c) || c == '_');
        !before && (open_end || !after.is_some_and(word))
    })
}

/// Fails if the code of `files` contains any of `needles`, and lists the places.
pub(crate) fn none_holds(files: &[String], needles: &[&str], rule: &str) {
    assert!(!files.is_empty(), "nothing to check: {rule}");
    let broken: Vec<String> = files
        .iter()
        .flat_map(|file| needles.iter().map(move |needle| (file, needle)))
        .filter_map(|(file, needle)| {
            code_holds(file, needle).map(|line| format!("{file}:{}: {needle}", line + 1))
        })
        .collect();
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

pub(crate) fn manifest(name: &str) -> toml::Table {
    read(name).parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) fn dependencies(manifest: &toml::Table, kind: &str) -> BTreeSet<String> {
    manifest
        .get(kind)
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

#[test]
fn only_whole_words_are_found() {
    assert!(holds_word("let t = Instant::now();", "Instant"));
    assert!(!holds_word("let t: Instantly;", "Instant"));
    assert!(!holds_word("my_rand::x", "rand::"));
    assert!(holds_word("use aws_sdk_ec2::Client;", "aws_sdk_"));
}
