//! What the demonstration runs on: a pretended world on loopback, and the real server beside it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tinqs_ci_reconciler::model::{Class, Secret, Times};
use tinqs_ci_reconciler::ports::{Clock, Compute, Ports};
use tinqs_ci_simulator::clock::Quick;
use tinqs_ci_simulator::forge::{Config, Forge, Line};
use tinqs_ci_simulator::gitea_wire::{ApiToken, Hook, Right, Wire, WireOptions};
use tinqs_ci_simulator::play::linux;
use tinqs_ci_simulator::ports::Mouth;
use tinqs_ci_simulator::world::{Shared, World, lock};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Error;
use crate::server::{self, Paces, Parts, Role};
use crate::settings::{ComputeUrl, QueueUrl, Server, Settings, StoreUrl};
use tinqs_ci_gitea::client::Client;
use tinqs_ci_gitea::{Config as ForgeSettings, Demand, Scope};
use tinqs_ci_local::queue::MemoryQueue;
use tinqs_ci_local::store::Store;

/// The webhook's secret and the API's token: known to nobody outside this process.
const SECRET: &str = "demo-webhook-secret";
const TOKEN: &str = "demo-api-token";
/// How long the old server may take to let go of its file.
const LETS_GO: Duration = Duration::from_secs(5);

/// The pretended world and the real server.
pub(super) struct Host {
    /// The world's time.
    pub(super) clock: Quick,
    /// How much faster than life it goes.
    pub(super) factor: u32,
    /// The forge on the wire.
    pub(super) wire: Wire,
    world: Shared,
    settings: Settings,
    address: SocketAddr,
    /// `None` only while it is restarted.
    server: Option<JoinHandle<Result<(), server::Error>>>,
    events: JoinHandle<()>,
    /// Removed at the end.
    _dir: TempDir,
}

impl Host {
    /// A forge without jobs, a cloud without machines, and a server that listens.
    pub(super) async fn start(seed: u64, factor: u32) -> Result<Self, Error> {
        let dir = tempfile::Builder::new()
            .prefix("tinqs-ci-demo-")
            .tempdir()
            .map_err(Error::host("make a temporary directory"))?;
        let clock = Quick::new(Timestamp::now(), factor);
        let forge = Forge::new(Config { line: Line::V1_27, ..Config::default() });
        let forge = Arc::new(Mutex::new(forge));
        let world = World::new(seed, Arc::new(clock), forge.clone());
        let world: Shared = Arc::new(Mutex::new(world));
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let address = listener.local_addr().map_err(Error::host("listen on loopback"))?;
        let options = WireOptions {
            tokens: vec![ApiToken { token: TOKEN.to_owned(), right: Right::Admin }],
            hooks: vec![Hook::system(format!("http://{address}/webhook"), SECRET)],
            ..WireOptions::default()
        };
        let wire = Wire::start(forge, Arc::new(move || clock.now()), options)
            .map_err(Error::host("listen on loopback for the forge"))?;
        let settings = settings(&wire.url(), address, &dir);
        let events = tokio::spawn(events(world.clone(), clock));
        let server = None;
        let mut host =
            Self { clock, factor, wire, world, settings, address, server, events, _dir: dir };
        host.serve(listener)?;
        Ok(host)
    }

    /// Where the real server listens.
    pub(super) fn server_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The pretended world. Its lock is taken before the forge's.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// The server dies without a word, as by `kill -9`, and another starts on what it has written.
    pub(super) async fn restart(&mut self) -> Result<(), Error> {
        if let Some(server) = self.server.take() {
            server.abort();
            // It was asked to end; how it did is of no interest.
            let _ = server.await;
        }
        let end = Instant::now() + LETS_GO;
        loop {
            let again = match listen(self.address).await {
                Ok(listener) => self.serve(listener),
                Err(error) => Err(error),
            };
            match again {
                Err(_) if Instant::now() < end => {
                    // Its last tasks still hold the port or the file.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                done => return done,
            }
        }
    }

    /// Ends the server and all that is pretended.
    pub(super) async fn end(mut self) {
        if let Some(server) = self.server.take() {
            server.abort();
            let _ = server.await;
        }
        self.events.abort();
        self.wire.stop().await;
    }

    fn serve(&mut self, listener: TcpListener) -> Result<(), Error> {
        let parts = self.parts()?;
        let quick = |duration: SignedDuration| self.clock.real(duration);
        let usual = Paces::of(&self.settings);
        let paces = Paces {
            poll: quick(self.settings.forge.poll_every),
            sweep: quick(self.settings.forge.sweep_every),
            due: quick(SignedDuration::from_secs(1)),
            hint_gap: quick(SignedDuration::from_secs(1)),
            ..usual
        };
        let forever = std::future::pending();
        self.server = Some(tokio::spawn(server::serve(parts, listener, paces, Role::All, forever)));
        Ok(())
    }

    /// As `serve` builds them, but for the machines and the clock.
    fn parts(&self) -> Result<Parts, Error> {
        let part = |part, error: &dyn std::error::Error| Error::Part {
            part,
            message: tinqs_ci_reconciler::text::chain(error),
        };
        let StoreUrl::Redb(dir) = &self.settings.store else { unreachable!("see `settings`") };
        let store = Store::open(dir).map_err(|error| part("store", &error))?;
        let client = Client::new(&self.settings.forge).map_err(|error| part("forge", &error))?;
        let compute: Arc<dyn Compute> = Arc::new(Mouth::live(self.world.clone()));
        let ports = Ports {
            clock: Arc::new(self.clock),
            store: Arc::new(store),
            queue: Arc::new(MemoryQueue::new()),
            compute,
            forge: Arc::new(client),
        };
        Ok(Parts::over(self.settings.clone(), ports, &server::replica()))
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(Error::host("listen on loopback"))
}

/// Lets happen in the world what is to happen by itself.
async fn events(world: Shared, clock: Quick) {
    loop {
        let next = {
            let mut world = lock(&world);
            world.advance();
            world.next_event()
        };
        let wait = clock.real(next.duration_since(clock.now()).max(SignedDuration::ZERO));
        tokio::time::sleep(wait.clamp(Duration::from_millis(1), Duration::from_millis(20))).await;
    }
}

fn settings(forge_url: &str, listen: SocketAddr, dir: &TempDir) -> Settings {
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
            poll_every: SignedDuration::from_secs(10),
            sweep_every: SignedDuration::from_secs(20),
        },
        store: StoreUrl::Redb(dir.path().to_owned()),
        queue: QueueUrl::Memory,
        // Machines are pretended: this is only shown.
        compute: ComputeUrl::Process(dir.path().join("machines")),
        server: Server { listen, api_token: None },
        classes: vec![class()],
    }
}

/// Spot machines, then on demand. Idle ones end themselves early, so that the story is short.
fn class() -> Class {
    let class = linux(SignedDuration::from_hours(168));
    let times = Times { idle_within: SignedDuration::from_secs(40), ..class.times.clone() };
    Class { times, ..class }
}
