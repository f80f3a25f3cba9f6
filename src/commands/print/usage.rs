//! Formats usage as a table with its sum.

use std::fmt::Write as _;

use jiff::SignedDuration;

use super::columns::{Cell, Column, Screen, Table, Tone};
use crate::api::{UsageBy, UsageList, UsageRow, UsageSum};
use crate::words;

/// Formats the usage of a month.
pub fn usage(list: &UsageList, screen: Screen) -> String {
    if list.items.is_empty() {
        return format!("no machine ended in {}, and no job\n", list.month);
    }
    let first = match list.by {
        UsageBy::Repo => "REPOSITORY",
        UsageBy::Class => "CLASS",
        UsageBy::Workflow => "WORKFLOW",
        UsageBy::Day => "DAY",
    };
    let sums = ["JOBS", "MACHINES", "BOOT", "IDLE", "BUSY", "LOST", "COST"].map(Column::whole);
    let columns = std::iter::once(Column::shrinking(first)).chain(sums).collect();
    let rows = list.items.iter().map(|row| cells(subject(row), &row.sum));
    let total = cells(Cell::from("total").tone(Tone::Quiet), &list.total);
    let table = Table { columns, rows: rows.chain([total]).collect() };
    let mut text = table.lines(screen, &mut Vec::new(), true);
    if list.total.unknown_end_seconds > 0 {
        let most = duration(list.total.unknown_end_seconds);
        let _ = writeln!(text, "nobody saw when some machines ended: at most {most} more");
    }
    text
}

fn duration(seconds: u64) -> String {
    if seconds == 0 {
        return "0 s".to_owned();
    }
    words::precisely(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

fn subject(row: &UsageRow) -> Cell {
    let UsageRow { day, class, repo, workflow, sum: _ } = row;
    if let (Some(repo), Some(workflow)) = (repo, workflow) {
        return Cell::of_parts(repo.as_str(), workflow.as_str());
    }
    let name = [day, class, repo].into_iter().flatten().next();
    Cell::from(name.cloned().unwrap_or_default())
}

fn cells(subject: Cell, sum: &UsageSum) -> Vec<Cell> {
    let time = |seconds: u64| Cell::from(duration(seconds));
    vec![
        subject,
        Cell::from(sum.jobs.to_string()),
        time(sum.total_seconds),
        time(sum.boot_seconds),
        time(sum.idle_seconds),
        time(sum.busy_seconds),
        time(sum.lost_seconds),
        Cell::from(sum.cost()),
    ]
}
