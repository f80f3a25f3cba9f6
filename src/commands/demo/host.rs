//! The simulated world of the demo on loopback, and the real server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tempfile::TempDir;
use tinqs_ci_reconciler::model::{Class, Market, MicroUsd, Secret, Times};
use tinqs_ci_reconciler::ports::{Clock, Compute, Ports};
use tinqs_ci_simulator::clock::AcceleratedClock;
use tinqs_ci_simulator::cloud::price;
use tinqs_ci_simulator::forge::{Config, Forge, Line};
use tinqs_ci_simulator::gitea_wire::{ApiToken, Hook, Right, Wire, WireOptions};
use tinqs_ci_simulator::play::linux;
use tinqs_ci_simulator::ports::SimulatedPorts;
use tinqs_ci_simulator::world::{Shared, World};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::{Error, Fault};
use crate::server::{self, Intervals, Listeners, Parts, Role};
use crate::settings::{
    self, ComputeUrl, LaunchRate, ProcessUser, QueueUrl, Server, Settings, StoreUrl, Tls, Token,
};
use tinqs_ci_gitea::client::Client;
use tinqs_ci_gitea::{Config as ForgeSettings, Demand, RegisterIn, Scope};
use tinqs_ci_local::SystemClock;
use tinqs_ci_local::queue::MemoryQueue;
use tinqs_ci_local::store::Store;

/// The webhook secret, and the API token of the forge and of the server, which live as long as this
/// process.
const SECRET: &str = "demo-webhook-secret";
pub(super) const TOKEN: &str = "demo-api-token";
/// The kind of the machines.
pub(super) const KIND: &str = "c7a.2xlarge";
/// The budget of the class per day, which the demo does not reach.
const BUDGET: MicroUsd = MicroUsd(50_000_000);
/// The time within which the old server must release its port and file.
const LETS_GO: Duration = Duration::from_secs(5);

/// The simulated world and the real server.
pub(super) struct Host {
    /// The simulated time.
    pub(super) clock: AcceleratedClock,
    /// The acceleration of the simulated time.
    pub(super) factor: u32,
    /// The simulated forge's HTTP API.
    pub(super) wire: Wire,
    world: Shared,
    settings: Settings,
    fault: Fault,
    /// `None` only during a restart.
    server: Option<JoinHandle<Result<(), server::Error>>>,
    events: JoinHandle<()>,
    /// Removed at the end.
    _dir: TempDir,
}

impl Host {
    /// Starts a forge without jobs, a cloud without machines, and the server.
    /// The simulated time begins `behind` the real one. `fault` affects the server's ports and class.
    /// With `tls` the server's addresses speak TLS only.
    pub(super) async fn start(
        seed: u64,
        factor: u32,
        behind: SignedDuration,
        fault: Fault,
        tls: Option<Tls>,
    ) -> Result<Self, Error> {
        let dir = tempfile::Builder::new()
            .prefix("tinqs-ci-demo-")
            .tempdir()
            .map_err(Error::host("create a temporary directory"))?;
        let clock = AcceleratedClock::behind(Timestamp::now(), factor, behind);
        let forge = Forge::new(Config { line: Line::V1_27, ..Config::default() });
        let forge = Arc::new(Mutex::new(forge));
        let world = World::new(seed, Arc::new(clock.clone()), forge.clone());
        let world: Shared = Arc::new(Mutex::new(world));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let listeners = listen(any, any).await?;
        let at = |listener: &TcpListener| {
            listener.local_addr().map_err(Error::host("listen on loopback"))
        };
        let (address, api) = (at(&listeners.webhooks)?, at(&listeners.api)?);
        let hook = format!("{}://{address}/webhook", scheme(tls.as_ref()));
        let options = WireOptions {
            tokens: vec![ApiToken { token: TOKEN.to_owned(), right: Right::Admin }],
            hooks: vec![Hook::system(hook, SECRET)],
            skip_tls_verify: true,
            ..WireOptions::default()
        };
        let shown = clock.clone();
        let wire = Wire::start(forge, Arc::new(move || shown.now()), options)
            .map_err(Error::host("listen on loopback for the forge"))?;
        let mut settings = settings_of(&wire.url(), (address, api), &dir);
        settings.server.tls = tls;
        settings.classes = settings.classes.into_iter().map(|class| fault.class(class)).collect();
        let events = tokio::spawn(events(world.clone(), clock.clone()));
        let server = None;
        let mut host =
            Self { clock, factor, wire, world, settings, fault, server, events, _dir: dir };
        host.serve(listeners).await?;
        Ok(host)
    }

    /// Returns the address of the real server's API.
    pub(super) fn server_url(&self) -> String {
        let Server { api, tls, .. } = &self.settings.server;
        format!("{}://{api}", scheme(tls.as_ref()))
    }

    /// Returns the address that takes webhooks.
    pub(super) fn webhook_url(&self) -> String {
        let Server { webhooks, tls, .. } = &self.settings.server;
        format!("{}://{webhooks}/webhook", scheme(tls.as_ref()))
    }

