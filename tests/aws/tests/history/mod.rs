//! Histories over AWS's wires: the real controller, AWS adapters, SDK and sockets, with a forge in
//! this process and a virtual clock. A history depends only on the pushed jobs and the planned
//! faults.

pub(crate) mod forge;
pub(crate) mod front;
pub(crate) mod injected_fault;

use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use dynoxide::Database;
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_aws::client;
use tinqs_ci_aws::ec2::{self, Machines};
use tinqs_ci_aws::pace::Rates;
use tinqs_ci_aws::queue::{self, Options, Sqs};
use tinqs_ci_aws::store::DynamoStore;
use tinqs_ci_reconciler::controller::{Controller, ReconcileOutcome, Settings};
use tinqs_ci_reconciler::model::{
    AttemptId, Class, ClassName, Conclusion, MachineOptions, MachineSpec, MachineState, Market,
    Phase, Run, RunName, Times,
};
use tinqs_ci_reconciler::ports::{Clock as _, Ports, RunStore as _};
use tinqs_ci_simulator::clock::Virtual;
use tinqs_ci_simulator::cloud::machine::MachineOutcome;
use tinqs_ci_simulator::ec2_wire::{Ec2Options, Ec2Wire, LaunchSeen, MachineSeen, Recorded};
use tinqs_ci_simulator::forge::{JobSpec, Status};
use tinqs_ci_simulator::sqs_wire::{SqsOptions, SqsWire};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use forge::TestForge;
use front::{Front, Upstreams};
use injected_fault::{Place, Plan, is_effect};

const TABLE: &str = "runs";
const QUEUE: &str = "wakes";
const CLASS: &str = "linux";
pub(crate) const INSTALLATION: &str = "tinqs-ci";
/// Time until a dead controller is restarted.
const RESTARTS_AFTER: SignedDuration = SignedDuration::from_secs(5);
/// Time within which a history must settle.
const SETTLES_WITHIN: SignedDuration = SignedDuration::from_mins(90);
/// Time for which a settled history is observed.
const OBSERVED_FOR: SignedDuration = SignedDuration::from_mins(6);

/// Parameters of a history.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) limit: Option<u32>,
    /// Whether machines stay up after their job.
    pub(crate) hangs_after_job: bool,
    pub(crate) poll_every: SignedDuration,
}

impl Setup {
    pub(crate) fn class(&self) -> Class {
        let machine = |subnet: &str| MachineSpec {
            kind: "t3.small".to_owned(),
            subnet: subnet.to_owned(),
            market: Market::Spot,
            image: "ami-0123".to_owned(),
            security_groups: vec!["sg-1".to_owned()],
            instance_profile: "tinqs-ci-runner".to_owned(),
            runner: None,
            options: MachineOptions::default(),
        };
        Class {
            name: ClassName(CLASS.to_owned()),
            labels: vec!["linux".to_owned()],
            serves_unlabeled: false,
            machines: vec![machine("subnet-a"), machine("subnet-b")],
            limit: self.limit,
            repo_limit: None,
            owner_limit: None,
            rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
            budget: None,
            allocation: tinqs_ci_reconciler::model::Allocation::Order,
            repos: Vec::new(),
            times: Times::default(),
        }
    }
}

/// One process of the controller; its cache ends with it.
struct Process {
    controller: Controller,
    polls_at: Timestamp,
    sweeps_at: Timestamp,
}

/// One history.
pub(crate) struct History {
    setup: Setup,
    config: SdkConfig,
    pub(crate) clock: Virtual,
    pub(crate) test_forge: TestForge,
    pub(crate) ec2: Ec2Wire,
    sqs: SqsWire,
    database: JoinHandle<()>,
    pub(crate) front: Front,
    /// Reads the table without the proxy.
    observer: Arc<DynamoStore>,
    process: Option<Process>,
    born: u32,
}

impl Drop for History {
    fn drop(&mut self) {
        self.database.abort();
    }
}

/// Returns the configuration that all histories share: connections and certificates.
pub(crate) async fn config() -> SdkConfig {
    client::load(Some("us-east-1")).await.expect("a configuration")
}

fn at(config: &SdkConfig, url: &str, key: &str) -> SdkConfig {
    let credentials = Credentials::new(key, "SECRET", None, None, "test");
    let credentials = SharedCredentialsProvider::new(credentials);
    config.clone().into_builder().endpoint_url(url).credentials_provider(credentials).build()
}

