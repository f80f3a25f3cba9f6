//! Formats what a rebuild writes.

use std::fmt::Write as _;

use tinqs_ci_reconciler::controller::{RebuildReport, RebuiltItem};

use super::columns::{Cell, Column, Screen, Table, Tone};

/// Formats what a rebuild writes, or would write.
pub fn rebuild(report: &RebuildReport, screen: Screen) -> String {
    let RebuildReport { written, waiting_jobs, registrations_listed: _, items } = report;
    let mut text = String::new();
    if !items.is_empty() {
        let names = ["ATTEMPT", "MACHINE", "CLASS", "REPOSITORY", "WRITES"];
        let columns = names.map(Column::whole).into();
        let table = Table { columns, rows: items.iter().map(cells).collect() };
        text = table.lines(screen, &mut Vec::new(), true);
    }
    let count = |takes: fn(&RebuiltItem) -> bool| items.iter().filter(|item| takes(item)).count();
    let (runs, seats) = (count(|item| item.run), count(|item| item.seat));
    let verb = if *written { "wrote" } else { "would write" };
    let _ = writeln!(text, "{verb} runs: {runs}, seats: {seats}");
    if let Some(waiting) = waiting_jobs {
        let others = waiting.saturating_sub(runs);
        let _ = writeln!(text, "waiting jobs that the server's first poll finds: {others}");
    }
    text
}

fn cells(item: &RebuiltItem) -> Vec<Cell> {
    let RebuiltItem { attempt_id, machine, class, repo, repo_id: _, run, seat } = item;
    let machine = match machine {
        Some(machine) => Cell::from(machine.0.clone()),
        None => Cell::from("not listed yet").tone(Tone::Waiting),
    };
    let writes = match (run, seat) {
        (true, true) => Cell::from("run, seat"),
        (true, false) => Cell::from("run"),
        (false, true) => Cell::from("seat"),
        (false, false) => Cell::from("nothing").tone(Tone::Quiet),
    };
    vec![
        Cell::from(attempt_id.to_string()),
        machine,
        Cell::from(class.0.clone()),
        Cell::from(repo.clone()),
        writes,
    ]
}
