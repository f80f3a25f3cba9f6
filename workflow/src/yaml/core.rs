//! Resolves scalars as the forge's parser does (YAML 1.2 with parts of 1.1).

/// The type of a scalar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Core {
    /// `~`, `null`, or nothing.
    Null,
    /// `true`, `false`; not `yes`, `on`.
    Bool(bool),
    /// An integer in 64 bits, signed or unsigned.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// A date, or a date with a time.
    Timestamp,
    /// The merge key `<<`.
    Merge,
    /// A text.
    Str,
}

/// Resolves a scalar; `None` if its tag does not fit.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Option<Core> {
    match tag {
        None if plain => Some(implicit(text)),
        Some("!!merge") if text == "<<" => Some(Core::Merge),
        // `!!float` accepts an integer.
        Some("!!float") => match implicit(text) {
            #[expect(clippy::cast_precision_loss, reason = "so does the forge's parser")]
            Core::Int(value) => Some(Core::Float(value as f64)),
            float @ Core::Float(_) => Some(float),
            _ => None,
        },
        Some("!!int") => Some(implicit(text)).filter(|core| matches!(core, Core::Int(_))),
        Some("!!bool") => Some(implicit(text)).filter(|core| matches!(core, Core::Bool(_))),
        Some("!!null") => Some(implicit(text)).filter(|core| *core == Core::Null),
        Some("!!timestamp") => Some(implicit(text)).filter(|core| *core == Core::Timestamp),
        // Quoted, `!!str`, or a tag that the parser does not know.
        _ => Some(Core::Str),
    }
}

fn implicit(text: &str) -> Core {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Core::Null,
        "true" | "True" | "TRUE" => return Core::Bool(true),
        "false" | "False" | "FALSE" => return Core::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Core::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Core::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Core::Float(f64::NEG_INFINITY),
        "<<" => return Core::Merge,
        _ => {}
    }
    match text.as_bytes()[0] {
        b'.' => float(text).map_or(Core::Str, Core::Float),
        b'0'..=b'9' | b'+' | b'-' => {
            if timestamp(text) {
                return Core::Timestamp;
            }
            let digits = text.replace('_', "");
            integer(&digits)
                .map(Core::Int)
                .or_else(|| float(&digits).map(Core::Float))
                .unwrap_or(Core::Str)
        }
        _ => Core::Str,
    }
}

/// An integer in Go's notations, without `_`: decimal, `0x`, `0b`, `0o`, and octal with a leading
/// `0`.
fn integer(text: &str) -> Option<i128> {
    let (negative, signed, rest) = match text.as_bytes() {
        [b'-', ..] => (true, true, &text[1..]),
        [b'+', ..] => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let prefix = rest.get(..2).unwrap_or_default().to_ascii_lowercase();
    let (radix, digits) = match prefix.as_str() {
        "0x" => (16, &rest[2..]),
        "0b" => (2, &rest[2..]),
        "0o" => (8, &rest[2..]),
        _ if rest.len() > 1 && rest.starts_with('0') => (8, &rest[1..]),
        _ => (10, rest),
    };
    if !digits.bytes().all(|byte| char::from(byte).is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
    // With a sign it must fit 64 bits signed, without one 64 bits unsigned.
    let most = if signed { i128::from(i64::MAX) } else { i128::from(u64::MAX) };
    (i128::from(i64::MIN)..=most).contains(&value).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, within the range of 64 bits.
fn float(text: &str) -> Option<f64> {
    // Rust parses exactly this, except for words.
    let number = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    let value: f64 = text.bytes().all(number).then(|| text.parse().ok()).flatten()?;
    value.is_finite().then_some(value)
}

/// A date (`2001-1-2`), or a date with a time (after `T` or `t` with a zone, after a space
/// without).
fn timestamp(text: &str) -> bool {
    let Some((date, time)) = split_date(text) else { return false };
    if !date_exists(date) {
        return false;
    }
    match time.as_bytes().first() {
        None => true,
        // Any number of spaces.
        Some(b' ') => clock(time.trim_start_matches(' ')).is_some_and(str::is_empty),
        Some(b'T' | b't') => clock(&time[1..]).is_some_and(zone),
        Some(_) => false,
    }
}

fn split_date(text: &str) -> Option<((u32, u32, u32), &str)> {
    let year = text.get(..4).filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (month, rest) = number(text[4..].strip_prefix('-')?)?;
    let (day, rest) = number(rest.strip_prefix('-')?)?;
    Some(((year.parse().ok()?, month, day), rest))
}

/// Parses one or two digits.
fn number(text: &str) -> Option<(u32, &str)> {
    let digits = text.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let (number, rest) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, rest))
}

fn date_exists((year, month, day): (u32, u32, u32)) -> bool {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// Parses `15:4:5` with an optional fraction; returns the rest.
fn clock(text: &str) -> Option<&str> {
    let (hour, rest) = number(text)?;
    let (minute, rest) = number(rest.strip_prefix(':')?)?;
    let (second, rest) = number(rest.strip_prefix(':')?)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let Some(fraction) = rest.strip_prefix(['.', ',']) else { return Some(rest) };
    let rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < fraction.len()).then_some(rest)
}

/// `Z` or `+07:00`.
fn zone(text: &str) -> bool {
    if text == "Z" {
        return true;
    }
    let Some(text) = text.strip_prefix(['+', '-']) else { return false };
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':').is_some_and(|(hour, minute)| {
        digits(hour) && digits(minute) && hour <= "24" && minute <= "60"
    })
}
