//! The real binary with a forge on loopback, in a temporary directory.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use rustix::process::Signal;
use tinqs_ci::settings::Settings;
use tinqs_ci_simulator::forge::{Config, Forge, Line};
use tinqs_ci_simulator::gitea_wire::{ApiToken, Right, Wire, WireOptions};

use crate::figure::Result;
use crate::load::SECRET;
use crate::machine;
pub(crate) use crate::server::runtime;
use crate::server::{Server, configuration, free_ports, signal};

const TOKEN: &str = "bench-api-token";
/// A runner in PATH that gets no job, so that its machine stays up.
const RUNNER: &str = "#!/bin/sh\nexec sleep 600\n";

/// The measured binary.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tinqs-ci");

/// A forge, a directory, and at most one server.
pub(crate) struct Host {
    dir: tempfile::TempDir,
    forge: Arc<Mutex<Forge>>,
    wire: Wire,
    server: Option<Server>,
    starts: u32,
}

/// Options of a server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// The role; empty means `all`.
    pub(crate) role: &'static str,
    /// Lines of the one class in addition to its name and labels.
    pub(crate) class: &'static str,
    /// Lines of the forge in addition to its URL and credentials.
    pub(crate) forge: &'static str,
}

impl Host {
    /// Starts a forge on loopback. Must be called in a runtime.
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
        Ok(Self { dir, forge, wire, server: None, starts: 0 })
    }

    /// Returns the forge behind the wire.
    pub(crate) fn forge(&self) -> MutexGuard<'_, Forge> {
        self.forge.lock()
    }

    /// Lets the forge answer each further request after this time only.
    pub(crate) fn delay_forge(&self, delay: Duration) {
        self.wire.faults(|faults| faults.delay = delay);
    }

    /// Returns the store's directory.
    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Returns the directory of machines.
    pub(crate) fn machines(&self) -> PathBuf {
        self.dir.path().join("machines")
    }

    /// Returns the server's configuration and its ports, which are free now.
    pub(crate) fn configuration(&self, options: Options) -> Result<(String, [u16; 2])> {
        let ports = free_ports()?;
        let limit = if options.class.contains("limit =") { "" } else { "limit = \"none\"\n" };
        let text = format!(
            "installation = \"bench\"\nstore = \"redb:{dir}/data\"\ncompute = \"process:{dir}/machines\"\n\
             [forge]\nurl = \"{url}\"\ntoken = \"{TOKEN}\"\nwebhook_secret = \"{SECRET}\"\n\
             {forge}{server}[[class]]\nname = \"linux\"\nlabels = [\"*\"]\n{limit}{class}\n",
            dir = self.dir.path().display(),
            url = self.wire.url(),
            forge = options.forge,
            server = configuration(ports),
            class = options.class,
        );
        Ok((text, ports))
    }

    /// Returns the parsed configuration.
    pub(crate) fn settings(&self, options: Options) -> Result<Settings> {
        let text = self.configuration(options)?.0;
        Ok(tinqs_ci::settings::parse(
            &text,
            Some(Path::new("bench.toml")),
            &tinqs_ci::settings::Env::new(),
        )?
        .settings)
    }

    /// Starts the server, which logs to a file. Does not wait until it is ready.
    fn spawn(&mut self, options: Options) -> Result<()> {
        if self.server.is_some() {
            return Err("one server at a time".into());
        }
        self.starts += 1;
        let (text, ports) = self.configuration(options)?;
        let file = self.dir.path().join("tinqs-ci.toml");
        fs::write(&file, text)?;
        let log = self.dir.path().join(format!("{}.log", self.starts));
        let path = format!("{}:/usr/bin:/bin", self.dir.path().join("bin").display());
        let mut command = Command::new(BINARY);
        command
            .args(["serve", "--insecure-root", "--config"])
            .arg(&file)
            .args(["--role", if options.role.is_empty() { "all" } else { options.role }])
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.dir.path());
        self.server = Some(Server::spawn(&mut command, ports, &log)?);
        Ok(())
    }

    /// Starts the server and waits until it is ready.
    pub(crate) async fn start(&mut self, options: Options) -> Result<()> {
        self.spawn(options)?;
        self.server.as_mut().ok_or("no server")?.ready().await
    }

    fn server(&self) -> Result<&Server> {
        self.server.as_ref().ok_or_else(|| "no server".into())
    }

    /// Returns the server's process ID.
    pub(crate) fn pid(&self) -> Result<u32> {
        Ok(self.server()?.pid())
    }

    /// Returns a URL of the server.
    pub(crate) fn url(&self, path: &str) -> Result<String> {
        Ok(self.server()?.url(path))
    }

    /// Returns the body of a successful response.
    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        self.server()?.get(path).await
    }

    /// Returns whether the response is successful.
    pub(crate) async fn has(&self, path: &str) -> Result<bool> {
        self.server()?.has(path).await
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.server.take().ok_or("no server")?.kill()
    }

    /// Sends SIGTERM and waits for the exit.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        self.server.take().ok_or("no server")?.stop()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.server = None;
        // Machines outlive the server; each has its home in its environment.
        for pid in machine::carrying(&format!("HOME={}", self.machines().display())) {
            signal(pid, Signal::KILL);
        }
    }
}
