//! What may go wrong between a client and the server.

use std::time::Duration;

/// Bad weather, switchable at run time. Webhooks are not touched by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, set one by one")]
pub struct Faults {
    /// Only requests whose path contains this; `None`: all.
    pub only: Option<String>,
    /// So many requests are answered with 503 and not carried out.
    pub fail_next: u32,
    /// New connections are closed at once, requests on old ones cut without an answer.
    pub down: bool,
    /// Each request waits so long before it is looked at.
    pub delay: Duration,
    /// A proxy's page instead of an answer; the request is not carried out.
    pub html_500: bool,
    /// The request is carried out and its answer cut in the middle of the body.
    pub half_answer: bool,
    /// The connection is closed without an answer; the request is not carried out.
    pub reset: bool,
}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fine,
    Fail,
    Html,
    Half,
    Cut,
}

impl Faults {
    /// What happens to a request with that path, and after which delay. Counts `fail_next` down.
    pub(super) fn strike(&mut self, path: &str) -> (Weather, Duration) {
        if self.down {
            return (Weather::Cut, Duration::ZERO);
        }
        if self.only.as_ref().is_some_and(|only| !path.contains(only.as_str())) {
            return (Weather::Fine, Duration::ZERO);
        }
        let weather = if self.fail_next > 0 {
            self.fail_next -= 1;
            Weather::Fail
        } else if self.reset {
            Weather::Cut
        } else if self.html_500 {
            Weather::Html
        } else if self.half_answer {
            Weather::Half
        } else {
            Weather::Fine
        };
        (weather, self.delay)
    }
}
