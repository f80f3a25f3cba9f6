//! The settings of a class for the runner, carried out by the user data of a machine.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;

use tinqs_ci_reconciler::model::{
    EndedBy, MachineState, RunnerConfig, RunnerDownload, RunnerSetup,
};
use tinqs_ci_reconciler::ports::Compute as _;
use tinqs_ci_simulator::ec2_wire::Processes;
use tinqs_ci_testing::make::until;

use crate::cloud::{UNPACED, ask, is_clean, machines, wire};

/// An image: programs that are found first.
struct Image(tempfile::TempDir);

impl Image {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("bin")).unwrap();
        Self(dir)
    }

    /// Adds a program of bash; `DIR` in it is the directory of the image.
    fn program(&self, name: &str, text: &str) {
        let path = self.0.path().join("bin").join(name);
        let text = text.replace("DIR", &self.0.path().display().to_string());
        std::fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Returns the console of a machine with this setup, which has powered itself off.
    async fn console(&self, setup: RunnerSetup) -> String {
        let dir = self.0.path().to_owned();
        let path = format!("{}/bin:/usr/local/bin:/usr/bin:/bin", dir.display());
        let guest = Processes { dir, environment: vec![("PATH".to_owned(), path)] };
        let wire = wire(|options| options.guest = Some(Arc::new(guest)));
        let machines = machines(&wire, UNPACED).await;
        let (attempt_id, mut attempt) = ask(1);
        let machine = &mut attempt.placements[0].machine;
        machine.runner = Some(Box::new(setup));
        machine.instance_profile = String::new();
        let machine = machines.launch(&attempt_id, 0, &attempt).await.unwrap();
        let gone = until("it powered off", async || {
            let found = machines.find(&machine.id).await.unwrap();
            found.filter(|machine| machine.state == MachineState::Gone)
        })
        .await;
        assert_eq!(gone.ended_by, Some(EndedBy::Itself));
        is_clean(&wire);
        let seen = wire.machines();
        seen[0].console.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_a_runner_fetches_the_one_of_its_class() {
    let image = Image::new();
    let served = image.0.path().join("served");
    let runner = "[ \"$1\" = --version ] && echo v1.0.8 && exit\necho \"it ran: $*\"\n";
    std::fs::write(&served, format!("#!/bin/bash\n{runner}")).unwrap();
    image.program("curl", "while [ \"$1\" != -o ]; do shift; done; exec cp DIR/served \"$2\"");
    let said = Command::new("sha256sum").arg(&served).output().unwrap();
    let right = String::from_utf8(said.stdout).unwrap()[..64].to_owned();
    let named = |sha256: String| {
        let download = Some(RunnerDownload { url: "https://example.com/r".to_owned(), sha256 });
        RunnerSetup { download, ..RunnerSetup::default() }
    };
    let said = image.console(named(right)).await;
    assert!(said.contains("it ran: daemon --config config.yaml"), "{said}");
    assert!(said.contains("the runner ended with status 0: powering off"), "{said}");
    let said = image.console(named("0".repeat(64))).await;
    assert!(said.contains("the runner has the SHA-256 "), "{said}");
    assert!(!said.contains("it ran"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_runs_its_job_as_its_class_says() {
    let image = Image::new();
    std::fs::create_dir(image.0.path().join("user")).unwrap();
    image.program("getent", "echo 'runner:x:1234:1235::DIR/user:/bin/bash'");
    image.program("setpriv", "echo \"as $1\"\nwhile [[ $1 == --* ]]; do shift; done\nexec \"$@\"");
    image.program("sudo", "exit 1");
    image.program("chown", "exit 0");
    image.program("nft", "echo \"fenced: $1\"");
    let runner = "echo \"it ran for $USER in $PWD with $(ls .runner)\"\ncat config.yaml";
    image.program("gitea-runner", runner);
    let user = Some("runner".to_owned());
    let config = Some(RunnerConfig { docker_timeout: Some(90), ..RunnerConfig::default() });
    let said = image.console(RunnerSetup { user, config, ..RunnerSetup::default() }).await;
    assert!(said.contains("container:\n  docker_timeout: 90s\n"), "{said}");
    let home = image.0.path().join("user/tinqs-ci");
    let ran = format!("it ran for runner in {} with .runner", home.display());
    assert!(said.contains(&ran) && said.contains("as --reuid=1234"), "{said}");
    assert!(said.contains("meta skuid 1234 ip daddr 169.254.169.254 reject"), "{said}");
    assert!(said.contains("the runner ended with status 0: powering off"), "{said}");
}
