//! Drift as data: what differs, for how long, what keeps it from being fixed, and what comes next.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::class::ClassName;
use super::names::{MachineId, RunName};
use super::run::Reason;

macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($(#[$value_doc:meta])* $name:ident = $label:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        pub enum $type {
            $($(#[$value_doc])* $name),+
        }

        impl $type {
            /// Every value.
            pub const ALL: &[$type] = &[$($type::$name),+];

            /// Returns the metric label, in `snake_case`.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }

            /// Returns the name in JSON and text, in `CamelCase`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }
        }
    };
}

named! {
    /// The kinds of differences between runs, machines and registrations.
    DriftKind {
        /// A job waits, and its run has no machine.
        RunWithoutMachine = "run_without_machine",
        /// A machine has no open run and no job, past the time for which it is left alone.
        MachineWithoutRun = "machine_without_run",
        /// A machine has no runner that is online.
        MachineWithoutRegistration = "machine_without_registration",
        /// A registration has no machine.
        RegistrationWithoutMachine = "registration_without_machine",
        /// A job waits while the runner of its machine is idle: the forge does not assign it.
        JobNotAssigned = "job_not_assigned",
        /// A machine is idle, and no job waits for it.
        SurplusMachine = "surplus_machine",
        /// The machine of an open run is up past its deadline.
        ExpiredMachine = "expired_machine",
        /// A machine is not what its attempt recorded.
        SpecMismatch = "spec_mismatch",
    }
}

named! {
    /// The cause that keeps drift from being fixed: a run's reason, or the failure of a service.
    Blocker {
        /// No class serves the labels of the job.
        NoClass = "no_class",
        /// Another job took its machine; it waits for the machine of that job.
        MachineReassigned = "machine_reassigned",
        /// It waits after failed attempts.
        BackingOff = "backing_off",
        /// All offerings of its class are unavailable.
        NoCapacity = "no_capacity",
        /// A person paused the launches of its class.
        Paused = "paused",
        /// The budget of its class is spent for today, or cannot be kept.
        Budget = "budget",
        /// Launches are paced.
        Paced = "paced",
        /// The class, or the repository or the owner in it, is at its limit.
        AtLimit = "at_limit",
        /// The breaker of its class is open.
        BreakerOpen = "breaker_open",
        /// The forge does not accept the token, or denies a call.
        ForgeDenied = "forge_denied",
        /// Calls to the forge fail.
        ForgeUnreachable = "forge_unreachable",
        /// The cloud does not accept the credentials, or denies a call.
        CloudDenied = "cloud_denied",
        /// Calls to the cloud fail.
        CloudUnreachable = "cloud_unreachable",
    }
}

impl Blocker {
    /// Returns the blocker that the reason of a run names; `None` if the reason blocks nothing.
    pub fn of(reason: Reason) -> Option<Self> {
        Some(match reason {
            Reason::NoClass => Self::NoClass,
            Reason::MachineReassigned => Self::MachineReassigned,
            Reason::BackingOff => Self::BackingOff,
            Reason::NoCapacity => Self::NoCapacity,
            Reason::Paused => Self::Paused,
            Reason::Budget => Self::Budget,
            Reason::Paced => Self::Paced,
            Reason::AtLimit => Self::AtLimit,
            Reason::BreakerOpen => Self::BreakerOpen,
            Reason::Deleted
            | Reason::Blocked
            | Reason::MachineLost
            | Reason::MaxAge
            | Reason::AwaitsRerun
            | Reason::Cancelled
            | Reason::Other => return None,
        })
    }
}

named! {
    /// The next step, taken without a person.
    NextStep {
        /// A machine is launched.
        Launch = "launch",
        /// The machine is terminated.
        Terminate = "terminate",
        /// The registration is removed.
        Retire = "retire",
        /// The machine powers itself off.
        PowerOff = "power_off",
        /// Nothing, until a person acts.
        Nothing = "nothing",
    }
}

/// A difference that has lasted longer than its stage allows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Drift {
    /// The kind of the difference.
    pub kind: DriftKind,
    /// The class; `null` if no class serves the job, or if the class is not known.
    pub class: Option<ClassName>,
    /// The run, or the run that the machine or registration was made for.
    pub run: RunName,
    /// The machine, if it is about one.
    pub machine: Option<MachineId>,
    /// The registration, if it is about one.
    pub registration: Option<i64>,
    /// Time at which the difference began.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub since: Timestamp,
    /// Time until which its stage allowed it: since then it is drift.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub open_since: Timestamp,
    /// The cause that keeps it from being fixed; `null` if there is none.
    pub blocked_by: Option<Blocker>,
    /// The next step.
    pub next: NextStep,
    /// Latest time of the next step; `null` if it is not known.
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub by: Option<Timestamp>,
}

impl Drift {
    /// Returns the name of what drifts: a machine, a registration, or else the run.
    pub fn subject(&self) -> String {
        match (&self.machine, self.registration) {
            (Some(machine), _) => machine.to_string(),
            (None, Some(registration)) => registration.to_string(),
            (None, None) => self.run.to_string(),
        }
    }
}

/// Services whose calls fail now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failing {
    /// The failure of calls to the forge.
    pub forge: Option<Blocker>,
    /// The failure of calls to the cloud.
    pub cloud: Option<Blocker>,
}

/// The times since which this process has seen registrations in a state. Lists do not say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenSince {
    /// Registrations whose runner is online without a job.
    pub idle: BTreeMap<i64, Timestamp>,
    /// Registrations without a machine.
    pub alone: BTreeMap<i64, Timestamp>,
    /// Registrations for whose ID the forge answers 404.
    pub missing: BTreeMap<i64, Timestamp>,
}
