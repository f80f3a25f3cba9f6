//! The log on stderr: its filter and its start.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{lines, panic_message, short};
use crate::settings::Env;

/// Changes the filter of the running log.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Returns the log filter: `TINQS_CI_LOG`, else `RUST_LOG`, else the `configured` one.
pub fn filter<'a>(env: &'a Env, configured: Option<&'a str>) -> Option<&'a str> {
    let variable = |name| env.get(name).map(String::as_str).filter(|text| !text.trim().is_empty());
    variable("TINQS_CI_LOG").or_else(|| variable("RUST_LOG")).or(configured)
}

/// Parses a filter. If it is missing or invalid, the level is `info`; the flag: it is invalid.
fn targets(filter: Option<&str>) -> (Targets, bool) {
    let filter = filter.filter(|text| !text.trim().is_empty());
    let parsed = filter.map(str::parse::<Targets>);
    let refused = matches!(parsed, Some(Err(_)));
    let filter = match parsed {
        Some(Ok(filter)) => filter,
        Some(Err(_)) | None => Targets::new().with_default(LevelFilter::INFO),
    };
    // The SDK logs whole requests, which contain identities.
    (filter.with_target("aws_", LevelFilter::WARN), refused)
}

/// Replaces the filter of the running log; without one, nothing happens.
pub fn configure(filter: Option<&str>) {
    if let Some(handle) = FILTER.get() {
        // Fails only if the log is gone.
        let _ = handle.reload(targets(filter).0);
    }
}

/// Whether people read the log: it then has short lines instead of JSON.
pub fn for_people() -> bool {
    std::io::stderr().is_terminal()
}

/// Starts logging to stderr: short lines if stderr is a terminal, else JSON lines. `filter` is that
/// of [`filter`] (`info`, `debug`, `tinqs_ci=trace`); if it is missing or invalid, the level is
/// `info`. Panics are logged too. A second call does nothing.
pub fn init(filter: Option<&str>, replica: &str) {
    let (filter, refused) = targets(filter);
    let (filter, handle) = reload::Layer::new(filter);
    let form = if for_people() {
        lines::Form::Human {
            color: anstream::stderr().current_choice() != anstream::ColorChoice::Never,
        }
    } else {
        lines::Form::Json
    };
    let lines = lines::layer(form, replica, std::io::stderr);
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_err() {
        return;
    }
    let _ = FILTER.set(handle);
    if refused {
        tracing::warn!("invalid log filter, using `info`: expected `info` or `tinqs_ci=debug`");
    }
    std::panic::set_hook(Box::new(|panic| {
        let message = panic_message(panic.payload());
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, error = short(&message), "panicked: a bug, please report it");
    }));
}
