//! Texts that Go's parser accepts or rejects.

use super::*;

fn error(text: &str) -> Option<RegexpError> {
    parse(text).err()
}

#[test]
fn rejects_what_go_rejects() {
    use RegexpError as E;
    let cases = [
        ("a++", E::NestedRepeat),
        ("a???", E::NestedRepeat),
        ("a+??", E::NestedRepeat),
        ("(a|+)", E::RepeatOfNothing),
        ("(+)", E::RepeatOfNothing),
        ("(?i)+", E::RepeatOfNothing),
        ("(a", E::MissingParen),
        ("a)", E::UnexpectedParen),
        ("[a", E::MissingBracket),
        ("[]", E::MissingBracket),
        ("[^]", E::MissingBracket),
        ("[a\\]", E::MissingBracket),
        ("[b-a]", E::BadRange),
        ("[a--b]", E::BadRange),
        ("[a-\\d]", E::BadEscape),
        ("[[:nope:]]", E::BadRange),
        ("\\p(L)", E::BadRange),
        ("[\\p{Klingon}]", E::BadRange),
        ("\\p{Lu\u{e9}}", E::BadRange),
        ("[\\p{L", E::BadRange),
        ("\\C", E::BadEscape),
        ("\\q", E::BadEscape),
        ("\\1", E::BadEscape),
        ("\\8", E::BadEscape),
        ("\\é", E::BadEscape),
        ("\\x(41)", E::BadEscape),
        ("[\\b]", E::BadEscape),
        ("a\\", E::TrailingBackslash),
        ("(?z)", E::BadGroup),
        ("(?i-)", E::BadGroup),
        ("(?i", E::BadGroup),
        ("(?P=n)", E::BadGroup),
        ("(?P<n", E::BadName),
        ("(?P<>a)", E::BadName),
        ("(?P<n-m>a)", E::BadName),
    ];
    for (text, want) in cases {
        assert_eq!(error(text), Some(want), "{text}");
    }
}

#[test]
fn accepts_what_go_accepts() {
    for text in [
        "",
        "^*",
        "^+",
        "^?a",
        "()+",
        "(|a)+",
        "a+?",
        "a*?b??",
        "a+(?i)+",
        "a+\\Q\\E+",
        "[]a]",
        "[^]a]",
        "[a-]",
        "[-a]",
        "[a-c-e]",
        "[[a]",
        "[a&&b]",
        "[a~~b]",
        "[[:alpha:]]",
        "[[:^alpha:]x]",
        "[[:a]",
        "\\pL",
        "\\PN",
        "\\pZz",
        "[\\p{Greek}\\p{^Lu}]",
        "[\\P{L}]",
        "\\x41",
        "[\\x{41}]",
        "\\012",
        "\\12",
        "\\.",
        "\\-",
        "\\/",
        "\\_",
        "\\a\\f\\n\\r\\t\\v",
        "\\Qa.b",
        "\\Qa\\E+",
        "\\z",
        "(?i:a)",
        "(?-i)a",
        "(?im-sU:a)",
        "(?P<n>a)(?<m>b)",
        "(?P<n>a)(?P<n>b)",
        "}",
        "]",
        "{",
        "{2}x",
    ] {
        assert_eq!(error(text), None, "{text}");
    }
}

/// The number of groups that Go accepts around a text.
#[test]
fn groups_nest_as_deep_as_in_go() {
    for (inner, most) in [
        ("", 999),
        ("a", 999),
        ("ab", 999),
        ("é", 999),
        ("(?:ab)", 999),
        ("(?i:a)", 999),
        ("a+", 998),
        ("(?:ab)+", 998),
        ("[ab]x", 998),
        ("ab[cd]ef", 998),
        ("ab|c", 998),
        ("ab|cd", 998),
        ("(?P<n>a)", 998),
        ("ab+", 997),
        ("a+b+", 997),
        ("a+|b+", 997),
        ("(?:a+)+", 997),
        ("(a)(b)", 997),
        ("(ab)(c)", 997),
        ("a|(b)", 997),
        ("(?:ab|c)d", 997),
    ] {
        let deep = |n: usize| ["(".repeat(n), inner.to_owned(), ")".repeat(n)].concat();
        assert_eq!(error(&deep(most)), None, "{inner}");
        assert_eq!(error(&deep(most + 1)), Some(RegexpError::TooDeep), "{inner}");
    }
}
