//! An example of each table of the configuration, printed below it in
//! `docs/reference/configuration.md`.

use std::path::Path;

use tinqs_ci::settings::{self, Env, Form, Key, TOP};
use tinqs_ci_testing::certificates::Authority;

/// The path of a table, without a point for the top level, and an example that sets each of its
/// keys.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "",
        r#"installation = "tinqs-ci"
store        = "redb:/var/lib/tinqs-ci"
queue        = "memory:"
compute      = "process:"
prices       = { process = "$0.02/h" }
"#,
    ),
    (
        "forge",
        r#"[forge]
url            = "https://git.example.com"
machine_url    = "https://git.internal.example.com"
token          = { file = "/etc/tinqs-ci/token" }
runner_token   = { file = "/etc/tinqs-ci/runner-token" } # with register_in = "scope" only
webhook_secret = { file = "/etc/tinqs-ci/webhook-secret" }
git_token      = { env = "GIT_TOKEN" }
demand         = "auto"
scope          = "org:acme"
register_in    = "repository"
poll_every     = "10s"
sweep_every    = "60s"
"#,
    ),
    (
        "process",
        r#"[process]
user      = "ci-job"
directory = "/var/lib/tinqs-ci-jobs/machines"
"#,
    ),
    (
        "aws",
        "[aws]
launch_rate  = 4.5 # after the quota was raised to 5 a second
launch_burst = 20
",
    ),
    (
        "server",
        r#"[server]
webhooks      = "0.0.0.0:8080"
api           = "127.0.0.1:8081"
metrics       = "127.0.0.1:8082"
hosts         = ["ci.example.com"]
event_clients = 256
log           = "info,tinqs_ci=debug"
emf           = false
"#,
    ),
    (
        "server.tls",
        r#"[server.tls]
cert = "/etc/tinqs-ci/cert.pem"
key  = "/etc/tinqs-ci/key.pem"
"#,
    ),
    (
        "server.token",
        r#"[[server.token]]
name   = "dashboard"
secret = { file = "/etc/tinqs-ci/dashboard-token" }
may    = "read"
"#,
    ),
    (
        "class",
        r#"[[class]]
name             = "linux"
labels           = ["linux", "ubuntu-latest:host", "node:docker://node:22"]
serves_unlabeled = false
repos            = ["acme/site", "acme/infra-*"]
limit            = 20
repo_limit       = 5
owner_limit      = 10
budget           = "$5/day"
rerun            = "lost"
rerun_limit      = 2
boot_within      = "5m"
idle_within      = "2m"
max_age          = "6h"
give_up_after    = "24h"
assign_within    = "60s"
keep             = "168h"
hold             = "15m"
"#,
    ),
    (
        "class.machines",
        r#"[[class]]
name   = "deploy"
labels = ["deploy"]
repos  = ["acme/infra"]

[class.machines]
markets          = ["spot", "on-demand"]
kinds            = ["t3.large", "t3a.large"]
subnets          = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
image            = "ssm:/tinqs-ci/image"
launch_template  = "lt-0123456789abcdef0:7"
allocation       = "price"
security_groups  = ["sg-0123456789abcdef0"]
instance_profile = "ci-deploy"
disk_gib         = 40
disk_iops        = 4000
disk_throughput  = 500
disk_encryption  = true
public_address   = true
cpu_credits      = "unlimited"
hop_limit        = 1
tags             = { CostCenter = "ci" }
"#,
    ),
    (
        "class.runner",
        r#"[[class]]
name   = "linux"
labels = ["linux"]

[class.runner]
user   = "ci-job"
docker = false
"#,
    ),
    (
        "class.runner.download",
        r#"[[class]]
name   = "linux"
labels = ["linux"]

[class.runner.download]
url    = "https://example.com/gitea-runner-linux-amd64"
sha256 = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
"#,
    ),
    (
        "class.runner.config",
        r#"[[class]]
name   = "linux"
labels = ["linux"]

[class.runner.config]
ca = "/etc/tinqs-ci/authority.pem"
"#,
    ),
    (
        "class.runner.config.container",
        r#"[[class]]
name   = "linux"
labels = ["linux"]

[class.runner.config.container]
network        = "ci"
force_pull     = true
docker_timeout = "90s"
"#,
    ),
    (
        "class.runner.config.runner",
        r#"[[class]]
name   = "linux"
labels = ["linux"]

[class.runner.config.runner]
envs     = { HTTPS_PROXY = "http://10.0.0.1:3128" }
insecure = false
"#,
    ),
    (
        "class.runner.config.cache",
        r#"[[class]]
name   = "linux"
labels = ["linux"]
repos  = ["acme/*"]

[class.runner.config.cache]
enabled         = true
dir             = "/var/cache/runner"
host            = "10.0.0.2"
port            = 8088
external_server = "http://10.0.0.2:8088"
external_secret = { file = "/etc/tinqs-ci/cache-secret" }
"#,
    ),
];

