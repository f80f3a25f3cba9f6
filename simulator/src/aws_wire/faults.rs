//! Faults by rule. Each draw is a hash of seed, site and occurrence, so that a rule taken away does
//! not shift what the others do.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use sha2::{Digest, Sha256};

/// When a rule strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// The n-th matching call alone, counted from 1 since the rules were set.
    Nth(u64),
    /// The first so many matching calls.
    First(u64),
    /// Each matching call with this probability (0 to 1).
    Rate(f64),
    /// Each matching call.
    Always,
}

/// What befalls a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// This error instead of an answer; nothing is carried out.
    Error {
        /// The service's name for it.
        code: String,
        /// HTTP's.
        status: u16,
    },
    /// It is carried out so much later. Whoever gave up meanwhile has it carried out all the same.
    Delay(Duration),
    /// It is carried out at once and answered so much later.
    DelayReply(Duration),
    /// The connection is closed without an answer; nothing is carried out.
    DropBefore,
    /// It is carried out and the connection closed without an answer.
    DropAfter,
    /// It is carried out and its answer cut in the middle of the body.
    ResetMidBody,
    /// The service's own word for "too many calls"; nothing is carried out.
    Throttle,
    /// A reading shows the world as it was so long ago.
    Stale(SignedDuration),
    /// A listing leaves one out.
    Omit,
    /// A listing leaves out all of an availability zone.
    OmitZone(String),
    /// A listing fails on this page, counted from 1.
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

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// `ec2`, `sts`, `iam`, `sqs`; `*`: any.
    pub service: String,
    /// The operation (`RunInstances`); `*`: any.
    pub op: String,
    /// How often.
    pub when: When,
    /// What.
    pub kind: Kind,
}

impl Rule {
    /// A rule.
    pub fn new(service: &str, op: &str, when: When, kind: Kind) -> Self {
        Self { service: service.to_owned(), op: op.to_owned(), when, kind }
    }
}

/// All rules that hold; changed at run time.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What the draws are made from.
    pub seed: u64,
    /// Each with how often it matched and how often it struck.
    held: Vec<(Rule, u64, u64)>,
    calls: BTreeMap<String, u64>,
    /// Everything is down: new connections are closed, calls on old ones cut.
    pub down: bool,
}

/// What befalls one call, of all rules together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stroke {
    pub(crate) kinds: Vec<Kind>,
    /// A number of this call's own, for what is to be drawn further.
    pub(crate) draw: u64,
}

impl Rules {
    /// Adds a rule; its occurrences are counted from now on.
    pub fn add(&mut self, rule: Rule) {
        self.held.push((rule, 0, 0));
    }

    /// Takes all rules away.
    pub fn clear(&mut self) {
        self.held.clear();
    }

    /// How often rules have struck so far.
    pub fn struck(&self) -> u64 {
        self.held.iter().map(|(_, _, struck)| struck).sum()
    }

    pub(crate) fn strike(&mut self, service: &str, op: &str) -> Stroke {
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
        Stroke { kinds, draw: draw(self.seed, &site, call) }
    }
}

/// A number that is a function of seed, site and occurrence alone.
pub(crate) fn draw(seed: u64, site: &str, occurrence: u64) -> u64 {
    let digest: [u8; 32] = Sha256::digest(format!("{seed}\n{site}\n{occurrence}")).into();
    let (first, _) = digest.split_at(8);
    first.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// Whether a thing of that probability happens there and then.
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
    fn a_rule_taken_away_does_not_shift_the_others() {
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
    fn nth_first_and_always_count_what_matches() {
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
