//! The forge's rules: one push against many workflow files, one pattern against one path, and
//! patterns crafted to be slow.

use std::hint::black_box;
use std::time::Duration;

use serde_json::json;
use tinqs_ci_workflow::Dialect;
use tinqs_ci_workflow::glob::{Pattern, Patterns};
use tinqs_ci_workflow::trigger::{Changed, Event, evaluate_file};

use crate::figure::{Figures, Goal, Result, number};
use crate::machine;

/// Changed files of the evaluated push.
const FILES: usize = 1_000;
const WORKFLOWS: usize = 100;
const LINES: usize = 200;
/// Matches per measurement.
const MATCHES: usize = 20_000;
/// Length of crafted patterns, far above that of real ones.
const HOSTILE: usize = 10_000;
/// The two pattern engines of Gitea versions.
const DIALECTS: [Dialect; 2] = [Dialect::V1_26, Dialect::V1_27];

pub(crate) fn run(figures: &mut Figures) -> Result<()> {
    let base = push(FILES, WORKFLOWS)?;
    figures.tell("rules/push_1000_files_100_workflows", ms(base), "ms", Goal::Most(20.0));
    // Twice the files or twice the workflows should take about twice the time.
    let files = push(2 * FILES, WORKFLOWS)?.as_secs_f64() / base.as_secs_f64();
    figures.tell("rules/growth_files_twice", files, "x", Goal::Most(2.2));
    let workflows = push(FILES, 2 * WORKFLOWS)?.as_secs_f64() / base.as_secs_f64();
    figures.tell("rules/growth_workflows_twice", workflows, "x", Goal::Most(2.2));
    figures.tell("rules/glob_match", glob()?, "us", Goal::Most(1.0));
    figures.tell("rules/hostile_pattern", ms(hostile()?), "ms", Goal::Most(1.0));
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Returns the CPU time of one call of `work`, averaged over a fifth of a second because the kernel
/// counts a running thread's time in ticks.
fn each(mut work: impl FnMut() -> Result<()>) -> Result<Duration> {
    const ENOUGH: Duration = Duration::from_millis(200);
    let before = machine::cpu_of_this_thread()?;
    for done in 1.. {
        work()?;
        let spent = machine::cpu_of_this_thread()?.saturating_sub(before);
        if spent >= ENOUGH {
            return Ok(spent / done);
        }
    }
    Err("the work takes no measurable CPU time".into())
}

/// Parses and evaluates every workflow file for one push. Returns the time of the slower engine.
fn push(files: usize, workflows: usize) -> Result<Duration> {
    let changed =
        Changed::Files((0..files).map(|n| format!("part-{}/src/file_{n}.rs", n % 37)).collect());
    let texts: Vec<String> = (0..workflows).map(workflow).collect();
    let payload = json!({"ref": "refs/heads/main"});
    let event = Event { name: "push", payload: &payload, git_ref: "refs/heads/main" };
    let mut slowest = Duration::ZERO;
    for dialect in DIALECTS {
        let took = each(|| {
            let runs = texts
                .iter()
                .filter(|text| {
                    evaluate_file(text.as_bytes(), &event, &changed, dialect).matched().count() == 1
                })
                .count();
            // One workflow in four has a matching filter.
            if runs == workflows.div_ceil(4) { Ok(()) } else { Err(format!("{runs} run").into()) }
        })?;
        slowest = slowest.max(took);
    }
    Ok(slowest)
}

/// Returns a workflow file with filters, which match for one file in four.
fn workflow(n: usize) -> String {
    use std::fmt::Write as _;
    let part = if n.is_multiple_of(4) { n % 37 } else { n + 1_000 };
    let mut text = format!(
        "name: build {n}\non:\n  push:\n    branches: [main, 'release/**']\n    paths:\n      \
         - 'part-{part}/**'\n      - '!part-{part}/**/*.md'\n      - 'tools/{n}/*.sh'\njobs:\n"
    );
    for job in 0.. {
        if text.lines().count() + 5 > LINES {
            break;
        }
        let _ = writeln!(
            text,
            "  job-{job}:\n    runs-on: [self-hosted, linux]\n    steps:\n      - uses: actions/checkout@v4\n      - run: make test-{job}"
        );
    }
    text
}

/// Returns the microseconds of one compiled pattern against one path.
fn glob() -> Result<f64> {
    let paths: Vec<String> = (0..1_000).map(|n| format!("part-{n}/src/deep/file_{n}.rs")).collect();
    let mut slowest: f64 = 0.0;
    for dialect in DIALECTS {
        for text in ["part-7/**", "**/*.rs", "part-*/src/**/*_7.rs", "docs/**"] {
            let pattern = Pattern::new(text, dialect)?;
            let took = each(|| {
                for path in paths.iter().cycle().take(MATCHES) {
                    black_box(pattern.matches(black_box(path)));
                }
                Ok(())
            })?;
            slowest = slowest.max(took.as_secs_f64() * 1e6 / number(MATCHES));
        }
    }
    Ok(slowest)
}

/// Compiles crafted patterns and matches them against crafted paths. Returns the slowest time.
fn hostile() -> Result<Duration> {
    let parts = ["*a", "**/a", "a?", "?*", "[a-z]+", "a+", "**", "(a*)*", "{a,b}", "\\*"];
    let patterns = parts.map(|part| part.repeat(HOSTILE / part.len()));
    let paths = [format!("{}b", "a".repeat(1_000)), "a/".repeat(500), "ab".repeat(500)];
    let mut slowest = Duration::ZERO;
    for dialect in DIALECTS {
        for pattern in &patterns {
            let took = each(|| {
                // A refused pattern is fine if it is refused quickly.
                if let Ok(patterns) = Patterns::new(&[pattern], dialect) {
                    for path in &paths {
                        black_box(patterns.skips(&[path.as_str()]));
                    }
                }
                Ok(())
            })?;
            slowest = slowest.max(took);
        }
    }
    Ok(slowest)
}
