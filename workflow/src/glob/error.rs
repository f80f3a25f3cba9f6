//! The errors of Go's regular expressions.

/// The reason why Go does not compile a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegexpError {
    /// `(` that is never closed.
    #[error("missing closing )")]
    MissingParen,
    /// `)` without an opening one.
    #[error("unexpected )")]
    UnexpectedParen,
    /// `[` that is never closed.
    #[error("missing closing ]")]
    MissingBracket,
    /// A repetition of nothing.
    #[error("missing argument to repetition operator")]
    RepeatOfNothing,
    /// A repetition of a repetition.
    #[error("invalid nested repetition operator")]
    NestedRepeat,
    /// A range that runs backwards, or an unknown class of characters.
    #[error("invalid character class range")]
    BadRange,
    /// An unknown escape.
    #[error("invalid escape sequence")]
    BadEscape,
    /// A backslash at the end.
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    /// `(?` followed by something unknown.
    #[error("invalid or unsupported group syntax")]
    BadGroup,
    /// An invalid group name.
    #[error("invalid named capture")]
    BadName,
    /// More than a thousand nested groups.
    #[error("expression nests too deeply")]
    TooDeep,
    /// Hundreds of classes, repetitions and alternatives; Go's own limit is far higher.
    #[error("expression too large")]
    TooLarge,
}
