//! Tabs that the forge's parser does not take for white space.
//!
//! Outside of texts and of `[]` and `{}` it takes a tab for none at the beginning of a line, and
//! none behind `-` or `?`, not even before a comment or on a line that is blank otherwise.

/// Where tabs stand that may be refused, and what tells whether they are.
pub(super) struct Tabs<'t> {
    text: &'t str,
    /// Where they stand, in order.
    doubtful: Vec<Tab>,
    /// Texts and flow collections: a tab may stand in them.
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

/// What a span is to tabs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// They may stand in it.
    Flow,
    /// And behind it, from this column on: a plain text takes in the white space that follows.
    Plain(usize),
    /// In it from this column on: a block's content.
    Block(usize),
}

impl<'t> Tabs<'t> {
    /// The tabs of a text; `None` where there is none to look at.
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

    /// The text with spaces in their place, byte for byte.
    pub(super) fn replaced(&self) -> String {
        let mut text = self.text.to_owned();
        for tab in &self.doubtful {
            let more = self.text[tab.at..].bytes().take_while(|byte| matches!(byte, b' ' | b'\t'));
            let end = tab.at + more.count();
            text.replace_range(tab.at..end, &" ".repeat(end - tab.at));
        }
        text
    }

    /// Notes a text or a flow collection by its bytes.
    pub(super) fn note(&mut self, bytes: std::ops::Range<usize>, role: Role) {
        self.spans.push(Span { start: bytes.start, end: bytes.end, role });
    }

    /// The line of the first tab before `end` that is refused.
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

/// The column of a tab that only spaces, or `-` and `?` with white space behind, stand before.
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
    fn what_is_replaced_leaves_every_byte_in_its_place() {
        for text in ["a: {\n\tb: c}\n", "a: {\n\t\t\t\tb: c}\n", "a: [\n \t \tb,\n\t\tc]\n"] {
            let replaced = Tabs::of(text).expect("tabs that may be refused").replaced();
            assert_eq!(replaced, text.replace('\t', " "));
        }
    }
}