    /// Locks the simulated world. Lock it before the forge.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock()
    }

    /// Kills the server abruptly, as `kill -9` does, and starts another on the same data.
    pub(super) async fn restart(&mut self) -> Result<(), Error> {
        if let Some(server) = self.server.take() {
            server.abort();
            // The result is always an abort.
            let _ = server.await;
        }
        let end = Instant::now() + LETS_GO;
        loop {
            let Server { webhooks, api, .. } = self.settings.server;
            let restarted = match listen(webhooks, api).await {
                Ok(listeners) => self.serve(listeners).await,
                Err(error) => Err(error),
            };
            match restarted {
                Err(_) if Instant::now() < end => {
                    // Tasks of the old server still hold the port or the file.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                done => return done,
            }
        }
    }

    /// Lets the simulated time run as the real one does, once it has caught up, and starts the
    /// server again, so that its loops do too.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        self.clock.settle();
        while !self.clock.is_settled() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.restart().await
    }

    /// Stops the server and the simulated world.
    pub(super) async fn end(mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
        self.events.abort();
        self.wire.stop().await;
    }

    async fn serve(&mut self, listeners: Listeners) -> Result<(), Error> {
        let parts = self.parts().await?;
        let quick = |duration: SignedDuration| self.clock.real(duration);
        let usual = Intervals::of(&self.settings);
        let intervals = Intervals {
            poll: quick(self.settings.forge.poll_every),
            sweep: quick(self.settings.forge.sweep_every),
            due: quick(SignedDuration::from_secs(1)),
            hint_gap: quick(SignedDuration::from_secs(1)),
            ..usual
        };
        let forever = std::future::pending();
        self.server =
            Some(tokio::spawn(server::serve(parts, listeners, intervals, Role::All, forever)));
        Ok(())
    }

    /// Builds the parts as `serve` does, except for machines and clock.
    async fn parts(&self) -> Result<Parts, Error> {
        let part = |part, error: &dyn std::error::Error| Error::Part {
            part,
            message: tinqs_ci_reconciler::text::chain(error),
        };
        let StoreUrl::Redb(dir) = &self.settings.store else { unreachable!("see `settings_of`") };
        let store = Store::open(dir).map_err(|error| part("store", &error))?;
        let client = Client::new(&self.settings.forge, Arc::new(SystemClock))
            .map_err(|error| part("forge", &error))?;
        let compute: Arc<dyn Compute> = Arc::new(SimulatedPorts::live(self.world.clone()));
        let ports = Ports {
            clock: Arc::new(self.clock.clone()),
            store: Arc::new(store),
            queue: Arc::new(MemoryQueue::new()),
            compute,
            forge: Arc::new(client),
        };
        let ports = self.fault.ports(ports).await.map_err(|error| part("store", &error))?;
        Ok(Parts::over(self.settings.clone(), ports, &server::replica()))
    }
}

fn scheme(tls: Option<&Tls>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}

async fn listen(webhooks: SocketAddr, api: SocketAddr) -> Result<Listeners, Error> {
    let bind =
        async |address| TcpListener::bind(address).await.map_err(Error::host("listen on loopback"));
    let (webhooks, api) = (bind(webhooks).await?, bind(api).await?);
    Ok(Listeners { webhooks, api, metrics: None, socket: None })
}

/// Advances the simulated world.
async fn events(world: Shared, clock: AcceleratedClock) {
    loop {
        let next = {
            let mut world = world.lock();
            world.advance();
            world.next_event()
        };
        let wait = clock.real(next.duration_since(clock.now()).max(SignedDuration::ZERO));
        tokio::time::sleep(wait.clamp(Duration::from_millis(1), Duration::from_millis(20))).await;
    }
}

fn settings_of(
    forge_url: &str,
    (webhooks, api): (SocketAddr, SocketAddr),
    dir: &TempDir,
) -> Settings {
    Settings {
        installation: "demo".to_owned(),
        forge: ForgeSettings {
            url: forge_url.to_owned(),
            machine_url: None,
            token: Some(Secret::new(TOKEN)),
            runner_token: None,
            webhook_secret: Some(Secret::new(SECRET)),
            git_token: None,
            demand: Demand::Jobs,
            scope: Scope::All,
            register_in: RegisterIn::Repository,
            poll_every: SignedDuration::from_secs(10),
            sweep_every: SignedDuration::from_secs(20),
        },
        store: StoreUrl::Redb(dir.path().to_owned()),
        queue: QueueUrl::Memory,
        // Only displayed: the machines are simulated.
        compute: ComputeUrl::Process(dir.path().join("machines")),
        process: ProcessUser::default(),
        launches: LaunchRate::default(),
        server: Server {
            webhooks,
            api,
            metrics: None,
            tls: None,
            hosts: Vec::new(),
            event_clients: 256,
            tokens: vec![Token {
                name: "demo".to_owned(),
                secret: Secret::new(TOKEN),
                may: settings::Right::Operate,
            }],
            own_token: None,
            webhook_secrets: Vec::new(),
            log: None,
            emf: false,
        },
        // Those of the spot market come from the cloud.
        prices: price(KIND, Market::OnDemand)
            .map(|price| (KIND.to_owned(), price))
            .into_iter()
            .collect(),
        classes: vec![class()],
    }
}

/// Returns the class: spot machines, then on-demand ones, with a short idle time to keep the demo
/// short.
fn class() -> Class {
    let mut class = linux(SignedDuration::from_hours(168));
    for machine in &mut class.machines {
        KIND.clone_into(&mut machine.kind);
    }
    let times = Times {
        idle_within: SignedDuration::from_secs(40),
        // On a busy computer seconds of it pass in milliseconds, and no run gives up its wait by that.
        assign_within: SignedDuration::from_mins(5),
        ..class.times.clone()
    };
    Class { times, budget: Some(BUDGET), ..class }
}
