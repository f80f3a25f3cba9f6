//! Figures of the order of pools, which tests of profiles and mutants hold. They are no laws: a
//! launch may have been decided before the list showed that a machine was taken.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{ClassName, EndedBy, MachineSpec, Market};

use super::Laws;
use crate::cloud::machine::SimulatedMachine;

/// Every replica knows within this time that a machine was taken.
const KNOWN_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// For so long a pool that lost a machine certainly comes last.
const LAST_FOR: SignedDuration = SignedDuration::from_mins(28);
/// After this time it certainly does no longer.
const OVER_AFTER: SignedDuration = SignedDuration::from_mins(32);
/// So many machines that were taken within this time certainly hold the spot breaker open.
const INTERRUPTIONS: usize = 3;
const OPEN_FOR: SignedDuration = SignedDuration::from_mins(14);

/// The number of choices, and of wrong ones: something else should have come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figure {
    /// The number of choices.
    pub choices: u64,
    /// The number of wrong choices.
    pub wrong: u64,
}

impl Figure {
    fn note(&mut self, is_wrong: bool) {
        self.choices += 1;
        self.wrong += u64::from(is_wrong);
    }

    /// Adds the figure of another history.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { choices: self.choices + other.choices, wrong: self.wrong + other.wrong }
    }
}

/// Figures of the pools from which the first machines of attempts came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolFigures {
    /// From a pool that lost a machine, although another one of the market did not.
    pub taken: Figure,
    /// The same of jobs that are run again, although another one of any market did not.
    pub again: Figure,
    /// From the spot market, although the spot breaker of the class was open.
    pub breaker: Figure,
}

/// A machine that the cloud took.
struct Taken<'a> {
    class: &'a ClassName,
    spec: &'a MachineSpec,
    ago: SignedDuration,
}

impl Taken<'_> {
    fn is_between(&self, least: SignedDuration, most: SignedDuration) -> bool {
        least <= self.ago && self.ago <= most
    }
}

impl Laws {
    /// Counts from which pool a new machine comes. `is_again`: its job is run again.
    pub fn count_pools<'a>(
        &mut self,
        now: Timestamp,
        made: &SimulatedMachine,
        is_again: bool,
        all: impl Iterator<Item = &'a SimulatedMachine>,
    ) {
        // Later placements follow refusals.
        let class = self.classes.iter().find(|class| class.name == made.class);
        let Some(class) = class.filter(|_| made.placement == 0) else { return };
        let by_cloud = all.filter(|machine| machine.ended_by == Some(EndedBy::Cloud));
        let taken = by_cloud.filter_map(|machine| {
            let ago = now.duration_since(machine.ended_at()?);
            Some(Taken { class: &machine.class, spec: &machine.spec, ago })
        });
        let taken: Vec<Taken<'_>> = taken.collect();
        let lost = |spec: &MachineSpec, least, most| {
            let mut of_pool = taken.iter().filter(|it| it.spec.same_capacity(spec));
            of_pool.any(|it| it.is_between(least, most))
        };
        let is_last = |spec: &MachineSpec| lost(spec, KNOWN_WITHIN, LAST_FOR);
        let is_untaken = |spec: &MachineSpec| !lost(spec, SignedDuration::ZERO, OVER_AFTER);
        let of_market: Vec<&MachineSpec> =
            class.machines.iter().filter(|spec| spec.market == made.spec.market).collect();
        let (from_last, figures) = (is_last(&made.spec), &mut self.pools);
        if of_market.iter().any(|spec| is_last(spec))
            && of_market.iter().any(|spec| is_untaken(spec))
        {
            figures.taken.note(from_last);
        }
        let any = &class.machines;
        if is_again && any.iter().any(is_last) && any.iter().any(is_untaken) {
            figures.again.note(from_last);
        }
        let own =
            taken.iter().filter(|it| it.spec.market == Market::Spot && *it.class == class.name);
        let counted = own.filter(|it| it.is_between(KNOWN_WITHIN, OPEN_FOR)).count();
        let has_choice = any.iter().any(|spec| spec.market == Market::OnDemand);
        if has_choice && counted >= INTERRUPTIONS {
            figures.breaker.note(made.spec.market == Market::Spot);
        }
    }

    /// Returns which pools the first machines of attempts came from.
    pub fn pools(&self) -> PoolFigures {
        self.pools
    }
}
