//! Parses Go's regular expressions, as far as the server's pattern engines use them, into [`Hir`],
//! with Go's errors.
//!
//! Go's syntax differs from that of the `regex` crate: Go rejects a repetition of a repetition
//! (`a++`) and unknown escapes of letters, takes `[[a]` and `&&` in a class literally, and its `\d
//! \s \w` are ASCII. The reference is Go's package `regexp/syntax` with the flags of `Compile`.

use std::iter::Peekable;
use std::str::CharIndices;

use regex_syntax::hir::{
    Class, ClassBytes, ClassUnicode, ClassUnicodeRange, Hir, Look, Repetition,
};

use super::class;
use super::error::RegexpError;

/// Deepest nesting; Go's limit.
const DEEPEST: u32 = 1000;
/// Limit of the total size of classes, repetitions and alternatives: a wildcard counts 16, all
/// letters (`\pL`) some 2,600. It bounds the matching time, because everybody who may push can
/// write patterns.
const LARGEST: usize = 4_000;

/// The flags that a group can set.
#[derive(Clone, Copy, Default)]
struct Flags {
    /// Letters match in either case.
    fold: bool,
    /// `^` and `$` match at line ends.
    lines: bool,
    /// `.` matches a line feed.
    dot_all: bool,
}

/// A part with the height of its tree, which Go limits.
struct Part {
    hir: Hir,
    height: u32,
    /// If it is one character of a set that lacks only ASCII characters: the set as bytes.
    bytes: Option<ClassBytes>,
}

/// An open group: finished alternatives, the current one, the flags outside.
struct Group {
    done: Vec<Part>,
    items: Vec<Part>,
    /// Characters after the items, joined to one item: most of a pattern is such text.
    text: String,
    outside: Flags,
    captures: bool,
}

impl Group {
    fn new(outside: Flags, captures: bool) -> Self {
        let (done, items, text) = (Vec::new(), Vec::new(), String::new());
        Self { done, items, text, outside, captures }
    }

    fn push(&mut self, part: Part) {
        self.join();
        self.items.push(part);
    }

    /// Takes back the last item; of a text, its last character.
    fn pop(&mut self) -> Option<Part> {
        let Some(last) = self.text.pop() else { return self.items.pop() };
        self.join();
        Some(literal(last.into()))
    }

    fn join(&mut self) {
        if !self.text.is_empty() {
            self.items.push(literal(std::mem::take(&mut self.text)));
        }
    }

    /// Ends the current alternative.
    fn alternate(&mut self) {
        self.join();
        let items = std::mem::take(&mut self.items);
        let height = items.iter().map(|part| part.height).max().unwrap_or(1);
        let height = height + u32::from(items.len() > 1);
        self.done.push(Part { hir: Hir::concat(hirs(items)), height, bytes: None });
    }

    /// Returns the whole group as one part.
    fn finish(mut self) -> Part {
        self.alternate();
        let height = self.done.iter().map(|part| part.height).max().unwrap_or(1);
        let height = height + u32::from(self.done.len() > 1) + u32::from(self.captures);
        Part { hir: Hir::alternation(hirs(self.done)), height, bytes: None }
    }
}

/// A literal text.
fn literal(text: String) -> Part {
    Part { hir: Hir::literal(text.into_bytes()), height: 1, bytes: None }
}

fn hirs(parts: Vec<Part>) -> Vec<Hir> {
    parts.into_iter().map(|part| part.hir).collect()
}

/// Parses a text as Go's `regexp.Compile` does, with its errors.
pub(super) fn parse(text: &str) -> Result<Hir, RegexpError> {
    Parser {
        text,
        rest: text.char_indices().peekable(),
        flags: Flags::default(),
        open: vec![Group::new(Flags::default(), false)],
        size: 0,
        // `\B` holds between two bytes of one character, so only whole characters are matched then.
        whole_characters: text.contains("\\B"),
    }
    .parse()
}

struct Parser<'t> {
    text: &'t str,
    rest: Peekable<CharIndices<'t>>,
    flags: Flags,
    /// Never empty: the whole expression, then the open groups within it.
    open: Vec<Group>,
    /// The size so far.
    size: usize,
    whole_characters: bool,
}

