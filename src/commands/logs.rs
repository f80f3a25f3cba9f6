//! `logs`: what a machine printed.

use std::time::Duration;

use tinqs_ci_reconciler::model::{Answer, Run};
use tinqs_ci_reconciler::text::{cut, escape};

use super::args::Logs;
use super::failure::{Failure, lister, out, warn};
use super::remote;
use super::target::{self, Target};
use crate::api::LOG_TAIL_LIMIT;
use crate::commands::client::{self, Client, LogEnd};
use crate::settings::Env;

/// The interval of following.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// The bytes that are read each time while following.
const FOLLOW_TAIL: usize = 256 * 1024;

/// The time for which a log is there, as a hint.
const THERE_UNTIL: &str = "a log is there until half an hour after the end of a `process:` \
     machine, and until some minutes after it in EC2";

/// A machine, and what the run's record has kept of its log.
struct Chosen {
    id: String,
    kept: Option<String>,
}

pub(super) async fn logs(args: Logs, env: &Env) -> Result<(), Failure> {
    let client = remote::client(&args.server, env)?;
    let chosen = match target::find(&args.what, &client).await? {
        Target::Machine(_) if args.previous => {
            return Err(Failure::usage("`--previous` needs a run, not a machine")
                .hint("`tinqs-ci get machines` shows the run of a machine"));
        }
        Target::Machine(id) => Chosen { id, kept: None },
        Target::Run(run) => choose(*run, &args, &client).await?,
    };
    let first = match client.log(&chosen.id, LOG_TAIL_LIMIT).await {
        Ok(first) => first,
        Err(error @ client::Error::NotFound { .. }) => {
            let hint = format!("{THERE_UNTIL}; {}", lister("machine"));
            let failure = Failure::not_found(error.to_string()).hint(hint);
            return show_kept(&chosen, failure, &args);
        }
        Err(error) => return Err(error.into()),
    };
    if let Some(log) = &first {
        if has_no_output(log) {
            return show_kept(&chosen, no_output(&chosen.id), &args);
        }
        if log.cut && args.tail.is_none() {
            warn("the log has earlier lines: this is its last MiB");
        }
        let text = String::from_utf8_lossy(&log.bytes);
        out(&shown(last_lines(&text, args.tail), args.raw))?;
    }
    match first {
        first if args.follow => follow(&client, &chosen.id, first, args.raw).await,
        Some(_) => Ok(()),
        None => Err(Failure::failed(format!("machine/{} has printed nothing yet", chosen.id))
            .hint("`tinqs-ci logs -f RUN` waits for its first line")),
    }
}

/// Returns the machine of the run's current attempt, or of the one before.
async fn choose(mut run: Run, args: &Logs, client: &Client) -> Result<Chosen, Failure> {
    loop {
        if let Some(chosen) = machine_of_job(&run, args, client).await? {
            return Ok(chosen);
        }
        let mut attempts = attempts(&run);
        if args.previous {
            attempts.pop();
        }
        if let Some(Attempted { machine: Some(id), kept }) = attempts.pop() {
            return Ok(Chosen { id, kept });
        }
        if args.follow && !args.previous && run.is_open() {
            tokio::time::sleep(FOLLOW_EVERY).await;
            run = client.run(&run.name).await?.run;
            continue;
        }
        let name = &run.name;
        let message = if args.previous {
            format!("run/{name} has no attempt with a machine before the current one")
        } else {
            format!("run/{name} has no machine")
        };
        return Err(Failure::not_found(message).hint(format!("see `tinqs-ci describe {name}`")));
    }
}

/// Returns the machine that executes the job, if another run's machine does.
async fn machine_of_job(
    run: &Run,
    args: &Logs,
    client: &Client,
) -> Result<Option<Chosen>, Failure> {
    let own = run.status.attempt.as_ref().map(|attempt| attempt.runner.name.as_str());
    let runner = run.status.runner.as_deref().filter(|runner| Some(*runner) != own);
    let Some(runner) = runner.filter(|_| !args.previous) else { return Ok(None) };
    let machines = client.machines().await?.items;
    let machine = machines.into_iter().find(|machine| machine.attempt_id == runner);
    Ok(machine.map(|machine| Chosen { id: machine.id, kept: None }))
}

struct Attempted {
    machine: Option<String>,
    kept: Option<String>,
}

/// Returns the attempts of a run, oldest first.
fn attempts(run: &Run) -> Vec<Attempted> {
    let attempted = |answer: Option<&Answer>, log: &Option<String>| Attempted {
        machine: answer.map(|answer| answer.id.to_string()),
        kept: log.clone(),
    };
    let past = run.status.past.iter().map(|past| {
        let mut placements = past.placements.iter().rev();
        attempted(placements.find_map(|p| p.answered.as_ref()), &past.log)
    });
    let current = run.status.attempt.iter().map(|attempt| {
        let mut placements = attempt.placements.iter().rev();
        attempted(placements.find_map(|p| p.answered.as_ref()), &attempt.log)
    });
    past.chain(current).collect()
}

/// Returns whether the machine has ended and shows no output.
fn has_no_output(log: &LogEnd) -> bool {
    log.gone && log.bytes.is_empty()
}

