//! Mechanisms that can be switched off, one by one, to see that the laws notice.
//!
//! Each [`Mutant`] leaves out one thing that the promise rests on, or adds one ground that it forbids.
//! The pretended world shows that each breaks a law: one that survives is a hole in the tests. The
//! switches exist only with the feature `mutants`, which the simulator's tests ask for and no build
//! that is shipped; without it [`on`] is constant and the branches are gone.

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// One mechanism less, or one ground too many.
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
    /// The cloud is asked without a client token: asking twice makes two machines.
    NoClientToken,
    /// A machine is asked for before its attempt is recorded.
    LaunchBeforeRecord,
    /// The store writes whatever was read before.
    NoCompareAndSet,
    /// The store compares the version of a record and not its incarnation.
    VersionWithoutUid,
    /// Running, Finished and no class leave `next` as it is.
    NoVoidNumbers,
    /// Where there is no record, or another incarnation, the record is not read once more, last.
    RecordReadOnce,
    /// A look goes on however long it takes.
    LateEffects,
    /// A launch takes what the class says now.
    TodaysRecipe,
    /// The machine of a past attempt is terminated.
    TerminateSuperseded,
    /// The machine of a finished run is terminated.
    TerminateFinished,
    /// The machine of a cancelled job's run is terminated.
    TerminateCancelled,
    /// A machine whose runner looks idle is terminated.
    TerminateIdle,
    /// A machine that is not on the list is taken for gone.
    UnlistedMachineGone,
    /// A registration that is not on the list is taken for missing.
    UnlistedRegistrationMissing,
    /// A launch that is answered by a dead machine is taken for one that lives.
    DeadTokenLives,
    /// A refusal moves on to the next machine though another call may still land.
    RefusalDefinitive,
    /// A seat counts whatever class it is in.
    SeatWithoutClass,
    /// Nothing wakes a finished run: neither what is left of it nor its time being over.
    FinishedNotWoken,
    /// Push mode: that an attempt got a job is derived at each look, and not recorded.
    ConsumptionDerived,
    /// Row 20 is left out: machines past their deadline.
    NoRow20,
    /// Row 21 is left out: machines whose registration is missing.
    NoRow21,
    /// Row 23 is left out: registrations whose machines are gone.
    NoRow23,
    /// Row 24 is left out: registrations beside the recorded one.
    NoRow24,
    /// Row 25 is left out: registrations of void numbers and of no record.
    NoRow25,
    /// Row 26 is left out: seats.
    NoRow26,
    /// No seat is asked for.
    NoLimit,
    /// The next attempt follows at once, however many failed.
    NoBackoff,
    /// A run whose machine was taken waits for another one's for ever.
    RobbedWaits,
    /// A machine that lives is never late.
    NoLateRule,
    /// A run that was given up is reopened while its job waits.
    GaveUpReopened,
    /// The sweep does not wake open runs that are due.
    SweepIgnoresDue,
    /// The sweep does not wake for machines, registrations and seats of no open run.
    SweepIgnoresOrphans,
    /// The registration of a finished run is retired where its runner looks idle.
    RetireIdleOfFinished,
    /// A launch that is refused for what an operator must mend stops no other of its class.
    NoBreaker,
    /// A class whose launches were stopped is never tried again.
    BreakerNeverCloses,
}

/// Whether a mechanism is switched off: never, in this build.
#[cfg(not(feature = "mutants"))]
#[inline(always)]
#[allow(clippy::inline_always, reason = "a constant: the branch behind it is gone")]
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
        // A pretended world lives on one thread: others, beside it, are as they should be.
        static ON: Cell<u64> = const { Cell::new(0) };
    }

    fn bit(mutant: Mutant) -> u64 {
        1 << mutant as u64
    }

    /// Whether a mechanism is switched off on this thread.
    pub fn on(mutant: Mutant) -> bool {
        ON.get() & bit(mutant) != 0
    }

    /// Switches mechanisms off on this thread while `body` runs, also where that panics.
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
    fn every_mutant_is_off() {
        assert!(Mutant::ALL.len() < 64);
        assert!(Mutant::ALL.iter().all(|mutant| !on(*mutant)));
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn a_mutant_is_on_here_and_now_alone() {
        let body = || {
            assert!(on(Mutant::NoLimit) && !on(Mutant::NoBackoff));
            with(&[Mutant::NoBackoff], || {
                assert!(on(Mutant::NoLimit) && on(Mutant::NoBackoff));
            });
            assert!(!on(Mutant::NoBackoff));
            panic!("and it ends with a panic too");
        };
        assert!(std::panic::catch_unwind(|| with(&[Mutant::NoLimit], body)).is_err());
        assert!(!on(Mutant::NoLimit));
    }
}
