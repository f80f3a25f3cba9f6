//! The boot script of a machine: a pure function of the recorded attempt.
//!
//! Every value from outside is rendered into a here-document, as ASCII JSON, as an escaped string of
//! YAML or as a percent-encoded URL, so that no text can end it or be read as shell.

mod config;

use std::fmt::Write as _;

use jiff::SignedDuration;
use serde::Serialize;
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Boot, MachineSpec, Market, Runner, RunnerDownload, Secret,
};

/// The environment variable that marks every process of a `process:` machine; its value is the
/// client token.
pub const MARKER: &str = "TINQS_CI_MACHINE";

/// Sets the deadline timer and the trap that powers off, and changes to the runner's directory.
const TIMER: &str = include_str!("timer.sh");
/// Changes to the directory of another user, as whom the runner starts.
const USER: &str = include_str!("user.sh");
/// Gives the runner the environment of a login on the machine.
const ENVIRONMENT: &str = include_str!("environment.sh");
/// Makes the machine trust the authority in `ca.pem`.
const CA: &str = include_str!("ca.sh");
/// Fetches a runner where there is none.
const DOWNLOAD: &str = include_str!("download.sh");
/// Fails where there is none and the class names none.
const NO_DOWNLOAD: &str = r#"fetch() {
  say "$why: install gitea-runner, or act_runner 0.3.1 or later, where machines boot"
  return 1
}

"#;
/// Ends what belongs to a job.
const END: &str = include_str!("end.sh");
/// Keeps the machine after a job that asked for it.
const HOLD: &str = include_str!("hold.sh");
/// The replacement of [`HOLD`] for machines that are not held.
const NO_HOLD: &str = "hold_file=\nhold_machine() { :; }\n";
/// Heeds the notice that a Spot machine gets before the cloud takes it back.
const NOTICE: &str = include_str!("notice.sh");
/// The replacement of [`NOTICE`] for other machines: no notice comes.
const NO_NOTICE: &str = "take_notice() { :; }\n\n";
/// Configures and starts the runner until `start_by`, drains it when idle, waits, powers off.
const RUNNER: &str = include_str!("runner.sh");

/// The part of the script that is the same for all machines, apart from times and addresses.
const OWN: &str = "the script itself";

/// Returns the script that a machine runs at boot: bash, which needs coreutils and the runner. The
/// same attempt gives the same bytes, usually under 9 kB. It holds the attempt's single-job
/// identity, and the git token if one is configured: keep it as secret as those.
pub fn script(attempt_id: &AttemptId, placement: u32, attempt: &Attempt) -> String {
    render(attempt_id, placement, attempt).0
}

/// Returns the parts of that script with their sizes in bytes, which add up to its length.
pub fn sizes(
    attempt_id: &AttemptId,
    placement: u32,
    attempt: &Attempt,
) -> Vec<(&'static str, usize)> {
    render(attempt_id, placement, attempt).1
}

