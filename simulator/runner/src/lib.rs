//! Builds and locates the runner program for tests.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// Returns the path of the program. Builds it, because a dependency provides only its library.
///
/// # Panics
/// If the build fails.
pub fn program() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its program");
    // `target/PROFILE/deps/<test>`
    let path = test.ancestors().nth(2).expect("it lies in `deps`").join("tinqs-ci-test-runner");
    let mut cargo = Command::new(option_env!("CARGO").unwrap_or("cargo"));
    // For the program's own test, Cargo builds the program as `cargo test` does: with the features
    // that the tests of all packages enable. `cargo build` would build the dependencies again.
    cargo.args(["test", "--quiet", "--no-run", "--test", "command_line"]).current_dir(workspace());
    // Cargo's variables about the test's package would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let of_test = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if name.to_str().is_some_and(|name| of_test.iter().any(|prefix| name.starts_with(prefix))) {
            cargo.env_remove(name);
        }
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo starts");
    assert!(
        status.success() && path.exists(),
        "cannot build the runner program at {}",
        path.display()
    );
    path
}

/// Returns the workspace of the running test, which may have been built elsewhere than this
/// library.
fn workspace() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.or_else(|| std::env::current_dir().ok()).expect("a test runs somewhere");
    let root = package.ancestors().find(|dir| dir.join("Cargo.lock").exists());
    root.expect("a test is a package of the workspace").to_owned()
}
