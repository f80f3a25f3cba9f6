//! Pools from which the cloud took machines lately, and the spot breaker of a class. Pure.
//!
//! The result depends on the cloud's list of machines alone, which shows ended ones for about an
//! hour, so that it is the same in each replica and after a restart. Only the order of placements
//! depends on it.

use jiff::{SignedDuration, Timestamp};

use super::times::{after, older};
use crate::model::{Class, ClassName, EndedBy, Machine, MachineSpec, Market, Refusal, SpotBreaker};

/// The number of interruptions of a class within [`WITHIN`] that opens its spot breaker.
const INTERRUPTIONS: usize = 3;
/// The time within which interruptions count, and for which the breaker stays open after the last.
const WITHIN: SignedDuration = SignedDuration::from_mins(15);
/// The time for which a pool that lost a machine comes after others. The forge fails the job of a
/// lost machine 10 to 15 min later, and its next attempt must still know the pool.
const TAKEN_FOR: SignedDuration = SignedDuration::from_mins(30);

/// Begins the state reasons of machines whose spot capacity was taken back (EC2 API:
/// `StateReason`). The cloud ends others, too, whose launch failed after it was accepted.
const SPOT_TAKEN_BACK: &str = "Server.SpotInstance";

/// A machine that the cloud took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TakenMachine {
    class: ClassName,
    kind: String,
    zone: String,
    market: Market,
    /// Time at which its end began.
    at: Timestamp,
    /// Whether it was up before: its launch did not fail.
    was_up: bool,
}

impl TakenMachine {
    /// Returns a machine of the cloud's list that the cloud took. `seen_at`: when a list first
    /// showed its end, for clouds that do not date it. A limit of the account says nothing of the
    /// pool.
    pub(crate) fn of(machine: &Machine, seen_at: Option<Timestamp>) -> Option<Self> {
        let reason = machine.state_reason.as_ref();
        let by_cloud = machine.ended_by == Some(EndedBy::Cloud) && !machine.is_live();
        if !by_cloud || reason.and_then(|reason| reason.refusal) == Some(Refusal::Limit) {
            return None;
        }
        Some(Self {
            class: machine.class.clone(),
            kind: machine.kind.clone(),
            zone: machine.zone.clone(),
            market: machine.market,
            at: machine.ended_at.or(seen_at)?,
            was_up: reason.is_none_or(|reason| reason.code.starts_with(SPOT_TAKEN_BACK)),
        })
    }

    /// Returns when its end began.
    pub(crate) fn at(&self) -> Timestamp {
        self.at
    }

    /// Returns whether its pool still comes after others.
    pub(crate) fn is_recent(&self, now: Timestamp) -> bool {
        !older(now, self.at, TAKEN_FOR)
    }

    /// Returns whether a machine spec asks for the same kind in the same market.
    pub(crate) fn is_like(&self, spec: &MachineSpec) -> bool {
        self.kind == spec.kind && self.market == spec.market
    }
}

/// Returns when the cloud last took a machine from the pool of a spec in this zone.
pub(crate) fn taken_at(
    spec: &MachineSpec,
    zone: &str,
    taken: &[TakenMachine],
) -> Option<Timestamp> {
    let of_pool = taken.iter().filter(|machine| machine.is_like(spec) && machine.zone == zone);
    of_pool.map(|machine| machine.at).max()
}

