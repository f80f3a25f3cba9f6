//! The supported part of the configuration, and the `.runner` file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

/// The configuration of the runner.
pub(crate) struct Config {
    /// The `.runner` file.
    pub(crate) file: PathBuf,
    /// The time for which a job may continue after a signal.
    pub(crate) shutdown_timeout: Duration,
    /// Pause between fetches.
    pub(crate) fetch_interval: Duration,
    /// Whether it exits when its row is gone.
    pub(crate) exit_unregistered: bool,
}

impl Config {
    /// Reads the keys `file:` and `shutdown_timeout:` of the file, and the two environment
    /// variables.
    pub(crate) fn read(path: Option<&str>) -> Result<Self, String> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|e| format!("cannot read the configuration {path:?}: {e}"))?,
            None => String::new(),
        };
        let timeout = value(&text, "shutdown_timeout").unwrap_or("0s");
        let fetch = match std::env::var("TINQS_CI_TEST_RUNNER_FETCH_MS") {
            Ok(text) => text
                .parse()
                .map_err(|_| format!("TINQS_CI_TEST_RUNNER_FETCH_MS: {text:?} is not a number"))?,
            Err(_) => 200,
        };
        Ok(Self {
            file: PathBuf::from(value(&text, "file").unwrap_or(".runner")),
            shutdown_timeout: duration(timeout)
                .ok_or_else(|| format!("shutdown_timeout: {timeout:?} is not a duration"))?,
            fetch_interval: Duration::from_millis(fetch),
            exit_unregistered: std::env::var("TINQS_CI_TEST_RUNNER_EXIT_UNREGISTERED")
                .is_ok_and(|v| v == "1"),
        })
    }
}

/// Returns the value of the first line with this key in any section.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    let value = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?.trim();
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|v| v.split_once(quote)) {
            return Some(inner);
        }
    }
    let value = value.split(" #").next().unwrap_or_default().trim();
    (!value.is_empty()).then_some(value)
}

/// Parses a duration in Go's format: `3h`, `1h30m`, `90.5s`, `500ms`, `0`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = 0.0;
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let units = [("ms", 0.001), ("us", 0.000_001), ("ns", 1e-9), ("h", 3600.0)];
        let mut units = units.into_iter().chain([("m", 60.0), ("s", 1.0)]);
        let (after, seconds) =
            units.find_map(|(unit, s)| Some((rest[end..].strip_prefix(unit)?, s)))?;
        sum += number * seconds;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(sum).ok())?
}

/// The `.runner` file. Any process that has it acts as the runner.
#[derive(Deserialize)]
pub(crate) struct Identity {
    pub(crate) uuid: String,
    pub(crate) name: String,
    pub(crate) token: String,
    /// The instance's URL.
    pub(crate) address: String,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    pub(crate) ephemeral: bool,
}

impl Identity {
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("cannot read the runner file {shown}: {e}; register first"))?;
        serde_json::from_str(&text)
            .map_err(|e| format!("cannot parse the runner file {shown}: {e}; register again"))
    }

    /// Returns the labels without their schemas.
    pub(crate) fn label_names(&self) -> Vec<&str> {
        self.labels.iter().map(|l| l.split(':').next().unwrap_or_default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_format_of_go() {
        for (text, expected) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("3h", Some(10_800_000)),
            ("1h30m", Some(5_400_000)),
            ("500ms", Some(500)),
            ("1.5s", Some(1500)),
            ("", None),
            ("3", None),
            ("h", None),
            ("3 h", None),
        ] {
            let got = duration(text).map(|d| d.as_millis());
            assert_eq!(got, expected, "{text:?}");
        }
    }

    #[test]
    fn values_are_read_line_by_line() {
        let text = "log:\n  level: info\nrunner:\n  file: \"/a b/.runner\"\n\
                    \n  shutdown_timeout: 3h # long\n  empty:\n";
        assert_eq!(value(text, "file"), Some("/a b/.runner"));
        assert_eq!(value(text, "shutdown_timeout"), Some("3h"));
        assert_eq!(value(text, "empty"), None);
        assert_eq!(value(text, "none"), None);
    }
}
