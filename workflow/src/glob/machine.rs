//! The matcher: simple shapes by comparison, the rest by a finite automaton.

use std::sync::OnceLock;

use regex_automata::hybrid::dfa::{self, Cache, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::{Input, MatchKind};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Size of a pattern's lazy DFA cache in bytes, beyond its minimum.
const CACHE: usize = 256 * 1024;

/// A compiled pattern. Most have at most one wildcard: `main`, `docs/**`, `*.md`. Those are
/// compared directly; for the others, prefix and suffix are compared before the automaton runs.
pub(super) struct Machine {
    shape: Shape,
    begins: Box<str>,
    ends: Box<str>,
    /// Shorter inputs never match.
    shortest: usize,
}

/// The part between prefix and suffix.
enum Shape {
    /// Nothing: exactly one text.
    Text,
    /// Any text without this character.
    Without(char),
    /// Needs an automaton.
    Other(Box<Other>),
}

/// An automaton that is built at first use.
struct Other {
    hir: Hir,
    automaton: OnceLock<Option<Automaton>>,
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text => f.write_str("Text"),
            Self::Without(c) => write!(f, "Without({c:?})"),
            Self::Other(_) => f.write_str("Other"),
        }
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("shape", &self.shape)
            .field("begins", &self.begins)
            .field("ends", &self.ends)
            .finish_non_exhaustive()
    }
}

impl Machine {
    /// Returns the machine of a pattern that both engines read alike: a text, or a text with a
    /// single `*` or `**`. `None` for any other pattern.
    pub(super) fn plain(pattern: &str) -> Option<Self> {
        let text = |text: &str| text.bytes().all(is_plain).then(|| Box::from(text));
        let Some((begins, rest)) = pattern.split_once('*') else {
            let (begins, ends) = (text(pattern)?, Box::default());
            return Some(Self { shape: Shape::Text, shortest: pattern.len(), begins, ends });
        };
        let (without, ends) = match rest.strip_prefix('*') {
            // The engines differ in the meaning of `**/`.
            Some(ends) if ends.starts_with('/') => return None,
            Some(ends) => ('\n', ends),
            None => ('/', rest),
        };
        let (begins, ends) = (text(begins)?, text(ends)?);
        let shortest = begins.len() + ends.len();
        Some(Self { shape: Shape::Without(without), begins, ends, shortest })
    }

    pub(super) fn new(hir: Hir) -> Self {
        let parts: &[Hir] = match hir.kind() {
            HirKind::Concat(parts) => parts,
            _ => std::slice::from_ref(&hir),
        };
        let anchored = |part: Option<&Hir>, look| {
            part.is_some_and(|part| matches!(part.kind(), HirKind::Look(l) if *l == look))
        };
        let at_start = anchored(parts.first(), Look::Start);
        let at_end = parts.len() > 1 && anchored(parts.last(), Look::End);
        let mut inner = &parts[usize::from(at_start)..parts.len() - usize::from(at_end)];
        let mut begins = Box::default();
        let mut ends = Box::default();
        if at_start && let Some(text) = inner.first().and_then(literal) {
            begins = text;
            inner = &inner[1..];
        }
        if at_end && let Some(text) = inner.last().and_then(literal) {
            ends = text;
            inner = &inner[..inner.len() - 1];
        }
        let simple = match inner {
            [] if at_start && at_end => Some(Shape::Text),
            [part] if at_start && at_end => run(part).map(Shape::Without),
            _ => None,
        };
        // `None` if a part can match nothing.
        let shortest = hir.properties().minimum_len().unwrap_or(0);
        let shape = simple
            .unwrap_or_else(|| Shape::Other(Box::new(Other { hir, automaton: OnceLock::new() })));
        Self { shape, begins, ends, shortest }
    }

    pub(super) fn matches(&self, input: &str) -> bool {
        if input.len() < self.shortest {
            return false;
        }
        let Some(behind) = input.strip_prefix(&*self.begins) else { return false };
        let Some(between) = behind.strip_suffix(&*self.ends) else { return false };
        match &self.shape {
            Shape::Text => between.is_empty(),
            Shape::Without(c) => !between.contains(*c),
            Shape::Other(other) => {
                let automaton = other.automaton.get_or_init(|| Automaton::new(&other.hir));
                automaton.as_ref().is_some_and(|automaton| automaton.matches(input))
            }
        }
    }
}

