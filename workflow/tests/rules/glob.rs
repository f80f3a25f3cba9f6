//! The pattern engines against the corpus, and against an independent naive matcher.

use super::naive;

use proptest::prelude::*;
use serde_json::Value;
use tinqs_ci_workflow::Dialect;
use tinqs_ci_workflow::glob::{Pattern, PatternProblem, Patterns, RegexpError, TypesPattern};

const LINES: [Dialect; 3] = [Dialect::V1_25, Dialect::V1_26, Dialect::V1_27];

fn corpus(text: &str) -> Value {
    serde_json::from_str(text).expect("the corpus is JSON")
}

/// The expectation for a release line: differing values of older ones have a suffix.
fn expected<'c>(case: &'c Value, field: &str, line: Dialect) -> &'c Value {
    let older = format!("{field}_1_26");
    match case.get(&older) {
        Some(value) if line != Dialect::V1_27 => value,
        _ => &case[field],
    }
}

fn texts(list: &Value) -> Vec<String> {
    let items = list.as_array().expect("a list");
    items.iter().map(|item| item.as_str().expect("of texts").to_owned()).collect()
}

/// Whether a filter skips the workflow; `None` if it does not compile.
fn skip(filter: &str, patterns: &[String], input: &[String], line: Dialect) -> Option<bool> {
    let patterns = Patterns::new(patterns, line).ok()?;
    let ignoring = filter.ends_with("-ignore");
    Some(if ignoring { patterns.ignores(input) } else { patterns.skips(input) })
}

