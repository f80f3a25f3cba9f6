//! Faults by rule. Each draw is a hash of seed, site and occurrence, so removing a rule does not
//! change what others draw.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

/// The matching calls to which a rule applies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Only the n-th matching call, counted from 1 since the rules were set.
    Nth(u64),
    /// The first n matching calls.
    First(u64),
    /// Each matching call with this probability (0 to 1).
    Rate(f64),
    /// Each matching call.
    Always,
}

/// The fault of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Returns this error; the call has no effect.
    Error {
        /// The service's error code.
        code: String,
        /// HTTP status.
        status: u16,
    },
    /// Delays the effect, even if the caller disconnects meanwhile.
    Delay(Duration),
    /// Delays the response; the effect is immediate.
    DelayReply(Duration),
    /// Closes the connection without a response; the call has no effect.
    DropBefore,
    /// Closes the connection without a response after the effect.
    DropAfter,
    /// Cuts the response in the middle of the body after the effect.
    ResetMidBody,
    /// Returns the service's throttling error; the call has no effect.
    Throttle,
    /// Returns a reading of the state this long ago.
    Stale(SignedDuration),
    /// Omits one row from a list.
    Omit,
    /// Omits an availability zone from a list.
    OmitZone(String),
    /// Fails a list on this page, counted from 1.
    PageError(u64),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::Delay(_) => "delay",
            Self::DelayReply(_) => "delay_reply",
            Self::DropBefore => "drop_before",
            Self::DropAfter => "drop_after",
            Self::ResetMidBody => "reset_mid_body",
            Self::Throttle => "throttle",
            Self::Stale(_) => "stale",
            Self::Omit => "omit",
            Self::OmitZone(_) => "omit_zone",
            Self::PageError(_) => "page_error",
        }
    }
}

/// A fault and when it applies.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// `ec2`, `sts`, `iam`, `sqs`; `*`: any.
    pub service: String,
    /// The operation (`RunInstances`); `*`: any.
    pub op: String,
    /// The matching calls to which it applies.
    pub when: When,
    /// The fault.
    pub kind: Kind,
}

impl Rule {
    /// Creates a rule.
    pub fn new(service: &str, op: &str, when: When, kind: Kind) -> Self {
        Self { service: service.to_owned(), op: op.to_owned(), when, kind }
    }
}

/// All current rules; may change at run time.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Seed of the draws.
    pub seed: u64,
    /// Each rule with its matches and its occurrences.
    held: Vec<(Rule, u64, u64)>,
    calls: BTreeMap<String, u64>,
    /// The server is down: it closes new connections and cuts calls on old ones.
    pub down: bool,
}

/// All faults of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct CallFaults {
    pub(crate) kinds: Vec<Kind>,
    /// A number of this call for further draws.
    pub(crate) draw: u64,
}

impl Rules {
    /// Adds a rule; its occurrences are counted from now on.
    pub fn add(&mut self, rule: Rule) {
        self.held.push((rule, 0, 0));
    }

    /// Removes all rules.
    pub fn clear(&mut self) {
        self.held.clear();
    }

    /// Returns how often rules have applied.
    pub fn struck(&self) -> u64 {
        self.held.iter().map(|(_, _, struck)| struck).sum()
    }

    pub(crate) fn strike(&mut self, service: &str, op: &str) -> CallFaults {
        let site = format!("{service}/{op}");
        let call = self.calls.entry(site.clone()).or_default();
        *call += 1;
        let call = *call;
        let mut kinds = Vec::new();
        for (rule, matched, struck) in &mut self.held {
            let fits = |wanted: &str, is: &str| wanted == "*" || wanted == is;
            if !fits(&rule.service, service) || !fits(&rule.op, op) {
                continue;
            }
            *matched += 1;
            let hit = match rule.when {
                When::Nth(n) => *matched == n,
                When::First(n) => *matched <= n,
                When::Rate(rate) => {
                    chance(self.seed, &format!("{site}/{}", rule.kind.name()), call, rate)
                }
                When::Always => true,
            };
            if hit {
                *struck += 1;
                kinds.push(rule.kind.clone());
            }
        }
        CallFaults { kinds, draw: draw(self.seed, &site, call) }
    }
}

/// Returns a number that depends only on seed, site and occurrence.
pub(crate) fn draw(seed: u64, site: &str, occurrence: u64) -> u64 {
    let digest: [u8; 32] = Sha256::digest(format!("{seed}\n{site}\n{occurrence}")).into();
    let (first, _) = digest.split_at(8);
    first.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// Returns whether an event of this probability occurs.
pub(crate) fn chance(seed: u64, site: &str, occurrence: u64, probability: f64) -> bool {
    #[allow(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let drawn = (draw(seed, site, occurrence) >> 11) as f64 / (1_u64 << 53) as f64;
    drawn < probability
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(rules: &mut Rules, kind: &Kind) -> Vec<bool> {
        (0..400).map(|_| rules.strike("ec2", "RunInstances").kinds.contains(kind)).collect()
    }

    #[test]
    fn removing_a_rule_does_not_change_the_draws_of_others() {
        let lost = Rule::new("ec2", "*", When::Rate(0.3), Kind::DropAfter);
        let throttled = Rule::new("*", "RunInstances", When::Rate(0.5), Kind::Throttle);
        let mut both = Rules { seed: 7, ..Rules::default() };
        both.add(throttled);
        both.add(lost.clone());
        let mut alone = Rules { seed: 7, ..Rules::default() };
        alone.add(lost.clone());
        let drawn = hits(&mut alone, &Kind::DropAfter);
        assert_eq!(hits(&mut both, &Kind::DropAfter), drawn);
        let count = drawn.iter().filter(|hit| **hit).count();
        assert!((80..160).contains(&count), "{count} of 400 at 30 %");
        let mut other = Rules { seed: 8, ..Rules::default() };
        other.add(lost);
        assert_ne!(hits(&mut other, &Kind::DropAfter), drawn);
    }

    #[test]
    fn nth_first_and_always_count_matching_calls() {
        let strikes = |when| {
            let mut rules = Rules::default();
            rules.add(Rule::new("ec2", "RunInstances", when, Kind::Throttle));
            assert!(rules.strike("ec2", "DescribeInstances").kinds.is_empty());
            assert!(rules.strike("sqs", "RunInstances").kinds.is_empty());
            let hit = |_| !rules.strike("ec2", "RunInstances").kinds.is_empty();
            (0..4).map(hit).collect::<Vec<_>>()
        };
        assert_eq!(strikes(When::Nth(2)), [false, true, false, false]);
        assert_eq!(strikes(When::First(2)), [true, true, false, false]);
        assert_eq!(strikes(When::Always), [true; 4]);
        assert_eq!(strikes(When::Rate(0.0)), [false; 4]);
    }
}