/// Whether both engines take a character literally.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'-' | b'.')
}

fn literal(hir: &Hir) -> Option<Box<str>> {
    let HirKind::Literal(literal) = hir.kind() else { return None };
    std::str::from_utf8(&literal.0).ok().map(Into::into)
}

/// Returns the only ASCII character that a repetition excludes: `/` or a line feed.
fn run(hir: &Hir) -> Option<char> {
    let HirKind::Repetition(repetition) = hir.kind() else { return None };
    let HirKind::Class(Class::Bytes(bytes)) = repetition.sub.kind() else { return None };
    if (repetition.min, repetition.max) != (0, None) {
        return None;
    }
    let mut others = bytes.clone();
    others.negate();
    match others.ranges() {
        [range] if range.start() == range.end() => Some(range.start().into()),
        _ => None,
    }
}

/// A DFA that is built lazily, within a memory limit.
struct Automaton {
    dfa: DFA,
    caches: Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync>>,
}

impl Automaton {
    /// `None` if it has too many states; the parser's limit is far below.
    fn new(hir: &Hir) -> Option<Self> {
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().utf8(false).which_captures(WhichCaptures::None))
            .build_from_hir(hir)
            .ok()?;
        let dfa = dfa::Builder::new()
            .configure(
                dfa::Config::new()
                    .match_kind(MatchKind::All)
                    .cache_capacity(CACHE)
                    .skip_cache_capacity_check(true),
            )
            .build_from_nfa(nfa)
            .ok()?;
        let maker = dfa.clone();
        Some(Self { dfa, caches: Pool::new(Box::new(move || maker.create_cache())) })
    }

    fn matches(&self, input: &str) -> bool {
        let mut cache = self.caches.get();
        let found = self.dfa.try_search_fwd(&mut cache, &Input::new(input).earliest(true));
        // It can only fail at quit bytes or when told to give up; neither is configured.
        found.is_ok_and(|found| found.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{regexp, translate};
    use super::*;

    #[test]
    fn a_run_excludes_one_character_and_may_be_empty() {
        for (text, want) in [
            ("[^/]*", Some('/')),
            (".*", Some('\n')),
            ("[^a-c]*", None),
            ("[^/]+", None),
            ("a*", None),
        ] {
            assert_eq!(run(&regexp::parse(text).expect("it is one")), want, "{text}");
        }
    }

    /// Every text of up to `length` of these characters.
    fn texts(characters: &[u8], length: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut from = 0;
        for _ in 0..length {
            let last = all.len();
            for at in from..last {
                for c in characters {
                    let longer = all[at].clone() + &char::from(*c).to_string();
                    all.push(longer);
                }
            }
            from = last;
        }
        all
    }

    #[test]
    fn a_plain_pattern_equals_the_result_of_both_engines() {
        let mut plain = 0;
        // Patterns with `!` or `{` are not plain.
        for pattern in texts(b"a./*!{", 6) {
            let Some(machine) = Machine::plain(&pattern) else { continue };
            plain += 1;
            let engines = [false, true].map(|negated| {
                translate::glob(&pattern, negated, translate::Use::Filter).expect("it compiles")
            });
            let act = translate::act(&pattern).expect("it compiles");
            for regexp in engines.into_iter().chain([act]) {
                let other = Machine::new(regexp::parse(&regexp).expect("it compiles"));
                assert_eq!(format!("{machine:?}"), format!("{other:?}"), "{pattern}");
                assert_eq!(machine.shortest, other.shortest, "{pattern}");
            }
        }
        assert_eq!(plain, 3_503, "how many of them are plain");
        // Check how they are compared.
        for (pattern, want) in [
            ("a", "Machine { shape: Text, begins: \"a\", ends: \"\", .. }"),
            ("a*b", "Machine { shape: Without('/'), begins: \"a\", ends: \"b\", .. }"),
        ] {
            let machine = Machine::plain(pattern);
            assert_eq!(format!("{:?}", machine.expect("it is plain")), want);
        }
    }

    #[test]
    fn a_pattern_that_the_engines_read_differently_is_not_plain() {
        for pattern in
            ["**/a", "a/**/b", "a**/b", "***", "*a*", "a?", "[a]", "a b", "ä", "\\*", "a+"]
        {
            assert!(Machine::plain(pattern).is_none(), "{pattern}");
        }
    }
}
