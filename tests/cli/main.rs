//! The command line: the real binary, its words, its exit codes, against servers scripted here.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]

mod demo;
mod help;
mod init;
mod local;
mod remote;
mod scripted;
mod serve;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// What a command said, and how it ended.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

/// The binary with nothing in its environment but these.
fn command(args: &[&str], env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tinqs-ci"));
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    command
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().expect("it ended by itself"),
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
    }
}

fn tinqs(args: &[&str]) -> Said {
    said(command(args, &[]).output().expect("it runs"))
}

fn tinqs_in(folder: &Path, args: &[&str], env: &[(&str, &str)]) -> Said {
    said(command(args, env).current_dir(folder).output().expect("it runs"))
}
