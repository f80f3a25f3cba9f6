//! `describe`: the details of a run.

use std::fmt::Write as _;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Attempt, End, Ended, PastAttempt, Refusal, Run};

use super::lists::{job, waited};
use super::{age, span};
use crate::api::{MachineView, Registration};
use tinqs_ci_reconciler::text::{cut, escape};

/// Cuts and escapes a text; an empty one becomes `-`.
fn shown(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { cut(text, 300) }
}

struct Page(String);

impl Page {
    fn line(&mut self, title: &str, text: &str) {
        let _ = writeln!(self.0, "{title:16}{}", shown(text));
    }

    fn section(&mut self, title: &str) {
        let _ = writeln!(self.0, "\n{title}:");
    }

    fn item(&mut self, text: &str) {
        let _ = writeln!(self.0, "  {text}");
    }
}

/// Formats the details of a run, with its machines and registrations.
pub fn describe(
    run: &Run,
    machines: &[MachineView],
    registrations: &[Registration],
    now: Timestamp,
) -> String {
    let mut page = Page(String::new());
    let (spec, status) = (&run.spec, &run.status);
    let ago = |at: Timestamp| format!("{at:.0} ({} ago)", age(at, now));
    page.line("Name:", run.name.as_str());
    page.line(
        "Phase:",
        &match status.outcome {
            Some(outcome) => format!("{:?} ({outcome:?})", status.phase),
            None => format!("{:?}", status.phase),
        },
    );
    page.line("Job:", &job(run, 300));
    page.line("Workflow:", &spec.about.workflow);
    page.line("Branch:", &spec.about.branch);
    page.line("Commit:", &spec.about.commit);
    page.line("URL:", &spec.about.url);
    page.line("Labels:", &spec.runs_on.join(", "));
    page.line("Created:", &ago(run.created_at));
    page.line("Waiting since:", &ago(status.waiting_since));
    if let Some(waited) = waited(run, now) {
        page.line("Waited:", &span(waited));
    }
    if let Some(at) = status.finished_at {
        page.line("Finished:", &ago(at));
    }
    if let Some(at) = run.deleted_at {
        page.line("Deleted:", &ago(at));
    }
    if let Some(runner) = &status.runner {
        page.line("Runner:", runner);
    }
    page.line("Failures:", &status.failures.to_string());
    if let Some(at) = status.retry_at {
        page.line("Next attempt:", &format!("{at:.0} (in {})", span(at.duration_since(now))));
    }
    page.line("Due:", &format!("{:.0}", status.due));
    page.line("UID, version:", &format!("{}, {}", run.uid, run.version));
    conditions(&mut page, run, now);
    attempts(&mut page, run, now);
    machines_of(&mut page, run, machines, now);
    registrations_of(&mut page, run, registrations);
    page.0
}

fn conditions(page: &mut Page, run: &Run, now: Timestamp) {
    page.section("Conditions");
    for condition in &run.status.conditions {
        let since = age(condition.since, now);
        page.item(&format!("{} for {since}: {}", condition.reason, shown(&condition.message)));
    }
    if run.status.conditions.is_empty() {
        page.item("none");
    }
}

fn refusal(why: Refusal) -> &'static str {
    match why {
        Refusal::NoCapacity => "no capacity",
        Refusal::Limit => "account limit",
        Refusal::Denied => "denied",
        Refusal::Invalid => "invalid request",
    }
}

fn end(ended: Ended) -> String {
    let why = match ended.why {
        End::Consumed => "it got a job".to_owned(),
        End::MachineGone => "its machine ended before it got a job".to_owned(),
        End::Refused(why) => format!("refused: {}", refusal(why)),
        End::NeverSeen => "its machine was never seen".to_owned(),
        End::NeverAnswered => "its launch was never confirmed".to_owned(),
        End::NeverReady => "its machine did not come online in time".to_owned(),
        End::NotAssigned => "its machine was idle for too long".to_owned(),
        End::Deleted => "the run was deleted".to_owned(),
    };
    format!("ended {:.0}: {why}", ended.at)
}

fn attempts(page: &mut Page, run: &Run, now: Timestamp) {
    page.section("Attempts");
    for past in &run.status.past {
        let PastAttempt { number, decided_at, class, registration, placements, ended, log } = past;
        page.item(&format!(
            "{number}: class {}, registration {registration}, decided {} ago, {}",
            shown(&class.0),
            age(*decided_at, now),
            end(*ended)
        ));
        for placement in placements {
            let answered = placement.answered.as_ref().map(|answer| answer.id.0.as_str());
            let refused = placement.refused.map(|refused| refusal(refused.why));
            page.item(&format!("   {}", placed(answered, refused)));
        }
        printed(page, log.as_deref());
    }
    if let Some(attempt) = &run.status.attempt {
        newest(page, attempt, now);
    } else if run.status.past.is_empty() {
        page.item("none");
    }
}

fn placed(answered: Option<&str>, refused: Option<&str>) -> String {
    match (answered, refused) {
        (Some(id), _) => format!("machine {}", shown(id)),
        (None, Some(why)) => format!("refused: {why}"),
        (None, None) => "launch not confirmed".to_owned(),
    }
}

fn newest(page: &mut Page, attempt: &Attempt, now: Timestamp) {
    let Attempt { number, decided_at, class, runner, boot, placements, ended, log } = attempt;
    page.item(&format!(
        "{number}: class {}, registration {}, decided {} ago, until {:.0}, {}",
        shown(&class.0),
        runner.id,
        age(*decided_at, now),
        boot.deadline,
        ended.map_or("in progress".to_owned(), end)
    ));
    for placement in placements {
        let machine = &placement.machine;
        let answered = placement.answered.as_ref().map(|answer| answer.id.0.as_str());
        let refused = placement.refused.map(|refused| refusal(refused.why));
        let subnet = if machine.subnet.is_empty() { "" } else { " " };
        page.item(&format!(
            "   {} {}{subnet}{}: {}",
            machine.market,
            escape(&machine.kind),
            escape(&machine.subnet),
            placed(answered, refused)
        ));
    }
    printed(page, log.as_deref());
}

/// What the machine printed at its end.
fn printed(page: &mut Page, log: Option<&str>) {
    for line in log.unwrap_or_default().lines() {
        page.item(&format!("   log: {}", escape(line)));
    }
}

fn machines_of(page: &mut Page, run: &Run, machines: &[MachineView], now: Timestamp) {
    page.section("Machines");
    let mut count = 0;
    for machine in machines.iter().filter(|machine| machine.run == run.name.as_str()) {
        count += 1;
        page.item(&format!(
            "{}: {:?}, {} {}, launched {} ago, ends by {:.0}",
            shown(&machine.id),
            machine.state,
            machine.market,
            shown(&machine.kind),
            age(machine.launched_at, now),
            machine.deadline
        ));
    }
    if count == 0 {
        page.item("none seen");
    }
}

fn registrations_of(page: &mut Page, run: &Run, registrations: &[Registration]) {
    page.section("Registrations");
    let mut count = 0;
    for row in registrations.iter().filter(|row| row.run == run.name.as_str()) {
        count += 1;
        let state = match (row.online, row.busy) {
            (_, true) => "busy",
            (true, false) => "idle",
            (false, false) => "offline",
        };
        page.item(&format!("{}: {}, {state}", row.id, shown(&row.attempt_id)));
    }
    if count == 0 {
        page.item("none seen");
    }
}
