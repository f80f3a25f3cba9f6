//! The address or the user at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::Extensions;

/// The other end of a connection; each request carries it as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Somebody at this address.
    Tcp(SocketAddr),
    /// A process of this user, whom the socket has admitted.
    Unix {
        /// The ID of the user.
        uid: u32,
    },
}

impl Peer {
    /// Returns the peer of a request; `None` if it came without a connection.
    pub(super) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().copied()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{}", address.ip().to_canonical()),
            Self::Unix { .. } => f.write_str("socket"),
        }
    }
}

/// The origin of connections that share one part of what the server has: an IPv4 address, or an
/// IPv6 network of 64 bits, of which one host can use every address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Client(IpAddr);

impl Client {
    pub(super) fn at(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(ip) => {
                let network = u128::from(ip) >> 64 << 64;
                Self(IpAddr::V6(Ipv6Addr::from(network)))
            }
            IpAddr::V4(ip) => Self(IpAddr::V4(ip)),
        }
    }

    /// Returns the client of a request. Requests without a connection share one part.
    pub(super) fn of(extensions: &Extensions) -> Self {
        match Peer::of(extensions) {
            Some(Peer::Tcp(address)) => Self::at(address.ip()),
            Some(Peer::Unix { .. }) | None => Self::at(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_one_host_are_one_client() {
        let client = |text: &str| Client::at(text.parse().expect("an address"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:10.0.0.1"), client("10.0.0.1"));
        assert_ne!(client("10.0.0.1"), client("10.0.0.2"));
    }
}