/// Returns the example of a table.
pub(super) fn of(path: &str) -> &'static str {
    let example = EXAMPLES.iter().find(|(of, _)| *of == path);
    example.unwrap_or_else(|| panic!("tests/reference/examples.rs has no example of [{path}]")).1
}

/// The folder of the files that examples name.
const FOLDER: &str = "/etc/tinqs-ci/";
/// The required keys of a class in EC2.
const MACHINES: &str = r#"
[class.machines]
kinds = ["c7a.medium"]
subnets = ["subnet-0123456789abcdef0"]
image = "ami-0123456789abcdef0"
"#;
/// The required keys of every configuration.
const FORGE: &str = r#"
[forge]
url = "https://git.example.com"
token = { file = "/etc/tinqs-ci/token" }
"#;
/// Tables whose keys are for EC2 only, which needs the AWS adapters.
const ONLY_IN_EC2: [&str; 2] = ["class.runner", "class.runner.config"];

/// Returns a whole configuration with an example.
fn whole(path: &str, example: &str) -> String {
    let in_ec2 = settings::AWS && path.starts_with("class.");
    let compute = if in_ec2 { "compute = \"ec2:eu-central-1\"\n" } else { "" };
    let prices = if path.is_empty() { "" } else { "prices = { process = \"$0.02/h\" }\n" };
    let machines = if in_ec2 && path != "class.machines" { MACHINES } else { "" };
    let forge = if path == "forge" { "" } else { FORGE };
    format!("{compute}{prices}{example}{machines}{forge}")
}

/// Returns the tables at and below a path with the names of their keys, in their order.
fn tables(path: &str, keys: &[Key]) -> Vec<(String, Vec<&'static str>)> {
    let mut names = Vec::new();
    let mut below = Vec::new();
    for key in keys {
        if let Form::Table(inner) | Form::Tables(_, inner) = key.form {
            let point = if path.is_empty() { "" } else { "." };
            below.extend(tables(&format!("{path}{point}{}", key.name), inner));
        } else {
            names.push(key.name);
        }
    }
    [vec![(path.to_owned(), names)], below].concat()
}

#[test]
fn each_example_sets_the_keys_of_its_table_in_their_order() {
    let tables = tables("", TOP);
    assert_eq!(tables.len(), EXAMPLES.len(), "tables and examples");
    for (path, names) in tables {
        let lines: Vec<&str> = of(&path).lines().collect();
        let header = lines.iter().rposition(|line| line.starts_with('['));
        let set = lines.iter().skip(header.map_or(0, |at| at + 1));
        let set: Vec<&str> = set.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(set, names, "the example of [{path}]");
    }
}

#[test]
fn each_example_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    authority.issue(&["ci.example.com"]).write(folder.path());
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("authority.pem"), authority.pem()).expect("written");
    for name in ["token", "runner-token", "webhook-secret", "dashboard-token", "cache-secret"] {
        std::fs::write(file(name), format!("the-credential-of-{name}")).expect("written");
    }
    let env = Env::from([("GIT_TOKEN".to_owned(), "a-token-for-git".to_owned())]);
    for (path, example) in EXAMPLES {
        if !settings::AWS && ONLY_IN_EC2.contains(path) {
            continue;
        }
        let text = whole(path, example).replace(FOLDER, &format!("{}/", folder.path().display()));
        let read = settings::parse(&text, Some(Path::new("tinqs-ci.toml")), &env);
        if let Err(mistakes) = read {
            panic!("the example of [{path}]: {mistakes}\n{text}");
        }
    }
}
