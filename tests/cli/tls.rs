//! `server.tls` with the real server: how commands find and believe it, and certificates that change.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tinqs_ci_test_host::free_port;
use tinqs_ci_testing::certificates::{Authority, Issued};

use crate::{CommandOutput, Running, command, failure_in_log, tinqs_in, write_credential};

const NAMES: [&str; 2] = ["ci.example.com", "127.0.0.1"];
/// Commands with a token do not use the socket.
const TOKEN: (&str, &str) = ("TINQS_CI_API_TOKEN", "an-api-token-0123456789");

/// A server with TLS in a folder, which also has its authority.
struct Secured {
    folder: tempfile::TempDir,
    authority: Authority,
    issued: Issued,
    port: u16,
    _running: Running,
}

fn configure(folder: &Path, api: &str) {
    configure_with(folder, api, "[server.tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n");
}

fn configure_with(folder: &Path, api: &str, tls: &str) {
    let text = format!(
        "[forge]\nurl = \"http://127.0.0.1:9\"\ntoken = {{ file = \"token\" }}\n\
         [server]\nwebhooks = \"127.0.0.1:0\"\napi = \"{api}\"\nhosts = [\"ci.example.com\"]\n\
         {tls}[[server.token]]\nname = \"ops\"\nsecret = {{ file = \"api-token\" }}\nmay = \"operate\"\n"
    );
    std::fs::write(folder.join("tinqs-ci.toml"), text).expect("written");
    write_credential(&folder.join("token"), "word\n");
    write_credential(&folder.join("api-token"), TOKEN.1);
}

fn serve(folder: &Path) -> Running {
    let mut serve = command(&["serve", "--insecure-root"], &[("PATH", "/usr/bin:/bin")]);
    let log = File::create(folder.join("log")).expect("created");
    serve.current_dir(folder).stdout(Stdio::null()).stderr(log);
    Running(serve.spawn().expect("it runs"))
}

impl Secured {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (authority, port) = (Authority::new(), free_port());
        let issued = authority.issue(&NAMES);
        issued.write(folder.path());
        std::fs::write(folder.path().join("ca.pem"), authority.pem()).expect("written");
        // Where other hosts reach it: with TLS that needs no argument.
        configure(folder.path(), &format!("0.0.0.0:{port}"));
        let running = serve(folder.path());
        let server = Self { folder, authority, issued, port, _running: running };
        server.until(|| server.get(&[]).code == 0);
        server
    }

    /// Waits for at most 20 s.
    #[track_caller]
    fn until(&self, mut is: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !is() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}{:?}", self.log(), self.get(&[]));
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).expect("readable")
    }

    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> CommandOutput {
        tinqs_in(self.folder.path(), args, &[env, &[TOKEN]].concat())
    }

    fn get(&self, args: &[&str]) -> CommandOutput {
        self.run(&[&["get", "classes", "-o", "name"], args].concat(), &[])
    }

    fn url(&self, host: &str) -> String {
        format!("https://{host}:{}", self.port)
    }
}

#[test]
fn commands_beside_the_configuration_believe_its_certificate() {
    let server = Secured::start();
    let listed = server.get(&[]);
    assert_eq!((listed.code, listed.out.as_str()), (0, "class/default\n"), "{}", listed.err);
    let opened = server.run(&["open"], &[]);
    let page = format!("https://ci.example.com:{}/sign-in?code=ops:", server.port);
    assert!(opened.out.starts_with(&page), "{} {}", opened.out, opened.err);
    let doctor = server.run(&["doctor", "--offline"], &[]).out;
    for line in [
        format!(" running at 0.0.0.0:{}, ", server.port),
        "✓ server.tls              the certificate for ci.example.com, 127.0.0.1 is valid for 36"
            .to_owned(),
    ] {
        assert!(doctor.contains(&line), "{doctor}");
    }
    // Without the socket, and where the certificate cannot be read.
    std::fs::remove_file(server.folder.path().join("cert.pem")).expect("removed");
    let unreadable = server.get(&[]);
    assert_eq!(unreadable.code, 2, "{}", unreadable.err);
    assert!(unreadable.err.contains("cannot read `server.tls.cert`"), "{}", unreadable.err);
    assert!(unreadable.err.contains("hint: run this as a user that can"), "{}", unreadable.err);
    assert_eq!(tinqs_in(server.folder.path(), &["get", "runs"], &[]).code, 0, "by the socket");
}

