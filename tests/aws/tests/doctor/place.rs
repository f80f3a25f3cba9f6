//! An AWS Region and a forge on loopback in which the tests run the program.

use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use jiff::Timestamp;
use parking_lot::Mutex;
use tinqs_ci_simulator::ec2_wire::{Ec2Options, Ec2Wire};
use tinqs_ci_simulator::forge::{Config, Forge, Line};
use tinqs_ci_simulator::gitea_wire::{ApiToken, Right, Wire as Gitea, WireOptions};
use tinqs_ci_simulator::sqs_wire::{SqsOptions, SqsWire};
use tinqs_ci_test_host::free_port;

use super::wire::Wire;

pub(crate) const TABLE: &str = "runs-of-ci";
pub(crate) const TOKEN: &str = "canary-of-the-forge-token";
const RUNNER_TOKEN: &str = "canary-of-the-runner-token";
const KEY: &str = "canary-of-the-secret-access-key";
/// Time limit of one run of the program; longer means that it hangs.
const WITHIN: Duration = Duration::from_mins(2);

pub(crate) struct Place {
    dir: tempfile::TempDir,
    pub(crate) dynamodb: Wire,
    pub(crate) ec2: Ec2Wire,
    pub(crate) sqs: SqsWire,
    gitea: Gitea,
}

/// Output and exit code of the program.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The report of `doctor`.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) code: i32,
    checks: Vec<Check>,
}

#[derive(Debug)]
pub(crate) struct Check {
    name: String,
    pub(crate) status: String,
    pub(crate) message: String,
    /// Empty if there is nothing to do.
    pub(crate) fix: String,
}

impl Report {
    pub(crate) fn all<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r Check> {
        self.checks.iter().filter(move |check| check.name == name)
    }

    /// Returns the only check of this name.
    #[track_caller]
    pub(crate) fn one(&self, name: &str) -> &Check {
        let all: Vec<&Check> = self.checks.iter().filter(|check| check.name == name).collect();
        let [one] = all[..] else { panic!("one `{name}`: {:#?}", self.checks) };
        one
    }
}

impl Place {
    pub(crate) async fn new() -> Self {
        Self::of(|_| {}).await
    }