impl Parser<'_> {
    fn parse(mut self) -> Result<Hir, RegexpError> {
        let mut repeated = false;
        while let Some((at, c)) = self.rest.next() {
            let after_repetition = std::mem::take(&mut repeated);
            match c {
                '(' => self.open_group(at)?,
                ')' => self.close_group()?,
                '|' => {
                    self.grow(4)?;
                    self.top().alternate();
                }
                // The engines write it only at the beginning, before any flag.
                '^' => self.look(Look::Start),
                '$' if self.flags.lines => self.look(Look::EndLF),
                '$' => self.look(Look::End),
                '.' if self.flags.dot_all => self.class(class::any())?,
                '.' => self.class(class::not('\n'))?,
                '[' => {
                    let set = class::bracketed(&mut self.rest, self.text, self.flags.fold)?;
                    self.class(set)?;
                }
                '*' | '+' | '?' => {
                    self.repeat(c, after_repetition)?;
                    repeated = true;
                }
                '\\' => self.escape()?,
                _ => self.literal(c)?,
            }
        }
        let whole = self.open.pop();
        match whole {
            Some(whole) if self.open.is_empty() => fits(whole.finish()).map(|part| part.hir),
            _ => Err(RegexpError::MissingParen),
        }
    }

    fn top(&mut self) -> &mut Group {
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    fn push(&mut self, hir: Hir) {
        self.top().push(Part { hir, height: 1, bytes: None });
    }

    fn look(&mut self, look: Look) {
        self.push(Hir::look(look));
    }

    fn class(&mut self, set: ClassUnicode) -> Result<(), RegexpError> {
        let bytes = class::as_bytes(&set);
        self.grow(if bytes.is_some() { 12 } else { 4 * set.ranges().len() })?;
        let hir = match &bytes {
            Some(bytes) => class::character_of(bytes),
            None => Hir::class(Class::Unicode(set)),
        };
        self.top().push(Part { hir, height: 1, bytes });
        Ok(())
    }

    fn grow(&mut self, by: usize) -> Result<(), RegexpError> {
        self.size += by;
        if self.size > LARGEST { Err(RegexpError::TooLarge) } else { Ok(()) }
    }

    fn literal(&mut self, c: char) -> Result<(), RegexpError> {
        if self.flags.fold {
            let mut set = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
            set.case_fold_simple();
            self.class(set)
        } else {
            self.top().text.push(c);
            Ok(())
        }
    }

    fn repeat(&mut self, operator: char, after_repetition: bool) -> Result<(), RegexpError> {
        // Only the existence of a match counts, so lazy forms equal greedy ones.
        self.rest.next_if(|&(_, c)| c == '?');
        if after_repetition {
            return Err(RegexpError::NestedRepeat);
        }
        let whole_characters = self.whole_characters;
        let part = self.top().pop().ok_or(RegexpError::RepeatOfNothing)?;
        self.grow(4)?;
        let (min, max) = match operator {
            '*' => (0, None),
            '+' => (1, None),
            _ => (0, Some(1)),
        };
        // Any run of characters except an ASCII one is any run of bytes except that one, and bytes
        // make the smaller automaton.
        let bytes = part.bytes.filter(|_| operator == '*' && !whole_characters);
        let sub = bytes.map_or(part.hir, |bytes| Hir::class(Class::Bytes(bytes)));
        let hir = Hir::repetition(Repetition { min, max, greedy: true, sub: Box::new(sub) });
        let part = fits(Part { hir, height: part.height + 1, bytes: None })?;
        self.top().push(part);
        Ok(())
    }

    fn open_group(&mut self, at: usize) -> Result<(), RegexpError> {
        if self.rest.next_if(|&(_, c)| c == '?').is_none() {
            self.open.push(Group::new(self.flags, true));
            return Ok(());
        }
        let behind = &self.text[at + 2..];
        if let Some(named) = behind.strip_prefix("P<").or_else(|| behind.strip_prefix('<')) {
            let name = named.split_once('>').ok_or(RegexpError::BadName)?.0;
            let word = name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
            if name.is_empty() || !word {
                return Err(RegexpError::BadName);
            }
            while self.rest.next_if(|&(_, c)| c != '>').is_some() {}
            self.rest.next();
            self.open.push(Group::new(self.flags, true));
            return Ok(());
        }
        self.set_flags()
    }

    /// Parses `(?flags)` or `(?flags:` after its first two characters.
    fn set_flags(&mut self) -> Result<(), RegexpError> {
        let (mut flags, mut value, mut seen) = (self.flags, true, false);
        for (_, c) in self.rest.by_ref() {
            match c {
                'i' => flags.fold = value,
                'm' => flags.lines = value,
                's' => flags.dot_all = value,
                'U' => {}
                '-' if value => {
                    (value, seen) = (false, false);
                    continue;
                }
                ':' | ')' if value || seen => {
                    if c == ':' {
                        self.open.push(Group::new(self.flags, false));
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => return Err(RegexpError::BadGroup),
            }
            seen = true;
        }
        Err(RegexpError::BadGroup)
    }

    fn close_group(&mut self) -> Result<(), RegexpError> {
        if self.open.len() < 2 {
            return Err(RegexpError::UnexpectedParen);
        }
        if let Some(group) = self.open.pop() {
            self.flags = group.outside;
            let part = fits(group.finish())?;
            self.top().push(part);
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), RegexpError> {
        let look = match self.rest.peek() {
            None => return Err(RegexpError::TrailingBackslash),
            Some((_, 'A')) => Look::Start,
            Some((_, 'z')) => Look::End,
            Some((_, 'b')) => Look::WordAscii,
            Some((_, 'B')) => Look::WordAsciiNegate,
            Some(&(at, 'Q')) => {
                return self.quoted(at + 1);
            }
            Some(_) => {
                if let Some(set) = class::escaped(&mut self.rest, self.text, self.flags.fold)? {
                    return self.class(set);
                }
                match class::character(&mut self.rest)? {
                    Some(c) => self.literal(c)?,
                    None => self.push(Hir::fail()),
                }
                return Ok(());
            }
        };
        self.rest.next();
        self.look(look);
        Ok(())
    }

    /// Everything up to `\E`, or to the end, is literal.
    fn quoted(&mut self, from: usize) -> Result<(), RegexpError> {
        let quoted = &self.text[from..];
        let (text, after) = match quoted.find("\\E") {
            Some(length) => (&quoted[..length], from + length + 2),
            None => (quoted, self.text.len()),
        };
        while self.rest.next_if(|&(at, _)| at < after).is_some() {}
        text.chars().try_for_each(|c| self.literal(c))
    }
}

fn fits(part: Part) -> Result<Part, RegexpError> {
    if part.height > DEEPEST { Err(RegexpError::TooDeep) } else { Ok(part) }
}

#[cfg(test)]
mod tests;
