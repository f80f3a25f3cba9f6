//! Events: what happened to a run, a class, a service or a set of labels, as data and in words.

use std::borrow::Cow;
use std::hash::Hash as _;

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::UnservedLabels;
use tinqs_ci_reconciler::model::{End, Happened, MachineId, Outcome, Pause, Reason};
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_reconciler::text::cut;

use super::services::ServiceReason;
use super::{lasting, reasons, timeline, unserved};

/// The maximum length of a message, in columns.
const MESSAGE: usize = 300;

/// The maximum length of a person's name, in columns.
const BY: usize = 60;

/// An event as data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventData {
    /// A milestone of a run.
    Milestone(Happened),
    /// A condition of a run began.
    Began {
        /// The reason.
        reason: Reason,
        /// Its message.
        message: String,
    },
    /// A condition that a person had to attend to ended.
    Ended {
        /// The reason.
        reason: Reason,
        /// The time for which it held.
        held: SignedDuration,
    },
    /// A person terminated a machine of the run.
    Terminated {
        /// The machine.
        machine: MachineId,
        /// The name of the caller, if it is known.
        by: Option<String>,
    },
    /// The record of the run was removed.
    Removed,
    /// The breaker of a class opened.
    BreakerOpened {
        /// The refusal.
        message: String,
    },
    /// The breaker of a class closed.
    BreakerClosed {
        /// The time that it was open.
        open: SignedDuration,
    },
    /// The spot breaker of a class opened.
    SpotBreakerOpened {
        /// The reason, in words.
        message: String,
    },
    /// The spot breaker of a class closed.
    SpotBreakerClosed {
        /// The time that it was open.
        open: SignedDuration,
    },
    /// A person paused launches.
    Paused(Pause),
    /// A person resumed launches.
    Resumed {
        /// The time for which they were paused.
        after: SignedDuration,
        /// The caller who did it; `None` if another replica was asked.
        by: Option<String>,
    },
    /// A service began to fail.
    ServiceFails {
        /// The service, as ports name it.
        service: &'static str,
        /// The kind of the error.
        kind: ErrorKind,
        /// The error.
        message: String,
    },
    /// A service works again.
    ServiceWorks {
        /// The time that it failed.
        after: SignedDuration,
    },
    /// Jobs wait for labels that no class serves.
    Unserved(Box<UnservedLabels>),
    /// No job asks for these labels any more, or a class serves them.
    NoLongerUnserved {
        /// The time for which they were not served.
        after: SignedDuration,
    },
}

/// An event in words, as Kubernetes has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventText {
    /// Whether it is not well.
    pub is_warning: bool,
    /// The reason, in `CamelCase`.
    pub reason: Cow<'static, str>,
    /// The event in words, safe for terminals.
    pub message: String,
}

/// Says what happened.
pub fn told(what: &EventData) -> EventText {
    let (is_warning, reason, message): (_, Cow<'static, str>, _) = match what {
        EventData::Milestone(happened) => milestone(happened),
        EventData::Began { reason, message } => {
            let is_warning = reasons::of(*reason).weight != reasons::Weight::Normal;
            (is_warning, reason.as_str().into(), cut(message, MESSAGE))
        }
        EventData::Ended { reason, held } => (
            false,
            "ConditionEnded".into(),
            format!("no longer {reason}, after {}", lasting(*held)),
        ),
        EventData::Terminated { machine, by } => {
            let who = timeline::person(by.as_deref());
            let message = format!("{who} terminated machine {}", cut(&machine.0, 100));
            (true, "Terminated".into(), message)
        }
        EventData::Removed => {
            (false, "Removed".into(), "the record of the run was removed".to_owned())
        }
        EventData::BreakerOpened { message } => {
            (true, reasons::BREAKER_OPEN.into(), cut(message, MESSAGE))
        }
        EventData::BreakerClosed { open } => {
            let message = format!("the class launches again, after {}", lasting(*open));
            (false, "BreakerClosed".into(), message)
        }
        EventData::SpotBreakerOpened { message } => {
            (true, reasons::SPOT_BREAKER_OPEN.into(), cut(message, MESSAGE))
        }
        EventData::SpotBreakerClosed { open } => {
            let message = format!("the order of the class holds again, after {}", lasting(*open));
            (false, "SpotBreakerClosed".into(), message)
        }
        EventData::Paused(pause) => (true, reasons::PAUSED.into(), pause.message()),
        EventData::Resumed { after, .. } => {
            (false, "Resumed".into(), format!("launches go on, after {}", lasting(*after)))
        }
        EventData::ServiceFails { service, kind, message } => {
            match ServiceReason::of(service, *kind) {
                Some(reason) => {
                    (true, reason.as_str().into(), cut(&reason.sentence(message), MESSAGE))
                }
                None => (true, "ServiceFailing".into(), cut(message, MESSAGE)),
            }
        }
        EventData::ServiceWorks { after } => {
            (false, "ServiceWorks".into(), format!("works again, after {}", lasting(*after)))
        }
        EventData::Unserved(set) => (true, reasons::NO_CLASS.into(), unserved::sentence(set)),
        EventData::NoLongerUnserved { after } => {
            let message = format!("no job waits for these labels, after {}", lasting(*after));
            (false, "Served".into(), message)
        }
    };
    EventText { is_warning, reason, message }
}

