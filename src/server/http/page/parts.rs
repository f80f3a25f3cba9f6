//! Pieces that several screens use. Text from outside is cut, and its control characters are
//! escaped; the templates escape HTML.

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use tinqs_ci_reconciler::model::{Outcome, Phase, Run};
use tinqs_ci_reconciler::text::cut;

use crate::api::DriftView;
use crate::api::status::Attention;
use crate::words;

/// The maximum columns of a name from outside.
const NAME: usize = 80;
/// The maximum columns of a sentence.
const SENTENCE: usize = 600;

/// Returns a name from outside.
pub(super) fn name(text: &str) -> String {
    cut(text, NAME)
}

/// Returns a sentence that may contain text from outside.
pub(super) fn sentence(text: &str) -> String {
    cut(text, SENTENCE)
}

/// Returns a duration with up to two units: `41s`, `4m02s`, `3h07m`, `2d4h`.
pub(super) fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Returns a duration with tenths of a second while it is short.
pub(super) fn exact(duration: SignedDuration) -> String {
    let milliseconds = duration.as_millis().max(0);
    if milliseconds < 60_000 {
        format!("{}.{}s", milliseconds / 1000, milliseconds % 1000 / 100)
    } else {
        span(duration)
    }
}

/// Returns a table that scrolls by itself where it is wider than its screen. The keyboard reaches
/// it, to scroll.
pub(super) fn table(name: &str, content: &Markup) -> Markup {
    html! { div.table role="region" aria-label=(name) tabindex="0" { table { (content) } } }
}

/// Returns the time since then, with the time itself as title.
pub(super) fn age(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(format!("{at:.0}")) { (span(now.duration_since(at))) } }
}

/// Says that machines are not known, if this process has not listed them.
pub(super) fn listed(at: Option<Timestamp>) -> Markup {
    html! { @if at.is_none() {
        p.quiet { "Machines are not known: this process has not listed them yet." }
    } }
}

/// Returns an address that may be linked: only of the web, without characters that deceive.
pub(super) fn address(url: &str) -> Option<&str> {
    let is_web = url.starts_with("https://") || url.starts_with("http://");
    let is_plain = url.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
    (is_web && is_plain && url.len() <= 2_000).then_some(url)
}

/// Returns a link to the job's page at the forge; nothing without an address.
pub(super) fn at_forge(url: &str) -> Markup {
    html! {
        @if let Some(url) = address(url) {
            a href=(url) rel="noreferrer noopener" title="the job at the forge" { "at the forge ↗" }
        }
    }
}

/// Returns a link to the page of a run.
pub(super) fn run_link(run: &str) -> Markup {
    html! { a href={ "/runs/" (run) } { (name(run)) } }
}

/// Returns the state of a run in a sign and a word: never by color alone.
pub(super) fn state(run: &Run) -> Markup {
    let (sign, word, tone) = match (run.status.phase, run.status.outcome) {
        (Phase::Waiting, _) if run.deleted_at.is_some() => ('–', "deleted".to_owned(), "quiet"),
        (Phase::Waiting, _) => ('○', "waiting".to_owned(), "waits"),
        (Phase::Starting, _) => ('◔', "starting".to_owned(), "waits"),
        (Phase::Running, _) => ('●', "running".to_owned(), "active"),
        (Phase::Finished, None) => ('–', "finished".to_owned(), "quiet"),
        (Phase::Finished, Some(outcome)) => {
            let (sign, tone) = match outcome {
                Outcome::Succeeded => ('✓', "good"),
                Outcome::Cancelled
                | Outcome::Skipped
                | Outcome::JobGone
                | Outcome::MachineEnded => ('–', "quiet"),
                Outcome::Failed | Outcome::GaveUp | Outcome::MachineLost | Outcome::MaxAge => {
                    ('✗', "bad")
                }
            };
            (sign, spaced(&format!("{outcome:?}")), tone)
        }
    };
    html! { span class={ "state " (tone) } { span aria-hidden="true" { (sign) } " " (word) } }
}

/// Splits a name such as `JobGone` into lower-case words.
fn spaced(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 2);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// Returns the repository and the name of a job.
pub(super) fn job(run: &Run) -> (String, String) {
    let about = &run.spec.about;
    let repo = if about.repo.is_empty() { &run.spec.job.repo } else { &about.repo };
    (repo.clone(), about.job.clone())
}

/// Returns what is not well, with what to do.
pub(super) fn attention(all: &[Attention], now: Timestamp) -> Markup {
    html! {
        ul.notes {
            @for one in all {
                li class=(if one.needs_person { "bad" } else { "waits" }) {
                    strong { (if one.needs_person { "✗ " } else { "! " }) (one.reason) }
                    " " (name(&one.subject))
                    @if let Some(since) = one.since { " · " (age(since, now)) }
                    p { (sentence(&one.message)) }
                    @if !one.fix.is_empty() { p.fix { "→ " (sentence(&one.fix)) } }
                }
            }
        }
    }
}

/// Returns open drift, longest first.
pub(super) fn drift(all: &[DriftView], now: Timestamp) -> Markup {
    html! {
        ul.notes {
            @for one in all {
                li.waits {
                    strong { (words::drift::kind(one.kind)) }
                    " "
                    @if let Some(machine) = &one.machine { (name(machine)) " of " }
                    @if let Some(registration) = one.registration { "registration " (registration) " of " }
                    (run_link(&one.run)) " " (name(&one.repo)) " " (name(&one.job))
                    @if let Some(class) = &one.class { " · class " (name(class)) }
                    " · " (age(one.since, now))
                    @if let Some(blocker) = one.blocked_by { " · blocked: " (blocker.as_str()) }
                    p { (sentence(&one.message)) "; " (words::drift::next(one.next, one.by, now)) }
                    @if !one.fix.is_empty() { p.fix { "→ " (sentence(&one.fix)) } }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_web_are_linked() {
        for url in ["https://git.example.com/a/b/actions/runs/1/jobs/2?x=1#y", "http://[::1]:3000/"]
        {
            assert_eq!(address(url), Some(url));
        }
        for url in [
            "",
            "javascript:alert(1)",
            "data:text/html,x",
            "//evil.example",
            "https://a b",
            "https://a\u{202e}b",
            "https://a\"onclick=x",
            " https://a",
        ] {
            assert_eq!(address(url), None, "{url}");
        }
    }

    #[test]
    fn durations_have_two_units() {
        let rows = [(-5, "0s"), (41, "41s"), (242, "4m02s"), (11_260, "3h07m"), (187_200, "2d4h")];
        for (seconds, text) in rows {
            assert_eq!(span(SignedDuration::from_secs(seconds)), text);
        }
    }
}
