//! `serve`: starts, answers the other commands, and stops on SIGTERM.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tinqs_ci_test_host::free_port;

use crate::scripted::{Answer, Server};
use crate::{CommandOutput, Running, command, failure_in_log, said, tinqs_in, write_credential};

pub(crate) fn start(folder: &Path) -> Command {
    let mut command = command(&["serve", "--insecure-root"], &[("PATH", "/usr/bin:/bin")]);
    command.current_dir(folder).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

pub(crate) fn configuration(folder: &Path, port: u16) {
    let text = format!(
        "[forge]\nurl = \"http://127.0.0.1:9\"\ntoken = {{ file = \"token\" }}\n\
         [server]\nwebhooks = \"127.0.0.1:0\"\napi = \"127.0.0.1:{port}\"\n"
    );
    std::fs::write(folder.join("tinqs-ci.toml"), text).expect("written");
    write_credential(&folder.join("token"), "word\n");
}

/// Repeats a command, which finds the server by the configuration, until the server answers, for at
/// most 20 s.
pub(crate) fn asked(folder: &Path, args: &[&str]) -> CommandOutput {
    let begun = Instant::now();
    loop {
        let said = tinqs_in(folder, args, &[]);
        if said.code != 4 {
            return said;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no answer: {}", said.err);
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Starts `serve`, and returns its log until it answers.
fn log_of_a_start(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let log = folder.join("log");
    let mut serve = start(folder);
    serve.args(arguments).stderr(std::fs::File::create(&log).expect("a file"));
    let running = Running(serve.spawn().expect("it runs"));
    assert_eq!(asked(folder, &["get", "runs"]).code, 0);
    drop(running);
    let text = std::fs::read_to_string(log).expect("its log");
    // It was killed, perhaps within a line.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn serve_rejects_forgejo_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let forgejo = Server::new(|asked, _| match asked.line.as_str() {
        "GET /api/v1/version" => Answer(200, None, json!({ "version": "15.0.0+gitea-1.22.0" })),
        _ => Answer(200, None, json!([])),
    });
    configuration(folder.path(), free_port());
    let url = [("TINQS_CI_FORGE__URL", forgejo.url.as_str()), ("PATH", "/usr/bin:/bin")];
    let said = tinqs_in(folder.path(), &["serve", "--insecure-root"], &url);
    assert_eq!(said.code, 2, "{}", said.err);
    let told = "Forgejo is not supported yet (Forgejo 15.0.0+gitea-1.22.0): its API for Actions \
                differs\nhint: use a Gitea server, 1.25 or newer\n";
    assert_eq!(failure_in_log(&said.err), told);
    let said = tinqs_in(folder.path(), &["doctor"], &url);
    assert_eq!(said.code, 1, "{}", said.out);
    assert!(said.out.contains("Forgejo is not supported yet"), "{}", said.out);
    assert!(said.out.contains("fix: use a Gitea server, 1.25 or newer\n"), "{}", said.out);
    assert!(!said.out.contains("job list"), "nothing else is asked: {}", said.out);
}

/// With the feature, tests/otlp shows what happens.
#[cfg(not(feature = "otlp"))]
#[test]
fn serve_says_once_that_its_build_sends_no_traces() {
    let folder = tempfile::tempdir().expect("a folder");
    let forgejo =
        Server::new(|_, _| Answer(200, None, json!({ "version": "15.0.0+gitea-1.22.0" })));
    configuration(folder.path(), free_port());
    let collector = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:key@127.0.0.1:9");
    let url = ("TINQS_CI_FORGE__URL", forgejo.url.as_str());
    for (env, times) in [(&[url, collector][..], 1), (&[url], 0)] {
        let said = tinqs_in(folder.path(), &["serve", "--insecure-root"], env);
        assert_eq!(said.code, 2, "{}", said.err);
        assert_eq!(said.err.matches("this build sends no traces").count(), times, "{}", said.err);
        assert_eq!(said.err.matches("http://127.0.0.1:9/v1/traces").count(), times, "{}", said.err);
        assert!(!said.err.contains("user:key"), "{}", said.err);
    }
}

#[test]
fn serve_rejects_a_mistyped_organization_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let forge = Server::new(|asked, _| match asked.line.as_str() {
        "GET /api/v1/version" => Answer(200, None, json!({ "version": "1.26.4" })),
        _ => Answer(404, None, json!({ "message": "GetOrgByName" })),
    });
    configuration(folder.path(), free_port());
    let env = [
        ("TINQS_CI_FORGE__URL", forge.url.as_str()),
        ("TINQS_CI_FORGE__SCOPE", "org:acmee"),
        ("WEBHOOK_SECRET", "0123456789abcdef"),
        ("PATH", "/usr/bin:/bin"),
    ];
    let said = tinqs_in(folder.path(), &["serve", "--insecure-root"], &env);
    assert_eq!(said.code, 2, "{}", said.err);
    // A log line, because stderr is no terminal.
    let told =
        r#""error":"`forge.scope`: no such organization `acmee`","hint":"check the spelling"#;
    assert!(said.err.contains(told), "{}", said.err);
    let said = tinqs_in(folder.path(), &["doctor"], &env);
    assert_eq!(said.code, 1, "{}", said.out);
    let told = "✗ scope                   no such organization `acmee`\n";
    assert!(said.out.contains(told), "{}", said.out);
}

#[test]
fn serve_continues_although_the_forge_does_not_accept_the_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let forge = Server::new(|asked, _| match asked.line.as_str() {
        "GET /api/v1/version" => Answer(200, None, json!({ "version": "1.26.4" })),
        _ => Answer(401, None, json!({ "message": "user does not exist" })),
    });
    let port = free_port();
    configuration(folder.path(), port);
    let mut serve = start(folder.path());
    serve.env("TINQS_CI_FORGE__URL", &forge.url).env("WEBHOOK_SECRET", "0123456789abcdef");
    let _running = Running(serve.spawn().expect("it runs"));
    assert_eq!(asked(folder.path(), &["get", "runs"]).code, 0);
    let env = [("TINQS_CI_FORGE__URL", forge.url.as_str()), ("WEBHOOK_SECRET", "0123456789abcdef")];
    let begun = Instant::now();
    loop {
        let said = tinqs_in(folder.path(), &["doctor"], &env);
        assert_eq!(said.code, 1, "{}", said.out);
        assert!(said.out.contains("✗ token "), "{}", said.out);
        if said.out.contains("✗ server: forge           the running server says: the forge does not accept the token") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", said.out);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn serve_starts_answers_commands_and_stops() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    configuration(folder.path(), port);
    let mut running = Running(start(folder.path()).spawn().expect("it runs"));

    let listed = asked(folder.path(), &["get", "runs"]);
    assert_eq!((listed.code, listed.err.as_str()), (0, "no runs found\n"));
    let classes = asked(folder.path(), &["get", "classes", "-o", "name"]);
    assert_eq!((classes.code, classes.out.as_str()), (0, "class/default\n"));
    assert_eq!(asked(folder.path(), &["describe", "job-1"]).code, 3);
    assert_eq!(asked(folder.path(), &["retry", "job-1"]).code, 3);
    let unknown = asked(folder.path(), &["terminate", "machine/none"]);
    assert_eq!(unknown.code, 3, "{}", unknown.err);
    // By the socket: as the user of this process, whose session a token of the server signs.
    let opened = asked(folder.path(), &["open"]);
    let page = format!("http://127.0.0.1:{port}/sign-in?code=own:");
    assert!(opened.out.starts_with(&page), "{} {}", opened.out, opened.err);
    assert!(
        opened.err.contains("signs in uid ") && opened.err.contains("may operate"),
        "{}",
        opened.err
    );
    let doctor = tinqs_in(folder.path(), &["doctor", "--offline"], &[]);
    assert!(doctor.out.contains(&format!("running at 127.0.0.1:{port}")), "{}", doctor.out);

    // A second process on its data, at another address.
    configuration(folder.path(), free_port());
    let second = said(start(folder.path()).output().expect("it ends"));
    assert_eq!(second.code, 1, "{}", second.err);
    assert!(failure_in_log(&second.err).starts_with("cannot use the store: "), "{}", second.err);

    let id = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = running.0.try_wait().expect("it is ours") {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "it does not stop");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(status.code(), Some(0));
}

/// An unsigned webhook only triggers a poll, which another replica makes.
#[test]
fn the_role_ingest_needs_a_secret_of_webhooks() {
    let folder = tempfile::tempdir().expect("a folder");
    configuration(folder.path(), free_port());
    let args = ["serve", "--insecure-root", "--role", "ingest"];
    let refused = tinqs_in(folder.path(), &args, &[("PATH", "/usr/bin:/bin")]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    let told = failure_in_log(&refused.err);
    assert!(told.contains("`forge.webhook_secret` is not set"), "{told}");
    assert!(told.contains("use `--role all`"), "{told}");
}

#[test]
fn serve_refuses_what_is_not_safe_unless_an_argument_allows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    configuration(folder.path(), free_port());
    let serve = |env: &[(&str, &str)], args: &[&str]| {
        let args = [&["serve"], args].concat();
        tinqs_in(folder.path(), &args, &[env, &[("PATH", "/usr/bin:/bin")]].concat())
    };
    let open = ("TINQS_CI_SERVER__API", "0.0.0.0:0");
    let short = ("WEBHOOK_SECRET", "1234567");
    let plain = ("TINQS_CI_FORGE__URL", "http://1.1.1.1:9");
    for (env, flag, said) in [
        (open, "--insecure-api", "`server.api`: other hosts reach 0.0.0.0:0 without TLS"),
        (short, "--insecure-secrets", "`forge.webhook_secret` is shorter than 8 bytes"),
        (plain, "--insecure-forge", "`forge.url`: 1.1.1.1 is a public address"),
    ] {
        let refused = serve(&[env], &[]);
        assert_eq!(refused.code, 2, "{}", refused.err);
        let told = failure_in_log(&refused.err);
        assert!(told.starts_with(said), "{told}");
        assert!(told.contains(&format!("or allow it with `serve {flag}`")), "{told}");
    }
    // What one argument allows, no other one does.
    let refused = serve(&[open, short], &["--insecure-api"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("`forge.webhook_secret` is shorter"), "{}", refused.err);
}

#[test]
fn the_first_start_creates_a_token_with_which_other_users_reach_the_address() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    configuration(folder.path(), port);
    let _running = Running(start(folder.path()).spawn().expect("it runs"));
    assert_eq!(asked(folder.path(), &["get", "runs"]).code, 0);
    // As somebody elsewhere: by the address, without the configuration.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("data/api-token");
    let token = token.to_str().expect("text");
    let url = format!("http://127.0.0.1:{port}");
    let get = |more: &[&str]| {
        let args = [&["get", "runs", "--server", &url], more].concat();
        tinqs_in(elsewhere.path(), &args, &[])
    };
    assert_eq!(get(&["--token-file", token]).code, 0);
    let refused = get(&[]);
    assert_eq!(refused.code, 1, "{}", refused.err);
    assert!(refused.err.contains("401") && refused.err.contains("--token-file"), "{}", refused.err);
    let missing = get(&["--token-file", "nothing"]);
    assert_eq!(missing.code, 2, "{}", missing.err);
    // Without the socket, the address and the token of the configuration are used.
    std::fs::remove_file(folder.path().join("data/api.sock")).expect("there");
    let listed = tinqs_in(folder.path(), &["get", "runs"], &[]);
    assert_eq!((listed.code, listed.err.as_str()), (0, "no runs found\n"));
    let file = std::fs::metadata(token).expect("there");
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}

#[test]
fn each_start_says_that_jobs_run_as_its_user_and_warns_unless_the_configuration_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    configuration(folder.path(), free_port());
    let told = |log: &[Value]| -> Vec<[String; 2]> {
        let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let lines = log.iter().map(|line| ["level", "message"].map(|name| text(line, name)));
        lines.filter(|[_, message]| message.contains("run as the user of")).collect()
    };
    let warned = "jobs run as the user of this server: they can read its secrets and end it";
    for start in ["the first one", "the next one"] {
        let log = log_of_a_start(folder.path(), &[]);
        assert_eq!(told(&log), [["warn", warned].map(str::to_owned)], "{start}");
        let line = log.iter().find(|line| line["message"] == warned).expect("just found");
        assert!(line["fix"].as_str().is_some_and(|fix| fix.contains("`process.user`")), "{line}");
    }
    let doctor = tinqs_in(folder.path(), &["doctor", "--offline"], &[]).out;
    let line = "! machines                jobs run as the user that runs serve: they can read its";
    assert!(doctor.contains(line), "{doctor}");

    // As `init` writes it.
    let file = folder.path().join("tinqs-ci.toml");
    let text = std::fs::read_to_string(&file).expect("there");
    std::fs::write(&file, format!("{text}[process]\nuser = \"self\"\n")).expect("written");
    let log = log_of_a_start(folder.path(), &[]);
    let said = ["info", "jobs run as the user of this server, as process.user says"];
    assert_eq!(told(&log), [said.map(str::to_owned)]);
    let doctor = tinqs_in(folder.path(), &["doctor", "--offline"], &[]).out;
    let line = "✓ machines                jobs run as the user that runs serve, as `process.user`";
    assert!(doctor.contains(line), "{doctor}");
}

