//! The house rules that a machine can check: how imports go, what lies where, what no file may hold.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A source file longer than this wants to be two.
const LONG: usize = 400;
/// A file of tests may hold a table of cases.
const LONG_OF_TESTS: usize = 700;

/// Files that are longer, each with its reason. One that got short again leaves the list.
const LONG_FILES: &[(&str, &str)] = &[
    ("simulator/src/world/drive.rs", "one script of what a pretended day holds"),
    ("simulator/src/world/profiles.rs", "the narrow worlds side by side, a table in all but form"),
    ("src/config/reader.rs", "one reader, a third of it the cases of its messages"),
    ("src/doctor/forge.rs", "one check after the other, a third of it their cases"),
    ("src/embedded/store/tables.rs", "every transaction of the one file side by side"),
];

/// What the lockfile may hold; raised on purpose only, with a line in the changelog.
const MOST_PACKAGES: usize = 400;

/// What stands at the root. A new name is a decision.
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
    "tests",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the repository, relative to its root: what git tracks, or what lies there.
fn files() -> Vec<String> {
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

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The text of a file, if it is text.
fn text(name: &str) -> Option<String> {
    String::from_utf8(fs::read(root().join(name)).expect("a listed file can be read")).ok()
}

fn has_extension(name: &str, wanted: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == wanted)
}

fn sources(under: &str) -> Vec<String> {
    files().into_iter().filter(|f| f.starts_with(under) && has_extension(f, "rs")).collect()
}

/// Where `needle` stands in code (not in comments), as a word of its own.
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

