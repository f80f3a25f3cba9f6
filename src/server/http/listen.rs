//! Accepts connections and limits their number and duration; takes their TLS handshake.
//!
//! This file limits the number of connections, in all and of one client, the time until a request's
//! head has arrived (also between two requests), the size of the head, the time for which a client
//! takes nothing of what is written to it, and the lifetime of a connection. The router limits the
//! body's size and time, and the response's time. A slow sender or reader therefore holds one
//! connection for a limited time and little memory, and however many one client opens, the next
//! client gets one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tinqs_ci_net::{Identity, TlsStream};
use tinqs_ci_reconciler::text::cut;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tower::ServiceExt as _;

use super::peer::{Client, Peer};
use super::progress::Progressing;
use super::shares::{Place, Shares};
use crate::server::live::Live;
use crate::server::state::stopped;

/// The maximum size of a request's head, in bytes.
const HEAD_LIMIT: usize = 64 * 1024;
const HEADERS_LIMIT: usize = 100;
/// The pause after a failed accept (such as out of file descriptors), to avoid a busy loop.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The time limits of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Until a request's head has arrived.
    head: Duration,
    /// While a write makes no progress.
    pub(super) write: Duration,
    /// After this time the connection accepts no further request.
    life: Duration,
    /// This long after `life`, or after the server stops, the connection is dropped. Longer than
    /// any response takes.
    last_words: Duration,
}

pub(super) const BOUNDS: Bounds = Bounds {
    head: Duration::from_secs(10),
    write: Duration::from_secs(30),
    life: Duration::from_mins(5),
    last_words: Duration::from_secs(70),
};

/// Serves until the server stops, then waits for requests in progress. The caller limits that
/// time. `most` is the number of connections, without those that follow events, which have a limit
/// of their own; of a client that holds as many as are left, more are closed. Each connection gets
/// the certificate that is in force when it begins.
pub async fn listen(
    listener: TcpListener,
    router: Router,
    most: usize,
    live: Arc<Live>,
    stopping: watch::Receiver<bool>,
) {
    let identity = move || live.settings().server.tls.as_ref().map(|tls| tls.identity.clone());
    within(BOUNDS, listener, router, most, identity, stopping).await;
}

