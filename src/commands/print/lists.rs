//! The table rows of `get`.

use jiff::Timestamp;
use serde::Serialize;
use tinqs_ci_reconciler::model::{BootStop, MachineState, MicroUsd, SpotBreaker};

use super::columns::{Cell, Column, Table, Tone};
use super::span;
use crate::api::{self, MachineActivity};
use crate::words::money;

pub use runs::Machines;
pub(super) use runs::{job, machine, status, waited};

mod runs;

/// The level of detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The columns that a person needs; a table fits 80 columns where its names allow that.
    Table,
    /// More columns, and internals such as rules.
    Wide,
}

/// An object that `get` lists.
pub trait Listed: Serialize + Sized {
    /// `run`, `machine`, `registration` or `class`.
    const KIND: &'static str;
    /// Returns the name, without the kind.
    fn name(&self) -> String;
    /// Returns the columns of its table.
    fn columns(detail: Detail) -> Vec<Column>;
    /// Returns the row of the object, one cell per column.
    fn row(&self, detail: Detail, machines: &Machines, now: Timestamp) -> Vec<Cell>;
    /// Returns the machines that these objects know, which the rows of others may name.
    fn machines(_: &[Self]) -> Machines {
        Machines::default()
    }
}

/// Returns the table of these objects.
pub fn table<T: Listed>(things: &[T], detail: Detail, now: Timestamp) -> Table {
    let machines = T::machines(things);
    let rows = things.iter().map(|thing| thing.row(detail, &machines, now)).collect();
    Table { columns: T::columns(detail), rows }
}

/// Returns a timestamp to the second.
fn to_the_second(at: Timestamp) -> Cell {
    Cell::from(format!("{at:.0}"))
}

fn state(state: MachineState) -> &'static str {
    match state {
        MachineState::Booting => "booting",
        MachineState::Up => "up",
        MachineState::Ending => "ending",
        MachineState::Gone => "gone",
    }
}

/// Returns what a machine does: `job acme/web build`, `idle`, `booting`.
pub(super) fn doing(machine: &api::MachineView) -> Cell {
    if let (MachineActivity::Job, Some(job)) = (machine.doing, &machine.job) {
        let cell = Cell::of_parts(format!("job {}", job.repo), job.name.as_str());
        return cell.tone(Tone::Active).link(&job.url);
    }
    match machine.doing {
        MachineActivity::Booting => Cell::from("booting"),
        MachineActivity::Idle => Cell::from("idle").tone(Tone::Waiting),
        MachineActivity::Job => Cell::from("job").tone(Tone::Active),
        MachineActivity::Up => Cell::from("up"),
        MachineActivity::Ending => Cell::from("ending").tone(Tone::Quiet),
        MachineActivity::Gone => Cell::from("gone").tone(Tone::Quiet),
    }
}

impl Listed for api::MachineView {
    const KIND: &'static str = "machine";

    fn name(&self) -> String {
        self.id.clone()
    }

    fn columns(detail: Detail) -> Vec<Column> {
        let mut columns = vec![
            Column::whole("NAME"),
            Column::shrinking("DOING"),
            Column::whole("RUN"),
            Column::whole("ENDS"),
            Column::whole("AGE"),
        ];
        if detail == Detail::Wide {
            let more = ["CLASS", "KIND", "MARKET", "STATE", "ZONE", "ATTEMPT", "DEADLINE", "COST"];
            columns.extend(more.map(Column::whole));
        }
        columns.push(Column::whole("REASON"));
        columns
    }

