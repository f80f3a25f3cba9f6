//! A host as the tutorial makes it, on which the blocks of the pages are run.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tinqs_ci_test_host::{Host, OWN_TOKEN, Options, SECRET, TOKEN};

use crate::book::Block;

/// A host whose credentials are in files beside its configuration, as `init` names them.
pub(crate) fn host() -> Host {
    let host = Host::new(env!("CARGO_BIN_EXE_tinqs-ci"), &Options::default());
    for (name, variable, value) in [
        ("tinqs-ci.token", "FORGE_TOKEN", TOKEN),
        ("tinqs-ci.webhook-secret", "HOOK_SECRET", SECRET),
        ("tinqs-ci.api-token", "OWN_TOKEN", OWN_TOKEN),
    ] {
        let file = host.dir.path().join(name);
        credential(&file, value);
        let (from, to) = (format!("{{ env = \"{variable}\" }}"), in_file(&file));
        host.edit(|text| text.replace(&from, &to));
    }
    host
}

/// Writes a credential that only its user can read.
pub(crate) fn credential(file: &Path, value: &str) {
    fs::write(file, value).expect("written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("its mode is set");
}

/// Returns a credential's place, as the configuration has it.
pub(crate) fn in_file(file: &Path) -> String {
    format!("{{ file = \"{}\" }}", file.display())
}

/// Runs a block in the host's directory, with these values in place of its placeholders, and this
/// input. Returns what it printed.
///
/// # Panics
/// If one of its commands fails.
pub(crate) fn play(host: &Host, block: &Block, values: &[(&str, &str)], input: &str) -> String {
    let mut script: String = block.text.lines().map(ending).collect();
    for &(placeholder, value) in values {
        assert!(script.contains(placeholder), "{} has no {placeholder}", block.place());
        script = script.replace(placeholder, value);
    }
    // The forge answers the commands from this process.
    let output = tokio::task::block_in_place(|| bash(host, &script, input));
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "{}: {}\n{script}\n{text}", block.place(), output.status);
    text
}

/// Returns a command that ends: a person ends `-w`, here it is ended after some seconds.
fn ending(line: &str) -> String {
    let command = line.split(" #").next().unwrap_or_default().trim_end();
    if command.ends_with(" -w") {
        format!("timeout 5 {command} || test $? = 124\n")
    } else {
        format!("{line}\n")
    }
}

fn bash(host: &Host, script: &str, input: &str) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_tinqs-ci")).parent().expect("a directory");
    let bin = host.dir.path().join("bin");
    let mut child = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(host.dir.path())
        .env_clear()
        .env("PATH", format!("{}:{}:/usr/bin:/bin", program.display(), bin.display()))
        .env("HOME", host.dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash starts");
    let mut stdin = child.stdin.take().expect("its input");
    // A block that reads nothing may have ended.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("bash ends")
}

/// Returns the number of lines of the server's log that contain all of these.
pub(crate) fn logged(host: &Host, parts: &[&str]) -> usize {
    let log = fs::read_to_string(host.log()).unwrap_or_default();
    log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
}
