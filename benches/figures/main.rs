//! The figures of `docs/performance.md`, measured: one JSON line each, with its unit and its goal.
//!
//! `cargo bench --no-default-features` measures all but the cold build; names after `--` choose
//! (`cargo bench --no-default-features -- ingest memory`), `--goals` makes a missed goal an error.
//! Everything goes over loopback or stays in a temporary directory, and ends by itself.

mod build;
mod figure;
mod host;
mod ingest;
mod launch;
mod load;
mod look;
mod machine;
mod memory;
mod rules;
mod runs;
mod start;

use std::process::ExitCode;

use figure::{Figures, Result};

/// A group of figures, by the name that chooses it.
type Group = (&'static str, fn(&mut Figures) -> Result<()>);

/// What runs without being named.
const USUAL: [Group; 6] = [
    ("ingest", ingest::run),
    ("launch", launch::run),
    ("memory", memory::run),
    ("look", look::run),
    ("start", start::run),
    ("rules", rules::run),
];
/// What runs only where it is named: it takes minutes.
const NAMED: [Group; 1] = [("build", build::run)];

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (flags, names): (Vec<String>, Vec<String>) =
        words.into_iter().partition(|word| word.starts_with("--"));
    let known = |name: &String| USUAL.iter().chain(&NAMED).any(|(group, _)| group == name);
    if let Some(odd) =
        names.iter().find(|n| !known(n)).or(flags.iter().find(|flag| *flag != "--goals"))
    {
        let groups: Vec<&str> = USUAL.iter().chain(&NAMED).map(|(name, _)| *name).collect();
        eprintln!("`{odd}`: expected `--goals` or some of: {}", groups.join(" "));
        return ExitCode::from(2);
    }
    let mut figures = Figures::default();
    let mut broken = false;
    for (name, group) in USUAL.iter().chain(&NAMED) {
        let usual = USUAL.iter().any(|(usual, _)| usual == name);
        let wanted = names.iter().any(|wanted| wanted == name) || (names.is_empty() && usual);
        if wanted && let Err(error) = group(&mut figures) {
            eprintln!("{name}: could not be measured: {error}");
            broken = true;
        }
    }
    let missed = !flags.is_empty() && figures.missed();
    if broken || missed || figures.lost() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
