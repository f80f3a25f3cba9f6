//! Rules for manifests: dependencies between crates, workspace lists, the lockfile.

use std::collections::BTreeSet;

use super::tree::{dependencies, files, manifest, none_holds, read, sources};

/// The maximum number of packages in the lockfile. Raise it only with a line in the changelog.
const MOST_PACKAGES: usize = 458;

/// The allowed dependencies between the crates of the workspace: normal ones, and dev ones. Adding
/// an edge needs a decision.
const EDGES: &[(&str, &[&str], &[&str])] = &[
    ("tinqs-ci-reconciler", &[], &[]),
    ("tinqs-ci-workflow", &[], &[]),
    ("tinqs-ci-net", &[], &[]),
    ("tinqs-ci-boot", &["tinqs-ci-reconciler"], &[]),
    ("tinqs-ci-local", &["tinqs-ci-boot", "tinqs-ci-reconciler"], &[]),
    ("tinqs-ci-gitea", &["tinqs-ci-net", "tinqs-ci-reconciler", "tinqs-ci-workflow"], &[]),
    ("tinqs-ci-aws", &["tinqs-ci-boot", "tinqs-ci-reconciler"], &["tinqs-ci-local"]),
    ("tinqs-ci-test-features", &["tinqs-ci-reconciler"], &[]),
    ("tinqs-ci-testing", &["tinqs-ci-reconciler", "tinqs-ci-test-features"], &[]),
    ("tinqs-ci-simulator", &["tinqs-ci-reconciler"], &["tinqs-ci-test-runner"]),
    (
        "tinqs-ci-mutants",
        &[],
        &["tinqs-ci-reconciler", "tinqs-ci-simulator", "tinqs-ci-test-features"],
    ),
    ("tinqs-ci-test-runner", &[], &[]),
    ("tinqs-ci-test-host", &["tinqs-ci-simulator", "tinqs-ci-test-runner"], &[]),
    (
        "tinqs-ci",
        &[
            "tinqs-ci-aws",
            "tinqs-ci-boot",
            "tinqs-ci-gitea",
            "tinqs-ci-local",
            "tinqs-ci-net",
            "tinqs-ci-reconciler",
            "tinqs-ci-simulator",
            "tinqs-ci-workflow",
        ],
        &["tinqs-ci-test-host", "tinqs-ci-test-runner", "tinqs-ci-testing"],
    ),
    (
        "tinqs-ci-aws-tests",
        &["tinqs-ci"],
        &[
            "tinqs-ci-aws",
            "tinqs-ci-boot",
            "tinqs-ci-gitea",
            "tinqs-ci-local",
            "tinqs-ci-reconciler",
            "tinqs-ci-simulator",
            "tinqs-ci-test-host",
            "tinqs-ci-test-runner",
            "tinqs-ci-testing",
        ],
    ),
];

/// Folders with a `Cargo.toml` that are separate workspaces.
const OWN_WORKSPACES: &[&str] = &["fuzz"];

/// Members that are not in `default-members`.
const NOT_BY_DEFAULT: &[&str] = &["simulator/mutants", "tests/aws"];

/// The files that ask for the feature `aws`, as import rule 6 of docs/architecture.md lists them.
const ASK_FOR_AWS: &[&str] = &[
    "src/backends.rs",
    "src/commands/doctor/needs.rs",
    "src/commands/serve.rs",
    "src/server/mod.rs",
    "src/server/workers.rs",
    "src/settings/ec2.rs",
    "src/settings/types.rs",
];

/// A crate of the workspace.
pub(crate) struct Member {
    pub(crate) name: String,
    /// `.` for the root package.
    pub(crate) folder: String,
    manifest: toml::Table,
}

impl Member {
    /// Returns the folder of its sources, with a trailing slash.
    pub(crate) fn source(&self) -> String {
        if self.folder == "." { "src/".to_owned() } else { format!("{}/src/", self.folder) }
    }
}

/// Returns the root package and all members of the workspace.
pub(crate) fn members() -> Vec<Member> {
    let mut folders = listed("members");
    folders.insert(".".to_owned());
    let member = |folder: String| {
        let manifest = manifest(&format!("{folder}/Cargo.toml"));
        let name = manifest["package"]["name"].as_str().expect("a package has a name").to_owned();
        Member { name, folder, manifest }
    };
    folders.into_iter().map(member).collect()
}