/// Returns the script, and the sizes of its parts.
fn render(
    attempt_id: &AttemptId,
    placement: u32,
    attempt: &Attempt,
) -> (String, Vec<(&'static str, usize)>) {
    let mut sizes: Vec<(&'static str, usize)> = vec![(OWN, 0)];
    let mut counted = 0;
    let mut count = |script: &str, part: &'static str| {
        let size = script.len() - std::mem::replace(&mut counted, script.len());
        match sizes.iter_mut().find(|(known, _)| *known == part) {
            Some((_, known)) => *known += size,
            None => sizes.push((part, size)),
        }
    };
    let Boot { deadline, idle_within, start_by, hold, instance_url, git_token } = &attempt.boot;
    // An attempt of an earlier release has only a deadline.
    let start_by = start_by.unwrap_or(*deadline);
    let spec = spec(attempt, placement);
    let setup = spec.and_then(|spec| spec.runner.as_deref());
    let mut script = format!(
        "#!/bin/bash\n# tinqs-ci: the machine {}. It runs one job and powers off.\n\
         deadline={} # {deadline:.0}\nstart_by={} # {start_by:.0}\nidle_within={}\n",
        plain(&attempt_id.token(placement)),
        deadline.as_second(),
        start_by.as_second(),
        seconds(*idle_within),
    );
    push_commands(&mut script, TIMER);
    if let Some((user, setup)) = setup.and_then(|setup| Some((setup.user.as_ref()?, setup))) {
        let has_role = spec.is_some_and(|spec| !spec.instance_profile.is_empty());
        script.push_str(&as_user(user, setup.docker, has_role));
        push_commands(&mut script, USER);
    }
    count(&script, OWN);
    let identity = identity(&attempt.runner, instance_url);
    here_document(&mut script, ">.runner", "END_OF_IDENTITY", &identity);
    count(&script, "identity with its labels");
    if let Some(config) = git_token.as_ref().and_then(|token| git_config(instance_url, token)) {
        // For cloning over HTTPS. A file, since jobs print their environment.
        script.push_str("\n: >>\"$HOME/.gitconfig\" && chmod 600 \"$HOME/.gitconfig\" || fail\n");
        here_document(&mut script, ">>\"$HOME/.gitconfig\"", "END_OF_GIT", &config);
        count(&script, "git token");
    }
    let config = setup.and_then(|setup| setup.config.as_ref());
    script.push('\n');
    push_commands(&mut script, ENVIRONMENT);
    count(&script, OWN);
    if let Some(ca) = config.and_then(|config| config.ca.as_deref()) {
        here_document(&mut script, ">ca.pem", "END_OF_CA", &pem(ca));
        push_commands(&mut script, CA);
        count(&script, "`ca`");
    }
    match setup.and_then(|setup| setup.download.as_ref()) {
        Some(RunnerDownload { url, sha256 }) => {
            // Neither contains a single quote.
            let (url, hash) = (percent(url, "-._~:/?#[]@!$&()*+,;=%"), plain(sha256));
            let _ = writeln!(script, "runner_url='{url}'\nrunner_sha256='{hash}'");
            push_commands(&mut script, DOWNLOAD);
        }
        None => push_commands(&mut script, NO_DOWNLOAD),
    }
    count(&script, OWN);
    push_after_job(&mut script, spec, *hold);
    script.push_str(&config::write_config(config));
    count(&script, "`config.yaml`");
    push_commands(&mut script, RUNNER);
    count(&script, OWN);
    (script, sizes)
}

/// Adds what is done when the cloud takes a Spot machine, and when a job asks for its machine.
fn push_after_job(script: &mut String, spec: Option<&MachineSpec>, hold: SignedDuration) {
    // A process has no subnet, whatever its class says about markets. It shares its host, and
    // Docker there, with other machines.
    let own_host = spec.is_some_and(|spec| !spec.subnet.is_empty());
    let is_spot = own_host && spec.is_some_and(|spec| spec.market == Market::Spot);
    if is_spot || !hold.is_zero() {
        let _ = writeln!(script, "own_host={}", if own_host { "1" } else { "" });
        push_commands(script, END);
    }
    push_commands(script, if is_spot { NOTICE } else { NO_NOTICE });
    if hold.is_zero() {
        push_commands(script, NO_HOLD);
    } else {
        let _ = writeln!(script, "hold={}", hold.as_secs().max(0));
        push_commands(script, HOLD);
    }
}

/// Returns the recorded machine spec of the placement.
fn spec(attempt: &Attempt, placement: u32) -> Option<&MachineSpec> {
    let at = usize::try_from(placement).ok()?;
    attempt.placements.get(at).map(|placement| &placement.machine)
}

/// Returns the variables for a runner that starts as this user of the image. The instance metadata
/// service is closed to it, unless it may become root by Docker or have the machine's role.
fn as_user(user: &str, docker: bool, has_role: bool) -> String {
    let set = |is: bool| if is { "1" } else { "" };
    let plain: String =
        user.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let fence = set(!docker && !has_role);
    format!("user='{plain}' in_docker='{}' fence='{fence}'\n", set(docker))
}

/// Adds a part of the script without its comments and its indentation, which would take a quarter
/// of what EC2 allows. No part has a text of several lines in which indentation counts.
fn push_commands(script: &mut String, part: &str) {
    let lines = part.lines().map(str::trim_start);
    for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
        script.push_str(line);
        script.push('\n');
    }
}

/// Returns the lines that can be PEM. Comments between certificates are left out.
fn pem(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "+/=- ".contains(c);
    text.lines().filter(|line| line.chars().all(fits)).collect::<Vec<_>>().join("\n")
}

