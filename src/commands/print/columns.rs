//! Columns that stand below each other, as `comfy-table` lays them out: by what a terminal shows,
//! without borders, and without blanks at the end of a line.

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, Width};

use tinqs_ci_reconciler::text::cut;

/// Titles, rows, and what is wrong with a row, behind a `!`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Titles in capitals, without blanks.
    pub titles: Vec<&'static str>,
    /// Cells are text from outside: they are escaped and cut here.
    pub rows: Vec<Row>,
}

/// A row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// One for each title.
    pub cells: Vec<String>,
    /// Why it is not further on; empty where nothing is wrong.
    pub blocked: String,
}

/// No cell is wider, whatever is asked for.
const WIDEST: usize = 200;

impl Table {
    /// The table as text. `widths` may be those of an earlier rendering, so that rows printed later
    /// stand below it.
    pub fn lines(&self, widths: &mut Vec<u16>, with_titles: bool) -> String {
        let titles = self.titles.iter().map(|title| (*title).to_owned()).collect();
        let rows = self.rows.iter().map(|row| {
            let cells = row.cells.iter().map(|cell| cell_text(cell));
            cells.chain([blocked_text(&row.blocked)]).collect()
        });
        aligned(with_titles.then_some(titles).into_iter().chain(rows), 2, widths)
    }
}

fn cell_text(cell: &str) -> String {
    if cell.is_empty() { "-".to_owned() } else { cut(cell, WIDEST) }
}

fn blocked_text(blocked: &str) -> String {
    if blocked.is_empty() { String::new() } else { format!("! {}", cut(blocked, WIDEST)) }
}

/// The rows as lines, with `gap` blanks between columns. Columns are at least as wide as `widths`
/// says, which is told how wide they became. Cells hold no control characters.
pub(super) fn aligned(
    rows: impl IntoIterator<Item = Vec<String>>,
    gap: u16,
    widths: &mut Vec<u16>,
) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(NOTHING).add_rows(rows);
    let widest = table.column_max_content_widths();
    widths.resize(widest.len().max(widths.len()), 0);
    for ((column, width), widest) in table.column_iter_mut().zip(widths).zip(widest) {
        *width = widest.max(*width);
        let with_gap = Width::Fixed(width.saturating_add(gap));
        column.set_padding((0, gap)).set_constraint(ColumnConstraint::Absolute(with_gap));
    }
    let mut text = table.trim_fmt();
    if !text.is_empty() {
        text.push('\n');
    }
    text
}
