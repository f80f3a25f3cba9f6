//! `[class.runner]`: what a class says about the runner of its machines.

use tinqs_ci_reconciler::model::RunnerConfig;

use crate::{Loaded, parse, settings, with};

const TOKEN: [(&str, &str); 2] = [("HOME_TOKEN", "long-token"), ("CACHE", "secret-of-the-cache")];

/// Returns what is loaded for a class with these lines and this `[class.runner.config]`.
fn loaded(class: &str, config: &str) -> Result<Loaded, settings::Mistakes> {
    let text = format!("[[class]]\nname = \"a\"\nlabels = [\"a\"]\n{class}\n{config}");
    parse(&with(&text), &TOKEN)
}

fn config(class: &str, config: &str) -> RunnerConfig {
    let loaded = loaded(class, config).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let setup = loaded.settings.classes[0].machines[0].runner.clone().expect("a runner");
    setup.config.expect("a configuration")
}

#[test]
fn a_class_configures_its_runner() {
    let read = config(
        "repos = [\"acme/site\", \"Acme/shop-*\"]",
        "[class.runner.config.container]\nnetwork = \"host\"\nforce_pull = true\n\
         docker_timeout = \"90s\"\n[class.runner.config.runner]\ninsecure = false\n\
         envs = { PROXY = \"http://10.0.0.1:3128\", EMPTY = \"\" }\n\
         [class.runner.config.cache]\nenabled = true\nport = 8088\n\
         external_server = \"http://10.0.0.2:8088/\"\nexternal_secret = { env = \"CACHE\" }",
    );
    assert_eq!((read.network.as_deref(), read.force_pull), (Some("host"), Some(true)));
    assert_eq!((read.docker_timeout, read.insecure), (Some(90), Some(false)));
    let envs = read.envs.iter().map(|(name, value)| (name.as_str(), value.expose()));
    let envs: Vec<_> = envs.collect();
    assert_eq!(envs, [("EMPTY", ""), ("PROXY", "http://10.0.0.1:3128")]);
    let cache = read.cache;
    assert_eq!((cache.enabled, cache.port, cache.dir), (Some(true), Some(8_088), None));
    assert_eq!(cache.external_server.as_deref(), Some("http://10.0.0.2:8088"));
    assert_eq!(cache.external_secret.expect("a secret").expose(), "secret-of-the-cache");
}

#[test]
fn what_would_undo_a_promise_is_refused_with_the_reason() {
    for (lines, why) in [
        ("runner]\nlabels = [\"a\"]", "runner.labels: cannot be set: a runner has exactly"),
        ("runner]\ncapacity = 2", "runner.capacity: cannot be set: the boot script sets it"),
        ("runner]\ntimeout = \"9h\"", "`max_age` of the class limits it"),
        ("runner]\nreport_interval = \"1m\"", "more seldom than every 10 s"),
        ("container]\nprivileged = true", "container.privileged: cannot be set: with it, a"),
        ("container]\nvalid_volumes = [\"/\"]", "would be root on the machine"),
        ("container]\ndocker_host = \"x\"", "would be root on the machine"),
        ("container]\nforce_pul = true", "did you mean `force_pull`?"),
        ("container]\nnetwork = \"a b\"", "network: \"a b\" is not valid"),
        ("container]\ndocker_timeout = \"1h\"", "docker_timeout: \"1h\" is not valid"),
        ("runner.envs]\n\"A-B\" = \"x\"", "envs.A-B: is no name of a variable"),
        ("runner.envs]\nSECRET = 7", "envs.SECRET: expected a string, not"),
        ("cache]\nport = 70000", "cache.port: 70000 is not valid"),
        ("cache]\nexternal_secret = \"long-secret\"", "needs the server in `external_server`"),
    ] {
        let mistakes = loaded("repos = [\"acme/site\"]", &format!("[class.runner.config.{lines}"));
        let said = mistakes.expect_err(lines).to_string();
        assert!(said.contains(why), "{lines}: {said}");
    }
}

#[test]
fn an_external_cache_needs_repositories_of_one_owner() {
    let cache = "[class.runner.config.cache]\nexternal_server = \"http://10.0.0.2:8088\"";
    for repos in ["", "repos = [\"a/x\", \"b/x\"]", "repos = [\"a*/x\"]", "repos = [\"*/x\"]"] {
        let said = loaded(repos, cache).expect_err(repos).to_string();
        assert!(said.contains("an external cache is shared by all repositories"), "{said}");
    }
    assert!(config("repos = [\"a/x\", \"A/*\"]", cache).cache.is_external());
    let own = "[class.runner.config.cache]\nenabled = false";
    assert!(!config("", own).cache.is_external());
}

#[test]
fn a_configuration_that_is_too_long_or_an_authority_on_this_host_is_refused() {
    let long = format!("[class.runner.config.runner.envs]\nA = \"{}\"", "x".repeat(3_500));
    let said = loaded("", &long).expect_err("too long").to_string();
    assert!(said.contains("bytes of the boot script, and may take 3300"), "{said}");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let ca = format!("[class.runner.config]\nca = \"{}\"", file.display());
    for (text, why) in [
        (None, "cannot read the file"),
        (Some("nothing"), "holds no certificate in PEM"),
        (Some("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----"), "holds a private key"),
        (Some("-----BEGIN CERTIFICATE-----"), "ca: is for machines in EC2"),
    ] {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let said = loaded("", &ca).expect_err(why).to_string();
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn values_of_variables_are_not_shown() {
    let lines = "[class.runner.config.runner.envs]\nPROXY = \"http://user:pass@10.0.0.1\"";
    let loaded = loaded("", lines).expect("good");
    let secrets = loaded.settings.secrets();
    assert!(secrets.iter().any(|secret| secret.expose() == "http://user:pass@10.0.0.1"));
    assert!(!format!("{:?}", loaded.settings.classes).contains("pass"));
}