/// `text` must not hold a line that equals `end`; the lines of the callers begin otherwise.
fn here_document(script: &mut String, to: &str, end: &str, text: &str) {
    let _ = writeln!(script, "cat {to} <<'{end}' || fail\n{text}\n{end}");
}

/// Returns the runner's state file, as `register` would write it.
fn identity(runner: &Runner, address: &str) -> String {
    #[derive(Serialize)]
    struct State<'a> {
        id: i64,
        uuid: &'a str,
        name: &'a str,
        token: &'a str,
        address: &'a str,
        labels: Vec<String>,
        ephemeral: bool,
    }
    let Runner { id, repo_id: _, uuid, name, labels, token } = runner;
    let labels = labels.iter().map(|label| with_schema(label)).collect();
    let state =
        State { id: *id, uuid, name, token: token.expose(), address, labels, ephemeral: true };
    // Strings, numbers and a list of strings always serialize.
    ascii(&serde_json::to_string_pretty(&state).unwrap_or_default())
}

/// A label without a schema means the host; written out, so that no runner version differs.
fn with_schema(label: &str) -> String {
    if label.contains(':') { label.to_owned() } else { format!("{label}:host") }
}

/// Escapes every character outside printable ASCII. In JSON such characters occur only inside
/// strings, where the escape means the same.
fn ascii(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || c == ' ' || c.is_ascii_graphic() {
            out.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

/// Lets git send the token to the forge, and to it alone. `None` if the URL is not HTTP.
fn git_config(instance_url: &str, token: &Secret) -> Option<String> {
    let (scheme, rest) = instance_url.split_once("://")?;
    if !matches!(scheme, "http" | "https") {
        return None;
    }
    let rest = rest.trim_end_matches('/');
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let place = percent(&format!("{host}{path}/"), "-._~:/[]%");
    let user = percent(token.expose(), "-._~");
    // The user name is the token: every Gitea version accepts that.
    Some(format!(
        "[url \"{scheme}://{user}:x-oauth-basic@{place}\"]\n\tinsteadOf = \"{scheme}://{place}\""
    ))
}

/// Percent-encodes all but letters, digits and `safe`.
fn percent(text: &str, safe: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || safe.as_bytes().contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A name for a comment: characters that cannot occur in an attempt ID are replaced.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '?' }).collect()
}

/// Formats a duration for `sleep`: `120`, `0.25`; never negative.
fn seconds(duration: SignedDuration) -> String {
    let millis = duration.as_millis().max(0);
    match millis % 1000 {
        0 => (millis / 1000).to_string(),
        rest => format!("{}.{rest:03}", millis / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_for_sleep() {
        let texts = [(120_000, "120"), (250, "0.250"), (61_007, "61.007"), (-5, "0")];
        for (millis, text) in texts {
            assert_eq!(seconds(SignedDuration::from_millis(millis)), text);
        }
    }

    #[test]
    fn json_becomes_ascii_with_the_same_meaning() {
        let text = "a\u{7f}b\u{202e}c\u{1f600}d\n\"'$(x)`\u{1}";
        let json = ascii(&serde_json::to_string(text).unwrap());
        assert!(json.is_ascii() && !json.contains('\u{7f}'), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn git_sends_the_token_to_the_forge_alone() {
        let config = |url: &str| git_config(url, &Secret::new("t\"k\n/@"));
        assert_eq!(
            config("https://git.example.com:3000/sub/").unwrap(),
            "[url \"https://t%22k%0A%2F%40:x-oauth-basic@git.example.com:3000/sub/\"]\n\
             \tinsteadOf = \"https://git.example.com:3000/sub/\""
        );
        let odd = config("http://user:old@host\"]\n[core]/x").unwrap();
        assert_eq!(odd.lines().count(), 2, "{odd}");
        assert!(odd.contains("@host%22]%0A%5Bcore]/x/\"") || odd.contains("%0A["), "{odd}");
        assert_eq!(config("ssh://git@host/"), None);
        assert_eq!(config("nonsense"), None);
    }

    #[test]
    fn every_label_gets_a_schema() {
        assert_eq!(with_schema("linux"), "linux:host");
        assert_eq!(with_schema("linux:docker://node:20"), "linux:docker://node:20");
    }
}
