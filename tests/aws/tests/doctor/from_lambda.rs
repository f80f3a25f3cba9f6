//! `init --from-lambda`: the predecessor's variables as a configuration file.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tinqs_ci::settings::{self, Env, Loaded};

use super::place::CommandOutput;

/// The credentials of the function, which no output may contain.
const SECRETS: [(&str, &str); 4] = [
    ("GITEA_TOKEN", "forge-token-0123456789abcdef"),
    ("RUNNER_TOKEN", "runner-token-0123456789abcdef"),
    ("WEBHOOK_SECRET", "webhook-secret-0123456789abcdef"),
    ("RUNNER_GIT_TOKEN", "git-token-0123456789abcdef"),
];

/// The eight variables.
fn eight() -> BTreeMap<String, String> {
    let plain = [
        ("GITEA_URL", "https://git.example.com"),
        ("RUNNER_AMI", "ami-0123"),
        ("SUBNET", "subnet-a"),
        ("SECURITY_GROUP", "sg-1"),
        ("DDB_TABLE", "ci-runs"),
        ("INSTANCE_PROFILE", "ci-runner"),
    ];
    let all = plain.iter().chain(&SECRETS[..2]);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The eight variables, with these changes; an empty value removes the variable.
fn with(changes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut variables = eight();
    variables.extend(changes.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    variables.retain(|_, value| !value.is_empty());
    variables
}

/// Returns the output of `aws lambda get-function-configuration`.
fn function(environment: &Value) -> String {
    let function = json!({
        "FunctionName": "gitea-ci",
        "FunctionArn": "arn:aws:lambda:eu-central-1:111122223333:function:gitea-ci",
        "Runtime": "python3.12",
        "Environment": environment,
    });
    function.to_string()
}

fn of(variables: &BTreeMap<String, String>) -> String {
    function(&json!({ "Variables": variables }))
}

/// Runs the program with this standard input, and asserts that it shows no secret.
fn run(folder: &Path, args: &[&str], input: &str, env: &Env) -> CommandOutput {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tinqs-ci-aws-tests"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .envs(env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut to = child.stdin.take().expect("a pipe");
    if !input.is_empty() {
        to.write_all(input.as_bytes()).expect("it reads its input");
    }
    drop(to);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("an exit code");
    let said = CommandOutput { code, out: text(output.stdout), err: text(output.stderr) };
    for (name, secret) in SECRETS {
        let shows = said.out.contains(secret) || said.err.contains(secret);
        assert!(!shows, "{args:?} shows {name}");
    }
    assert!(!said.err.contains("panicked"), "{}", said.err);
    said
}

/// Runs `init --from-lambda -` on these variables of a function.
fn init(folder: &Path, variables: &BTreeMap<String, String>) -> CommandOutput {
    run(folder, &["init", "--from-lambda", "-"], &of(variables), &Env::new())
}

/// Returns what was written, with `DIR` for the folder.
fn written(folder: &Path) -> String {
    let text = std::fs::read_to_string(folder.join("tinqs-ci.toml")).expect("written");
    text.replace(&folder.canonicalize().expect("there").display().to_string(), "DIR")
}

fn load(folder: &Path) -> Loaded {
    settings::load(Some(&folder.join("tinqs-ci.toml")), &Env::new()).expect("serve accepts it")
}

/// Returns the number of files in a folder.
fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("there").count()
}

#[test]
fn the_variables_of_a_function_become_a_file_that_serve_accepts() {
    let folder = tempfile::tempdir().expect("a folder");
    let variables = with(&[SECRETS[2], SECRETS[3], ("LOG_LEVEL", "debug")]);
    let said = init(folder.path(), &variables);
    assert_eq!(said.code, 0, "{}", said.err);
    let expected = r#"# tinqs-ci: runs each waiting job on its own ephemeral machine.
# From the variables of a Lambda function: docs/how-to/migrate-from-the-lambda.md.

# The table of the function. Its items stay as they are.
store   = "dynamodb:ci-runs"
compute = "ec2:eu-central-1"

[forge]
url            = "https://git.example.com"
token          = { file = "DIR/tinqs-ci.token" }
# The jobs to serve: all | user | org:NAME | repo:OWNER/NAME.
scope          = "all"
# The webhook at the forge must have the same secret.
webhook_secret = { file = "DIR/tinqs-ci.webhook-secret" }
git_token      = { file = "DIR/tinqs-ci.git-token" }

[[class]]
name    = "default"
# While the function serves the jobs: only those that ask for this label. Then ["*"]: any
# labels except `host`.
labels  = ["tinqs-ci-trial"]
# Only jobs of these repositories, such as ["acme/site", "acme/infra-*"]; without it, of
# all.
# repos = []
limit   = 20
# The maximum age of a machine, even mid-job.
max_age = "360m"

[class.machines]
markets = ["spot"]
kinds = ["t3.small"]
subnets = ["subnet-a"]
image = "ami-0123"
security_groups = ["sg-1"]
instance_profile = "ci-runner"
"#;
    assert_eq!(written(folder.path()), expected);
    for (file, (_, secret)) in
        [("token", SECRETS[0]), ("webhook-secret", SECRETS[2]), ("git-token", SECRETS[3])]
    {
        let file = folder.path().join(format!("tinqs-ci.{file}"));
        assert_eq!(std::fs::read_to_string(&file).expect("written"), format!("{secret}\n"));
        let mode = file.metadata().expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    for line in [
        "GITEA_URL           forge.url\n",
        "RUNNER_TOKEN        not used                         each runner is registered in",
        "INSTANCE_TYPES      class.machines.kinds             not set: t3.small\n",
        "without a meaning here: LOG_LEVEL\n",
        "1. tinqs-ci doctor\n",
    ] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    let check = run(folder.path(), &["config", "check"], "", &Env::new());
    assert_eq!(check.code, 0, "{}", check.err);
    assert!(check.out.starts_with("✓ ./tinqs-ci.toml, 1 class"), "{}", check.out);
}

/// The file means what the variables mean without a file, but for the labels.
#[test]
fn the_file_means_what_the_variables_mean() {
    let hash = "0a".repeat(32);
    let more: [(&str, &str); 8] = [
        ("SUBNET", " subnet-a, subnet-b ,"),
        ("INSTANCE_TYPES", "c7a.medium,m7a.medium"),
        ("TIMEOUT_MINUTES", " 090"),
        ("LIMIT", "none"),
        ("DISK_GIB", "040"),
        ("PUBLIC_ADDRESS", "false"),
        ("RUNNER_URL", "https://example.com/gitea-runner"),
        ("RUNNER_SHA256", &hash),
    ];
    let bare: [(&str, &str); 3] =
        [("SECURITY_GROUP", ""), ("INSTANCE_PROFILE", ""), ("LIMIT", "+7")];
    for changes in [&more[..0], &more[..], &bare[..]] {
        let folder = tempfile::tempdir().expect("a folder");
        let variables = with(changes);
        let said = init(folder.path(), &variables);
        assert_eq!(said.code, 0, "{changes:?}: {}", said.err);
        let file = load(folder.path()).settings;
        let mut env = variables.clone();
        env.insert("AWS_REGION".to_owned(), "eu-central-1".to_owned());
        let meant = settings::parse("", None, &env).expect("a whole configuration").settings;
        assert_eq!(file.store, meant.store, "{changes:?}");
        assert_eq!(file.compute, meant.compute, "{changes:?}");
        assert_eq!(file.forge.url, meant.forge.url);
        assert_eq!(file.forge.token, meant.forge.token);
        assert_eq!(file.forge.runner_token, None, "it is not used");
        assert!(file.forge.webhook_secret.is_some(), "a new one");
        let mut classes = meant.classes;
        classes[0].labels = vec!["tinqs-ci-trial".to_owned()];
        assert_eq!(file.classes, classes, "{changes:?}");
    }
}

#[test]
fn the_environment_gives_the_same_file() {
    let (by_pipe, by_env) = (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("two"));
    let variables = with(&[SECRETS[2]]);
    assert_eq!(init(by_pipe.path(), &variables).code, 0);
    let mut env = variables;
    env.insert("AWS_REGION".to_owned(), "eu-central-1".to_owned());
    env.insert("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    let said = run(by_env.path(), &["init", "--from-lambda"], "", &env);
    assert_eq!(said.code, 0, "{}", said.err);
    assert_eq!(written(by_env.path()), written(by_pipe.path()));
    assert!(!said.out.contains("without a meaning"), "a shell has others: {}", said.out);
}

#[test]
fn nothing_that_exists_is_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = init(folder.path(), &eight());
    assert_eq!(said.code, 0, "{}", said.err);
    let (text, secret) = (written(folder.path()), folder.path().join("tinqs-ci.webhook-secret"));
    let first = std::fs::read_to_string(&secret).expect("made");
    assert!(first.trim().len() == 64, "a new secret, since the function has none");

    let again = init(folder.path(), &eight());
    assert_eq!(again.code, 0, "{}", again.err);
    assert!(again.out.contains("kept ./tinqs-ci.toml\n"), "{}", again.out);
    assert!(!again.out.contains("created"), "{}", again.out);

    for (changes, says) in [
        (("SUBNET", "subnet-b"), "is not what the function's variables mean"),
        (("GITEA_TOKEN", "another"), "tinqs-ci.token already exists with another token"),
    ] {
        let said = init(folder.path(), &with(&[changes]));
        assert_eq!(said.code, 2, "{}", said.out);
        assert!(said.err.contains(says) && said.err.contains("--output"), "{}", said.err);
    }
    assert_eq!(written(folder.path()), text);
    assert_eq!(std::fs::read_to_string(&secret).expect("there"), first);
    assert_eq!(files(folder.path()), 3);
}

#[test]
fn input_that_is_not_the_function_is_refused_and_nothing_is_written() {
    let encrypted = json!({ "Error": { "ErrorCode": "AccessDeniedException", "Message": "KMS" } });
    let half = with(&[("GITEA_URL", ""), ("SUBNET", ""), ("DDB_TABLE", " ")]);
    let no_string = json!({ "Variables": { "GITEA_TOKEN": [SECRETS[0].1] } });
    let cases: [(String, i32, &str); 10] = [
        (function(&json!({ "Variables": { "PORT": "80" } })), 2, "is of another function"),
        (function(&Value::Null), 2, "has no Environment.Variables of a function"),
        (function(&encrypted), 1, "does not show the function's variables: AccessDeniedException"),
        (function(&no_string), 2, "the variable GITEA_TOKEN is no string"),
        (of(&half), 2, "standard input lacks GITEA_URL, SUBNET, DDB_TABLE\n"),
        (json!({ "Environment": { "Variables": eight() } }).to_string(), 2, "lacks AWS_REGION\n"),
        (format!("{{ \"GITEA_TOKEN\": \"{}", SECRETS[0].1), 2, "is not JSON (1:"),
        ("[]".to_owned(), 2, "has no Environment.Variables"),
        (String::new(), 2, "is not JSON"),
        (of(&with(&[("GITEA_TOKEN", "a\nb")])), 2, "GITEA_TOKEN: forge.token: "),
    ];
    for (input, code, says) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let said = run(folder.path(), &["init", "--from-lambda", "-"], &input, &Env::new());
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{input}: {}", said.err);
        assert!(said.err.contains(says) && said.err.contains("hint: "), "{says}: {}", said.err);
        assert_eq!(files(folder.path()), 0, "{input}");
    }
}

#[test]
fn wrong_values_are_named_by_their_variable() {
    let wrong = [
        ("GITEA_URL", "git.example.com", "forge.url"),
        ("RUNNER_AMI", "latest", "compute"),
        ("SUBNET", "vpc-1", "compute"),
        ("DDB_TABLE", "a b", "store"),
        ("INSTANCE_TYPES", "big", "compute"),
        ("TIMEOUT_MINUTES", "soon", "max_age"),
        ("LIMIT", "0", "limit"),
        ("DISK_GIB", "-1", "disk_gib"),
        ("PUBLIC_ADDRESS", "yes", "public_address"),
        ("RUNNER_URL", "https://example.com/gitea-runner", "compute"),
    ];
    for (variable, value, key) in wrong {
        let folder = tempfile::tempdir().expect("a folder");
        let said = init(folder.path(), &with(&[(variable, value)]));
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{variable}: {}", said.err);
        let names = if variable == "RUNNER_URL" { "RUNNER_SHA256" } else { variable };
        assert!(said.err.contains(&format!("error: {names}: {key}: ")), "{}", said.err);
        assert_eq!(files(folder.path()), 0, "{variable}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let said = run(folder.path(), &["init", "--from-lambda"], "", &Env::new());
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("the environment has none of the variables"), "{}", said.err);
    let said = run(folder.path(), &["init", "--from-lambda", "none.json"], "", &Env::new());
    assert_eq!(said.code, 2, "{}", said.out);
    assert!(said.err.contains("cannot read none.json"), "{}", said.err);
}