/// Returns a list of folders from the workspace manifest.
fn listed(key: &str) -> BTreeSet<String> {
    let root = manifest("Cargo.toml");
    let folders = root["workspace"][key].as_array().expect("the workspace lists folders");
    folders.iter().map(|folder| folder.as_str().expect("a folder is text").to_owned()).collect()
}

/// The pure crates and their allowed dependencies outside the workspace.
const PURE: &[(&str, &[&str])] = &[
    (
        "reconciler",
        &[
            "async-lock",
            "async-trait",
            "hex",
            "jiff",
            "parking_lot",
            "schemars",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "unicode-segmentation",
            "unicode-width",
            "uuid",
        ],
    ),
    (
        "workflow",
        &[
            "granit-parser",
            "jiff",
            "parking_lot",
            "regex-automata",
            "regex-syntax",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
        ],
    ),
];

#[test]
fn the_pure_crates_do_no_io() {
    for (folder, known) in PURE {
        let crates = manifest(&format!("{folder}/Cargo.toml"));
        let known: BTreeSet<String> = known.iter().map(ToString::to_string).collect();
        let own = dependencies(&crates, "dependencies");
        let new: Vec<_> = own.difference(&known).collect();
        assert!(
            new.is_empty(),
            "{folder} depends on {new:?}: needs a decision, see docs/decisions/"
        );
        for banned in ["tokio", "reqwest", "axum", "rand", "tinqs-ci", "tinqs-ci-simulator"] {
            assert!(
                !dependencies(&crates, "dev-dependencies").contains(banned),
                "{banned} in the tests of {folder}"
            );
        }
        none_holds(
            &sources(&format!("{folder}/src/")),
            &[
                "std::fs",
                "std::net",
                "std::env",
                "std::thread",
                "std::process",
                "std::os",
                "Instant",
                "SystemTime",
                "Timestamp::now",
                "Zoned::now",
                "tokio",
                "println!",
                "eprintln!",
            ],
            "the pure crates must not use files, sockets, environment, threads or clocks",
        );
    }
}

/// Returns the dependencies of a kind within the workspace, for every target.
fn own_dependencies(member: &Member, kind: &str, own: &BTreeSet<String>) -> BTreeSet<String> {
    let mut tables = vec![&member.manifest];
    let targets = member.manifest.get("target").and_then(toml::Value::as_table);
    tables.extend(targets.into_iter().flat_map(toml::Table::values).filter_map(|t| t.as_table()));
    let mut found = BTreeSet::new();
    for (key, value) in tables.iter().filter_map(|table| table.get(kind)?.as_table()).flatten() {
        let package = value.get("package").and_then(toml::Value::as_str).unwrap_or(key);
        if own.contains(package) {
            assert_eq!(package, key, "{}: workspace crates must not be renamed", member.name);
            found.insert(key.clone());
        }
    }
    found
}

#[test]
fn dependencies_between_crates_match_the_table() {
    let members = members();
    let own: BTreeSet<String> = members.iter().map(|member| member.name.clone()).collect();
    let listed: BTreeSet<String> = EDGES.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let mut broken: Vec<String> = own
        .symmetric_difference(&listed)
        .map(|name| format!("{name}: not in both the workspace and the table"))
        .collect();
    for member in &members {
        let Some((_, normal, dev)) = EDGES.iter().find(|(name, ..)| *name == member.name) else {
            continue;
        };
        for (kind, allowed) in
            [("dependencies", *normal), ("dev-dependencies", *dev), ("build-dependencies", &[])]
        {
            let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
            let found = own_dependencies(member, kind, &own);
            for new in found.difference(&allowed) {
                broken.push(format!("{} -> {new}: new in {kind}", member.name));
            }
            for gone in allowed.difference(&found) {
                broken.push(format!("{} -> {gone}: no longer in {kind}", member.name));
            }
        }
    }
    assert!(broken.is_empty(), "edges between crates:\n  {}\n", broken.join("\n  "));
}

