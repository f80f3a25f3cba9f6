//! The steps of the README and of the tutorial, which warn about nothing and print what the tutorial
//! shows. `UPDATE_EXPECT=1` rewrites the outputs of the tutorial.

use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use expect_test::expect_file;
use jiff::Timestamp;
use parking_lot::Mutex;
use tinqs_ci_simulator::forge::{Config, Forge, JobSpec, Line};
use tinqs_ci_simulator::gitea_wire::{Wire, WireOptions};
use tinqs_ci_test_host::free_port;

use crate::terminal::terminal;
use crate::{CommandOutput, Running, command, tinqs_in};

/// A part of the warning about the user root, as whom tests may run, and whom the tutorial avoids.
const ROOT: &str = "the server runs as root";
/// The command of the tutorial that asks nothing.
const INIT: &str = "GITEA_TOKEN=… tinqs-ci init --yes --url https://git.example.com \
                    --scope org:acme --labels linux";

/// A host with the prerequisites of the tutorial, and a forge.
struct Site {
    forge: Arc<Mutex<Forge>>,
    wire: Wire,
    folder: tempfile::TempDir,
    bin: tempfile::TempDir,
    path: String,
    listen: String,
    api: String,
    _runtime: tokio::runtime::Runtime,
}

/// Writes the programs that a host with the prerequisites has.
fn install(folder: &Path) {
    let runner = folder.join("gitea-runner");
    std::os::unix::fs::symlink(tinqs_ci_test_runner::program(), runner).expect("the runner");
    for (name, version) in [("git", "git version 2.47.0"), ("node", "v22.0.0")] {
        let file = folder.join(name);
        std::fs::write(&file, format!("#!/bin/sh\necho '{version}'\n")).expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).expect("its mode is set");
    }
}

