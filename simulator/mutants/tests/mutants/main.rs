//! Switches off every mechanism that the guarantees depend on. Each case names the laws that must
//! break, the profile, and the number of seeds. A surviving mutant is a gap in the laws.
//! `docs/testing.md` lists how each mutant is made.
//!
//! `cargo test -p tinqs-ci-mutants -- --nocapture` prints the seeds that killed each.

mod decision;
mod mutant;
mod ports;
mod reruns;
mod scripted;
mod scripted_reruns;
mod variant;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tinqs_ci_simulator::laws::Violation;
use tinqs_ci_simulator::play::{Outcome, Profile, run, run_variant};

use Broken::{
    Again, Asks, Boots, Canceled, Formats, GivenUp, InVain, L1, L2, L3, L4, L5, L6, L9, L10, L11,
    L12, L13, L14, L15, L17, Leak, Pools, SpotOpen, Surplus, Usage, Waits, Writes,
};
use mutant::Mutant;
use variant::Mutants;

/// A broken law. Laws over time are distinguished by subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Broken {
    L1,
    L2,
    L3,
    L4,
    L5,
    L6,
    L9,
    L10,
    L11,
    L12,
    L13,
    L14,
    L15,
    /// L16.
    Usage,
    L17,
    /// The laws of the breaker for machines that never come online.
    Boots,
    /// The laws of releases side by side.
    Formats,
    /// A run that gave up waits again.
    GivenUp,
    /// Another law of calls.
    Other,
    /// A job waits too long or forever.
    Waits,
    /// Too many writes of one run.
    Writes,
    /// A class whose launches are refused is requested again too soon.
    Asks,
    /// A machine lives on after its job was canceled.
    Canceled,
    /// Something exists or happens that should not any more.
    Leak,
    /// No law, but a figure that a test of the profile holds: a displaced run waited in vain.
    InVain,
    /// The same: there were more machines than jobs.
    Surplus,
    /// The same: machines came from pools that lost one, although others did not.
    Pools,
    /// The same of jobs that are run again.
    Again,
    /// The same: spot machines were launched while the spot breaker was open.
    SpotOpen,
}

impl Broken {
    /// Returns what a history broke, each with an example.
    fn all(outcome: &Outcome) -> Vec<(Self, String)> {
        let laws = outcome.violations.iter().map(|v| (Self::of(v), v.what.clone()));
        let in_vain = (outcome.waited_in_vain > 0)
            .then(|| (InVain, format!("{} waits in vain", outcome.waited_in_vain)));
        let surplus = (outcome.machines > outcome.ran)
            .then(|| (Surplus, format!("{} machines for {} jobs", outcome.machines, outcome.ran)));
        let pools = &outcome.pools;
        let figures = [(Pools, pools.taken), (Again, pools.again), (SpotOpen, pools.breaker)];
        let figures =
            figures.into_iter().filter(|(_, of)| of.wrong >= 2 && of.wrong * 8 > of.choices);
        let figures =
            figures.map(|(broken, of)| (broken, format!("{} of {}", of.wrong, of.choices)));
        laws.chain(in_vain).chain(surplus).chain(figures).collect()
    }

    fn of(violation: &Violation) -> Self {
        match violation.law {
            "L1" => L1,
            "L2" => L2,
            "L3" => L3,
            "L4" => L4,
            "L5" => L5,
            "L6" => L6,
            "L9" => L9,
            "L10" => L10,
            "L11" => L11,
            "L12" => L12,
            "L13" => L13,
            "L14" => L14,
            "L15" => L15,
            "L17" => L17,
            "L16 usage" => Usage,
            "boots" => Boots,
            "formats" => Formats,
            "given up" => GivenUp,
            "time" if violation.what.contains("asked again") => Asks,
            "time" if violation.what.contains("writes in") => Writes,
            "time" if violation.what.starts_with("job ") => Waits,
            "time" if violation.what.contains("was canceled") => Canceled,
            "time" => Leak,
            _ => Self::Other,
        }
    }
}

/// A mutant and the laws that it must break.
struct Case {
    /// Mechanisms switched off together.
    mutants: &'static [Mutant],
    /// Profile that reveals it.
    profile: fn() -> Profile,
    /// Laws that must all break.
    breaks: &'static [Broken],
    /// Maximum number of seeds, counted from 1.
    within: u64,
}