/// Whether it printed nothing or its log is gone cannot be known: EC2 drops the tags of an ended
/// machine, without which its console may not be read.
fn no_output(id: &str) -> Failure {
    Failure::failed(format!("machine/{id} has ended and shows no output (any more)"))
        .hint(format!("{THERE_UNTIL}; `tinqs-ci logs RUN` shows the lines that the run has kept"))
}

/// Prints what the record has kept of the log of a machine that is gone. Without that, fails so.
fn show_kept(chosen: &Chosen, failure: Failure, args: &Logs) -> Result<(), Failure> {
    let Some(kept) = &chosen.kept else { return Err(failure) };
    warn(&format!("the log of machine {} is gone: its last lines", cut(&chosen.id, 100)));
    // Escaped when it was recorded.
    out(&shown(last_lines(&format!("{kept}\n"), args.tail), false))
}

/// Prints what comes, until the machine has ended.
async fn follow(
    client: &Client,
    id: &str,
    first: Option<LogEnd>,
    raw: bool,
) -> Result<(), Failure> {
    let mut ended = first.as_ref().is_some_and(|log| log.gone);
    let mut before = first.map(|log| log.bytes).unwrap_or_default();
    let mut is_down = false;
    while !ended {
        tokio::time::sleep(FOLLOW_EVERY).await;
        let log = match client.log(id, FOLLOW_TAIL).await {
            Ok(Some(log)) => log,
            Ok(None) => continue,
            // It has ended, and its directory is gone.
            Err(client::Error::NotFound { .. }) => return Ok(()),
            Err(error) if error.is_transient() => {
                if !is_down {
                    warn(&format!("{error}; will retry"));
                }
                is_down = true;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        is_down = false;
        if has_no_output(&log) {
            // What was printed before is all that is there to see.
            return if before.is_empty() { Err(no_output(id)) } else { Ok(()) };
        }
        let known = overlap(&before, &log.bytes);
        if known == 0 && !before.is_empty() {
            warn("some lines were printed too fast and are left out");
        }
        let new = &log.bytes[known..];
        out(&shown(&String::from_utf8_lossy(new), raw))?;
        ended = log.gone && new.is_empty();
        before = log.bytes;
    }
    Ok(())
}

/// Returns how many of the first bytes of `now` are the last ones of `before`.
fn overlap(before: &[u8], now: &[u8]) -> usize {
    // The longest prefix of `now` that ends at each of its bytes, apart from itself.
    let mut prefixes = vec![0; now.len()];
    let mut length = 0;
    for at in 1..now.len() {
        while length > 0 && now[length] != now[at] {
            length = prefixes[length - 1];
        }
        length += usize::from(now[length] == now[at]);
        prefixes[at] = length;
    }
    let mut length = 0;
    for byte in before {
        while length > 0 && now.get(length) != Some(byte) {
            length = prefixes[length - 1];
        }
        length += usize::from(now.get(length) == Some(byte));
    }
    length
}

/// Returns the last lines of a text; all of them without a number.
fn last_lines(text: &str, lines: Option<usize>) -> &str {
    let Some(lines) = lines else { return text };
    if lines == 0 {
        return "";
    }
    let body = text.strip_suffix('\n').unwrap_or(text);
    let from = body.rmatch_indices('\n').nth(lines - 1).map_or(0, |(at, _)| at + 1);
    &text[from..]
}

/// Escapes all that could control a terminal, except the ends of lines and tabulators.
fn shown(text: &str, raw: bool) -> String {
    if raw {
        return text.to_owned();
    }
    let line = |line: &str| -> String {
        let (body, end) = match line.strip_suffix('\n') {
            Some(body) => (body.strip_suffix('\r').unwrap_or(body), "\n"),
            None => (line, ""),
        };
        let words: Vec<String> = body.split('\t').map(escape).collect();
        words.join("\t") + end
    };
    text.split_inclusive('\n').map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_overlap_is_what_was_printed_before() {
        let cases: [(&str, &str, usize); 9] = [
            ("", "", 0),
            ("", "abc", 0),
            ("abc", "", 0),
            ("abc", "abc", 3),
            ("abc", "abcdef", 3),
            ("xxabc", "abcdef", 3),
            ("abc", "def", 0),
            ("aab", "ab", 2),
            ("abab", "ababab", 4),
        ];
        for (before, now, expected) in cases {
            assert_eq!(overlap(before.as_bytes(), now.as_bytes()), expected, "{before} {now}");
        }
        let many = "the same line\n".repeat(10_000);
        assert_eq!(overlap(many.as_bytes(), format!("{many}new").as_bytes()), many.len());
    }

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let text = "1\n2\n3\n";
        let cases = [(None, text), (Some(0), ""), (Some(1), "3\n"), (Some(2), "2\n3\n")];
        for (lines, expected) in cases {
            assert_eq!(last_lines(text, lines), expected, "{lines:?}");
        }
        assert_eq!(last_lines(text, Some(9)), text);
        assert_eq!(last_lines("1\nunfinished", Some(1)), "unfinished");
    }

    #[test]
    fn a_terminal_is_not_controlled() {
        let text = "a\tb\r\n\u{1b}]0;title\u{7}\u{202e}\rx\n";
        assert_eq!(shown(text, false), "a\tb\n\\u{1b}]0;title\\u{7}\\u{202e}\\u{d}x\n");
        assert_eq!(shown(text, true), text);
        assert_eq!(shown("no end", false), "no end");
    }
}
