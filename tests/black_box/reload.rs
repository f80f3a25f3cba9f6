//! Credentials and the configuration are replaced while the server runs.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use tinqs_ci_simulator::forge::Status;
use tinqs_ci_simulator::gitea_wire::{ApiToken, Right};

use super::SUCCESS;
use super::disk::FullDisk as _;
use tinqs_ci_test_host::{Host, Options, SECRET, TOKEN, signal};

const NEW_TOKEN: &str = "rotated-forge-token";
const NEW_SECRET: &str = "rotated-hook-secret";
/// A job that only a webhook announces.
const TOLD: i64 = 9_100_000;

/// The operations of these tests on a host.
trait Reloading {
    fn configuration(&self) -> String;
    fn write_configuration(&self, text: &str);
    /// Replaces a file of the host's directory by a rename.
    fn replace(&self, name: &str, text: &str);
    /// The number of log lines that contain all of these.
    fn logged(&self, parts: &[&str]) -> usize;
    async fn logs(&self, count: usize, parts: &[&str]);
    async fn class_names(&self) -> Vec<String>;
    /// Runs `tinqs-ci reload`. Returns its exit code and what it printed.
    fn reload(&self) -> (i32, String);
}

impl Reloading for Host {
    fn configuration(&self) -> String {
        fs::read_to_string(self.dir.path().join("tinqs-ci.toml")).expect("configured")
    }

    fn write_configuration(&self, text: &str) {
        self.replace("tinqs-ci.toml", text);
    }

    fn replace(&self, name: &str, text: &str) {
        let new = self.dir.path().join(format!("{name}.new"));
        fs::write(&new, text).expect("written");
        fs::rename(&new, self.dir.path().join(name)).expect("renamed");
    }

    fn logged(&self, parts: &[&str]) -> usize {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        log.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    async fn logs(&self, count: usize, parts: &[&str]) {
        self.until(&format!("the log says {parts:?}"), 30, async |host| {
            host.logged(parts) >= count
        })
        .await;
    }

    async fn class_names(&self) -> Vec<String> {
        let classes = self.get("/v1/classes").await;
        let items = classes["items"].as_array().expect("a list").clone();
        items.iter().map(|class| class["name"].as_str().expect("a name").to_owned()).collect()
    }

    fn reload(&self) -> (i32, String) {
        let done = self.run(&["reload"]);
        let text = [done.stdout, done.stderr].concat();
        (done.status.code().expect("it exits"), String::from_utf8(text).expect("text"))
    }
}

/// Every line of the log is a JSON object, from the first one.
fn assert_json(log: &Path) {
    let log = fs::read_to_string(log).expect("a log");
    // The last line may be incomplete still.
    for line in log.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let parsed = serde_json::from_str::<serde_json::Value>(line);
        assert!(parsed.is_ok_and(|line| line["level"].is_string()), "not JSON: {line}");
    }
}

pub(crate) async fn replaced_files_of_credentials_are_used_without_a_restart() {
    let mut host = crate::host(&Options::default());
    host.replace("token", &format!("{TOKEN}\n"));
    host.replace("hook", SECRET);
    let file = |name: &str| format!("{{ file = \"{}\" }}", host.dir.path().join(name).display());
    let text = host.configuration();
    let text = text.replace("{ env = \"FORGE_TOKEN\" }", &file("token"));
    host.write_configuration(&text.replace("{ env = \"HOOK_SECRET\" }", &file("hook")));
    host.start().await;
    let first = host.push(1, &["linux"], "true");
    host.all_done(&first, 90).await;

    // The token is revoked, and an emptied file does not replace it by nothing.
    host.wire.tokens(vec![ApiToken { token: NEW_TOKEN.to_owned(), right: Right::Admin }]);
    fs::write(host.dir.path().join("token"), "").expect("emptied");
    let jobs = host.push(1, &["linux"], "true");
    host.logs(1, &["cannot use changed secret", "forge.token", "is empty", "stays in force"]).await;
    host.logs(1, &["the forge does not accept `forge.token`"]).await;
    assert_eq!(host.status(jobs[0]), Status::Waiting);
    host.replace("token", &format!("{NEW_TOKEN}\r\n"));
    host.all_done(&jobs, 90).await;
    assert_eq!(host.status(jobs[0]), SUCCESS);
    host.logs(1, &["secret changed, the new one is in force", "forge.token"]).await;
    assert_eq!(host.logged(&["cannot use changed secret"]), 1, "one warning");

    host.replace("hook", NEW_SECRET);
    host.logs(1, &["secret changed, the new one is in force", "forge.webhook_secret"]).await;
    assert_eq!(host.deliver_signed(TOLD, SECRET).await.0, 401, "only the new secret counts");
    assert_eq!(host.deliver_signed(TOLD, NEW_SECRET).await.0, 202);

    host.assert_no_secret_told();
    assert_eq!(host.logged(&[NEW_TOKEN]) + host.logged(&[NEW_SECRET]), 0);
    assert_json(&host.log());
}

pub(crate) async fn a_signal_reads_the_configuration_again_and_a_broken_one_changes_nothing() {
    let mut host = crate::host(&Options::default());
    let first = host.configuration();
    host.start().await;
    let jobs = host.push(1, &["gpu"], "true");
    let second =
        format!("{first}\n[[class]]\nname = \"gpu\"\nlabels = [\"gpu\"]\nidle_within = \"4s\"\n");
    host.write_configuration(&second);
    signal(host.pid(), Signal::HUP);
    host.logs(1, &["configuration changed", "class gpu: added"]).await;
    host.all_done(&jobs, 90).await;
    assert_eq!(host.class_names().await, ["linux", "gpu"]);
    let metrics = host.http.get(host.url("/metrics")).send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    let limit = "tinqs_ci_class_limit_machines{class=\"gpu\",limit=\"max\"} 20";
    assert!(metrics.contains(limit), "the metrics know the new class");

    // A broken and a missing file, and two signals in a row.
    host.write_configuration(&second.replace("idle_within = \"4s\"\n", "idle_withn = \"4s\"\n"));
    signal(host.pid(), Signal::HUP);
    signal(host.pid(), Signal::HUP);
    host.logs(1, &["\"level\":\"error\"", "cannot reload", "tinqs-ci.toml:", "idle_withn"]).await;
    let (code, said) = host.reload();
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("tinqs-ci.toml:") && said.contains("did you mean `idle_within`"),
        "{said}"
    );
    fs::remove_file(host.dir.path().join("tinqs-ci.toml")).expect("removed");
    let (code, said) = host.reload();
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("cannot read the configuration"), "{said}");
    assert_eq!(host.class_names().await, ["linux", "gpu"], "the former ones stay");

    // What cannot change live is named; the rest of the same file applies.
    let third = first.replace("poll_every = \"1s\"", "poll_every = \"2s\"");
    host.write_configuration(&third.replace("\"black-box\"", "\"another\""));
    let (code, said) = host.reload();
    assert_eq!(code, 0, "{said}");
    assert_eq!(said, "forge.poll_every\nclass gpu: removed\ninstallation: restart to apply\n");
    host.logs(1, &["restart to apply", "installation"]).await;
    assert_eq!(host.class_names().await, ["linux"]);
    host.write_configuration(&third);
    assert_eq!(host.reload(), (0, "nothing has changed\n".to_owned()));
    let last = host.push(1, &["linux"], "true");
    host.all_done(&last, 90).await;
    assert_json(&host.log());
}