/// Fails with every place where one of `needles` stands in the code of `files`.
fn none_holds(files: &[String], needles: &[&str], rule: &str) {
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

fn manifest(name: &str) -> toml::Table {
    read(name).parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn dependencies(manifest: &toml::Table, kind: &str) -> BTreeSet<String> {
    manifest
        .get(kind)
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

#[test]
fn words_are_found_as_words() {
    assert!(holds_word("let t = Instant::now();", "Instant"));
    assert!(!holds_word("let t: Instantly;", "Instant"));
    assert!(!holds_word("my_rand::x", "rand::"));
    assert!(holds_word("use aws_sdk_ec2::Client;", "aws_sdk_"));
}

#[test]
fn the_deciding_crate_knows_no_world() {
    let crates = manifest("reconciler/Cargo.toml");
    let known = BTreeSet::from(
        [
            "async-lock",
            "async-trait",
            "granit-parser",
            "jiff",
            "regex-automata",
            "regex-syntax",
            "schemars",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "uuid",
        ]
        .map(String::from),
    );
    let own = dependencies(&crates, "dependencies");
    let new: Vec<_> = own.difference(&known).collect();
    assert!(new.is_empty(), "the deciding crate asks for {new:?}: a decision, see docs/decisions/");
    for banned in ["tokio", "reqwest", "axum", "rand", "tinqs-ci", "tinqs-ci-simulator"] {
        assert!(
            !dependencies(&crates, "dev-dependencies").contains(banned),
            "{banned} in its tests"
        );
    }
    none_holds(
        &sources("reconciler/src/"),
        &[
            "std::fs",
            "std::net",
            "std::env",
            "std::thread",
            "std::process",
            "std::os",
            "Instant",
            "SystemTime",
            "Timestamp::now",
            "Zoned::now",
            "tokio",
            "println!",
            "eprintln!",
        ],
        "the deciding crate knows no file, socket, environment, thread or clock",
    );
}

#[test]
fn imports_go_one_way() {
    let simulator = dependencies(&manifest("simulator/Cargo.toml"), "dependencies");
    assert!(simulator.contains("tinqs-ci-reconciler") && !simulator.contains("tinqs-ci"));
    none_holds(&sources("simulator/src/"), &["tinqs_ci::"], "the simulator knows no adapter");
    let outside: Vec<String> = sources("src/")
        .into_iter()
        .filter(|file| !file.starts_with("src/aws/") && !file.starts_with("src/lambda"))
        .collect();
    none_holds(
        &outside,
        &["aws_config", "aws_sdk_", "aws_smithy_", "lambda_http", "lambda_runtime"],
        "AWS crates are named in src/aws/ and src/lambda alone",
    );
    let others: Vec<String> = outside
        .into_iter()
        .filter(|file| !["src/lib.rs", "src/main.rs"].contains(&file.as_str()))
        .filter(|file| !file.ends_with("/cloud.rs"))
        .collect();
    none_holds(&others, &["crate::aws"], "the AWS adapters are reached by main and cloud.rs alone");
}

#[test]
fn no_build_that_is_shipped_has_the_mutants() {
    // What cargo would build, without and with what tests ask for.
    let features = |edges: &str| -> Vec<String> {
        let out = Command::new(env!("CARGO"))
            // As the README's command builds: a fresh clone has fetched nothing more.
            .args(["tree", "--workspace", "--exclude", "tinqs-ci-aws-tests"])
            .args(["--no-default-features", "--locked", "--offline", "--prefix", "none"])
            .args(["--format", "{p}|{f}", "--edges", edges])
            .current_dir(root())
            .output()
            .expect("cargo can be run");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        let tree = String::from_utf8(out.stdout).expect("cargo writes plain text");
        // The path of the package stands before the bar, and may be called anything.
        tree.lines()
            .filter(|line| line.starts_with("tinqs-ci-reconciler "))
            .filter_map(|line| line.split_once('|').map(|(_, features)| features.to_owned()))
            .collect()
    };
    let shipped = features("normal,build");
    assert!(!shipped.is_empty(), "the deciding crate is part of every build");
    assert!(
        !shipped.iter().any(|line| line.contains("mutants")),
        "mutants are shipped: {shipped:?}"
    );
    let tested = features("normal,build,dev");
    assert!(tested.iter().any(|line| line.contains("mutants")), "no test asks for the mutants");
}

#[test]
fn nobody_draws_random_numbers() {
    // The pretended world draws its faults, from a seed.
    let pretending = |file: &String| file.starts_with("simulator/");
    let files: Vec<String> = files()
        .into_iter()
        .filter(|f| has_extension(f, "rs") && !pretending(f) && !f.starts_with("tests/"))
        .collect();
    none_holds(
        &files,
        &["rand::", "fastrand::", "getrandom::", "new_v4", "new_v7", "RandomState"],
        "ids and jitter are hashes; only the pretended world draws, from a seed",
    );
}

#[test]
fn nothing_unfinished_is_left() {
    let sources: Vec<String> = files().into_iter().filter(|f| has_extension(f, "rs")).collect();
    let marks = [["to", "do!("], ["unimple", "mented!("], ["db", "g!("], ["FIX", "ME"]];
    let marks = marks.map(|halves| halves.concat());
    let marks: Vec<&str> = marks.iter().map(String::as_str).collect();
    none_holds(&sources, &marks, "nothing unfinished is left in the source");
}

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
    assert!(new.is_empty(), "longer than {LONG} lines: split, or list with a reason: {new:#?}");
    let short: Vec<_> = LONG_FILES
        .iter()
        .filter(|(name, _)| {
            root().join(name).is_file() && !long.iter().any(|(file, _)| file == name)
        })
        .collect();
    assert!(short.is_empty(), "not long any more: take off the list: {short:#?}");
    assert!(LONG_FILES.iter().all(|(_, reason)| reason.len() > 10));
}

fn is_test(file: &str) -> bool {
    file.starts_with("tests/") || file.contains("/tests/") || file.ends_with("/tests.rs")
}

#[test]
fn nothing_strays_at_the_root() {
    let top: BTreeSet<String> =
        files().iter().filter_map(|f| f.split('/').next()).map(str::to_owned).collect();
    let strays: Vec<_> = top.iter().filter(|name| !ROOT.contains(&name.as_str())).collect();
    assert!(strays.is_empty(), "these do not belong at the root: {strays:?}");
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
        // Written by cargo; facts from elsewhere, kept byte for byte.
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
    assert!(broken.is_empty(), "somebody's machine, or a registry:\n  {}", broken.join("\n  "));
}

/// Whether a line holds an absolute path under a folder that is somebody's own.
fn names_a_place(line: &str, folder: &str) -> bool {
    let path = ["/", folder, "/"].concat();
    line.match_indices(&path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + path.len()..].chars().next();
        before.is_none_or(|c| !c.is_alphanumeric() && !"._-*}/".contains(c))
            && after.is_some_and(char::is_alphanumeric)
    })
}