async fn within(
    bounds: Bounds,
    listener: TcpListener,
    router: Router,
    most: usize,
    identity: impl Fn() -> Option<Identity>,
    mut stopping: watch::Receiver<bool>,
) {
    let shares = Shares::new(most);
    let mut connections = JoinSet::new();
    loop {
        // Remove ended connections.
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stopped(&mut stopping) => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "cannot accept connection, will retry");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(share) = shares.take(Client::at(address.ip())) else {
            tracing::debug!(from = %address.ip(), "closed connection, its client has too many");
            continue;
        };
        // Send small responses at once; if the option cannot be set, they are only delayed.
        let _ = stream.set_nodelay(true);
        let (router, mut stopping, identity) = (router.clone(), stopping.clone(), identity());
        connections.spawn(async move {
            let (peer, place) = (Peer::Tcp(address), Place::new(share));
            // Below TLS, which has a buffer of its own.
            let stream = Progressing::new(stream, bounds.write);
            match identity {
                None => connection(bounds, stream, peer, place, router, stopping).await,
                // In the share of its client: unfinished handshakes keep nobody else out.
                Some(identity) => {
                    if let Some(stream) =
                        secured(bounds, identity, stream, address, &mut stopping).await
                    {
                        connection(bounds, stream, peer, place, router, stopping).await;
                    }
                }
            }
        });
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Takes the handshake. Without one in time the connection is closed: that is as common as a scan of
/// ports, so it is no warning.
async fn secured(
    bounds: Bounds,
    identity: Identity,
    stream: Progressing<TcpStream>,
    from: SocketAddr,
    stopping: &mut watch::Receiver<bool>,
) -> Option<TlsStream<Progressing<TcpStream>>> {
    let why = tokio::select! {
        () = stopped(stopping) => return None,
        taken = timeout(bounds.head, identity.accept(stream)) => match taken {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => cut(&error.to_string(), 200),
            Err(_) => "it did not end in time".to_owned(),
        },
    };
    tracing::debug!(from = %from.ip(), why, "closed connection, no TLS handshake");
    None
}

/// Serves one connection, whose requests may leave its `place`.
pub(super) async fn connection(
    bounds: Bounds,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    peer: Peer,
    place: Place,
    router: Router,
    mut stopping: watch::Receiver<bool>,
) {
    let service = router.map_request(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(place.clone());
        request
    });
    let service = TowerToHyperService::new(service);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // A client that closes its sending side still gets the response. Also, hyper then does not
        // read the next request, to detect a disconnect, while one is answered.
        .half_close(true)
        .header_read_timeout(bounds.head)
        .max_buf_size(HEAD_LIMIT)
        .max_headers(HEADERS_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let life = Instant::now() + bounds.life;
    // Ignore why a connection ended.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopped(&mut stopping) => {}
        () = sleep_until(life) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection.as_mut() => {}
        () = sleep(bounds.last_words) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::Body;
    use axum::routing::get;
    use futures_util::stream::unfold;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::mpsc;

    use super::*;

    /// The longest wait for an expected event.
    const PATIENCE: Duration = Duration::from_secs(20);
    const LONG: Duration = Duration::from_mins(5);
    const ENDLESS: Bounds = Bounds { head: LONG, write: LONG, life: LONG, last_words: LONG };

    async fn serve(bounds: Bounds) -> (SocketAddr, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopping) = watch::channel(false);
        let never = || async { std::future::pending::<&'static str>().await };
        let router = Router::new().route("/", get(|| async { "here" })).route("/never", get(never));
        tokio::spawn(within(bounds, listener, router, 512, || None, stopping));
        (address, stop)
    }

    /// Tells when it is dropped.
    struct DropSignal(mpsc::Sender<()>);

    impl Drop for DropSignal {
        fn drop(&mut self) {
            let _ = self.0.try_send(());
        }
    }

    /// Serves an answer without an end. The receiver is told when it is dropped.
    async fn serve_endless(bounds: Bounds) -> (TcpStream, mpsc::Receiver<()>, watch::Sender<bool>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (stop, stopping) = watch::channel(false);
        let (dropped, told) = mpsc::channel(1);
        let answer = move || {
            let told = DropSignal(dropped.clone());
            let stream = unfold(told, |told| async move {
                Some((Ok::<_, Infallible>(vec![b'x'; 64 * 1024]), told))
            });
            async move { Body::from_stream(stream) }
        };
        let router = Router::new().route("/", get(answer));
        tokio::spawn(within(bounds, listener, router, 512, || None, stopping));
        let mut client = TcpStream::connect(address).await.expect("it listens");
        let request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        client.write_all(request).await.expect("written");
        (client, told, stop)
    }

    /// Sends, and reads until the connection ends.
    async fn until_closed(address: SocketAddr, text: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(text.as_bytes()).await.expect("written");
        let mut answer = Vec::new();
        let closed = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        // A clean close and a reset are the same here.
        let _ = closed.expect("the connection is closed");
        String::from_utf8(answer).expect("UTF-8")
    }

    #[tokio::test]
    async fn slow_heads_and_idle_connections_are_closed() {
        let head = Duration::from_secs(1);
        let bounds = Bounds { head, ..ENDLESS };
        let (address, _stop) = serve(bounds).await;
        until_closed(address, "GET / HTTP/1.1\r\nhost: local").await;
        until_closed(address, "").await;
        let answer = until_closed(address, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert!(answer.ends_with("here"), "{answer}");
    }

    #[tokio::test]
    async fn a_connection_is_closed_after_its_lifetime() {
        let (life, last_words) = (Duration::from_secs(1), Duration::from_secs(1));
        let (address, _stop) = serve(Bounds { life, last_words, ..ENDLESS }).await;
        let answer = until_closed(address, "GET /never HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert_eq!(answer, "");
        let answer = until_closed(address, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        assert!(answer.ends_with("here"), "{answer}");
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_loses_its_answer_and_a_slow_one_keeps_it() {
        let write = Duration::from_secs(5);
        let (idle, mut dropped, _stop) = serve_endless(Bounds { write, ..ENDLESS }).await;
        let ended = timeout(PATIENCE, dropped.recv()).await;
        assert_eq!(ended, Ok(Some(())), "the answer of the idle client is dropped");
        drop(idle);

        let (mut slow, mut dropped, _stop) = serve_endless(Bounds { write, ..ENDLESS }).await;
        let mut taken = 0;
        let end = Instant::now() + write * 3 / 2;
        let mut part = vec![0; 1024 * 1024];
        while Instant::now() < end {
            sleep(Duration::from_millis(50)).await;
            taken += slow.read(&mut part).await.expect("it is open");
        }
        assert!(taken > part.len(), "{taken} bytes");
        assert_eq!(dropped.try_recv(), Err(mpsc::error::TryRecvError::Empty), "it is served");
    }

    #[tokio::test]
    async fn idle_connections_end_with_the_server() {
        let (address, stop) = serve(ENDLESS).await;
        let idle = tokio::spawn(async move {
            until_closed(address, "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await
        });
        // Once this request is answered, the other connection is idle.
        let text = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        until_closed(address, text).await;
        stop.send(true).expect("it serves");
        let answer = idle.await.expect("no panic");
        assert!(answer.is_empty() || answer.ends_with("here"), "{answer}");
    }
}
