//! What is decided from what is seen. Pure and total.
//!
//! `decide` gives the next status by rows 1 to 9 of the heart, `push` by P1 and P2, `attempt` by
//! rows 10 to 17: the first row that fits. [`crate::tidy`] adds what may be stopped or freed.

mod attempt;
mod decide;
mod heal;
mod push;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::class::{ClassName, Friendly, Machine};
use crate::observation::Observation;
use crate::ports::Limits;
use crate::run::{InstanceId, Slot, Status};
use crate::tidy;

pub(crate) use decide::{supersede, tell};

/// How long a recorded attempt may be launched.
pub const LAUNCH_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// How long the cloud may hide a machine.
pub const VISIBLE_WITHIN: SignedDuration = SignedDuration::from_mins(5);
/// No launch lands later than this after its look began (60 s of look, 5 min of signature).
pub const LANDS_WITHIN: SignedDuration = SignedDuration::from_mins(6);
/// A launch that was never answered shows its machine this long after its attempt was decided, or
/// there is none.
pub const SHOWN_WITHIN: SignedDuration = SignedDuration::from_secs(
    LAUNCH_WINDOW.as_secs() + LANDS_WITHIN.as_secs() + VISIBLE_WITHIN.as_secs(),
);
/// How long after a refusal its slot is kept: a minute more than any call takes to land.
pub const REFUSED_FOR: SignedDuration = SignedDuration::from_secs(LANDS_WITHIN.as_secs() + 60);
/// The same where another look had asked too: what an earlier call brought may be hidden as well.
pub const REFUSED_AGAIN_FOR: SignedDuration =
    SignedDuration::from_secs(REFUSED_FOR.as_secs() + VISIBLE_WITHIN.as_secs());
/// An attempt decided longer ago than this, never answered and not seen, has no machine.
pub const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(22);
/// A machine that idles so much longer than it should has not drained itself.
pub const DRAIN_GRACE: SignedDuration = SignedDuration::from_mins(1);
/// The longest backing off.
pub const LONGEST_BACKOFF: SignedDuration = SignedDuration::from_mins(8);
/// The same in push mode, where idle machines cannot be told from taken jobs.
pub const LONGEST_BACKOFF_PUSH: SignedDuration = SignedDuration::from_hours(1);
/// How long a class is left alone after a launch that was refused for what an operator must mend.
pub const STOPPED_FOR: SignedDuration = SignedDuration::from_mins(5);
/// No open run is left alone for longer.
pub const LONGEST_DUE: SignedDuration = SignedDuration::from_mins(10);

/// What a look does next.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Plan {
    /// The row that decided the status.
    pub row: Row,
    /// The next status; `None`: there is no record, or it goes.
    pub status: Option<Status>,
    /// What must be had before the next attempt is recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<Prepare>,
    /// What is freed first, then what is launched or removed last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
}

/// What the next attempt needs: a seat where places are counted, and a registration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Prepare {
    /// The slot of the number `next`.
    pub slot: Slot,
    /// The class it is for.
    pub class: ClassName,
    /// Whether a seat must be taken: the class has a limit and the slot no seat in it yet.
    pub seat: Option<SeatLimits>,
    /// The repository that the seat is counted for.
    pub repo: String,
    /// Labels of the registration.
    pub labels: Vec<String>,
    /// The first placement.
    pub machine: Machine,
    /// How long its runner may idle.
    #[serde(with = "Friendly")]
    pub idle_within: SignedDuration,
    /// When it powers off whatever it does.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub deadline: Timestamp,
}

/// Most seats in a class, and for one repository in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SeatLimits {
    /// In the class.
    pub class: Option<u32>,
    /// For the repository.
    pub repo: Option<u32>,
}

impl From<SeatLimits> for Limits {
    fn from(SeatLimits { class, repo }: SeatLimits) -> Self {
        Self { class, repo }
    }
}

/// One effect, with the row that asks for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Give a seat back.
    Unseat {
        /// In which class.
        class: ClassName,
        /// Whose.
        slot: Slot,
        /// Why.
        row: Row,
    },
    /// Remove a registration.
    Retire {
        /// Which.
        id: i64,
        /// Whose.
        slot: Slot,
        /// Why.
        row: Row,
    },
    /// End a machine.
    Terminate {
        /// Which.
        id: InstanceId,
        /// Whose.
        slot: Slot,
        /// Why.
        row: Row,
    },
    /// Ask for the machine of a recorded placement.
    Launch {
        /// Whose.
        slot: Slot,
        /// Which placement.
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

/// What is to be done about a run.
pub fn plan(seen: &Observation) -> Plan {
    let mut plan = decide::decide(seen);
    let mut actions = tidy::tidy(seen);
    for action in plan.actions {
        // A machine is ended once, whatever the grounds.
        let twice = matches!(&action, Action::Terminate { id, .. } if actions
            .iter()
            .any(|a| matches!(a, Action::Terminate { id: other, .. } if other == id)));
        if !twice {
            actions.push(action);
        }
    }
    plan.actions = actions;
    plan
}
