//! Reads `[class.runner]`.

use std::path::Path;

use tinqs_ci_reconciler::model::{Class, RunnerDownload, RunnerSetup, owner_of};
use tinqs_ci_reconciler::text::cut;

use super::forge::not_of_form;
use super::reader::Reader;
use super::runner_config::config;

/// The endings of files that are not the runner itself.
const ARCHIVES: [&str; 6] = ["xz", "gz", "tgz", "zip", "bz2", "zst"];

/// Reads the table of a class; `None` if nothing in it is set.
pub(super) fn setup(class: &Reader<'_>, in_ec2: bool) -> Option<RunnerSetup> {
    let r = class.table("runner");
    let user = r.parsed("user", user);
    let docker = r.switch("docker");
    if user.is_some() && !in_ec2 {
        let why = "is for machines in EC2: those of `process:` run as `process.user` says";
        r.mistake("user", why);
    }
    if docker && user.is_none() {
        r.warn("docker", "has no effect without `user`: jobs run as root, who may use Docker");
    }
    let setup = RunnerSetup { download: download(&r), user, docker, config: config(&r, in_ec2) };
    (setup != RunnerSetup::default()).then_some(setup)
}

/// Checks a name as the key's pattern does. The boot script writes it between single quotes.
fn user(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    if text == "root" {
        return Err("is root, as whom jobs run without this key: remove it".to_owned());
    }
    if begins && text.len() <= 32 && text.chars().all(fits) {
        Ok(text.to_owned())
    } else {
        not_of_form()
    }
}

/// Checks what the runner of a class says against the rest of the class.
pub(super) fn check(r: &Reader<'_>, class: &Class) {
    let Some(setup) = class.machines.first().and_then(|machine| machine.runner.as_ref()) else {
        return;
    };
    let wants = |label: &&String| label.split(':').nth(1) == Some("docker");
    let lacks_docker = setup.user.is_some() && !setup.docker;
    if let Some(label) = class.labels.iter().find(wants).filter(|_| lacks_docker) {
        let why = "needs Docker, which `runner.user` may use only with `runner.docker = true`";
        r.warn("labels", &format!("\"{}\" {why}", cut(label, 60)));
    }
    let is_shared = setup.config.as_ref().is_some_and(|config| config.cache.is_external());
    if is_shared && !has_one_owner(&class.repos) {
        let why = "an external cache is shared by all repositories of the class, and each can \
                   poison it for the others: let `repos` name repositories of one owner";
        r.mistake("runner", why);
    }
}

/// Whether the patterns name repositories of one owner only.
fn has_one_owner(repos: &[String]) -> bool {
    let owner = |pattern: &String| owner_of(pattern).to_ascii_lowercase();
    let mut owners: Vec<String> = repos.iter().map(owner).collect();
    owners.dedup();
    matches!(&owners[..], [owner] if !owner.contains('*'))
}

fn download(runner: &Reader<'_>) -> Option<RunnerDownload> {
    if !runner.has("download") {
        return None;
    }
    let r = runner.table("download");
    let (url, sha256) = (r.parsed("url", url), r.parsed("sha256", sha256));
    Some(RunnerDownload { url: url?, sha256: sha256? })
}

/// Reads the variables `RUNNER_URL` and `RUNNER_SHA256`.
pub(super) fn of_variables(top: &Reader<'_>) -> Option<RunnerSetup> {
    let (address, hash) = (top.variable("RUNNER_URL"), top.variable("RUNNER_SHA256"));
    let missing = |variable: &str, other: &str| {
        let message = format!("is not set, but {other} is: set both, or neither");
        top.variable_mistake(variable, "compute", &message);
    };
    match (address, hash) {
        (None, None) => return None,
        (Some(_), None) => missing("RUNNER_SHA256", "RUNNER_URL"),
        (None, Some(_)) => missing("RUNNER_URL", "RUNNER_SHA256"),
        (Some(_), Some(_)) => {}
    }
    let checked = |variable: &str, read: Result<String, String>, text: &str, expected: &str| {
        let general = format!("\"{}\" is not valid: expected {expected}", cut(text, 60));
        let say = |why: &String| {
            let message = if why.is_empty() { &general } else { why };
            top.variable_mistake(variable, "compute", message);
        };
        read.inspect_err(say).ok()
    };
    let (address, hash) = (address?.trim(), hash?.trim());
    let url = checked("RUNNER_URL", url(address), address, "the address of a runner");
    let expected = "a SHA-256 in 64 lower-case hex digits";
    let sha256 = checked("RUNNER_SHA256", sha256(hash), hash, expected);
    let download = Some(RunnerDownload { url: url?, sha256: sha256? });
    Some(RunnerSetup { download, ..RunnerSetup::default() })
}

/// Checks the address of a program. The boot script writes it between single quotes.
fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = |c: char| c.is_ascii_graphic() && !"?#@'\\\"".contains(c);
    let Some(rest) = rest.filter(|rest| !rest.is_empty() && rest.chars().all(fits)) else {
        return not_of_form();
    };
    let end = Path::new(rest).extension().and_then(|end| end.to_str()).unwrap_or_default();
    if ARCHIVES.contains(&end) {
        return Err(format!(
            "\"{}\" is an archive, which machines do not unpack: name the program itself",
            cut(text, 100)
        ));
    }
    Ok(text.to_owned())
}

fn sha256(text: &str) -> Result<String, String> {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let fits = text.len() == 64 && text.chars().all(is_hex);
    if fits { Ok(text.to_owned()) } else { not_of_form() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_programs_and_hashes_are_checked() {
        assert!(url("https://example.com/gitea-runner-1.0.8-linux-amd64").is_ok());
        assert!(url("http://10.0.0.1:8000/runner").is_ok());
        for text in ["", "https://", "ftp://x/y", "https://u@x/y", "https://x/y?z", "https://x/'"] {
            assert_eq!(url(text), not_of_form(), "{text}");
        }
        assert!(url("https://x/runner.xz").unwrap_err().contains("is an archive"));
        assert!(sha256(&"0a".repeat(32)).is_ok());
        for text in [String::new(), "0A".repeat(32), "0a".repeat(31), "0g".repeat(32)] {
            assert_eq!(sha256(&text), not_of_form(), "{text}");
        }
    }
}
