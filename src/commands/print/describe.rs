//! `describe`: the details of a run.

use std::fmt::Write as _;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{
    Attempt, Ended, MachineState, Outcome, PastAttempt, Placement, Run, StateReason,
};

use super::lists::{Detail, Machines, doing, job, machine, status, waited};
use super::{age, span, timeline};
use crate::api::{MachineView, Registration};
use crate::words::{fence, jobs, reasons};
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

/// Formats the details of a run, with its machines and registrations. [`Detail::Wide`] adds
/// internals.
pub fn describe(
    run: &Run,
    machines: &[MachineView],
    registrations: &[Registration],
    detail: Detail,
    now: Timestamp,
) -> String {
    let mut page = Page(String::new());
    let (spec, progress) = (&run.spec, &run.status);
    let ago = |at: Timestamp| format!("{at:.0} ({} ago)", age(at, now));
    page.line("Name:", run.name.as_str());
    page.line("Job:", &job(run).plain());
    page.line("Status:", &status(run).plain());
    if let Some(attempt) = jobs::attempt(progress.wait.attempt) {
        page.line("Attempt:", &attempt);
    }
    page.line("Workflow:", &spec.about.workflow);
    page.line("Branch:", &spec.about.branch);
    page.line("Commit:", &spec.about.commit);
    page.line("URL:", &spec.about.url);
    page.line("Labels:", &spec.runs_on.join(", "));
    page.line("Created:", &ago(run.created_at));
    page.line("Waiting since:", &ago(progress.queued_at()));
    if let Some(waited) = waited(run, now) {
        page.line("Waited:", &span(waited));
    }
    if let Some(at) = progress.finished_at {
        page.line("Finished:", &ago(at));
    }
    if let Some(at) = run.deleted_at {
        page.line("Deleted:", &ago(at));
    }
    page.line("Machine:", &machine(run, &Machines::of_views(machines)));
    if progress.failures > 0 {
        page.line(
            "Failures:",
            &format!("{} (attempts in a row that got no job)", progress.failures),
        );
    }
    if let Some(at) = progress.retry_at {
        page.line("Next attempt:", &format!("{at:.0} (in {})", span(at.duration_since(now))));
    }
    if detail == Detail::Wide {
        internals(&mut page, run);
    }
    conditions(&mut page, run, now);
    attempts(&mut page, run, detail, now);
    happened(&mut page, run);
    machines_of(&mut page, run, machines, now);
    registrations_of(&mut page, run, registrations);
    page.0
}

fn internals(page: &mut Page, run: &Run) {
    page.line("Phase:", &format!("{:?}", run.status.phase));
    page.line("Runner:", run.status.runner.as_deref().unwrap_or_default());
    page.line("Due:", &format!("{:.0}", run.status.due));
    page.line("UID:", &run.uid.to_string());
    page.line("Version:", &run.version.to_string());
    page.line("Next number:", &run.status.next.to_string());
}

fn conditions(page: &mut Page, run: &Run, now: Timestamp) {
    page.section("Conditions");
    for condition in &run.status.conditions {
        let since = age(condition.since, now);
        page.item(&format!("{} for {since}: {}", condition.reason, shown(&condition.message)));
        if let Some(address) = reasons::explained_at(condition.reason.as_str()) {
            page.item(&format!("   more: {address}"));
        }
    }
    if run.status.conditions.is_empty() {
        page.item("none");
    }
}

fn end(ended: Ended) -> String {
    format!("ended {:.0}: {}", ended.at, ended.why)
}

/// Returns the name of an attempt: `attempt 2 of 3`. Recorded numbers have gaps.
fn ordinal(position: usize, of: usize, number: u32, detail: Detail) -> String {
    match detail {
        Detail::Table => format!("attempt {position} of {of}"),
        Detail::Wide => format!("attempt {position} of {of} (number {number})"),
    }
}

fn attempts(page: &mut Page, run: &Run, detail: Detail, now: Timestamp) {
    page.section("Attempts");
    let status = &run.status;
    let all = status.past.len() + usize::from(status.attempt.is_some());
    for (position, past) in (1..).zip(&status.past) {
        let PastAttempt {
            number,
            decided_at,
            class,
            registration,
            repo_id: _,
            deadline: _,
            promise: _,
            placements,
            ended,
            hung_since: _,
            boot_result: _,
            state_reason,
            log,
        } = past;
        let registration = match detail {
            Detail::Table => String::new(),
            Detail::Wide => format!(", registration {registration}"),
        };
        page.item(&format!(
            "{}: class {}{registration}, decided {} ago, {}",
            ordinal(position, all, *number, detail),
            shown(&class.0),
            age(*decided_at, now),
            end(*ended)
        ));
        for placement in placements {
            let answered = placement.answered.as_ref().map(|answer| answer.id.0.as_str());
            let refused = placement.refused.map(|refused| refused.why.to_string());
            page.item(&format!("   {}", placed(answered, refused)));
        }
        said(page, state_reason.as_ref());
        printed(page, log.as_deref());
    }
    if let Some(attempt) = &status.attempt {
        newest(page, attempt, all, detail, now);
    }
    if all == 0 {
        page.item("none");
    }
}

