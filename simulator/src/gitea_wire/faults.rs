//! What may go wrong between a client and the server.

use std::time::Duration;

use crate::faults::Rng;

/// Bad weather, switchable at run time. Webhooks are not touched by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, set one by one")]
pub struct Faults {
    /// Only requests whose path contains this; `None`: all.
    pub only: Option<String>,
    /// No request whose path contains one of these. (`down` spares nobody.)
    pub spared: Vec<String>,
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
    /// What none of the above befalls meets one of these, by chance.
    pub mixture: Option<Mixture>,
}

/// What may befall one request by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It waits, up to so long, before it is looked at; then it is carried out.
    Delay(Duration),
    /// 500 in the forge's own words; it is not carried out.
    Error,
    /// 503 in the forge's own words; it is not carried out.
    Unavailable,
    /// 500 with a proxy's page; it is not carried out.
    Html,
    /// It is carried out and its answer cut in the middle of the body.
    Half,
    /// It is carried out and the connection closed without an answer.
    Lost,
    /// The connection is closed without an answer; it is not carried out.
    Reset,
}

/// Faults by chance, drawn from a seed in the order in which requests come.
#[derive(Clone, Debug)]
pub struct Mixture {
    rng: Rng,
    percent: u64,
    kinds: Vec<Fault>,
    struck: u64,
}

impl Mixture {
    /// So many of a hundred requests meet one of these kinds, each as likely as the others.
    pub fn new(seed: u64, percent: u64, kinds: impl Into<Vec<Fault>>) -> Self {
        Self { rng: Rng::new(seed), percent, kinds: kinds.into(), struck: 0 }
    }

    /// How many requests met one so far.
    pub fn struck(&self) -> u64 {
        self.struck
    }

    fn draw(&mut self) -> (Weather, Duration) {
        let (hit, kind) = (self.rng.below(100), self.rng.next());
        let count = u64::try_from(self.kinds.len()).unwrap_or(u64::MAX);
        let at = usize::try_from(kind.checked_rem(count).unwrap_or_default()).unwrap_or_default();
        let Some(fault) = self.kinds.get(at).filter(|_| hit < self.percent) else {
            return (Weather::Fine, Duration::ZERO);
        };
        self.struck += 1;
        match *fault {
            Fault::Delay(most) => {
                let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX - 1);
                (Weather::Fine, Duration::from_millis(self.rng.below(millis + 1)))
            }
            Fault::Error => (Weather::Error, Duration::ZERO),
            Fault::Unavailable => (Weather::Fail, Duration::ZERO),
            Fault::Html => (Weather::Html, Duration::ZERO),
            Fault::Half => (Weather::Half, Duration::ZERO),
            Fault::Lost => (Weather::Lost, Duration::ZERO),
            Fault::Reset => (Weather::Cut, Duration::ZERO),
        }
    }
}

/// Of the same kinds and as far along; for comparing settings.
impl PartialEq for Mixture {
    fn eq(&self, other: &Self) -> bool {
        (self.percent, &self.kinds, self.struck) == (other.percent, &other.kinds, other.struck)
    }
}

impl Eq for Mixture {}

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Fine,
    Fail,
    Error,
    Html,
    Half,
    Lost,
    Cut,
}

impl Faults {
    /// What happens to a request with that path, and after which delay. Counts `fail_next` down.
    pub(super) fn strike(&mut self, path: &str) -> (Weather, Duration) {
        if self.down {
            return (Weather::Cut, Duration::ZERO);
        }
        let touched = self.only.as_ref().is_none_or(|only| path.contains(only.as_str()));
        if !touched || self.spared.iter().any(|spared| path.contains(spared.as_str())) {
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
            let (weather, wait) =
                self.mixture.as_mut().map_or((Weather::Fine, Duration::ZERO), Mixture::draw);
            return (weather, self.delay + wait);
        };
        (weather, self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mixture_is_its_seeds_and_has_every_kind() {
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
            assert_eq!(faults.strike("/x/FetchTask"), (Weather::Fine, Duration::ZERO));
            assert_eq!(faults, before, "who is spared draws nothing");
            (drawn, faults.mixture.map_or(0, |m| m.struck()))
        };
        let (drawn, struck) = history(1);
        assert_eq!(history(1), (drawn.clone(), struck));
        assert_ne!(history(2).0, drawn);
        assert!((500..700).contains(&struck), "{struck} of 2000 at 30 %");
        for weather in [
            Weather::Error,
            Weather::Fail,
            Weather::Html,
            Weather::Half,
            Weather::Lost,
            Weather::Cut,
        ] {
            assert!(drawn.iter().filter(|(w, _)| *w == weather).count() > 40, "{weather:?}");
        }
        assert!(drawn.iter().all(|(_, delay)| *delay <= wait));
        assert!(drawn.iter().filter(|(_, delay)| !delay.is_zero()).count() > 40);
    }

    #[test]
    fn nothing_to_draw_is_fair_weather() {
        let mut none = Mixture::new(1, 100, []);
        assert_eq!(none.draw(), (Weather::Fine, Duration::ZERO));
        assert_eq!(none.struck(), 0);
    }
}