#[test]
fn elsewhere_commands_believe_the_authorities_that_they_are_given() {
    let server = Secured::start();
    let (at, name) = (server.url("127.0.0.1"), server.url("localhost"));
    let untold = server.get(&["--server", &at]);
    assert_eq!(untold.code, 4, "{}", untold.err);
    let expected = format!(
        "error: cannot use the server at {at}/: no authority that this system knows has issued its \
         certificate\nhint: name the file of its authority's certificate with --ca-file or \
         TINQS_CI_CA_FILE\n"
    );
    assert_eq!(untold.err, expected);
    let told = server.get(&["--server", &at, "--ca-file", "ca.pem"]);
    assert_eq!((told.code, told.out.as_str()), (0, "class/default\n"), "{}", told.err);
    let variables = [("TINQS_CI_URL", at.as_str()), ("TINQS_CI_CA_FILE", "ca.pem")];
    assert_eq!(server.run(&["get", "runs"], &variables).code, 0);
    let other = server.get(&["--server", &name, "--ca-file", "ca.pem"]);
    assert_eq!(other.code, 4);
    let said = "its certificate is for ci.example.com, 127.0.0.1\nhint: use one of these names";
    assert!(other.err.contains(said), "{}", other.err);
    for (file, said) in [("none.pem", "--ca-file none.pem: No such file"), ("token", "has no cert")]
    {
        let broken = server.get(&["--server", &at, "--ca-file", file]);
        assert_eq!(broken.code, 2);
        assert!(broken.err.contains(said), "{}", broken.err);
    }
    let plain = format!("http://127.0.0.1:{}", server.port);
    assert_eq!(server.get(&["--server", &plain]).code, 4);
}

#[test]
fn changed_files_are_read_and_a_pair_that_does_not_match_is_not() {
    let server = Secured::start();
    let folder = server.folder.path();
    let second = server.authority.issue(&NAMES);
    second.write(folder);
    // Commands believe what the file holds now.
    server.until(|| server.get(&[]).code == 0);
    server.until(|| server.log().contains("certificate changed, the new one is in force"));
    let third = server.authority.issue(&NAMES);
    std::fs::write(folder.join("key.pem"), &third.key).expect("written");
    server.until(|| server.log().contains("cannot use changed certificate"));
    assert!(server.log().contains("has the private key of another certificate"));
    assert_eq!(server.get(&[]).code, 0, "the former pair serves");
    let reload = server.run(&["reload"], &[]);
    assert_eq!(reload.code, 2, "{}", reload.err);
    assert!(
        reload.err.contains("server.tls.key: the file `key.pem` has the private key of another")
    );
    std::fs::write(folder.join("cert.pem"), &third.cert).expect("written");
    server.until(|| server.get(&[]).code == 0);
    let texts = [server.log(), reload.err, server.run(&["config", "show"], &[]).out];
    for secret in [&server.issued, &second, &third].iter().flat_map(|pair| pair.secret_lines()) {
        assert!(texts.iter().all(|text| !text.contains(secret)), "a line of a key");
    }
}

#[test]
fn a_server_that_was_started_without_tls_is_told_from_another_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let api = format!("127.0.0.1:{}", free_port());
    configure_with(folder.path(), &api, "");
    Authority::new().issue(&NAMES).write(folder.path());
    let _running = serve(folder.path());
    let get = || tinqs_in(folder.path(), &["get", "classes", "-o", "name"], &[TOKEN]);
    let begun = Instant::now();
    while get().code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", get());
        std::thread::sleep(Duration::from_millis(50));
    }
    configure(folder.path(), &api);
    let refused = get();
    assert_eq!(refused.code, 4);
    assert!(refused.err.contains(": it speaks no TLS\nhint: use http://"), "{}", refused.err);
    assert!(refused.err.contains("must be restarted"), "{}", refused.err);
    let doctor = tinqs_in(folder.path(), &["doctor", "--offline"], &[]).out;
    let said = format!("the server at {api} does not have the certificate of `server.tls`");
    assert!(doctor.contains(&said), "{doctor}");
}

#[test]
fn an_expired_certificate_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    Authority::new().issue_for(&NAMES, -3).write(folder.path());
    configure(folder.path(), "127.0.0.1:0");
    let env = [("PATH", "/usr/bin:/bin")];
    let said = tinqs_in(folder.path(), &["serve", "--insecure-root"], &env);
    assert_eq!(said.code, 2, "{}", said.err);
    let failure = failure_in_log(&said.err);
    assert!(failure.starts_with("server.tls.cert: the certificate in `cert.pem` expired on "));
    let doctor = tinqs_in(folder.path(), &["doctor", "--offline"], &env).out;
    assert!(doctor.contains("✗ server.tls              the certificate for"), "{doctor}");
}
