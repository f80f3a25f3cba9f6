//! The runner's `config.yaml`: what the boot script promises, and what the class adds.

use std::fmt::Write as _;

use tinqs_ci_reconciler::model::{RunnerCache, RunnerConfig};

/// The maximum wait of the runner for Docker, which may start after it, in seconds.
const DOCKER_TIMEOUT: u32 = 60;

/// The promises of the boot script, and the maximum wait of the runner for the answer to a fetch,
/// which is 5 s by default. A fetch assigns the job, and then the forge still has work to do before
/// it answers. Before Gitea 1.27 the job of a runner that has given up by then is *running* without
/// anybody who runs it. A fetch does not wait for work, so that a longer time costs nothing. 30 s
/// are half the minute after which Gitea calls a runner that does not fetch offline.
const BEGIN: &str = "cat >config.yaml <<END || fail
log:
  level: info
runner:
  file: .runner
  capacity: 1
  fetch_timeout: 30s
  timeout: ${left}s
  shutdown_timeout: ${left}s
";

/// Returns the commands that write the file. bash fills in the time that is left. No text can end
/// the here-document, or be expanded in it: [`quoted`] escapes what bash would read.
pub(crate) fn write_config(config: Option<&RunnerConfig>) -> String {
    let none = RunnerConfig::default();
    let config = config.unwrap_or(&none);
    let RunnerConfig { network, force_pull, docker_timeout, insecure, envs, cache, ca: _ } = config;
    let mut text = BEGIN.to_owned();
    key(&mut text, "insecure", insecure.map(|is| is.to_string()));
    if !envs.is_empty() {
        text.push_str("  envs:\n");
    }
    for (name, value) in envs {
        let _ = writeln!(text, "    {}: {}", quoted(name), quoted(value.expose()));
    }
    text.push_str("container:\n");
    let timeout = docker_timeout.unwrap_or(DOCKER_TIMEOUT);
    key(&mut text, "docker_timeout", Some(format!("{timeout}s")));
    key(&mut text, "network", network.as_deref().map(quoted));
    key(&mut text, "force_pull", force_pull.map(|is| is.to_string()));
    if !cache.is_empty() {
        write_cache(&mut text, cache);
    }
    text.push_str("END\n\n");
    text
}

fn write_cache(text: &mut String, cache: &RunnerCache) {
    let RunnerCache { enabled, dir, host, port, external_server, external_secret } = cache;
    text.push_str("cache:\n");
    key(text, "enabled", enabled.map(|is| is.to_string()));
    key(text, "dir", dir.as_deref().map(quoted));
    key(text, "host", host.as_deref().map(quoted));
    key(text, "port", port.map(|port| port.to_string()));
    key(text, "external_server", external_server.as_deref().map(quoted));
    key(text, "external_secret", external_secret.as_ref().map(|secret| quoted(secret.expose())));
}

/// Writes a key of a section, if it is set.
fn key(text: &mut String, name: &str, value: Option<String>) {
    if let Some(value) = value {
        let _ = writeln!(text, "  {name}: {value}");
    }
}

/// Returns a string in double quotes of YAML. What YAML or bash could read otherwise is escaped by
/// its number: quotes, the backslash, `$`, the backquote, and all but printable ASCII.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        let number = u32::from(c);
        let _ = match c {
            ' '..='~' if !"\"\\$`".contains(c) => out.write_char(c),
            _ if number < 0x100 => write!(out, "\\x{number:02X}"),
            _ if number < 0x1_0000 => write!(out, "\\u{number:04X}"),
            _ => write!(out, "\\U{number:08X}"),
        };
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted_for_yaml_and_bash() {
        for (text, expected) in [
            ("plain: 'text' # {a}", "\"plain: 'text' # {a}\""),
            ("a\"b\\c$d`e", "\"a\\x22b\\x5Cc\\x24d\\x60e\""),
            ("\n\t\u{7f}é\u{202e}\u{1f600}", "\"\\x0A\\x09\\x7F\\xE9\\u202E\\U0001F600\""),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
