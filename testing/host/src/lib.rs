//! One host for black-box tests: the real binary, a forge on loopback, and a runner in PATH.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tinqs_ci_simulator::forge::{Config, Forge, Line};
use tinqs_ci_simulator::gitea_wire::{ApiToken, Hook, Right, Wire, WireOptions};

mod commands;
mod ends;
mod jobs;
mod machines;
mod ports;
pub mod suite;

pub use jobs::until_exists;
pub use ports::free_port;

/// The webhook secret of all hosts.
pub const SECRET: &str = "black-box-webhook-secret";
/// The API token of the forge.
pub const TOKEN: &str = "black-box-api-token";

/// The API token of the server.
pub const OWN_TOKEN: &str = "black-box-own-token";

/// A host, whose processes are killed on drop.
pub struct Host {
    /// The directory of everything that belongs to the host.
    pub dir: tempfile::TempDir,
    forge: Arc<Mutex<Forge>>,
    /// The forge on loopback.
    pub wire: Wire,
    program: PathBuf,
    /// Of webhooks and of the API.
    ports: [u16; 2],
    limited_files: bool,
    /// The command that starts the program, with its arguments; empty: none.
    pub wrapper: Vec<String>,
    /// Further variables of the server's environment.
    pub variables: Vec<(&'static str, String)>,
    server: Option<Child>,
    /// A client for the server's API.
    pub http: reqwest::Client,
}

/// Options of a host.
pub struct Options {
    /// The server line of the forge.
    pub line: Line,
    /// Lines of the class in addition to its name.
    pub class: &'static str,
    /// Whether the hook is installed.
    pub hook: bool,
    /// `forge.demand`; with `push`, the hook delivers only pushes.
    pub demand: &'static str,
    /// Time without a report after which a running task fails.
    pub zombie_after: SignedDuration,
    /// Whether the server ignores the signal of a file size limit, for tests with a full disk.
    pub limited_files: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            line: Line::V1_26,
            class: "labels = [\"linux\"]\nboot_within = \"1m\"\nidle_within = \"20s\"\nassign_within = \"15s\"",
            hook: true,
            demand: "auto",
            zombie_after: SignedDuration::from_mins(10),
            limited_files: false,
        }
    }
}

