//! The additions of a class to the runner's configuration.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use tinqs_ci_boot::{script, sizes};
use tinqs_ci_reconciler::model::{
    Attempt, Market, RunnerCache, RunnerConfig, RunnerDownload, RunnerSetup, Secret,
};
use tinqs_ci_testing::fake_runner::Fake;

use super::{AUTHORITY, HOSTILE, Machine, QUICK, attempt_id, beside_steps, usual};

fn configured(mut attempt: Attempt, config: RunnerConfig) -> Attempt {
    let setup = RunnerSetup { config: Some(config), ..RunnerSetup::default() };
    attempt.placements[0].machine.runner = Some(Box::new(setup));
    attempt
}

/// Returns the machine of a class with this configuration, after its end.
fn booted(fake: Fake, config: RunnerConfig) -> Machine {
    let attempt_id = attempt_id();
    let attempt = configured(usual(&attempt_id), config);
    let text = script(&attempt_id, 0, &attempt);
    // Certificates are installed in the directory of the fake.
    let share = fake.dir.path().join("share").display().to_string();
    let text = text.replace("/usr/local/share", &share);
    let mut machine = Machine::boot_as(fake, "quick", &attempt_id, &text);
    machine.ends();
    machine
}

/// Returns the lines of `config.yaml` after those that the script sets from the time that is left.
fn lines(machine: &Machine) -> Vec<String> {
    let config = machine.fake.heard("config");
    let lines = config.lines().skip_while(|line| !line.starts_with("  shutdown_timeout: "));
    lines.skip(1).map(str::to_owned).collect()
}

#[test]
fn without_a_configuration_only_the_wait_for_docker_is_set() {
    let machine = booted(Fake::new(), RunnerConfig::default());
    assert_eq!(lines(&machine), ["container:", "  docker_timeout: 60s"]);
    let attempt_id = attempt_id();
    let without = script(&attempt_id, 0, &usual(&attempt_id));
    let empty = configured(usual(&attempt_id), RunnerConfig::default());
    assert_eq!(script(&attempt_id, 0, &empty), without);
}

/// The forge may assign a job and answer late: a runner that has given up by then leaves the job
/// without anybody who runs it. Gitea calls a runner offline that does not fetch for a minute.
#[test]
fn the_runner_waits_half_a_minute_for_the_answer_to_a_fetch() {
    let machine = booted(Fake::new(), RunnerConfig::default());
    let config = machine.fake.heard("config");
    let runner = config.split("container:").next().unwrap_or_default();
    let (_, runner) = runner.split_once("runner:\n").expect("its section");
    let waits = runner.lines().filter(|line| *line == "  fetch_timeout: 30s").count();
    assert_eq!(waits, 1, "{config}");
}

#[test]
fn the_sizes_of_the_parts_add_up() {
    let attempt_id = attempt_id();
    let told = |attempt: &Attempt| {
        let sizes = sizes(&attempt_id, 0, attempt);
        let sum: usize = sizes.iter().map(|(_, size)| size).sum();
        assert_eq!(sum, script(&attempt_id, 0, attempt).len());
        sizes.into_iter().map(|(part, _)| part).collect::<Vec<_>>()
    };
    let mut plain = usual(&attempt_id);
    plain.boot.git_token = None;
    let always = ["the script itself", "identity with its labels", "`config.yaml`"];
    assert_eq!(told(&plain), always);
    plain.boot.git_token = Some(Secret::new("git-SECRET"));
    let config = RunnerConfig { ca: Some("x".to_owned()), ..RunnerConfig::default() };
    let [own, identity, yaml] = always;
    assert_eq!(told(&configured(plain, config)), [own, identity, "git token", "`ca`", yaml]);
}

#[test]
fn each_key_is_merged_into_its_section() {
    let config = RunnerConfig {
        network: Some("host".to_owned()),
        force_pull: Some(true),
        docker_timeout: Some(90),
        insecure: Some(false),
        envs: BTreeMap::from([
            ("A".to_owned(), Secret::new("one: {two}")),
            ("B".to_owned(), Secret::new("")),
        ]),
        cache: RunnerCache {
            enabled: Some(true),
            dir: Some("/var/cache".to_owned()),
            host: Some("10.0.0.1".to_owned()),
            port: Some(8_088),
            external_server: Some("http://10.0.0.2:8088".to_owned()),
            external_secret: Some(Secret::new("cache-SECRET")),
        },
        ca: None,
    };
    let machine = booted(Fake::new(), config);
    let expected = [
        "  insecure: false",
        "  envs:",
        "    \"A\": \"one: {two}\"",
        "    \"B\": \"\"",
        "container:",
        "  docker_timeout: 90s",
        "  network: \"host\"",
        "  force_pull: true",
        "cache:",
        "  enabled: true",
        "  dir: \"/var/cache\"",
        "  host: \"10.0.0.1\"",
        "  port: 8088",
        "  external_server: \"http://10.0.0.2:8088\"",
        "  external_secret: \"cache-SECRET\"",
    ];
    assert_eq!(lines(&machine), expected);
    assert!(machine.fake.heard("modes").ends_with("600\n"));
    assert_eq!(beside_steps(&machine.fake), QUICK);
}

