//! Execution of a task: run it, report every second, report its end.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};

use crate::client::{CallError, Client, Task};
use crate::{Stop, back_off};

/// Pause between reports.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Maximum lines of a stored log.
const MAX_LINES: usize = 5_000;

type Lines = Arc<Mutex<Vec<String>>>;

/// Runs a task and reports its end. Returns whether a signal came meanwhile. A job that still runs
/// `shutdown_timeout` after the signal is killed and reported as cancelled.
pub(crate) async fn work(
    client: &Client,
    task: &Task,
    shutdown_timeout: Duration,
    stop: &mut Stop,
) -> Result<bool, String> {
    let lines = Lines::default();
    let mut job = Job::start(task, &lines)?;
    let mut log = Log { client, task: &task.id, lines: &lines, sent: 0 };
    let mut beat = interval(REPORT_EVERY);
    let (mut stopped, mut deadline) = (false, std::pin::pin!(sleep(Duration::MAX / 4)));
    let result = loop {
        tokio::select! {
            result = job.end() => break result,
            () = stop.asked(), if !stopped => {
                stopped = true;
                deadline.set(sleep(shutdown_timeout));
            }
            () = &mut deadline, if stopped => {
                job.kill();
                break "RESULT_CANCELLED".to_owned();
            }
            _ = beat.tick() => {
                // The job continues after errors, as in gitea-runner 1.0.8.
                let _ = log.send(false).await;
                if matches!(client.update(&task.id, "RESULT_UNSPECIFIED").await, Ok(true)) {
                    job.kill();
                    break "RESULT_CANCELLED".to_owned();
                }
            }
        }
    };
    job.drain().await;
    close(client, task, &mut log, &result).await;
    Ok(stopped)
}

/// Sends the end of the log, then the result, each with a few tries.
async fn close(client: &Client, task: &Task, log: &mut Log<'_>, result: &str) {
    for attempt in 0..10 {
        match log.send(true).await {
            Ok(()) => break,
            Err(CallError::Unregistered) => return,
            Err(CallError::Other(message)) => eprintln!("{message}"),
        }
        back_off(attempt).await;
    }
    for attempt in 0..10 {
        match client.update(&task.id, result).await {
            Ok(_) | Err(CallError::Unregistered) => return,
            Err(CallError::Other(message)) => eprintln!("{message}"),
        }
        back_off(attempt).await;
    }
}

/// Output, and how much of it the server has.
struct Log<'a> {
    client: &'a Client,
    task: &'a str,
    lines: &'a Lines,
    sent: usize,
}

impl Log<'_> {
    async fn send(&mut self, no_more: bool) -> Result<(), CallError> {
        let new = {
            let lines = self.lines.lock();
            lines.get(self.sent..).map(<[String]>::to_vec).unwrap_or_default()
        };
        if !new.is_empty() || no_more {
            self.sent = self.client.log(self.task, self.sent, &new, no_more).await?;
        }
        Ok(())
    }
}

/// A running job.
enum Job {
    /// A shell in its own process group.
    Shell { child: Child, group: Option<Pid>, readers: Vec<JoinHandle<()>> },
    /// A job that only sleeps.
    Sleep { left: std::pin::Pin<Box<tokio::time::Sleep>>, result: String },
}

impl Job {
    fn start(task: &Task, lines: &Lines) -> Result<Self, String> {
        if let Some((time, result)) = &task.work {
            return Ok(Self::Sleep { left: Box::pin(sleep(*time)), result: result.clone() });
        }
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(&task.script)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| format!("cannot start sh: {e}"))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|out| tokio::spawn(read(out, lines.clone()))));
        readers.extend(child.stderr.take().map(|out| tokio::spawn(read(out, lines.clone()))));
        Ok(Self::Shell { child, group: id.and_then(Pid::from_raw), readers })
    }

    /// Waits for the end and returns the result. Cancel-safe.
    async fn end(&mut self) -> String {
        match self {
            Self::Shell { child, .. } => match child.wait().await {
                Ok(status) if status.success() => "RESULT_SUCCESS".to_owned(),
                Ok(_) | Err(_) => "RESULT_FAILURE".to_owned(),
            },
            Self::Sleep { left, result } => {
                left.await;
                result.clone()
            }
        }
    }

    /// Kills the whole process group.
    fn kill(&self) {
        if let Self::Shell { group: Some(group), child, .. } = self
            && child.id().is_some()
        {
            // The group may have ended already.
            let _ = kill_process_group(*group, Signal::KILL);
        }
    }

    /// Reads the rest of the pipes, without waiting for a background process that keeps them open.
    async fn drain(&mut self) {
        let Self::Shell { child, readers, .. } = self else { return };
        let _ = child.wait().await;
        let all = async {
            for reader in readers.iter_mut() {
                let _ = reader.await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(200), all).await;
    }
}

async fn read(out: impl AsyncRead + Unpin, lines: Lines) {
    let mut reader = BufReader::new(out);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await.is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
        line.clear();
        let mut lines = lines.lock();
        if lines.len() < MAX_LINES {
            lines.push(text);
        }
    }
}
