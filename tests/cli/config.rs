//! `config` and `help`.

use expect_test::expect;
use serde_json::Value;

use crate::{tinqs, tinqs_in};

const TEXT: &str = "\
[forge]
url = \"https://git.example.com\"
token = { file = \"token\" }
git_token = \"in-the-file-0123456789\"

[[class]]
name = \"big\"
labels = [\"linux\", \"ubuntu-latest:docker://node:20\"]
limit = 4
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("tinqs-ci.toml"), TEXT).expect("written");
    std::fs::write(folder.path().join("token"), "of-the-file-0123456789").expect("written");
    folder
}

#[test]
fn config_show_names_the_origin_of_every_value_and_hides_credentials() {
    let folder = folder();
    let env = [
        ("TINQS_CI_FORGE__POLL_EVERY", "30s"),
        ("TINQS_CI_SERVER__TOKEN", "of-a-variable-0123456789"),
        ("WEBHOOK_SECRET", "of-another-variable-0123456789"),
    ];
    let said = tinqs_in(folder.path(), &["config", "show"], &env);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
    expect![[r#"
        installation = "tinqs-ci"                     # default
        forge.url = "https://git.example.com"         # ./tinqs-ci.toml:2
        forge.token = [secret]                        # ./tinqs-ci.toml:3, file token
        forge.webhook_secret = [secret]               # WEBHOOK_SECRET
        forge.git_token = [secret]                    # ./tinqs-ci.toml:4
        forge.demand = "auto"                         # default
        forge.scope = "all"                           # default
        forge.register_in = "repository"              # default
        forge.poll_every = "30s"                      # TINQS_CI_FORGE__POLL_EVERY
        forge.sweep_every = "60s"                     # default
        store = "redb:./data"                         # default
        queue = "memory:"                             # default
        compute = "process:"                          # default
        aws.launch_rate = 1.9                         # default
        aws.launch_burst = 4                          # default
        server.webhooks = "127.0.0.1:8080"            # default
        server.api = "127.0.0.1:8081"                 # default
        server.token = [secret]                       # TINQS_CI_SERVER__TOKEN
        server.event_clients = 256                    # default
        server.emf = false                            # default
        class "big".name = "big"                      # ./tinqs-ci.toml:7
        class "big".labels = ["linux", "ubuntu-latest:docker://node:20"]  # ./tinqs-ci.toml:8
        class "big".serves_unlabeled = false          # default
        class "big".limit = 4                         # ./tinqs-ci.toml:9
        class "big".budget = "none"                   # default
        class "big".rerun_limit = 2                   # default
        class "big".boot_within = "5m"                # default
        class "big".idle_within = "2m"                # default
        class "big".max_age = "6h"                    # default
        class "big".give_up_after = "24h"             # default
        class "big".assign_within = "60s"             # default
        class "big".keep = "168h"                     # default
        class "big".hold = "0s"                       # default
        class "big".machines.markets = ["on-demand"]  # default
        class "big".machines.kinds = ["process"]      # default
        class "big".machines.allocation = "order"     # default
        class "big".machines.disk_encryption = true   # default
        class "big".machines.hop_limit = 1            # default
    "#]]
    .assert_eq(&said.out);
    assert!(!said.out.contains("0123456789"), "{}", said.out);
    let json = tinqs_in(folder.path(), &["config", "show", "-o", "json"], &env);
    assert!(!json.out.contains("0123456789"), "{}", json.out);
    let list: Value = serde_json::from_str(&json.out).expect("JSON");
    let url = &list[1];
    assert_eq!((&url["key"], &url["origin"]), (&"forge.url".into(), &"./tinqs-ci.toml:2".into()));
}

#[test]
fn config_check_reports_mistakes_and_warnings() {
    let folder = folder();
    let said = tinqs_in(folder.path(), &["config", "check"], &[]);
    assert_eq!(said.code, 0, "{}", said.err);
    expect![[r#"
        ✓ ./tinqs-ci.toml, 1 class, 1 warning
        warning: ./tinqs-ci.toml:4: forge.git_token: is stored in the configuration file: use { env = "NAME" } or { file = "path" }
    "#]].assert_eq(&format!("{}{}", said.out, said.err));
    let variable = [("TINQS_CI_FORGE__POLL_EVERY", "soon")];
    for verb in ["check", "show"] {
        let said = tinqs_in(folder.path(), &["config", verb], &variable);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{verb}");
        assert!(said.err.contains("TINQS_CI_FORGE__POLL_EVERY"), "{}", said.err);
        let said = tinqs_in(folder.path(), &["config", verb, "--config", "none.toml"], &[]);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{verb}");
    }
}

#[test]
fn help_is_a_command() {
    let help = tinqs(&["help", "webhook", "add"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    assert_eq!(help.out, tinqs(&["webhook", "add", "--help"]).out);
    assert_eq!(tinqs(&["help"]).out, tinqs(&["--help"]).out);
    assert_eq!(tinqs(&["help", "nonsense"]).code, 2);
}