/// Generates a test for each case, and a table of all.
macro_rules! cases {
    ($($name:ident: $mutants:expr, $profile:expr, $breaks:expr, $within:expr;)+) => {
        $(
            #[test]
            fn $name() {
                die(stringify!($name), &Case {
                    mutants: &$mutants, profile: $profile, breaks: &$breaks, within: $within,
                });
            }
        )+
        /// Mutants of the cases.
        const TABLE: &[&[Mutant]] = &[$(&$mutants),+];
    };
}

cases! {
    no_client_token: [Mutant::NoClientToken], Profile::hidden_replies, [L2], 3;
    launch_before_record: [Mutant::LaunchBeforeRecord], Profile::calm, [L1], 1;
    no_compare_and_set: [Mutant::NoCompareAndSet], Profile::pause, [L4], 3;
    no_void_numbers: [Mutant::NoVoidNumbers], Profile::contended, [Leak], 3;
    nothing_read_again_and_nothing_too_late: [Mutant::RecordReadOnce, Mutant::LateEffects],
        Profile::forgetful, [L3], 3;
    current_spec: [Mutant::CurrentSpec], Profile::restless, [L1], 6;
    superseded_machines_terminated: [Mutant::TerminateSuperseded], Profile::machines, [L3], 3;
    finished_machines_terminated: [Mutant::TerminateFinished], Profile::steal, [L3], 1;
    cancelled_machines_terminated: [Mutant::TerminateCancelled], Profile::people, [L3], 5;
    idle_machines_terminated: [Mutant::TerminateIdle], Profile::silence, [L3], 1;
    unlisted_machines_are_gone: [Mutant::UnlistedMachineGone], Profile::hidden, [L6], 3;
    unlisted_machines_of_running_jobs_are_lost: [Mutant::UnlistedMachineLost], Profile::hidden,
        [L9], 3;
    unlisted_registrations_are_missing: [Mutant::UnlistedRegistrationMissing],
        Profile::omitted_runners, [L3], 3;
    refusals_are_definitive: [Mutant::RefusalDefinitive], Profile::late_launches, [L6], 20;
    finished_runs_are_not_woken: [Mutant::FinishedNotWoken], Profile::steal, [Leak], 1;
    consumption_is_derived: [Mutant::ConsumptionDerived], Profile::push_stillborn, [Waits], 60;
    no_rule_20: [Mutant::NoRule20], Profile::push_overdue, [Leak], 3;
    no_rule_21: [Mutant::NoRule21], Profile::machines, [Leak], 3;
    canceled_jobs_are_ignored: [Mutant::CanceledIgnored], Profile::held, [Canceled], 5;
    holds_are_ignored: [Mutant::HoldIgnored], Profile::held, [L3], 3;
    no_rule_23: [Mutant::NoRule23], Profile::spot, [Leak], 5;
    no_rule_24: [Mutant::NoRule24], Profile::crash, [Leak], 5;
    no_rule_25: [Mutant::NoRule25], Profile::contended, [Leak], 3;
    no_rule_26: [Mutant::NoRule26], Profile::limits, [Waits, Leak], 1;
    no_limit: [Mutant::NoLimit], Profile::limits, [L6], 1;
    no_limit_of_owners: [Mutant::NoOwnerLimit], Profile::flood, [L6, L14], 2;
    seats_count_for_names: [Mutant::SeatsByName], Profile::limits, [L6, L14], 3;
    classes_serve_every_repository: [Mutant::ReposIgnored], Profile::flood, [L10], 2;
    no_backoff: [Mutant::NoBackoff], Profile::drought, [Writes], 5;
    displaced_runs_wait: [Mutant::DisplacedWaits], Profile::spot, [Waits], 5;
    unclaimed_machines_are_not_counted: [Mutant::UnclaimedNotCounted], Profile::few, [InVain], 3;
    no_machine_is_unclaimed: [Mutant::NothingUnclaimed], Profile::steal, [Surplus], 20;
    no_late_rule: [Mutant::NoLateRule], Profile::machines, [Waits], 20;
    runs_given_up_are_reopened: [Mutant::GaveUpReopened], Profile::giveup, [GivenUp], 5;
    due_ignored: [Mutant::SweepIgnoresDue], Profile::alone, [Leak], 1;
    idle_registrations_of_finished_runs_retired: [Mutant::RetireIdleOfFinished],
        Profile::silence, [L3], 1;
    no_breaker: [Mutant::NoBreaker], Profile::broken, [Asks], 2;
    the_breaker_never_closes: [Mutant::BreakerNeverCloses], Profile::denied, [Waits], 2;
    no_breaker_for_machines: [Mutant::NoBootBreaker], Profile::deaf, [Boots], 3;
    attempts_try_together: [Mutant::ProbesTogether], Profile::deaf, [Boots], 5;
    the_breaker_for_machines_never_closes: [Mutant::BootBreakerNeverCloses], Profile::deaf,
        [Waits], 3;
    refused_launches_count_as_boots: [Mutant::RefusalsCountAsBoots], Profile::cap, [Boots], 5;
    reclaimed_machines_count_as_boots: [Mutant::ReclaimsCountAsBoots], Profile::spot, [Boots], 60;
    runners_are_registered_in_the_scope: [Mutant::RegisterInScope], Profile::hijack, [L10], 2;
    runners_carry_all_labels_of_the_class: [Mutant::LabelsOfClass], Profile::hijack, [L10], 2;
    repositories_keep_the_names_of_deliveries: [Mutant::FormerName], Profile::rogue, [L10], 20;
    only_the_list_of_the_scope_is_read: [Mutant::ListOfScopeOnly], Profile::hijack, [Leak], 5;
    registrations_are_read_in_the_scope: [Mutant::ReadInScope], Profile::hijack, [L3], 10;
    registrations_of_other_installations_retired: [Mutant::InstallationIgnored], Profile::rogue,
        [L5], 2;
    tags_prove_a_machine: [Mutant::ForeignTokenAccepted], Profile::rogue, [L5], 2;
    waits_are_concluded_by_a_wrong_clock: [Mutant::ClockIgnored], Profile::skew, [L3], 3;
    the_true_time_is_that_of_the_own_clock: [Mutant::TimeOfOwnClock], Profile::skew, [L3], 3;
    no_rule_22: [Mutant::NoRule22], Profile::hung, [L12], 3;
    hung_machines_are_read_once: [Mutant::HungByOneReading], Profile::hung, [L3], 20;
    failed_readings_count: [Mutant::HungDespiteFailure], Profile::hung, [L3], 20;
    disabling_is_the_second_reading: [Mutant::HungOnceDisabled], Profile::hung, [L3], 3;
    no_disabling_is_needed: [Mutant::HungSoonUndisabled], Profile::hung, [L3], 20;
    refused_disabling_counts: [Mutant::RefusedDisablingCounts], Profile::hung, [L12], 20;
    jobs_of_hung_machines_are_not_read: [Mutant::HungWithoutJobList], Profile::hung, [L3], 3;
    runners_start_after_start_by: [Mutant::NoStartBy], Profile::hung, [L12], 20;
    runners_are_restarted_after_start_by: [Mutant::RestartsAfterStartBy], Profile::hung, [L12], 20;
    credentials_stay_in_the_record: [Mutant::CredentialsKept], Profile::calm, [L13], 1;
    attempts_without_credentials_are_launched: [Mutant::DroppedNotEnded], Profile::rerun, [L1], 10;
    usage_is_written_apart: [Mutant::CountedApart], Profile::crash, [Usage], 10;
    counted_machines_are_forgotten: [Mutant::CountedForgotten], Profile::steal, [Usage], 2;
    turns_are_ignored: [Mutant::TurnIgnored], Profile::shares, [L11], 5;
    repositories_of_an_owner_go_by_age: [Mutant::ReposByAge], Profile::shares, [L11], 5;
    nobody_is_passed_by: [Mutant::PassedByIgnored], Profile::shares, [L11], 5;
    newer_formats_are_written_at_once: [Mutant::FormatOfOwnRelease], Profile::upgrade, [Formats],
        10;
    unknown_fields_are_dropped: [Mutant::UnknownFieldsDropped], Profile::upgrade, [Formats], 10;
    jobs_are_run_again_without_evidence: [Mutant::RerunWithoutEvidence], Profile::interrupt, [L15],
        5;
    canceled_workflow_runs_are_run_again: [Mutant::RerunDespiteCancel], Profile::interrupt, [L15],
        20;
    jobs_are_run_again_without_limit: [Mutant::RerunWithoutLimit], Profile::interrupt_lost, [L15],
        20;
    re_runs_are_not_recorded: [Mutant::RerunNotRecorded], Profile::interrupt, [L15], 5;
    all_failed_jobs_are_run_again: [Mutant::RerunOfAllFailed], Profile::interrupt, [L15], 10;
    every_class_is_run_again: [Mutant::RerunPolicyIgnored], Profile::interrupt, [L15], 10;
    machines_that_ended_themselves_count_as_taken: [Mutant::RerunOfSelfEnded], Profile::interrupt,
        [L15], 10;
    lost_replies_are_not_waited_for: [Mutant::RerunWithoutWait], Profile::interrupt_lost, [L15],
        10;
    lost_jobs_are_not_run_again: [Mutant::NoRerun], Profile::interrupt, [L17], 10;
    jobs_that_were_reported_early_are_final: [Mutant::EarlyReportFinal], Profile::interrupt, [L17],
        10;
    losses_of_swapped_machines_are_not_told: [Mutant::SwappedMachineUntold], Profile::taken, [L9],
        5;
    pools_that_lost_machines_are_not_known: [Mutant::TakenPoolsIgnored], Profile::taken, [Pools], 5;
    lost_jobs_get_a_machine_like_any_other: [Mutant::RerunLikeAnyOther], Profile::interrupt,
        [Again], 40;
    the_spot_breaker_is_not_known: [Mutant::SpotBreakerIgnored], Profile::taken, [SpotOpen], 5;
}