impl Site {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let entered = runtime.enter();
        let mut forge = Forge::new(Config { line: Line::V1_27, ..Config::default() });
        forge.add_repo("acme/widget");
        let forge = Arc::new(Mutex::new(forge));
        let clock = Arc::new(Timestamp::now);
        let wire = Wire::start(Arc::clone(&forge), clock, WireOptions::default());
        let wire = wire.expect("a server");
        drop(entered);
        let (folder, bin) = (tempfile::tempdir(), tempfile::tempdir());
        let (folder, bin) = (folder.expect("a folder"), bin.expect("a folder"));
        install(bin.path());
        let path = format!("{}:/usr/bin:/bin", bin.path().display());
        let [listen, api] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
        Self { forge, wire, folder, bin, path, listen, api, _runtime: runtime }
    }

    fn env(&self) -> [(&'static str, &str); 5] {
        [
            ("PATH", self.path.as_str()),
            ("HOME", self.folder.path().to_str().expect("UTF-8")),
            ("NO_COLOR", "1"),
            ("TINQS_CI_SERVER__API", self.api.as_str()),
            ("GITEA_TOKEN", "api-token"),
        ]
    }

    fn run(&self, args: &[&str]) -> CommandOutput {
        tinqs_in(self.folder.path(), args, &self.env())
    }

    /// Starts `serve` on a terminal, and waits until it is well.
    fn serve(&self) -> Served {
        let (mut screen, open) = terminal();
        let mut serve = command(&["serve", "--insecure-root"], &self.env());
        serve.current_dir(self.folder.path()).stdout(Stdio::null()).stderr(open());
        let running = Running(serve.spawn().expect("it runs"));
        let log = std::thread::spawn(move || {
            let mut log = Vec::new();
            // Fails once the server has ended.
            let _ = screen.read_to_end(&mut log);
            String::from_utf8(log).expect("UTF-8").replace("\r\n", "\n")
        });
        let begun = Instant::now();
        while self.run(&["status"]).code != 0 {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", self.run(&["status"]).err);
            std::thread::sleep(Duration::from_millis(100));
        }
        Served { running, log }
    }

    /// Pushes jobs with these names, and waits until `get runs` shows that they succeeded.
    fn push(&self, names: &[&str]) -> String {
        let job = |name: &&str| JobSpec {
            script: Some("sleep 1".to_owned()),
            ..JobSpec::new(*name, &["linux"])
        };
        let jobs: Vec<JobSpec> = names.iter().map(job).collect();
        self.forge.lock().push(Timestamp::now(), "acme/widget", &jobs);
        let begun = Instant::now();
        loop {
            let runs = self.run(&["get", "runs"]).out;
            if runs.matches("✓ succeeded").count() == names.len() {
                return runs;
            }
            assert!(begun.elapsed() < Duration::from_mins(2), "{runs}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Returns an output with the names of the tutorial in place of those of this host.
    fn named(&self, text: &str) -> String {
        let folder = self.folder.path().canonicalize().expect("there");
        text.replace(&self.wire.url(), "https://git.example.com")
            .replace(&self.listen, "127.0.0.1:8080")
            .replace(&self.api, "127.0.0.1:8081")
            .replace(&self.bin.path().display().to_string(), "/usr/local/bin")
            .replace(&folder.display().to_string(), "/srv/tinqs-ci")
    }
}

/// A running server.
struct Served {
    running: Running,
    /// Copies its log, until it ends.
    log: JoinHandle<String>,
}

impl Served {
    /// Kills the server. Returns its log.
    fn kill(self) -> String {
        drop(self.running);
        self.log.join().expect("the log")
    }
}

#[test]
fn the_tutorial_warns_about_nothing_and_prints_what_it_shows() {
    let site = Site::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tutorials/one-host.md");
    let mut page = std::fs::read_to_string(file).expect("the tutorial");
    let (url, listen) = (site.wire.url(), site.listen.as_str());

    let init = ["init", "--yes", "--url", &url, "--scope", "org:acme", "--labels", "linux"];
    let said = site.run(&[&init[..], &["--listen", listen]].concat());
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    show(&mut page, INIT, &site.named(&said.out));
    let doctor = fine(&site.run(&["doctor"]).out);
    show(&mut page, "tinqs-ci doctor", &site.named(&doctor));
    let hook = format!("http://{listen}/webhook");
    assert_eq!(site.run(&["webhook", "add", "--url", &hook]).code, 0);
    fine(&site.run(&["doctor"]).out);

    let served = site.serve();
    fine(&site.run(&["doctor"]).out);
    let runs = site.push(&["hello (1)", "hello (2)", "hello (3)"]);
    show(&mut page, "tinqs-ci get runs", &runs);
    let log = served.kill();
    let lines: Vec<&str> = log.lines().filter(|line| !line.contains(ROOT)).collect();
    let warns = |line: &&&str| line.contains(" WARN ") || line.contains(" ERROR ");
    assert_eq!(lines.iter().find(warns), None, "{log}");
    let listens = lines.iter().position(|line| line.contains(" listening ")).expect("it listens");
    let first = lines[..=listens].join("\n") + "\n";
    show(&mut page, "tinqs-ci serve", &site.named(&first));
    expect_file!["../../docs/tutorials/one-host.md"].assert_eq(&page);
}

/// Returns what `doctor` says to another user than root, and that it neither warns nor fails.
#[track_caller]
fn fine(doctor: &str) -> String {
    let mut lines = doctor.lines();
    let mut kept = String::new();
    while let Some(line) = lines.next() {
        if line.contains(ROOT) {
            let fix = lines.next().unwrap_or_default();
            assert!(fix.starts_with("  fix: "), "{doctor}");
        } else {
            kept.extend([line, "\n"]);
        }
    }
    let said = |mark: char| kept.lines().filter(|line| line.starts_with(mark)).count();
    assert!(said('✓') > 10 && said('!') == 0 && said('✗') == 0, "{doctor}");
    if kept.len() < doctor.len() { kept.replace(", 1 warning,", ", 0 warnings,") } else { kept }
}

/// Puts an output below a command of the page, unless the one there differs in numbers only.
#[track_caller]
fn show(page: &mut String, command: &str, output: &str) {
    let head = format!("```sh\n{command}\n```\n\n```text\n");
    let at = page.find(&head).unwrap_or_else(|| panic!("the tutorial shows no `{command}`"));
    let begin = at + head.len();
    let length = page[begin..].find("```\n").expect("the end of the output");
    if form(&page[begin..begin + length]) != form(output) {
        page.replace_range(begin..begin + length, output);
    }
}

/// Returns a text with one digit for each number, one space for several, and seconds for all units
/// of time.
fn form(text: &str) -> String {
    let mut form = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() { '0' } else { c };
        let repeats = (c == '0' || c == ' ') && form.ends_with(c);
        if !repeats {
            form.push(c);
        }
    }
    form.replace("0m", "0s").replace("0h", "0s")
}

#[test]
fn outputs_that_differ_in_numbers_only_have_the_same_form() {
    assert_eq!(form("job-12  ok  9s\n"), form("job-7 ok 1m\n"));
    assert_ne!(form("job-7 ok 1m\n"), form("job-7 failed 1m\n"));
    assert_eq!(form("02:28:33  INFO listening"), "0:0:0 INFO listening");
}
