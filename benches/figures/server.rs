//! The program as a process of its own: started, asked, stopped by its id.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::figure::Result;

/// How long the server may take to answer, to settle, to end.
const PATIENCE: Duration = Duration::from_mins(1);

/// A server that was started. It ends with the value.
pub(crate) struct Server {
    child: Child,
    port: u16,
    log: PathBuf,
    client: reqwest::Client,
}

/// A port that is free now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

impl Server {
    /// Starts it, logging to a file; does not wait for it. `port` is where it is told to listen.
    pub(crate) fn spawn(command: &mut Command, port: u16, log: &Path) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(log)?)
            .spawn()?;
        Ok(Self { child, port, log: log.to_owned(), client: crate::load::client()? })
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.client.get(self.url("/readyz")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the server ended with {status}: {}", self.last_words()).into());
            }
            if Instant::now() > until {
                return Err(format!("the server is not ready: {}", self.last_words()).into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().rev().take(3).collect::<Vec<_>>().join(" | ")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An address of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it answers, as text; an error where it does not succeed.
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        let answer = self.client.get(self.url(path)).send().await?.error_for_status()?;
        Ok(answer.text().await?)
    }

    /// Asks it to do something; an error where it does not succeed.
    pub(crate) async fn post(&self, path: &str) -> Result<()> {
        self.client.post(self.url(path)).send().await?.error_for_status()?;
        Ok(())
    }

    /// Whether it answers with success.
    pub(crate) async fn has(&self, path: &str) -> Result<bool> {
        Ok(self.client.get(self.url(path)).send().await?.status().is_success())
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        signal(self.pid(), Signal::TERM);
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                self.kill()?;
                return Err("the server did not end on SIGTERM".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have been stopped already; it is gone either way.
        let _ = self.kill();
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// A runtime for what talks to the server.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
