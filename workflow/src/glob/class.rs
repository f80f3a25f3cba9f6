//! Character sets in Go's regular expressions: `[…]`, `\d`, `\pL`, `[:alpha:]`, and escapes of
//! single characters.

use std::iter::Peekable;
use std::str::CharIndices;

use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind,
};

use super::error::RegexpError;

type Rest<'t> = Peekable<CharIndices<'t>>;

/// Every character.
pub(super) fn any() -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new('\0', char::MAX)])
}

/// Every character except one.
pub(super) fn not(c: char) -> ClassUnicode {
    let mut set = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
    set.negate();
    set
}

/// Converts a set that lacks only ASCII characters to bytes: other characters consist of non-ASCII
/// bytes.
pub(super) fn as_bytes(set: &ClassUnicode) -> Option<ClassBytes> {
    let mut others = set.clone();
    others.negate();
    let mut bytes = ClassBytes::empty();
    for range in others.ranges() {
        let (from, to) = (u8::try_from(range.start()).ok()?, u8::try_from(range.end()).ok()?);
        if !to.is_ascii() {
            return None;
        }
        bytes.push(ClassBytesRange::new(from, to));
    }
    bytes.negate();
    Some(bytes)
}

/// Matches one character of such a set. Inputs are UTF-8, so the first byte gives the length; the
/// general way would also validate, a hundred times slower.
pub(super) fn character_of(bytes: &ClassBytes) -> Hir {
    let range =
        |from, to| Hir::class(Class::Bytes(ClassBytes::new([ClassBytesRange::new(from, to)])));
    let mut ascii = bytes.clone();
    ascii.intersect(&ClassBytes::new([ClassBytesRange::new(0, 0x7f)]));
    let more = |from, to, count| {
        let rest = std::iter::repeat_with(|| range(0x80, 0xbf)).take(count);
        Hir::concat(std::iter::once(range(from, to)).chain(rest).collect())
    };
    Hir::alternation(vec![
        Hir::class(Class::Bytes(ascii)),
        more(0xc2, 0xdf, 1),
        more(0xe0, 0xef, 2),
        more(0xf0, 0xf4, 3),
    ])
}

/// A range of code points, without surrogates, which no text holds.
fn range(from: u32, to: u32) -> Option<ClassUnicodeRange> {
    let first = char::from_u32(from).unwrap_or('\u{e000}');
    let last = char::from_u32(to).unwrap_or('\u{d7ff}');
    (first <= last).then(|| ClassUnicodeRange::new(first, last))
}

/// A set of ASCII ranges; case-folded before it is negated.
fn ascii(ranges: &[(u8, u8)], fold: bool, negated: bool) -> ClassUnicode {
    let ranges = ranges.iter().map(|&(a, b)| ClassUnicodeRange::new(a.into(), b.into()));
    adjusted(ClassUnicode::new(ranges), fold, negated)
}

fn adjusted(mut set: ClassUnicode, fold: bool, negated: bool) -> ClassUnicode {
    if fold {
        set.case_fold_simple();
    }
    if negated {
        set.negate();
    }
    set
}

/// Parses a bracket expression after its `[`.
pub(super) fn bracketed(
    rest: &mut Rest<'_>,
    text: &str,
    fold: bool,
) -> Result<ClassUnicode, RegexpError> {
    let negated = rest.next_if(|&(_, c)| c == '^').is_some();
    let mut ranges = Vec::new();
    let mut first = true;
    loop {
        let &(at, c) = rest.peek().ok_or(RegexpError::MissingBracket)?;
        if c == ']' && !first {
            rest.next();
            break;
        }
        first = false;
        if c == '[' {
            if let Some((set, length)) = posix(&text[at..], fold)? {
                ranges.extend_from_slice(set.ranges());
                while rest.next_if(|&(next, _)| next < at + length).is_some() {}
                continue;
            }
        } else if c == '\\' {
            // `escaped` starts after the backslash; for a single character the clone is discarded.
            let mut ahead = rest.clone();
            ahead.next();
            if let Some(set) = escaped(&mut ahead, text, fold)? {
                ranges.extend_from_slice(set.ranges());
                *rest = ahead;
                continue;
            }
        }
        let from = member(rest)?;
        let to = if is_range(rest) {
            rest.next();
            member(rest)?
        } else {
            from
        };
        if to < from {
            return Err(RegexpError::BadRange);
        }
        let single = adjusted(ClassUnicode::new(range(from, to)), fold, false);
        ranges.extend_from_slice(single.ranges());
    }
    Ok(adjusted(ClassUnicode::new(ranges), false, negated))
}

/// Whether a `-` follows that is not the last in its class.
fn is_range(rest: &Rest<'_>) -> bool {
    let mut ahead = rest.clone();
    ahead.next().is_some_and(|(_, c)| c == '-') && ahead.next().is_some_and(|(_, c)| c != ']')
}

/// One character of a class.
fn member(rest: &mut Rest<'_>) -> Result<u32, RegexpError> {
    match rest.next() {
        None => Err(RegexpError::MissingBracket),
        Some((_, '\\')) => code_point(rest),
        Some((_, c)) => Ok(c.into()),
    }
}

