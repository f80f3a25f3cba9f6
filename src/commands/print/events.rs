//! The rows of `get events`, and the events of `describe`.

use jiff::Timestamp;
use tinqs_ci_reconciler::model::Run;

use super::columns::{Cell, Column, Tone};
use super::lists::{Detail, Listed, Machines};
use crate::api::{Event, EventKind};
use crate::words::timeline::happened;
use tinqs_ci_reconciler::text::{cut, escape};

impl Listed for Event {
    const KIND: &'static str = "event";

    fn name(&self) -> String {
        self.id.clone().unwrap_or_else(|| format!("{}:{}", self.object.name, self.last_at))
    }

    fn columns(detail: Detail) -> Vec<Column> {
        let mut columns = ["AGE", "REASON", "OBJECT"].map(Column::whole).to_vec();
        if detail == Detail::Wide {
            columns.extend(["TYPE", "JOB", "COUNT", "FIRST", "BY"].map(Column::whole));
        }
        columns.push(Column::shrinking("MESSAGE"));
        columns
    }

    fn row(&self, detail: Detail, _: &Machines, now: Timestamp) -> Vec<Cell> {
        let (kind, sign, tone) = match self.kind {
            EventKind::Normal => ("Normal", "", Tone::Plain),
            EventKind::Warning => ("Warning", "! ", Tone::Bad),
        };
        let mut cells = vec![
            Cell::from(super::age(self.last_at, now)),
            Cell::from(format!("{sign}{}", self.reason)).tone(tone),
            Cell::from(self.object.name.as_str()).link(&self.url),
        ];
        if detail == Detail::Wide {
            cells.extend([
                Cell::from(kind),
                Cell::of_parts(self.repo.as_str(), self.job.as_str()),
                Cell::from(self.count.to_string()),
                Cell::from(super::age(self.first_at, now)),
                Cell::from(self.by.as_deref().unwrap_or_default()),
            ]);
        }
        let times = if self.count > 1 { format!(" ({} times)", self.count) } else { String::new() };
        cells.push(Cell::of_sentence(format!("{}{times}", self.message)));
        cells
    }
}

/// Formats the events of a run that its timeline does not tell; an empty text if there are none.
pub fn events_of(run: &Run, events: &[Event], now: Timestamp) -> String {
    let told = |event: &&Event| {
        !run.status.timeline.iter().any(|milestone| happened(&milestone.what) == event.message)
    };
    let lines = events.iter().filter(told).map(|event| {
        let times =
            if event.count > 1 { format!(" ({} times)", event.count) } else { String::new() };
        let (at, reason) = (super::age(event.last_at, now), escape(&event.reason));
        format!("  {at} ago{times}  {reason}: {}\n", cut(&event.message, 300))
    });
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\nEvents:\n{lines}") }
}