fn milestone(happened: &Happened) -> (bool, Cow<'static, str>, String) {
    let (is_warning, reason) = match happened {
        Happened::Seen { .. } => (false, "Seen"),
        Happened::Registered { .. } => (false, "Registered"),
        Happened::Launched { .. } => (false, "Launched"),
        Happened::Refused { .. } => (true, "LaunchRefused"),
        Happened::Started { .. } => (false, "Started"),
        Happened::Reassigned { .. } => (false, "MachineReassigned"),
        Happened::MachineLost { .. } => (true, "MachineLost"),
        Happened::AttemptEnded { why, .. } => {
            let is_usual = matches!(why, End::Consumed | End::Deleted | End::Superseded);
            (!is_usual, "AttemptEnded")
        }
        Happened::Blocked => (false, "Blocked"),
        Happened::Unblocked => (false, "Unblocked"),
        Happened::GaveUp => (true, "GaveUp"),
        Happened::Retried { .. } => (false, "Retried"),
        Happened::Deleted { .. } => (false, "Deleted"),
        Happened::Finished { outcome } => (is_bad(*outcome), "Finished"),
        Happened::RerunRequested => (false, "RerunRequested"),
        Happened::NotRerun { .. } => (true, "NotRerun"),
        Happened::Reopened { .. } => (false, "Reopened"),
        Happened::Unknown => (false, "Unknown"),
    };
    (is_warning, reason.into(), timeline::happened(happened))
}

/// Whether an outcome is a failure of the machine. A job that fails by itself is normal.
fn is_bad(outcome: Outcome) -> bool {
    match outcome {
        Outcome::GaveUp | Outcome::MachineEnded | Outcome::MachineLost | Outcome::MaxAge => true,
        Outcome::Succeeded
        | Outcome::Failed
        | Outcome::Cancelled
        | Outcome::Skipped
        | Outcome::JobGone => false,
    }
}

/// Whether a milestone tells the same as the condition, so that the condition needs no event.
pub fn is_milestone(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Blocked | Reason::MachineReassigned | Reason::MachineLost | Reason::Deleted
    )
}

impl EventData {
    /// Returns who did it, if a person did: the name of the token, or `uid` and the number;
    /// `person` if that is not known.
    pub fn by(&self) -> Option<String> {
        let by = match self {
            Self::Terminated { by, .. }
            | Self::Milestone(Happened::Retried { by } | Happened::Deleted { by })
            | Self::Resumed { by, .. } => by.as_deref(),
            Self::Paused(pause) => Some(pause.by.as_str()),
            _ => return None,
        };
        Some(by.map_or_else(|| "person".to_owned(), |by| cut(by, BY)))
    }

    /// Hashes what makes two events the same one that is repeated. Numbers of attempts and
    /// durations do not count.
    pub fn hash_kind(&self, state: &mut impl std::hash::Hasher) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Milestone(happened) => hash_milestone(happened, state),
            Self::Began { reason, message } => (reason, message).hash(state),
            Self::Ended { reason, .. } => reason.hash(state),
            Self::Terminated { machine, by } => (machine, by).hash(state),
            Self::BreakerOpened { message } | Self::SpotBreakerOpened { message } => {
                message.hash(state);
            }
            Self::Paused(pause) => pause.hash(state),
            Self::ServiceFails { kind, message, .. } => (kind, message).hash(state),
            Self::Removed
            | Self::BreakerClosed { .. }
            | Self::SpotBreakerClosed { .. }
            | Self::Resumed { .. }
            | Self::ServiceWorks { .. }
            | Self::Unserved(_)
            | Self::NoLongerUnserved { .. } => state.write_u8(0),
        }
    }
}

