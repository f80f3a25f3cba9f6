//! Loopback sockets that a handler can cut.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// All bytes get through.
pub(crate) const OPEN: u8 = 0;
/// The head and half of the body of the next response, then nothing.
pub(crate) const HALF: u8 = 1;
/// Nothing: the connection is reset.
pub(crate) const CUT: u8 = 2;

/// Controls what happens to the bytes of one connection from now on.
#[derive(Clone)]
pub(crate) struct Switch(Arc<AtomicU8>);

impl Switch {
    pub(crate) fn set(&self, to: u8) {
        self.0.store(to, Ordering::SeqCst);
    }

    fn get(&self) -> u8 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Connected<IncomingStream<'_, Gate>> for Switch {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.io().switch.clone()
    }
}

/// A listener that drops connections while its server is down.
pub(crate) struct Gate {
    listener: TcpListener,
    open: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Gate {
    pub(crate) fn new(
        listener: TcpListener,
        open: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { listener, open: Box::new(open) }
    }
}

impl Listener for Gate {
    type Io = Socket;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Socket, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    if (self.open)() {
                        let switch = Switch(Arc::new(AtomicU8::new(OPEN)));
                        return (Socket { stream, switch }, peer);
                    }
                }
                // Probably out of file descriptors: others may close theirs.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that its handler can cut.
pub(crate) struct Socket {
    stream: TcpStream,
    switch: Switch,
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.switch.get() {
            OPEN => Pin::new(&mut self.stream).poll_write(cx, buf),
            HALF => {
                // The head and half of the body; if they are written separately, the head alone.
                let head = buf.windows(4).position(|w| w == b"\r\n\r\n").map_or(0, |at| at + 4);
                let end = head + (buf.len() - head) / 2;
                let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..end]);
                if written.is_ready() {
                    self.switch.set(CUT);
                }
                written
            }
            _ => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
