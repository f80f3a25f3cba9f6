//! The last lines of a machine that ended without a job: what is kept of them, and the one that
//! tells most. Pure.

use crate::model::Redactor;
use crate::ports::MachineLog;
use crate::text::{cut, escape};

/// The bytes that are read of the end of a log: all that EC2 keeps of a console.
pub const LAST_LINES_READ: usize = 64 * 1024;
/// The maximum length of a log, in bytes, whose lines are all kept; of a longer one only those of
/// the boot script are. A longer log is that of a kernel, or of a runner that was started often.
const SHORT: usize = 4096;
/// The most bytes that are kept, and the most of them for the line about the fence.
const KEPT: usize = 512;
const KEPT_OF_FENCE: usize = 256;
/// The most lines that are kept.
const LINES: usize = 40;
/// Begins each line of the boot script.
const SCRIPT: &str = "tinqs-ci: ";
/// The lines of the boot script when it starts the runner, when that ended, and when a signal ended
/// the script: they tell the least.
const START: &str = "starting ";
const END: &str = "the runner ended with status ";
const SIGNAL: &str = "a signal ended this script";
/// Texts that identify the boot script's line about the fence of its job.
const FENCE: [&str; 2] = ["the instance metadata service", "nothing is fenced"];
/// Columns of the line in a message.
const SHOWN: usize = 300;

/// Returns the last lines before a job, escaped and without credentials. The line that says what
/// fences the job comes first, wherever it is in the log. `None` if there are no lines.
///
/// Only lines of the boot script are kept if the log is longer than 4096 bytes or was cut: a job
/// may have begun before the cut.
pub fn last_lines(log: &MachineLog, redactor: &Redactor) -> Option<String> {
    // The first line of a cut log may begin with the end of a credential.
    let from = if log.cut { after_line(&log.bytes)? } else { 0 };
    let text = redactor.redact(&log.bytes[from..], 0);
    let text = String::from_utf8_lossy(&text);
    let only_script = log.cut || log.bytes.len() > SHORT;
    let lines: Vec<String> = text
        .lines()
        .take_while(|line| !begins_job(line))
        .map(str::trim_end)
        .filter(|line| !line.is_empty() && (!only_script || line.contains(SCRIPT)))
        .map(escape)
        .collect();
    let mut kept = end_of(&lines, LINES, KEPT);
    let fence = lines.iter().rfind(|line| says_fence(line));
    if let Some(fence) = fence.filter(|fence| !kept.lines().any(|line| line == fence.as_str())) {
        let fence = beginning(fence, KEPT_OF_FENCE);
        let rest = end_of(&lines, LINES - 1, KEPT - fence.len() - 1);
        kept = format!("{fence}\n{rest}");
    }
    (!kept.is_empty()).then_some(kept)
}

/// Returns the last lines, at most so many and of so many bytes: whole ones, or else the beginning
/// of the last one, which says what it is about.
fn end_of(lines: &[String], count: usize, size: usize) -> String {
    let mut kept = lines[lines.len().saturating_sub(count)..].join("\n");
    if kept.len() > size {
        let excess = kept.len() - size;
        let line = kept.match_indices('\n').map(|(at, _)| at + 1).find(|at| *at >= excess);
        let last = kept.rfind('\n').map_or(0, |at| at + 1);
        kept = kept.split_off(line.unwrap_or(last));
        kept.truncate(kept.floor_char_boundary(size));
    }
    kept
}

fn beginning(line: &str, size: usize) -> &str {
    &line[..line.floor_char_boundary(size)]
}

/// Whether the boot script says here what fences its job.
fn says_fence(line: &str) -> bool {
    line.split_once(SCRIPT).is_some_and(|(_, said)| FENCE.iter().any(|part| said.contains(part)))
}

fn after_line(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n').map(|at| at + 1)
}

/// Whether the runner says here that a job begins: `task 12 repo is acme/shop …`.
fn begins_job(line: &str) -> bool {
    line.match_indices("task ").any(|(at, word)| {
        let rest = &line[at + word.len()..];
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        number.len() < rest.len() && number.starts_with(" repo is ")
    })
}

