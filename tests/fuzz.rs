//! Checks the seeds and findings of the fuzz targets in `cargo test`.

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

/// Checks every seed of a target.
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
fn boot_seeds_pass() {
    seeds("boot", boot::check);
}

#[test]
fn config_seeds_pass() {
    seeds("config", config::check);
}

#[test]
fn observation_seeds_pass() {
    seeds("observation", observation::check);
}

#[test]
fn webhook_seeds_pass() {
    seeds("webhook", webhook::check);
}

#[test]
fn glob_seeds_pass() {
    seeds("glob", glob::check);
}

#[test]
fn workflow_seeds_pass() {
    seeds("workflow", workflow::check);
}
