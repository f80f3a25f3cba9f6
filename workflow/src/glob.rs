//! Matches the patterns of `branches`, `tags`, `paths` and their `-ignore` forms as the server
//! does.
//!
//! There are two engines, chosen by [`Dialect`]: up to 1.26 act's, from 1.27 the server's own. Both
//! translate a pattern to a Go regular expression. Here that text is parsed by Go's rules and
//! matched by a finite automaton, in time linear in the input for every pattern. A pattern that
//! does not compile disables its filter; the caller decides that.

use super::Dialect;

mod class;
mod error;
mod machine;
mod regexp;
mod translate;

pub use error::RegexpError;
use machine::Machine;

/// Longest pattern that is compiled, in bytes. The server would try longer ones; no path or branch
/// is that long.
pub const LONGEST: usize = 64 * 1024;

/// The reason why a pattern does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pattern `{pattern}` does not compile: {why}")]
pub struct GlobError {
    /// The pattern, shortened if it is long.
    pub pattern: String,
    /// The problem with it.
    pub why: PatternProblem,
}

/// The problem with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternProblem {
    /// `[]`, which the older engine rejects.
    #[error("empty brackets []")]
    EmptyClass,
    /// `[` that is never closed.
    #[error("missing ] after [")]
    UnclosedClass,
    /// A range that the older engine rejects.
    #[error("a range must be ascending and within 0-9 or A-z")]
    BadRange,
    /// A character that the older engine rejects in a class.
    #[error("a class may hold letters and digits only")]
    BadMember,
    /// A backslash at the end.
    #[error("nothing after \\")]
    NothingEscaped,
    /// Go rejects the regular expression that it becomes.
    #[error(transparent)]
    Regexp(#[from] RegexpError),
    /// Longer than [`LONGEST`].
    #[error("too large")]
    TooLarge,
}

impl GlobError {
    fn new(pattern: &str, why: PatternProblem) -> Self {
        let mut shown: String = pattern.chars().take(100).collect();
        if shown.len() < pattern.len() {
            shown.push('…');
        }
        Self { pattern: shown, why }
    }
}

/// One pattern of a filter.
#[derive(Debug)]
pub struct Pattern {
    machine: Machine,
    negated: bool,
}

impl Pattern {
    /// Compiles a pattern; one leading `!` negates it.
    ///
    /// # Errors
    /// [`GlobError`] if the server's engine would reject it.
    pub fn new(text: &str, dialect: Dialect) -> Result<Self, GlobError> {
        let bare = text.strip_prefix('!');
        let (pattern, negated) = (bare.unwrap_or(text), bare.is_some());
        let compile = || {
            if let Some(machine) = Machine::plain(pattern).filter(|_| text.len() <= LONGEST) {
                return Ok(machine);
            }
            let regexp = match dialect {
                _ if text.len() > LONGEST => return Err(PatternProblem::TooLarge),
                Dialect::V1_25 | Dialect::V1_26 => translate::act(pattern)?,
                Dialect::V1_27 => translate::glob(pattern, negated, translate::Use::Filter)?,
            };
            Ok(Machine::new(regexp::parse(&regexp)?))
        };
        let machine = compile().map_err(|why| GlobError::new(text, why))?;
        Ok(Self { machine, negated })
    }

    /// Whether the pattern, without its `!`, matches.
    pub fn matches(&self, input: &str) -> bool {
        self.machine.matches(input)
    }

    /// Whether it began with `!`.
    pub fn negated(&self) -> bool {
        self.negated
    }
}

/// The patterns of one filter, in order.
#[derive(Debug)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Compiles a list.
    ///
    /// # Errors
    /// The first pattern that does not compile. The server then treats the filter as not satisfied,
    /// even an ignoring one.
    pub fn new<S: AsRef<str>>(list: &[S], dialect: Dialect) -> Result<Self, GlobError> {
        list.iter()
            .map(|text| Pattern::new(text.as_ref(), dialect))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a positive filter skips the workflow: it has patterns, and they include no input.
    /// True for no inputs.
    pub fn skips<S: AsRef<str>>(&self, inputs: &[S]) -> bool {
        !self.0.is_empty() && !inputs.iter().any(|input| self.includes(input.as_ref()))
    }

    /// Whether an ignoring filter skips the workflow: it has patterns, and they ignore every input.
    /// True for no inputs.
    pub fn ignores<S: AsRef<str>>(&self, inputs: &[S]) -> bool {
        !self.0.is_empty() && inputs.iter().all(|input| self.ignoring(input.as_ref()).is_some())
    }

    /// Whether a positive filter includes an input: the last matching pattern decides.
    pub fn includes(&self, input: &str) -> bool {
        self.deciding(input).is_some_and(|index| !self.0[index].negated)
    }

    /// Returns the index of the pattern that decides about an input in a positive filter.
    pub fn deciding(&self, input: &str) -> Option<usize> {
        self.0.iter().rposition(|pattern| pattern.matches(input))
    }

    /// Returns the index of the first pattern that ignores an input in an ignoring filter: one that
    /// matches, or a negated one that does not.
    pub fn ignoring(&self, input: &str) -> Option<usize> {
        self.0.iter().position(|pattern| pattern.matches(input) != pattern.negated)
    }

    /// Returns the patterns.
    pub fn as_slice(&self) -> &[Pattern] {
        &self.0
    }
}

/// A pattern of `types`: `*` and `?` match within segments separated by `/`, `**` across them;
/// `{a,b}` and classes. The same for all release lines.
#[derive(Debug)]
pub struct TypesPattern(Machine);

impl TypesPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`GlobError`] if the server's engine would reject it; the server then ignores the whole
    /// event.
    pub fn new(text: &str) -> Result<Self, GlobError> {
        let compile = || {
            if text.len() > LONGEST {
                return Err(PatternProblem::TooLarge);
            }
            let regexp = translate::glob(text, false, translate::Use::Types)?;
            Ok(Machine::new(regexp::parse(&regexp)?))
        };
        compile().map(Self).map_err(|why| GlobError::new(text, why))
    }

    /// Whether it matches an activity type.
    pub fn matches(&self, activity: &str) -> bool {
        self.0.matches(activity)
    }
}
