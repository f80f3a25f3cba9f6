//! Gitea over HTTP/1.1 on loopback: the API, the runner protocol in JSON, and signed webhooks, all
//! over one [`Forge`].

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
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::task::JoinHandle;

pub use faults::{Fault, Faults, Mixture};
pub use hooks::{Hook, HookScope};

use crate::forge::{Forge, Webhook};

/// Returns a client builder with TLS by `ring`.
pub fn http_client() -> reqwest::ClientBuilder {
    // Fails only if the process has a provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
}

/// The current time, real or simulated.
pub type WireClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
type Predicate = Box<dyn Fn(&Webhook) -> bool + Send + Sync>;

/// The permissions of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Site admin: everything.
    Admin,
    /// Owner of everything: all but `/admin`.
    Owner,
    /// Read access to repositories and, since 1.26, jobs.
    Read,
}

/// An access token for the API.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Value after `Authorization: token`.
    pub token: String,
    /// Its permissions.
    pub right: Right,
}

/// Configuration of the wire.
#[derive(Clone)]
pub struct WireOptions {
    /// Port on 127.0.0.1; 0: any free port.
    pub port: u16,
    /// Tokens known at first.
    pub tokens: Vec<ApiToken>,
    /// The user behind `/user`.
    pub user: String,
    /// Delay of a webhook after its event. A live server took 2 to 4.5 s.
    pub webhook_delay: Duration,
    /// `DELIVER_TIMEOUT`.
    pub webhook_timeout: Duration,
    /// `[webhook] SKIP_TLS_VERIFY`: whether webhooks go to servers whatever their certificate.
    pub skip_tls_verify: bool,
    /// Initial hooks.
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
            skip_tls_verify: false,
            hooks: Vec::new(),
        }
    }
}

/// Counters of events so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Webhooks that got a 2xx response.
    pub sent: u64,
    /// Webhooks that were never sent.
    pub lost: u64,
    /// Webhooks that were refused, got another response, or timed out.
    pub failed: u64,
    /// Requests by method and route: `GET /admin/actions/jobs`.
    pub calls: BTreeMap<String, u64>,
}

/// State shared by handlers, deliveries and controls.
struct Shared {
    forge: Arc<Mutex<Forge>>,
    clock: WireClock,
    options: WireOptions,
    client: reqwest::Client,
    state: Mutex<State>,
}

/// Mutable state. Its lock is held briefly, never across an await.
struct State {
    tokens: Vec<ApiToken>,
    faults: Faults,
    counters: Counters,
    webhook_delay: Duration,
    /// Whether `ALLOWED_HOST_LIST` lacks the targets of all hooks.
    refuses_hosts: bool,
    hooks: Vec<Hook>,
    last_hook: i64,
    /// Requested test deliveries.
    tests: Vec<(Hook, Webhook)>,
    lose_next: usize,
    lose_if: Option<Predicate>,
    /// First pages requested so far: up to 1.26, the order of job lists changes with each.
    lists: u64,
    logs: BTreeMap<i64, Vec<String>>,
    stopped: bool,
}

impl Shared {
    fn forge(&self) -> MutexGuard<'_, Forge> {
        self.forge.lock()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// A running server. Stops when dropped.
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
    /// Binds and serves. Must be called in a tokio runtime. Sets the forge's URL to this server.
    pub fn start(
        forge: Arc<Mutex<Forge>>,
        clock: WireClock,
        options: WireOptions,
    ) -> io::Result<Self> {
        let client = http_client()
            .no_proxy()
            .timeout(options.webhook_timeout)
            .tls_danger_accept_invalid_certs(options.skip_tls_verify)
            .build()
            .map_err(io::Error::other)?;
        let mut hooks = options.hooks.clone();
        for (hook, id) in hooks.iter_mut().zip(1..) {
            hook.id = id;
        }
        let state = State {
            tokens: options.tokens.clone(),
            faults: Faults::default(),
            counters: Counters::default(),
            webhook_delay: options.webhook_delay,
            refuses_hosts: false,
            last_hook: hooks.last().map_or(0, |h| h.id),
            hooks,
            tests: Vec::new(),
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

    /// Returns the instance's URL: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the port, for a later start on the same one.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Stops listening, cuts open connections and drops unsent webhooks. Hooks and the forge stay,
    /// for `resume`.
    pub async fn stop(&self) {
        self.shared.state().stopped = true;
        let running = self.running.lock().take();
        let Some(Running { mut server, pump, stop }) = running else { return };
        pump.abort();
        // The server may have stopped already.
        let _ = stop.send(());
        if tokio::time::timeout(Duration::from_secs(2), &mut server).await.is_err() {
            server.abort();
            // The port is free once the task has ended.
            let _ = server.await;
        }
    }

    /// Serves again on the same port after `stop`.
    pub fn resume(&self) -> io::Result<()> {
        let mut running = self.running.lock();
        if running.is_none() {
            *running = Some(Self::serve(&self.shared, self.address.port())?.1);
        }
        Ok(())
    }

    /// Locks the forge behind the wire, to push, cancel and rerun.
    pub fn forge(&self) -> MutexGuard<'_, Forge> {
        self.shared.forge()
    }

    /// Replaces the accepted tokens, as when one is revoked or created.
    pub fn tokens(&self, tokens: Vec<ApiToken>) {
        self.shared.state().tokens = tokens;
    }

    /// Changes the faults from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.shared.state().faults);
    }

    /// Changes the delay of webhooks after their events.
    pub fn webhook_delay(&self, delay: Duration) {
        self.shared.state().webhook_delay = delay;
    }

    /// Takes the targets of all hooks from `ALLOWED_HOST_LIST`, or allows them again.
    pub fn refuse_hosts(&self, refuse: bool) {
        self.shared.state().refuses_hosts = refuse;
    }

    /// Drops the next `count` webhooks.
    pub fn lose_webhooks(&self, count: usize) {
        self.shared.state().lose_next = count;
    }

    /// Drops webhooks for which `lost` holds, until called again. `lost` must not call the wire.
    pub fn lose_webhooks_if(&self, lost: impl Fn(&Webhook) -> bool + Send + Sync + 'static) {
        self.shared.state().lose_if = Some(Box::new(lost));
    }

    /// Adds a hook, as an operator does in the web interface, and returns its ID.
    pub fn add_hook(&self, hook: Hook) -> i64 {
        self.shared.state().add_hook(hook)
    }

    /// Changes a hook, as an operator does in the web interface.
    pub fn change_hook(&self, id: i64, change: impl FnOnce(&mut Hook)) {
        if let Some(hook) = self.shared.state().hooks.iter_mut().find(|hook| hook.id == id) {
            change(hook);
        }
    }

    /// Returns all hooks.
    pub fn hooks(&self) -> Vec<Hook> {
        self.shared.state().hooks.clone()
    }

    /// Returns the counters so far.
    pub fn counters(&self) -> Counters {
        self.shared.state().counters.clone()
    }

    /// Returns the lines of a task's log.
    pub fn log(&self, task_id: i64) -> Vec<String> {
        self.shared.state().logs.get(&task_id).cloned().unwrap_or_default()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.state().stopped = true;
        let running = self.running.get_mut().take();
        if let Some(Running { server: _, pump, stop }) = running {
            pump.abort();
            let _ = stop.send(());
        }
    }
}
