//! Glob patterns. Input: patterns, an empty line, and texts to match; one per line.

use tinqs_ci_workflow::Dialect;
use tinqs_ci_workflow::glob::{Pattern, Patterns, TypesPattern};

const ALL: [Dialect; 3] = [Dialect::V1_25, Dialect::V1_26, Dialect::V1_27];

/// Checks that any pattern compiles or is rejected, matches any text without a panic, and that
/// lists decide like their patterns.
///
/// # Panics
/// Panics if that does not hold.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if text.len() > 4_096 {
        return;
    }
    let (patterns, inputs) = text.split_once("\n\n").unwrap_or((&text, ""));
    let patterns: Vec<&str> = patterns.split('\n').take(8).collect();
    let inputs: Vec<&str> = inputs.split('\n').take(8).collect();
    for dialect in ALL {
        for pattern in &patterns {
            match Pattern::new(pattern, dialect) {
                Ok(compiled) => {
                    assert_eq!(compiled.negated(), pattern.starts_with('!'));
                    // A literal pattern matches itself.
                    if pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/') {
                        assert!(compiled.matches(pattern), "{pattern:?} in {dialect:?}");
                    }
                }
                Err(error) => {
                    let message = error.to_string();
                    assert!(!message.is_empty() && message.len() < 4_000);
                }
            }
        }
        let list = Patterns::new(&patterns, dialect);
        let each: Result<Vec<_>, _> =
            patterns.iter().map(|text| Pattern::new(text, dialect)).collect();
        assert_eq!(list.is_ok(), each.is_ok(), "a list compiles if each pattern does");
        if let (Ok(list), Ok(each)) = (list, each) {
            decided(&list, &each, &inputs);
        }
    }
    for pattern in &patterns {
        if let Ok(compiled) = TypesPattern::new(pattern) {
            for input in &inputs {
                assert_eq!(compiled.matches(input), compiled.matches(input));
            }
        }
    }
}

fn decided(list: &Patterns, each: &[Pattern], inputs: &[&str]) {
    let mut included = 0;
    let mut ignored = 0;
    for input in inputs {
        let matching = |pattern: &&Pattern| pattern.matches(input);
        let deciding = each.iter().rev().find(matching);
        assert_eq!(list.includes(input), deciding.is_some_and(|pattern| !pattern.negated()));
        assert_eq!(list.deciding(input).is_some(), deciding.is_some());
        let excluded = each.iter().any(|pattern| pattern.matches(input) != pattern.negated());
        assert_eq!(list.ignoring(input).is_some(), excluded);
        included += usize::from(list.includes(input));
        ignored += usize::from(excluded);
    }
    assert_eq!(list.skips(inputs), !each.is_empty() && included == 0);
    assert_eq!(list.ignores(inputs), !each.is_empty() && ignored == inputs.len());
}
