//! What Go says of a regular expression that it does not compile.

/// Why Go would not compile a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegexpError {
    /// `(` that is never closed.
    #[error("missing closing )")]
    MissingParen,
    /// `)` that nothing opened.
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
    /// An escape that is none.
    #[error("invalid escape sequence")]
    BadEscape,
    /// A backslash with nothing behind it.
    #[error("trailing backslash at end of expression")]
    TrailingBackslash,
    /// `(?` with something unknown behind it.
    #[error("invalid or unsupported group syntax")]
    BadGroup,
    /// A bad name of a group.
    #[error("invalid named capture")]
    BadName,
    /// More than a thousand groups within each other.
    #[error("expression nests too deeply")]
    TooDeep,
    /// Hundreds of classes, repetitions and alternatives; Go has a limit too, a far higher one.
    #[error("expression too large")]
    TooLarge,
}
