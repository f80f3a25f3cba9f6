//! Starts the processes of a machine: two starts of one token make one machine.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;
use std::time::Duration;

use tinqs_ci_boot::MARKER;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::directory::{self, Place};
use super::{Processes, log, scan, unavailable};

/// Claims the machine for this process, or exits. `exec` keeps pid and start time.
const CLAIM: &str = "umask 077; read -r -a stat </proc/$$/stat && [ ! -e terminated ] && set -C && \
                     echo \"$$ ${stat[21]}\" >started && exec bash boot.sh";
/// Takes the boot script from a pipe, so that it is in no file and no list of processes. If nothing
/// comes, the controller did not claim the machine.
const TAKE: &str = "script=$(cat) && exec </dev/null && eval \"$script\"";

impl Processes {
    /// Starts the processes of a prepared machine; returns once it is claimed for them.
    pub(super) async fn start(&self, place: &Place, script: &str) -> Result<(), PortError> {
        let failed = |error| directory::failed("launch", &place.dir, error);
        let log = log::open(place).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        let other = self.inner.account.0.is_some();
        let mut command = Command::new("bash");
        command
            .args(["-c", if other { TAKE } else { CLAIM }])
            .env_clear()
            .envs(self.inner.options.environment.iter().cloned())
            .env("HOME", place.work.join(directory::HOME))
            .env("TMPDIR", place.work.join(directory::TMP))
            .env(MARKER, &place.token)
            .current_dir(&place.work)
            .process_group(0)
            .stdin(if other { Stdio::piped() } else { Stdio::null() })
            .stdout(log)
            .stderr(errors);
        let child = self.inner.account.spawn(command);
        let child = child.map_err(|error| cannot_spawn(place, error))?;
        if other { give(place, child, script).await } else { claimed(place, child).await }
    }
}

/// Waits until the process has claimed the machine.
async fn claimed(place: &Place, mut child: Child) -> Result<(), PortError> {
    // Reaped when it ends; it may outlive this process.
    let reaper = tokio::spawn(async move { child.wait().await.map(|_| ()) });
    for _ in 0..500 {
        if place.has(directory::STARTED) {
            return Ok(());
        }
        if reaper.is_finished() {
            // It may have claimed between the two checks.
            return if place.has(directory::STARTED) { Ok(()) } else { Err(unclaimed(place)) };
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A very slow host: the start is under way, and the directory cannot be claimed twice.
    Ok(())
}

/// Claims the machine for a process that waits for its script, and gives it that.
async fn give(place: &Place, mut child: Child, script: &str) -> Result<(), PortError> {
    let claim = claim(place, child.id());
    if let (Ok(()), Some(mut stdin)) = (&claim, child.stdin.take()) {
        // If it has ended meanwhile, the next list shows that.
        let _ = stdin.write_all(script.as_bytes()).await;
    }
    // Without a script it ends by itself.
    drop(child.stdin.take());
    tokio::spawn(async move { child.wait().await.map(|_| ()) });
    match claim {
        Ok(()) => Ok(()),
        // Another launch of the same token was first.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(unclaimed(place)),
        Err(error) => Err(directory::failed("launch", &place.dir, error)),
    }
}

/// Records the process as the machine's first one. `NotFound`: it has ended, or its machine must no
/// longer start.
fn claim(place: &Place, pid: Option<u32>) -> io::Result<()> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let pid = pid.ok_or_else(gone)?;
    let identity = place.account.files(|| scan::identity(pid))?.ok_or_else(gone)?;
    if place.has(directory::TERMINATED) {
        return Err(gone());
    }
    let started = place.dir.join(directory::STARTED);
    let mut started = OpenOptions::new().write(true).create_new(true).mode(0o600).open(started)?;
    started.write_all(identity.as_bytes())
}

fn unclaimed(place: &Place) -> PortError {
    let dir = place.dir.display();
    unavailable(
        "launch",
        format!(
            "the machine did not start in `{dir}`: see `log` there, and check the disk's space"
        ),
    )
}

fn cannot_spawn(place: &Place, error: std::io::Error) -> PortError {
    let token = &place.token;
    let (kind, message) = match error.kind() {
        std::io::ErrorKind::NotFound => (
            ErrorKind::Invalid,
            format!(
                "cannot start {token}: `bash` is not in the machines' PATH; install it or fix PATH"
            ),
        ),
        _ => (
            ErrorKind::Unavailable,
            format!("cannot start {token}: check the limits of processes and memory"),
        ),
    };
    PortError::new("compute", "launch", kind, message).caused_by(error)
}
