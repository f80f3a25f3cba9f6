//! Gitea over HTTP/1.1 on loopback: the API, the runner protocol in JSON and signed webhooks, all of
//! one [`Forge`].

mod answer;
mod api;
mod call;
mod contents;
mod faults;
mod hooks;
mod registration;
mod rpc;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinHandle;

pub use faults::{Fault, Faults, Mixture};
pub use hooks::{Hook, HookScope};

use crate::forge::{Forge, Webhook};

/// A client to be set up. Nothing here is encrypted, but a client wants a TLS library all the same.
pub fn http_client() -> reqwest::ClientBuilder {
    // Refused only where the process has one already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// What time it is; the real clock or a pretended one.
pub type WireClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
type Predicate = Box<dyn Fn(&Webhook) -> bool + Send + Sync>;

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// A site admin's token: everything.
    Admin,
    /// A token of the owner of everything: all but `/admin`.
    Owner,
    /// Reading repositories and, from 1.26 on, jobs.
    Read,
}

/// An access token for the API.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// What stands after `Authorization: token`.
    pub token: String,
    /// What it may do.
    pub right: Right,
}

/// How the wire is set up.
#[derive(Clone)]
pub struct WireOptions {
    /// On 127.0.0.1; 0: any free one.
    pub port: u16,
    /// The tokens that are known.
    pub tokens: Vec<ApiToken>,
    /// The user behind `/user`.
    pub user: String,
    /// How long after its event a webhook is sent. A live server took 2 to 4.5 s.
    pub webhook_delay: Duration,
    /// `DELIVER_TIMEOUT`.
    pub webhook_timeout: Duration,
    /// Hooks that are there from the start.
    pub hooks: Vec<Hook>,
}

impl Default for WireOptions {
    fn default() -> Self {
        Self {
            port: 0,
            tokens: vec![ApiToken { token: "api-token".to_owned(), right: Right::Admin }],
            user: "ci".to_owned(),
            webhook_delay: Duration::ZERO,
            webhook_timeout: Duration::from_secs(5),
            hooks: Vec::new(),
        }
    }
}

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Webhooks that were answered with 2xx.
    pub sent: u64,
    /// Webhooks that were never sent.
    pub lost: u64,
    /// Webhooks that were refused, answered otherwise or too late.
    pub failed: u64,
    /// Requests, by method and route: `GET /admin/actions/jobs`.
    pub calls: BTreeMap<String, u64>,
}

/// What handlers, deliveries and controls share.
struct Shared {
    forge: Arc<Mutex<Forge>>,
    clock: WireClock,
    options: WireOptions,
    client: reqwest::Client,
    state: Mutex<State>,
}

/// What changes at run time. Held for moments, never over an await.
struct State {
    faults: Faults,
    counters: Counters,
    webhook_delay: Duration,
    hooks: Vec<Hook>,
    last_hook: i64,
    lose_next: usize,
    lose_if: Option<Predicate>,
    /// First pages asked for: the order of job lists up to 1.26 changes with each.
    lists: u64,
    logs: BTreeMap<i64, Vec<String>>,
    stopped: bool,
}

impl Shared {
    fn forge(&self) -> MutexGuard<'_, Forge> {
        self.forge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// A running server. Dropped, it stops.
pub struct Wire {
    shared: Arc<Shared>,
    address: SocketAddr,
    running: Mutex<Option<Running>>,
}

struct Running {
    server: JoinHandle<()>,
    pump: JoinHandle<()>,
    stop: tokio::sync::oneshot::Sender<()>,
}

impl Wire {
    /// Binds and serves; to be called in a tokio runtime. The forge's URL becomes this server's.
    pub fn start(
        forge: Arc<Mutex<Forge>>,
        clock: WireClock,
        options: WireOptions,
    ) -> io::Result<Self> {
        let client = http_client()
            .no_proxy()
            .timeout(options.webhook_timeout)
            .build()
            .map_err(io::Error::other)?;
        let mut hooks = options.hooks.clone();
        for (hook, id) in hooks.iter_mut().zip(1..) {
            hook.id = id;
        }
        let state = State {
            faults: Faults::default(),
            counters: Counters::default(),
            webhook_delay: options.webhook_delay,
            last_hook: hooks.last().map_or(0, |h| h.id),
            hooks,
            lose_next: 0,
            lose_if: None,
            lists: 0,
            logs: BTreeMap::new(),
            stopped: false,
        };
        let port = options.port;
        let shared = Arc::new(Shared { forge, clock, options, client, state: Mutex::new(state) });
        let (address, running) = Self::serve(&shared, port)?;
        shared.forge().config.url = format!("http://{address}");
        Ok(Self { shared, address, running: Mutex::new(Some(running)) })
    }

    fn serve(shared: &Arc<Shared>, port: u16) -> io::Result<(SocketAddr, Running)> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        shared.state().stopped = false;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let server = tokio::spawn(server::run(Arc::clone(shared), listener, stopped));
        let pump = tokio::spawn(hooks::pump(Arc::clone(shared)));
        Ok((address, Running { server, pump, stop }))
    }

    /// `http://127.0.0.1:port`; the instance's URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port, for a later start at the same place.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Stops listening, cuts what is open and forgets webhooks that were not sent yet. Hooks and the
    /// forge stay, for `resume`.
    pub async fn stop(&self) {
        self.shared.state().stopped = true;
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { mut server, pump, stop }) = running else { return };
        pump.abort();
        // Nobody may be listening any more; then it has stopped by itself.
        let _ = stop.send(());
        if tokio::time::timeout(Duration::from_secs(2), &mut server).await.is_err() {
            server.abort();
            // The port is free once the task is gone.
            let _ = server.await;
        }
    }

    /// Serves again on the same port after `stop`.
    pub fn resume(&self) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_none() {
            *running = Some(Self::serve(&self.shared, self.address.port())?.1);
        }
        Ok(())
    }

    /// The forge behind it: push, cancel and re-run there.
    pub fn forge(&self) -> MutexGuard<'_, Forge> {
        self.shared.forge()
    }

    /// Changes what goes wrong from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.shared.state().faults);
    }

    /// Changes how long after its event a webhook is sent.
    pub fn webhook_delay(&self, delay: Duration) {
        self.shared.state().webhook_delay = delay;
    }

    /// The next `count` webhooks are never sent.
    pub fn lose_webhooks(&self, count: usize) {
        self.shared.state().lose_next = count;
    }

    /// Webhooks for which this holds are never sent, until it is called again. It must not call the
    /// wire itself.
    pub fn lose_webhooks_if(&self, lost: impl Fn(&Webhook) -> bool + Send + Sync + 'static) {
        self.shared.state().lose_if = Some(Box::new(lost));
    }

    /// Adds a hook, as an operator does in the web interface; answers its id.
    pub fn add_hook(&self, hook: Hook) -> i64 {
        self.shared.state().add_hook(hook)
    }

    /// All hooks.
    pub fn hooks(&self) -> Vec<Hook> {
        self.shared.state().hooks.clone()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        self.shared.state().counters.clone()
    }

    /// The log of a task, line by line.
    pub fn log(&self, task_id: i64) -> Vec<String> {
        self.shared.state().logs.get(&task_id).cloned().unwrap_or_default()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { server: _, pump, stop }) = running {
            pump.abort();
            let _ = stop.send(());
        }
    }
}
