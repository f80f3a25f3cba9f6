//! Padded columns, two blanks between them, none at the end of a line.

use std::fmt::Write as _;

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
    pub fn lines(&self, widths: &mut Vec<usize>, with_titles: bool) -> String {
        let rows: Vec<(Vec<String>, String)> = self
            .rows
            .iter()
            .map(|row| {
                (row.cells.iter().map(|cell| cell_text(cell)).collect(), cell_text_or(&row.blocked))
            })
            .collect();
        widths.resize(self.titles.len(), 0);
        for (index, width) in widths.iter_mut().enumerate() {
            let cells = rows.iter().filter_map(|(cells, _)| cells.get(index));
            let widest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            *width = (*width).max(widest).max(self.titles[index].len());
        }
        let mut text = String::new();
        if with_titles {
            let titles: Vec<String> = self.titles.iter().map(|t| (*t).to_owned()).collect();
            line(&mut text, &titles, "", widths);
        }
        for (cells, blocked) in &rows {
            line(&mut text, cells, blocked, widths);
        }
        text
    }
}

fn cell_text(cell: &str) -> String {
    if cell.is_empty() { "-".to_owned() } else { cut(cell, WIDEST) }
}

fn cell_text_or(blocked: &str) -> String {
    if blocked.is_empty() { String::new() } else { format!("! {}", cut(blocked, WIDEST)) }
}

fn line(text: &mut String, cells: &[String], blocked: &str, widths: &[usize]) {
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        let _ = write!(line, "{cell:width$}  ");
    }
    line.push_str(blocked);
    text.push_str(line.trim_end());
    text.push('\n');
}
