//! The mark of a command block: an HTML comment in the line before it, which readers do not see.
//!
//! - ``<!-- run by: `FILE::TEST` -->``: this test, or several separated by commas, run its
//!   commands with values of their own; those in this suite run the block as it is printed. That
//!   they exist is checked in `tests/docs.rs`, as of all tests that pages name.
//! - `<!-- needs: WHAT -->`: no test runs it, because it needs one of [`NEEDS`].
//!
//! Whatever its mark is, a block is correct for bash, and its commands of tinqs-ci exist.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use tinqs_ci::commands;

use crate::book::{Block, all, pages, read};

/// The requirements that no test meets.
const NEEDS: &[&str] = &[
    "a cluster",
    "a container registry",
    "a domain",
    "an AWS account",
    "root and systemd",
    "the Rust toolchain",
];

/// Values of placeholders whose form the command line checks.
const PLACEHOLDERS: &[(&str, &str)] = &[
    ("CLASS", "linux"),
    ("MACHINE", "m-1"),
    ("NAME", "job-7"),
    ("PORT", "8080"),
    ("RUN", "job-7"),
    ("URL", "https://git.example.com/acme/widget/actions/runs/1"),
];

/// The content of a mark.
#[derive(Debug, PartialEq, Eq)]
enum Mark {
    /// Tests, each as its file and name.
    RunBy(Vec<(String, String)>),
    Needs(String),
}

/// Returns the mark of a line, if it is one.
fn mark(line: &str) -> Option<Mark> {
    let text = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
    if let Some(what) = text.strip_prefix("needs: ") {
        return NEEDS.contains(&what).then(|| Mark::Needs(what.to_owned()));
    }
    let named = |part: &str| {
        let (file, name) = part.strip_prefix('`')?.strip_suffix('`')?.split_once("::")?;
        Some((file.to_owned(), name.to_owned()))
    };
    let tests = text.strip_prefix("run by: ")?.split(", ").map(named);
    tests.collect::<Option<Vec<_>>>().map(Mark::RunBy)
}

/// Returns the words of the commands of a block: without comments, continued lines joined.
fn lines(text: &str) -> Vec<Vec<String>> {
    let joined = text.replace("\\\n", " ");
    let code = joined.lines().map(|line| match line.find(" #") {
        Some(at) => line.get(..at).unwrap_or_default(),
        None if line.starts_with('#') => "",
        None => line,
    });
    code.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Whether a command begins behind these words of a line.
fn is_begin(before: &[String]) -> bool {
    let Some(last) = before.last() else { return true };
    // `sudo -u USER`, and a variable of the command.
    let as_user = before.len() >= 2 && before[before.len() - 2] == "-u" && before[0] == "sudo";
    let is_value = last.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    });
    let is_tool = |word: &str| before.iter().any(|other| other == word);
    let inner = last == "--" && (is_tool("kubectl") || is_tool("cargo"));
    ["&&", "||", "|", ";"].contains(&last.as_str()) || as_user || is_value || inner
}

/// Returns the arguments of each command of tinqs-ci in a block.
fn commands_of(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for words in lines(text) {
        for (at, word) in words.iter().enumerate().filter(|(at, _)| is_begin(&words[..*at])) {
            let is_built = at > 0 && words[0] == "cargo" && words[at - 1] == "--";
            if word != "tinqs-ci" && !is_built {
                continue;
            }
            let rest = &words[if is_built { at } else { at + 1 }..];
            let end = |word: &&String| !["&&", "||", "|", ";", ">"].contains(&word.as_str());
            found.push(rest.iter().take_while(end).map(|word| filled(word)).collect());
        }
    }
    found
}

/// Returns a word without quotes, and with values for placeholders.
fn filled(word: &str) -> String {
    let word = word.trim_matches(['"', '\'']);
    let value = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
    value.map_or_else(|| word.replace(":PORT", ":8080"), |(_, value)| (*value).to_owned())
}

#[test]
fn every_block_says_which_test_runs_it_or_what_it_needs() {
    let blocks = all();
    assert!(blocks.len() > 40, "only {} blocks were found", blocks.len());
    let unmarked: Vec<_> = blocks.iter().filter(|block| mark(&block.before).is_none()).collect();
    let places: Vec<String> = unmarked.iter().map(|block| block.place()).collect();
    assert!(
        places.is_empty(),
        "write `<!-- run by: … -->` or `<!-- needs: … -->`, with one of {NEEDS:?}, in the line \
         before the block:\n  {}",
        places.join("\n  ")
    );
    let is_mark = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("<!-- run by:") || line.starts_with("<!-- needs:")
    };
    let marks = |page: &String| read(page).lines().filter(is_mark).count();
    let written: usize = pages().iter().map(marks).sum();
    assert_eq!(written, blocks.len(), "a mark is not before a block of commands");
}

