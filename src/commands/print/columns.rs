//! Columns aligned by display width, without borders and trailing spaces.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr as _;

use super::link;
use super::matrix::cut_name;
use tinqs_ci_reconciler::text::{cut, cut_middle, escape};

/// The space between two columns.
const GAP: usize = 2;
/// The maximum width of a cell where the width of the output is unknown.
const WIDEST: usize = 1_000;
/// The width to which a cell may be cut, at least.
const NARROWEST: usize = 12;
/// The columns of a cell's first part that stay while its second part is cut.
const HEAD: usize = 10;
/// A first part that would be shorter is left out.
const SHORTEST_HEAD: usize = 4;

/// The capabilities of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// The width in columns; `None`: lines may be of any length, and nothing is cut.
    pub width: Option<usize>,
    /// Whether it shows colors.
    pub color: bool,
    /// Whether it shows links (OSC 8).
    pub links: bool,
}

/// The meaning of a cell's color.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// No color.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Something failed.
    Bad,
    /// Something is in progress.
    Active,
    /// Something waits, and says why.
    Waiting,
    /// Of little interest.
    Quiet,
}

impl Tone {
    fn style(self) -> Style {
        let color = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
        match self {
            Self::Plain => Style::new(),
            Self::Good => color(AnsiColor::Green),
            Self::Bad => color(AnsiColor::Red),
            Self::Active => color(AnsiColor::Cyan),
            Self::Waiting => color(AnsiColor::Yellow),
            Self::Quiet => Style::new().dimmed(),
        }
    }
}

/// A cell. Its text may come from outside: it is escaped when printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The part before the text, such as a repository; cut first.
    head: String,
    text: String,
    tone: Tone,
    /// The address that the cell links to; empty for none.
    link: String,
    /// Whether it is a sentence, which is cut at its end.
    is_sentence: bool,
}

impl Cell {
    /// Creates a cell of two parts, such as `acme/web` and `build`.
    pub fn of_parts(head: impl Into<String>, text: impl Into<String>) -> Self {
        Self { head: head.into(), text: text.into(), ..Self::default() }
    }

    /// Colors the cell.
    pub fn tone(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// Creates a cell of a sentence, which is cut at its end instead of its middle.
    pub fn of_sentence(text: impl Into<String>) -> Self {
        Self { is_sentence: true, ..Self::of_parts("", text) }
    }

    /// Links the cell to an address.
    pub fn link(self, address: &str) -> Self {
        Self { link: address.to_owned(), ..self }
    }

    /// Returns the whole cell as plain text.
    pub(super) fn plain(&self) -> String {
        self.fitted(WIDEST)
    }

    fn is_empty(&self) -> bool {
        self.head.is_empty() && self.text.is_empty()
    }

    /// Returns the text of the cell on one line, in at most `width` columns.
    fn fitted(&self, width: usize) -> String {
        if self.head.is_empty() {
            let cut = if self.is_sentence { cut } else { cut_middle };
            return cut(&self.text, width);
        }
        let text = cut_name(&self.text, WIDEST).width();
        let whole = cut_middle(&self.head, WIDEST).width() + 1 + text;
        if whole <= width {
            return format!("{} {}", escape(&self.head), escape(&self.text));
        }
        // The second part tells rows apart, so the first is cut before it.
        let least = if width < 2 * HEAD { 0 } else { HEAD };
        let head = width.saturating_sub(text + 1).max(least);
        if head < SHORTEST_HEAD {
            return cut_name(&self.text, width);
        }
        let head = cut_middle(&self.head, head);
        let text = cut_name(&self.text, width.saturating_sub(head.width() + 1));
        format!("{head} {text}")
    }

    /// Returns the cell in at most `width` columns with color and link, and the columns it takes.
    fn shown(&self, width: usize, screen: Screen) -> (String, usize) {
        let text = if self.is_empty() { "-".to_owned() } else { self.fitted(width) };
        let columns = text.width();
        let text = match link::safe(&self.link) {
            Some(address) if screen.links => link::linked(&address, &text),
            Some(_) | None => text,
        };
        if !screen.color || self.tone == Tone::Plain {
            return (text, columns);
        }
        let style = self.tone.style();
        (format!("{style}{text}{style:#}"), columns)
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::of_parts("", text)
    }
}

/// A column of a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The title, in capitals, without spaces.
    pub title: &'static str,
    /// Whether its cells may be cut to make the table fit.
    pub may_shrink: bool,
}

impl Column {
    /// Creates a column that is never cut.
    pub const fn whole(title: &'static str) -> Self {
        Self { title, may_shrink: false }
    }

    /// Creates a column that is cut if the table is too wide.
    pub const fn shrinking(title: &'static str) -> Self {
        Self { title, may_shrink: true }
    }
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, with one cell per column. The last cell of a row may be empty; other empty cells
    /// show `-`.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Returns the table as text that fits the screen, if its columns allow that. `widths` may come
    /// from an earlier call, to align rows printed later with it.
    pub fn lines(&self, screen: Screen, widths: &mut Vec<usize>, with_titles: bool) -> String {
        widths.resize(self.columns.len(), 0);
        for (number, (column, width)) in self.columns.iter().zip(widths.iter_mut()).enumerate() {
            let cells = self.rows.iter().filter_map(|row| row.get(number));
            let widest = cells.map(|cell| cell.shown(WIDEST, Screen::default()).1).max();
            *width = column.title.width().max(widest.unwrap_or(0)).max(*width);
        }
        if let Some(most) = screen.width {
            self.shrink(widths, most);
        }
        let mut text = String::new();
        if with_titles {
            let titles = self.columns.iter().map(|column| Cell::from(column.title));
            line(&mut text, &titles.collect::<Vec<_>>(), widths, Screen::default());
        }
        for row in &self.rows {
            line(&mut text, row, widths, screen);
        }
        text
    }

    /// Takes columns from the widest column that may shrink, until the table fits.
    fn shrink(&self, widths: &mut [usize], most: usize) {
        let gaps = GAP * self.columns.len().saturating_sub(1);
        let mut excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(most);
        while excess > 0 {
            let shrinking = self.columns.iter().zip(widths.iter_mut());
            let widest = shrinking
                .filter(|(column, width)| column.may_shrink && **width > NARROWEST)
                .map(|(_, width)| width)
                .max();
            let Some(widest) = widest else { break };
            *widest -= 1;
            excess -= 1;
        }
    }
}

/// Appends a line. The last cell is not padded, and left out if it is empty.
fn line(text: &mut String, cells: &[Cell], widths: &[usize], screen: Screen) {
    let cells = match cells {
        [first @ .., last] if last.is_empty() => first,
        all => all,
    };
    let mut padding = 0;
    for (cell, width) in cells.iter().zip(widths) {
        let (shown, columns) = cell.shown(*width, screen);
        let _ = write!(text, "{:padding$}{shown}", "");
        padding = width.saturating_sub(columns) + GAP;
    }
    text.push('\n');
}

/// Returns the rows as lines, with `gap` spaces between columns that are at least as wide as
/// `widths`.
pub(super) fn aligned(rows: &[Vec<String>], gap: usize, widths: &[usize]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| cut(cell, WIDEST)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widest = cells.map(|cell| cell.width()).max().unwrap_or(0);
        widest.max(widths.get(column).copied().unwrap_or(0))
    };
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let padding = (width(column) + gap).saturating_sub(cell.width());
            let _ = write!(line, "{cell}{:padding$}", "");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
