//! `tinqs-ci demo`: a pretended forge and cloud in quickened time, the real server and controller.
//!
//! The forge speaks HTTP on loopback and is reached by the real client, webhooks are signed and
//! verified, records go to a file: what `serve` does, but for the machines and the pace of time.

mod host;
mod story;
mod teller;

use std::time::Duration;

use host::Host;
use teller::Teller;
use tokio::signal::unix::{SignalKind, signal};

/// How much faster than life the pretended world goes at `speed` 1.
const QUICKENED: f64 = 60.0;

/// How the demonstration is asked for.
#[derive(Clone, Copy, Debug)]
pub struct DemoOptions {
    /// Whether it goes on after the story, until SIGINT or SIGTERM.
    pub stay: bool,
    /// What the times of machines and jobs are drawn from.
    pub seed: u64,
    /// How much faster than usual; 1 is about eight seconds. From 0.01 to 100.
    pub speed: f64,
}

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something of this host is not to be had.
    #[error("the demo cannot {what}")]
    Host {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// A part of the server cannot be had.
    #[error("the demo's {part} cannot be used: {message}")]
    Part {
        /// Which.
        part: &'static str,
        /// Why.
        message: String,
    },
    /// What must happen did not.
    #[error("the demo waited {seconds} s in vain until {what}")]
    InVain {
        /// For what.
        what: &'static str,
        /// How long, in real time.
        seconds: u64,
    },
}

impl Error {
    pub(crate) fn host(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Host { what, source }
    }
}

/// What it came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Jobs that were pushed.
    pub jobs: usize,
    /// Machines that were launched.
    pub machines: usize,
    /// Jobs that never ran, though nobody cancelled them.
    pub lost: usize,
    /// Machines beyond one for each job and one for each that the cloud took back.
    pub doubled: usize,
    /// Machines and registrations that are left over.
    pub leaked: usize,
}

impl Summary {
    /// Whether all went as promised.
    pub fn is_good(self) -> bool {
        (self.lost, self.doubled, self.leaked) == (0, 0, 0)
    }
}

/// Tells the story on standard output.
///
/// # Errors
/// Where this host has no loopback address or no temporary directory, or something that must
/// happen does not.
pub async fn run(options: DemoOptions) -> Result<Summary, Error> {
    let DemoOptions { stay, seed, speed } = options;
    let host = Host::start(seed, factor(speed)).await?;
    let mut teller = Teller::new(&host);
    let (host, summary) = story::tell(&mut teller, host).await?;
    if stay {
        stay_until_signal(&mut teller, &host).await?;
    }
    host.end().await;
    Ok(summary)
}

/// `speed` times the usual, as a whole number: the clock multiplies by one.
fn factor(speed: f64) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 6000, by the line above"
    )]
    let factor = (QUICKENED * speed).round().clamp(1.0, 6000.0) as u32;
    factor
}

async fn stay_until_signal(teller: &mut Teller, host: &Host) -> Result<(), Error> {
    let mut terminated =
        signal(SignalKind::terminate()).map_err(Error::host("wait for signals"))?;
    let mut interrupted =
        signal(SignalKind::interrupt()).map_err(Error::host("wait for signals"))?;
    let url = host.server_url();
    teller.say(&format!("it goes on at {url} until Ctrl-C; for example:"));
    teller.say(&format!("  tinqs-ci get runs --server {url}"));
    loop {
        tokio::select! {
            _ = terminated.recv() => return Ok(()),
            _ = interrupted.recv() => return Ok(()),
            () = tokio::time::sleep(Duration::from_millis(50)) => teller.look(host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_becomes_a_whole_factor() {
        assert_eq!([1.0, 0.01, 100.0, 0.5].map(factor), [60, 1, 6000, 30]);
    }

    #[test]
    fn only_a_summary_without_loss_is_good() {
        let good = Summary { jobs: 3, machines: 3, ..Summary::default() };
        assert!(good.is_good());
        for bad in [
            Summary { lost: 1, ..good },
            Summary { doubled: 1, ..good },
            Summary { leaked: 1, ..good },
        ] {
            assert!(!bad.is_good(), "{bad:?}");
        }
    }
}
