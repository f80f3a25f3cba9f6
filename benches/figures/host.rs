//! The real binary beside a forge on loopback, in a directory of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use tinqs_ci::settings::Settings;
use tinqs_ci_simulator::forge::{Config, Forge, Line};
use tinqs_ci_simulator::gitea_wire::{ApiToken, Right, Wire, WireOptions};

use crate::figure::Result;
use crate::machine;

/// What webhooks are signed with.
pub(crate) const SECRET: &str = "bench-webhook-secret";
const TOKEN: &str = "bench-api-token";
/// How long the server may take to answer, to settle, to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// Stands in PATH under the runner's name: a machine that is up and gets no job.
const RUNNER: &str = "#!/bin/sh\nexec sleep 600\n";

/// The binary that is measured.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tinqs-ci");

/// A forge, a directory, and at most one server.
pub(crate) struct Host {
    dir: tempfile::TempDir,
    forge: Arc<Mutex<Forge>>,
    wire: Wire,
    client: reqwest::Client,
    server: Option<(Child, u16)>,
    starts: u32,
}

/// How a server is started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Its role; `all` where empty.
    pub(crate) role: &'static str,
    /// Lines of the one class beside its name and labels.
    pub(crate) class: &'static str,
}

impl Host {
    /// A forge on loopback; to be called in a runtime.
    pub(crate) fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let bin = dir.path().join("bin");
        fs::create_dir(&bin)?;
        fs::write(bin.join("gitea-runner"), RUNNER)?;
        fs::set_permissions(bin.join("gitea-runner"), fs::Permissions::from_mode(0o755))?;
        let forge = Forge::new(Config { line: Line::V1_26, ..Config::default() });
        let forge = Arc::new(Mutex::new(forge));
        let options = WireOptions {
            tokens: vec![ApiToken { token: TOKEN.to_owned(), right: Right::Admin }],
            ..WireOptions::default()
        };
        let wire = Wire::start(forge.clone(), Arc::new(Timestamp::now), options)?;
        let client = crate::load::client()?;
        Ok(Self { dir, forge, wire, client, server: None, starts: 0 })
    }

    /// The forge behind the wire.
    pub(crate) fn forge(&self) -> MutexGuard<'_, Forge> {
        self.forge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store's directory.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Where machines are.
    pub(crate) fn machines(&self) -> PathBuf {
        self.dir.path().join("machines")
    }

    /// The server's configuration, with a port that is free now.
    pub(crate) fn configuration(&self, options: Options) -> Result<(String, u16)> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let text = format!(
            "installation = \"bench\"\nstore = \"redb:{dir}/data\"\ncompute = \"process:{dir}/machines\"\n\
             [forge]\nurl = \"{url}\"\ntoken = \"{TOKEN}\"\nwebhook_secret = \"{SECRET}\"\n\
             [server]\nlisten = \"127.0.0.1:{port}\"\n[[class]]\nname = \"linux\"\nlabels = [\"*\"]\n{class}\n",
            dir = self.dir.path().display(),
            url = self.wire.url(),
            class = options.class,
        );
        Ok((text, port))
    }

    /// The same, as the server understands it.
    pub(crate) fn settings(&self, options: Options) -> Result<Settings> {
        let text = self.configuration(options)?.0;
        Ok(tinqs_ci::config::parse(
            &text,
            Some(Path::new("bench.toml")),
            &tinqs_ci::config::Env::new(),
        )?
        .settings)
    }

    /// Starts the server as operators do, logging to a file; does not wait for it.
    pub(crate) fn spawn(&mut self, options: Options) -> Result<()> {
        if self.server.is_some() {
            return Err("one server at a time".into());
        }
        self.starts += 1;
        let (text, port) = self.configuration(options)?;
        let file = self.dir.path().join("tinqs-ci.toml");
        fs::write(&file, text)?;
        let log = fs::File::create(self.dir.path().join(format!("{}.log", self.starts)))?;
        let path = format!("{}:/usr/bin:/bin", self.dir.path().join("bin").display());
        let child = Command::new(BINARY)
            .args(["serve", "--config"])
            .arg(&file)
            .args(["--role", if options.role.is_empty() { "all" } else { options.role }])
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.server = Some((child, port));
        Ok(())
    }

    /// Starts the server and waits until it is ready.
    pub(crate) async fn start(&mut self, options: Options) -> Result<()> {
        self.spawn(options)?;
        self.ready().await
    }

    /// Waits until `/readyz` says so.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.client.get(self.url("/readyz")?).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Some((child, _)) = &mut self.server
                && let Some(status) = child.try_wait()?
            {
                return Err(format!("the server ended with {status}: {}", self.last_words()).into());
            }
            if Instant::now() > until {
                return Err(format!("the server is not ready: {}", self.last_words()).into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn last_words(&self) -> String {
        let log = self.dir.path().join(format!("{}.log", self.starts));
        let log = fs::read_to_string(log).unwrap_or_default();
        log.lines().rev().take(3).collect::<Vec<_>>().join(" | ")
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> Result<u32> {
        self.server.as_ref().map(|(child, _)| child.id()).ok_or_else(|| "no server".into())
    }

    /// An address of the server.
    pub(crate) fn url(&self, path: &str) -> Result<String> {
        let (_, port) = self.server.as_ref().ok_or("no server")?;
        Ok(format!("http://127.0.0.1:{port}{path}"))
    }

    /// What the server answers, as text; an error where it does not succeed.
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        let answer = self.client.get(self.url(path)?).send().await?.error_for_status()?;
        Ok(answer.text().await?)
    }

    /// Whether the server answers with success.
    pub(crate) async fn has(&self, path: &str) -> Result<bool> {
        Ok(self.client.get(self.url(path)?).send().await?.status().is_success())
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) -> Result<()> {
        let (mut child, _) = self.server.take().ok_or("no server")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        let (mut child, _) = self.server.take().ok_or("no server")?;
        signal(child.id(), Signal::TERM);
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > until {
                child.kill()?;
                child.wait()?;
                return Err("the server did not end on SIGTERM".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.server.is_some() {
            // It is gone either way.
            let _ = self.kill();
        }
        // Machines outlive the server; each carries its home in its environment.
        for pid in machine::carrying(&format!("HOME={}", self.machines().display())) {
            signal(pid, Signal::KILL);
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended meanwhile.
        let _ = kill_process(pid, signal);
    }
}

/// A runtime for what talks to the server.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}
