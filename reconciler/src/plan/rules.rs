//! A plan as data: the rule that matched, the next status and the actions.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::{
    AttemptId, Chosen, ClassName, Friendly, MachineId, MachineSpec, RerunScope, Reruns, SeatLimits,
    Status,
};

/// The decision of a reconcile: the next status, and the actions.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Plan {
    /// The rule that determined the status.
    pub rule: Rule,
    /// The next status; `None` if there is no record or it is removed.
    pub status: Option<Status>,
    /// The needs of the next attempt before it is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<Prepare>,
    /// Actions in order: first what is terminated or freed, then launches and removals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

/// The needs of the next attempt: a seat if the class has a limit, and a registration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Prepare {
    /// The ID of the next attempt.
    pub attempt_id: AttemptId,
    /// Its class.
    pub class: ClassName,
    /// The limits of the seat to take; `None` if the attempt needs no seat or already has one.
    pub seat: Option<SeatLimits>,
    /// The repository that the seat counts for, and in which the runner is registered.
    pub repo: String,
    /// Its ID at the forge; 0 if unknown.
    #[serde(default)]
    pub repo_id: i64,
    /// The labels of the registration.
    pub labels: Vec<String>,
    /// The machine spec of the first placement.
    pub machine: MachineSpec,
    /// The reason for the choice, if the class orders its machines by price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Chosen>,
    /// The maximum time for which the runner may idle.
    #[serde(with = "Friendly")]
    pub idle_within: SignedDuration,
    /// Time at which the machine powers itself off, busy or not.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub deadline: Timestamp,
    /// No runner is started after this time.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub start_by: Timestamp,
    /// The time that the machine stays after a job that asked for it.
    #[serde(default, with = "Friendly", skip_serializing_if = "SignedDuration::is_zero")]
    pub hold: SignedDuration,
}

/// One effect, with the rule that requires it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Give a seat back.
    Unseat {
        /// The class of the seat.
        class: ClassName,
        /// The attempt that holds it.
        attempt_id: AttemptId,
        /// The rule that requires it.
        rule: Rule,
    },
    /// Remove a registration.
    Retire {
        /// The registration's ID.
        id: i64,
        /// The attempt it belongs to.
        attempt_id: AttemptId,
        /// The rule that requires it.
        rule: Rule,
    },
    /// Disable a registration: the forge gives it no job any more.
    Disable {
        /// The registration's ID.
        id: i64,
        /// The attempt it belongs to.
        attempt_id: AttemptId,
        /// The rule that requires it.
        rule: Rule,
    },
    /// Terminate a machine.
    Terminate {
        /// The machine's ID.
        id: MachineId,
        /// The attempt it belongs to.
        attempt_id: AttemptId,
        /// The rule that requires it.
        rule: Rule,
    },
    /// Launch the machine of a recorded placement.
    Launch {
        /// The attempt.
        attempt_id: AttemptId,
        /// The index of the placement.
        placement: u32,
    },
    /// Ask the forge to run jobs of a workflow run again.
    Rerun {
        /// The ID of the workflow run.
        run_id: i64,
        /// The jobs of it.
        scope: RerunScope,
        /// The requests as they are recorded before the call, by key: each version is the one that
        /// was read, and 0 for none.
        requests: Vec<Reruns>,
        /// The rule that requires it.
        rule: Rule,
    },
    /// Remove the record.
    Remove,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $shown:literal),+ $(,)?) => {
        /// A rule of the decision table. Written with its name and number: `overdue (rule 20)`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        pub enum Rule {
            $($(#[$doc])* #[serde(rename = $shown)] $name),+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Rule] = &[$(Rule::$name),+];

            /// Returns its name and number: `overdue (rule 20)`.
            pub fn shown(self) -> &'static str {
                match self { $(Self::$name => $shown),+ }
            }
        }
    };
}

rules! {
    /// There is no record: only garbage collection.
    NoRecord = "no record (rule 0)",
    /// The record is removed.
    Remove = "record expired (rule 1)",
    /// A person deleted the run.
    Deleted = "deleted (rule 2)",
    /// The job is done.
    Done = "job done (rule 3)",
    /// The job no longer exists.
    JobGone = "job gone (rule 4)",
    /// The job runs, on any machine.
    Running = "job running (rule 5)",
    /// The job is blocked.
    Blocked = "job blocked (rule 6)",
    /// The run was finished, and its job waits again.
    Reopen = "reopened (rule 7)",
    /// The run has waited too long.
    GiveUp = "gave up (rule 8)",
    /// No class serves the run.
    NoClass = "no class (rule 9)",
    /// Its machine is starting or idle.
    Live = "machine live (rule 10)",
    /// The recorded placement is launched.
    Launch = "launch (rule 11)",
    /// A machine may still appear.
    Unseen = "machine not listed yet (rule 12)",
    /// The attempt moves on to the class's next machine.
    NextPlacement = "next placement (rule 13)",
    /// The job was displaced, and a reassigned machine is expected.
    MachineReassigned = "machine reassigned (rule 14)",
    /// The next attempt waits: breaker, backoff, capacity or pace.
    Hold = "on hold (rule 15)",
    /// The next attempt needs a seat first.
    Seat = "seat needed (rule 16)",
    /// The next attempt starts.
    NextAttempt = "next attempt (rule 17)",
    /// A live machine past its deadline.
    Overdue = "overdue (rule 20)",
    /// A live machine whose registration is missing.
    Unregistered = "registration missing (rule 21)",
    /// A live machine that neither takes a job nor ends.
    Hung = "hung (rule 22)",
    /// A registration whose machines are all gone.
    Spent = "registration spent (rule 23)",
    /// A registration besides the recorded one.
    Duplicate = "registration duplicate (rule 24)",
    /// A registration of a void number or without a record.
    Void = "registration void (rule 25)",
    /// A seat that is no longer needed, or of another class.
    SeatFree = "seat unused (rule 26)",
    /// Push mode: the attempt got a job.
    PushConsumed = "job assigned (rule P1)",
    /// Push mode: the machine that got a job ended.
    PushEnded = "machine ended (rule P2)",
    /// The job failed because the cloud took its machine, and is run again.
    AwaitsRerun = "rerun pending (rule R1)",
}

impl Rule {
    fn parts(self) -> (&'static str, &'static str) {
        let shown = self.shown();
        shown.trim_end_matches(')').split_once(" (rule ").unwrap_or((shown, ""))
    }

    /// Returns its name: `overdue`.
    pub fn name(self) -> &'static str {
        self.parts().0
    }

    /// Returns its number: `20`.
    pub fn number(self) -> &'static str {
        self.parts().1
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.shown())
    }
}