/// Mutants killed by a fixed interleaving, in `scripted` and `scripted_reruns`.
const SCRIPTED: &[Mutant] = &[
    Mutant::VersionWithoutUid,
    Mutant::DeadTokenLives,
    Mutant::SeatWithoutClass,
    Mutant::SweepIgnoresOrphans,
    Mutant::RerunOfTerminated,
    Mutant::RerunOfAnyEnd,
    Mutant::RerunOfEarlierFailure,
    Mutant::RerunWithoutReading,
];

/// Plays seeds until all laws of the case are broken. Ignores what a seed also breaks without the
/// mutant.
fn die(name: &str, case: &Case) {
    let profile = (case.profile)();
    let mut broken: BTreeMap<Broken, u64> = BTreeMap::new();
    let mut example = None;
    for seed in 1..=case.within {
        let outcome = run_variant(seed, &profile, Arc::new(Mutants(case.mutants)));
        let found = Broken::all(&outcome);
        let anyway = if found.is_empty() { None } else { Some(run(seed, &profile)) };
        let Some(anyway) = anyway.filter(|outcome| outcome.violations.is_empty()) else { continue };
        let anyway: Vec<Broken> =
            Broken::all(&anyway).into_iter().map(|(broken, _)| broken).collect();
        for (law, what) in found.into_iter().filter(|(law, _)| !anyway.contains(law)) {
            broken.entry(law).or_insert(seed);
            if case.breaks.contains(&law) && example.is_none() {
                example = Some(what);
            }
        }
        if case.breaks.iter().all(|law| broken.contains_key(law)) {
            let seeds: BTreeSet<u64> = case.breaks.iter().map(|law| broken[law]).collect();
            println!(
                "{name}: {:?} of {} broken by seeds {seeds:?}: {}",
                case.breaks,
                profile.name,
                example.unwrap_or_default(),
            );
            return;
        }
    }
    panic!(
        "{name} survives {} seeds of {}: {:?} not broken; broken: {broken:?}",
        case.within, profile.name, case.breaks,
    );
}

