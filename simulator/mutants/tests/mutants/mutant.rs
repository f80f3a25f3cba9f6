//! The mutants. Production code knows none of them.

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// An omitted safeguard, or a forbidden action.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Mutant {
            $($(#[$doc])* $name),+
        }

        impl Mutant {
            /// Every mutant.
            pub(crate) const ALL: &[Mutant] = &[$(Mutant::$name),+];
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
    /// Entering Running, Finished or `NoClass`, and being finished, leaves `next` as it is.
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
    /// Rule 21 does not know whose job was canceled.
    CanceledIgnored,
    /// Rule 21 does not know that a machine may be held.
    HoldIgnored,
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
    /// Seats of an owner are not limited.
    NoOwnerLimit,
    /// Seats of a repository count for its name, not for its ID.
    SeatsByName,
    /// Every class serves every repository.
    ReposIgnored,
    /// The next attempt starts at once, however many failed.
    NoBackoff,
    /// A displaced job waits for a reassigned machine forever.
    DisplacedWaits,
    /// Displaced jobs wait for reassigned machines however few there are.
    UnclaimedNotCounted,
    /// No displaced job waits for a reassigned machine.
    NothingUnclaimed,
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
    /// Machines that never come online stop nothing.
    NoBootBreaker,
    /// Every attempt may try while machines of its class never come online.
    ProbesTogether,
    /// A class whose machines never came online never launches freely again.
    BootBreakerNeverCloses,
    /// A refused launch counts as a machine that never came online.
    RefusalsCountAsBoots,
    /// So does a machine that the cloud took back.
    ReclaimsCountAsBoots,
    /// A runner is registered in the scope: every repository can take it.
    RegisterInScope,
    /// A runner carries all labels of its class.
    LabelsOfClass,
    /// A repository is known by the name that a job was announced with.
    FormerName,
    /// Only the list of the scope is read.
    ListOfScopeOnly,
    /// A registration is read by its ID in the scope instead of its repository.
    ReadInScope,
    /// A registration without a record is retired, whichever installation made it.
    InstallationIgnored,
    /// An instance with our tags is ours, whatever client token it was launched with.
    ForeignTokenAccepted,
    /// Rule 22 is omitted: machines that neither take a job nor end.
    NoRule22,
    /// Rule 22 is content with one reading.
    HungByOneReading,
    /// Rule 22 ignores readings that failed between its two.
    HungDespiteFailure,
    /// Rule 22 takes every runner for one without a job.
    HungWithoutJobList,
    /// Rule 22 ends a machine in the reconcile that disables its registration.
    HungOnceDisabled,
    /// Rule 22 waits only as long as for a disabled registration where none can be disabled.
    HungSoonUndisabled,
    /// A registration counts as disabled although the forge cannot disable it.
    RefusedDisablingCounts,
    /// Guests start their runner after `start_by`.
    NoStartBy,
    /// Waits are concluded by a clock that does not agree with the true time.
    ClockIgnored,
    /// The true time is taken from the process's own clock.
    TimeOfOwnClock,
    /// Guests start a runner that failed again after `start_by`, and drain it from then on.
    RestartsAfterStartBy,
    /// The credentials of an attempt stay in its record.
    CredentialsKept,
    /// An attempt without an answer loses its credentials, does not end, and is launched again.
    DroppedNotEnded,
    /// The usage is written after the run, not in its transaction.
    CountedApart,
    /// The record does not keep which machines are counted.
    CountedForgotten,
    /// A run takes a free seat that is another run's by fair shares.
    TurnIgnored,
    /// The repositories of an owner get seats by the age of their jobs alone.
    ReposByAge,
    /// Capacity passes an owner by for as long as others have fewer machines.
    PassedByIgnored,
    /// A newer format is written whatever the other replicas read.
    FormatOfOwnRelease,
    /// Fields that a later release recorded are not written back.
    UnknownFieldsDropped,
    /// Every machine of a running job counts as taken by the cloud.
    RerunWithoutEvidence,
    /// Canceled jobs of a workflow run are not seen.
    RerunDespiteCancel,
    /// A job is run again however often it was.
    RerunWithoutLimit,
    /// Requests to run a job again are not stored.
    RerunNotRecorded,
    /// All failed jobs of a workflow run are run again with a lost one.
    RerunOfAllFailed,
    /// Jobs of every class are run again.
    RerunPolicyIgnored,
    /// A machine that was ended by a request counts as taken by the cloud.
    RerunOfTerminated,
    /// So does one that ended by itself, as at its deadline.
    RerunOfSelfEnded,
    /// A job is run again whichever of its ends is the latest one.
    RerunOfAnyEnd,
    /// A job is run again however long before its machine was taken it failed.
    RerunOfEarlierFailure,
    /// The workflow run is not read once more before the request.
    RerunWithoutReading,
    /// A request whose reply was lost is repeated at once.
    RerunWithoutWait,
    /// No job is run again.
    NoRerun,
    /// A run does not say that the cloud took the machine of its job, if that is another run's.
    SwappedMachineUntold,
    /// The run of a job that failed does not wait for the end of its spot machine.
    EarlyReportFinal,
    /// It is not known from which pools the cloud took machines.
    TakenPoolsIgnored,
    /// A job that is run again gets a machine like any other.
    RerunLikeAnyOther,
    /// The spot breaker of a class is not known.
    SpotBreakerIgnored,
}
