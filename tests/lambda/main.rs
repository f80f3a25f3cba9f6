//! The real binary as an AWS Lambda function: the runtime API is simulated on loopback, and
//! machines are processes of this host. Run with `cargo test --features aws --test lambda`.

mod dues;
mod emf;
mod runtime;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::Conclusion;
use tinqs_ci_simulator::forge::{Config, Forge, JobSpec, Line, Status};
use tinqs_ci_simulator::gitea_wire::{ApiToken, Hook, Right, Wire, WireOptions};
use tinqs_ci_simulator::sqs_wire::{SqsOptions, SqsWire};

use runtime::{Runtime, request};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tinqs-ci");
const SECRET: &str = "lambda-webhook-secret";
const TOKEN: &str = "lambda-api-token";

/// The name of the queue in SQS.
const QUEUE: &str = "wakes";

/// The options of a function and its world.
#[derive(Clone, Copy, Default)]
struct Setup {
    /// The forge sends webhooks to its Function URL.
    hook: bool,
    /// Wake-ups go through SQS.
    sqs: bool,
    /// So many machines end without a job.
    failing: usize,
    /// It writes metrics to stdout.
    emf: bool,
}

/// A function and its forge, which stop on drop.
struct Function {
    dir: tempfile::TempDir,
    wire: Wire,
    sqs: SqsWire,
    runtime: Runtime,
    child: Child,
}

impl Function {
    /// Starts a function without an event, whose wake-ups stay in the process.
    async fn start(hook: bool) -> Self {
        Self::with(Setup { hook, ..Setup::default() }).await
    }

