//! What a class says about the runner, carried out by the user data of a machine.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tinqs_ci_reconciler::model::{EndedBy, MachineState, RunnerDownload, RunnerSetup};
use tinqs_ci_reconciler::ports::Compute as _;
use tinqs_ci_simulator::ec2_wire::Processes;
use tinqs_ci_testing::make::until;

use crate::cloud::{UNPACED, ask, is_clean, machines, wire};

/// Puts a program into a directory.
fn program(bin: &Path, name: &str, text: &str) {
    let path = bin.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn sha256(path: &Path) -> String {
    let said = Command::new("sha256sum").arg(path).output().unwrap();
    String::from_utf8(said.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// Returns the console of a machine with this setup, which has powered itself off. Its image has no
/// runner, and what it fetches is `served`.
async fn console(served: &str, setup: impl Fn(&Path) -> RunnerSetup) -> String {
    let dir = tempfile::tempdir().unwrap();
    let bin = dir.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let source = dir.path().join("served");
    std::fs::write(&source, served).unwrap();
    let curl = "#!/bin/bash\nwhile [ \"$1\" != -o ]; do shift; done\nexec cp SERVED \"$2\"\n";
    program(&bin, "curl", &curl.replace("SERVED", &source.display().to_string()));
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    let guest =
        Processes { dir: dir.path().to_owned(), environment: vec![("PATH".to_owned(), path)] };
    let wire = wire(|options| options.guest = Some(Arc::new(guest)));
    let machines = machines(&wire, UNPACED).await;
    let (attempt_id, mut attempt) = ask(1);
    attempt.placements[0].machine.runner = Some(Box::new(setup(&source)));
    let machine = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
    let gone = until("it powered off", async || {
        let found = machines.find(&machine.id).await.unwrap();
        found.filter(|machine| machine.state == MachineState::Gone)
    })
    .await;
    assert_eq!(gone.ended_by, Some(EndedBy::Itself));
    is_clean(&wire);
    wire.machines()[0].console.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_a_runner_fetches_the_one_of_its_class() {
    let runner = "#!/bin/bash\n[ \"$1\" = --version ] && echo v1.0.8 && exit\necho \"it ran: $*\"\n";
    let named = |sha256: String| {
        let download = Some(RunnerDownload { url: "https://example.com/r".to_owned(), sha256 });
        RunnerSetup { download }
    };
    let said = console(runner, |served| named(sha256(served))).await;
    assert!(said.contains("it ran: daemon --config config.yaml"), "{said}");
    assert!(said.contains("the runner ended with status 0: powering off"), "{said}");
    let said = console(runner, |_| named("0".repeat(64))).await;
    assert!(said.contains("the runner has the SHA-256 "), "{said}");
    assert!(!said.contains("it ran"), "{said}");
}
