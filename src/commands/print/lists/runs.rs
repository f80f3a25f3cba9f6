//! The rows of runs.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{End, Outcome, Phase, Reason, Run};

use super::{Detail, Listed};
use crate::api::{MachineView, machine as recorded};
use crate::commands::print::columns::{Cell, Column, Tone};
use crate::commands::print::{age, span};
use crate::words::jobs;

/// Machines by the IDs of the attempts that they were launched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machines(HashMap<String, String>);

impl Machines {
    /// Collects the machines of a list.
    pub fn of_views(views: &[MachineView]) -> Self {
        Self(views.iter().map(|view| (view.attempt_id.clone(), view.id.clone())).collect())
    }
}

/// Returns the job's repository, with the number of its workflow run if that is known, and its name.
pub(in crate::commands::print) fn job(run: &Run) -> Cell {
    let about = &run.spec.about;
    let repo = if about.repo.is_empty() { &run.spec.job.repo } else { &about.repo };
    let number = number(run).map(|number| format!("#{number}")).unwrap_or_default();
    Cell::of_parts(format!("{repo}{number}"), about.job.as_str()).link(&about.url)
}

/// Returns the number of the workflow run as the forge shows it. Gitea 1.25 has it in the address of
/// the job's page; later servers have there the workflow run's ID, which they show nowhere.
fn number(run: &Run) -> Option<i64> {
    let about = &run.spec.about;
    let (_, rest) = about.url.split_once("/actions/runs/")?;
    let number = rest.split(['/', '?', '#']).next()?.parse().ok()?;
    (number > 0 && about.run_id > 0 && number != about.run_id).then_some(number)
}

/// Returns the machine that the job runs or ran on; before that, the one that starts for it.
pub(in crate::commands::print) fn machine(run: &Run, machines: &Machines) -> String {
    if let Some(runner) = recorded::runner(run) {
        let own = recorded::of_attempt(run, &runner).map(ToString::to_string);
        let own = own.or_else(|| machines.0.get(&runner).cloned());
        return own.unwrap_or_else(|| match run.attempt_of(&runner) {
            Some(attempt_id) if attempt_id.run != run.name => format!("<{}>", attempt_id.run),
            Some(_) | None => runner,
        });
    }
    let current = run.status.attempt.as_ref().filter(|attempt| attempt.ended.is_none());
    let starting = current.filter(|_| run.status.phase == Phase::Starting);
    match starting {
        Some(attempt) => {
            let own = recorded::of_attempt(run, &run.attempt_id(attempt.number).to_string());
            own.map_or_else(|| "<pending>".to_owned(), ToString::to_string)
        }
        None => "<none>".to_owned(),
    }
}

/// Returns how long the job waited so far, or until it started; `None` if that is not known.
pub(in crate::commands::print) fn waited(run: &Run, now: Timestamp) -> Option<SignedDuration> {
    let since = run.status.queued_at();
    match run.status.phase {
        _ if run.status.wait.started_at.is_some() => run.status.waited(now),
        Phase::Waiting | Phase::Starting => run.status.waited(now),
        // A record of an earlier version, or of push mode.
        Phase::Running | Phase::Finished => {
            let ended = run.status.attempt.as_ref().and_then(|attempt| attempt.ended)?;
            (ended.why == End::Consumed && ended.at >= since)
                .then(|| ended.at.duration_since(since))
        }
    }
}

/// Returns the state of the run in a sign and a word: `● running`, `✓ succeeded`; of a re-run also
/// which attempt of the job it is.
pub(in crate::commands::print) fn status(run: &Run) -> Cell {
    let (sign, word, tone) = match (run.status.phase, run.status.outcome) {
        (Phase::Waiting, _) if run.deleted_at.is_some() => ('–', "deleted".into(), Tone::Quiet),
        (Phase::Waiting, _) => ('○', "waiting".into(), Tone::Plain),
        (Phase::Starting, _) => ('○', "starting".into(), Tone::Plain),
        (Phase::Running, _) => ('●', "running".into(), Tone::Active),
        (Phase::Finished, None) => ('–', "finished".into(), Tone::Quiet),
        (Phase::Finished, Some(outcome)) => {
            let (sign, tone) = match outcome {
                Outcome::Succeeded => ('✓', Tone::Good),
                Outcome::Cancelled
                | Outcome::Skipped
                | Outcome::JobGone
                | Outcome::MachineEnded => ('–', Tone::Quiet),
                _ => ('✗', Tone::Bad),
            };
            let word = match outcome {
                Outcome::Cancelled => "canceled".to_owned(),
                outcome => words(&format!("{outcome:?}")),
            };
            (sign, word, tone)
        }
    };
    let again = run.status.wait.attempt.filter(|number| *number > 1);
    let again = again.map(|number| format!(", {}", jobs::nth(number))).unwrap_or_default();
    Cell::from(format!("{sign} {word}{again}")).tone(tone)
}

/// Splits a name such as `JobGone` into lower-case words.
fn words(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 2);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(c.to_ascii_lowercase());
    }
    words
}

/// Returns the reason why the run makes no progress; empty if it does.
fn reason(run: &Run) -> Cell {
    match run.status.reason() {
        Some(reason) if run.is_open() || run.deleted_at.is_some() => {
            let tone = match reason {
                Reason::Deleted => Tone::Quiet,
                reason if reason.needs_person() => Tone::Bad,
                _ => Tone::Waiting,
            };
            Cell::from(reason.as_str()).tone(tone)
        }
        Some(_) | None => Cell::default(),
    }
}

impl Listed for Run {
    const KIND: &'static str = "run";

    fn name(&self) -> String {
        self.name.to_string()
    }

    fn columns(detail: Detail) -> Vec<Column> {
        let mut columns = vec![
            Column::whole("NAME"),
            Column::shrinking("JOB"),
            Column::whole("STATUS"),
            Column::whole("WAIT"),
            Column::whole("AGE"),
        ];
        if detail == Detail::Wide {
            let more = ["CLASS", "MACHINE", "ATTEMPTS", "RUNNER", "LABELS", "BRANCH", "COMMIT"];
            columns.extend(more.map(Column::whole));
        }
        columns.push(Column::whole("REASON"));
        columns
    }

    fn row(&self, detail: Detail, machines: &Machines, now: Timestamp) -> Vec<Cell> {
        let status_of = &self.status;
        let mut cells = vec![
            Cell::from(self.name.as_str()),
            job(self),
            status(self),
            Cell::from(waited(self, now).map(span).unwrap_or_default()),
            Cell::from(age(self.status.queued_at(), now)),
        ];
        if detail == Detail::Wide {
            let about = &self.spec.about;
            let attempt = status_of.attempt.as_ref();
            let attempts = status_of.past.len() + usize::from(attempt.is_some());
            cells.extend([
                Cell::from(attempt.map(|a| a.class.0.as_str()).unwrap_or_default()),
                Cell::from(machine(self, machines)),
                Cell::from(attempts.to_string()),
                Cell::from(status_of.runner.as_deref().unwrap_or_default()),
                Cell::from(self.spec.runs_on.join(",")),
                Cell::from(about.branch.as_str()),
                Cell::from(about.commit.chars().take(10).collect::<String>()),
            ]);
        }
        cells.push(reason(self));
        cells
    }

    fn machines(runs: &[Self]) -> Machines {
        let of = |run: &Run| -> Vec<(String, String)> {
            let answers = recorded::answers(run);
            answers
                .map(|(number, id)| (run.attempt_id(number).to_string(), id.to_string()))
                .collect()
        };
        Machines(runs.iter().flat_map(of).collect())
    }
}
