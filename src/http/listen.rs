//! Connections: how many, how long, and how they end.
//!
//! Bounded here: connections at once, the time until a request's head is there (also between two
//! requests of a connection), the size of the head, and a connection's whole life. Bounded in the
//! router: the body's size and time, the answer's time. So a sender that drips, and a reader that
//! does not read, each hold one connection for a bounded time and no memory to speak of. What
//! remains is that enough addresses can hold all connections for that time: a matter for the
//! proxy in front, beyond loopback.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::serve::stopped;

/// Connections at once; more wait to be accepted.
const CONNECTIONS: usize = 512;
/// Until a request's head is there.
const HEAD_DEADLINE: Duration = Duration::from_secs(10);
/// A head's size, in bytes, and its number of headers.
const HEAD_LIMIT: usize = 64 * 1024;
const HEADERS_LIMIT: usize = 100;
/// After this a connection takes no further request; and so long later it is dropped.
const LIFE: Duration = Duration::from_secs(5 * 60);
const LAST_WORDS: Duration = Duration::from_secs(70);
/// After a failed accept (out of file descriptors): no hot loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until the server stops; then takes no connection any more and lets the requests under
/// way end. The caller bounds how long that may take.
pub async fn listen(listener: TcpListener, router: Router, mut stopping: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // Ended ones are forgotten.
        while connections.try_join_next().is_some() {}
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, stream) = tokio::select! {
            () = stopped(&mut stopping) => break,
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => (place, stream),
                Err(error) => {
                    tracing::warn!(error = %error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let (router, stopping) = (router.clone(), stopping.clone());
        connections.spawn(async move {
            connection(stream, router, stopping).await;
            drop(place);
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, mut stopping: watch::Receiver<bool>) {
    // Answers are small: each is sent at once. Where that cannot be set they come a little later.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .max_buf_size(HEAD_LIMIT)
        .max_headers(HEADERS_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let life = Instant::now() + LIFE;
    // How a connection broke off interests nobody.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopped(&mut stopping) => {}
        () = sleep_until(life) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection.as_mut() => {}
        () = sleep(LAST_WORDS) => {}
    }
}