#[test]
fn the_lockfile_stays_small_and_clean() {
    let lock = manifest("Cargo.lock");
    let packages = lock["package"].as_array().expect("a lockfile has packages");
    assert!(
        packages.len() <= MOST_PACKAGES,
        "{} packages, {MOST_PACKAGES} allowed: is the new one worth it?",
        packages.len()
    );
    // What deny.toml bans, as far as a lockfile tells; cargo deny itself may be missing.
    let banned = ["openssl-sys", "native-tls", "serde_yaml", "serde_yml", "backoff", "instant"];
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let version = package["version"].as_str().unwrap_or_default();
        assert!(!banned.contains(&name), "{name} is banned, see deny.toml");
        assert!(!(name == "hyper" && version.starts_with("0.")), "hyper {version} is banned");
        assert!(!(name == "rustls" && version < "0.23"), "rustls {version} is banned");
    }
    let deny = manifest("deny.toml");
    let bans = deny["bans"]["deny"].as_array().expect("deny.toml bans crates");
    assert!(bans.iter().all(|ban| ban["reason"].as_str().is_some_and(|why| why.len() > 5)));
}

#[test]
fn the_vendored_corpus_is_the_shared_one() {
    let shared: PathBuf = root().join("../shared/corpus");
    if !shared.is_dir() {
        println!("skipped: there is no corpus beside the repository");
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
        assert!(own == theirs, "tests/corpus/{name} differs from the shared one: copy it anew");
        compared += 1;
    }
    assert!(compared > 5, "only {compared} files compared");
}

/// Every whole `cargo` command of a script: up to what the shell makes of the rest of the line
/// (a comment, a pipe, a redirection, the end of a function).
fn commands_of(script: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in script.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        for start in (0..words.len()).filter(|start| words[*start] == "cargo") {
            let mut command: Vec<&str> = Vec::new();
            for word in &words[start..] {
                // `cargo test;` ends with its last word; `2>&1` and `|` are no words of it.
                let own = word.split([';', '|', '&', '>', '<', ')', '}', '#']).next();
                let own = own.unwrap_or_default();
                let redirected = word[own.len()..].starts_with(['>', '<']);
                let stream = redirected && own.chars().all(|c| c.is_ascii_digit());
                if !own.is_empty() && !stream {
                    command.push(own);
                }
                if own.len() < word.len() {
                    break;
                }
            }
            found.insert(command.join(" "));
        }
    }
    found
}

#[test]
fn a_longer_command_is_another_command() {
    let script = "  CARGO_TERM_COLOR=never cargo test -p x 2>&1 | tee \"$target/tests.log\"\n\
                  demo() { cargo run --release -- demo; }\n\
                  # cargo build\n\
                  cargo doc >log && cargo  fmt   # all of it\n\
                  run 'lints' cargo clippy -- -D warnings\n";
    let whole =
        ["cargo clippy -- -D warnings", "cargo doc", "cargo fmt", "cargo run --release -- demo"];
    let whole = whole.into_iter().chain(["cargo test -p x"]).map(str::to_owned);
    assert_eq!(commands_of(script), whole.collect::<BTreeSet<_>>());
    assert!(!commands_of(script).contains("cargo test"), "that is a shorter one");
}

#[test]
fn ci_runs_what_a_developer_runs() {
    let run = read(".ci/run");
    assert!(run.contains("set -euo pipefail"));
    let readme = read("README.md");
    let commands: Vec<&str> =
        readme.lines().map(str::trim).filter(|line| line.starts_with("cargo ")).collect();
    assert!(commands.len() >= 2, "the README names the two commands");
    let runs = commands_of(&run);
    for command in commands {
        let command = commands_of(command).pop_first().expect("it is a command");
        assert!(runs.contains(&command), "`{command}` of the README is not run in .ci/run");
    }
    for workflow in files().iter().filter(|f| f.starts_with(".gitea/workflows/")) {
        assert!(read(workflow).contains(".ci/run"), "{workflow} runs something else");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(root().join(".ci/run")).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o111, 0o111, ".ci/run is executable");
    }
}

#[test]
fn the_changelog_goes_on() {
    let changelog = read("CHANGELOG.md");
    let next = changelog.lines().find(|line| line.starts_with("## "));
    assert_eq!(next, Some("## [Unreleased]"), "what is next stands first");
    let version = manifest("Cargo.toml")["workspace"]["package"]["version"].clone();
    assert!(version.as_str().is_some_and(|v| v.split('.').count() == 3));
}
