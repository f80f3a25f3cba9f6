//! The configuration. Input: environment variables as lines `NAME=VALUE`, an empty line, the file.

use std::path::Path;

use tinqs_ci::settings::{Env, parse};

/// An environment variable with a credential that every input may refer to.
const NAME: &str = "FUZZ_SECRET";
const SECRET: &str = "never-to-be-told-7f3a";

/// Checks that every text is a configuration or a list of mistakes, the same each time, and that no
/// message contains a credential or control characters.
///
/// # Panics
/// Panics if that does not hold.
pub(crate) fn check(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Long inputs only take time; the file is the operator's own.
    if text.len() > 16 * 1024 {
        return;
    }
    let (variables, file) = text.split_once("\n\n").unwrap_or(("", &text));
    let mut env: Env = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    env.insert(NAME.to_owned(), SECRET.to_owned());
    for path in [Some(Path::new("fuzz.toml")), None] {
        let once = parse(file, path, &env);
        let told = match &once {
            Ok(loaded) => {
                assert!(!loaded.settings.forge.url.is_empty());
                assert!(!loaded.settings.classes.is_empty(), "at least one class");
                plain(&loaded.to_string());
                loaded.warnings.iter().for_each(|line| plain(line));
                format!("{loaded:?}")
            }
            Err(mistakes) => {
                assert!(!mistakes.lines.is_empty() && !mistakes.hint.is_empty());
                mistakes.lines.iter().for_each(|line| plain(line));
                format!("{mistakes:?}")
            }
        };
        assert!(
            !told.contains(SECRET) || data.windows(SECRET.len()).any(|w| w == SECRET.as_bytes())
        );
        if path.is_none() {
            let again = match parse(file, path, &env) {
                Ok(loaded) => format!("{loaded:?}"),
                Err(mistakes) => format!("{mistakes:?}"),
            };
            assert_eq!(told, again);
        }
    }
}

/// Checks that a message is one line of limited length.
fn plain(line: &str) {
    let odd = line.chars().find(|c| c.is_control() || ('\u{202a}'..='\u{202e}').contains(c));
    assert!(odd.is_none(), "{odd:?} in {line:?}");
    assert!(line.chars().count() < 2_000, "{line}");
}