/// Parses `[:name:]` at the beginning of a text; returns its length in bytes too.
fn posix(text: &str, fold: bool) -> Result<Option<(ClassUnicode, usize)>, RegexpError> {
    let Some(named) = text.strip_prefix("[:") else { return Ok(None) };
    let Some(length) = named.find(":]") else { return Ok(None) };
    let name = &named[..length];
    let (name, negated) = name.strip_prefix('^').map_or((name, false), |name| (name, true));
    let ranges: &[(u8, u8)] = match name {
        "alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
        "alpha" => &[(b'A', b'Z'), (b'a', b'z')],
        "ascii" => &[(0, 0x7f)],
        "blank" => &[(b'\t', b'\t'), (b' ', b' ')],
        "cntrl" => &[(0, 0x1f), (0x7f, 0x7f)],
        "digit" => &[(b'0', b'9')],
        "graph" => &[(b'!', b'~')],
        "lower" => &[(b'a', b'z')],
        "print" => &[(b' ', b'~')],
        "punct" => &[(b'!', b'/'), (b':', b'@'), (b'[', b'`'), (b'{', b'~')],
        "space" => &[(b'\t', b'\r'), (b' ', b' ')],
        "upper" => &[(b'A', b'Z')],
        "word" => &[(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')],
        "xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
        _ => return Err(RegexpError::BadRange),
    };
    Ok(Some((ascii(ranges, fold, negated), length + 4)))
}

/// Parses a set after its backslash: `\d`, `\pL`, `\p{Greek}`. Consumes nothing if there is none.
pub(super) fn escaped(
    rest: &mut Rest<'_>,
    text: &str,
    fold: bool,
) -> Result<Option<ClassUnicode>, RegexpError> {
    let Some(&(at, c)) = rest.peek() else { return Ok(None) };
    let ranges: &[(u8, u8)] = match c {
        'd' | 'D' => &[(b'0', b'9')],
        's' | 'S' => &[(b'\t', b'\n'), (b'\x0c', b'\r'), (b' ', b' ')],
        'w' | 'W' => &[(b'0', b'9'), (b'A', b'Z'), (b'_', b'_'), (b'a', b'z')],
        'p' | 'P' => {
            let (name, after) = property(text, at + 1)?;
            while rest.next_if(|&(next, _)| next < after).is_some() {}
            return unicode(name, c == 'P', fold).map(Some);
        }
        _ => return Ok(None),
    };
    rest.next();
    Ok(Some(ascii(ranges, fold, c.is_ascii_uppercase())))
}

/// Returns the name of a class after `\p`, and its end: one character, or the content of braces.
fn property(text: &str, at: usize) -> Result<(&str, usize), RegexpError> {
    let behind = &text[at..];
    match behind.chars().next() {
        None => Err(RegexpError::BadRange),
        Some('{') => {
            let end = behind.find('}').ok_or(RegexpError::BadRange)?;
            Ok((&behind[1..end], at + end + 1))
        }
        Some(c) => Ok((&behind[..c.len_utf8()], at + c.len_utf8())),
    }
}

/// A Unicode general category or script.
fn unicode(name: &str, negated: bool, fold: bool) -> Result<ClassUnicode, RegexpError> {
    let (name, negated) = name.strip_prefix('^').map_or((name, negated), |name| (name, !negated));
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || " _-".contains(c)) {
        return Err(RegexpError::BadRange);
    }
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    let letters = letters.map(|c| c.to_ascii_lowercase()).collect::<String>();
    if matches!(letters.as_str(), "cs" | "surrogate") {
        return Ok(adjusted(ClassUnicode::empty(), fold, negated));
    }
    let read = |kind: &str| regex_syntax::parse(&format!("\\p{{{kind}={name}}}")).ok();
    let hir = read("gc").or_else(|| read("sc")).ok_or(RegexpError::BadRange)?;
    let set = match hir.into_kind() {
        HirKind::Class(Class::Unicode(set)) => set,
        // A class of one character is parsed as that character; an empty one matches nothing.
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).unwrap_or_default();
            ClassUnicode::new(text.chars().map(|c| ClassUnicodeRange::new(c, c)))
        }
        _ => ClassUnicode::empty(),
    };
    Ok(adjusted(set, fold, negated))
}

/// Parses one escaped character after its backslash; `None` for a code point that no text holds.
pub(super) fn character(rest: &mut Rest<'_>) -> Result<Option<char>, RegexpError> {
    code_point(rest).map(char::from_u32)
}

fn code_point(rest: &mut Rest<'_>) -> Result<u32, RegexpError> {
    let (_, c) = rest.next().ok_or(RegexpError::TrailingBackslash)?;
    let octal = |rest: &mut Rest<'_>| {
        rest.next_if(|&(_, c)| c.is_digit(8)).and_then(|(_, c)| c.to_digit(8))
    };
    match c {
        '0'..='7' => {
            let mut value = c.to_digit(8).unwrap_or(0);
            let second = octal(rest);
            if c != '0' && second.is_none() {
                // A backreference, which Go does not support.
                return Err(RegexpError::BadEscape);
            }
            if let Some(digit) = second {
                value = value * 8 + digit;
                if let Some(digit) = octal(rest) {
                    value = value * 8 + digit;
                }
            }
            Ok(value)
        }
        'x' => hexadecimal(rest).ok_or(RegexpError::BadEscape),
        'a' => Ok(0x07),
        'f' => Ok(0x0c),
        'n' => Ok(0x0a),
        'r' => Ok(0x0d),
        't' => Ok(0x09),
        'v' => Ok(0x0b),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c.into()),
        _ => Err(RegexpError::BadEscape),
    }
}

fn hexadecimal(rest: &mut Rest<'_>) -> Option<u32> {
    let (_, first) = rest.next()?;
    if first != '{' {
        let (_, second) = rest.next()?;
        return Some(first.to_digit(16)? * 16 + second.to_digit(16)?);
    }
    let mut value = None;
    loop {
        match rest.next()? {
            (_, '}') => return value,
            (_, c) => {
                let next = value.unwrap_or(0) * 16 + c.to_digit(16)?;
                if next > u32::from(char::MAX) {
                    return None;
                }
                value = Some(next);
            }
        }
    }
}
