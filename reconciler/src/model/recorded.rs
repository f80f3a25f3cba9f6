//! What the record says about a machine. Tags can be set by hand; the record cannot.

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
