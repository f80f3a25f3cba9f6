//! The steps of the README and of the tutorial, which warn about nothing.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use tinqs_ci_simulator::forge::{Config, Forge, Line};
use tinqs_ci_simulator::gitea_wire::{Wire, WireOptions};
use tinqs_ci_test_host::free_port;

use crate::{Running, command, tinqs_in};

/// A part of the warning about the user root, as whom tests may run, and whom the tutorial avoids.
const ROOT: &str = "the server runs as root";

/// Writes the programs that a host with the prerequisites has. Returns the PATH.
fn programs(folder: &Path) -> String {
    for (name, version) in [
        ("gitea-runner", "gitea-runner version v1.0.8"),
        ("git", "git version 2.47.0"),
        ("node", "v22.0.0"),
    ] {
        let file = folder.join(name);
        std::fs::write(&file, format!("#!/bin/sh\necho '{version}'\n")).expect("written");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&file, mode).expect("its mode is set");
    }
    format!("{}:/usr/bin:/bin", folder.display())
}

#[test]
fn init_doctor_and_serve_warn_about_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let entered = runtime.enter();
    let mut forge = Forge::new(Config { line: Line::V1_27, ..Config::default() });
    forge.add_repo("acme/widget");
    let clock = Arc::new(Timestamp::now);
    let wire = Wire::start(Arc::new(Mutex::new(forge)), clock, WireOptions::default());
    let wire = wire.expect("a server");
    drop(entered);
    let (folder, bin) = (tempfile::tempdir(), tempfile::tempdir());
    let (folder, bin) = (folder.expect("a folder"), bin.expect("a folder"));
    let path = programs(bin.path());
    let api = format!("127.0.0.1:{}", free_port());
    let env =
        [("PATH", path.as_str()), ("TINQS_CI_SERVER__API", &api), ("GITEA_TOKEN", "api-token")];
    let listen = format!("127.0.0.1:{}", free_port());
    let (url, run) = (wire.url(), |args: &[&str]| tinqs_in(folder.path(), args, &env));

    let said = run(&["init", "--yes", "--url", &url, "--scope", "all", "--listen", &listen]);
    assert_eq!((said.code, said.err.as_str()), (0, ""), "{}", said.out);
    is_fine(&run(&["doctor"]).out);
    assert_eq!(run(&["webhook", "add", "--url", &format!("http://{listen}/webhook")]).code, 0);
    is_fine(&run(&["doctor"]).out);

    let log = folder.path().join("serve.log");
    let mut serve = command(&["serve", "--insecure-root"], &env);
    serve.current_dir(folder.path()).stdout(Stdio::null());
    serve.stderr(File::create(&log).expect("created"));
    let _running = Running(serve.spawn().expect("it runs"));
    let begun = Instant::now();
    while run(&["status"]).code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", run(&["status"]).err);
        std::thread::sleep(Duration::from_millis(100));
    }
    is_fine(&run(&["doctor"]).out);
    for line in std::fs::read_to_string(&log).expect("a log").lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let of_root = line["warning"].as_str().is_some_and(|warning| warning.contains(ROOT));
        assert!(line["level"] == "info" || of_root, "{line}");
    }
}

/// `doctor` neither warns nor fails.
#[track_caller]
fn is_fine(doctor: &str) {
    let lines = || doctor.lines().filter(|line| !line.contains(ROOT));
    let said = |mark: char| lines().filter(|line| line.starts_with(mark)).count();
    assert!(said('✓') > 10 && said('!') == 0 && said('✗') == 0, "{doctor}");
}