/// Returns the program's own retry configuration without the delays.
fn hasty(retries: Option<&RetryConfig>) -> RetryConfig {
    let (retries, soon) = (retries.cloned().expect("it is set"), Duration::from_millis(1));
    retries.with_initial_backoff(soon).with_max_backoff(soon)
}

fn dynamodb(config: &SdkConfig, of: &str) -> aws_sdk_dynamodb::Client {
    let made = client::dynamodb(config);
    let own = made.config().to_builder().retry_config(hasty(made.config().retry_config()));
    // The SDK counts retries per partition; histories must not share one.
    aws_sdk_dynamodb::Client::from_conf(
        own.retry_partition(RetryPartition::new(of.to_owned())).build(),
    )
}

fn ec2(config: &SdkConfig, of: &str) -> ec2::Clients {
    let made = client::ec2(config);
    let own = made.config().to_builder().retry_config(hasty(made.config().retry_config()));
    let ask = own.retry_partition(RetryPartition::new(of.to_owned())).build();
    ec2::Clients { ask: aws_sdk_ec2::Client::from_conf(ask), ..ec2::Clients::of(config) }
}

fn sqs(config: &SdkConfig, of: &str) -> queue::Clients {
    let of = RetryPartition::new(of.to_owned());
    let hurry = |made: aws_sdk_sqs::Client| {
        let own = made.config().to_builder().retry_config(hasty(made.config().retry_config()));
        aws_sdk_sqs::Client::from_conf(own.retry_partition(of.clone()).build())
    };
    queue::Clients { receive: hurry(client::sqs_receive(config)), send: hurry(client::sqs(config)) }
}

/// Returns a check that the record holds a launch's parameters byte for byte.
fn recorded(store: Arc<DynamoStore>) -> Recorded {
    Arc::new(move |launch: &LaunchSeen<'_>| {
        let tag = |key: &str| launch.tags.get(key).map(String::as_str).unwrap_or_default();
        let (attempt_id, placement) = (tag("tinqs-ci/attempt"), tag("tinqs-ci/placement"));
        let (Ok(attempt_id), Ok(placement)) =
            (attempt_id.parse::<AttemptId>(), placement.parse::<u32>())
        else {
            return false;
        };
        if launch.token != ec2::token(INSTALLATION, &attempt_id, placement) {
            return false;
        }
        let read = async { store.get(&attempt_id.run).await };
        let read = || tokio::runtime::Handle::current().block_on(read);
        let run = tokio::task::block_in_place(read).ok().flatten();
        let attempt = run.filter(|run| run.uid.short() == attempt_id.uid);
        let attempt = attempt.and_then(|run| run.status.attempt);
        attempt.filter(|attempt| attempt.number == attempt_id.number).is_some_and(|attempt| {
            tinqs_ci_boot::script(&attempt_id, placement, &attempt).as_bytes() == launch.user_data
        })
    })
}

impl History {
    /// Starts new wires, an empty table and a controller.
    pub(crate) async fn begin(config: &SdkConfig, setup: &Setup, plan: Plan) -> Self {
        let noon: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
        let clock = Virtual::starting_at(noon);
        let test_forge = TestForge::new(Arc::new(clock.clone()));
        let behind = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = behind.local_addr().expect("its address").to_string();
        let database = Database::memory().expect("an engine");
        let database = tokio::spawn(dynoxide::server::serve_on(behind, database));
        let past_the_front = at(config, &format!("http://{address}"), "OBSERVER");
        let observer = DynamoStore::new(dynamodb(&past_the_front, &address), TABLE, "observer");
        observer.ensure_table().await.expect("a table");
        let observer = Arc::new(observer);
        let ec2 = Ec2Wire::start(Ec2Options {
            clock: Some(Arc::new(clock.clone())),
            latency: tinqs_ci_simulator::aws_wire::Latency::default(),
            installation: Some(INSTALLATION.to_owned()),
            forge: Some(test_forge.forge.clone()),
            outcome: MachineOutcome {
                hangs_after_job: setup.hangs_after_job,
                ..Ec2Options::default().outcome
            },
            recorded: Some(recorded(observer.clone())),
            ..Ec2Options::default()
        });
        let ec2 = ec2.expect("EC2 on loopback");
        let sqs = SqsWire::start(SqsOptions::with_queue(QUEUE)).expect("SQS on loopback");
        let host = |url: String| url.strip_prefix("http://").expect("http").to_owned();
        let behind = Upstreams { dynamodb: address, ec2: host(ec2.url()), sqs: host(sqs.url()) };
        let front = Front::start(behind, plan).await;
        let (process, born) = (None, 0);
        let (setup, config) = (setup.clone(), config.clone());
        let mut history = Self {
            setup,
            config,
            clock,
            test_forge,
            ec2,
            sqs,
            database,
            front,
            observer,
            process,
            born,
        };
        history.start();
        history
    }

