//! Translates a pattern to the text of a regular expression, as each engine of the server does. The
//! result is text because both engines leave parts of a pattern to Go's regular expressions, on
//! purpose or not: `\d`, `[[:alpha:]]` and `{?i}` have their meaning there.

use super::PatternProblem;

/// Appends a character, escaped if a regular expression would interpret it.
fn quote(out: &mut String, c: char) {
    let special = matches!(
        c,
        '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$'
    );
    if special {
        out.push('\\');
    }
    out.push(c);
}

/// Act's `workflowpattern`, the engine up to 1.26; for a pattern without its leading `!`.
pub(super) fn act(pattern: &str) -> Result<String, PatternProblem> {
    let mut out = String::with_capacity(pattern.len() * 2 + 2);
    out.push('^');
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        let at = pattern.len() - rest.len();
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => {
                if let Some(after) = rest.strip_prefix("*/") {
                    out.push_str("(.+/)?");
                    rest = after;
                } else if let Some(after) = rest.strip_prefix('*') {
                    out.push_str(".*");
                    rest = after;
                } else {
                    out.push_str("[^/]*");
                }
            }
            '+' | '?' if at > 0 => out.push(c),
            '[' => rest = act_class(&mut out, rest)?,
            '\\' => {
                let escaped = rest.chars().next().ok_or(PatternProblem::NothingEscaped)?;
                quote(&mut out, escaped);
                rest = &rest[escaped.len_utf8()..];
            }
            _ => quote(&mut out, c),
        }
    }
    out.push('$');
    Ok(out)
}

/// A class of the older engine, after its `[`: letters, digits, the characters between `Z` and `a`,
/// and ranges within digits or within `A-z`. Returns the rest of the pattern.
fn act_class<'p>(out: &mut String, class: &'p str) -> Result<&'p str, PatternProblem> {
    let bytes = class.as_bytes();
    let spans = |byte: u8| (byte.is_ascii_digit(), (b'A'..=b'z').contains(&byte));
    if bytes.first() == Some(&b']') {
        return Err(PatternProblem::EmptyClass);
    }
    out.push('[');
    let mut at = 0;
    loop {
        match *bytes.get(at).ok_or(PatternProblem::UnclosedClass)? {
            b']' => {
                out.push(']');
                return Ok(&class[at + 1..]);
            }
            b'-' => {
                let before = at.checked_sub(1).map(|before| bytes[before]);
                let (Some(from), Some(&to)) = (before, bytes.get(at + 1)) else {
                    return Err(PatternProblem::BadRange);
                };
                let (from_spans, to_spans) = (spans(from), spans(to));
                let shared = from_spans.0 && to_spans.0 || from_spans.1 && to_spans.1;
                if !shared || from > to {
                    return Err(PatternProblem::BadRange);
                }
                // The end is not escaped, as in act: `[A-\]` stays unclosed.
                out.push('-');
                out.push(to.into());
                at += 2;
            }
            byte if spans(byte) == (false, false) => return Err(PatternProblem::BadMember),
            byte => {
                quote(out, byte.into());
                at += 1;
            }
        }
    }
}

/// The two uses of the engine of 1.27 (`modules/glob`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Filters of a workflow: `?` and `+` repeat, `**/` includes its slash.
    Filter,
    /// Activity types: `?` is one character, `+` is literal.
    Types,
}

/// The engine of 1.27; `negated`: a filter's leading `!` was removed.
pub(super) fn glob(pattern: &str, negated: bool, used: Use) -> Result<String, PatternProblem> {
    let mut out = String::with_capacity(pattern.len() * 2 + 2);
    out.push('^');
    let filter = used == Use::Filter;
    let mut depth = 0_u32;
    let mut before = negated.then_some('!');
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let mut last = c;
        match c {
            '}' if depth > 0 => {
                out.push(')');
                depth -= 1;
            }
            ',' if depth > 0 => out.push('|'),
            '*' if rest.as_str().starts_with('*') => {
                rest.next();
                // Only at the start of the whole pattern, or after a slash.
                let swallows =
                    filter && rest.as_str().starts_with('/') && matches!(before, None | Some('/'));
                if swallows {
                    rest.next();
                    last = '/';
                }
                out.push_str(".*");
            }
            '*' => out.push_str("[^/]*"),
            '?' if !filter => out.push_str("[^/]"),
            '+' if !filter => out.push_str("\\+"),
            '[' => last = glob_class(&mut out, &mut rest)?,
            '{' => {
                out.push('(');
                depth += 1;
            }
            '\\' => {
                let escaped = rest.next().ok_or(PatternProblem::NothingEscaped)?;
                out.push('\\');
                out.push(escaped);
                last = escaped;
            }
            '.' | '^' | '$' | '(' | ')' | '|' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
        before = Some(last);
    }
    out.push('$');
    Ok(out)
}

/// A class of the newer engine, after its `[`: copied, except for a leading `!`. Returns its last
/// character.
fn glob_class(out: &mut String, rest: &mut std::str::Chars<'_>) -> Result<char, PatternProblem> {
    out.push('[');
    if rest.as_str().starts_with('!') {
        rest.next();
        out.push('^');
    }
    loop {
        let c = rest.next().ok_or(PatternProblem::UnclosedClass)?;
        out.push(c);
        match c {
            ']' => return Ok(c),
            '\\' => out.push(rest.next().ok_or(PatternProblem::UnclosedClass)?),
            _ => {}
        }
    }
}
