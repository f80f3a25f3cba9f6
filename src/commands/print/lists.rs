//! The table rows of `get`.

use jiff::Timestamp;
use serde::Serialize;
use tinqs_ci_reconciler::model::{Attempt, AttemptId, End, MachineState, Outcome, Phase, Run};
use unicode_width::UnicodeWidthStr as _;

use super::columns::Row;
use super::{age, span};
use crate::api;
use tinqs_ci_reconciler::text::cut;

/// The level of detail of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// About 100 characters wide.
    Table,
    /// More columns and wider cells.
    Wide,
}

/// An object that `get` lists.
pub trait Listed: Serialize {
    /// `run`, `machine`, `registration` or `class`.
    const KIND: &'static str;
    /// Returns the name, without the kind.
    fn name(&self) -> String;
    /// Returns the titles of the columns.
    fn titles(detail: Detail) -> Vec<&'static str>;
    /// Returns the row of the object.
    fn row(&self, detail: Detail, now: Timestamp) -> Row;
}

fn width(detail: Detail, table: usize) -> usize {
    match detail {
        Detail::Table => table,
        Detail::Wide => 200,
    }
}

/// Returns `acme/web#812 build`, cut so that both parts stay visible.
pub(super) fn job(run: &Run, most: usize) -> String {
    let about = &run.spec.about;
    let repo = if about.repo.is_empty() { &run.spec.job.repo } else { &about.repo };
    let number = if about.run_id > 0 { format!("#{}", about.run_id) } else { String::new() };
    let name = cut(&about.job, most / 2);
    let rest = most.saturating_sub(name.width() + number.len() + 1);
    format!("{}{number} {name}", cut(repo, rest.max(8))).trim().to_owned()
}

/// Returns the machine of the latest attempt, or a placeholder.
fn machine(run: &Run, most: usize) -> String {
    let attempt_id = run.status.attempt.as_ref().map(|attempt| run.attempt_id(attempt.number));
    let runner = run.status.runner.as_deref().and_then(|name| name.parse::<AttemptId>().ok());
    if let (Phase::Running, Some(runner)) = (run.status.phase, &runner)
        && attempt_id.as_ref() != Some(runner)
    {
        return format!("<{}>", runner.run);
    }
    let answered = |attempt: &Attempt| {
        attempt
            .placements
            .last()
            .and_then(|p| p.answered.as_ref())
            .map(|answer| answer.id.0.clone())
    };
    match (run.status.attempt.as_ref().map(answered), run.status.phase) {
        (Some(Some(id)), _) => cut(&id, most),
        (_, Phase::Starting) => "<pending>".to_owned(),
        _ => "<none>".to_owned(),
    }
}

/// Returns how long the job waited so far, or until it started; `None` if it runs on the machine of
/// another run.
pub(super) fn waited(run: &Run, now: Timestamp) -> Option<jiff::SignedDuration> {
    let since = run.status.waiting_since;
    match run.status.phase {
        Phase::Waiting | Phase::Starting => Some(now.duration_since(since)),
        Phase::Running | Phase::Finished => {
            let ended = run.status.attempt.as_ref().and_then(|attempt| attempt.ended)?;
            (ended.why == End::Consumed && ended.at >= since)
                .then(|| ended.at.duration_since(since))
        }
    }
}

fn blocked(run: &Run) -> String {
    let gave_up = run.status.outcome == Some(Outcome::GaveUp);
    match run.status.reason() {
        _ if gave_up => "GaveUp".to_owned(),
        Some(reason) if run.is_open() || run.deleted_at.is_some() => reason.to_string(),
        Some(_) | None => String::new(),
    }
}

impl Listed for Run {
    const KIND: &'static str = "run";

    fn name(&self) -> String {
        self.name.to_string()
    }

