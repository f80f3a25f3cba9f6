//! Finds the server that a command asks: the one that is named, else the one of this host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use tinqs_ci_net::Trust;
use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::{cut, escape};

use super::args::Server;
use super::client;
use super::failure::Failure;
use crate::settings::{Env, LocalServer};

/// The variable that names a file of authorities.
const CA_FILE: &str = "TINQS_CI_CA_FILE";

/// The address of a server, and what it needs to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    /// Its address; with a socket only a placeholder.
    pub(super) url: String,
    /// The address of its page, for a browser.
    pub(super) page: String,
    /// Its socket, if it has one and this user may connect.
    pub(super) socket: Option<PathBuf>,
    /// The token.
    pub(super) token: Option<Secret>,
    /// The servers that are believed to be it.
    pub(super) trust: Trust,
}

impl Reach {
    /// Finds the server that `--server` or `TINQS_CI_URL` names; without them, the one that the
    /// configuration beside the command describes.
    pub(super) fn find(server: &Server, env: &Env) -> Result<Self, Failure> {
        let given = match &server.token_file {
            Some(file) => Some(token_of(file)?),
            None => variable(env, "TINQS_CI_API_TOKEN").map(Secret::new),
        };
        let url = server.url.as_deref().or_else(|| variable(env, "TINQS_CI_URL"));
        let trust = match &server.ca_file {
            Some(file) => Some(authorities(file, "--ca-file")?),
            None => authorities_of(env)?,
        };
        match url {
            Some(url) => Ok(Self::named(url, given, trust)),
            None => Self::beside(None, env, given, trust),
        }
    }

    /// Finds the server of the configuration, unless a variable names another one.
    pub(super) fn of(config: Option<&Path>, env: &Env) -> Result<Self, Failure> {
        let given = variable(env, "TINQS_CI_API_TOKEN").map(Secret::new);
        let trust = authorities_of(env)?;
        match variable(env, "TINQS_CI_URL") {
            Some(url) => Ok(Self::named(url, given, trust)),
            None => Self::beside(config, env, given, trust),
        }
    }

    /// A configured token is not sent to a server that is named.
    fn named(url: &str, token: Option<Secret>, trust: Option<Trust>) -> Self {
        let (url, page) = (url.to_owned(), url.to_owned());
        Self { url, page, socket: None, token, trust: trust.unwrap_or_default() }
    }

    fn beside(
        config: Option<&Path>,
        env: &Env,
        given: Option<Secret>,
        trust: Option<Trust>,
    ) -> Result<Self, Failure> {
        let LocalServer { sockets, api, token, cert, hosts } = LocalServer::find(config, env)?;
        let scheme = if cert.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", local_address(api));
        let page = match hosts.first() {
            // The name that the certificate is for; on loopback it is that of a proxy.
            Some(host) if cert.is_some() && !api.ip().is_loopback() => {
                format!("https://{host}:{}", api.port())
            }
            _ => url.clone(),
        };
        let is_there = |path: &PathBuf| std::os::unix::net::UnixStream::connect(path).is_ok();
        // A given token says who calls, which the socket does not.
        let socket = sockets.into_iter().filter(|_| given.is_none()).find(is_there);
        let trust = match (cert, &socket) {
            (Some(cert), None) => own_certificate(&cert).or_else(|failure| trust.ok_or(failure))?,
            _ => Trust::System,
        };
        let mut token = given.or(token);
        if token.is_none() && socket.is_none() {
            // A server creates its token before it listens: of one that starts just now it is there.
            TcpStream::connect(local_address(api)).map_err(|error| client::Error::Unreachable {
                url: format!("{url}/"),
                why: error.to_string(),
            })?;
            token = LocalServer::find(config, env)?.token;
        }
        Ok(Self { url, page, socket, token, trust })
    }

    /// Returns a client of it, without connecting.
    pub(super) fn client(&self) -> Result<client::Client, Failure> {
        let Self { url, page: _, socket, token, trust } = self;
        Ok(match socket {
            Some(socket) => client::Client::at_socket(socket)?,
            None => client::Client::new(url, token.clone(), trust)?,
        })
    }
}

/// Believes the certificate of the configuration, whatever its names: this host calls the address
/// that the server listens on.
fn own_certificate(file: &Path) -> Result<Trust, Failure> {
    let shown = cut(&escape(&file.to_string_lossy()), 200);
    let read = std::fs::read(file).map_err(|error| error.to_string());
    let trust = read.and_then(|text| Trust::only(&text).map_err(|flaw| flaw.to_string()));
    trust.map_err(|why| {
        Failure::usage(format!("cannot read `server.tls.cert`, the file {shown}: {why}")).hint(
            "run this as a user that can read it, or name the server with --server \
             https://NAME:PORT",
        )
    })
}

/// Returns the authorities that `TINQS_CI_CA_FILE` names.
pub(super) fn authorities_of(env: &Env) -> Result<Option<Trust>, Failure> {
    let file = variable(env, CA_FILE);
    file.map(|file| authorities(Path::new(file), CA_FILE)).transpose()
}

fn authorities(file: &Path, given_by: &str) -> Result<Trust, Failure> {
    let shown = cut(&escape(&file.to_string_lossy()), 200);
    let read = std::fs::read(file).map_err(|error| error.to_string());
    let trust = read.and_then(|text| Trust::also(&text).map_err(|flaw| flaw.to_string()));
    trust.map_err(|why| {
        Failure::usage(format!("{given_by} {shown}: {why}"))
            .hint("name a file with the certificates of authorities in PEM")
    })
}

fn variable<'e>(env: &'e Env, name: &str) -> Option<&'e str> {
    env.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

fn token_of(file: &Path) -> Result<Secret, Failure> {
    let shown = escape(&file.to_string_lossy());
    let hint = "name a file that holds a token of `server.token`";
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(format!("--token-file {}: {error}", cut(&shown, 200))).hint(hint)
    })?;
    let token = text.trim();
    if token.is_empty() || token.contains(char::is_control) {
        let message = format!("--token-file {}: it holds no token", cut(&shown, 200));
        return Err(Failure::usage(message).hint(hint));
    }
    Ok(Secret::new(token))
}

/// Returns the address at which this host reaches a server that listens at `listen`.
pub(super) fn local_address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_on_all_addresses_is_reached_on_loopback() {
        for (listen, expected) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.5:80", "10.0.0.5:80"),
        ] {
            let expected = expected.parse().expect("an address");
            assert_eq!(local_address(listen.parse().expect("an address")), expected);
        }
    }
}
