//! The command line of the runner. Cargo builds a package's programs for its integration tests, so
//! this file also makes `cargo test` build the program with the features of all other tests.

use std::process::{Command, Output};

fn runner(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tinqs-ci-test-runner"))
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn the_version_is_printed() {
    let output = runner(&["--version"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("1.0.8"), "{output:?}");
}

#[test]
fn an_unknown_argument_is_rejected_with_the_right_command() {
    for arguments in [&["--ephemeral"][..], &["daemon", "--config"], &[]] {
        let output = runner(arguments);
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(message.starts_with("tinqs-ci-test-runner: "), "{message}");
        assert!(message.contains("-c"), "{message}");
    }
}
