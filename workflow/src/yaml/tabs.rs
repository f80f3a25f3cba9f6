//! Finds tabs that the forge's parser does not accept as white space.
//!
//! Outside of texts, `[]` and `{}`, it accepts no tab at the beginning of a line, nor after `-` or
//! `?`, not even before a comment or on an otherwise blank line.

/// Tabs that may be rejected, and the spans that decide it.
pub(super) struct Tabs<'t> {
    text: &'t str,
    /// The doubtful tabs, in order.
    doubtful: Vec<Tab>,
    /// Texts and flow collections: a tab may be inside.
    spans: Vec<Span>,
}

#[derive(Clone, Copy)]
struct Tab {
    at: usize,
    column: usize,
    line: usize,
}

struct Span {
    start: usize,
    end: usize,
    role: Role,
}

/// The treatment of tabs in a span.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Tabs may be inside.
    Flow,
    /// Tabs may also follow, from this column on: a plain text includes the white space after it.
    Plain(usize),
    /// Tabs may be inside from this column on: a block's content.
    Block(usize),
}

impl<'t> Tabs<'t> {
    /// Finds the doubtful tabs of a text; `None` if there are none.
    pub(super) fn of(text: &'t str) -> Option<Self> {
        if !text.contains('\t') {
            return None;
        }
        let mut at = 0;
        let mut found = Vec::new();
        for (index, line) in text.split_inclusive('\n').enumerate() {
            if let Some(column) = doubtful(line.as_bytes()) {
                found.push(Tab { at: at + column, column, line: index + 1 });
            }
            at += line.len();
        }
        (!found.is_empty()).then(|| Self { text, doubtful: found, spans: Vec::new() })
    }

    /// Returns the text with spaces in their place, byte for byte.
    pub(super) fn replaced(&self) -> String {
        let mut text = self.text.to_owned();
        for tab in &self.doubtful {
            let more = self.text[tab.at..].bytes().take_while(|byte| matches!(byte, b' ' | b'\t'));
            let end = tab.at + more.count();
            text.replace_range(tab.at..end, &" ".repeat(end - tab.at));
        }
        text
    }

    /// Adds a text or a flow collection.
    pub(super) fn note(&mut self, bytes: std::ops::Range<usize>, role: Role) {
        self.spans.push(Span { start: bytes.start, end: bytes.end, role });
    }

    /// Returns the line of the first rejected tab before `end`.
    pub(super) fn refused(mut self, end: usize) -> Option<usize> {
        self.spans.sort_by_key(|span| span.start);
        let mut next = 0;
        let mut last: Option<&Span> = None;
        let mut open = 0;
        for tab in self.doubtful.iter().take_while(|tab| tab.at < end) {
            while let Some(span) = self.spans.get(next).filter(|span| span.start <= tab.at) {
                open = open.max(span.end);
                last = Some(span);
                next += 1;
            }
            let taken = last.is_some_and(|span| match span.role {
                Role::Plain(from) => {
                    let between = self.text.get(span.end..tab.at).unwrap_or("#");
                    tab.column >= from && between.bytes().all(|byte| byte.is_ascii_whitespace())
                }
                Role::Block(_) | Role::Flow => false,
            });
            let early = last.is_some_and(|span| match span.role {
                Role::Block(from) => tab.column < from,
                Role::Plain(_) | Role::Flow => false,
            });
            if early || tab.at >= open && !taken {
                return Some(tab.line);
            }
        }
        None
    }
}

/// The column of a tab that is preceded only by spaces, or by `-` or `?` with white space after it.
fn doubtful(line: &[u8]) -> Option<usize> {
    let mut column = 0;
    loop {
        match line.get(column)? {
            b' ' => column += 1,
            b'\t' => return Some(column),
            b'-' | b'?' if matches!(line.get(column + 1), Some(b' ' | b'\t')) => column += 1,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_tabs_keeps_every_byte_position() {
        for text in ["a: {\n\tb: c}\n", "a: {\n\t\t\t\tb: c}\n", "a: [\n \t \tb,\n\t\tc]\n"] {
            let replaced = Tabs::of(text).expect("tabs that may be refused").replaced();
            assert_eq!(replaced, text.replace('\t', " "));
        }
    }
}
