//! Rules for the content of files.

use std::fs;

use super::tree::{files, has_extension, manifest, none_holds, read, root, sources, text};

#[test]
fn only_the_simulator_uses_random_numbers() {
    // The simulator draws its faults from a seed.
    let simulated = |file: &String| file.starts_with("simulator/");
    let files: Vec<String> = files()
        .into_iter()
        .filter(|f| has_extension(f, "rs") && !simulated(f) && !f.starts_with("tests/"))
        .collect();
    none_holds(
        &files,
        &["rand::", "fastrand::", "getrandom::", "Uuid::new_v4", "Uuid::new_v7", "RandomState"],
        "IDs and jitter are hashes; only the simulator uses random numbers, from a seed",
    );
}

#[test]
fn sources_contain_no_unfinished_code() {
    let sources: Vec<String> = files().into_iter().filter(|f| has_extension(f, "rs")).collect();
    let marks = [["to", "do!("], ["unimple", "mented!("], ["db", "g!("], ["FIX", "ME"]];
    let marks = marks.map(|halves| halves.concat());
    let marks: Vec<&str> = marks.iter().map(String::as_str).collect();
    none_holds(&sources, &marks, "the source must not contain unfinished code");
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    let hosts = [
        ["crates", ".io/"],
        ["crates", ".io:"],
        ["py", "pi.org"],
        ["files.python", "hosted.org"],
        ["npm", "js.org"],
        ["npm", "js.com"],
        ["proxy.go", "lang.org"],
        ["repo.maven.", "apache.org"],
        ["repo1.maven", ".org"],
        ["deb.debian", ".org"],
        ["arti", "factory"],
    ];
    let hosts = hosts.map(|halves| halves.concat());
    let mut broken = Vec::new();
    for file in files() {
        // Written by cargo; copied data that must not change.
        if file == "Cargo.lock" || file.starts_with("tests/corpus/") {
            continue;
        }
        let Some(text) = text(&file) else { continue };
        for (number, line) in text.lines().enumerate() {
            let place = ["work", "root", "home"].into_iter().find(|name| names_a_place(line, name));
            let host = hosts.iter().find(|host| line.contains(host.as_str()));
            if place.is_some() || host.is_some() {
                broken.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "a path on somebody's machine, or a registry host:\n  {}",
        broken.join("\n  ")
    );
}

/// Whether a line contains an absolute path below this folder.
fn names_a_place(line: &str, folder: &str) -> bool {
    let path = ["/", folder, "/"].concat();
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-*}/".contains(c))
            && after.is_some_and(char::is_alphanumeric)
    })
}

/// The folders whose doc comments begin with the subject (rule 1 of docs/style.md).
const SUBJECT_FIRST: &[&str] = &[
    "reconciler/src/model/",
    "reconciler/src/plan/",
    "reconciler/src/ports/",
    "src/api/",
    "src/words/",
];

/// Whether a line is a doc comment that begins with a question word.
fn begins_with_a_question(line: &str) -> bool {
    let line = line.trim_start();
    let text = line.strip_prefix("/// ").or_else(|| line.strip_prefix("//! "));
    let word = text.and_then(|text| text.split(|c: char| !c.is_alphabetic()).next());
    let questions = ["What", "Where", "Whose", "Why", "How", "Which", "Who"];
    word.is_some_and(|word| questions.contains(&word))
}

#[test]
fn doc_comments_begin_with_the_subject() {
    assert!(begins_with_a_question("    /// What's left."));
    assert!(begins_with_a_question("//! Why it waits"));
    assert!(!begins_with_a_question("/// Whether it waits") && !begins_with_a_question("What"));
    let mut found = Vec::new();
    for folder in SUBJECT_FIRST {
        let files = sources(folder);
        assert!(!files.is_empty(), "{folder} has no sources");
        for file in files {
            for (number, line) in read(&file).lines().enumerate() {
                if begins_with_a_question(line) {
                    found.push(format!("{file}:{}: {}", number + 1, line.trim()));
                }
            }
        }
    }
    assert!(found.is_empty(), "the subject comes first, see docs/style.md:\n{}", found.join("\n"));
}

/// Whether a line of a shell script runs exactly this command.
fn runs(line: &str, command: &str) -> bool {
    let line = line.trim_start();
    !line.starts_with('#')
        && line.match_indices(command).any(|(at, _)| {
            let rest = line[at + command.len()..].trim_start();
            let begins = line[..at].chars().next_back().is_none_or(char::is_whitespace);
            let ends = rest.is_empty()
                || [";", "|", "&", ">", "2>"].iter().any(|end| rest.starts_with(end));
            begins && ends
        })
}

#[test]
fn a_longer_command_does_not_count_as_the_command() {
    let command = "cargo test";
    assert!(runs("  cargo test", command));
    assert!(runs("TERM=no cargo test 2>&1 | tee log", command));
    assert!(runs("tests() { cargo test; }", command));
    assert!(!runs("cargo test --lib", command));
    assert!(!runs("cargo tests", command));
    assert!(!runs("# cargo test", command));
}

#[test]
fn ci_runs_the_commands_of_the_readme() {
    let run = read(".ci/run");
    assert!(run.contains("set -euo pipefail"));
    let readme = read("README.md");
    let commands: Vec<&str> =
        readme.lines().map(str::trim).filter(|line| line.starts_with("cargo ")).collect();
    assert!(commands.len() >= 2, "the README names the two commands");
    for command in commands {
        let command = command.split('#').next().unwrap_or_default().trim();
        let is_run = run.lines().any(|line| runs(line, command));
        assert!(is_run, "`{command}` of the README is not run in .ci/run");
    }
    let workflow = read(".gitea/workflows/ci.yml");
    assert!(workflow.lines().any(|line| line.trim() == "- run: .ci/run"), "it runs something else");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(root().join(".ci/run")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, ".ci/run is executable");
    }
}

#[test]
fn the_changelog_starts_with_unreleased() {
    let changelog = read("CHANGELOG.md");
    let next = changelog.lines().find(|line| line.starts_with("## "));
    assert_eq!(next, Some("## [Unreleased]"), "the unreleased section comes first");
    let version = manifest("Cargo.toml")["workspace"]["package"]["version"].clone();
    assert!(version.as_str().is_some_and(|v| v.split('.').count() == 3));
}