/// Whether other users can get into this folder, and it is on a disk: a file in memory is one that
/// the service manager made.
fn is_open_disk(folder: &Path) -> bool {
    let is_open = |folder: &Path| {
        std::fs::metadata(folder).is_ok_and(|data| data.permissions().mode() & 0o001 != 0)
    };
    let in_memory = [0x0102_1994, 0x8584_58f6];
    let system = rustix::fs::statfs(folder).expect("there");
    folder.ancestors().all(is_open) && !in_memory.contains(&system.f_type)
}

#[test]
fn serve_refuses_a_credential_that_every_user_can_read_unless_an_argument_allows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    configuration(folder.path(), free_port());
    for (path, mode) in [("", 0o755), ("token", 0o644)] {
        let mode = Permissions::from_mode(mode);
        std::fs::set_permissions(folder.path().join(path), mode).expect("set");
    }
    if !is_open_disk(&folder.path().canonicalize().expect("there")) {
        println!("!! SKIPPED: an open credential: the temporary folder is closed, or in memory");
        return;
    }
    let path = [("PATH", "/usr/bin:/bin")];
    let said = "`forge.token`: every user of this host can read the file `";
    let refused = tinqs_in(folder.path(), &["serve", "--insecure-root"], &path);
    assert_eq!(refused.code, 2, "{}", refused.err);
    let told = failure_in_log(&refused.err);
    assert!(told.starts_with(said), "{told}");
    assert!(told.contains("or allow it with `serve --insecure-files`"), "{told}");
    let doctor = tinqs_in(folder.path(), &["doctor"], &path).out;
    assert!(doctor.contains(&format!("! security                {said}")), "{doctor}");
    let log = log_of_a_start(folder.path(), &["--insecure-files"]);
    let warned = |line: &&Value| {
        let is_it = line["warning"].as_str().is_some_and(|warning| warning.starts_with(said));
        is_it && line["message"] == "insecure configuration" && line["level"] == "warn"
    };
    assert_eq!(log.iter().filter(warned).count(), 1, "{log:?}");
}