impl Host {
    /// Starts a forge with the repository `acme/widget` and configures a server of this program
    /// (`tinqs-ci`) without starting it.
    ///
    /// # Panics
    /// If that fails.
    pub fn new(program: impl Into<PathBuf>, options: &Options) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        // Credentials in it are readable by its user only.
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).expect("its mode is set");
        let mut forge = Forge::new(Config {
            line: options.line,
            zombie_after: options.zombie_after,
            ..Config::default()
        });
        forge.add_repo("acme/widget");
        let forge = Arc::new(Mutex::new(forge));
        let ports = [free_port(), free_port()];
        let address = format!("http://127.0.0.1:{}/webhook", ports[0]);
        let hook = match options.demand {
            "push" => Hook::pushes(address, SECRET),
            _ => Hook::system(address, SECRET),
        };
        let wire_options = WireOptions {
            tokens: vec![ApiToken { token: TOKEN.to_owned(), right: Right::Admin }],
            hooks: if options.hook { vec![hook] } else { Vec::new() },
            // A push whose webhook is lost is lost for good, and a busy host is slow.
            webhook_timeout: Duration::from_secs(30),
            ..WireOptions::default()
        };
        let wire = Wire::start(forge.clone(), Arc::new(Timestamp::now), wire_options)
            .expect("a forge on loopback");
        let limited_files = options.limited_files;
        // The server may close a kept connection just when the client reuses it.
        let bearer = format!("Bearer {OWN_TOKEN}").parse().expect("a header");
        let http = reqwest::Client::builder()
            .default_headers([(reqwest::header::AUTHORIZATION, bearer)].into_iter().collect())
            .pool_max_idle_per_host(0)
            .build()
            .expect("a client");
        let program = program.into();
        let (wrapper, variables, server) = (Vec::new(), Vec::new(), None);
        let host = Self {
            dir,
            forge,
            wire,
            program,
            ports,
            limited_files,
            wrapper,
            variables,
            server,
            http,
        };
        host.configure(options.class, options.demand);
        host.install_runner();
        host
    }

    fn configure(&self, class: &str, demand: &str) {
        // Bursts of hundreds of jobs test everything but the default of the limit.
        let limit = if class.contains("limit =") { "" } else { "limit = \"none\"\n" };
        let text = format!(
            "installation = \"black-box\"\nstore = \"redb:{dir}/data\"\ncompute = \"process:{dir}/machines\"\n\
             [forge]\nurl = \"{url}\"\ntoken = {{ env = \"FORGE_TOKEN\" }}\nwebhook_secret = {{ env = \"HOOK_SECRET\" }}\n\
             demand = \"{demand}\"\npoll_every = \"1s\"\nsweep_every = \"2s\"\n[server]\n\
             webhooks = \"127.0.0.1:{webhooks}\"\napi = \"127.0.0.1:{api}\"\n[[server.token]]\n\
             name = \"test\"\nsecret = {{ env = \"OWN_TOKEN\" }}\nmay = \"operate\"\n\
             [[class]]\nname = \"linux\"\n{limit}{class}\n",
            dir = self.dir.path().display(),
            url = self.wire.url(),
            webhooks = self.ports[0],
            api = self.ports[1],
        );
        fs::write(self.dir.path().join("tinqs-ci.toml"), text).expect("the configuration");
    }

    /// Changes the configuration file.
    ///
    /// # Panics
    /// If it cannot be read or written.
    pub fn edit(&self, change: impl FnOnce(String) -> String) {
        let file = self.dir.path().join("tinqs-ci.toml");
        let text = fs::read_to_string(&file).expect("the configuration");
        fs::write(file, change(text)).expect("the configuration is written");
    }

    /// Removes the runner from PATH.
    ///
    /// # Panics
    /// If there is none.
    pub fn remove_runner(&self) {
        fs::remove_file(self.dir.path().join("bin/gitea-runner")).expect("a runner");
    }

    /// Puts the test runner into PATH under the real runner's name.
    ///
    /// # Panics
    /// If there is one already.
    pub fn install_runner(&self) {
        let bin = self.dir.path().join("bin");
        fs::create_dir_all(&bin).expect("a directory for the runner");
        std::os::unix::fs::symlink(tinqs_ci_test_runner::program(), bin.join("gitea-runner"))
            .expect("the runner");
    }

    /// Returns the simulated forge.
    pub fn forge(&self) -> MutexGuard<'_, Forge> {
        self.forge.lock()
    }

    /// Starts `tinqs-ci serve` and waits until it is ready.
    pub async fn start(&mut self) {
        self.spawn();
        self.ready().await;
    }

    /// Waits until the server is ready.
    pub async fn ready(&self) {
        let url = self.url("/readyz");
        self.until("the server is ready", 60, async |host| {
            host.http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Starts `tinqs-ci serve` without waiting.
    pub fn spawn(&mut self) {
        assert!(self.server.is_none(), "one server at a time");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("a log");
        let mut command = Command::new(&self.program);
        if self.limited_files {
            command = Command::new("bash");
            // An ignored signal stays ignored after `exec`.
            command.args(["-c", "trap '' XFSZ; exec \"$@\"", "bash"]).arg(&self.program);
        }
        if let Some((wrapper, arguments)) = self.wrapper.split_first() {
            command = Command::new(wrapper);
            command.args(arguments).arg(&self.program);
        }
        let child = command
            .args(["serve", "--insecure-root", "--config"])
            .arg(self.dir.path().join("tinqs-ci.toml"))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.dir.path().join("bin").display()))
            .env("HOME", self.dir.path())
            .env("FORGE_TOKEN", TOKEN)
            .env("HOOK_SECRET", SECRET)
            .env("OWN_TOKEN", OWN_TOKEN)
            .env("TINQS_CI_LOG", "tinqs_ci=debug")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the server starts");
        self.server = Some(child);
    }

    /// Runs a command of the program in the host's directory, as a person without a terminal does: it
    /// finds the server by the configuration.
    ///
    /// # Panics
    /// If it does not start.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.dir.path())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .expect("the command starts")
    }

    /// Returns the server's process ID.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("a server").id()
    }

    /// Fills the server's disk, or frees it. The host must have been created with `limited_files`.
    ///
    /// # Panics
    /// If the limit cannot be set.
    pub fn disk(&self, full: bool) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        let current = if full { Some(0) } else { None };
        prlimit(pid, Resource::Fsize, Rlimit { current, maximum: None }).expect("the limit is set");
    }

    /// Returns the path of the server's log.
    pub fn log(&self) -> PathBuf {
        self.dir.path().join("server.log")
    }

    /// Returns the URL of a path of the server.
    pub fn url(&self, path: &str) -> String {
        let port = if path == "/webhook" { self.ports[0] } else { self.ports[1] };
        format!("http://127.0.0.1:{port}{path}")
    }

    /// Waits until `condition` holds. Panics with the end of the log.
    pub async fn until(
        &self,
        what: &str,
        seconds: u64,
        mut condition: impl AsyncFnMut(&Self) -> bool,
    ) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while !condition(self).await {
            assert!(
                Instant::now() < end,
                "timed out after {seconds} s waiting for: {what}\n{}\nleft: {:?}\n{}",
                self.jobs(),
                self.left(),
                self.tail()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("pass finished")).collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    fn jobs(&self) -> String {
        let forge = self.forge();
        let jobs = forge.jobs().map(|j| format!("job {} {:?} {:?}", j.id, j.status, j.runner_name));
        let rows = forge.runners().map(|r| format!("runner {} {}", r.id, r.name));
        jobs.chain(rows).collect::<Vec<_>>().join("\n")
    }

    /// Waits until no machine, registration or open run is left.
    pub async fn settles(&self, seconds: u64) {
        self.rests(seconds).await;
        self.until("registrations are gone", seconds, async |host| {
            host.forge().runners().count() == 0
        })
        .await;
    }

    /// Waits until no machine runs and no run is open.
    pub async fn rests(&self, seconds: u64) {
        self.until("machines and open runs are gone", seconds, async |host| {
            host.processes().is_empty() && host.open_runs().await == 0
        })
        .await;
    }

    async fn open_runs(&self) -> usize {
        let runs = self.get("/v1/runs?limit=500").await;
        let items = runs["items"].as_array().cloned().unwrap_or_default();
        items.iter().filter(|run| run["status"]["phase"] != "Finished").count()
    }

    /// Returns the JSON answer of a path of the server.
    ///
    /// # Panics
    /// If there is none.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(self.url(path)).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    /// Asserts that the log contains no secret.
    pub fn assert_no_secret_told(&self) {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        for secret in [SECRET, TOKEN, OWN_TOKEN] {
            assert!(!log.contains(secret), "the log contains a secret");
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Keeps the files of a failed test if `TINQS_CI_KEEP` is set.
        if std::thread::panicking()
            && let Some(keep) = std::env::var_os("TINQS_CI_KEEP")
        {
            let name = self.dir.path().file_name().unwrap_or_default();
            let _ = fs::write(self.dir.path().join("forge"), self.jobs());
            let _ = Command::new("cp")
                .arg("--archive")
                .arg(self.dir.path())
                .arg(Path::new(&keep).join(name))
                .status();
        }
        if let Some(mut child) = self.server.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for pid in self.processes() {
            signal(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Sends a signal to a process of this test or of its machines.
pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // The process may have exited in the meantime.
        let _ = rustix::process::kill_process(pid, signal);
    }
}