    /// Starts a controller with an empty cache.
    fn start(&mut self) {
        self.born += 1;
        let key = format!("AKID{}", self.born);
        self.front.is_born(&key);
        let of = format!("{}/{}", self.front.url, self.born);
        let config = at(&self.config, &self.front.url, &key);
        let clock: Arc<dyn tinqs_ci_reconciler::ports::Clock> = Arc::new(self.clock.clone());
        let store = Arc::new(DynamoStore::new(dynamodb(&config, &of), TABLE, &key));
        let rates = Rates::default();
        let machines = Machines::new(ec2(&config, &of), INSTALLATION, clock.clone(), rates);
        let machines = Arc::new(machines);
        // An unacknowledged message stays hidden; due times do not need it.
        let again_after = Duration::from_hours(1);
        let options = Options { again_after, patience: Duration::ZERO, ..Options::default() };
        let owners = Some(machines.clone() as _);
        let queue = Sqs::new(sqs(&config, &of), &self.sqs.queue_url(QUEUE), options, owners);
        let ports = Ports {
            clock,
            store,
            queue: Arc::new(queue),
            compute: machines,
            forge: Arc::new(self.test_forge.clone()),
        };
        let settings = Settings {
            installation: INSTALLATION.to_owned(),
            instance_url: "http://127.0.0.1:3000".to_owned(),
            git_token: None,
            secrets: Vec::new(),
            classes: vec![self.setup.class()],
            prices: std::collections::BTreeMap::new(),
            poll_every: self.setup.poll_every,
            sweep_every: SignedDuration::from_mins(1),
            replica: key,
        };
        let now = self.clock.now();
        let controller = Controller::new(ports, settings);
        self.process = Some(Process { controller, polls_at: now, sweeps_at: now });
    }

    /// Advances the clock to the next due time and lets the controller work. If it crashes, starts
    /// another one a little later.
    pub(crate) async fn turn(&mut self) {
        self.turn_until(Timestamp::MAX).await;
    }

    /// Like [`Self::turn`], but advances no further than `end`, where nothing has to be due.
    pub(crate) async fn turn_until(&mut self, end: Timestamp) {
        let process = self.process.as_mut().expect("it lives");
        let next = || {
            let due = process.controller.earliest_due().into_iter();
            due.chain([process.polls_at, process.sweeps_at]).min().unwrap_or(end)
        };
        let hints = loop {
            let event = self.ec2.cloud(|cloud| cloud.next_event());
            // The clock never goes back.
            self.clock.set(event.into_iter().chain([next(), end]).min().unwrap_or(end));
            let now = self.clock.now();
            self.ec2.cloud(|_| ());
            self.test_forge.forge().tick(now);
            let hints = self.test_forge.hints();
            if !hints.is_empty() || next() <= now {
                break hints;
            }
            if now >= end {
                return;
            }
        };
        let now = self.clock.now();
        let died = tokio::select! {
            biased;
            () = self.front.death() => true,
            () = process.work(now, &hints) => false,
        };
        if died {
            self.kill();
        } else {
            self.clock.set(now + SignedDuration::from_millis(1));
        }
    }

    /// Kills the controller and starts another one a little later.
    pub(crate) fn kill(&mut self) {
        self.process = None;
        self.clock.set(self.clock.now() + RESTARTS_AFTER);
        self.start();
    }

    /// Continues for this long.
    pub(crate) async fn pass(&mut self, time: SignedDuration) {
        let end = self.clock.now() + time;
        while self.clock.now() < end {
            self.turn().await;
        }
    }

    /// Returns the runs of these jobs from the table.
    async fn runs(&self, jobs: &[i64]) -> Vec<Option<Run>> {
        let mut runs = Vec::new();
        for job in jobs {
            runs.push(self.observer.get(&RunName::job(*job)).await.expect("the table is read"));
        }
        runs
    }

