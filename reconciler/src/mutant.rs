//! Switches that disable one safeguard each, to check that the laws detect it.
//!
//! Each [`Mutant`] omits one safeguard or adds one forbidden action. The simulation shows that each
//! breaks a law; a mutant that survives is a gap in the tests. The switches exist only with the
//! feature `mutants`, which the simulator's tests enable and no shipped build does; without it
//! [`on`] is constant and the branches are compiled out.

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// An omitted safeguard, or a forbidden action.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Mutant {
            $($(#[$doc])* $name),+
        }

        impl Mutant {
            /// Every mutant.
            pub const ALL: &[Mutant] = &[$(Mutant::$name),+];
        }
    };
}

mutants! {
    /// Launches have no client token: two requests launch two machines.
    NoClientToken,
    /// A machine is launched before its attempt is recorded.
    LaunchBeforeRecord,
    /// The store writes a record without comparing versions.
    NoCompareAndSet,
    /// The store compares the version of a record and not its incarnation.
    VersionWithoutUid,
    /// Entering Running, Finished or `NoClass` leaves `next` as it is.
    NoVoidNumbers,
    /// The record is not read again at the end if it is missing or another incarnation appears.
    RecordReadOnce,
    /// A reconcile continues however long it takes.
    LateEffects,
    /// A launch uses the class's current machine spec instead of the recorded one.
    CurrentSpec,
    /// The machine of a past attempt is terminated.
    TerminateSuperseded,
    /// The machine of a finished run is terminated.
    TerminateFinished,
    /// The machine of a cancelled job's run is terminated.
    TerminateCancelled,
    /// A machine whose runner appears idle is terminated.
    TerminateIdle,
    /// An unlisted machine counts as gone.
    UnlistedMachineGone,
    /// An unlisted machine of a running job counts as lost.
    UnlistedMachineLost,
    /// An unlisted registration counts as missing.
    UnlistedRegistrationMissing,
    /// A dead machine that a launch returns counts as live.
    DeadTokenLives,
    /// A refusal moves on to the next machine although another call may still land.
    RefusalDefinitive,
    /// A seat of any class counts.
    SeatWithoutClass,
    /// Nothing wakes a finished run: neither its leftovers nor its `due`.
    FinishedNotWoken,
    /// Push mode: that an attempt got a job is derived at each reconcile, and not recorded.
    ConsumptionDerived,
    /// Rule 20 is omitted: machines past their deadline.
    NoRule20,
    /// Rule 21 is omitted: machines whose registration is missing.
    NoRule21,
    /// Rule 23 is omitted: registrations whose machines are gone.
    NoRule23,
    /// Rule 24 is omitted: registrations besides the recorded one.
    NoRule24,
    /// Rule 25 is omitted: registrations of void numbers or without a record.
    NoRule25,
    /// Rule 26 is omitted: seats.
    NoRule26,
    /// No seat is taken.
    NoLimit,
    /// The next attempt starts at once, however many failed.
    NoBackoff,
    /// A displaced job waits for a reassigned machine forever.
    DisplacedWaits,
    /// A live machine is never late.
    NoLateRule,
    /// A given-up run is reopened while its job waits.
    GaveUpReopened,
    /// The sweep does not wake due open runs.
    SweepIgnoresDue,
    /// The sweep does not wake for machines, registrations and seats without an open run.
    SweepIgnoresOrphans,
    /// The registration of a finished run is retired if its runner appears idle.
    RetireIdleOfFinished,
    /// The breaker never opens.
    NoBreaker,
    /// An open breaker never lets an attempt try.
    BreakerNeverCloses,
}

/// Returns whether a mutant is active: never in this build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[allow(clippy::inline_always, reason = "a constant: its branch is compiled out")]
pub const fn on(_: Mutant) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use switches::{on, with};

#[cfg(feature = "mutants")]
mod switches {
    use std::cell::Cell;

    use super::Mutant;

    thread_local! {
        // A simulated world runs on one thread; other threads are not affected.
        static ON: Cell<u64> = const { Cell::new(0) };
    }

    fn bit(mutant: Mutant) -> u64 {
        1 << mutant as u64
    }

    /// Returns whether a mutant is active on this thread.
    pub fn on(mutant: Mutant) -> bool {
        ON.get() & bit(mutant) != 0
    }

    /// Activates mutants on this thread while `body` runs, and deactivates them even if it panics.
    pub fn with<T>(mutants: &[Mutant], body: impl FnOnce() -> T) -> T {
        struct Restore(u64);
        impl Drop for Restore {
            fn drop(&mut self) {
                ON.set(self.0);
            }
        }
        let before = ON.get();
        let _restore = Restore(before);
        ON.set(mutants.iter().fold(before, |all, mutant| all | bit(*mutant)));
        body()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_is_off_by_default() {
        assert!(Mutant::ALL.len() < 64);
        assert!(Mutant::ALL.iter().all(|mutant| !on(*mutant)));
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn a_mutant_is_active_only_inside_its_closure() {
        let body = || {
            assert!(on(Mutant::NoLimit) && !on(Mutant::NoBackoff));
            with(&[Mutant::NoBackoff], || {
                assert!(on(Mutant::NoLimit) && on(Mutant::NoBackoff));
            });
            assert!(!on(Mutant::NoBackoff));
            panic!("a panic restores the switches too");
        };
        assert!(std::panic::catch_unwind(|| with(&[Mutant::NoLimit], body)).is_err());
        assert!(!on(Mutant::NoLimit));
    }
}
