//! Rules for this repository's own workflow files, evaluated as the forge does.

use std::collections::BTreeSet;

use serde_json::json;
use tinqs_ci_workflow::jobs::{self, Context};
use tinqs_ci_workflow::trigger::{self, Changed, Event};
use tinqs_ci_workflow::{Dialect, yaml};

use super::tree::{files, read};

const CI: &str = ".gitea/workflows/ci.yml";
const RELEASE: &str = ".gitea/workflows/release.yml";
const DIALECTS: [Dialect; 3] = [Dialect::V1_25, Dialect::V1_26, Dialect::V1_27];

/// The steps of a release, in this order.
const STEPS: [&str; 9] =
    ["tag", "binary", "deb", "image", "zip", "sbom", "sums", "sign", "publish"];

/// Returns the labels of each job that a push of this ref starts.
fn started(file: &str, git_ref: &str, dialect: Dialect) -> Vec<Vec<String>> {
    let text = read(file);
    let payload = json!({ "ref": git_ref });
    let event = Event { name: "push", payload: &payload, git_ref };
    let changed = Changed::Files(vec!["Cargo.toml".to_owned()]);
    let told = trigger::evaluate_file(text.as_bytes(), &event, &changed, dialect);
    assert_eq!(told.invalid, None, "{file}, {dialect:?}");
    if told.matched().next().is_none() {
        return Vec::new();
    }
    let node = yaml::parse(text.as_bytes()).expect("it was evaluated");
    let jobs = jobs::jobs(&node, &Context::default(), dialect)
        .unwrap_or_else(|error| panic!("{file}, {dialect:?}: {error}"));
    assert!(jobs.iter().all(|job| job.dispatched), "{file}, {dialect:?}: {jobs:?}");
    jobs.into_iter().map(|job| job.runs_on).collect()
}

#[test]
fn a_tag_of_a_version_starts_the_release_and_main_starts_the_checks() {
    let workflows: BTreeSet<String> =
        files().into_iter().filter(|file| file.starts_with(".gitea/workflows/")).collect();
    assert_eq!(workflows, BTreeSet::from([CI, RELEASE].map(str::to_owned)));
    for dialect in DIALECTS {
        assert_eq!(started(RELEASE, "refs/tags/v0.1.0", dialect), [["linux"]], "{dialect:?}");
        for other in ["refs/heads/main", "refs/heads/v0.1.0", "refs/tags/nightly"] {
            let jobs = started(RELEASE, other, dialect);
            assert!(jobs.is_empty(), "{other} starts {jobs:?}, {dialect:?}");
        }
        assert_eq!(started(CI, "refs/heads/main", dialect), [["linux"]], "{dialect:?}");
    }
}

/// Returns the verb of each `run: deploy/build VERB …`; every other one-line command is an error.
fn verbs(workflow: &str) -> Vec<&str> {
    let mut verbs = Vec::new();
    for line in workflow.lines() {
        let step = line.trim();
        let step = step.strip_prefix("- ").unwrap_or(step);
        let Some(command) = step.strip_prefix("run: ").filter(|command| *command != "|") else {
            continue;
        };
        let mut words = command.split(' ');
        assert_eq!(words.next(), Some("deploy/build"), "{command}: people cannot run it");
        verbs.push(words.next().unwrap_or_default());
    }
    verbs
}

#[test]
fn the_release_runs_the_commands_that_people_run() {
    let build = read("deploy/build");
    let offered = build.lines().find_map(|line| line.trim().strip_suffix(") \"$@\" ;;"));
    let offered: BTreeSet<&str> = offered.expect("its verbs").split(" | ").collect();
    let workflow = read(RELEASE);
    let verbs = verbs(&workflow);
    assert_eq!(verbs, STEPS);
    let unknown: Vec<_> = verbs.iter().filter(|verb| !offered.contains(*verb)).collect();
    assert!(unknown.is_empty(), "deploy/build has no {unknown:?}");
    assert_eq!(workflow.matches("run: |").count(), 1, "only the checkout is a script");
    // An action could read the signing key.
    assert!(!workflow.contains("uses:"), "a release runs no foreign action");
}