#[test]
fn everything_that_may_be_needed_is_needed() {
    let needed: BTreeSet<String> = all()
        .iter()
        .filter_map(|block| match mark(&block.before) {
            Some(Mark::Needs(what)) => Some(what),
            _ => None,
        })
        .collect();
    let known: BTreeSet<String> = NEEDS.iter().map(|what| (*what).to_owned()).collect();
    assert_eq!(needed, known);
}

/// The commands of tinqs-ci, by its own command line, behind whatever starts them.
#[test]
fn every_command_of_a_block_exists() {
    let mut wrong = Vec::new();
    let mut tried = 0;
    for block in all() {
        for arguments in commands_of(&block.text) {
            tried += 1;
            if let Err(why) = commands::accepts(&arguments) {
                wrong.push(format!("{}: {}: {why}", block.place(), arguments.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 50, "only {tried} commands were found");
}

#[test]
fn every_block_is_correct_for_bash() {
    for block in all() {
        let mut bash = Command::new("bash")
            .arg("-n")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bash starts");
        let mut input = bash.stdin.take().expect("its input");
        input.write_all(block.text.as_bytes()).expect("the block is written");
        drop(input);
        let output = bash.wait_with_output().expect("bash ends");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {told}", block.place());
    }
}

/// Returns the source of a function of a file, up to the end of the function.
fn function<'s>(source: &'s str, name: &str) -> &'s str {
    let begin = source.find(&format!("fn {name}(")).unwrap_or(source.len());
    let rest = &source[begin..];
    rest.find("\n}\n").map_or(rest, |end| &rest[..end])
}

/// Whether a test of this suite plays a block: its file names the page, and the test the beginning.
fn plays(source: &str, name: &str, block: &Block) -> bool {
    let text = block.text.replace('\n', "\\n");
    let begins = |part: &str| part.len() > 7 && text.starts_with(part);
    source.contains(&format!("\"{}\"", block.page)) && function(source, name).split('"').any(begins)
}

#[test]
fn the_named_tests_of_this_suite_play_the_block() {
    let mut checked = 0;
    for block in all() {
        let Some(Mark::RunBy(tests)) = mark(&block.before) else { continue };
        for (file, name) in tests.iter().filter(|(file, _)| file.starts_with("tests/how_to/")) {
            checked += 1;
            assert!(
                plays(&read(file), name, &block),
                "{}: {file}::{name} does not play this block",
                block.place()
            );
        }
    }
    assert!(checked > 5, "only {checked} blocks are played here");
}

#[test]
fn marks_and_commands_are_told_from_other_text() {
    let named = ("tests/a.rs".to_owned(), "b".to_owned());
    assert_eq!(mark("<!-- run by: `tests/a.rs::b` -->"), Some(Mark::RunBy(vec![named])));
    assert_eq!(mark("<!-- needs: a cluster -->"), Some(Mark::Needs("a cluster".to_owned())));
    for line in ["<!-- needs: luck -->", "<!-- run by: somebody -->", "run by: `a::b`", ""] {
        assert_eq!(mark(line), None, "{line}");
    }
    let text = r"# tinqs-ci no
tinqs-ci get runs -w   # tinqs-ci no
sudo -u tinqs-ci tinqs-ci status
kubectl -n tinqs-ci exec deploy/tinqs-ci -- tinqs-ci open
helm test tinqs-ci -n x
sudo -u a sh -c 'cd b && tinqs-ci doctor --config c'
X=1 tinqs-ci why \
  URL | tee
cargo run --release -- demo --stay
";
    let found: Vec<String> = commands_of(text).iter().map(|words| words.join(" ")).collect();
    let expected = [
        "get runs -w",
        "status",
        "open",
        "doctor --config c",
        "why https://git.example.com/acme/widget/actions/runs/1",
        "demo --stay",
    ];
    assert_eq!(found, expected);
    let source = r#"const PAGE: &str = "p";
fn a() {
    play("tinqs-ci b\nc");
}
fn d() {}
"#;
    let mut block = Block {
        page: "p".to_owned(),
        line: 1,
        before: String::new(),
        text: "tinqs-ci b\nc d\n".to_owned(),
    };
    assert!(plays(source, "a", &block) && !plays(source, "d", &block));
    block.page = "q".to_owned();
    assert!(!plays(source, "a", &block));
}