fn placed(answered: Option<&str>, refused: Option<String>) -> String {
    match (answered, refused) {
        (Some(id), _) => format!("machine {}", shown(id)),
        (None, Some(why)) => format!("refused: {why}"),
        (None, None) => "launch not confirmed".to_owned(),
    }
}

fn newest(page: &mut Page, attempt: &Attempt, position: usize, detail: Detail, now: Timestamp) {
    let Attempt {
        number,
        decided_at,
        class,
        runner,
        boot,
        placements,
        ended,
        hung_since: _,
        boot_result: _,
        state_reason,
        log,
    } = attempt;
    let registration = match detail {
        Detail::Table => String::new(),
        Detail::Wide => format!(", registration {}", runner.id),
    };
    page.item(&format!(
        "{}: class {}{registration}, decided {} ago, until {:.0}, {}",
        ordinal(position, position, *number, detail),
        shown(&class.0),
        age(*decided_at, now),
        boot.deadline,
        ended.map_or("in progress".to_owned(), end)
    ));
    for placement in placements {
        let machine = &placement.machine;
        let answered = placement.answered.as_ref().map(|answer| answer.id.0.as_str());
        let refused = placement.refused.map(|refused| refused.why.to_string());
        let subnet = if machine.subnet.is_empty() { "" } else { " " };
        let chosen = placement.chosen.map(|why| format!(", {why}")).unwrap_or_default();
        page.item(&format!(
            "   {} {}{subnet}{}: {}{chosen}",
            machine.market,
            escape(&machine.kind),
            escape(&machine.subnet),
            placed(answered, refused)
        ));
    }
    // Of a machine that there is or was.
    let launched = placements.last().filter(|placement| placement.answered.is_some());
    let said_of =
        |placement: &Placement| fence::sentence(&placement.machine, &runner.labels, log.as_deref());
    if let Some(fence) = launched.and_then(said_of) {
        page.item(&format!("   {fence}"));
    }
    said(page, state_reason.as_ref());
    printed(page, log.as_deref());
}

/// Adds what the cloud said about the end of the machine.
fn said(page: &mut Page, reason: Option<&StateReason>) {
    if let Some(reason) = reason {
        page.item(&format!("   cloud: {}", escape(&reason.to_string())));
    }
}

/// Adds what the machine printed at its end.
fn printed(page: &mut Page, log: Option<&str>) {
    for line in log.unwrap_or_default().lines() {
        page.item(&format!("   log: {}", escape(line)));
    }
}

/// Adds the timeline of the run.
fn happened(page: &mut Page, run: &Run) {
    page.section("Timeline");
    let rows = timeline::rows(&run.status.timeline);
    for row in &rows {
        page.item(&format!("{}{}", row.head, row.told));
    }
    if rows.is_empty() {
        page.item("none");
    }
}

fn machines_of(page: &mut Page, run: &Run, machines: &[MachineView], now: Timestamp) {
    page.section("Machines");
    let mut count = 0;
    let of_run = |name: &str| name == run.name.as_str();
    let runs_its_job = |machine: &MachineView| machine.job.as_ref().is_some_and(|j| of_run(&j.run));
    for machine in machines.iter().filter(|m| of_run(&m.run) || runs_its_job(m)) {
        count += 1;
        let held = held_until(run, machine);
        let held = held.map(|until| format!(", may be held until {until:.0}")).unwrap_or_default();
        page.item(&format!(
            "{}: {}, {} {}, launched {} ago, ends by {:.0}{held}",
            shown(&machine.id),
            doing(machine).plain(),
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

/// Returns until when the machine of a job that is over may be held. Whether the job asked for that
/// is known on the machine only.
fn held_until(run: &Run, machine: &MachineView) -> Option<Timestamp> {
    let (attempt, over) = (run.status.attempt.as_ref()?, run.status.finished_at?);
    let attempt_id = run.attempt_id(attempt.number).to_string();
    let ran_here = run.status.runner.as_deref() == Some(attempt_id.as_str());
    let is_up = machine.attempt_id == attempt_id && machine.state == MachineState::Up;
    let canceled = run.status.outcome == Some(Outcome::Cancelled);
    if !ran_here || !is_up || canceled || attempt.boot.hold.is_zero() {
        return None;
    }
    over.checked_add(attempt.boot.hold).ok().map(|until| until.min(attempt.boot.deadline))
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
