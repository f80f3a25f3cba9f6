//! Text in lines of at most 80 columns.

use std::fmt::Write as _;

use tinqs_ci_reconciler::text::escape;
use unicode_width::UnicodeWidthStr as _;

/// The width of the text.
const COLUMNS: usize = 80;

/// Breaks external text into lines of at most [`COLUMNS`], each after the indentation. A longer word
/// has a line of its own.
pub(super) fn wrapped(page: &mut String, first: &str, indent: usize, text: &str) {
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in escape(text).split_whitespace() {
        if !is_empty && line.width() + 1 + word.width() > COLUMNS {
            let _ = writeln!(page, "{}", line.trim_end());
            line = " ".repeat(indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    let _ = writeln!(page, "{}", line.trim_end());
}
