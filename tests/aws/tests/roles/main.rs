//! Each role of the program against its policy of `deploy/aws/iam/`: AWS's wires refuse what the
//! policy does not allow, and what it allows is called, or has a reason.

mod gate;
mod needs;
#[allow(dead_code, reason = "the black box uses the rest")]
#[path = "../black_box/region.rs"]
mod region;
#[allow(dead_code, reason = "the store's own suite uses the rest")]
#[path = "../wire/mod.rs"]
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use jiff::Timestamp;
use tinqs_ci_aws::client;
use tinqs_ci_aws::ec2::{self, Machines};
use tinqs_ci_aws::pace::Rates;
use tinqs_ci_aws::queue::{self, Sqs};
use tinqs_ci_aws::store::DynamoStore;
use tinqs_ci_local::SystemClock;
use tinqs_ci_reconciler::ports::{
    Compute as _, ErrorKind, Inbox, InboxItem, Queue as _, RunStore as _,
};
use tinqs_ci_simulator::ec2_wire::EventFaults;
use tinqs_ci_simulator::forge::Push;
use tinqs_ci_simulator::gitea_wire::Hook;
use tinqs_ci_test_host::{free_port, until_exists};
use tinqs_ci_testing::iam::Policy;
use tinqs_ci_testing::make::name;

use gate::{Gate, Role, Upstreams};
use region::Region;

const TABLE: &str = "runs-of-ci";
const QUEUE: &str = "events";
const SECRET: &str = "roles-webhook-secret-canary";
/// The caller of `init --aws`.
const BOOTSTRAP: &str = "AKIDBOOTSTRAP";
/// The caller of `doctor`, with the rights of the controller.
const DOCTOR: &str = "AKIDDOCTOR";
/// The replicas, whose access keys are `AKIDREPLICA0` and so on.
const CONTROLLER: usize = 0;
const INGEST: usize = 1;

/// Values of the placeholders of the policies.
const VALUES: [(&str, &str); 20] = [
    ("region", needs::REGION),
    ("account", needs::ACCOUNT),
    ("installation", "tinqs-ci"),
    ("table", TABLE),
    ("queue", QUEUE),
    ("dead_letter_queue", "events-dead"),
    ("runner_profile", "tinqs-ci-runner"),
    ("runner_role", "tinqs-ci-runner"),
    ("instance_type", "t3.small"),
    ("security_group", "sg-1"),
    ("subnet", "subnet-a"),
    ("image", "ami-0123"),
    ("forge_token", "tinqs-ci/forge"),
    ("webhook_secret", "tinqs-ci/webhook"),
    ("function", "tinqs-ci"),
    ("tag_key", "CostCenter"),
    ("hop_limit", "1"),
    ("image_parameter", "ci/image"),
    ("disk_key", "0a1b"),
    ("launch_template", "lt-0123"),
];

/// Rights that this suite does not use: by role, with the reason for each.
const UNUSED: [(&str, &str, &str); 14] = [
    ("bootstrap", "dynamodb:UpdateTable", "a table of the predecessor lacks the indexes"),
    ("controller", "kms:CreateGrant", "EC2 uses the key of the disks"),
    ("controller", "kms:Decrypt", "EC2 uses the key of the disks"),
    ("controller", "kms:DescribeKey", "EC2 uses the key of the disks"),
    ("controller", "kms:GenerateDataKeyWithoutPlaintext", "EC2 uses the key of the disks"),
    ("controller", "kms:ReEncryptFrom", "EC2 uses the key of the disks"),
    ("controller", "kms:ReEncryptTo", "EC2 uses the key of the disks"),
    ("controller", "ssm:GetParameter", "no image and no secret is in a parameter"),
    ("controller", "logs:CreateLogGroup", "the Lambda runtime writes the function's log"),
    ("controller", "logs:CreateLogStream", "the Lambda runtime writes the function's log"),
    ("controller", "logs:PutLogEvents", "the Lambda runtime writes the function's log"),
    ("controller", "secretsmanager:GetSecretValue", "the platform fills in the credentials"),
    ("ingest", "secretsmanager:GetSecretValue", "the platform fills in the secret"),
    ("ingest", "ssm:GetParameter", "the platform fills in the secret"),
];