#[test]
fn the_workspace_lists_every_folder_with_a_manifest() {
    let folders: BTreeSet<String> = files()
        .iter()
        .filter_map(|file| match file.as_str() {
            "Cargo.toml" => Some("."),
            file => file.strip_suffix("/Cargo.toml"),
        })
        .map(str::to_owned)
        .collect();
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    for folder in OWN_WORKSPACES {
        let manifest = manifest(&format!("{folder}/Cargo.toml"));
        assert!(manifest.contains_key("workspace"), "{folder} is not a separate workspace");
    }
    let mut members = listed("members");
    members.insert(".".to_owned());
    assert_eq!(members, &folders - &set(OWN_WORKSPACES), "`members` does not match the folders");
    let default = &members - &set(NOT_BY_DEFAULT);
    assert_eq!(listed("default-members"), default, "`default-members` does not match the folders");
}

#[test]
fn the_aws_sdk_is_used_only_in_its_adapter() {
    let outside: Vec<String> = ["src/", "adapters/", "reconciler/", "workflow/", "testing/"]
        .into_iter()
        .flat_map(sources)
        .filter(|file| !file.starts_with("adapters/aws/"))
        .collect();
    none_holds(
        &outside,
        &["aws_config", "aws_sdk_", "aws_smithy_"],
        "the AWS SDK may be used only in adapters/aws",
    );
    let others: Vec<String> =
        outside.into_iter().filter(|file| !file.starts_with("src/server/lambda")).collect();
    none_holds(
        &others,
        &["lambda_http", "lambda_runtime"],
        "the Lambda runtime may be used only in src/server/lambda",
    );
}

#[test]
fn the_feature_aws_is_asked_for_only_in_the_listed_files() {
    let asking: Vec<String> = ["src/", "adapters/", "reconciler/", "workflow/", "simulator/"]
        .into_iter()
        .flat_map(sources)
        .filter(|file| read(file).contains("feature = \"aws\""))
        .collect();
    assert_eq!(asking, ASK_FOR_AWS, "import rule 6 of docs/architecture.md lists these files");
}

#[test]
fn opentelemetry_is_used_only_by_traces() {
    let outside: Vec<String> = ["src/", "adapters/", "reconciler/", "workflow/", "simulator/"]
        .into_iter()
        .flat_map(sources)
        .filter(|file| !file.starts_with("src/telemetry/traces/otlp"))
        .collect();
    none_holds(
        &outside,
        &["opentelemetry", "opentelemetry_sdk", "opentelemetry_otlp", "opentelemetry_http"],
        "OpenTelemetry may be used only in src/telemetry/traces/otlp",
    );
    let outside: Vec<String> =
        outside.into_iter().filter(|file| !file.starts_with("src/telemetry/traces")).collect();
    none_holds(
        &outside,
        &["feature = \"otlp\""],
        "the feature `otlp` may be asked for only in src/telemetry/traces",
    );
}

#[test]
fn production_code_knows_no_mutants() {
    let shipped = ["src/", "adapters/", "reconciler/src/", "workflow/src/", "simulator/src/"];
    let shipped: Vec<String> = shipped.into_iter().flat_map(sources).collect();
    none_holds(
        &shipped,
        &["mutant", "mutants", "Mutant"],
        "mutants are changed ports and decisions in simulator/mutants, not switches",
    );
}

#[test]
fn the_lockfile_is_small_and_contains_no_banned_crates() {
    let lock = manifest("Cargo.lock");
    let packages = lock["package"].as_array().expect("a lockfile has packages");
    assert!(
        packages.len() <= MOST_PACKAGES,
        "{} packages, {MOST_PACKAGES} allowed: is the new one worth it?",
        packages.len()
    );
    // Checks the bans of deny.toml on the lockfile, because cargo deny may not be installed.
    let banned = ["openssl-sys", "native-tls", "serde_yaml", "serde_yml", "backoff", "instant"];
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let version = package["version"].as_str().unwrap_or_default();
        assert!(!banned.contains(&name), "{name} is banned, see deny.toml");
        assert!(!(name == "hyper" && version.starts_with("0.")), "hyper {version} is banned");
        assert!(!(name == "rustls" && version < "0.23"), "rustls {version} is banned");
    }
    let deny = manifest("deny.toml");
    let bans = deny["bans"]["deny"].as_array().expect("deny.toml bans crates");
    assert!(bans.iter().all(|ban| ban["reason"].as_str().is_some_and(|why| why.len() > 5)));
}