fn hash_milestone(happened: &Happened, state: &mut impl std::hash::Hasher) {
    match happened {
        Happened::Registered { .. } => state.write_u8(1),
        Happened::Refused { why, .. } => (2_u8, why).hash(state),
        Happened::Reassigned { .. } => state.write_u8(3),
        Happened::AttemptEnded { why, .. } => (4_u8, why).hash(state),
        other => other.hash(state),
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher as _};

    use tinqs_ci_reconciler::model::{Refusal, SeenBy};

    use super::*;

    fn kind(what: &EventData) -> u64 {
        let mut state = DefaultHasher::new();
        what.hash_kind(&mut state);
        state.finish()
    }

    fn terminated(by: Option<&str>) -> EventData {
        EventData::Terminated { machine: MachineId("i-1".to_owned()), by: by.map(str::to_owned) }
    }

    #[test]
    fn each_event_has_a_type_a_reason_and_a_sentence() {
        let minute = SignedDuration::from_mins(1);
        let fails = |kind, message: &str| EventData::ServiceFails {
            service: "forge",
            kind,
            message: message.to_owned(),
        };
        let began = |reason, text: &str| EventData::Began { reason, message: text.to_owned() };
        let rows = [
            (
                EventData::Milestone(Happened::Seen { by: SeenBy::Poll }),
                (false, "Seen", "a poll found the job in the forge's list"),
            ),
            (
                EventData::Milestone(Happened::Refused { attempt: 1, why: Refusal::NoCapacity }),
                (true, "LaunchRefused", "the launch was refused: the cloud has no capacity"),
            ),
            (
                EventData::Milestone(Happened::Finished { outcome: Outcome::Failed }),
                (false, "Finished", "the job failed"),
            ),
            (
                EventData::Milestone(Happened::Finished { outcome: Outcome::MachineLost }),
                (true, "Finished", "the machine of the job was lost while it ran"),
            ),
            (
                began(Reason::AtLimit, "class linux is at its limit of 5"),
                (false, "AtLimit", "class linux is at its limit of 5"),
            ),
            (began(Reason::BackingOff, "a\u{1b}b"), (true, "BackingOff", "a\\u{1b}b")),
            (
                EventData::Ended { reason: Reason::BreakerOpen, held: minute },
                (false, "ConditionEnded", "no longer BreakerOpen, after 1 min"),
            ),
            (terminated(None), (true, "Terminated", "a person terminated machine i-1")),
            (
                terminated(Some("ops\u{1b}")),
                (true, "Terminated", "ops\\u{1b} terminated machine i-1"),
            ),
            (
                EventData::Resumed { after: minute, by: None },
                (false, "Resumed", "launches go on, after 1 min"),
            ),
            (
                EventData::BreakerClosed { open: minute },
                (false, "BreakerClosed", "the class launches again, after 1 min"),
            ),
            (
                EventData::SpotBreakerClosed { open: minute },
                (false, "SpotBreakerClosed", "the order of the class holds again, after 1 min"),
            ),
            (
                fails(ErrorKind::Unavailable, "no answer"),
                (true, "ForgeUnreachable", "calls to the forge fail: no answer"),
            ),
            (
                EventData::ServiceWorks { after: minute },
                (false, "ServiceWorks", "works again, after 1 min"),
            ),
            (
                EventData::NoLongerUnserved { after: minute },
                (false, "Served", "no job waits for these labels, after 1 min"),
            ),
        ];
        for (what, (is_warning, reason, message)) in rows {
            let expected =
                EventText { is_warning, reason: reason.into(), message: message.to_owned() };
            assert_eq!(told(&what), expected, "{what:?}");
        }
    }

    #[test]
    fn the_number_of_an_attempt_makes_no_other_event_but_its_end_does() {
        let ended = |attempt, why| EventData::Milestone(Happened::AttemptEnded { attempt, why });
        assert_eq!(kind(&ended(1, End::NeverReady)), kind(&ended(2, End::NeverReady)));
        assert_ne!(kind(&ended(1, End::NeverReady)), kind(&ended(1, End::MachineGone)));
        let registered = |attempt| EventData::Milestone(Happened::Registered { attempt });
        assert_eq!(kind(&registered(1)), kind(&registered(7)));
    }

    #[test]
    fn only_people_delete_retry_and_terminate() {
        let person = Some("person".to_owned());
        assert_eq!(EventData::Milestone(Happened::Deleted { by: None }).by(), person);
        assert_eq!(terminated(None).by(), person);
        let ops = Some("ops".to_owned());
        assert_eq!(terminated(Some("ops")).by(), ops);
        assert_eq!(EventData::Milestone(Happened::Retried { by: ops.clone() }).by(), ops);
        assert_eq!(
            (EventData::Milestone(Happened::GaveUp).by(), EventData::Removed.by()),
            (None, None)
        );
        let since = jiff::Timestamp::UNIX_EPOCH;
        let pause = EventData::Paused(Pause { class: None, since, by: "ops".to_owned() });
        assert_eq!(pause.by().as_deref(), Some("ops"));
    }
}
