//! `tinqs-ci demo`: the real server and controller with a simulated forge and cloud, in accelerated
//! time.
//!
//! The simulated forge serves HTTP on loopback to the real client, webhooks are signed and
//! verified, and records are stored in a file. Only the machines and the clock differ from `serve`.

mod fault;
mod faults;
mod host;
mod reporter;
mod scenario;
mod stay;

pub use fault::Fault;

use host::Host;
use jiff::SignedDuration;
use reporter::Reporter;

use crate::settings::Tls;

/// The acceleration of the simulated time at `speed` 1.
const QUICKENED: f64 = 60.0;

/// The options of the demo.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Whether to keep running after the demo, until SIGINT or SIGTERM.
    pub stay: bool,
    /// The seed of the durations of machines and jobs.
    pub seed: u64,
    /// The speed factor, from 0.01 to 100. At 1 the demo takes about eight seconds.
    pub speed: f64,
    /// A fault to inject until SIGINT or SIGTERM, instead of the story.
    pub fault: Option<Fault>,
    /// The certificate of the server's addresses. The simulated forge does not verify it.
    pub tls: Option<Tls>,
}

/// The demo failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A resource of this host is unavailable.
    #[error("the demo cannot {what}")]
    Host {
        /// The failed operation.
        what: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A part of the server cannot be built.
    #[error("the demo cannot use the {part}: {message}")]
    Part {
        /// The part.
        part: &'static str,
        /// The cause.
        message: String,
    },
    /// An expected event did not happen.
    #[error("the demo timed out after {seconds} s, waiting until {what}")]
    InVain {
        /// The expected event.
        what: &'static str,
        /// The time waited, in real seconds.
        seconds: u64,
    },
}

impl Error {
    pub(crate) fn host(what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Host { what, source }
    }
}

/// The result of the demo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The number of pushed jobs.
    pub jobs: usize,
    /// The number of launched machines.
    pub machines: usize,
    /// The number of jobs that never ran and were not canceled.
    pub lost: usize,
    /// The number of machines beyond one per job and one per spot interruption.
    pub doubled: usize,
    /// The number of machines and registrations left over.
    pub leaked: usize,
}

impl Summary {
    /// Whether no job was lost, no machine doubled, and nothing leaked.
    pub fn is_good(self) -> bool {
        (self.lost, self.doubled, self.leaked) == (0, 0, 0)
    }
}

/// Runs the demo and prints its progress.
///
/// # Errors
/// This host has no loopback address or no temporary directory, or an expected event does not
/// happen in time.
pub async fn run(options: DemoOptions) -> Result<Summary, Error> {
    let DemoOptions { stay, seed, speed, fault, tls } = options;
    if let Some(fault) = fault {
        let host = Host::start(seed, factor(speed), SignedDuration::ZERO, fault, tls).await?;
        stay::with_fault(&mut Reporter::new(&host), &host, fault).await?;
        host.end().await;
        return Ok(Summary::default());
    }
    let behind = if stay { stay::behind(factor(speed)) } else { SignedDuration::ZERO };
    let host = Host::start(seed, factor(speed), behind, Fault::None, tls).await?;
    let mut reporter = Reporter::new(&host);
    let (mut host, summary) = scenario::tell(&mut reporter, host).await?;
    if stay {
        stay::until_signal(&mut reporter, &mut host).await?;
    }
    host.end().await;
    Ok(summary)
}

/// Returns the clock's acceleration, which must be a whole number.
fn factor(speed: f64) -> u32 {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 1 and 6000, by the line above"
    )]
    let factor = (QUICKENED * speed).round().clamp(1.0, 6000.0) as u32;
    factor
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acceleration_is_a_whole_number() {
        assert_eq!([1.0, 0.01, 100.0, 0.5].map(factor), [60, 1, 6000, 30]);
    }

    #[test]
    fn a_summary_with_lost_doubled_or_leaked_items_is_not_good() {
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
