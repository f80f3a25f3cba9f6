//! The addresses and the socket that the server listens on.

use std::net::SocketAddr;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::http::{self, ApiSocket, Doors};
use super::live::Live;
use super::state::Error;
use crate::settings::{Env, Server, StoreUrl, data_socket, runtime_socket};

/// The maximum numbers of connections.
const WEBHOOKS: usize = 512;
const METRICS: usize = 32;
/// The number of connections to the API that one address can have at once beside those with which
/// clients begin to follow events.
const ORDINARY: usize = 128;
/// The number of open files that is left for all else: the store, machines of this host, calls.
const OTHER_FILES: usize = 512;

/// The listeners, bound before the server serves.
pub struct Listeners {
    /// Takes webhooks.
    pub webhooks: TcpListener,
    /// Serves the API.
    pub api: TcpListener,
    /// Serves metrics alone.
    pub metrics: Option<TcpListener>,
    /// Serves the API to processes of this host.
    pub socket: Option<ApiSocket>,
}

impl Listeners {
    /// Listens at the configured addresses.
    ///
    /// # Errors
    /// [`Error::Listen`] names the address and its key.
    pub async fn bind(server: &Server) -> Result<Self, Error> {
        let metrics = match server.metrics {
            Some(address) => Some(bind("server.metrics", address).await?),
            None => None,
        };
        Ok(Self {
            webhooks: bind("server.webhooks", server.webhooks).await?,
            api: bind("server.api", server.api).await?,
            metrics,
            socket: None,
        })
    }

    /// Adds the socket: in the directory of the service manager, else in the data directory. Where
    /// that is not possible, the log says so, and the address remains.
    pub(super) fn with_socket(
        mut self,
        env: &Env,
        store: &StoreUrl,
        machines: Option<&str>,
    ) -> Self {
        let beside = data_socket(store);
        let Some(path) = runtime_socket(env).or_else(|| beside.clone()) else {
            tracing::info!("no socket, the store is no directory of this host");
            return self;
        };
        match ApiSocket::bind(&path, beside.as_deref(), machines) {
            Ok(socket) => self.socket = Some(socket),
            Err(error) => tracing::warn!(
                path = %path.display(),
                error = %error,
                "no socket, commands use the address of the API",
            ),
        }
        self
    }

    /// Returns the address of the API.
    pub(super) fn api_address(&self) -> Option<SocketAddr> {
        self.api.local_addr().ok()
    }

    /// Serves these routes until the server stops, the addresses with the certificate in force.
    pub(super) fn serve(
        self,
        doors: Doors,
        live: &Arc<Live>,
        loops: &mut JoinSet<()>,
        stopping: &watch::Receiver<bool>,
    ) {
        let Self { webhooks, api, metrics, socket } = self;
        let event_clients = usize::try_from(live.settings().server.event_clients);
        let event_clients = event_clients.unwrap_or(usize::MAX);
        let most = api_connections(event_clients);
        allow_files(most.saturating_add(event_clients).saturating_add(WEBHOOKS + METRICS));
        if let Some(socket) = socket {
            loops.spawn(socket.serve(doors.api.clone(), stopping.clone()));
        }
        let mut serve = |listener, router, most| {
            loops.spawn(http::listen(listener, router, most, live.clone(), stopping.clone()));
        };
        serve(webhooks, doors.webhooks, WEBHOOKS);
        serve(api, doors.api, most);
        if let Some(metrics) = metrics {
            serve(metrics, doors.metrics, METRICS);
        }
    }
}

/// Returns the maximum number of connections to the API, without those that follow events. One
/// address gets half while nobody else has any: a proxy can send every client that follows events
/// at once, as after a restart, and other requests beside them.
fn api_connections(event_clients: usize) -> usize {
    event_clients.saturating_add(ORDINARY).saturating_mul(2)
}

/// Lets this process have so many connections, where its hard limit of open files allows.
fn allow_files(connections: usize) {
    let needed = connections.saturating_add(OTHER_FILES);
    let needed = u64::try_from(needed).unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile);
    // `None` is no limit.
    if limit.current.is_none_or(|current| current >= needed) {
        return;
    }
    let most = limit.maximum.map_or(needed, |maximum| maximum.min(needed));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most), ..limit });
    if raised.is_err() || most < needed {
        tracing::warn!(needed, most, "the limit of open files is below what connections may need");
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| Error::Listen { address, key, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_room_for_every_client_that_follows_events_and_for_other_requests() {
        for event_clients in [1, 256, 10_000] {
            // A client gets as many as it leaves: half.
            let share = api_connections(event_clients) / 2;
            assert_eq!(share, event_clients + ORDINARY);
        }
        assert_eq!(api_connections(usize::MAX), usize::MAX, "any number can be configured");
    }
}
