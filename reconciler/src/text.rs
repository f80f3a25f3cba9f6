//! Makes text from outside safe for one line of a terminal.

use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

/// Returns whether a character moves the cursor, reorders text or is invisible.
pub fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// Replaces each dangerous character with `\u{…}`.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_dangerous(c) {
            let _ = write!(safe, "\\u{{{:x}}}", u32::from(c));
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Escapes the text and cuts it with `…` if it takes more than `width` terminal columns.
pub fn cut(text: &str, width: usize) -> String {
    // Combining marks take no column, so their number is limited as well.
    let most = 4 * width;
    let safe = escape(&text.chars().take(most + 1).collect::<String>());
    if safe.width() <= width && safe.chars().count() <= most {
        return safe;
    }
    let mut columns = 0;
    let fits = |grapheme: &&str| {
        columns += grapheme.width();
        columns < width
    };
    let mut short: String = safe.graphemes(true).take_while(fits).collect();
    short.push('…');
    short
}

/// Escapes the text and replaces its middle with `…` if it takes more than `width` terminal columns:
/// the end of a name, such as the values of a matrix, tells it apart from others.
pub fn cut_middle(text: &str, width: usize) -> String {
    // Combining marks take no column, so their number is limited as well.
    let half = 2 * width + 1;
    let count = text.chars().count();
    let is_long = count > 2 * half;
    if !is_long {
        let safe = escape(text);
        if safe.width() <= width {
            return safe;
        }
    }
    let columns = width.saturating_sub(1);
    let start = escape(&text.chars().take(half).collect::<String>());
    let start = fitting(start.graphemes(true), columns.div_ceil(2));
    let end = escape(&text.chars().skip(count.saturating_sub(half)).collect::<String>());
    let left = columns - start.concat().width().min(columns);
    let mut end = fitting(end.graphemes(true).rev(), left);
    end.reverse();
    format!("{}…{}", start.concat(), end.concat())
}

/// Returns the first graphemes that take no more than `columns` together.
fn fitting<'t>(graphemes: impl Iterator<Item = &'t str>, columns: usize) -> Vec<&'t str> {
    let mut taken = 0;
    let fits = |grapheme: &&str| {
        taken += grapheme.width();
        taken <= columns
    };
    graphemes.take_while(fits).collect()
}

/// Returns an error and its sources as one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_text_has_no_dangerous_character() {
        assert_eq!(escape("a\x1b[31mb\u{202e}c\nd"), "a\\u{1b}[31mb\\u{202e}c\\u{a}d");
        assert_eq!(escape("größe ✓ \"x\" $(id)"), "größe ✓ \"x\" $(id)");
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let safe = escape(&c.to_string());
            assert!(!safe.chars().any(is_dangerous), "{c:?}");
        }
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut(&"x".repeat(10_000), 6), "xxxxx…");
        assert_eq!(cut("\x1b\x1b", 6), "\\u{1b…");
    }

    #[test]
    fn a_long_name_keeps_its_start_and_its_end() {
        assert_eq!(cut_middle("abcdef", 6), "abcdef");
        assert_eq!(cut_middle("abcdefg", 6), "abc…fg");
        assert_eq!(cut_middle("test (ubuntu-latest, 1.25)", 20), "test (ubun…st, 1.25)");
        assert_eq!(cut_middle("単体テストと結合テスト", 12), "単体テ…スト");
        assert_eq!(cut_middle("🚀🚀🚀", 5), "🚀…🚀");
        assert_eq!(cut_middle("\x1b[2Jabc", 8), "\\u{1…abc");
        assert_eq!(cut_middle(&"x".repeat(10_000), 6), "xxx…xx");
        for width in 0..3 {
            assert_eq!(cut_middle("abcdefg", width).width(), width.max(1), "at {width}");
        }
        // Marks stay with their character, and their number is limited.
        let tower = cut_middle(&format!("e{}", "\u{301}".repeat(10_000)), 6);
        assert!(tower.contains('…') && tower.chars().count() <= 27, "{}", tower.chars().count());
    }

    #[test]
    fn text_is_cut_by_the_columns_it_takes() {
        assert_eq!(cut("単体テスト", 10), "単体テスト");
        assert_eq!(cut("単体テスト", 9), "単体テス…");
        assert_eq!(cut("単体テスト", 8), "単体テ…");
        assert_eq!(cut("🚀🚀🚀", 6), "🚀🚀🚀");
        assert_eq!(cut("🚀🚀🚀", 5), "🚀🚀…");
        assert_eq!(cut("❤\u{fe0f}❤\u{fe0f}x", 4), "❤\u{fe0f}…");
        // Marks stay with their character, and their number is limited.
        assert_eq!(cut("e\u{301}e\u{301}", 2), "e\u{301}e\u{301}");
        assert_eq!(cut("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        let tower = cut(&format!("e{}", "\u{301}".repeat(10_000)), 6);
        assert!(tower.ends_with('…') && tower.chars().count() <= 26, "{tower:?}");
    }
}
