//! Ports for servers that are told where to listen.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that Linux gives to connections (`net.ipv4.ip_local_port_range`): one of those
/// may be taken between its choice and the start of the server.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;
/// Keeps the ports of processes that run at the same time apart.
const APART: u32 = 97;

/// Returns a port that is free now, and no other port that this process returned.
///
/// # Panics
/// If no port is free.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(APART);
    for _ in 0..COUNT {
        let next = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + begin.wrapping_add(next) % COUNT;
        let port = u16::try_from(port).expect("below 32,768");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("none of the ports {FIRST} to {} is free", FIRST + COUNT);
}
