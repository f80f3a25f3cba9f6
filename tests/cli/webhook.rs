//! `webhook`, and `doctor` beside a running server, with a simulated forge.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use expect_test::expect;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tinqs_ci_simulator::forge::{Config, Forge, Line, Push};
use tinqs_ci_simulator::gitea_wire::{Wire, WireOptions};
use tinqs_ci_test_host::free_port;

use crate::scripted::{Answer, Server};
use crate::{CommandOutput, Running, command, tinqs_in, write_credential};

const REPO: &str = "acme/widget";
const SECRET: &str = "the-secret-of-the-webhook";
const PATH: &str = "/usr/bin:/bin";

/// A forge, and a configuration for it.
struct Site {
    wire: Wire,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    port: u16,
}

impl Site {
    fn new(scope: &str, demand: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut forge = Forge::new(Config { line: Line::V1_26, ..Config::default() });
        forge.add_repo(REPO);
        let changes = [("README.md", Some("hello"))];
        let push =
            Push { git_ref: "refs/heads/main", changes: &changes, message: "begin", runs: &[] };
        forge.push_commit(Timestamp::now(), REPO, &push);
        forge.take_webhooks();
        let entered = runtime.enter();
        let clock = Arc::new(Timestamp::now);
        let wire = Wire::start(Arc::new(Mutex::new(forge)), clock, WireOptions::default());
        let wire = wire.expect("a server");
        drop(entered);
        let port = free_port();
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "[forge]\nurl = \"{}\"\ntoken = {{ file = \"token\" }}\nscope = \"{scope}\"\n\
             demand = \"{demand}\"\nwebhook_secret = {{ file = \"secret\" }}\n\
             [server]\nwebhooks = \"127.0.0.1:{port}\"\napi = \"127.0.0.1:0\"\n",
            wire.url()
        );
        let site = Self { wire, runtime, folder, port };
        site.write("tinqs-ci.toml", &text);
        site.write("token", "api-token");
        site.write("secret", SECRET);
        site
    }

    fn write(&self, name: &str, text: &str) {
        write_credential(&self.folder.path().join(name), text);
    }

    fn run(&self, args: &[&str]) -> CommandOutput {
        tinqs_in(self.folder.path(), args, &[("PATH", PATH)])
    }

    /// Returns a text without the ports of this test.
    fn clean(&self, text: &str) -> String {
        text.replace(&self.wire.url(), "FORGE").replace(&self.port.to_string(), "PORT")
    }

    /// Returns the webhooks that the forge's API lists at this path.
    fn hooks(&self, scope: &str) -> Vec<Value> {
        let url = format!("{}/api/v1{scope}/hooks", self.wire.url());
        let list = self.runtime.block_on(async {
            let request =
                reqwest::Client::new().get(url).header("authorization", "token api-token");
            request.send().await.expect("answers").json::<Value>().await.expect("JSON")
        });
        list.as_array().expect("a list").clone()
    }

    /// Starts `serve` and waits until it answers at its socket.
    fn serve(&self) -> Running {
        let mut serve = command(&["serve", "--insecure-root"], &[("PATH", PATH)]);
        serve.current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running(serve.spawn().expect("it runs"));
        let begun = Instant::now();
        while !self.folder.path().join("data/api.sock").exists() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        running
    }

    /// Posts a delivery with this signature.
    fn deliver(&self, signature: &str) -> u16 {
        let url = format!("http://127.0.0.1:{}/webhook", self.port);
        self.runtime.block_on(async {
            let request = reqwest::Client::new()
                .post(url)
                .header("content-type", "application/json")
                .header("x-gitea-event", "workflow_job")
                .header("x-gitea-signature", signature)
                .body("{}");
            request.send().await.expect("answers").status().as_u16()
        })
    }
}

