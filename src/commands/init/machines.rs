//! The questions about the machines and this server's addresses.

use std::net::SocketAddr;
use std::num::NonZero;
use std::thread::available_parallelism;

use tinqs_ci_reconciler::text::cut;

use super::Flags;
use super::ask::Prompter;
use crate::commands::failure::Failure;
use crate::commands::webhook::address::{default_url, webhook_address};
use crate::settings::{label_problem, listen};

/// The names of the labels that Gitea's runner registers by default, and the usual one for a host.
const USUAL_LABELS: &str = "linux,ubuntu-latest,ubuntu-24.04,ubuntu-22.04";

/// The default limit of machines: as many as this host has cores, since each runs one job.
pub(super) fn limit() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

pub(super) fn labels(flags: &Flags, prompter: &mut Prompter) -> Result<Vec<String>, Failure> {
    let given = flags.labels.as_ref().map(|labels| labels.join(","));
    let question = "Labels of the machines (* serves any job except `host`)";
    prompter.until(given, question, Some(USUAL_LABELS), |text| {
        let labels: Vec<String> = text.split(',').map(|label| label.trim().to_owned()).collect();
        match labels.iter().find_map(|label| label_problem(label)) {
            None => Ok(labels),
            Some(problem) => Err(Failure::usage(format!("--labels: {problem}"))
                .hint("for example --labels linux,ubuntu-latest, or --labels '*'")),
        }
    })
}

pub(super) fn listen_at(flags: &Flags, prompter: &mut Prompter) -> Result<SocketAddr, Failure> {
    let question = "Address to listen on for webhooks";
    prompter.until(flags.listen.clone(), question, Some("127.0.0.1:8080"), |text| {
        listen(text).map_err(|message| {
            let message = if message.is_empty() { "not an address".to_owned() } else { message };
            Failure::usage(format!("--listen {}: {message}", cut(text, 60)))
                .hint("for example 127.0.0.1:8080, or 0.0.0.0:8080 for all addresses")
        })
    })
}

pub(super) fn webhook_url(
    flags: &Flags,
    listen: SocketAddr,
    prompter: &mut Prompter,
) -> Result<String, Failure> {
    let usual = default_url(listen);
    let question = "Webhook URL, as your Gitea reaches this server";
    prompter.until(flags.webhook_url.clone(), question, Some(&usual), |text| {
        // The default may hold a placeholder.
        if text == usual { Ok(usual.clone()) } else { webhook_address(text, "--webhook-url") }
    })
}
