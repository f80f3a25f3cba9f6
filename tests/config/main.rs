//! The configuration: accepted values, rejected values, and their messages.

#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes snapshots so")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use jiff::SignedDuration;
use tinqs_ci::settings::{self, Env, Loaded};
use tinqs_ci::settings::{ComputeUrl, QueueUrl, Right, StoreUrl};
use tinqs_ci_gitea::{Demand, RegisterIn, Scope};
use tinqs_ci_reconciler::model::{Market, Secret, Times};

mod aws;
mod budget;
mod classes;
#[cfg(feature = "aws")]
mod machine_options;
mod prices;
mod process;
mod runner;
mod secrets;
mod server;
mod tls;

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn parse(text: &str, pairs: &[(&str, &str)]) -> Result<Loaded, settings::Mistakes> {
    settings::parse(text, Some(Path::new("ci.toml")), &env(pairs))
}

fn good(text: &str, pairs: &[(&str, &str)]) -> Loaded {
    parse(text, pairs).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

#[track_caller]
fn bad(text: &str, expected: &Expect) {
    let mistakes = parse(text, &[]).expect_err("this configuration is wrong");
    expected.assert_eq(&mistakes.to_string());
}

const MINIMAL: &str = "[forge]\nurl = \"https://git.example.com/\"\n";

/// The given lines and a valid forge.
fn with(more: &str) -> String {
    format!(
        "{more}\n[forge]\nurl = \"http://127.0.0.1:3000\"\ntoken = {{ env = \"HOME_TOKEN\" }}\n"
    )
}

#[track_caller]
fn bad_top(more: &str, expected: &Expect) {
    let text = with(more);
    let mistakes =
        parse(&text, &[("HOME_TOKEN", "long-token")]).expect_err("this configuration is wrong");
    expected.assert_eq(&mistakes.to_string());
}

#[test]
fn the_forge_address_alone_is_a_valid_configuration() {
    let Loaded { settings, warnings, .. } = good(MINIMAL, &[("GITEA_TOKEN", "long-secret")]);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(settings.installation, "tinqs-ci");
    assert_eq!(settings.forge.url, "https://git.example.com");
    assert_eq!(settings.forge.token.expect("from GITEA_TOKEN").expose(), "long-secret");
    assert_eq!(settings.forge.demand, Demand::Auto);
    assert_eq!(settings.forge.scope, Scope::All);
    assert_eq!(settings.forge.register_in, RegisterIn::Repository);
    assert_eq!(settings.forge.poll_every, SignedDuration::from_secs(10));
    assert_eq!(settings.forge.sweep_every, SignedDuration::from_secs(60));
    assert_eq!(settings.store, StoreUrl::Redb("./data".into()));
    assert_eq!(settings.queue, QueueUrl::Memory);
    assert_eq!(settings.compute, ComputeUrl::Process("./data/machines".into()));
    assert_eq!(settings.server.webhooks.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.server.api.to_string(), "127.0.0.1:8081");
    assert_eq!((settings.server.metrics, settings.server.tokens.len()), (None, 0));
    let [class] = &settings.classes[..] else { panic!("one class") };
    assert_eq!((class.name.0.as_str(), &class.labels[..]), ("default", &["*".to_owned()][..]));
    assert_eq!(class.times, Times::default());
    assert_eq!(class.machines.len(), 1);
    assert_eq!(class.machines[0].kind, "process");
}

#[test]
fn every_key_can_be_set() {
    let text = r#"
installation = "north"
store = "redb:/var/lib/tinqs-ci"
queue = "memory:"
compute = "process:/srv/machines"
[forge]
url = "http://localhost:3000/git/"
machine_url = "http://10.0.0.1:3000"
token = { env = "A" }
runner_token = { env = "B" }
webhook_secret = [{ env = "C" }, { env = "G" }]
git_token = { env = "D" }
demand = "jobs"
scope = "repo:acme/web"
register_in = "scope"
poll_every = "2s"
sweep_every = "5m"
[server]
webhooks = "[::]:9000"
api = "127.0.0.1:9001"
metrics = "0.0.0.0:9002"
hosts = ["ci.example.com"]
[[server.token]]
name = "ops"
secret = { env = "E" }
may = "operate"
[[server.token]]
name = "monitor"
secret = { env = "F" }
may = "read"
[[class]]
name = "linux"
labels = ["linux", "ubuntu-latest:docker://node:20", "x64:host"]
serves_unlabeled = true
repos = ["acme/*"]
limit = 20
repo_limit = 5
owner_limit = 8
boot_within = "1m 30s"
idle_within = "30s"
max_age = "1h"
give_up_after = "12h"
assign_within = "10s"
keep = "48h"
[class.machines]
markets = ["spot", "on-demand"]
kinds = ["a", "b"]
subnets = ["s1", "s2"]
image = "ami-1"
security_groups = ["sg-1"]
instance_profile = "runner"
[[class]]
name = "rest"
labels = ["*"]
"#;
    let variables = [
        ("A", "secret-a"),
        ("B", "secret-b"),
        ("C", "secret-c-0123456789"),
        ("D", "secret-d"),
        ("E", "0123456789abcdef"),
        ("F", "fedcba9876543210"),
        ("G", "secret-g-0123456789"),
    ];
    let Loaded { settings, warnings, .. } = good(text, &variables);
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(settings.forge.url, "http://localhost:3000/git");
    assert_eq!(settings.forge.scope, Scope::Repo("acme".into(), "web".into()));
    assert_eq!(settings.forge.register_in, RegisterIn::Scope);
    assert_eq!(settings.compute, ComputeUrl::Process("/srv/machines".into()));
    assert_eq!(settings.forge.git_token.expect("given").expose(), "secret-d");
    assert_eq!(settings.forge.webhook_secret.expect("given").expose(), "secret-c-0123456789");
    let more: Vec<&str> = settings.server.webhook_secrets.iter().map(Secret::expose).collect();
    assert_eq!(more, ["secret-g-0123456789"]);
    let tokens: Vec<_> = settings.server.tokens().map(|t| (t.name.as_str(), t.may)).collect();
    assert_eq!(tokens, [("ops", Right::Operate), ("monitor", Right::Read)]);
    assert_eq!(settings.server.hosts, ["ci.example.com"]);
    let class = &settings.classes[0];
    let limits = (class.limit, class.repo_limit, class.owner_limit);
    assert_eq!((limits, class.serves_unlabeled), ((Some(20), Some(5), Some(8)), true));
    assert_eq!(class.times.boot_within, SignedDuration::from_secs(90));
    assert_eq!(class.times.keep, SignedDuration::from_hours(48));
    let order: Vec<_> = class.machines.iter().map(|m| (m.market, &*m.kind, &*m.subnet)).collect();
    let (spot, demand) = (Market::Spot, Market::OnDemand);
    assert_eq!(
        order,
        [
            (spot, "a", "s1"),
            (spot, "a", "s2"),
            (spot, "b", "s1"),
            (spot, "b", "s2"),
            (demand, "a", "s1"),
            (demand, "a", "s2"),
            (demand, "b", "s1"),
            (demand, "b", "s2"),
        ]
    );
    let kept: Vec<_> = class.machines.iter().map(|m| (&*m.image, &*m.instance_profile)).collect();
    assert_eq!(kept, [("ami-1", "runner"); 8]);
    assert_eq!(settings.classes[1].name.0, "rest");
}

#[test]
fn unknown_keys_suggest_the_nearest_key_or_its_table() {
    bad_top(
        "instalation = \"x\"",
        &expect!["ci.toml:1: instalation: is not a known key; did you mean `installation`?"],
    );
    bad_top(
        "webhooks = \"127.0.0.1:1\"",
        &expect!["ci.toml:1: webhooks: is not a known key here; it belongs in [server]"],
    );
    bad_top(
        "[forje]\nx = 1",
        &expect!["ci.toml:1: forje: is not a known key; did you mean `forge`?"],
    );
    bad_top(
        "[server]\nwebhook = \"127.0.0.1:1\"\nstore = \"memory:\"",
        &expect![[r#"
        ci.toml:2: server.webhook: is not a known key; did you mean `webhooks`?
        ci.toml:3: server.store: is not a known key here; it belongs at the top of the file, before the first [table]"#]],
    );
    bad_top(
        "[[class]]\nname = \"a\"\nlabels = [\"a\"]\nlimits = 3\nkinds = [\"x\"]",
        &expect![[r#"
        ci.toml:4: class "a": limits: is not a known key; did you mean `limit`?
        ci.toml:5: class "a": kinds: is not a known key here; it belongs in a [class.machines]"#]],
    );
    bad_top(
        "[[class]]\nname = \"a\"\nlabels = [\"a\"]\n[class.machines]\nkind = \"x\"",
        &expect![[
            r#"ci.toml:5: class "a": machines.kind: is not a known key; did you mean `kinds`?"#
        ]],
    );
    bad_top(
        "\"\\u001b[31m\\u202e\" = 1\nxyzzyxyzzy = 2",
        &expect![[r#"
            ci.toml:1: \u{1b}[31m\u{202e}: is not a known key; known keys are installation, forge, store, queue, compute, process, aws, server, prices, class
            ci.toml:2: xyzzyxyzzy: is not a known key; known keys are installation, forge, store, queue, compute, process, aws, server, prices, class"#]],
    );
}

#[test]
fn wrong_types_name_the_expected_type() {
    bad("forge = 3", &expect!["ci.toml:1: forge: expected a table, not a number"]);
    bad(
        "[forge]\nurl = 5\ntoken = 6\npoll_every = 10\nscope = [\"all\"]",
        &expect![[r#"
            ci.toml:2: forge.url: expected an address such as "https://git.example.com", not a number
            ci.toml:3: forge.token: expected { env = "NAME" }, { file = "path" }, { ssm = "/name" }, { secretsmanager = "name" } or the credential as a string, not a number
            ci.toml:4: forge.poll_every: expected a duration such as "90s", "5m" or "1h 30m", not a number
            ci.toml:5: forge.scope: expected "all", "user", "org:NAME" or "repo:OWNER/NAME", not a list"#]],
    );
    bad_top(
        "store = 1\nqueue = true\ncompute = 1.5\ninstallation = 1979-05-27\nclass = \"x\"",
        &expect![[r#"
            ci.toml:1: store: expected "redb:DIRECTORY" or "memory:", not a number
            ci.toml:2: queue: expected "memory:" or "sqs:URL", not true or false
            ci.toml:3: compute: expected "process:", "process:DIRECTORY" or "ec2:REGION", not a decimal number
            ci.toml:4: installation: expected up to 40 letters, digits, `-`, `_` or `.`, starting with a letter or a digit, not a date
            ci.toml:5: class: expected tables in the file, each under [[class]], not a string"#]],
    );
    bad_top(
        "class = [1]",
        &expect![
            "ci.toml:1: class: expected tables in the file, each under [[class]], not a number"
        ],
    );
    bad_top(
        "[[class]]\nname = 1\nlabels = \"linux\"\nserves_unlabeled = \"yes\"\nlimit = \"2\"\nmachines = []",
        &expect![[r#"
            ci.toml:2: class 1: name: expected up to 40 letters, digits, `-`, `_` or `.`, starting with a letter or a digit, not a number
            ci.toml:3: class 1: labels: expected a list of labels, each `name`, `name:host` or `name:docker://IMAGE`, or ["*"], not a string
            ci.toml:4: class 1: serves_unlabeled: expected true or false, not a string
            ci.toml:5: class 1: limit: expected a whole number from 1, or "none", not a string
            ci.toml:6: class 1: machines: expected a table, not a list"#]],
    );
    bad_top(
        "[[class]]\nname = \"a\"\nlabels = [\"a\", 1]\nlimit = 99999999999999999999",
        &expect![[r#"
            ci.toml:3: class "a": labels: contains a number: expected a list of labels, each `name`, `name:host` or `name:docker://IMAGE`, or ["*"]
            ci.toml:4: class "a": limit: expected a whole number from 1, or "none", not a number this large"#]],
    );
}

#[test]
fn wrong_values_name_the_expected_form() {
    bad(
        "[forge]\nurl = \"git.example.com\"",
        &expect![[
            r#"ci.toml:2: forge.url: "git.example.com" is not valid: expected an address such as "https://git.example.com""#
        ]],
    );
    bad(
        "[forge]\nurl = \"ftp://git.example.com\"\nmachine_url = \"https://\"",
        &expect![[r#"
        ci.toml:2: forge.url: "ftp://git.example.com" is not valid: expected an address such as "https://git.example.com"
        ci.toml:3: forge.machine_url: "https://" is not valid: expected an address such as "https://git.example.com""#]],
    );
    bad(
        "[forge]\nurl = \"https://me:secretword@git.example.com\"",
        &expect![
            "ci.toml:2: forge.url: contains a user name or a password: set `forge.token` instead"
        ],
    );
    bad(
        "[forge]\nurl = \"https://git.example.com/?x=1\"",
        &expect!["ci.toml:2: forge.url: contains `?` or `#`: expected only the server's address"],
    );
    bad(
        "[forge]\nurl = \"http://x\"\npoll_every = \"500ms\"\nsweep_every = \"2h\"",
        &expect![[r#"
        ci.toml:3: forge.poll_every: "500ms" is not valid: from 1s to 1h
        ci.toml:4: forge.sweep_every: "2h" is not valid: from 1s to 1h"#]],
    );
    bad(
        "[forge]\nurl = \"http://x\"\npoll_every = \"ten seconds\"\nsweep_every = \"-5s\"",
        &expect![[r#"
        ci.toml:3: forge.poll_every: "ten seconds" is not valid: expected a duration such as "90s", "5m" or "1h 30m"
        ci.toml:4: forge.sweep_every: "-5s" is not valid: from 1s to 1h"#]],
    );
    bad(
        "[forge]\nurl = \"http://x\"\ndemand = \"push\"",
        &expect![[
            r#"ci.toml:3: forge.demand: "push" relies on webhooks and needs `forge.webhook_secret`: add webhook_secret = { env = "TINQS_CI_WEBHOOK_SECRET" } and set the same secret in the webhook, or use "auto" or "jobs""#
        ]],
    );
    bad(
        "[forge]\nurl = \"http://x\"\ndemand = \"jobbs\"",
        &expect![[
            r#"ci.toml:3: forge.demand: "jobbs" is not valid: expected "auto" or "jobs" or "push"; did you mean "jobs"?"#
        ]],
    );
    for scope in ["org", "org:", "repo:acme", "repo:a/b/c", "All", "user:x", "org:../x"] {
        let text = format!("[forge]\nurl = \"http://x\"\nscope = \"{scope}\"");
        let mistakes = parse(&text, &[]).expect_err(scope).to_string();
        let start = format!("ci.toml:3: forge.scope: \"{scope}\" is not valid: expected \"all\"");
        assert!(mistakes.starts_with(&start), "{mistakes}");
    }
    bad_top(
        "[server]\nwebhooks = \":8080\"",
        &expect![[
            r#"ci.toml:2: server.webhooks: ":8080" has no IP address: expected "127.0.0.1:8080", or "0.0.0.0:8080" for all"#
        ]],
    );
    bad_top(
        "[server]\nwebhooks = \"localhost:8080\"",
        &expect![[
            r#"ci.toml:2: server.webhooks: "localhost" is a host name: expected "127.0.0.1:8080""#
        ]],
    );
    bad_top(
        "[server]\nwebhooks = \"8080\"",
        &expect![[
            r#"ci.toml:2: server.webhooks: "8080" is not valid: expected an IP address and a port such as "127.0.0.1:8080", "0.0.0.0:8080" or "[::1]:8080""#
        ]],
    );
    bad_top(
        "store = \"redb:\"\nqueue = \"disk:\"\ncompute = \"docker:\"\ninstallation = \"a b\"",
        &expect![[r#"
            ci.toml:1: store: "redb:" is not valid: expected "redb:DIRECTORY" or "memory:"
            ci.toml:2: queue: "disk:" is not valid: expected "memory:" or "sqs:URL"
            ci.toml:3: compute: "docker:" is not valid: expected "process:", "process:DIRECTORY" or "ec2:REGION"
            ci.toml:4: installation: "a b" is not valid: expected up to 40 letters, digits, `-`, `_` or `.`, starting with a letter or a digit"#]],
    );
    bad_top(
        "[[class]]\nname = \"\"\nlabels = []",
        &expect![[r#"
            ci.toml:2: class "": name: "" is not valid: expected up to 40 letters, digits, `-`, `_` or `.`, starting with a letter or a digit
            ci.toml:3: class "": labels: is empty: expected a list of labels, each `name`, `name:host` or `name:docker://IMAGE`, or ["*"]"#]],
    );
    bad_top(
        "[[class]]\nname = \"a\"\nlabels = [\"a\"]\nlimit = 0\nrepo_limit = -1",
        &expect![[r#"
            ci.toml:4: class "a": limit: 0 would allow none: remove the key for its default
            ci.toml:5: class "a": repo_limit: -1 is not valid: from 1 to 4294967295"#]],
    );
    bad_top(
        "[[class]]\nname = \"a\"\nlabels = [\"a\"]\n[class.machines]\nmarkets = [\"spott\"]\nkinds = [\"x\", \"x\"]\nsubnets = []",
        &expect![[r#"
            ci.toml:5: class "a": machines.markets: "spott" is not valid: expected a list of "spot" or "on-demand"; did you mean "spot"?
            ci.toml:6: class "a": machines.kinds: lists a value twice
            ci.toml:7: class "a": machines.subnets: is empty: expected a list of strings such as ["a", "b"]"#]],
    );
}

#[test]
fn labels_that_runners_reject_are_mistakes() {
    for label in ["a b", "a,b", ":host", "a:vm:x", "a:docker:", "*:host", "li*", "", "a\\u001b"] {
        let class = format!("[[class]]\nname = \"a\"\nlabels = [\"ok\", \"{label}\"]");
        let mistakes =
            parse(&with(&class), &[("HOME_TOKEN", "long-token")]).expect_err(label).to_string();
        assert!(mistakes.starts_with("ci.toml:3: class \"a\": labels: "), "{mistakes}");
        assert!(!mistakes.contains('\u{1b}'), "{mistakes:?}");
    }
    bad_top(
        "[[class]]\nname = \"a\"\nlabels = [\"linux:vm://x\", \"x\", \"x:host\"]",
        &expect![[r#"
            ci.toml:3: class "a": labels: "linux:vm://x" has the schema `vm`: expected `host` or `docker`: expected labels such as "linux", "linux:host" or "linux:docker://IMAGE"
            ci.toml:3: class "a": labels: "x" is listed twice"#]],
    );
}

#[test]
fn contradictions_are_rejected() {
    bad_top(
        "[[class]]\nname = \"a\"\nlabels = [\"a\"]\n[[class]]\nname = \"a\"\nlabels = [\"b\"]",
        &expect![[r#"ci.toml:5: class "a": name: "a" is used by two classes"#]],
    );
    bad_top(
        "[[class]]\nlimit = 3",
        &expect![[r#"
            ci.toml:1: class 1: name: is missing: expected up to 40 letters, digits, `-`, `_` or `.`, starting with a letter or a digit
            ci.toml:1: class 1: labels: is missing: expected a list of labels, each `name`, `name:host` or `name:docker://IMAGE`, or ["*"]"#]],
    );
}

#[test]
fn toml_errors_name_their_line() {
    bad("[forge\nurl = \"x\"", &expect!["ci.toml:1: not TOML: unclosed table, expected `]`"]);
    bad(
        "[forge]\nurl = \"x\"\nurl = \"y\"\n\nscope = all\n",
        &expect![[r#"
        ci.toml:3: not TOML: duplicate key
        ci.toml:5: not TOML: string values must be quoted, expected literal string"#]],
    );
    let deep = format!("x = {}", "[".repeat(200_000));
    assert!(
        parse(&deep, &[]).expect_err("not closed").to_string().starts_with("ci.toml:1: not TOML")
    );
}

#[test]
fn without_a_configuration_the_error_names_the_ways_to_get_one() {
    let mistakes = settings::parse("", None, &BTreeMap::new()).expect_err("nothing is there");
    expect![[r#"
        no configuration: ./tinqs-ci.toml does not exist, and neither TINQS_CI_FORGE__URL nor GITEA_URL is set
        hint: create one with `tinqs-ci init`, or name one with `--config FILE`; `tinqs-ci demo` needs none"#]].assert_eq(&format!("{mistakes}\nhint: {}", mistakes.hint));
    bad(
        "",
        &expect![[
            r#"ci.toml: forge.url: is missing: expected an address such as "https://git.example.com""#
        ]],
    );
}

#[test]
fn the_environment_overrides_the_file() {
    let text = "store = \"memory:\"\n[forge]\nurl = \"https://a\"\ntoken = { env = \"NOT_SET\" }\n";
    let loaded = good(
        text,
        &[
            ("TINQS_CI_FORGE__URL", "https://b"),
            ("TINQS_CI_FORGE__TOKEN", "directly"),
            ("TINQS_CI_FORGE__POLL_EVERY", "3s"),
            ("TINQS_CI_STORE", "redb:/x"),
            ("TINQS_CI_SERVER__WEBHOOKS", "127.0.0.1:0"),
            ("TINQS_CI_SERVER__TOKEN", ""),
            // A service named `tinqs-ci` makes Kubernetes set these.
            ("TINQS_CI_PORT", "tcp://10.0.0.1:80"),
            ("TINQS_CI_SERVICE_HOST", "10.0.0.1"),
            ("TINQS_CI_URL", "http://127.0.0.1:8080"),
            ("TINQS_CI_API_TOKEN", "for the command line"),
            ("GITEA_URL", "https://c"),
        ],
    );
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.settings.forge.url, "https://b");
    assert_eq!(loaded.settings.forge.token.expect("direct").expose(), "directly");
    assert_eq!(loaded.settings.forge.poll_every, SignedDuration::from_secs(3));
    assert_eq!(loaded.settings.store, StoreUrl::Redb("/x".into()));
    assert_eq!(loaded.settings.server.webhooks.port(), 0);
    assert!(loaded.settings.server.tokens.is_empty());

    let alone = env(&[
        ("TINQS_CI_FORGE__URL", "https://b"),
        ("TINQS_CI_FORGE__TOKEN__ENV", "T"),
        ("T", "x"),
    ]);
    let alone =
        settings::parse("", None, &alone).expect("the environment alone is enough").settings;
    assert_eq!(alone.forge.token.expect("by its variable").expose(), "x");
}

#[test]
fn mistakes_in_the_environment_name_the_variable() {
    let pairs = [
        ("TINQS_CI_FORGE__ULR", "x"),
        ("TINQS_CI_FORGE__POLL_EVERY", "10"),
        ("TINQS_CI_STORES", "memory:"),
        ("TINQS_CI_SERVERS__API", "x"),
        ("TINQS_CI_CLASS__0__LIMIT", "3"),
        ("TINQS_CI_FORGE", "x"),
    ];
    let mistakes = parse(MINIMAL, &pairs[..5]).expect_err("all of them are wrong");
    expect![[r#"
        TINQS_CI_CLASS__0__LIMIT: class: expected tables in the file, each under [[class]], not a table
        TINQS_CI_FORGE__POLL_EVERY: forge.poll_every: "10" is not valid: expected a duration such as "90s", "5m" or "1h 30m"
        TINQS_CI_FORGE__ULR: forge.ulr: is not a known key; did you mean `url`?
        TINQS_CI_SERVERS__API: servers: is not a known key; did you mean `server`?
        TINQS_CI_STORES: stores: is not a known key; did you mean `store`?"#]].assert_eq(&mistakes.to_string());
    let mistakes = parse(MINIMAL, &pairs[5..]).expect_err("a table is no text");
    expect!["TINQS_CI_FORGE: forge: expected a table, not a string"]
        .assert_eq(&mistakes.to_string());
}

#[test]
fn credentials_come_from_a_variable_a_file_or_inline() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &[u8]| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let toml = |value: &str| format!("[forge]\nurl = \"http://x\"\ntoken = {value}\n");
    let file = |path: &Path| toml(&format!("{{ file = \"{}\" }}", path.display()));

    let loaded = good(&file(&write("good", b"  word \r\n\n")), &[]);
    assert_eq!(loaded.settings.forge.token.expect("from the file").expose(), "  word ");

    let loaded = good(&toml("\"long word\""), &[]);
    assert_eq!(loaded.settings.forge.token.expect("inline").expose(), "long word");
    expect![[r#"ci.toml:3: forge.token: is stored in the configuration file: use { env = "NAME" } or { file = "path" }"#]].assert_eq(&loaded.warnings.join("\n"));

    let shown = |text: &str| {
        let message = parse(text, &[("EMPTY", ""), ("TWO", "a\nb")]).expect_err(text).to_string();
        message.replace(&folder.path().display().to_string(), "DIR")
    };
    let all = [
        file(&write("empty", b"\n")),
        file(&folder.path().join("missing")),
        file(folder.path()),
        file(&write("binary", &[0xff, 0xfe])),
        file(&write("lines", b"one\ntwo\n")),
        file(&write("large", &vec![b'x'; 70_000])),
        file(std::path::Path::new("/dev/zero")),
        toml("{ env = \"NOT_SET\" }"),
        toml("{ env = \"EMPTY\" }"),
        toml("{ env = \"TWO\" }"),
        toml("{ env = \"A\", file = \"b\" }"),
        toml("{ }"),
        toml("{ evn = \"A\" }"),
        toml("{ env = 3 }"),
        toml("\"\""),
        toml("[]"),
    ];
    let all: Vec<String> = all.iter().map(|text| shown(text)).collect();
    expect![[r#"
        ci.toml:3: forge.token: the file `DIR/empty` is empty
        ci.toml:3: forge.token: cannot read the file `DIR/missing`: No such file or directory (os error 2)
        ci.toml:3: forge.token: cannot read the file `DIR`: it is a directory
        ci.toml:3: forge.token: cannot read the file `DIR/binary`: it is no text
        ci.toml:3: forge.token: the credential contains a line break or another control character
        ci.toml:3: forge.token: cannot read the file `DIR/large`: it is larger than 65536 bytes
        ci.toml:3: forge.token: cannot read the file `/dev/zero`: it is larger than 65536 bytes
        ci.toml:3: forge.token: the environment variable `NOT_SET` is not set
        ci.toml:3: forge.token: the environment variable `EMPTY` is empty
        ci.toml:3: forge.token: the credential contains a line break or another control character
        ci.toml:3: forge.token: expected exactly one of `env`, `file`, `ssm` and `secretsmanager`
        ci.toml:3: forge.token: expected exactly one of `env`, `file`, `ssm` and `secretsmanager`
        ci.toml:3: forge.token.evn: is not a known key; did you mean `env`?
        ci.toml:3: forge.token.env: expected a string, not a number
        ci.toml:3: forge.token: is empty: remove the key, or set the credential
        ci.toml:3: forge.token: expected { env = "NAME" }, { file = "path" }, { ssm = "/name" }, { secretsmanager = "name" } or the credential as a string, not a list"#]].assert_eq(&all.join("\n"));
}

#[test]
fn no_message_contains_a_credential() {
    let text = "[forge]\nurl = \"http://x\"\ntoken = \"hunter2-hunter2\"\ndemand = \"push\"\n";
    let mistakes = parse(text, &[]).expect_err("push");
    assert!(!format!("{mistakes} {mistakes:?}").contains("hunter2"));
    let loaded = good(&text.replace("push", "jobs"), &[]);
    assert!(!format!("{loaded:?} {loaded}").contains("hunter2"));
}

#[test]
fn probably_unintended_values_cause_warnings() {
    let text = with(
        r#"
[[class]]
name = "any"
labels = ["*"]
limit = 2
repo_limit = 3
max_age = "1m"
[[class]]
name = "linux"
labels = ["linux"]
[[class]]
name = "own"
labels = ["host"]
[[server.token]]
name = "a"
secret = "too short"
may = "read"
"#,
    );
    let loaded = good(&text, &[("HOME_TOKEN", "long-token")]);
    expect![[r#"
        ci.toml:16: server.token "a": secret: is stored in the configuration file: use { env = "NAME" } or { file = "path" }
        ci.toml:16: server.token "a": secret: is shorter than 16 characters: create a longer one with `openssl rand -hex 32`
        ci.toml:6: class "any": repo_limit: 3 has no effect: `limit` is 2
        ci.toml:7: class "any": max_age: 1m is less than boot_within plus idle_within (7m): a slow machine is terminated before it gets a job
        ci.toml:13: class "own": labels: `host` jobs may also be taken by runners on the forge's own host
        ci.toml:10: class "linux": labels: never match a job: class "any" above serves all of them"#]].assert_eq(&loaded.warnings.join("\n"));
    let loaded = good(MINIMAL, &[]);
    expect!["ci.toml:1: forge.token: is not set: the job list cannot be read without it"]
        .assert_eq(&loaded.warnings.join("\n"));
}

#[test]
fn credentials_too_short_to_redact_cause_warnings() {
    let text = "[forge]\nurl = \"http://x\"\ntoken = { env = \"A\" }\nrunner_token = { env = \"B\" }\n\
                webhook_secret = { env = \"A\" }\ngit_token = { env = \"C\" }\n\
                register_in = \"scope\"\n";
    let loaded = good(text, &[("A", "1234567"), ("B", "12345678"), ("C", "x")]);
    expect![[r#"
        ci.toml:3: forge.token: is shorter than 8 characters and cannot be redacted in messages: use a longer one
        ci.toml:5: forge.webhook_secret: is shorter than 8 characters and cannot be redacted in messages: use a longer one
        ci.toml:6: forge.git_token: is shorter than 8 characters and cannot be redacted in messages: use a longer one"#]]
    .assert_eq(&loaded.warnings.join("\n"));
}

#[test]
fn a_registration_token_is_only_used_for_registrations_in_the_scope() {
    let text = |more: &str| {
        format!(
            "[forge]\nurl = \"http://x\"\ntoken = \"12345678\"\nrunner_token = \"12345678\"\n{more}"
        )
    };
    let loaded = good(&text(""), &[]);
    let unused = |warning: &&String| warning.contains("is not used");
    assert!(loaded.warnings.iter().any(|w| unused(&w)), "{:?}", loaded.warnings);
    let loaded = good(&text("register_in = \"scope\"\n"), &[]);
    assert!(!loaded.warnings.iter().any(|w| unused(&w)), "{:?}", loaded.warnings);
    bad(
        &text("register_in = \"all\"\n"),
        &expect![[
            r#"ci.toml:5: forge.register_in: "all" is not valid: expected "repository" or "scope""#
        ]],
    );
}

#[test]
fn the_flag_overrides_the_variable_that_names_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.toml");
    std::fs::write(&path, MINIMAL).expect("written");
    let by_flag = settings::load(Some(&path), &Env::new()).expect("by its path");
    assert_eq!(by_flag.file.as_deref(), Some(&*path));
    let variable = env(&[("TINQS_CI_CONFIG", &path.display().to_string())]);
    assert_eq!(settings::load(None, &variable).expect("by variable").file.as_deref(), Some(&*path));
    let missing = folder.path().join("b.toml");
    let mistakes = settings::load(Some(&missing), &variable).expect_err("the flag wins");
    assert!(mistakes.to_string().contains("b.toml: cannot read the configuration"), "{mistakes}");
    std::fs::write(&path, [0xff]).expect("written");
    assert!(settings::load(Some(&path), &Env::new()).is_err());
}

#[test]
fn the_schema_is_valid_and_agrees_with_the_reader() {
    let schema = settings::schema();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let check = |text: &str| {
        let value: toml::Table = text.parse().expect("TOML");
        validator.is_valid(&serde_json::to_value(value).expect("JSON"))
    };
    for text in [
        MINIMAL,
        "store = \"memory:\"\n[forge]\nurl = \"http://x\"\ntoken = { file = \"x\" }\npoll_every = \"1m 30s\"\n[[class]]\nname = \"a\"\nlabels = [\"*\"]\nlimit = 1\n[class.machines]\nmarkets = [\"spot\"]",
        "[[class]]\nname = \"a\"\nlabels = [\"a\", \"b:host\", \"c:docker://node:20\"]",
    ] {
        assert!(check(text), "{text}");
    }
    for text in [
        "instalation = \"x\"",
        "[forge]\nurl = \"ftp://x\"",
        "[forge]\ntoken = {}",
        "[forge]\ntoken = { env = \"a\", file = \"b\" }",
        "[forge]\npoll_every = 10",
        "[forge]\nscope = \"org\"",
        "[[class]]\nname = \"a\"",
        "[[class]]\nname = \"a\"\nlabels = [\"a:vm:x\"]",
        "[[class]]\nname = \"a\"\nlabels = [\"a\"]\nlimit = 0",
    ] {
        assert!(!check(text), "{text}");
    }
}

#[test]
fn the_reference_names_every_key() {
    fn names(keys: &[settings::Key], out: &mut Vec<&'static str>) {
        for key in keys {
            match key.form {
                settings::Form::Table(inner) | settings::Form::Tables(_, inner) => {
                    names(inner, out);
                }
                _ => out.push(key.name),
            }
        }
    }
    let mut all = Vec::new();
    names(settings::TOP, &mut all);
    assert!(all.len() > 30, "{all:?}");
    let page = settings::reference();
    for name in all {
        assert!(page.contains(&format!("| `{name}` |")), "{name}");
    }
}