    /// Starts a Region with changed options of EC2.
    pub(crate) async fn of(change: impl FnOnce(&mut Ec2Options)) -> Self {
        let mut forge = Forge::new(Config { line: Line::V1_27, ..Config::default() });
        forge.add_repo("acme/widget");
        let options = WireOptions {
            tokens: vec![ApiToken { token: TOKEN.to_owned(), right: Right::Admin }],
            ..WireOptions::default()
        };
        let forge = Arc::new(Mutex::new(forge));
        let gitea = Gitea::start(forge, Arc::new(Timestamp::now), options).expect("a forge");
        let installation = Some("tinqs-ci".to_owned());
        let mut options = Ec2Options { installation, ..Ec2Options::instant() };
        change(&mut options);
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
            dynamodb: Wire::start().await,
            ec2: Ec2Wire::start(options).expect("EC2 on loopback"),
            sqs: SqsWire::start(SqsOptions::with_queue("plain")).expect("SQS on loopback"),
            gitea,
        }
    }

    /// Creates a table with only these keys.
    pub(crate) async fn table(&self, keys: &[(&str, KeyType)]) {
        let mut asked = self.dynamodb.client().await.create_table().table_name(TABLE);
        for (name, kind) in keys {
            let attribute = AttributeDefinition::builder()
                .attribute_name(*name)
                .attribute_type(ScalarAttributeType::S);
            let key = KeySchemaElement::builder().attribute_name(*name).key_type(kind.clone());
            asked = asked
                .attribute_definitions(attribute.build().expect("whole"))
                .key_schema(key.build().expect("whole"));
        }
        asked.billing_mode(BillingMode::PayPerRequest).send().await.expect("a table");
    }

    /// Writes a configuration file with the AWS resources and the classes.
    pub(crate) fn configure(&self, classes: &str) {
        let text = format!("store = \"dynamodb:{TABLE}\"\ncompute = \"ec2:us-east-1\"\n{classes}");
        std::fs::write(self.dir.path().join("tinqs-ci.toml"), text).expect("the configuration");
    }

    /// Writes the AWS configuration file of the user.
    pub(crate) fn configure_aws(&self, text: &str) {
        self.write_aws("config", text);
    }

    /// Writes a file in the user's folder of AWS.
    pub(crate) fn write_aws(&self, file: &str, text: &str) {
        let file = self.dir.path().join(".aws").join(file);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, text).expect("the file");
    }

    /// Runs the program. An empty value in `variables` unsets that variable.
    pub(crate) async fn run(&self, args: &[&str], variables: &[(&str, String)]) -> CommandOutput {
        let usual = [
            ("GITEA_URL", self.gitea.url()),
            ("GITEA_TOKEN", TOKEN.to_owned()),
            ("RUNNER_TOKEN", RUNNER_TOKEN.to_owned()),
            ("RUNNER_AMI", "ami-0123".to_owned()),
            ("SUBNET", "subnet-a".to_owned()),
            ("SECURITY_GROUP", "sg-1".to_owned()),
            ("DDB_TABLE", TABLE.to_owned()),
            ("INSTANCE_PROFILE", "tinqs-ci-runner".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.dynamodb.endpoint.clone()),
            ("AWS_ENDPOINT_URL_EC2", self.ec2.url()),
            ("AWS_ENDPOINT_URL_STS", self.ec2.url()),
            ("AWS_ENDPOINT_URL_SSM", self.ec2.url()),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", self.ec2.url()),
            ("AWS_ENDPOINT_URL_SQS", self.sqs.url()),
            ("AWS_ACCESS_KEY_ID", "AKIDDOCTOR".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", KEY.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("TINQS_CI_SERVER__WEBHOOKS", "127.0.0.1:0".to_owned()),
            ("TINQS_CI_SERVER__API", "127.0.0.1:0".to_owned()),
        ];
        let changed = |name: &str| variables.iter().any(|(changed, _)| *changed == name);
        let usual = usual.into_iter().filter(|(name, _)| !changed(name));
        let set = variables.iter().filter(|(_, value)| !value.is_empty());
        let child = tokio::process::Command::new(env!("CARGO_BIN_EXE_tinqs-ci-aws-tests"))
            .args(args)
            .current_dir(self.dir.path())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("PATH", "/usr/bin:/bin")
            .envs(usual)
            .envs(set.map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(WITHIN, child).await.expect("it ends by itself");
        let output = output.expect("it runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let said = CommandOutput {
            code: output.status.code().expect("an exit code"),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        for secret in [TOKEN, RUNNER_TOKEN, KEY] {
            assert!(
                !said.out.contains(secret) && !said.err.contains(secret),
                "the output contains a secret"
            );
        }
        assert!(!said.err.contains("panicked"), "{}", said.err);
        said
    }

    /// Runs `doctor` and asserts that no law was violated.
    pub(crate) async fn doctor(&self, variables: &[(&str, String)]) -> Report {
        let said = self.run(&["doctor", "-o", "json"], variables).await;
        let json: serde_json::Value = serde_json::from_str(&said.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", said.out, said.err));
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let check = |check: &serde_json::Value| Check {
            name: text(&check["name"]),
            status: text(&check["status"]),
            message: text(&check["message"]),
            fix: text(&check["fix"]),
        };
        let checks = json["checks"].as_array().expect("a list").iter().map(check).collect();
        assert_eq!(self.ec2.violations(), []);
        Report { code: said.code, checks }
    }

    /// Asserts that launches were tried and that none made a machine.
    #[track_caller]
    pub(crate) fn nothing_was_launched(&self) {
        assert!(self.ec2.ledger().count("RunInstances") > 0, "launches were tried");
        assert!(self.ec2.machines().is_empty(), "nothing is launched");
    }
}

/// Returns an address without a listener.
pub(crate) fn closed() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

/// A listener that never answers.
pub(crate) struct SilentServer {
    _listener: TcpListener,
    pub(crate) url: String,
}

pub(crate) fn deaf() -> SilentServer {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    SilentServer { _listener: listener, url }
}