fn policy(name: &str) -> Policy {
    Policy::of_file(name, &VALUES)
}

/// Returns the roles by access key.
fn roles() -> BTreeMap<String, Role> {
    let role = |name, policies: &[&str]| {
        let policies = policies.iter().map(|name| policy(name)).collect();
        Role { name, policies }
    };
    BTreeMap::from([
        (BOOTSTRAP.to_owned(), role("bootstrap", &["bootstrap"])),
        (DOCTOR.to_owned(), role("doctor", &["controller", "boundary"])),
        (key(CONTROLLER), role("controller", &["controller", "boundary"])),
        (key(INGEST), role("ingest", &["ingest"])),
    ])
}

fn key(replica: usize) -> String {
    format!("AKIDREPLICA{replica}")
}

/// A Region behind the gate.
struct Account {
    region: Region,
    gate: Gate,
    /// The port of the webhooks of the role `ingest`.
    port: u16,
}

impl Account {
    async fn new() -> Self {
        let region = Region::new().await;
        let behind = Upstreams {
            dynamodb: region.dynamodb.endpoint.clone(),
            ec2: region.ec2.url(),
            sqs: region.sqs.url(),
        };
        let gate = Gate::start(behind, roles()).await;
        Self { region, gate, port: free_port() }
    }

    /// Returns the variables of a caller whose every call of AWS goes through the gate.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let endpoints = [
            "AWS_ENDPOINT_URL_DYNAMODB",
            "AWS_ENDPOINT_URL_EC2",
            "AWS_ENDPOINT_URL_SQS",
            "AWS_ENDPOINT_URL_STS",
        ];
        let mut all = endpoints.map(|variable| (variable, self.gate.url.clone())).to_vec();
        all.push(("WEBHOOK_SECRET", SECRET.to_owned()));
        all
    }

    /// Writes the configuration of this mode. Nothing is polled or swept again after the start.
    fn configure(&self, demand: &str) {
        let queue = self.region.sqs.queue_url(QUEUE);
        self.region.configure_as(&format!(
            "store = \"dynamodb:{TABLE}\"\ncompute = \"ec2:us-east-1\"\nqueue = \"sqs:{queue}\"\n\
             [forge]\ndemand = \"{demand}\"\npoll_every = \"1h\"\nsweep_every = \"1h\"\n\
             [[class]]\nname = \"linux\"\nlabels = [\"linux\"]\nidle_within = \"30s\"\n\
             [class.machines]\nmarkets = [\"spot\"]\nkinds = [\"t3.small\"]\n\
             subnets = [\"subnet-a\"]\nimage = \"ami-0123\"\nsecurity_groups = [\"sg-1\"]\n\
             instance_profile = \"tinqs-ci-runner\"\nlaunch_template = \"lt-0123:7\"\n",
        ));
    }

    /// Runs a command of the program as this caller. Returns its exit code and its output.
    fn run(&self, args: &[&str], signer: &str) -> (Option<i32>, String) {
        let mut variables = self.variables();
        variables.push(("AWS_ACCESS_KEY_ID", signer.to_owned()));
        let output = self.region.program(CONTROLLER, args, &variables).output().expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Starts one replica of each role. That of webhooks gets a forge that nobody can reach.
    async fn start(&mut self) {
        let mut variables = self.variables();
        let reconcile = ["serve", "--role", "reconcile"];
        self.region.start_as(CONTROLLER, &reconcile, &variables);
        variables.push(("GITEA_URL", "http://127.0.0.1:1".to_owned()));
        variables.push(("TINQS_CI_SERVER__WEBHOOKS", format!("127.0.0.1:{}", self.port)));
        self.region.start_as(INGEST, &["serve", "--role", "ingest"], &variables);
        for replica in [CONTROLLER, INGEST] {
            self.region.answers(replica, "/readyz", "\"ready\":true").await;
            self.region.answers(replica, "/metrics", "tinqs_ci_").await;
        }
        // The poll and the sweep of the start are over: only webhooks bring demand from now on.
        let region = &self.region;
        let passes = || region.logged(CONTROLLER, "pass finished") >= 2;
        region.until("the poll and the sweep of the start", 60, passes).await;
    }

    fn stop(&mut self) {
        for replica in [CONTROLLER, INGEST] {
            self.region.kill(replica);
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/webhook", self.port)
    }

    /// Whether the role has used this right so far.
    fn uses(&self, role: &str, action: &str) -> bool {
        self.gate.book().used.get(role).is_some_and(|actions| actions.contains(action))
    }

    /// Asserts that no call was refused so far.
    #[track_caller]
    fn nothing_refused(&self) {
        assert_eq!(self.gate.book().refused, BTreeSet::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_its_work_with_its_policy_and_needs_all_of_it() {
    let mut account = Account::new().await;
    account.configure("jobs");
    let (code, output) = account.run(&["init", "--aws"], BOOTSTRAP);
    assert_eq!(code, Some(0), "{output}");
    account.nothing_refused();
    let (_, output) = account.run(&["doctor", "-o", "json"], DOCTOR);
    assert!(output.contains("class: launch"), "{output}");
    account.nothing_refused();
    account.region.ec2.send_events(account.region.sqs.target(QUEUE), EventFaults::default());

    account.start().await;
    let url = account.url();
    account.region.gitea.add_hook(Hook::system(&url, SECRET));
    from_a_job_to_its_end(&account).await;
    account.nothing_refused();
    account.stop();

    account.configure("push");
    account.region.gitea.add_hook(Hook::pushes(&url, SECRET));
    account.start().await;
    from_a_push_to_its_run(&account).await;
    account.nothing_refused();
    account.stop();
    account.region.lawful();
    account.region.assert_no_secret_told();
    assert_eq!(account.region.logged(INGEST, "cannot reach the forge"), 0, "it is not asked");
    every_right_is_used(&account.gate.book().used);
}

/// One job ends by itself; the machine of another is looked at and terminated.
async fn from_a_job_to_its_end(account: &Account) {
    let region = &account.region;
    let jobs = region.push(1, "true");
    region.all_done(&jobs, 120).await;
    region.all_gone(120, 0).await;
    let [long] = region.push(1, "sleep 600")[..] else { panic!("one job") };
    region.until("its machine", 60, || region.ec2.machines().len() == 2).await;
    let page = region.answers(CONTROLLER, "/v1/runs?limit=100", &format!("job-{long}")).await;
    assert!(page.contains("acme/widget"), "{page}");
    let machine = region.ec2.machines().remove(1).id;
    let path = format!("/v1/machines/{}", machine.0);
    let end = Instant::now() + Duration::from_mins(1);
    while !account.uses("controller", "ec2:GetConsoleOutput") {
        assert!(Instant::now() < end, "the console of {path} was not read within a minute");
        region.answers(CONTROLLER, &format!("{path}/log"), "").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(region.post(CONTROLLER, &format!("{path}/terminate")).await, 202);
}

async fn from_a_push_to_its_run(account: &Account) {
    let file = "on: push\njobs: {build: {runs-on: linux, steps: [{run: 'true'}]}}\n";
    let changes = [(".gitea/workflows/ci.yml", Some(file))];
    let push = Push { git_ref: "refs/heads/main", changes: &changes, message: "begin", runs: &[] };
    account.region.gitea.forge().push_commit(Timestamp::now(), "acme/widget", &push);
    let page = account.region.answers(CONTROLLER, "/v1/runs?limit=100", "push-").await;
    assert!(page.contains("acme/widget"), "{page}");
}

/// `backup`, `rebuild` and `restore` need no right that the controller lacks: a table that `init
/// --aws` made is not changed by them.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_of_a_store_needs_the_rights_of_the_controller() {
    let mut account = Account::new().await;
    account.configure("jobs");
    let (code, output) = account.run(&["init", "--aws"], BOOTSTRAP);
    assert_eq!(code, Some(0), "{output}");
    let go = account.region.file("go");
    let jobs = account.region.push(2, &until_exists(&go));
    account.start().await;
    let region = &account.region;
    region.until("the jobs run", 60, || region.ledger().len() == jobs.len()).await;
    let (code, told) = region.ask(&["backup", "backup.ndjson"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("wrote 2 runs and "), "{told}");
    account.stop();

    let controller = key(CONTROLLER);
    account.region.empty_table(TABLE).await;
    for args in [&["rebuild"][..], &["rebuild", "--yes"]] {
        let (code, output) = account.run(args, &controller);
        assert_eq!(code, Some(0), "{args:?}: {output}");
        assert!(output.contains("runs: 0, seats: 2"), "{args:?}: {output}");
    }
    let seats = account.region.keys_of(TABLE).await.len();
    assert!(seats > 0, "they are written");
    account.region.empty_table(TABLE).await;
    let (code, output) = account.run(&["restore", "backup.ndjson"], &controller);
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("restored 2 runs and "), "{output}");
    account.nothing_refused();

    account.start().await;
    std::fs::write(go, "").expect("the jobs go on");
    account.region.all_done(&jobs, 60).await;
    assert_eq!(account.region.ec2.machines().len(), jobs.len(), "no job got a second machine");
    account.nothing_refused();
    account.stop();
    account.region.lawful();
    account.region.assert_no_secret_told();
}

/// Asserts that each right of a role was used, or has a reason.
fn every_right_is_used(used: &BTreeMap<&'static str, BTreeSet<String>>) {
    // EC2 itself uses the key of a disk, on behalf of the role.
    let known = needs::KEYS.into_iter().chain(["kms:ViaService"]).map(str::to_owned);
    let known: BTreeSet<String> = known.collect();
    let mut unused = BTreeSet::new();
    for role in ["bootstrap", "controller", "ingest"] {
        let policy = policy(role);
        let unknown: Vec<_> = policy.keys().difference(&known).cloned().collect();
        assert_eq!(unknown, [""; 0], "{role}: no call here has these condition keys");
        for (_, allow, actions) in policy.actions() {
            assert!(allow, "{role}: only the boundary denies");
            let by = |role: &str, action: &String| {
                used.get(role).is_some_and(|actions| actions.contains(action))
            };
            // `doctor` tries each right to the table, so that its calls show no need of one.
            let by_doctor = |action: &String| {
                role == "controller" && !action.starts_with("dynamodb:") && by("doctor", action)
            };
            let left = actions.iter().filter(|action| !by(role, action) && !by_doctor(action));
            unused.extend(left.map(|action| (role, action.clone())));
        }
    }
    let reasons = UNUSED.iter().map(|(role, action, _)| (*role, (*action).to_owned()));
    let reasons: BTreeSet<_> = reasons.collect();
    assert_eq!(unused, reasons, "rights that nobody uses, and those with a reason");
}

/// The gate refuses in each service's own format, and lets pass what is allowed.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_does_not_allow_is_refused() {
    let account = Account::new().await;
    account.region.dynamodb.store(TABLE, "bootstrap").await;
    let config = client::load(Some(needs::REGION)).await.expect("a configuration");
    let credentials = Credentials::new(key(INGEST), "SECRET", None, None, "test");
    let config = config
        .into_builder()
        .endpoint_url(&account.gate.url)
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();

    let store = DynamoStore::new(client::dynamodb(&config), TABLE, "ingest");
    let now = Timestamp::now();
    let item = InboxItem::new(now, "digest", b"{}".to_vec());
    assert!(store.take_in(&item).await.expect("allowed"));
    Inbox::writable(&store, "ingest", now).await.expect("allowed");
    let denied = |error: tinqs_ci_reconciler::ports::PortError| {
        assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    };
    denied(store.get(&name(7)).await.expect_err("a run"));
    denied(store.pauses().await.expect_err("the pauses"));
    denied(store.oldest("", 1).await.expect_err("the index of the inbox"));

    let clients =
        queue::Clients { receive: client::sqs_receive(&config), send: client::sqs(&config) };
    let url = account.region.sqs.queue_url("wakes");
    let queue = Sqs::new(clients, &url, queue::Options::default(), None);
    denied(queue.next(1).await.expect_err("wake-ups"));
    denied(queue.wake(&name(7)).await.expect_err("another queue than that of the policy"));

    let machines = Machines::new(
        ec2::Clients::of(&config),
        "tinqs-ci",
        Arc::new(SystemClock),
        Rates::default(),
    );
    denied(machines.list().await.expect_err("the machines"));
    let refused = account.gate.book().refused;
    assert!(refused.iter().all(|call| call.starts_with("ingest: ")), "{refused:?}");
    assert!(refused.len() >= 5, "{refused:?}");
}
