//! Formats the answers of `status` and `why`, at most 80 columns wide where the words allow it.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

use super::columns::aligned;
use super::wrapped::wrapped;
use super::{drift, span, timeline};
use crate::api::Health;
use crate::api::status::{
    Attention, ClassStatus, ClassWaits, JobWhy, RunReason, Service, Spend, StatusView, WaitReasons,
    Webhooks,
};
use crate::words::{jobs, lasting, reasons};
use tinqs_ci_reconciler::text::{cut, escape};

/// The maximum number of entries of each part that are shown.
const SHOWN: usize = 20;
/// The maximum number of drift that is shown.
const DRIFT: usize = 5;

fn since(at: Option<Timestamp>, now: Timestamp) -> String {
    at.map(|at| format!(" for {}", lasting(now.duration_since(at)))).unwrap_or_default()
}

fn attention(page: &mut String, all: &[Attention], now: Timestamp) {
    for one in all.iter().take(SHOWN) {
        let mark = if one.needs_person { "✗" } else { "!" };
        let since = since(one.since, now);
        let head = format!("{mark} {}, {}{since}: {}", one.reason, one.subject, one.message);
        wrapped(page, "", 2, &head);
        if !one.fix.is_empty() {
            wrapped(page, "  → ", 4, &one.fix);
        }
    }
    more(page, all.len());
}

fn more(page: &mut String, all: usize) {
    if all > SHOWN {
        let _ = writeln!(page, "  and {} more; `-o json` lists all", all - SHOWN);
    }
}

/// Formats the state of the installation.
pub fn status(status: &StatusView) -> String {
    let StatusView { now, attention: all, services, webhooks, classes, .. } = status;
    let now = *now;
    let mut page = String::new();
    if all.is_empty() {
        page.push_str("✓ all is well\n");
    }
    attention(&mut page, all, now);
    page.push('\n');
    let rows = services.iter().map(|service| service_row(service, now));
    let rows = rows.chain(webhooks.as_ref().map(|webhooks| webhook_row(webhooks, now)));
    let rows = rows.chain(status.spend.as_ref().map(spend_row));
    page.push_str(&aligned(&rows.collect::<Vec<_>>(), 2, &[]));
    // A server that does not report the cost may not report this either.
    if status.spend.is_some() && status.machines_listed_at.is_none() {
        page.push_str("machines are not known: this process has not listed them yet\n");
    }
    if !classes.is_empty() {
        page.push('\n');
        let titles =
            ["CLASS", "MACHINES", "WAITING", "STARTING", "RUNNING", "P50", "P95", "WAITS FOR"];
        let titles = titles.map(str::to_owned).to_vec();
        let rows = std::iter::once(titles).chain(classes.iter().map(class_row));
        page.push_str(&aligned(&rows.collect::<Vec<_>>(), 2, &[]));
    }
    if let Some(since) = status.oldest_waiting_since() {
        let waited = lasting(now.duration_since(since));
        let _ = writeln!(page, "\nthe job that has waited longest has waited for {waited}");
    }
    if let Some(open) = status.open_drift.filter(|open| *open > 0) {
        let _ = writeln!(page, "\n{open} open drift, longest first");
        drift::entries(&mut page, &status.drift, now, DRIFT);
        if open > DRIFT {
            let _ = writeln!(page, "  and {} more; `tinqs-ci drift` lists all", open - DRIFT);
        }
    }
    match status.unserved_jobs {
        Some(0) => {}
        Some(1) => page.push_str("\n1 job waits that no class serves\n"),
        Some(jobs) => {
            let _ = writeln!(page, "\n{jobs} jobs wait that no class serves");
        }
        None => page.push_str(
            "\njobs that no class serves are unknown: this process has not read the forge's list\n",
        ),
    }
    page
}

fn service_row(service: &Service, now: Timestamp) -> Vec<String> {
    let contact = service
        .last_contact
        .map(|at| format!("last contact {} ago", lasting(now.duration_since(at))));
    let (state, more) = match (service.state, &service.failure) {
        (_, Some(failure)) => {
            (format!("✗ fails{}", since(Some(failure.since), now)), failure.reason.clone())
        }
        (Health::Ok, None) => ("✓ ok".to_owned(), contact.unwrap_or_default()),
        (Health::Failing, None) => ("✗ fails".to_owned(), contact.unwrap_or_default()),
        (Health::Unknown, None) => ("– not called yet".to_owned(), String::new()),
    };
    vec![escape(&service.name), state, escape(&more)]
}

fn webhook_row(webhooks: &Webhooks, now: Timestamp) -> Vec<String> {
    let Webhooks { accepted, ignored, refused, last_accepted, last_refused, .. } = webhooks;
    let ago = |at: &Option<Timestamp>| at.map(|at| lasting(now.duration_since(at)));
    let (last, state) = match (ago(last_accepted), ago(last_refused)) {
        (_, Some(refused)) if last_refused > last_accepted => {
            (format!("last one refused {refused} ago"), "✗ refused")
        }
        (Some(accepted), _) => (format!("last one {accepted} ago"), "✓ ok"),
        (None, _) => ("none since the start".to_owned(), "–"),
    };
    let counts = format!("{} accepted, {refused} refused", accepted + ignored);
    vec!["webhooks".to_owned(), state.to_owned(), format!("{last}; {counts}")]
}

/// Returns what the machines cost; an amount of which nothing is known is a dash.
fn spend_row(spend: &Spend) -> Vec<String> {
    let unknown = match spend.unpriced_machines {
        0 => String::new(),
        1 => "; 1 machine without a known price".to_owned(),
        several => format!("; {several} machines without a known price"),
    };
    let per_hour = format!("{} per hour", spend.per_hour());
    vec!["cost".to_owned(), per_hour, format!("{} today{unknown}", spend.today())]
}

