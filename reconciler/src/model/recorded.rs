//! Machines as the record has them. Tags can be set by hand; the record cannot.

use super::observation::Machine;
use super::run::Run;

impl Run {
    /// Returns a machine with class, deadline, registration and boot promise as the record of its
    /// attempt has them, instead of its tags, which a cloud may drop after its end. Unchanged if
    /// there is no such record.
    pub fn as_recorded(&self, machine: Machine) -> Machine {
        if machine.attempt_id != self.attempt_id(machine.attempt_id.number) {
            return machine;
        }
        let number = machine.attempt_id.number;
        let status = &self.status;
        if let Some(own) = status.attempt.as_ref().filter(|own| own.number == number) {
            return Machine {
                deadline: own.boot.deadline,
                registration: own.runner.id,
                repo_id: own.runner.repo_id,
                promise: own.boot.promise(),
                class: own.class.clone(),
                ..machine
            };
        }
        let Some(past) = status.past.iter().find(|past| past.number == number) else {
            return machine;
        };
        Machine {
            // Records of earlier releases do not keep it.
            deadline: past.deadline.unwrap_or(machine.deadline),
            registration: past.registration,
            repo_id: past.repo_id,
            promise: past.promise,
            class: past.class.clone(),
            ..machine
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{
        ClassName, End, Ended, MachineId, MachineState, Market, PastAttempt, RunName, SeenBy, Spec,
    };

    #[test]
    fn a_machine_without_tags_has_what_its_record_says() {
        let now = Timestamp::UNIX_EPOCH;
        let mut run = Run::new("test", RunName::job(1), Spec::default(), SeenBy::Poll, now);
        run.status.past = vec![PastAttempt {
            number: 1,
            decided_at: now,
            class: ClassName("linux".to_owned()),
            registration: 7,
            repo_id: 5,
            deadline: Some(now),
            promise: None,
            placements: Vec::new(),
            ended: Ended { why: End::Consumed, at: now },
            hung_since: None,
            boot_result: None,
            state_reason: None,
            log: None,
        }];
        let untagged = Machine {
            id: MachineId("i-1".to_owned()),
            attempt_id: run.attempt_id(1),
            placement: 0,
            state: MachineState::Gone,
            launched_at: now,
            deadline: Timestamp::MAX,
            registration: 0,
            repo_id: 0,
            promise: None,
            ended_by: None,
            ended_at: None,
            state_reason: None,
            class: ClassName(String::new()),
            kind: String::new(),
            zone: String::new(),
            market: Market::Spot,
        };
        let expected = Machine {
            deadline: now,
            registration: 7,
            repo_id: 5,
            class: ClassName("linux".to_owned()),
            ..untagged.clone()
        };
        assert_eq!(run.as_recorded(untagged.clone()), expected);
        let other = Machine { attempt_id: run.attempt_id(2), ..untagged };
        assert_eq!(run.as_recorded(other.clone()), other);
    }
}
