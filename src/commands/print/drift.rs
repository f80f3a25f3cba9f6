//! Formats drift: as sentences, and as the rows of a table.

use std::fmt::Write as _;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::Blocker;
use tinqs_ci_reconciler::text::cut;

use super::columns::{Cell, Column, Tone};
use super::lists::{Detail, Listed, Machines};
use super::wrapped::wrapped;
use crate::api::{DriftList, DriftView};
use crate::words;

/// Formats the open drift, longest first.
pub fn drift(list: &DriftList) -> String {
    if list.items.is_empty() {
        return "✓ nothing drifts\n".to_owned();
    }
    let mut page = String::new();
    entries(&mut page, &list.items, list.now, usize::MAX);
    page
}

/// Formats at most so many entries.
pub(super) fn entries(page: &mut String, all: &[DriftView], now: Timestamp, most: usize) {
    for one in all.iter().take(most) {
        wrapped(page, "", 2, &head(one, now));
        let next = words::drift::next(one.next, one.by, now);
        wrapped(page, "  ", 2, &format!("{}; {next}", one.message));
        if !one.fix.is_empty() {
            wrapped(page, "  → ", 4, &one.fix);
        }
    }
}

/// Returns the first line: `! run without machine, job-4077 acme/api e2e, class gpu, for 4 min`.
fn head(one: &DriftView, now: Timestamp) -> String {
    let mut head = format!("! {}, {}", words::drift::kind(one.kind), subject(one));
    for name in [&one.repo, &one.job].into_iter().filter(|name| !name.is_empty()) {
        let _ = write!(head, " {}", cut(name, 40));
    }
    if let Some(class) = &one.class {
        let _ = write!(head, ", class {}", cut(class, 40));
    }
    let _ = write!(head, ", for {}", words::lasting(now.duration_since(one.since)));
    if let Some(blocker) = one.blocked_by {
        let _ = write!(head, ": {}", blocker.as_str());
    }
    head
}

/// Returns what drifts, with the run that a machine or registration was made for.
fn subject(one: &DriftView) -> String {
    match (&one.machine, one.registration) {
        (Some(machine), _) => format!("machine {machine} of {}", one.run),
        (None, Some(registration)) => format!("registration {registration} of {}", one.run),
        (None, None) => one.run.clone(),
    }
}

impl Listed for DriftView {
    const KIND: &'static str = "drift";

    fn name(&self) -> String {
        self.subject()
    }

    fn columns(_: Detail) -> Vec<Column> {
        let mut columns = vec![Column::whole("KIND"), Column::whole("NAME")];
        columns.push(Column::shrinking("JOB"));
        columns.extend(["RUN", "CLASS", "AGE", "OPEN", "NEXT", "BY", "REASON"].map(Column::whole));
        columns
    }

    fn row(&self, _: Detail, _: &Machines, now: Timestamp) -> Vec<Cell> {
        let reason = self.blocked_by.map(Blocker::as_str).unwrap_or_default();
        let by = self.by.map(|by| format!("in {}", super::span(by.duration_since(now))));
        let job = if self.repo.is_empty() && self.job.is_empty() {
            Cell::default()
        } else {
            Cell::of_parts(self.repo.as_str(), self.job.as_str()).link(&self.url)
        };
        vec![
            Cell::from(self.kind.as_str()).tone(Tone::Waiting),
            Cell::from(self.subject()),
            job,
            Cell::from(self.run.as_str()),
            Cell::from(self.class.clone().unwrap_or_default()),
            Cell::from(super::age(self.since, now)),
            Cell::from(super::age(self.open_since, now)),
            Cell::from(self.next.as_str()),
            Cell::from(by.unwrap_or_default()),
            Cell::from(reason),
        ]
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use jiff::SignedDuration;
    use tinqs_ci_reconciler::model::{DriftKind, NextStep};

    use super::*;
    use crate::commands::print::{Screen, table};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
    }

    fn list() -> DriftList {
        let waits = DriftView {
            kind: DriftKind::RunWithoutMachine,
            class: Some("gpu".to_owned()),
            run: "job-4077".to_owned(),
            repo: "acme/api".to_owned(),
            job: "e2e\u{1b}[2J".to_owned(),
            url: String::new(),
            machine: None,
            registration: None,
            since: at(0),
            open_since: at(60),
            blocked_by: Some(Blocker::NoCapacity),
            message: "its job has waited for 4 min, and there is no machine for it: no capacity \
                      for any machine of class gpu"
                .to_owned(),
            next: NextStep::Launch,
            by: Some(at(280)),
            fix: "add kinds, subnets or the market `on-demand` to the class".to_owned(),
        };
        let lost = DriftView {
            kind: DriftKind::MachineWithoutRun,
            machine: Some("i-0f3c21".to_owned()),
            repo: String::new(),
            job: String::new(),
            blocked_by: None,
            message: "it should have ended 4 min ago, and no open run has it".to_owned(),
            next: NextStep::Terminate,
            fix: String::new(),
            ..waits.clone()
        };
        DriftList { now: at(242), machines_listed_at: Some(at(240)), items: vec![waits, lost] }
    }

    #[test]
    fn drift_says_what_differs_why_and_what_comes_next() {
        expect![[r"
            ! run without machine, job-4077 acme/api e2e\u{1b}[2J, class gpu, for 4 min:
              NoCapacity
              its job has waited for 4 min, and there is no machine for it: no capacity for
              any machine of class gpu; the next attempt follows within 38 s
              → add kinds, subnets or the market `on-demand` to the class
            ! machine without run, machine i-0f3c21 of job-4077, class gpu, for 4 min
              it should have ended 4 min ago, and no open run has it; it is terminated
              within 38 s
        "]]
        .assert_eq(&drift(&list()));
        let nothing = DriftList { now: at(0), machines_listed_at: Some(at(0)), items: Vec::new() };
        assert_eq!(drift(&nothing), "✓ nothing drifts\n");
    }

    #[test]
    fn a_table_has_one_line_for_each() {
        let list = list();
        let table = table(&list.items, Detail::Wide, list.now);
        let text = table.lines(Screen::default(), &mut Vec::new(), true);
        expect![[r"
            KIND               NAME      JOB                    RUN       CLASS  AGE  OPEN  NEXT       BY      REASON
            RunWithoutMachine  job-4077  acme/api e2e\u{1b}[2J  job-4077  gpu    4m   3m    Launch     in 38s  NoCapacity
            MachineWithoutRun  i-0f3c21  -                      job-4077  gpu    4m   3m    Terminate  in 38s
        "]].assert_eq(&text);
    }
}
