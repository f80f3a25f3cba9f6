//! Simulates histories of the controller by seed, on all cores, and prints a summary.

mod summary;

use std::io::{IsTerminal as _, Write as _};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use parking_lot::Mutex;
use tinqs_ci_simulator::play::{Outcome, Profile, chronicle, run};

use summary::Summary;

/// Simulates the whole controller, seed by seed, and checks the laws.
///
/// The same seed and profile give the same history, down to its hash. Without `--profile`, the
/// seeds rotate through all profiles. Exit code 0: no law was broken; 1: a law was broken; 2: wrong
/// usage.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Number of seeds.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// First seed; the others follow it.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Play only this profile, which may also be one that `--list` does not name: a narrow one.
    #[arg(long, value_parser = named)]
    profile: Option<Profile>,
    /// Number of threads (default: one per core).
    #[arg(long)]
    threads: Option<NonZero<usize>>,
    /// Write every event to this file, one per line; needs `--seeds 1`.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// Print the seed, profile and trace hash of each seed.
    #[arg(long)]
    hashes: bool,
    /// Print the names of the profiles and exit.
    #[arg(long)]
    list: bool,
}

fn named(name: &str) -> Result<Profile, String> {
    Profile::named(name).ok_or_else(|| {
        let known = Profile::all().into_iter().chain(Profile::narrow());
        let names: Vec<&str> = known.map(|profile| profile.name).collect();
        format!("unknown profile; known profiles: {}", names.join(", "))
    })
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let profiles = arguments.profile.clone().map_or_else(Profile::all, |one| vec![one]);
    if arguments.list {
        for profile in profiles {
            println!("{}", profile.name);
        }
        return ExitCode::SUCCESS;
    }
    if let Some(path) = &arguments.trace {
        return trace(&arguments, &profiles, path);
    }
    let summary = play(&arguments, &profiles);
    print!("{summary}");
    if summary.broken() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Returns the profile of a seed; the seeds rotate through all profiles.
fn profile_of(profiles: &[Profile], seed: u64) -> &Profile {
    let count = u64::try_from(profiles.len()).unwrap_or(1).max(1);
    let index = usize::try_from(seed % count).unwrap_or(0);
    &profiles[index]
}

/// Plays one seed and writes all its events to a file.
fn trace(arguments: &Arguments, profiles: &[Profile], path: &PathBuf) -> ExitCode {
    if arguments.seeds != 1 {
        eprintln!("error: `--trace` records one seed only\nhint: add `--seeds 1`");
        return ExitCode::from(2);
    }
    let profile = profile_of(profiles, arguments.first_seed);
    let (outcome, lines) = chronicle(arguments.first_seed, profile);
    if let Err(error) = std::fs::write(path, lines.join("\n") + "\n") {
        eprintln!("error: cannot write {}: {error}", path.display());
        return ExitCode::from(2);
    }
    let mut summary = Summary::default();
    summary.add(&outcome);
    print!("{summary}");
    if summary.broken() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plays all seeds. The summary does not depend on the order in which threads finish.
fn play(arguments: &Arguments, profiles: &[Profile]) -> Summary {
    let threads = arguments.threads.or_else(|| std::thread::available_parallelism().ok());
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let summary = Mutex::new(Summary::default());
    let terminal = std::io::stderr().is_terminal();
    std::thread::scope(|scope| {
        for _ in 0..threads.map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= arguments.seeds {
                        return;
                    }
                    let seed = arguments.first_seed.wrapping_add(index);
                    let outcome = run(seed, profile_of(profiles, seed));
                    let mut summary = summary.lock();
                    summary.add(&outcome);
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    tell(arguments, &outcome, done, summary.broken(), terminal);
                }
            });
        }
    });
    summary.into_inner()
}

/// Prints progress: the counter on a terminal, and each violation at once.
fn tell(arguments: &Arguments, outcome: &Outcome, done: u64, broken: u64, terminal: bool) {
    let mut err = std::io::stderr().lock();
    let clear = if terminal { "\r\x1b[K" } else { "" };
    if arguments.hashes {
        println!("{} {} {}", outcome.seed, outcome.profile, outcome.trace_hash);
    }
    // A failed write to the terminal does not stop the simulation.
    if let Some(violation) = outcome.violations.first() {
        let _ = write!(err, "{clear}{}: {violation}", outcome.profile);
        let more = outcome.violations.len() - 1;
        if more > 0 {
            let _ = writeln!(err, "    and {more} more");
        }
        let _ = writeln!(err, "    to replay: {}", summary::repeat(outcome.seed, outcome.profile));
    }
    if terminal {
        let _ = write!(err, "{clear}{done} of {} seeds, {broken} with violations", arguments.seeds);
        if done == arguments.seeds {
            let _ = writeln!(err);
        }
    }
    let _ = err.flush();
}
