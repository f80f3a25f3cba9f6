//! Rules for files: their location and length.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::tree::{files, has_extension, read, root, sources};

/// The maximum number of lines of a source file.
const LONG: usize = 400;
/// The maximum number of lines of a test file, which may contain a table of cases.
const LONG_OF_TESTS: usize = 700;

/// Longer files with a reason. A file that is short again must be removed from the list.
const LONG_FILES: &[(&str, &str)] = &[
    ("src/commands/doctor/forge.rs", "a sequence of checks, a third of it their tests"),
    ("tests/cli/help.rs", "the help of every command as it is printed"),
];

/// The allowed entries at the root.
const ROOT: &[&str] = &[
    ".ci",
    ".editorconfig",
    ".gitea",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "adapters",
    "benches",
    "deny.toml",
    "deploy",
    "docs",
    "fuzz",
    "helm",
    "reconciler",
    "rustfmt.toml",
    "schemas",
    "simulator",
    "src",
    "testing",
    "tests",
    "workflow",
];

#[test]
fn no_file_is_too_long() {
    let long: Vec<(String, usize)> = files()
        .into_iter()
        .filter(|file| has_extension(file, "rs"))
        .map(|file| (read(&file).lines().count(), file))
        .filter(|(lines, file)| *lines > if is_test(file) { LONG_OF_TESTS } else { LONG })
        .map(|(lines, file)| (file, lines))
        .collect();
    let listed = |file: &str| LONG_FILES.iter().any(|(name, _)| *name == file);
    let new: Vec<_> = long.iter().filter(|(file, _)| !listed(file)).collect();
    assert!(
        new.is_empty(),
        "longer than {LONG} lines: split them, or list them with a reason: {new:#?}"
    );
    let short: Vec<_> = LONG_FILES
        .iter()
        .filter(|(name, _)| {
            root().join(name).is_file() && !long.iter().any(|(file, _)| file == name)
        })
        .collect();
    assert!(short.is_empty(), "no longer too long, remove them from the list: {short:#?}");
    assert!(LONG_FILES.iter().all(|(_, reason)| reason.len() > 10));
}

/// A suite without the standard harness never runs what the attribute of a test marks.
#[test]
fn suites_with_a_main_of_their_own_list_every_test() {
    for suite in ["tests/black_box/", "tests/why/"] {
        let marked: Vec<String> = sources(suite)
            .into_iter()
            .filter(|file| {
                read(file)
                    .lines()
                    .any(|line| line.trim_start().starts_with("#[") && line.contains("test"))
            })
            .collect();
        assert!(!sources(suite).is_empty(), "{suite} has no files");
        assert!(marked.is_empty(), "list these tests in `suite!` of {suite}main.rs: {marked:?}");
    }
}

fn is_test(file: &str) -> bool {
    file.starts_with("tests/") || file.contains("/tests/") || file.ends_with("/tests.rs")
}

#[test]
fn the_root_contains_only_known_entries() {
    let top: BTreeSet<String> =
        files().iter().filter_map(|f| f.split('/').next()).map(str::to_owned).collect();
    let strays: Vec<_> = top.iter().filter(|name| !ROOT.contains(&name.as_str())).collect();
    assert!(strays.is_empty(), "these do not belong at the root: {strays:?}");
}

#[test]
fn the_vendored_corpus_matches_the_shared_one() {
    let shared: PathBuf = root().join("../shared/corpus");
    if !shared.is_dir() {
        println!("skipped: no shared corpus beside the repository");
        return;
    }
    let mut compared = 0;
    for entry in fs::read_dir(&shared).expect("the shared corpus can be read") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let own = fs::read(root().join("tests/corpus").join(&name))
            .unwrap_or_else(|error| panic!("tests/corpus/{name}: {error}"));
        let theirs = fs::read(&path).expect("a shared file can be read");
        assert!(own == theirs, "tests/corpus/{name} differs from the shared one: copy it again");
        compared += 1;
    }
    assert!(compared > 5, "only {compared} files compared");
}
