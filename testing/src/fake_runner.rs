//! A runner for process machines that records what it was given and does what it is told, and helpers
//! that show what is left of a machine.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Records what it sees in `$FAKE`, then behaves as `$FAKE_MODE` says.
const RUNNER: &str = r#"#!/bin/bash
umask >"$FAKE/umask"
case $FAKE_MODE in
  idle) trap 'echo term >>"$FAKE/signals"; exit 0' TERM ;;
  busy) trap 'echo term >>"$FAKE/signals"' TERM ;;
  stubborn) trap '' TERM ;;
esac
umask 022
cp .runner "$FAKE/identity"
cp config.yaml "$FAKE/config"
printf '%s\n' "$@" >"$FAKE/arguments"
stat -c %a . .runner config.yaml >"$FAKE/modes"
env >"$FAKE/environment"
case $FAKE_MODE in
  quick) exit 0 ;;
  idle)
    : >"$FAKE/ready"
    while :; do sleep 0.05; done
    ;;
  busy)
    : >"$FAKE/ready"
    until [ -e "$FAKE/finish" ]; do sleep 0.05; done
    echo done >"$FAKE/finished"
    ;;
  stubborn)
    # Like the real one: steps in process groups of their own, and some that ignore SIGTERM.
    set -m
    bash -c 'trap "" TERM; while :; do sleep 0.05; done' &
    sleep 1000 &
    (sleep 1000 & exec sleep 1001) &
    : >"$FAKE/ready"
    while :; do sleep 0.05; done
    ;;
esac
"#;

/// A directory with a runner in `bin`, which writes into `said`.
pub struct Fake {
    /// The directory, removed with this.
    pub dir: tempfile::TempDir,
}

impl Fake {
    /// Makes a directory with the runner.
    #[expect(clippy::new_without_default, reason = "it makes a directory")]
    pub fn new() -> Self {
        let fake = Self::without_runner();
        fake.program("gitea-runner", RUNNER);
        fake
    }

    /// Makes a directory without a runner.
    pub fn without_runner() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        std::fs::create_dir(dir.path().join("said")).unwrap();
        Self { dir }
    }

    /// Puts a program into `bin`.
    pub fn program(&self, name: &str, text: &str) {
        let path = self.dir.path().join("bin").join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Returns the path of a file that the runner may have written.
    pub fn said(&self, name: &str) -> PathBuf {
        self.dir.path().join("said").join(name)
    }

    /// Returns what such a file holds, or nothing.
    pub fn heard(&self, name: &str) -> String {
        std::fs::read_to_string(self.said(name)).unwrap_or_default()
    }

    /// Returns what the boot script said, a line each, without its prefix and the time since the boot.
    pub fn console(&self) -> Vec<String> {
        let text = self.heard("stderr");
        let said = text.lines().filter_map(|line| line.strip_prefix("tinqs-ci: +"));
        said.filter_map(|line| line.split_once("s ")).map(|(_, said)| said.to_owned()).collect()
    }

    /// Returns the environment of a machine: PATH, and what the runner is told.
    pub fn environment(&self, mode: &str) -> Vec<(OsString, OsString)> {
        let bin = self.dir.path().join("bin");
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        vec![
            ("PATH".into(), path.into()),
            ("FAKE".into(), self.dir.path().join("said").into()),
            ("FAKE_MODE".into(), mode.into()),
        ]
    }
}

/// Returns the processes that carry the marker of this machine.
pub fn processes(token: &str) -> Vec<i32> {
    carrying(&format!("TINQS_CI_MACHINE={token}"))
}

/// Returns the processes that were started with this variable and value.
pub fn carrying(wanted: &str) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()) {
            found.push(pid);
        }
    }
    found
}

/// Returns the permission bits of a file.
pub fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}
