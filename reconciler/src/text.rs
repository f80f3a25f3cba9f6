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
