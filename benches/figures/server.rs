//! The program as a separate process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::figure::Result;

/// Time limit for the server to respond, to settle and to exit.
const PATIENCE: Duration = Duration::from_mins(1);

/// A running server, killed on drop.
pub(crate) struct Server {
    child: Child,
    /// Of webhooks and of the API.
    ports: [u16; 2],
    log: PathBuf,
    client: reqwest::Client,
}

/// The API token of a server.
pub(crate) const TOKEN: &str = "bench-own-api-token";

/// Returns two ports that are free now, for webhooks and for the API.
pub(crate) fn free_ports() -> Result<[u16; 2]> {
    // Both are bound before one is released, so that they differ.
    let bind = || std::net::TcpListener::bind("127.0.0.1:0");
    let (first, second) = (bind()?, bind()?);
    Ok([first.local_addr()?.port(), second.local_addr()?.port()])
}

/// Returns the lines of a configuration for a server at these ports.
pub(crate) fn configuration([webhooks, api]: [u16; 2]) -> String {
    format!(
        "[server]\nwebhooks = \"127.0.0.1:{webhooks}\"\napi = \"127.0.0.1:{api}\"\n\
         [[server.token]]\nname = \"bench\"\nsecret = \"{TOKEN}\"\nmay = \"operate\"\n"
    )
}

impl Server {
    /// Starts the server, which logs to a file and listens on `ports`. Does not wait until it is
    /// ready.
    pub(crate) fn spawn(command: &mut Command, ports: [u16; 2], log: &Path) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(log)?)
            .spawn()?;
        Ok(Self { child, ports, log: log.to_owned(), client: crate::load::client()? })
    }

    /// Waits until `/readyz` succeeds.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.client.get(self.url("/readyz")).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(
                    format!("the server exited with {status}: {}", self.last_words()).into()
                );
            }
            if Instant::now() > until {
                return Err(format!("the server is not ready: {}", self.last_words()).into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns the end of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().rev().take(3).collect::<Vec<_>>().join(" | ")
    }

    /// Returns its process ID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns a URL of it.
    pub(crate) fn url(&self, path: &str) -> String {
        let port = if path == "/webhook" { self.ports[0] } else { self.ports[1] };
        format!("http://127.0.0.1:{port}{path}")
    }

    /// Returns the body of a successful response.
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        let request = self.client.get(self.url(path)).bearer_auth(TOKEN);
        Ok(request.send().await?.error_for_status()?.text().await?)
    }

    /// Sends a POST request, which must succeed.
    pub(crate) async fn post(&self, path: &str) -> Result<()> {
        let request = self.client.post(self.url(path)).bearer_auth(TOKEN);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// Returns whether the response is successful.
    pub(crate) async fn has(&self, path: &str) -> Result<bool> {
        let request = self.client.get(self.url(path)).bearer_auth(TOKEN);
        Ok(request.send().await?.status().is_success())
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Sends SIGTERM and waits for the exit.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        signal(self.pid(), Signal::TERM);
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                self.kill()?;
                return Err("the server did not exit on SIGTERM".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have stopped already.
        let _ = self.kill();
    }
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have exited in the meantime.
        let _ = kill_process(pid, signal);
    }
}

/// Returns a runtime for clients of the server.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