    fn row(&self, detail: Detail, _: &Machines, now: Timestamp) -> Vec<Cell> {
        let is_live = matches!(self.state, MachineState::Booting | MachineState::Up);
        let left = self.deadline.duration_since(now);
        let cost = self.cost_micro_usd.map(|cost| money::dollars(MicroUsd(cost)));
        let mut cells = vec![
            Cell::from(self.id.as_str()),
            doing(self),
            Cell::from(self.run.as_str()),
            Cell::from(if is_live { format!("in {}", span(left)) } else { String::new() }),
            Cell::from(super::age(self.launched_at, now)),
        ];
        if detail == Detail::Wide {
            cells.extend([
                Cell::from(self.class.as_str()),
                Cell::from(self.kind.as_str()),
                Cell::from(self.market.to_string()),
                Cell::from(state(self.state)),
                Cell::from(self.zone.as_str()),
                Cell::from(self.attempt_id.as_str()),
                to_the_second(self.deadline),
                Cell::from(cost.unwrap_or_else(|| money::UNKNOWN.to_owned())),
            ]);
        }
        let is_overdue = is_live && left.is_negative();
        cells.push(Cell::from(if is_overdue { "overdue" } else { "" }).tone(Tone::Bad));
        cells
    }
}

fn yes(yes: bool) -> Cell {
    Cell::from(if yes { "yes" } else { "no" })
}

impl Listed for api::Registration {
    const KIND: &'static str = "registration";

    fn name(&self) -> String {
        self.id.to_string()
    }

    fn columns(_: Detail) -> Vec<Column> {
        ["NAME", "RUN", "ATTEMPT", "ONLINE", "BUSY"].map(Column::whole).to_vec()
    }

    fn row(&self, _: Detail, _: &Machines, _: Timestamp) -> Vec<Cell> {
        vec![
            Cell::from(self.id.to_string()),
            Cell::from(self.run.as_str()),
            Cell::from(self.attempt_id.as_str()),
            yes(self.online),
            yes(self.busy),
        ]
    }
}

impl Listed for api::Class {
    const KIND: &'static str = "class";

    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns(detail: Detail) -> Vec<Column> {
        let mut columns = vec![Column::whole("NAME"), Column::shrinking("LABELS")];
        let counts =
            ["LIMIT", "PER-REPO", "PER-OWNER", "SEATS", "MACHINES", "OPEN", "WAITING", "REASON"];
        columns.extend(counts.map(Column::whole));
        if detail == Detail::Wide {
            columns.insert(2, Column::whole("REPOS"));
            columns.insert(6, Column::whole("BUDGET"));
        }
        columns
    }

    fn row(&self, detail: Detail, _: &Machines, _: Timestamp) -> Vec<Cell> {
        let boots = self.boot_stop.as_ref().filter(|_| detail == Detail::Wide);
        let limit = |limit: Option<u32>| limit.map(|limit| limit.to_string()).unwrap_or_default();
        let all = self.limit.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
        let mut reasons: Vec<String> = self.blocked_by.iter().map(ToString::to_string).collect();
        reasons.extend(boots.map(|BootStop { machines, until, .. }| {
            format!("{machines} machines never came online (next one {until:.0})")
        }));
        let breaker = self.spot_breaker.as_ref().filter(|_| detail == Detail::Wide);
        reasons.extend(breaker.map(|SpotBreaker { interruptions, until, .. }| {
            format!("on-demand first after {interruptions} interruptions (until {until:.0})")
        }));
        let mut cells = vec![
            Cell::from(self.name.as_str()),
            Cell::from(self.labels.join(",")),
            Cell::from(all),
            Cell::from(limit(self.repo_limit)),
            Cell::from(limit(self.owner_limit)),
            Cell::from(self.seats.to_string()),
            Cell::from(self.machines.to_string()),
            Cell::from(self.open_runs.to_string()),
            Cell::from(self.waiting_runs.to_string()),
            Cell::from(reasons.join(", ")).tone(Tone::Waiting),
        ];
        if detail == Detail::Wide {
            let repos = if self.repos.is_empty() { "*".to_owned() } else { self.repos.join(",") };
            cells.insert(2, Cell::from(repos));
            let budget = self.budget.map(|budget| budget.to_string()).unwrap_or_default();
            cells.insert(6, Cell::from(budget));
        }
        cells
    }
}
