//! `[process]`: as whom machines of this host run.

use expect_test::expect;
use tinqs_ci::settings::ProcessUser;

use super::{bad_top, good, with};

fn read(lines: &str) -> (ProcessUser, Vec<String>) {
    let loaded = good(&with(lines), &[("HOME_TOKEN", "long-token")]);
    (loaded.settings.process, loaded.warnings)
}

#[test]
fn the_own_user_is_the_default_and_can_be_asked_for() {
    assert_eq!(read(""), (ProcessUser::default(), vec![]));
    let asked = ProcessUser { own: true, ..ProcessUser::default() };
    assert_eq!(read("[process]\nuser = \"self\""), (asked, vec![]));
    let other = ProcessUser { user: Some("ci-job".into()), ..ProcessUser::default() };
    assert_eq!(read("[process]\nuser = \"ci-job\""), (other, vec![]));
}

#[test]
fn a_user_that_cannot_be_meant_is_refused() {
    bad_top(
        "[process]\nuser = \"root\"",
        &expect![
            "ci.toml:2: process.user: is root: a job would own this host; create a user for jobs"
        ],
    );
    bad_top(
        "[process]\nuser = \"self\"\ndirectory = \"/srv/jobs\"",
        &expect![
            "ci.toml:3: process.directory: needs a user in `user`: without one, machines work in the data directory"
        ],
    );
    bad_top(
        "[process]\ndirectory = \"/srv/jobs\"",
        &expect![
            "ci.toml:2: process.directory: needs a user in `user`: without one, machines work in the data directory"
        ],
    );
    bad_top(
        "[process]\nuser = \"ci-job\"\ndirectory = \"jobs\"",
        &expect![
            "ci.toml:3: process.directory: is not an absolute path: the user of the machines has another home"
        ],
    );
}
