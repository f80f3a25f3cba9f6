//! The addresses and the socket that the server listens on.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::http::{self, ApiSocket, Doors};
use super::live::Live;
use super::state::Error;
use crate::settings::{Env, Server, StoreUrl, data_socket, runtime_socket};

/// The maximum numbers of connections.
const WEBHOOKS: usize = 512;
const API: usize = 256;
const METRICS: usize = 32;

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
        if let Some(socket) = socket {
            loops.spawn(socket.serve(doors.api.clone(), stopping.clone()));
        }
        let mut serve = |listener, router, most| {
            loops.spawn(http::listen(listener, router, most, live.clone(), stopping.clone()));
        };
        serve(webhooks, doors.webhooks, WEBHOOKS);
        serve(api, doors.api, API);
        if let Some(metrics) = metrics {
            serve(metrics, doors.metrics, METRICS);
        }
    }
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| Error::Listen { address, key, source })
}
