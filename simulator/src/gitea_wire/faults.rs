//! Faults between a client and the server.

use std::time::Duration;

use crate::faults::Rng;

/// The faults, changeable at run time. They do not affect webhooks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, set one by one")]
pub struct Faults {
    /// Affects only requests whose path contains this; `None`: all.
    pub only: Option<String>,
    /// Spares requests whose path contains one of these, except from `down`.
    pub spared: Vec<String>,
    /// Number of next requests that get a 503 and have no effect.
    pub fail_next: u32,
    /// Closes new connections at once and cuts requests on old ones.
    pub down: bool,
    /// Delay of each request before it is handled.
    pub delay: Duration,
    /// Returns a proxy's error page; the request has no effect.
    pub html_500: bool,
    /// Handles the request and cuts the response in the middle of the body.
    pub half_answer: bool,
    /// Closes the connection without a response; the request has no effect.
    pub reset: bool,
    /// Random faults of requests that the fields above do not affect.
    pub mixture: Option<Mixture>,
}

/// A random fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Delays the request by up to this long, then handles it.
    Delay(Duration),
    /// 500 in the forge's format; the request has no effect.
    Error,
    /// 503 in the forge's format; the request has no effect.
    Unavailable,
    /// 500 with a proxy's error page; the request has no effect.
    Html,
    /// Handles the request and cuts the response in the middle of the body.
    Half,
    /// Handles the request and closes the connection without a response.
    Lost,
    /// Closes the connection without a response; the request has no effect.
    Reset,
}

/// Random faults, drawn from a seed in the order of requests.
#[derive(Clone, Debug)]
pub struct Mixture {
    rng: Rng,
    percent: u64,
    kinds: Vec<Fault>,
    struck: u64,
}

impl Mixture {
    /// Creates a mixture: `percent` of the requests get one of these faults, each equally likely.
    pub fn new(seed: u64, percent: u64, kinds: impl Into<Vec<Fault>>) -> Self {
        Self { rng: Rng::new(seed), percent, kinds: kinds.into(), struck: 0 }
    }

    /// Returns the number of requests that got a fault so far.
    pub fn struck(&self) -> u64 {
        self.struck
    }

    fn draw(&mut self) -> (RequestFault, Duration) {
        let (hit, kind) = (self.rng.below(100), self.rng.next());
        let count = u64::try_from(self.kinds.len()).unwrap_or(u64::MAX);
        let at = usize::try_from(kind.checked_rem(count).unwrap_or_default()).unwrap_or_default();
        let Some(fault) = self.kinds.get(at).filter(|_| hit < self.percent) else {
            return (RequestFault::Fine, Duration::ZERO);
        };
        self.struck += 1;
        match *fault {
            Fault::Delay(most) => {
                let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
                (RequestFault::Fine, Duration::from_millis(self.rng.below(millis + 1)))
            }
            Fault::Error => (RequestFault::Error, Duration::ZERO),
            Fault::Unavailable => (RequestFault::Fail, Duration::ZERO),
            Fault::Html => (RequestFault::Html, Duration::ZERO),
            Fault::Half => (RequestFault::Half, Duration::ZERO),
            Fault::Lost => (RequestFault::Lost, Duration::ZERO),
            Fault::Reset => (RequestFault::Cut, Duration::ZERO),
        }
    }
}

/// Equal faults with equal progress; for comparing settings.
impl PartialEq for Mixture {
    fn eq(&self, other: &Self) -> bool {
        (self.percent, &self.kinds, self.struck) == (other.percent, &other.kinds, other.struck)
    }
}

impl Eq for Mixture {}

/// The effect of the faults on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestFault {
    Fine,
    Fail,
    Error,
    Html,
    Half,
    Lost,
    Cut,
}

impl Faults {
    /// Returns the effect on a request with this path, and its delay. Decrements `fail_next`.
    pub(super) fn strike(&mut self, path: &str) -> (RequestFault, Duration) {
        if self.down {
            return (RequestFault::Cut, Duration::ZERO);
        }
        let touched = self.only.as_ref().is_none_or(|only| path.contains(only.as_str()));
        if !touched || self.spared.iter().any(|spared| path.contains(spared.as_str())) {
            return (RequestFault::Fine, Duration::ZERO);
        }
        let fault = if self.fail_next > 0 {
            self.fail_next -= 1;
            RequestFault::Fail
        } else if self.reset {
            RequestFault::Cut
        } else if self.html_500 {
            RequestFault::Html
        } else if self.half_answer {
            RequestFault::Half
        } else {
            let (fault, wait) =
                self.mixture.as_mut().map_or((RequestFault::Fine, Duration::ZERO), Mixture::draw);
            return (fault, self.delay + wait);
        };
        (fault, self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixture_depends_on_its_seed_and_has_every_fault() {
        let wait = Duration::from_millis(40);
        let kinds = [
            Fault::Delay(wait),
            Fault::Error,
            Fault::Unavailable,
            Fault::Html,
            Fault::Half,
            Fault::Lost,
            Fault::Reset,
        ];
        let history = |seed| {
            let mixture = Some(Mixture::new(seed, 30, kinds));
            let spared = vec!["/FetchTask".to_owned()];
            let mut faults = Faults { spared, mixture, ..Faults::default() };
            let drawn: Vec<_> = (0..2_000).map(|_| faults.strike("/api")).collect();
            let before = faults.clone();
            assert_eq!(faults.strike("/x/FetchTask"), (RequestFault::Fine, Duration::ZERO));
            assert_eq!(faults, before, "a spared request draws nothing");
            (drawn, faults.mixture.map_or(0, |m| m.struck()))
        };
        let (drawn, struck) = history(1);
        assert_eq!(history(1), (drawn.clone(), struck));
        assert_ne!(history(2).0, drawn);
        assert!((500..700).contains(&struck), "{struck} of 2000 at 30 %");
        for fault in [
            RequestFault::Error,
            RequestFault::Fail,
            RequestFault::Html,
            RequestFault::Half,
            RequestFault::Lost,
            RequestFault::Cut,
        ] {
            assert!(drawn.iter().filter(|(w, _)| *w == fault).count() > 40, "{fault:?}");
        }
        assert!(drawn.iter().all(|(_, delay)| *delay <= wait));
        assert!(drawn.iter().filter(|(_, delay)| !delay.is_zero()).count() > 40);
    }

    #[test]
    fn a_mixture_without_kinds_has_no_faults() {
        let mut none = Mixture::new(1, 100, []);
        assert_eq!(none.draw(), (RequestFault::Fine, Duration::ZERO));
        assert_eq!(none.struck(), 0);
    }
}
