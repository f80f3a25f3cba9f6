//! Columns aligned by display width with `comfy-table`, without borders and trailing spaces.

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, Width};

use tinqs_ci_reconciler::text::cut;

/// A table. A row's problem follows its cells after a `!`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The titles, in capitals, without spaces.
    pub titles: Vec<&'static str>,
    /// The rows. Cells may contain external text: they are escaped and cut when printed.
    pub rows: Vec<Row>,
}

/// A row of a [`Table`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// One cell per title.
    pub cells: Vec<String>,
    /// The reason why the object makes no progress; empty if it does.
    pub blocked: String,
}

/// The maximum width of a cell.
const WIDEST: usize = 200;

impl Table {
    /// Returns the table as text. `widths` may come from an earlier call, to align rows printed
    /// later with it.
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

/// Returns the rows as lines, with `gap` spaces between columns. Columns are at least as wide as
/// `widths`, which is updated. Cells must contain no control characters.
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