#[test]
fn hostile_values_of_a_configuration_stay_data() {
    let text = || Some(HOSTILE.to_owned());
    let config = RunnerConfig {
        network: text(),
        envs: BTreeMap::from([(HOSTILE.to_owned(), Secret::new(HOSTILE))]),
        cache: RunnerCache {
            dir: text(),
            host: text(),
            external_server: text(),
            external_secret: Some(Secret::new(HOSTILE)),
            ..RunnerCache::default()
        },
        ..RunnerConfig::default()
    };
    let machine = booted(Fake::new(), config);
    let lines = lines(&machine);
    assert_eq!(lines.len(), 10, "{lines:#?}");
    let quoted = |line: &str| line.split_once(": ").map(|(_, value)| value.to_owned());
    let value = quoted(&lines[4]).expect("the network");
    assert!(value.starts_with("\"a'b\\x22c\\x5Cd\\x0AEND_OF_IDENTITY\\x0A"), "{value}");
    assert!(value.contains("\\x24(touch pwned)\\x60touch pwned\\x60"), "{value}");
    assert!(value.contains("\\u202E\\x7F\\x01\\U0001F600"), "{value}");
    for line in [1, 6, 7, 8, 9] {
        assert!(lines[line].ends_with(&value), "{}", lines[line]);
    }
    assert_eq!(beside_steps(&machine.fake), QUICK);
    for dir in [machine.home(), machine.home().join("tinqs-ci")] {
        assert!(!dir.join("pwned").exists(), "a value was executed in {}", dir.display());
    }
}

const CA: &str = "A comment; `touch pwned`\n-----BEGIN CERTIFICATE-----\nMIIB+/=\n\
    -----END CERTIFICATE-----\nEND_OF_CA\ntouch pwned; exit 1";

#[test]
fn the_machine_trusts_the_authority_of_its_class() {
    let fake = Fake::new();
    fake.program("update-ca-certificates", "#!/bin/bash\necho updated >\"$FAKE/updated\"\n");
    let config = RunnerConfig { ca: Some(CA.to_owned()), ..RunnerConfig::default() };
    let machine = booted(fake, config);
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB+/=\n-----END CERTIFICATE-----\n";
    let share = machine.fake.dir.path().join("share/ca-certificates/tinqs-ci.crt");
    assert_eq!(std::fs::read_to_string(&share).unwrap(), pem);
    assert_eq!(tinqs_ci_testing::fake_runner::mode(&share), 0o644);
    assert_eq!(machine.fake.heard("updated"), "updated\n");
    let own = machine.home().join("tinqs-ci/ca.pem");
    let variable = format!("NODE_EXTRA_CA_CERTS={}", own.display());
    assert!(machine.fake.heard("environment").lines().any(|line| line == variable));
    assert_eq!(beside_steps(&machine.fake), [AUTHORITY, QUICK[0], QUICK[1]]);
    assert!(!machine.home().join("tinqs-ci/pwned").exists());
}

#[test]
fn an_authority_that_cannot_be_installed_powers_the_machine_off() {
    let fake = Fake::new();
    fake.program("update-ca-certificates", "#!/bin/bash\nexit 1\n");
    let config = RunnerConfig { ca: Some(CA.to_owned()), ..RunnerConfig::default() };
    let machine = booted(fake, config);
    let said = "the authority of the class cannot be installed: powering off";
    assert_eq!(beside_steps(&machine.fake), [AUTHORITY, said]);
    assert_eq!(machine.fake.heard("arguments"), "");
}

#[test]
fn the_script_of_a_class_that_says_everything_fits_into_user_data() {
    let attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.runner.labels = (0..20).map(|n| format!("a-rather-long-label-{n}:host")).collect();
    // As much as the settings allow for a configuration.
    let lines = format!("{}\n", "A".repeat(64)).repeat(51);
    let setup = RunnerSetup {
        download: Some(RunnerDownload { url: "x".repeat(200), sha256: "0".repeat(64) }),
        user: Some("r".repeat(32)),
        docker: false,
        config: Some(RunnerConfig { ca: Some(lines), ..RunnerConfig::default() }),
    };
    attempt.placements[0].machine.runner = Some(Box::new(setup));
    attempt.placements[0].machine.market = Market::Spot;
    attempt.placements[0].machine.subnet = "subnet-a".to_owned();
    attempt.boot.hold = SignedDuration::from_mins(30);
    let text = script(&attempt_id, 0, &attempt);
    assert!(text.len() < 16_300, "{} bytes", text.len());
    let check = std::process::Command::new("bash").args(["-n", "-c", &text]).output().unwrap();
    assert!(check.status.success() && check.stderr.is_empty(), "{check:?}");
}