#[test]
fn filter_lists_match_the_corpus() {
    let corpus = corpus(include_str!("../../../tests/corpus/patterns.json"));
    let cases = corpus["cases"].as_array().expect("cases");
    assert!(cases.len() >= 700, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for (case, line) in cases.iter().flat_map(|case| LINES.map(|line| (case, line))) {
        let filter = case["filter"].as_str().expect("a filter");
        let got = skip(filter, &texts(&case["patterns"]), &texts(&case["input"]), line);
        let own = if line == Dialect::V1_27 { "compile_error" } else { "compile_error_1_26" };
        let error = case[own].as_bool().unwrap_or(false);
        let want = expected(case, "expect_skip", line).as_bool().expect("an expectation");
        if (got.unwrap_or(true), got.is_none()) != (want, error) {
            wrong.push(format!("{} {line:?}: {got:?}", case["id"]));
        }
    }
    assert!(wrong.is_empty(), "{} differ: {wrong:#?}", wrong.len());
}

#[test]
fn single_patterns_match_the_grid() {
    let corpus = corpus(include_str!("../../../tests/corpus/patterns_grid.json"));
    let inputs = texts(&corpus["inputs"]);
    let rows = corpus["rows"].as_array().expect("rows");
    assert!(rows.len() >= 90 && inputs.len() >= 100);
    let mut wrong = Vec::new();
    for (row, line) in rows.iter().flat_map(|row| LINES.map(|line| (row, line))) {
        let pattern = row["pattern"].as_str().expect("a pattern").to_owned();
        for (field, filter) in [("runs", "paths"), ("not_ignored", "paths-ignore")] {
            let want = expected(row, field, line).as_str().expect("bits");
            let one = |input: &String| {
                skip(filter, std::slice::from_ref(&pattern), std::slice::from_ref(input), line)
            };
            let got: Option<String> =
                inputs.iter().map(|input| one(input).map(|s| if s { '0' } else { '1' })).collect();
            if got.as_deref().unwrap_or("error") != want {
                wrong.push(format!("{pattern} {filter} {line:?}:\n  {got:?}\n  {want}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ: {wrong:#?}", wrong.len());
}

/// The matching inputs as the bits of a hexadecimal number: the first input is the lowest bit.
fn hexadecimal(bits: &[bool]) -> String {
    let nibble = |bits: &[bool]| bits.iter().rev().fold(0, |n, bit| 2 * n + u32::from(*bit));
    let digits = bits.chunks(4).rev().filter_map(|bits| char::from_digit(nibble(bits), 16));
    let text: String = digits.collect();
    let short = text.trim_start_matches('0');
    if short.is_empty() { "0" } else { short }.to_owned()
}

/// `forge/globs.json`: patterns with the inputs that the engines of Gitea 1.27.0, 1.26.4 and of
/// `types` match.
#[test]
fn the_engines_match_what_the_forges_engines_match() {
    let tables = corpus(include_str!("forge/globs.json"));
    let mut wrong = Vec::new();
    let mut checked = 0;
    for table in tables.as_array().expect("tables") {
        let inputs = texts(&table["inputs"]);
        let bits = |matches: &dyn Fn(&str) -> bool| -> String {
            hexadecimal(&inputs.iter().map(|input| matches(input)).collect::<Vec<_>>())
        };
        for row in table["rows"].as_array().expect("rows") {
            let [pattern, wanted @ ..] = &*texts(row) else { panic!("an empty row") };
            let filter = |line| Pattern::new(pattern, line).map(|p| bits(&|i| p.matches(i)));
            let types = TypesPattern::new(pattern).map(|p| bits(&|input| p.matches(input)));
            let got = [filter(Dialect::V1_27), filter(Dialect::V1_26), types];
            for ((got, wanted), engine) in
                got.into_iter().zip(wanted).zip(["1.27", "1.26", "types"])
            {
                let got = got.unwrap_or_else(|_| "error".to_owned());
                checked += 1;
                if got != *wanted {
                    wrong.push(format!("{pattern} {engine}:\n  {got}\n  {wanted}"));
                }
            }
        }
    }
    assert!(checked > 1_500, "only {checked}");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn patterns_may_use_gos_regular_expressions() {
    let matches = |pattern: &str, input: &str| {
        Pattern::new(pattern, Dialect::V1_27).map(|p| p.matches(input)).map_err(|e| e.why)
    };
    for (pattern, input, want) in [
        ("{?i}readme.MD", "README.md", true),
        ("{?i:a}b", "Ab", true),
        ("{?i:a}b", "AB", false),
        ("{?s}a**b", "a\nb", true),
        ("a**b", "a\nb", false),
        ("a*b", "a\nb", true),
        ("{a,}b", "b", true),
        ("{a,b}+", "abba", true),
        ("{a,b{c,d}}", "bd", true),
        ("\\Qa+\\E", "a+", true),
        ("\\Qab", "ab$ and more", true),
        ("\\d+", "42", true),
        ("\\d+", "٣", false),
        ("[\\d\\-]+", "4-2", true),
        ("\\s", "\u{b}", false),
        ("[[:upper:]]*", "Ab", true),
        ("[\\p{Greek}]+", "λόγος", true),
        ("[\\PL]", "1", true),
        ("\\x41", "A", true),
        ("[\\x{1F600}]", "😀", true),
        ("\\bfoo", "foo", true),
        ("a\\Bb", "ab", true),
        ("é+", "éé", true),
        ("[!é]", "ê", true),
        ("[é-ü]", "ï", true),
        ("?a", "ba", true),
        ("+a", "ba", false),
    ] {
        assert_eq!(matches(pattern, input), Ok(want), "{pattern} {input}");
    }
    for (pattern, want) in [
        ("{a}++", PatternProblem::Regexp(RegexpError::NestedRepeat)),
        ("{+a}", PatternProblem::Regexp(RegexpError::RepeatOfNothing)),
        ("{a,+}", PatternProblem::Regexp(RegexpError::RepeatOfNothing)),
        ("{a\\Q}", PatternProblem::Regexp(RegexpError::MissingParen)),
        ("{?x}", PatternProblem::Regexp(RegexpError::BadGroup)),
        ("\\q", PatternProblem::Regexp(RegexpError::BadEscape)),
        ("\\p{L}", PatternProblem::Regexp(RegexpError::BadRange)),
        ("[a\\", PatternProblem::UnclosedClass),
        ("a\\", PatternProblem::NothingEscaped),
    ] {
        assert_eq!(matches(pattern, ""), Err(want), "{pattern}");
    }
}

#[test]
fn classes_of_the_older_engine_follow_act() {
    let matches = |pattern: &str, input: &str| {
        Pattern::new(pattern, Dialect::V1_26).map(|p| p.matches(input)).map_err(|e| e.why)
    };
    for (pattern, input, want) in [
        ("[A-]]", "-]", true),
        ("[a-c-e]", "-", true),
        ("[A-^]", "]", true),
        ("[A-[]", "[", true),
        ("[\\]", "\\", true),
        ("\\é", "é", true),
        ("!+a", "+a", true),
        ("{a}", "{a}", true),
        ("**/?", "x/", true),
    ] {
        assert_eq!(matches(pattern, input), Ok(want), "{pattern} {input}");
    }
    for (pattern, want) in [
        ("[A-]", PatternProblem::UnclosedClass),
        ("[A-\\]", PatternProblem::Regexp(RegexpError::MissingBracket)),
        ("[A-\\w]", PatternProblem::Regexp(RegexpError::BadEscape)),
        ("[-a]", PatternProblem::BadRange),
        ("[5-a]", PatternProblem::BadRange),
        ("[é]", PatternProblem::BadMember),
        ("[]", PatternProblem::EmptyClass),
        ("**/+", PatternProblem::Regexp(RegexpError::NestedRepeat)),
    ] {
        assert_eq!(matches(pattern, ""), Err(want), "{pattern}");
    }
}

#[test]
fn activity_types_match_patterns() {
    for (pattern, activity, want) in [
        ("opened", "opened", true),
        ("opened", "reopened", false),
        ("*opened", "reopened", true),
        ("{opened,closed}", "closed", true),
        ("label?d", "labeled", true),
        ("label?d", "labeld", false),
        ("a+", "a+", true),
        ("a+", "aa", false),
        ("!opened", "closed", false),
        ("**/x", "a/x", true),
        ("**/x", "x", false),
    ] {
        let compiled = TypesPattern::new(pattern).expect("it compiles");
        assert_eq!(compiled.matches(activity), want, "{pattern} {activity}");
    }
    assert!(TypesPattern::new("[").is_err());
}

#[test]
fn the_deciding_pattern_is_reported() {
    let list = Patterns::new(&["docs/**", "!docs/x.md", "docs/x*"], Dialect::V1_27).expect("valid");
    assert_eq!(list.deciding("docs/a"), Some(0));
    assert_eq!(list.deciding("docs/x.md"), Some(2));
    assert_eq!(list.deciding("src"), None);
    assert_eq!(list.ignoring("src"), Some(1));
    let negated: Vec<bool> = list.as_slice().iter().map(Pattern::negated).collect();
    assert_eq!(negated, [false, true, false]);
}

#[test]
fn errors_name_the_pattern_and_stay_short() {
    let error = Pattern::new("c++", Dialect::V1_26).expect_err("nested");
    assert_eq!(
        error.to_string(),
        "pattern `c++` does not compile: invalid nested repetition operator"
    );
    let long = ["[", &"a".repeat(5_000)].concat();
    let error = Pattern::new(&long, Dialect::V1_27).expect_err("unclosed");
    assert!(error.to_string().len() < 250);
    let huge = "a".repeat(70_000);
    assert_eq!(
        Pattern::new(&huge, Dialect::V1_27).expect_err("too long").why,
        PatternProblem::TooLarge
    );
    let classes = "[\\pL]".repeat(10_000);
    let large = Pattern::new(&classes, Dialect::V1_27).expect_err("large");
    assert_eq!(large.why, PatternProblem::Regexp(RegexpError::TooLarge));
}

#[test]
fn hostile_patterns_are_refused_or_match_quickly() {
    let long = "a".repeat(300);
    for (unit, most, want) in [
        ("a?", 900, true),
        ("*", 400, true),
        ("[a-z]?", 400, true),
        ("a*", 240, true),
        ("{a,b}?", 400, true),
        ("{a+}?", 400, true),
        ("[!b]?", 240, false),
        ("*?", 190, true),
        ("b*", 200, false),
    ] {
        let some = Pattern::new(&unit.repeat(most), Dialect::V1_27);
        assert_eq!(some.map(|p| p.matches(&long)), Ok(want), "{unit}");
        let many = Pattern::new(&unit.repeat(10_000 / unit.len()), Dialect::V1_27);
        assert_eq!(
            many.map_err(|e| e.why).err(),
            Some(PatternProblem::Regexp(RegexpError::TooLarge)),
            "{unit}"
        );
    }
    // Up to exactly the limit.
    for (unit, most) in [("*a", 250), ("a?", 1_000), ("[a-z]", 1_000), ("[\\pL]", 1)] {
        let compiled = |units: usize| {
            Pattern::new(&unit.repeat(units), Dialect::V1_27).map(drop).map_err(|error| error.why)
        };
        assert_eq!(compiled(most), Ok(()), "{unit}");
        assert_eq!(
            compiled(most + 1),
            Err(PatternProblem::Regexp(RegexpError::TooLarge)),
            "{unit}"
        );
    }
    // A plain text may have any length.
    let text = "a".repeat(60_000);
    assert!(Pattern::new(&text, Dialect::V1_26).is_ok_and(|p| p.matches(&text)));
    let nested = ["{".repeat(900), "a".to_owned(), "+}".repeat(400), "}".repeat(500)].concat();
    let compiled = Pattern::new(&nested, Dialect::V1_27).map(|p| p.matches(&long));
    assert!(
        matches!(compiled, Err(ref e) if e.why == PatternProblem::Regexp(RegexpError::TooDeep)),
        "{compiled:?}"
    );
    let nested = ["{a,".repeat(320), "b".to_owned(), "}c".repeat(320)].concat();
    let input = ["b", &"c".repeat(320)].concat();
    assert!(Pattern::new(&nested, Dialect::V1_27).is_ok_and(|p| p.matches(&input)));
    let nested = ["{".repeat(400), "a".to_owned(), "+}".repeat(400)].concat();
    assert!(Pattern::new(&nested, Dialect::V1_27).is_ok_and(|p| p.matches(&long)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_engines_match_like_the_naive_one(
        units in naive::units(),
        input in "[ab/.\n]{0,8}",
    ) {
        for line in LINES {
            let pattern: String = units.iter().map(naive::Unit::text).collect();
            let compiled = Pattern::new(&pattern, line);
            let got = compiled.map(|p| p.matches(&input)).map_err(|e| e.to_string());
            prop_assert_eq!(got, Ok(naive::matches(&units, &input, line)), "{} {:?}", pattern, line);
        }
    }

    #[test]
    fn no_text_panics(pattern in "\\PC{0,40}", input in "\\PC{0,40}") {
        for line in LINES {
            if let Ok(compiled) = Pattern::new(&pattern, line) {
                compiled.matches(&input);
            }
        }
        let _ = TypesPattern::new(&pattern).map(|p| p.matches(&input));
    }

    #[test]
    fn no_syntax_panics(
        pattern in r"[\[\]{}()?*+!^$|\\,.:<>/\-abPpQEdwxiUé09\n]{0,30}",
        input in r"[ab/é\n]{0,10}",
    ) {
        for line in LINES {
            if let Ok(compiled) = Pattern::new(&pattern, line) {
                compiled.matches(&input);
            }
        }
        let _ = TypesPattern::new(&pattern).map(|p| p.matches(&input));
    }
}