/// Returns why the machines on demand of a class come first, if it has both kinds of markets. Once
/// that is over, the order of the class holds again, until as many machines are taken again.
pub(crate) fn spot_breaker<'a>(
    class: &Class,
    taken: impl Iterator<Item = &'a TakenMachine>,
    now: Timestamp,
) -> Option<SpotBreaker> {
    let has = |market| class.machines.iter().any(|spec| spec.market == market);
    if !has(Market::Spot) || !has(Market::OnDemand) {
        return None;
    }
    let own = taken.filter(|machine| {
        machine.class == class.name && machine.market == Market::Spot && machine.was_up
    });
    let mut times: Vec<Timestamp> = own.map(|machine| machine.at).collect();
    times.sort_unstable();
    let mut breaker: Option<SpotBreaker> = None;
    for (first, last) in times.iter().zip(times.iter().skip(INTERRUPTIONS - 1)) {
        if older(*last, *first, WITHIN) {
            continue;
        }
        let counted = times.iter().filter(|at| *at <= last && !older(*last, **at, WITHIN)).count();
        let open = breaker.filter(|open| *last < open.until);
        breaker = Some(SpotBreaker {
            interruptions: u32::try_from(counted).unwrap_or(u32::MAX),
            since: open.map_or(*last, |open| open.since),
            until: after(*last, WITHIN),
        });
    }
    breaker.filter(|breaker| breaker.until > now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Allocation, MachineOptions, RerunPolicy, Times};

    fn minute(minute: i64) -> Timestamp {
        Timestamp::from_second(60 * minute).expect("a time")
    }

    fn spec(market: Market) -> MachineSpec {
        MachineSpec {
            kind: "small".to_owned(),
            subnet: "subnet-a".to_owned(),
            market,
            image: String::new(),
            security_groups: Vec::new(),
            instance_profile: String::new(),
            runner: None,
            options: MachineOptions::default(),
        }
    }

    fn class(markets: &[Market]) -> Class {
        Class {
            name: ClassName("linux".to_owned()),
            labels: Vec::new(),
            serves_unlabeled: false,
            repos: Vec::new(),
            machines: markets.iter().map(|market| spec(*market)).collect(),
            limit: None,
            repo_limit: None,
            owner_limit: None,
            budget: None,
            allocation: Allocation::Order,
            rerun: RerunPolicy::default(),
            times: Times::default(),
        }
    }

    fn taken(at: i64) -> TakenMachine {
        TakenMachine {
            class: ClassName("linux".to_owned()),
            kind: "small".to_owned(),
            zone: "a".to_owned(),
            market: Market::Spot,
            at: minute(at),
            was_up: true,
        }
    }

    /// The breaker at a minute after interruptions at these: number, since, until.
    fn breaker(minutes: &[i64], now: i64) -> Option<(u32, i64, i64)> {
        let taken: Vec<TakenMachine> = minutes.iter().map(|at| taken(*at)).collect();
        let class = class(&[Market::Spot, Market::OnDemand]);
        let open = spot_breaker(&class, taken.iter(), minute(now))?;
        let of = |at: Timestamp| at.as_second() / 60;
        Some((open.interruptions, of(open.since), of(open.until)))
    }

    #[test]
    fn three_within_a_quarter_of_an_hour_open_it_for_another_one() {
        assert_eq!(breaker(&[], 0), None);
        assert_eq!(breaker(&[0, 1], 1), None, "two are too few");
        assert_eq!(breaker(&[0, 7, 15], 15), Some((3, 15, 30)));
        assert_eq!(breaker(&[0, 7, 16], 16), None, "too far apart");
        assert_eq!(breaker(&[7, 0, 15], 29), Some((3, 15, 30)), "in any order");
        assert_eq!(breaker(&[0, 7, 15], 30), None, "the order of the class holds again");
    }

    #[test]
    fn it_stays_open_while_machines_are_taken_and_opens_again_only_after_three() {
        assert_eq!(breaker(&[0, 1, 2, 9], 10), Some((4, 2, 24)), "open since the third");
        assert_eq!(breaker(&[0, 1, 2, 16], 17), Some((3, 2, 31)), "the first is too old");
        assert_eq!(breaker(&[0, 1, 2, 18, 19], 20), None, "it was over");
        assert_eq!(breaker(&[0, 1, 2, 18, 19, 20], 21), Some((3, 20, 35)), "three again");
    }

    #[test]
    fn only_spot_machines_of_the_class_that_were_up_count() {
        let both = class(&[Market::Spot, Market::OnDemand]);
        let three = |change: fn(&mut TakenMachine)| -> Vec<TakenMachine> {
            let mut all = vec![taken(0), taken(1), taken(2)];
            change(&mut all[1]);
            all
        };
        let opens = |class: &Class, taken: &[TakenMachine]| {
            spot_breaker(class, taken.iter(), minute(3)).is_some()
        };
        assert!(opens(&both, &three(|_| {})));
        assert!(!opens(&both, &three(|it| it.class = ClassName("other".to_owned()))));
        assert!(!opens(&both, &three(|it| it.market = Market::OnDemand)));
        assert!(!opens(&both, &three(|it| it.was_up = false)));
        let spot = class(&[Market::Spot]);
        assert!(!opens(&spot, &three(|_| {})), "there is nothing to prefer");
    }

    #[test]
    fn a_pool_is_a_kind_in_a_zone_and_a_market() {
        let all = [taken(1), taken(4), taken(2)];
        let at = |spec: &MachineSpec, zone| taken_at(spec, zone, &all);
        assert_eq!(at(&spec(Market::Spot), "a"), Some(minute(4)), "the latest counts");
        assert_eq!(at(&spec(Market::Spot), "b"), None);
        assert_eq!(at(&spec(Market::OnDemand), "a"), None);
        let big = MachineSpec { kind: "big".to_owned(), ..spec(Market::Spot) };
        assert_eq!(at(&big, "a"), None);
        assert!(taken(0).is_recent(minute(30)) && !taken(0).is_recent(minute(31)));
    }
}
