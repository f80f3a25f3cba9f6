//! The server with a raised launch pace: EC2's default of two launches a second would dominate the
//! measurement of a burst of thousands. Everything else is as in `serve`.

use std::path::Path;
use std::sync::Arc;

use tinqs_ci::push::Pushes;
use tinqs_ci::server::{Intervals, Listeners, Parts, Role, serve};
use tinqs_ci::settings::{Settings, StoreUrl};
use tinqs_ci_aws::client;
use tinqs_ci_aws::ec2::{Clients, Machines};
use tinqs_ci_aws::pace::{Rate, Rates};
use tinqs_ci_aws::store::DynamoStore;
use tinqs_ci_gitea::client::Client;
use tinqs_ci_gitea::demand::DemandConfig;
use tinqs_ci_gitea::demand::by_mode::DemandSource;
use tinqs_ci_local::SystemClock;
use tinqs_ci_local::queue::MemoryQueue;
use tinqs_ci_reconciler::ports::{Clock, Ports};
use tokio::signal::unix::{SignalKind, signal};

use crate::figure::Result;

/// A rate far above the limits of any account.
const RATE: Rate = Rate { capacity: 10_000.0, per_second: 10_000.0 };

/// Serves with this configuration file until SIGTERM.
pub(crate) fn run(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file)?;
    let settings = tinqs_ci::settings::parse(&text, Some(file), &tinqs_ci::settings::Env::new())?;
    // Log and threads as in the program itself.
    tinqs_ci::telemetry::init(None, "bench");
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(until_stopped(settings.settings))
}

async fn until_stopped(settings: Settings) -> Result<()> {
    let StoreUrl::Dynamodb(table) = &settings.store else {
        return Err("the store is not DynamoDB".into());
    };
    let config = client::load(Some("us-east-1")).await?;
    let store = Arc::new(DynamoStore::new(client::dynamodb(&config), &**table, "bench"));
    store.ensure_table().await?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let clients = Clients::of(&config);
    let rates = Rates { launch: RATE, terminate: RATE, describe: RATE };
    let machines = Machines::new(clients, &settings.installation, clock.clone(), rates);
    let forge = Arc::new(Client::new(&settings.forge, clock.clone())?);
    let demand = Arc::new(DemandSource::new(forge, DemandConfig::of(&settings.forge)));
    demand.choose().await??;
    let ports = Ports {
        clock,
        store: store.clone(),
        queue: Arc::new(MemoryQueue::new()),
        compute: Arc::new(machines),
        forge: demand.clone(),
    };
    let intervals = Intervals::of(&settings);
    let listeners = Listeners::bind(&settings.server).await?;
    let watched = Parts::over(settings, ports, "bench");
    let pushes = Pushes::new(demand, store, watched.controller.clone());
    let whole = Parts { pushes: Some(Arc::new(pushes)), ..watched };
    let mut terminated = signal(SignalKind::terminate())?;
    let stopped = async move {
        terminated.recv().await;
    };
    serve(whole, listeners, intervals, Role::All, stopped).await?;
    Ok(())
}