    fn titles(detail: Detail) -> Vec<&'static str> {
        let mut titles = vec!["NAME", "CLASS", "PHASE", "JOB", "MACHINE", "WAIT", "AGE"];
        if detail == Detail::Wide {
            titles.extend(["ATTEMPT", "RUNNER", "LABELS", "BRANCH", "COMMIT", "OUTCOME"]);
        }
        titles
    }

    fn row(&self, detail: Detail, now: Timestamp) -> Row {
        let status = &self.status;
        let class = status.attempt.as_ref().map(|a| a.class.0.as_str()).unwrap_or_default();
        let mut cells = vec![
            self.name.to_string(),
            cut(class, width(detail, 16)),
            format!("{:?}", status.phase),
            job(self, width(detail, 36)),
            machine(self, width(detail, 28)),
            waited(self, now).map(span).unwrap_or_default(),
            age(self.created_at, now),
        ];
        if detail == Detail::Wide {
            let commit: String = self.spec.about.commit.chars().take(10).collect();
            cells.extend([
                status.attempt.as_ref().map(|a| a.number.to_string()).unwrap_or_default(),
                status.runner.clone().unwrap_or_default(),
                self.spec.runs_on.join(","),
                self.spec.about.branch.clone(),
                commit,
                status.outcome.map(|outcome| format!("{outcome:?}")).unwrap_or_default(),
            ]);
        }
        Row { cells, blocked: blocked(self) }
    }
}

fn state(state: MachineState) -> &'static str {
    match state {
        MachineState::Booting => "booting",
        MachineState::Up => "up",
        MachineState::Ending => "ending",
        MachineState::Gone => "gone",
    }
}

impl Listed for api::MachineView {
    const KIND: &'static str = "machine";

    fn name(&self) -> String {
        self.id.clone()
    }

    fn titles(detail: Detail) -> Vec<&'static str> {
        let mut titles = vec!["NAME", "RUN", "CLASS", "KIND", "MARKET", "STATE", "ENDS", "AGE"];
        if detail == Detail::Wide {
            titles.extend(["ZONE", "ATTEMPT", "DEADLINE"]);
        }
        titles
    }

    fn row(&self, detail: Detail, now: Timestamp) -> Row {
        let is_live = matches!(self.state, MachineState::Booting | MachineState::Up);
        let left = self.deadline.duration_since(now);
        let mut cells = vec![
            cut(&self.id, width(detail, 40)),
            self.run.clone(),
            cut(&self.class, width(detail, 16)),
            cut(&self.kind, width(detail, 16)),
            self.market.to_string(),
            state(self.state).to_owned(),
            if is_live { span(left) } else { String::new() },
            age(self.launched_at, now),
        ];
        if detail == Detail::Wide {
            cells.extend([
                self.zone.clone(),
                self.attempt_id.clone(),
                format!("{:.0}", self.deadline),
            ]);
        }
        let overdue = is_live && left.is_negative();
        Row { cells, blocked: if overdue { "past its deadline".to_owned() } else { String::new() } }
    }
}

fn yes(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

impl Listed for api::Registration {
    const KIND: &'static str = "registration";

    fn name(&self) -> String {
        self.id.to_string()
    }

    fn titles(_: Detail) -> Vec<&'static str> {
        vec!["NAME", "RUN", "ATTEMPT", "ONLINE", "BUSY"]
    }

    fn row(&self, _: Detail, _: Timestamp) -> Row {
        let cells = vec![
            self.id.to_string(),
            self.run.clone(),
            self.attempt_id.clone(),
            yes(self.online),
            yes(self.busy),
        ];
        Row { cells, blocked: String::new() }
    }
}

impl Listed for api::Class {
    const KIND: &'static str = "class";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn titles(_: Detail) -> Vec<&'static str> {
        vec!["NAME", "LABELS", "LIMIT", "PER-REPO", "SEATS", "MACHINES", "OPEN", "WAITING"]
    }

    fn row(&self, detail: Detail, _: Timestamp) -> Row {
        let limit = |limit: Option<u32>| limit.map(|limit| limit.to_string()).unwrap_or_default();
        let reasons: Vec<String> = self.blocked_by.iter().map(ToString::to_string).collect();
        let cells = vec![
            self.name.clone(),
            cut(&self.labels.join(","), width(detail, 32)),
            limit(self.limit),
            limit(self.repo_limit),
            self.seats.to_string(),
            self.machines.to_string(),
            self.open_runs.to_string(),
            self.waiting_runs.to_string(),
        ];
        Row { cells, blocked: reasons.join(", ") }
    }
}