/// Returns the most informative line, for a message: the last one, without the lines that say that
/// the runner starts or ended or that a signal ended the script, and without the steps of the boot
/// script before the runner's last start. The last line if no other is left.
pub(super) fn telling_line(kept: &str) -> Option<String> {
    let lines = || kept.lines().rev().filter(|line| !said(line).is_empty());
    let mut has_started = false;
    let line = lines().find(|line| {
        let text = said(line);
        has_started |= text.starts_with(START);
        let is_frame = [START, END, SIGNAL].iter().any(|frame| text.starts_with(frame));
        !(is_frame || has_started && line.contains(SCRIPT))
    });
    line.or_else(|| lines().next()).map(|line| cut(said(line), SHOWN))
}

/// Removes what stands before a line's text: the time of the runner, the console, and the prefix of
/// the boot script with its time since the boot (`+12.41s`).
fn said(line: &str) -> &str {
    let line = line.split_once(SCRIPT).map_or(line, |(_, said)| after_time(said));
    let timed = line.strip_prefix("time=\"").and_then(|rest| rest.split_once("\" "));
    timed.map_or(line, |(_, said)| said).trim()
}

fn after_time(said: &str) -> &str {
    let timed = said.strip_prefix('+').and_then(|rest| rest.split_once("s "));
    match timed {
        Some((time, rest)) if time.bytes().all(|b| b.is_ascii_digit() || b == b'.') => rest,
        _ => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;

    fn kept(text: &str, cut: bool) -> Option<String> {
        let redactor = Redactor::new(&[Secret::new("runner-SECRET")]);
        last_lines(&MachineLog { bytes: text.as_bytes().to_vec(), cut }, &redactor)
    }

    #[test]
    fn lines_before_a_job_are_kept_and_escaped() {
        let job = "time=\"2026-01-01T00:00:00Z\" level=info msg=\"task 12 repo is a/b https://x\"";
        let cases = [
            ("", None),
            ("\n\r\n", None),
            ("one\r\ntwo\n", Some("one\ntwo")),
            ("a \x1b[31mred\x1b[0m\n", Some("a \\u{1b}[31mred\\u{1b}[0m")),
            ("token runner-SECRET\n", Some("token [secret]")),
            ("no end of line", Some("no end of line")),
            ("task force: repo is near\n", Some("task force: repo is near")),
        ];
        for (text, expected) in cases {
            assert_eq!(kept(text, false).as_deref(), expected, "{text:?}");
        }
        let text = format!("before\n{job}\nafter\n");
        assert_eq!(kept(&text, false).as_deref(), Some("before"));
        assert_eq!(kept(&format!("{job}\nafter\n"), false), None);
    }

    #[test]
    fn a_cut_log_gives_lines_of_the_boot_script_only() {
        let text =
            "SECRET\n of a job perhaps\n[  9.1] cloud-init[7]: tinqs-ci: no runner\nkernel\n";
        assert_eq!(kept(text, true).as_deref(), Some("[  9.1] cloud-init[7]: tinqs-ci: no runner"));
        assert_eq!(kept("an endless line, tinqs-ci: it is", true), None);
    }

    #[test]
    fn the_line_about_the_fence_is_kept_wherever_it_is() {
        let fence = "[  9.1] cloud-init[7]: tinqs-ci: +9s the instance metadata service is closed \
                     to runner";
        let tries = "tinqs-ci: +12s starting gitea-runner\nrefused\n".repeat(90);
        let bye = "tinqs-ci: +99s the runner ended with status 1: powering off";
        let kernel = "[   1.0] the kernel says much\n".repeat(1_000);
        for (before, is_cut) in [("", false), (kernel.as_str(), false), (kernel.as_str(), true)] {
            let text = format!("{before}{fence}\n{tries}{bye}\n");
            let kept = kept(&text, is_cut).unwrap();
            assert!(kept.starts_with(&format!("{fence}\ntinqs-ci: ")), "{kept}");
            assert!(kept.ends_with(bye) && kept.len() <= KEPT, "{kept}");
            assert!(!kept.contains("kernel") && kept.matches(fence).count() == 1, "{kept}");
        }
        // It is kept once, and after a job nothing is.
        assert_eq!(kept(&format!("{fence}\n{bye}\n"), false), Some(format!("{fence}\n{bye}")));
        let after = format!("one\ntask 1 repo is a/b\n{fence}\n");
        assert_eq!(kept(&after, false).as_deref(), Some("one"));
        // What others say of it is not the script's word.
        let other = format!("nothing is fenced\n{tries}{bye}\n");
        assert!(!kept(&other, false).unwrap().contains("fenced"));
        // A last line that fills all leaves room for it, and a long one for the others.
        let path = format!("tinqs-ci: no runner in PATH ({})", "/opt/tool/bin:".repeat(60));
        let long = kept(&format!("{fence}\n{path}\n"), false).unwrap();
        assert!(long.starts_with(&format!("{fence}\ntinqs-ci: no runner in")), "{long}");
        assert_eq!(long.len(), KEPT);
        let odd = format!("tinqs-ci: nothing is fenced, {}\n{path}\n", "ü".repeat(300));
        let long = kept(&odd, false).unwrap();
        assert!(long.starts_with("tinqs-ci: nothing is fenced, ü") && long.len() <= KEPT, "{long}");
    }

    #[test]
    fn at_most_40_lines_and_512_bytes_are_kept() {
        let line = "x".repeat(200);
        let text = format!("1{line}\n2{line}\n3{line}\n");
        assert_eq!(kept(&text, false), Some(format!("2{line}\n3{line}")));
        let short = kept(&"x\n".repeat(100), false).unwrap();
        assert_eq!(short.lines().count(), LINES);
        let endless = kept(&"ü".repeat(2_000), false).unwrap();
        assert_eq!(endless, "ü".repeat(256));
        let path =
            format!("first\ntinqs-ci: no runner in PATH ({})\n", "/opt/tool/bin:".repeat(60));
        let long = kept(&path, false).unwrap();
        assert!(
            long.starts_with("tinqs-ci: no runner in PATH (/opt") && long.len() == KEPT,
            "{long}"
        );
        let escaped = kept(&"\x1b".repeat(3_000), false).unwrap();
        assert!(escaped.len() <= KEPT && !escaped.contains('\x1b'), "{escaped}");
    }

    #[test]
    fn the_line_that_tells_most_is_the_last_but_the_farewell() {
        let bye = "tinqs-ci: +61.07s the runner ended with status 1: powering off";
        let cases = [
            ("tinqs-ci: no runner", "no runner"),
            ("tinqs-ci: +12.41s no runner", "no runner"),
            ("tinqs-ci: +1s, says", "+1s, says"),
            ("no runner\ntinqs-ci: +3s starting gitea-runner", "no runner"),
            ("[  9.1] cloud-init[7]: tinqs-ci: no runner", "no runner"),
            ("a\nb", "b"),
            (bye, "the runner ended with status 1: powering off"),
            // The machine hangs in the last step.
            ("tinqs-ci: +1s it began\ntinqs-ci: +2s found act_runner", "found act_runner"),
            // It was terminated for that, and told so.
            (
                "tinqs-ci: +2s found act_runner\n\
                 tinqs-ci: +99s a signal ended this script: powering off",
                "found act_runner",
            ),
            // No step that was done tells why the runner ended.
            (
                "tinqs-ci: +2s no fence\ntinqs-ci: +3s starting act_runner v0.3.1\n\
                 tinqs-ci: +4s the runner ended with status 1: powering off",
                "the runner ended with status 1: powering off",
            ),
            (
                "tinqs-ci: +2s no fence\ntinqs-ci: +3s starting gitea-runner\nrefused\n\
                 tinqs-ci: +3s starting gitea-runner",
                "refused",
            ),
            (
                "tinqs-ci: +3s starting gitea-runner\n\
                 tinqs-ci: +9s 6 s after its start: the runner takes no new job\n\
                 tinqs-ci: +9s the runner ended with status 0: powering off",
                "6 s after its start: the runner takes no new job",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(telling_line(text).as_deref(), Some(expected), "{text}");
        }
        let refused = "level=error msg=\"fail to invoke Declare\" error=\"connection refused\"";
        let text = format!("time=\"2026-01-01T00:00:00Z\" {refused}\n{bye}");
        assert_eq!(telling_line(&text).as_deref(), Some(refused));
        assert_eq!(telling_line(""), None);
        assert!(telling_line(&"x".repeat(512)).is_some_and(|line| line.ends_with('…')));
    }
}
