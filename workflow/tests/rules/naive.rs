//! An exhaustive matcher for patterns of plain characters, `*`, `**`, `**/`, `?`, `+` and classes.
//! Written from the rules, without the engines' code; not linear.

use proptest::collection::vec;
use proptest::prelude::*;
use tinqs_ci_workflow::Dialect;

/// One element of a pattern.
#[derive(Clone, Debug)]
pub(crate) enum Atom {
    Char(char),
    /// A class of letters, from and to.
    Range(char, char),
    /// `*`
    Star,
    /// `**` not followed by a slash.
    Stars,
    /// `/**/`
    Between,
}

/// An atom and its repetition; wildcards are never repeated, since that is mostly an error.
#[derive(Clone, Debug)]
pub(crate) struct Unit {
    atom: Atom,
    repeated: Option<char>,
}

/// Units of which none merges with the wildcard before it.
pub(crate) fn units() -> impl Strategy<Value = Vec<Unit>> {
    vec(unit(), 0..7).prop_map(|mut units| {
        units.dedup_by(|next, unit| {
            matches!(unit.atom, Atom::Star | Atom::Stars) && next.text().starts_with(['*', '/'])
        });
        units
    })
}

fn unit() -> impl Strategy<Value = Unit> {
    let single = prop_oneof![
        4 => prop::sample::select(vec!['a', 'b', '/', '.']).prop_map(Atom::Char),
        1 => Just(Atom::Range('a', 'b')),
        1 => Just(Atom::Range('b', 'z')),
    ];
    let repeated = prop_oneof![4 => Just(None), 1 => Just(Some('?')), 1 => Just(Some('+'))];
    let wild = prop::sample::select(vec![Atom::Star, Atom::Stars, Atom::Between]);
    prop_oneof![
        3 => (single, repeated).prop_map(|(atom, repeated)| Unit { atom, repeated }),
        1 => wild.prop_map(|atom| Unit { atom, repeated: None }),
    ]
}

impl Unit {
    pub(crate) fn text(&self) -> String {
        let atom = match &self.atom {
            Atom::Char(c) => c.to_string(),
            Atom::Range(from, to) => format!("[{from}-{to}]"),
            Atom::Star => "*".to_owned(),
            Atom::Stars => "**".to_owned(),
            Atom::Between => "/**/".to_owned(),
        };
        atom + &self.repeated.map(String::from).unwrap_or_default()
    }
}

pub(crate) fn matches(units: &[Unit], input: &str, line: Dialect) -> bool {
    let chars: Vec<char> = input.chars().collect();
    from(units, &chars, line)
}

fn from(units: &[Unit], input: &[char], line: Dialect) -> bool {
    let Some((unit, rest)) = units.split_first() else { return input.is_empty() };
    let one = |c: &char| match unit.atom {
        Atom::Char(wanted) => *c == wanted,
        Atom::Range(a, b) => (a..=b).contains(c),
        Atom::Star => *c != '/',
        Atom::Stars | Atom::Between => *c != '\n',
    };
    let run = |least: usize, most: usize, rest: &[Unit], input: &[char]| {
        (0..=input.len().min(most))
            .take_while(|&n| n == 0 || input[..n].iter().all(one))
            .any(|n| n >= least && from(rest, &input[n..], line))
    };
    match (&unit.atom, unit.repeated) {
        (Atom::Star | Atom::Stars, _) => run(0, usize::MAX, rest, input),
        (Atom::Between, _) => {
            let Some(('/', behind)) = input.split_first().map(|(c, behind)| (*c, behind)) else {
                return false;
            };
            match line {
                Dialect::V1_27 => run(0, usize::MAX, rest, behind),
                // Whole folders, or none: no folder's name holds a line feed.
                _ => {
                    from(rest, behind, line)
                        || (1..behind.len()).any(|n| {
                            behind[n] == '/'
                                && behind[..n].iter().all(|c| *c != '\n')
                                && from(rest, &behind[n + 1..], line)
                        })
                }
            }
        }
        (_, None) => run(1, 1, rest, input),
        (_, Some('?')) => run(0, 1, rest, input),
        (_, Some(_)) => run(1, usize::MAX, rest, input),
    }
}