    /// Returns whether every job is done, its resources are released, and its run is settled.
    async fn is_settled(&self, jobs: &[i64]) -> bool {
        let due = self.process.as_ref().is_none_or(|p| p.controller.earliest_due().is_some());
        let done = {
            let forge = self.test_forge.forge();
            let over = |job: &i64| forge.job(*job).is_some_and(|job| job.status.is_done());
            jobs.iter().all(over) && forge.runners().count() == 0
        };
        let left = |m: &MachineSeen| !m.foreign && m.state != MachineState::Gone;
        if due || !done || self.ec2.machines().iter().any(left) {
            return false;
        }
        let seats = self.observer.seats(&ClassName(CLASS.to_owned())).await.expect("read");
        let is_over = |run: &Run| run.status.phase == Phase::Finished;
        // A new process finds in its first sweep what is not counted yet.
        let is_counted = |run: &Run| !run.status.usage.is_pending();
        let over =
            |run: &Option<Run>| run.as_ref().is_some_and(|run| is_over(run) && is_counted(run));
        seats.is_empty() && self.runs(jobs).await.iter().all(over)
    }

    /// Pushes jobs in sequence, `apart` from each other.
    pub(crate) async fn push(&mut self, jobs: usize, apart: SignedDuration) -> Vec<i64> {
        let mut pushed = Vec::new();
        for n in 0..jobs {
            if n > 0 {
                self.pass(apart).await;
            }
            let work = SignedDuration::from_secs(40);
            let job = JobSpec { work, ..JobSpec::new(format!("build ({n})"), &["linux"]) };
            pushed.extend(self.test_forge.push(&[job]));
        }
        pushed
    }

    /// Continues until these jobs are settled, and a while longer. Returns the number of calls
    /// until they settled.
    ///
    /// # Errors
    /// Returns what is wrong with the history.
    pub(crate) async fn settle(&mut self, jobs: &[i64]) -> Result<usize, String> {
        let end = self.clock.now() + SETTLES_WITHIN;
        while !self.is_settled(jobs).await {
            if self.clock.now() > end {
                let runs = self.runs(jobs).await;
                return Err(format!("not settled after {SETTLES_WITHIN:#}: {runs:?}"));
            }
            self.turn().await;
        }
        let settled = self.front.history().len();
        self.pass(OBSERVED_FOR).await;
        let after = self.front.history().split_off(settled);
        let lease = |place: &Place| place.0 == "put lease";
        if let Some(effect) = after.iter().find(|p| is_effect(p) && !lease(p)) {
            return Err(format!("an effect after the history settled: {effect:?}"));
        }
        self.wrong(jobs).map(|()| settled)
    }

    /// Checks that each job succeeded on its own machine and that no law was violated.
    fn wrong(&self, jobs: &[i64]) -> Result<(), String> {
        let success = Status::Done(Conclusion::Success);
        let status = |job: &i64| self.test_forge.forge().job(*job).map(|job| job.status);
        if let Some(job) = jobs.iter().find(|job| status(job) != Some(success)) {
            return Err(format!("job {job} is {:?}", status(job)));
        }
        let mut machines = self.ec2.machines();
        machines.retain(|machine| !machine.foreign);
        let tokens: std::collections::BTreeSet<&str> =
            machines.iter().map(|machine| machine.recipe.token.as_str()).collect();
        if (machines.len(), tokens.len()) != (jobs.len(), jobs.len()) {
            return Err(format!(
                "{} machines of {} tokens for {} jobs",
                machines.len(),
                tokens.len(),
                jobs.len()
            ));
        }
        let violations = self.ec2.violations();
        if let Some(violation) = violations.first() {
            return Err(format!("{violation:?}"));
        }
        self.test_forge.wrong().first().map_or(Ok(()), |wrong| Err(wrong.clone()))
    }
}

impl Process {
    /// Does what the loops of `serve` would do now.
    async fn work(&mut self, now: Timestamp, hints: &[tinqs_ci_reconciler::controller::Hint]) {
        let controller = &self.controller;
        for hint in hints {
            // The forge does not redeliver a webhook; after an error the poll finds the job.
            let _ = controller.ingest(std::slice::from_ref(hint)).await;
        }
        if now >= self.polls_at {
            self.polls_at = now + controller.settings().poll_every;
            controller.poll().await;
        }
        if now >= self.sweeps_at {
            self.sweeps_at = now + controller.settings().sweep_every;
            controller.sweep().await;
        }
        if controller.earliest_due().is_some_and(|due| due <= now) {
            controller.wake_due().await;
        }
        let queue = &controller.ports().queue;
        loop {
            let deliveries = queue.next(10).await.unwrap_or_default();
            if deliveries.is_empty() {
                return;
            }
            for delivery in deliveries {
                // As many times as `serve` retries a write conflict.
                for _ in 0..5 {
                    let report = controller.reconcile(&delivery.name).await;
                    if report.result != ReconcileOutcome::Conflict {
                        break;
                    }
                }
                let _ = queue.done(delivery).await;
            }
        }
    }
}
