//! A small runner for tests that behaves like gitea-runner 1.0.8: `daemon -c CONFIG.yaml`.
//!
//! It reads the `.runner` file named in the configuration, declares itself, fetches a task, runs
//! it, reports and exits; if ephemeral, after one task. Two variables change it:
//! `TINQS_CI_TEST_RUNNER_FETCH_MS` is the pause between fetches (200), and with
//! `TINQS_CI_TEST_RUNNER_EXIT_UNREGISTERED=1` it exits with 1 when its row is gone, as 2.1.0 does.

mod client;
mod config;
mod job;

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;

use client::{CallError, Client};
use config::{Config, Identity};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(message) => {
            eprintln!("tinqs-ci-test-runner: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The command on the command line.
enum Order {
    Daemon { config: Option<String> },
    Version,
}

fn order(arguments: impl Iterator<Item = String>) -> Result<Order, String> {
    let (mut daemon, mut config) = (false, None);
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "daemon" => daemon = true,
            "--version" => return Ok(Order::Version),
            "-c" | "--config" => {
                config =
                    Some(arguments.next().ok_or("-c requires the path of a configuration file")?);
            }
            other => match other.strip_prefix("--config=") {
                Some(path) => config = Some(path.to_owned()),
                None => return Err(format!("unknown argument {other:?}; try: daemon -c CONFIG")),
            },
        }
    }
    if daemon { Ok(Order::Daemon { config }) } else { Err("try: daemon -c CONFIG".to_owned()) }
}

async fn run() -> Result<ExitCode, String> {
    let config = match order(std::env::args().skip(1))? {
        Order::Version => {
            println!("gitea-runner version v1.0.8");
            return Ok(ExitCode::SUCCESS);
        }
        Order::Daemon { config } => config,
    };
    // Registered first, so that an early signal does not kill the process.
    let mut stop = Stop::new()?;
    let config = Config::read(config.as_deref())?;
    let identity = Identity::read(&config.file)?;
    let client = Client::new(&identity)?;
    let labels = identity.label_names();
    tokio::select! {
        () = stop.asked() => return Ok(ExitCode::SUCCESS),
        declared = client.declare(&labels) => {
            declared.map_err(|e| format!("declare: {e}"))?;
        }
    }
    println!("runner {} declared", identity.name);
    poll(&client, &config, &identity, &mut stop).await
}

/// Fetches tasks until one is done (ephemeral) or a signal comes.
async fn poll(
    client: &Client,
    config: &Config,
    identity: &Identity,
    stop: &mut Stop,
) -> Result<ExitCode, String> {
    let mut tasks_version = 0;
    loop {
        // As in 1.0.8, the signal also aborts a fetch: a task in its response is lost.
        let fetched = tokio::select! {
            () = stop.asked() => return Ok(ExitCode::SUCCESS),
            fetched = client.fetch(tasks_version) => fetched,
        };
        match fetched {
            Ok(fetched) => {
                tasks_version = fetched.tasks_version;
                if let Some(task) = fetched.task {
                    println!("task {} repo is simulated", task.id);
                    // The assignment changed the list: search again, whatever the version.
                    tasks_version = 0;
                    let stopped = job::work(client, &task, config.shutdown_timeout, stop).await?;
                    if identity.ephemeral || stopped {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
            }
            Err(CallError::Unregistered) if config.exit_unregistered => {
                return Err("the runner is no longer registered".to_owned());
            }
            Err(error) => eprintln!("fetch: {error}"),
        }
        tokio::select! {
            () = stop.asked() => return Ok(ExitCode::SUCCESS),
            () = sleep(config.fetch_interval) => {}
        }
    }
}

/// SIGTERM or SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|e| format!("cannot listen for signals: {e}"));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Waits for a signal.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Pauses before the next of several tries: 100 ms, doubling.
async fn back_off(attempt: u32) {
    sleep(Duration::from_millis(100) * 2_u32.pow(attempt.min(6))).await;
}
