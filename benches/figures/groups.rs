//! Groups of figures, selected by name on the command line.

use std::process::ExitCode;

use crate::figure::{Figures, Result};

/// A group of figures and its name.
pub(crate) type Group = (&'static str, fn(&mut Figures) -> Result<()>);

/// Measures the named groups, or the usual ones by default.
pub(crate) fn measure(
    arguments: impl Iterator<Item = String>,
    usual: &[Group],
    named: &[Group],
) -> ExitCode {
    // `cargo bench` adds `--bench`.
    let words: Vec<String> = arguments.filter(|word| word != "--bench").collect();
    let (flags, chosen): (Vec<String>, Vec<String>) =
        words.into_iter().partition(|word| word.starts_with("--"));
    let known = |name: &String| usual.iter().chain(named).any(|(group, _)| group == name);
    if let Some(odd) =
        chosen.iter().find(|n| !known(n)).or(flags.iter().find(|flag| *flag != "--goals"))
    {
        let groups: Vec<&str> = usual.iter().chain(named).map(|(name, _)| *name).collect();
        eprintln!("unknown argument `{odd}`: expected `--goals` or a group: {}", groups.join(" "));
        return ExitCode::from(2);
    }
    let mut figures = Figures::default();
    let mut broken = false;
    for (at, (name, group)) in usual.iter().chain(named).enumerate() {
        let wanted =
            chosen.iter().any(|wanted| wanted == name) || (chosen.is_empty() && at < usual.len());
        if wanted && let Err(error) = group(&mut figures) {
            eprintln!("{name}: cannot measure: {error}");
            broken = true;
        }
    }
    let missed = !flags.is_empty() && figures.missed();
    if broken || missed || figures.lost() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
