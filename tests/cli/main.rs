//! The command line: output and exit codes of the real binary against scripted servers.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]

mod backup;
mod completion;
mod config;
mod demo;
mod drift;
mod events;
mod help;
mod init;
mod init_repos;
mod local;
mod logs;
mod narrow;
mod open;
mod pauses;
mod registration;
mod remote;
mod right_path;
mod scripted;
mod serve;
mod sorted;
mod status;
mod suggested;
mod terminal;
mod tls;
mod usage;
mod webhook;

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The output and exit code of a command.
#[derive(Debug)]
struct CommandOutput {
    code: i32,
    out: String,
    err: String,
}

/// Prepares the binary with only these environment variables.
fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tinqs-ci"));
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    command
}

/// A running program, killed at the end of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn said(output: Output) -> CommandOutput {
    CommandOutput {
        code: output.status.code().expect("it ended by itself"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn tinqs(args: &[&str]) -> CommandOutput {
    said(command(args, &[]).output().expect("it runs"))
}

/// Writes a file that only its user can read, as `serve` demands of credentials.
fn write_credential(file: &Path, text: &str) {
    std::fs::write(file, text).expect("written");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(file, mode).expect("its mode is set");
}

fn tinqs_in(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> CommandOutput {
    said(command(args, env).current_dir(folder).output().expect("it runs"))
}

/// Returns the failure at the end of a server's log: the errors, then the hint.
fn failure_in_log(log: &str) -> String {
    let lines = log.lines().map(serde_json::from_str::<serde_json::Value>);
    let lines: Vec<_> = lines.map(|line| line.expect("every line is JSON")).collect();
    let ended = lines.iter().filter(|line| line["message"] == "ended with a failure");
    let ended: Vec<_> = ended.collect();
    let text = |field: &serde_json::Value| field.as_str().expect("text").to_owned();
    let mut told: Vec<String> = ended.iter().map(|line| text(&line["error"])).collect();
    told.extend(ended.last().map(|line| format!("hint: {}", text(&line["hint"]))));
    told.join("\n") + "\n"
}