/// The profiles for mutants only break no law without a mutant.
#[test]
fn narrow_profiles_break_no_law_without_mutants() {
    let worlds = Profile::narrow();
    assert!(worlds.len() > 5);
    for profile in worlds {
        for seed in 1..=3 {
            let outcome = run(seed, &profile);
            assert!(outcome.ran > 0, "{} {seed}: no job ran", profile.name);
            let broken = outcome.violations.first();
            assert!(broken.is_none(), "{}: {}", profile.name, broken.unwrap());
        }
    }
}

#[test]
fn every_mutant_is_killed_by_a_case() {
    let dying: BTreeSet<Mutant> =
        TABLE.iter().copied().flatten().chain(SCRIPTED).copied().collect();
    let living: Vec<&Mutant> = Mutant::ALL.iter().filter(|m| !dying.contains(m)).collect();
    assert!(living.is_empty(), "no case kills {living:?}");
}

#[test]
fn every_mutant_is_documented() {
    let page = include_str!("../../../../docs/testing.md");
    let listed = |mutant: &&Mutant| page.contains(&format!("\n| `{mutant:?}` |"));
    let missing: Vec<&Mutant> = Mutant::ALL.iter().filter(|mutant| !listed(mutant)).collect();
    assert!(missing.is_empty(), "docs/testing.md does not list {missing:?}");
}