    /// Starts a function without an event.
    async fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (runtime, address) = Runtime::start(Duration::from_secs(30)).await;
        let mut forge = Forge::new(Config { line: Line::V1_27, ..Config::default() });
        forge.add_repo("acme/widget");
        let hooks = setup.hook.then(|| Hook::system(format!("http://{address}/hook"), SECRET));
        let options = WireOptions {
            tokens: vec![ApiToken { token: TOKEN.to_owned(), right: Right::Admin }],
            hooks: hooks.into_iter().collect(),
            ..WireOptions::default()
        };
        let forge = Arc::new(Mutex::new(forge));
        let wire = Wire::start(forge, Arc::new(Timestamp::now), options).expect("a forge");
        let sqs = SqsWire::start(SqsOptions::with_queue(QUEUE)).expect("a queue");
        let bin = runner(dir.path(), setup.failing);
        let url = setup.sqs.then(|| sqs.queue_url(QUEUE));
        let queue = url.map_or_else(|| "memory:".to_owned(), |url| format!("sqs:{url}"));
        let config = format!(
            "queue = \"{queue}\"\nstore = \"redb:{dir}/data\"\ncompute = \"process:{dir}/machines\"\n[forge]\nurl = \"{url}\"\n\
             token = {{ env = \"FORGE_TOKEN\" }}\nwebhook_secret = {{ env = \"HOOK_SECRET\" }}\n\
             [server]\nemf = {emf}\n[[server.token]]\nname = \"own\"\nsecret = {{ env = \"OWN_TOKEN\" }}\nmay = \"operate\"\n[[class]]\nname = \"linux\"\nlabels = [\"linux\"]\n\
             idle_within = \"20s\"\nassign_within = \"5s\"\n",
            emf = setup.emf,
            dir = dir.path().display(),
            url = wire.url(),
        );
        let file = dir.path().join("tinqs-ci.toml");
        fs::write(&file, config).expect("the configuration");
        let log = fs::File::create(dir.path().join("log")).expect("a log");
        let out = fs::File::create(dir.path().join("out")).expect("a file");
        let child = Command::new(PROGRAM)
            .args(["lambda", "--config"])
            .arg(&file)
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("AWS_LAMBDA_RUNTIME_API", &address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "tinqs-ci")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "stream")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "group")
            .env("FORGE_TOKEN", TOKEN)
            .env("HOOK_SECRET", SECRET)
            .env("OWN_TOKEN", "lambda-own-token")
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_ENDPOINT_URL_SQS", sqs.url())
            .env("AWS_ACCESS_KEY_ID", "AKIDLAMBDA")
            .env("AWS_SECRET_ACCESS_KEY", "lambda-secret-access-key")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(log)
            .spawn()
            .expect("the function starts");
        Self { dir, wire, sqs, runtime, child }
    }

    fn push(&self) -> i64 {
        let job = JobSpec { script: Some("true".into()), ..JobSpec::new("build", &["linux"]) };
        self.wire.forge().push(Timestamp::now(), "acme/widget", &[job])[0]
    }

    fn machines(&self) -> Vec<PathBuf> {
        let entries =
            fs::read_dir(self.dir.path().join("machines")).into_iter().flatten().flatten();
        entries.map(|e| e.path()).filter(|p| p.join("started").exists()).collect()
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_mins(1);
        while !holds(self).await {
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "timed out after 60 s waiting for: {what}\n{log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn done(&self, job: i64) {
        let success = Status::Done(Conclusion::Success);
        self.until("the job succeeds", async |f| {
            f.wire.forge().job(job).expect("there").status == success
        })
        .await;
    }

    async fn cleanup(&self) -> Value {
        self.runtime.invoke(json!({"action": "cleanup"})).await.expect("it is done")
    }

    async fn get(&self, path: &str) -> (u64, Value) {
        let headers = json!({"authorization": "Bearer lambda-own-token", "host": "x"});
        let answer = self.runtime.invoke(request(path, &headers, b"")).await.expect("an answer");
        let body = answer["body"].as_str().unwrap_or_default();
        (
            answer["statusCode"].as_u64().unwrap_or(0),
            serde_json::from_str(body).unwrap_or(Value::Null),
        )
    }

    async fn finished(&self, run: &str) {
        self.until("the run is finished", async |f| {
            assert_eq!(f.cleanup().await["errors"], 0);
            f.get(&format!("/v1/runs/{run}")).await.1["status"]["phase"] == "Finished"
        })
        .await;
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Idle machines end by themselves; this kills busy ones.
        for machine in self.machines() {
            let started = fs::read_to_string(machine.join("started")).unwrap_or_default();
            let pid = started.split(' ').next().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Makes a directory with the runner. So many of its first starts end at once, without a job.
fn runner(dir: &Path, failing: usize) -> PathBuf {
    let bin = dir.join("bin");
    fs::create_dir(&bin).expect("a directory");
    let (file, real) = (bin.join("gitea-runner"), tinqs_ci_test_runner::program());
    if failing == 0 {
        std::os::unix::fs::symlink(real, file).expect("the runner");
        return bin;
    }
    let text = format!(
        "#!/bin/sh\necho start >>'{starts}'\n[ \"$(wc -l <'{starts}')\" -gt {failing} ] || exit 0\n\
         exec '{real}' \"$@\"\n",
        starts = dir.join("starts").display(),
        real = real.display(),
    );
    fs::write(&file, text).expect("the runner");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is executable");
    bin
}

/// One webhook is one invocation, which launches the machine: nothing else runs until the next
/// webhook.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_alone_starts_its_machine() {
    let function = Function::start(true).await;
    let job = function.push();
    function.done(job).await;
    function.finished(&format!("job-{job}")).await;
    assert_eq!(function.machines().len(), 1);
    function
        .until("queued, in progress, completed", async |f| f.runtime.statuses().len() >= 3)
        .await;
    let statuses = function.runtime.statuses();
    assert!(statuses.iter().all(|status| (200..300).contains(status)), "{statuses:?}");
    let (status, ready) = function.get("/healthz").await;
    assert_eq!(status, 200, "{ready}");
}

/// Without webhooks, the schedule launches the machine and cleans up.
#[tokio::test(flavor = "multi_thread")]
async fn the_schedule_serves_a_job_without_webhooks() {
    let function = Function::start(false).await;
    let job = function.push();
    let schedule = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
    assert_eq!(function.runtime.invoke(schedule).await, Ok(json!({"errors": 0})));
    function.done(job).await;
    function.finished(&format!("job-{job}")).await;
    assert_eq!(function.machines().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reports_each_message_and_refuses_other_services() {
    let function = Function::start(false).await;
    let record = |id: &str, body: &str| json!({"messageId": id, "receiptHandle": "r", "body": body, "eventSource": "aws:sqs"});
    let strange = json!({
        "detail-type": "EC2 Instance State-change Notification",
        "detail": {"instance-id": "i-0123456789abcdef0", "state": "terminated"},
    });
    let batch = json!({"Records": [
        record("1", "job-7"), record("2", "\u{0}no name"), record("3", &strange.to_string()),
        record("4", "job-7"),
    ]});
    assert_eq!(function.runtime.invoke(batch.clone()).await, Ok(json!({"batchItemFailures": []})));
    assert_eq!(function.runtime.invoke(strange).await, Ok(Value::Null));
    // The function still serves jobs afterwards.
    let job = function.push();
    assert_eq!(function.cleanup().await["errors"], 0);
    function.done(job).await;
    let error =
        function.runtime.invoke(json!({"Records": [{"messageId": "1", "eventSource": "aws:s3"}]}));
    let error = error.await.expect_err("no batch of SQS");
    assert!(error["errorMessage"].as_str().unwrap_or_default().contains("aws:s3"), "{error}");
    let (status, _) = function.get("/v1/runs/job-404").await;
    assert_eq!(status, 404);
    let bare = request("/v1/runs", &json!({"host": "x"}), b"");
    assert_eq!(function.runtime.invoke(bare).await.expect("an answer")["statusCode"], 401);
}

/// A folder with a configuration, in which no webhook has a secret.
fn unsigned() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let config = "[forge]\nurl = \"http://127.0.0.1:9\"\ntoken = \"t\"\n[[class]]\nname = \"x\"\n\
                  labels = [\"x\"]\n";
    fs::write(dir.path().join("tinqs-ci.toml"), config).expect("the configuration");
    dir
}

/// Runs a program in this folder, which must refuse its configuration. Returns what it says.
fn refused(dir: &tempfile::TempDir, program: &Path, args: &[&str], env: &[(&str, &str)]) -> String {
    let mut command = Command::new(program);
    command.args(args).current_dir(dir.path()).env_clear().envs(env.iter().copied());
    let told = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&told.stderr).into_owned();
    assert_eq!(told.status.code(), Some(2), "{said}");
    said
}

/// Outside of Lambda, the error names the command to use.
#[test]
fn outside_of_lambda_the_function_refuses_to_start() {
    let said = refused(&unsigned(), Path::new(PROGRAM), &["lambda"], &[]);
    assert!(said.contains("AWS_LAMBDA_RUNTIME_API") && said.contains("serve"), "{said}");
}

#[test]
fn the_name_bootstrap_alone_starts_the_function() {
    let dir = unsigned();
    let bootstrap = dir.path().join("bootstrap");
    std::os::unix::fs::symlink(PROGRAM, &bootstrap).expect("a link");
    let said = refused(&dir, &bootstrap, &[], &[]);
    assert!(said.contains("`lambda` must be started by AWS Lambda"), "{said}");
    // With arguments, they decide.
    let said = refused(&dir, &bootstrap, &["get", "nonsense"], &[]);
    assert!(!said.contains("AWS Lambda"), "{said}");
}

#[test]
fn without_a_secret_of_webhooks_the_function_does_not_start() {
    let runtime = [("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9")];
    let said = refused(&unsigned(), Path::new(PROGRAM), &["lambda"], &runtime);
    assert!(said.contains("forge.webhook_secret") && said.contains("not set"), "{said}");
}
