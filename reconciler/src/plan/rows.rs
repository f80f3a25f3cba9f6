//! A plan as data: the rule that matched, the next status and the actions.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::{ClassName, Friendly, InstanceId, Machine, SeatLimits, Slot, Status};

/// What a reconcile does next.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Plan {
    /// The rule that determined the status.
    pub row: Row,
    /// The next status; `None` if there is no record or it is removed.
    pub status: Option<Status>,
    /// What the next attempt needs before it is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<Prepare>,
    /// Actions in order: first what is terminated or freed, then launches and removals.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

/// What the next attempt needs: a seat if the class has a limit, and a registration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Prepare {
    /// The ID of the next attempt.
    pub slot: Slot,
    /// Its class.
    pub class: ClassName,
    /// The limits of the seat to take; `None` if the attempt needs no seat or already has one.
    pub seat: Option<SeatLimits>,
    /// The repository that the seat counts for.
    pub repo: String,
    /// The labels of the registration.
    pub labels: Vec<String>,
    /// The machine spec of the first placement.
    pub machine: Machine,
    /// How long the runner may idle.
    #[serde(with = "Friendly")]
    pub idle_within: SignedDuration,
    /// When the machine powers itself off, busy or not.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub deadline: Timestamp,
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
        slot: Slot,
        /// The rule that requires it.
        row: Row,
    },
    /// Remove a registration.
    Retire {
        /// The registration's ID.
        id: i64,
        /// The attempt it belongs to.
        slot: Slot,
        /// The rule that requires it.
        row: Row,
    },
    /// Terminate a machine.
    Terminate {
        /// The machine's ID.
        id: InstanceId,
        /// The attempt it belongs to.
        slot: Slot,
        /// The rule that requires it.
        row: Row,
    },
    /// Launch the machine of a recorded placement.
    Launch {
        /// The attempt.
        slot: Slot,
        /// The index of the placement.
        placement: u32,
    },
    /// Remove the record.
    Remove,
}

macro_rules! rows {
    ($($(#[$doc:meta])* $name:ident = $number:literal),+ $(,)?) => {
        /// A row of the heart's tables.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        pub enum Row {
            $($(#[$doc])* #[serde(rename = $number)] $name),+
        }

        impl Row {
            /// Every row.
            pub const ALL: &[Row] = &[$(Row::$name),+];

            /// Its number in the heart.
            pub fn number(self) -> &'static str {
                match self { $(Self::$name => $number),+ }
            }
        }
    };
}

rows! {
    /// There is no record; only tidying.
    NoRecord = "none",
    /// The record goes.
    Remove = "1",
    /// A person deleted it.
    Deleted = "2",
    /// The job is done.
    Done = "3",
    /// The job is absent.
    JobGone = "4",
    /// The job runs, anywhere.
    Running = "5",
    /// The job is blocked.
    Blocked = "6",
    /// It was finished and the job waits again.
    Reopen = "7",
    /// It has waited too long.
    GiveUp = "8",
    /// No class serves it.
    NoClass = "9",
    /// Its machine is on its way or idle.
    Live = "10",
    /// The recorded placement is asked for.
    Launch = "11",
    /// The cloud may still show a machine.
    Unseen = "12",
    /// The class's next machine, within the attempt.
    NextPlacement = "13",
    /// Another job took its machine; that job's is expected.
    Spare = "14",
    /// Not now: stopped, backing off, no capacity, paced.
    Hold = "15",
    /// A seat first.
    Seat = "16",
    /// The next attempt.
    NextAttempt = "17",
    /// A live machine past its deadline.
    Overdue = "20",
    /// A live machine whose registration is missing.
    Unregistered = "21",
    /// A registration whose machines are all gone.
    Spent = "23",
    /// A registration beside the recorded one.
    Twin = "24",
    /// A registration of a void number or of no record.
    Void = "25",
    /// A seat on those grounds, or of another class.
    SeatFree = "26",
    /// Push mode: the attempt got a job.
    PushConsumed = "P1",
    /// Push mode: the machine that got a job ended.
    PushEnded = "P2",
}

impl std::fmt::Display for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.number())
    }
}
