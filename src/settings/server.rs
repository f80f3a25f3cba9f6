//! Reads `[server]`: its addresses and tokens.

use std::net::SocketAddr;

use tinqs_ci_reconciler::model::Secret;
use tinqs_ci_reconciler::text::cut;

use super::log_filter::log_filter;
use super::reader::Reader;
use super::tls::tls;
use super::tree::{Place, Value};
use super::types::{Right, Server, Token};

/// The length, in bytes, below which a secret causes a warning.
const SHORT: usize = 16;

/// Parses an IP address and a port.
pub(crate) fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let port = text.strip_prefix(':').or_else(|| text.strip_prefix("*:"));
    if let Some(port) = port.and_then(|port| port.parse::<u16>().ok()) {
        return Err(format!(
            "\"{}\" has no IP address: expected \"127.0.0.1:{port}\", or \"0.0.0.0:{port}\" for all",
            cut(text, 20)
        ));
    }
    if let Some(port) = text.strip_prefix("localhost:") {
        return Err(format!(
            "\"localhost\" is a host name: expected \"127.0.0.1:{}\"",
            cut(port, 10)
        ));
    }
    Err(String::new())
}

/// Reads the table. `webhook_secrets` are those of the forge beside the first.
pub(super) fn server(r: &Reader<'_>, webhook_secrets: Vec<Secret>) -> Server {
    let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let (webhooks, api) = (r.parsed("webhooks", listen), r.parsed("api", listen));
    let metrics = r.parsed("metrics", listen);
    different(r, &[("webhooks", webhooks), ("api", api), ("metrics", metrics)]);
    Server {
        webhooks: webhooks.unwrap_or_else(|| loopback(8080)),
        api: api.unwrap_or_else(|| loopback(8081)),
        metrics,
        tls: tls(r),
        hosts: r.texts("hosts").unwrap_or_default(),
        event_clients: r.count("event_clients").unwrap_or(256),
        tokens: tokens(r),
        own_token: None,
        webhook_secrets,
        log: r.parsed("log", log_filter),
        emf: r.switch("emf"),
    }
}

/// Rejects an address that two keys name.
fn different(r: &Reader<'_>, addresses: &[(&str, Option<SocketAddr>)]) {
    for (index, (name, address)) in addresses.iter().enumerate() {
        let Some(address) = address.filter(|address| address.port() != 0) else { continue };
        let same = |(_, other): &&(&str, Option<SocketAddr>)| *other == Some(address);
        if let Some((other, _)) = addresses[..index].iter().find(same) {
            // The message is about the one that is set, if the other one is a default.
            let (here, there) = if r.has(name) { (name, other) } else { (other, name) };
            let message = format!("{address} is `server.{there}` already: use another port");
            r.mistake(here, &message);
        }
    }
}

/// Reads the tokens, by their tables or as one by a variable.
fn tokens(r: &Reader<'_>) -> Vec<Token> {
    let by_variable = |place: &Place| matches!(place, Place::Variable(_));
    if let Some(node) = r.node("token")
        && by_variable(&node.at)
        && matches!(node.value, Value::Text(_) | Value::Table(_))
    {
        let secret = r.secret("token");
        warn_if_short(r, "token", secret.as_ref());
        let name = "environment".to_owned();
        return secret
            .map(|secret| Token { name, secret, may: Right::Operate })
            .into_iter()
            .collect();
    }
    let mut tokens: Vec<Token> = Vec::new();
    for table in r.tables("token") {
        let name = table.text("name").map(std::borrow::Cow::into_owned).unwrap_or_default();
        if tokens.iter().any(|other| other.name == name && !name.is_empty()) {
            table.mistake("name", &format!("\"{}\" is used by two tokens", cut(&name, 40)));
        }
        if !table.has("secret") {
            table.missing("secret");
        }
        let secret = table.secret("secret");
        warn_if_short(&table, "secret", secret.as_ref());
        let may = match table.text("may").as_deref() {
            Some("operate") => Right::Operate,
            _ => Right::Read,
        };
        tokens.extend(secret.map(|secret| Token { name, secret, may }));
    }
    tokens
}

/// Warns about a secret that is short, but not so short that there is another warning.
pub(super) fn warn_if_short(r: &Reader<'_>, name: &str, secret: Option<&Secret>) {
    if secret.is_some_and(|secret| secret.expose().len() < SHORT && !secret.is_short()) {
        r.warn(
            name,
            "is shorter than 16 characters: create a longer one with `openssl rand -hex 32`",
        );
    }
}
