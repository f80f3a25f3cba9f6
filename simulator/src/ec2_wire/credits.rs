//! CPU credits of T kinds. A guest whose machine has spent them runs for its baseline share of each
//! period and is stopped for the rest, whatever it uses: unlike in EC2, it earns nothing by idling.

use jiff::{SignedDuration, Timestamp};

use super::Ec2Options;
use super::launch_request::Recipe;

/// The time in which a guest runs and is stopped once.
const PERIOD: SignedDuration = SignedDuration::from_millis(500);
/// Duration of the launch credits of T2 at full use: 30 credits for each processor, one minute
/// each. Credits that are earned meanwhile are left out.
const LAUNCH_CREDITS: SignedDuration = SignedDuration::from_mins(30);

/// An order to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// To stop.
    Stop,
    /// To go on.
    Resume,
}

/// The turns of a guest. Each lasts at least its time, however late it is asked for: a guest always
/// gets on.
#[derive(Clone, Debug)]
pub(super) struct Throttle {
    runs: SignedDuration,
    rests: SignedDuration,
    is_stopped: bool,
    next_at: Timestamp,
    /// The number of times that it was told to stop.
    pub(super) stops: usize,
}

impl Throttle {
    /// Returns the turns of a guest that starts now; `None` if its machine is never slowed down.
    pub(super) fn of(options: &Ec2Options, recipe: &Recipe, now: Timestamp) -> Option<Self> {
        let (family, size) = recipe.kind.split_once('.')?;
        let percent = baseline(family, size)?;
        let is_t2 = family == "t2";
        let usual = if is_t2 { "standard" } else { "unlimited" };
        let credits = Some(recipe.credits.as_str()).filter(|asked| !asked.is_empty());
        if !options.spends_credits || credits.unwrap_or(usual) != "standard" {
            return None;
        }
        let runs = PERIOD * percent / 100;
        let full = if is_t2 { options.quick(LAUNCH_CREDITS) } else { SignedDuration::ZERO };
        Some(Self {
            runs,
            rests: PERIOD - runs,
            is_stopped: false,
            next_at: now + full + runs,
            stops: 0,
        })
    }

    /// Returns what the guest is told now, if its turn is over.
    pub(super) fn turn(&mut self, now: Timestamp) -> Option<Turn> {
        if now < self.next_at {
            return None;
        }
        self.is_stopped = !self.is_stopped;
        if self.is_stopped {
            self.stops += 1;
            self.next_at = now + self.rests;
            Some(Turn::Stop)
        } else {
            self.next_at = now + self.runs;
            Some(Turn::Resume)
        }
    }
}

/// Returns the baseline of a T kind in percent of each processor; `None` for other kinds.
fn baseline(family: &str, size: &str) -> Option<i32> {
    let is_t2 = match family {
        "t2" => true,
        "t3" | "t3a" | "t4g" => false,
        _ => return None,
    };
    Some(match size {
        "nano" => 5,
        "micro" => 10,
        "small" | "medium" => 20,
        "large" => 30,
        // 22.5 in truth.
        "xlarge" if is_t2 => 22,
        "2xlarge" if is_t2 => 17,
        "xlarge" | "2xlarge" => 40,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const MILLI: SignedDuration = SignedDuration::from_millis(1);

    fn throttle(kind: &str, credits: &str) -> Option<Throttle> {
        let options = Ec2Options { spends_credits: true, ..Ec2Options::instant() };
        let foreign = Recipe::foreign(&options.account, BTreeMap::new());
        let recipe = Recipe { kind: kind.to_owned(), credits: credits.to_owned(), ..foreign };
        let off = Ec2Options { spends_credits: false, ..options.clone() };
        assert!(Throttle::of(&off, &recipe, Timestamp::UNIX_EPOCH).is_none());
        Throttle::of(&options, &recipe, Timestamp::UNIX_EPOCH)
    }

    /// Returns for how many of so many milliseconds a guest runs, and how often it is stopped.
    fn run(mut throttle: Throttle, millis: i32) -> (i32, usize) {
        let (mut ran, mut is_stopped) = (0, false);
        for at in 0..millis {
            if let Some(turn) = throttle.turn(Timestamp::UNIX_EPOCH + MILLI * at) {
                is_stopped = turn == Turn::Stop;
            }
            ran += i32::from(!is_stopped);
        }
        (ran, throttle.stops)
    }

    #[test]
    fn a_guest_runs_for_its_baseline_from_its_start() {
        for (kind, ran) in [
            ("t3.nano", 500),
            ("t3a.micro", 1_000),
            ("t3.small", 2_000),
            ("t4g.medium", 2_000),
            ("t3.large", 3_000),
            ("t3.xlarge", 4_000),
        ] {
            let throttle = throttle(kind, "standard").expect(kind);
            assert_eq!(run(throttle, 10_000), (ran, 20), "{kind}");
        }
    }

    #[test]
    fn launch_credits_of_t2_come_first() {
        let throttle = throttle("t2.small", "").expect("it is `standard` unless asked otherwise");
        let full = 30 * 60_000;
        assert_eq!(run(throttle.clone(), full), (full, 0));
        assert_eq!(run(throttle, full + 5_000), (full + 1_000, 10));
    }

    #[test]
    fn other_kinds_and_unlimited_ones_are_never_stopped() {
        for (kind, credits) in [
            ("t3.small", ""),
            ("t4g.small", "unlimited"),
            ("t2.small", "unlimited"),
            ("c7a.medium", ""),
            ("trn1.2xlarge", ""),
        ] {
            assert!(throttle(kind, credits).is_none(), "{kind} {credits}");
        }
    }

    #[test]
    fn a_guest_gets_on_however_late_its_turns_are() {
        let mut throttle = throttle("t3.nano", "standard").expect("it has credits");
        let mut now = Timestamp::UNIX_EPOCH;
        let told = std::iter::from_fn(|| {
            now += SignedDuration::from_secs(7);
            Some((throttle.turn(now), throttle.turn(now + MILLI)))
        });
        let (first, second): (Vec<_>, Vec<_>) = told.take(4).unzip();
        let expected = [Turn::Stop, Turn::Resume, Turn::Stop, Turn::Resume];
        assert_eq!(first, expected.map(Some));
        assert!(second.iter().all(Option::is_none), "{second:?}");
    }
}
