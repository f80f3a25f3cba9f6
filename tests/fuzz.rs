//! Everything that the fuzzer starts from and has found, checked once more: what it checks must
//! hold without it too.

#[path = "../fuzz/src/boot.rs"]
mod boot;
#[path = "../fuzz/src/config.rs"]
mod config;
#[path = "../fuzz/src/glob.rs"]
mod glob;
#[path = "../fuzz/src/observation.rs"]
mod observation;
#[path = "../fuzz/src/webhook.rs"]
mod webhook;
#[path = "../fuzz/src/workflow.rs"]
mod workflow;

use std::fs;
use std::path::Path;

/// Checks every file of a target's seeds.
fn seeds(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut checked = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        check(&fs::read(&path).expect("a seed can be read"));
        checked += 1;
    }
    assert!(checked >= 3, "{target}: only {checked} seeds");
}

#[test]
fn boot_holds() {
    seeds("boot", boot::check);
}

#[test]
fn config_holds() {
    seeds("config", config::check);
}

#[test]
fn observation_holds() {
    seeds("observation", observation::check);
}

#[test]
fn webhook_holds() {
    seeds("webhook", webhook::check);
}

#[test]
fn glob_holds() {
    seeds("glob", glob::check);
}

#[test]
fn workflow_holds() {
    seeds("workflow", workflow::check);
}
