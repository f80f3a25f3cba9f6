//! Crafted values must not break out of the script when bash runs it.

use proptest::prelude::*;

use super::*;

/// Text that ends quotes, here-documents, strings and sections, and commands to run after them.
/// `$FAKE` is set on the machine, so the commands work in every directory.
const FRAGMENTS: [&str; 24] = [
    "touch $FAKE/pwned",
    "$(touch $FAKE/pwned)",
    "`touch $FAKE/pwned`",
    "\nEND_OF_IDENTITY\n",
    "\nEND_OF_GIT\n",
    "\nEND\n",
    "END_OF_IDENTITY",
    "'",
    "\"",
    "\\",
    "\\\n",
    "\n",
    "\r",
    "\t",
    ";",
    "&",
    "|",
    "#",
    "${HOME}",
    "$((1",
    "<<X\n",
    "]\n[core]\n\tfsmonitor = touch $FAKE/pwned\n",
    "@",
    "://",
];

fn text() -> impl Strategy<Value = String> {
    let fragment = proptest::sample::select(&FRAGMENTS[..]).prop_map(str::to_owned);
    let anything = "(?s).{0,6}";
    proptest::collection::vec(prop_oneof![3 => fragment, 1 => anything], 0..9)
        .prop_map(|parts| parts.concat())
}

fn hostile() -> impl Strategy<Value = ([String; 6], Vec<String>, bool)> {
    (
        proptest::array::uniform6(text()),
        proptest::collection::vec(text(), 0..4),
        proptest::bool::ANY,
    )
}

/// Boots a machine with these values and checks the result.
fn run(values: &[String; 6], labels: &[String], tls: bool) -> Result<(), TestCaseError> {
    let [uuid, name, token, address, git, incarnation] = values;
    let mut attempt_id = attempt_id();
    let mut attempt = usual(&attempt_id);
    attempt.runner.uuid.clone_from(uuid);
    attempt.runner.name.clone_from(name);
    attempt.runner.token = Secret::new(token.as_str());
    attempt.runner.labels = labels.to_vec();
    attempt.boot.instance_url = format!("http{}://{address}", if tls { "s" } else { "" });
    attempt.boot.git_token = Some(Secret::new(git.as_str()));
    attempt_id.uid = Uid8(incarnation.clone());
    // A hostile attempt ID makes no marker, so a plain one marks this test's processes.
    let marker = super::attempt_id();
    let text = script(&attempt_id, 0, &attempt);
    let mut machine = Machine::boot_as(Fake::new(), "quick", &marker, &text);
    machine.ends();

    prop_assert_eq!(beside_steps(&machine.fake), QUICK);
    // It began, and found a runner.
    prop_assert_eq!(machine.fake.heard("stderr").lines().count(), 2 + QUICK.len());
    prop_assert!(!machine.fake.said("pwned").exists(), "a value was executed");
    let identity: serde_json::Value =
        serde_json::from_str(&machine.fake.heard("identity")).expect("JSON");
    for (key, value) in [("uuid", uuid), ("name", name), ("token", token)] {
        prop_assert_eq!(&identity[key], value);
    }
    prop_assert_eq!(&identity["address"], &attempt.boot.instance_url);
    let told = identity["labels"].as_array().map_or(0, Vec::len);
    prop_assert_eq!(told, labels.len());
    for (told, label) in identity["labels"].as_array().into_iter().flatten().zip(labels) {
        prop_assert!(told.as_str().is_some_and(|told| told.starts_with(label.as_str())));
    }
    prop_assert_eq!(machine.fake.heard("arguments"), "daemon\n--config\nconfig.yaml\n");
    let git = std::fs::read_to_string(machine.home().join(".gitconfig")).expect("it is there");
    prop_assert_eq!(git.lines().count(), 2, "{}", git);
    prop_assert!(git.starts_with("[url \"http") && !git.contains("fsmonitor = "), "{}", git);
    let mut files: Vec<_> = std::fs::read_dir(machine.home().join("tinqs-ci"))
        .expect("the runner's directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("plain"))
        .collect();
    files.sort();
    prop_assert_eq!(files, [".runner", ".started", "config.yaml"]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        failure_persistence: None,
        // Each shrink step boots a machine.
        max_shrink_iters: 40,
        ..ProptestConfig::default()
    })]

    #[test]
    fn hostile_values_never_escape((values, labels, tls) in hostile()) {
        run(&values, &labels, tls)?;
    }
}
