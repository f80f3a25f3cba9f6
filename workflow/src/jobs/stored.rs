//! Texts as they change when the server stores each job as a separate document.
//!
//! The server writes a text of several lines as a literal block. A block that begins with a space
//! or an empty line needs an indentation indicator, and below a list servers up to 1.27.0 write
//! four although they indent by two. Then the rest of the text does not belong to the block. 1.25
//! reads the job back before it creates the workflow run, 1.26 when a runner takes the job.

use crate::Dialect;
use crate::shape;
use crate::yaml::Node;

use super::{JobsError, JobsProblem};

/// The line breaks of the encoder; texts with other ones are quoted.
const BREAKS: [char; 3] = ['\n', '\u{2028}', '\u{2029}'];

/// Whether a stored job can be read back when a runner takes it.
///
/// # Errors
/// [`JobsError`] if the server notices at once that it cannot, and creates no workflow run.
pub(super) fn can_be_read(job: &Node, dialect: Dialect) -> Result<bool, JobsError> {
    let (mut tab, mut lost) = (None, None);
    shape::each_text(job, &mut |node, below_a_list| {
        let text = node.as_str().unwrap_or_default();
        if begins_with_tab(text, dialect) {
            tab = tab.or(Some(node));
        }
        if below_a_list && loses_its_end(text, dialect) {
            lost = lost.or(Some(node));
        }
    });
    let refused = tab.or(lost.filter(|_| dialect == Dialect::V1_25));
    if let Some(node) = refused {
        let begin = if tab.is_some() { "a tab" } else { "a space or an empty line" };
        return Err(JobsProblem::Stored(begin).at(node));
    }
    Ok(lost.is_none() || dialect == Dialect::V1_27)
}

/// The labels as stored; none if the server cannot read them back.
pub(super) fn labels(labels: Vec<String>, dialect: Dialect) -> Vec<String> {
    let unreadable =
        |label: &String| begins_with_tab(label, dialect) || loses_its_end(label, dialect);
    match &labels[..] {
        [one] if begins_with_tab(one, dialect) => Vec::new(),
        // Encoded alone, and then with its job.
        [one] => vec![text(text(one, dialect), dialect).to_owned()],
        all if all.iter().any(unreadable) => Vec::new(),
        _ => labels,
    }
}

/// A text as stored outside of a list: 1.25 takes a leading empty line for the end of the line
/// above.
pub(super) fn text(text: &str, dialect: Dialect) -> &str {
    match text.strip_prefix('\n') {
        Some(rest) if dialect == Dialect::V1_25 && is_block(text, dialect) => rest,
        _ => text,
    }
}

/// Whether the encoder writes a text as a literal block. From 1.26 on it quotes a text of blanks
/// only.
fn is_block(text: &str, dialect: Dialect) -> bool {
    let printable = |c: char| {
        matches!(c, '\t' | '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
            && c != '\u{feff}'
    };
    let space_before_break = || text.split(BREAKS).rev().skip(1).any(|line| line.ends_with(' '));
    text.contains('\n')
        && !text.ends_with(' ')
        && text.chars().all(printable)
        && !space_before_break()
        && (dialect == Dialect::V1_25 || text.contains(|c| !matches!(c, ' ' | '\t' | '\n')))
}

/// Whether the block begins with a tab: no server can read it back, because it looks for the
/// indentation there.
fn begins_with_tab(text: &str, dialect: Dialect) -> bool {
    text.starts_with('\t') && is_block(text, dialect)
}

/// Whether a block that is indented by two columns too few has lines that do not belong to it and
/// are no comments.
fn loses_its_end(text: &str, dialect: Dialect) -> bool {
    let lines = text.split(BREAKS).filter(|line| !line.is_empty());
    let mut after = lines.skip_while(|line| line.starts_with("  "));
    (text.starts_with(' ') || text.starts_with(BREAKS))
        && is_block(text, dialect)
        && after.any(|line| !line.trim_start_matches(' ').starts_with('#'))
}