fn class_row(class: &ClassStatus) -> Vec<String> {
    let machines = match class.limit {
        Some(limit) => format!("{}/{limit}", class.machines),
        None => class.machines.to_string(),
    };
    let reasons: Vec<String> =
        class.reasons.iter().map(|count| format!("{} {}", count.runs, count.reason)).collect();
    let waited = |seconds: fn(&ClassWaits) -> i64| match &class.waits {
        Some(waits) => span(SignedDuration::from_secs(seconds(waits))),
        None => "–".to_owned(),
    };
    vec![
        cut(&class.name, 16),
        machines,
        class.waiting.to_string(),
        class.starting.to_string(),
        class.running.to_string(),
        waited(|waits| waits.p50_seconds),
        waited(|waits| waits.p95_seconds),
        cut(&reasons.join(", "), 60),
    ]
}

/// Formats the lines about pauses and failing services that stand above a table.
pub fn banner(status: &StatusView) -> Vec<String> {
    let failing = status.services.iter().filter_map(|service| {
        let failure = service.failure.as_ref()?;
        let since = lasting(status.now.duration_since(failure.since));
        let name = &service.name;
        let told = format!("{name} has failed for {since}: {}", failure.message);
        // Some messages already say what to check.
        let says_more = !failure.message.contains("check that");
        Some(if says_more { format!("{told}; {}", failure.fix) } else { told })
    });
    let pauses = status.pauses.iter().map(|pause| {
        let since = lasting(status.now.duration_since(pause.since));
        format!("{} (since {since})", pause.message())
    });
    pauses.chain(failing).collect()
}

/// Formats why jobs wait.
pub fn why(why: &WaitReasons, now: Timestamp) -> String {
    let WaitReasons { attention: all, runs, job } = why;
    let mut page = String::new();
    attention(&mut page, all, now);
    if let Some(job) = job {
        if !page.is_empty() {
            page.push('\n');
        }
        story(&mut page, job, now);
        return page;
    }
    if !page.is_empty() && !runs.is_empty() {
        page.push('\n');
    }
    for run in runs.iter().take(SHOWN) {
        waiting(&mut page, run, now);
    }
    more(&mut page, runs.len());
    if page.is_empty() {
        page.push_str("✓ all is well, and no job waits\n");
    }
    page
}

fn waiting(page: &mut String, run: &RunReason, now: Timestamp) {
    let phase = run.phase.map_or("Waiting".to_owned(), |phase| format!("{phase:?}"));
    let reason = if run.reason.is_empty() { String::new() } else { format!(" {}", run.reason) };
    let head = format!(
        "{} {} {}: {phase}{reason}{}",
        run.run,
        cut(&run.repo, 40),
        cut(&run.job, 40),
        since(run.since, now)
    );
    wrapped(page, "", 2, &head);
    if !run.message.is_empty() {
        wrapped(page, "  ", 2, &run.message);
    }
}

fn story(page: &mut String, job: &JobWhy, now: Timestamp) {
    let name = job.run.clone().or_else(|| job.id.map(|id| format!("job {id}")));
    let head = format!("{} of {}", cut(&job.name, 60), cut(&job.repo, 60));
    wrapped(page, &format!("{}: ", name.unwrap_or_default()), 2, &head);
    if !job.url.is_empty() {
        let _ = writeln!(page, "  {}", cut(&job.url, 300));
    }
    let class = job.class.as_ref().map_or("none".to_owned(), |class| cut(class, 40));
    let labels: Vec<String> = job.runs_on.iter().map(|label| cut(label, 60)).collect();
    wrapped(page, "  ", 2, &format!("labels [{}], class {class}", labels.join(", ")));
    page.push('\n');
    let mut line = |title: &str, text: &str| wrapped(page, &format!("{title:13}"), 13, text);
    line("state", &job.state);
    if let Some(attempt) = jobs::attempt(job.job_attempt) {
        line("attempt", &attempt);
    }
    if let Some(reason) = &job.reason {
        line("reason", &format!("{reason}{}", since(job.since, now)));
    }
    if let Some(word) = &job.at_forge {
        line("at the forge", word);
    }
    if let Some(waits_for) = &job.waits_for {
        line("waits for", waits_for);
    }
    for (index, next) in job.next.iter().enumerate() {
        line(if index == 0 { "next" } else { "" }, next);
    }
    if let Some(fix) = &job.fix {
        line("to unblock", fix);
    }
    if let Some(address) = job.reason.as_deref().and_then(reasons::explained_at) {
        line("more", &address);
    }
    for (index, note) in job.notes.iter().enumerate() {
        line(if index == 0 { "notes" } else { "" }, note);
    }
    if !job.attempts.is_empty() {
        page.push_str("\nattempts\n");
    }
    for attempt in &job.attempts {
        let mut text = format!(
            "{} ago, class {}",
            lasting(now.duration_since(attempt.decided_at)),
            attempt.class
        );
        if let Some(machine) = attempt.about_machine() {
            let _ = write!(text, ", machine {machine}");
        }
        let _ = write!(text, ": {}", attempt.ended.as_deref().unwrap_or("in progress"));
        wrapped(page, "  ", 4, &text);
    }
    if !job.timeline.is_empty() {
        page.push_str("\ntimeline (UTC)\n");
    }
    for row in timeline::rows(&job.timeline) {
        wrapped(page, &format!("  {}", row.head), 2 + timeline::HEAD, &row.told);
    }
}