#[test]
fn the_webhook_is_added_once_shown_and_removed() {
    let site = Site::new("all", "auto");
    let said = site.run(&["webhook", "show"]);
    assert_eq!(said.code, 3, "{}", said.out);
    assert!(said.err.contains("`tinqs-ci webhook add` creates it"), "{}", said.err);

    let said = site.run(&["webhook", "add"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    expect![[r#"
        created webhook 1 → http://127.0.0.1:PORT/webhook

        Gitea delivers to private addresses only with this setting in app.ini:
          [webhook]
          ALLOWED_HOST_LIST = external,127.0.0.1
        Then restart Gitea.
    "#]]
    .assert_eq(&site.clean(&said.out));
    let hooks = site.hooks("/admin");
    assert_eq!(hooks.len(), 1);
    assert_eq!(
        (&hooks[0]["active"], &hooks[0]["events"]),
        (&json!(true), &json!(["workflow_job"]))
    );

    let said = site.run(&["webhook", "add"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(said.out.starts_with("kept webhook 1"), "{}", said.out);
    assert_eq!(site.hooks("/admin").len(), 1, "two would send every event twice");

    let said = site.run(&["webhook", "show"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    expect![[r#"
        webhook 1
          URL     http://127.0.0.1:PORT/webhook
          events  workflow_job
          active  yes
          state   complete

        Gitea's API does not say how deliveries ended: see *Recent deliveries* of the webhook at
        FORGE/-/admin/hooks. `tinqs-ci doctor` shows what the running server received.
    "#]]
    .assert_eq(&site.clean(&said.out));

    // Another program's webhook stays, even if its path is the same.
    let other = "http://10.0.0.5:9000/webhook";
    assert_eq!(site.run(&["webhook", "add", "--url", other]).code, 0);
    let said = site.run(&["webhook", "remove"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    assert!(said.out.starts_with("removed webhook 1"), "{}", said.out);
    let said = site.run(&["webhook", "remove"]);
    assert_eq!(said.code, 3, "{}", said.out);
    assert!(said.err.contains(&format!("--url {other}")), "{}", said.err);
    assert_eq!(site.hooks("/admin").len(), 1);
    assert_eq!(site.run(&["webhook", "remove", "--url", other]).code, 0);
    assert_eq!(site.hooks("/admin"), Vec::<Value>::new());
}

#[test]
fn an_existing_webhook_that_lacks_events_is_named() {
    let site = Site::new("repo:acme/widget", "jobs");
    assert_eq!(site.run(&["webhook", "add"]).code, 0);
    let config = Path::new("tinqs-ci.toml");
    let text = std::fs::read_to_string(site.folder.path().join(config)).expect("there");
    site.write("tinqs-ci.toml", &text.replace("\"jobs\"", "\"push\""));
    let said = site.run(&["webhook", "add"]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.err.contains("does not send push, create, delete, pull_request"), "{}", said.err);
    assert!(said.err.contains("`tinqs-ci webhook remove`"), "{}", said.err);
}

#[test]
fn a_webhook_of_all_addresses_needs_its_url() {
    let site = Site::new("all", "auto");
    let config = site.folder.path().join("tinqs-ci.toml");
    let text = std::fs::read_to_string(&config).expect("there");
    let open = format!("0.0.0.0:{}", site.port);
    let text = text.replace(&format!("127.0.0.1:{}", site.port), &open);
    site.write("tinqs-ci.toml", &text);
    let said = site.run(&["webhook", "add"]);
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("--url is needed"), "{}", said.err);
    assert_eq!(site.run(&["webhook", "add", "--url", "ci.example.com"]).code, 2);
    assert_eq!(site.hooks("/admin"), Vec::<Value>::new());
}

#[test]
fn the_forge_sends_the_test_delivery_of_a_repository_with_push_events() {
    let site = Site::new("repo:acme/widget", "push");
    let _running = site.serve();
    assert_eq!(site.run(&["webhook", "add"]).code, 0);
    let said = site.run(&["webhook", "test"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    expect![[r#"
        Gitea sends a test delivery of webhook 1 to http://127.0.0.1:PORT/webhook: a push of the newest commit
        onto itself, which starts nothing. (A repository without commits sends none.)
        ✓ the server accepted it
    "#]].assert_eq(&site.clean(&said.out));
    let runs = site.run(&["get", "-o", "name"]);
    assert_eq!((runs.code, runs.out.as_str()), (0, ""), "it starts nothing: {}", runs.err);
}

#[test]
fn without_a_test_delivery_a_signed_one_is_sent() {
    let site = Site::new("repo:acme/widget", "jobs");
    let said = site.run(&["webhook", "test"]);
    assert_eq!(said.code, 1, "nothing listens: {}", said.out);
    assert!(said.err.contains("that `tinqs-ci serve` runs there"), "{}", said.err);
    let _running = site.serve();
    assert_eq!(site.run(&["webhook", "add"]).code, 0);
    let said = site.run(&["webhook", "test"]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    expect![[r#"
        Gitea's test delivery is a push, which webhook 1 does not send.
        ✓ the server accepted a signed delivery at http://127.0.0.1:PORT/webhook
        This does not show that Gitea can reach it, nor that the webhook has the same secret: after
        a push, see *Recent deliveries* at FORGE/acme/widget/settings/hooks, or run `tinqs-ci doctor`.
    "#]].assert_eq(&site.clean(&said.out));
    // The server still has the former secret.
    site.write("other", "another-secret-of-the-webhook");
    let config = std::fs::read_to_string(site.folder.path().join("tinqs-ci.toml")).expect("there");
    site.write("other.toml", &config.replace("\"secret\"", "\"other\""));
    let said = site.run(&["webhook", "test", "--config", "other.toml"]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.err.contains("refuses the signature"), "{}", said.err);
}

#[test]
fn doctor_compares_the_running_server_with_the_configuration() {
    let site = Site::new("all", "auto");
    assert_eq!(site.run(&["webhook", "add"]).code, 0);
    let _running = site.serve();
    let said = site.run(&["doctor"]);
    assert!(said.out.contains("✓ server: webhooks        none has arrived"), "{}", said.out);
    assert_eq!(site.deliver(&"0".repeat(64)), 401);
    let said = site.run(&["doctor"]);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(
        said.out.contains("✗ server: webhooks        none accepted since its start, 1 refused"),
        "{}",
        said.out
    );
    assert!(said.out.contains("must have the same secret"), "{}", said.out);
    assert_eq!(site.run(&["webhook", "test"]).code, 0);
    let said = site.run(&["doctor"]);
    assert!(said.out.contains("! server: webhooks        1 accepted"), "{}", said.out);
    // The jobs' programs are looked up in the server's PATH.
    let said = tinqs_in(site.folder.path(), &["doctor"], &[("PATH", "/nowhere")]);
    assert!(said.out.contains(&format!(": {PATH}\n")), "{}", said.out);
    assert!(said.out.contains("! machines                jobs run as the user"), "{}", said.out);
}

#[test]
fn doctor_says_what_the_address_of_the_webhook_opens() {
    let site = Site::new("all", "auto");
    assert_eq!(site.run(&["webhook", "add"]).code, 0);
    let outside = |site: &Site| -> Vec<String> {
        let said = site.run(&["doctor"]).out;
        let lines = said.lines().filter(|line| line.contains("server: outside"));
        lines.map(|line| site.clean(line)).collect()
    };
    assert!(outside(&site).is_empty(), "nothing listens there");
    let running = site.serve();
    let own = "✓ server: outside         http://127.0.0.1:PORT takes webhooks and does not serve \
               the API";
    assert_eq!(outside(&site), [own]);
    drop(running);
    assert_eq!(site.run(&["webhook", "remove"]).code, 0);

    // A proxy that leads to the API, which the webhook reaches by its path.
    let told = "PROXY, where Gitea sends webhooks,";
    for (status, expected) in [
        (401, vec![format!("! server: outside         {told} leads to the API")]),
        (
            200,
            vec![
                format!("✗ server: outside         {told} answers the API without a token"),
                format!("! server: outside         {told} shows the metrics to everybody"),
            ],
        ),
        (404, vec![own.replace("http://127.0.0.1:PORT", "PROXY")]),
        (502, Vec::new()),
    ] {
        let proxy = Server::new(move |_, _| Answer(status, None, json!({})));
        let url = format!("{}/webhook", proxy.url);
        assert_eq!(site.run(&["webhook", "add", "--url", &url]).code, 0);
        let lines = outside(&site).into_iter().map(|line| line.replace(&proxy.url, "PROXY"));
        assert_eq!(lines.collect::<Vec<String>>(), expected, "{status}");
        let paths = ["GET /v1/status", "GET /metrics"].map(str::to_owned);
        assert_eq!(proxy.lines(), paths, "nothing else is asked");
        assert_eq!(site.run(&["webhook", "remove", "--url", &url]).code, 0);
    }
}
