//! Scopes: how many jobs there are, what may go wrong, and how often.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use tinqs_ci_reconciler::model::Class;
use tinqs_ci_reconciler::plan::Rule;

use crate::state;
use crate::variant::Variant;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
    /// A replica dies between two calls.
    Crash,
    /// A call is refused.
    Refused,
    /// A call has its effect and its reply is lost.
    ReplyLost,
    /// The caller of a launch gives up, and the launch reaches the cloud up to five minutes later.
    LateLaunch,
    /// The cloud has no capacity.
    NoCapacity,
    /// An account limit is reached.
    Limit,
    /// Something happens between the read of the record and the other reads.
    SlowRead,
    /// A reconcile continues after a minute.
    Pause,
    /// The list of machines is stale for up to five minutes.
    Freeze,
    /// The cloud reclaims a machine.
    Die,
    /// A machine never comes online, never requests a job, or stays after it.
    Hang,
    /// The timer does not end a machine that hangs.
    BrokenTimer,
    /// A runner has a job, and the forge shows it as idle.
    Silent,
    /// Readings of the forge fail, and no runner reports: the forge shows every one as idle.
    Outage,
    /// An idle runner gets no job and shuts down.
    NotAssigned,
}

/// An action of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UserAction {
    /// Cancel the job.
    Cancel,
    /// Run the job again.
    Rerun,
    /// `tinqs-ci delete RUN`.
    Delete,
    /// `tinqs-ci delete RUN --now`.
    DeleteNow,
    /// `tinqs-ci retry RUN`.
    Retry,
    /// Remove a runner at the forge.
    Unregister,
}

pub(crate) const ALL_FAULTS: &[Fault] = &[
    Fault::Crash,
    Fault::Refused,
    Fault::ReplyLost,
    Fault::LateLaunch,
    Fault::NoCapacity,
    Fault::Limit,
    Fault::SlowRead,
    Fault::Pause,
    Fault::Freeze,
    Fault::Die,
    Fault::Hang,
    Fault::BrokenTimer,
    Fault::Silent,
    Fault::Outage,
    Fault::NotAssigned,
];

pub(crate) const ALL_USER_ACTIONS: &[UserAction] = &[
    UserAction::Cancel,
    UserAction::Rerun,
    UserAction::Delete,
    UserAction::DeleteNow,
    UserAction::Retry,
    UserAction::Unregister,
];

/// The worlds to explore.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    pub(crate) name: &'static str,
    /// Jobs that wait at the start.
    pub(crate) jobs: usize,
    /// Whether each job has a repository of its own.
    pub(crate) apart: bool,
    /// Whether the forge can disable a registration, as from Gitea 1.26.
    pub(crate) disables: bool,
    /// Concurrent reconciles, each of another replica.
    pub(crate) reconciles: usize,
    /// The class's limit.
    pub(crate) limit: Option<u32>,
    pub(crate) faults: u8,
    pub(crate) fault_kinds: &'static [Fault],
    pub(crate) user_actions: u8,
    pub(crate) user_action_kinds: &'static [UserAction],
    /// The maximum number of steps.
    pub(crate) steps: usize,
}

impl Scope {
    /// Returns the ID of a job's repository.
    pub(crate) fn repo_id(&self, job: usize) -> i64 {
        if self.apart { i64::try_from(job).unwrap_or(0) + 1 } else { 1 }
    }
}

/// A scope with the decision that is explored in it.
pub(crate) struct World {
    pub(crate) scope: Scope,
    pub(crate) variant: Variant,
    pub(crate) class: Class,
    /// Counts of events on any path, which show that the scope is not too small.
    came: [AtomicU32; CAME.len()],
    /// Rules that decided, or required an effect.
    rules: Mutex<Vec<Rule>>,
    /// The states from which it settles, and after how many rounds.
    pub(crate) settles: Mutex<HashMap<u64, u16>>,
}

/// Things that may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Milestone {
    Displaced,
    Conflict,
    DeadReplay,
    Terminated,
    Retired,
    SecondPlacement,
    AtLimit,
    Removed,
    LandedLate,
}

pub(crate) const CAME: [Milestone; 9] = [
    Milestone::Displaced,
    Milestone::Conflict,
    Milestone::DeadReplay,
    Milestone::Terminated,
    Milestone::Retired,
    Milestone::SecondPlacement,
    Milestone::AtLimit,
    Milestone::Removed,
    Milestone::LandedLate,
];

impl World {
    pub(crate) fn new(scope: Scope, variant: Variant) -> Self {
        Self {
            scope,
            variant,
            class: state::class(scope.limit),
            came: std::array::from_fn(|_| AtomicU32::new(0)),
            rules: Mutex::default(),
            settles: Mutex::default(),
        }
    }

    pub(crate) fn came(&self, what: Milestone) {
        self.came[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often each thing happened.
    pub(crate) fn all_that_came(&self) -> Vec<(Milestone, u32)> {
        CAME.iter().map(|what| (*what, self.came[*what as usize].load(Ordering::Relaxed))).collect()
    }

    pub(crate) fn decided(&self, rule: Rule) {
        let mut rules = self.rules.lock();
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }

    /// Returns the rules that decided something.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        let mut rules = self.rules.lock().clone();
        rules.sort();
        rules
    }
}
