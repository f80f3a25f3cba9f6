//! The state of each service, from ordinary calls: since when it fails, and how.
//!
//! A single failure says little, and a service may answer one call and deny another. So an operation
//! fails from its second failure in a row (the first, if the service has never answered), and keeps
//! failing until it succeeds itself. That success also ends the failures of the service's other
//! operations: what was wrong has changed, and one that still fails shows it again.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tinqs_ci_reconciler::text::cut;

use crate::api::Health;

/// The services, in the order of `/readyz`.
pub const SERVICES: [&str; 4] = ["store", "queue", "compute", "forge"];

/// Failures in a row from which an operation fails.
const FAILS_FROM: u32 = 2;
/// A failure that was not repeated for so long is forgotten when the service answers another call.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// The maximum length of a message, in columns.
const MESSAGE: usize = 300;

/// The last contact with each service, from ordinary calls.
#[derive(Default)]
pub struct Contacts {
    services: Mutex<[Contact; 4]>,
    failed_write: Mutex<Option<Instant>>,
}

/// The last contact with a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contact {
    /// The time of the last success.
    pub good: Option<Timestamp>,
    /// Failed operations, oldest first.
    failures: Vec<Failure>,
}

/// The failures in a row of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The call.
    pub operation: &'static str,
    /// The kind of the last error.
    pub kind: ErrorKind,
    /// The last error, for people: one line without secrets.
    pub message: String,
    /// The time of the first failure in the row.
    pub since: Timestamp,
    last: Timestamp,
    in_a_row: u32,
    /// Whether it counts.
    fails: bool,
}

/// A change of a service's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The service began to fail.
    Began(Failure),
    /// The service works again.
    Ended {
        /// The time that it failed.
        after: SignedDuration,
    },
}

impl Contacts {
    /// Returns the last contact with a service of [`SERVICES`].
    pub fn of(&self, service: &str) -> Contact {
        let index = SERVICES.iter().position(|name| *name == service);
        index.map(|index| self.services.lock()[index].clone()).unwrap_or_default()
    }

    /// Returns when a write of a record, a seat or a lease last failed in the store itself.
    pub fn failed_write(&self) -> Option<Instant> {
        *self.failed_write.lock()
    }

    /// Notes that such a write failed.
    pub(super) fn write_failed(&self) {
        *self.failed_write.lock() = Some(Instant::now());
    }

    /// Notes a call, and returns whether the service's state changed.
    pub(super) fn note(
        &self,
        service: &str,
        operation: &'static str,
        error: Option<&PortError>,
        now: Timestamp,
    ) -> Option<Change> {
        let index = SERVICES.iter().position(|name| *name == service)?;
        let contact = &mut self.services.lock()[index];
        let before = contact.failing().map(|failure| failure.since);
        match error.map(|error| error.kind) {
            // A refusal shows that the service works.
            None | Some(ErrorKind::Conflict | ErrorKind::NoCapacity | ErrorKind::Limit) => {
                contact.succeeded(operation, now);
            }
            // The breaker of the class tells a denied launch.
            Some(ErrorKind::Denied) if operation == "launch" => contact.succeeded(operation, now),
            // The adapter's rate limit may have caused `Throttled`, a foreign cursor `Invalid`:
            // neither says anything about the service.
            Some(ErrorKind::Throttled | ErrorKind::Invalid) => {}
            Some(ErrorKind::Unavailable | ErrorKind::Denied) => {
                if let Some(error) = error {
                    contact.failed(operation, error, now);
                }
            }
        }
        match (before, contact.failing()) {
            (None, Some(failure)) => Some(Change::Began(failure.clone())),
            (Some(since), None) => Some(Change::Ended { after: now.duration_since(since) }),
            (None, None) | (Some(_), Some(_)) => None,
        }
    }
}

impl Contact {
    /// Returns the failure of the service; `None` if it works or was not called yet.
    pub fn failing(&self) -> Option<&Failure> {
        self.failures.iter().find(|failure| failure.fails)
    }

    /// Returns the health according to the last calls.
    pub fn health(&self) -> Health {
        match (self.failing(), self.good) {
            (Some(_), _) => Health::Failing,
            (None, Some(_)) => Health::Ok,
            (None, None) => Health::Unknown,
        }
    }

    fn succeeded(&mut self, operation: &str, now: Timestamp) {
        self.good = Some(now);
        let failed = self.failures.iter().any(|f| f.operation == operation && f.fails);
        self.failures.retain(|failure| {
            let old = now.duration_since(failure.last) > FORGOTTEN_AFTER;
            !failed && !old && failure.operation != operation
        });
    }

    fn failed(&mut self, operation: &'static str, error: &PortError, now: Timestamp) {
        let index = self.failures.iter().position(|failure| failure.operation == operation);
        let index = index.unwrap_or_else(|| {
            self.failures.push(Failure {
                operation,
                kind: error.kind,
                message: String::new(),
                since: now,
                last: now,
                in_a_row: 0,
                fails: false,
            });
            self.failures.len() - 1
        });
        let never_answered = self.good.is_none();
        let failure = &mut self.failures[index];
        failure.kind = error.kind;
        failure.message = cut(&error.message, MESSAGE);
        failure.last = now;
        failure.in_a_row = failure.in_a_row.saturating_add(1);
        failure.fails |= never_answered || failure.in_a_row >= FAILS_FROM;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    /// Notes a call of the forge; `None` is a success.
    fn call(
        contacts: &Contacts,
        operation: &'static str,
        kind: Option<ErrorKind>,
        second: i64,
    ) -> Option<Change> {
        let error = kind.map(|kind| PortError::new("forge", operation, kind, "no\nanswer"));
        contacts.note("forge", operation, error.as_ref(), at(second))
    }

    fn health(contacts: &Contacts) -> Health {
        contacts.of("forge").health()
    }

    const DOWN: Option<ErrorKind> = Some(ErrorKind::Unavailable);
    const DENIED: Option<ErrorKind> = Some(ErrorKind::Denied);

    #[test]
    fn a_single_failure_among_successes_changes_nothing() {
        let contacts = Contacts::default();
        assert_eq!(health(&contacts), Health::Unknown);
        for second in 0..20 {
            let kind = if second % 2 == 1 { DOWN } else { None };
            assert_eq!(call(&contacts, "job", kind, second), None);
            assert_eq!(health(&contacts), Health::Ok);
        }
    }

    #[test]
    fn the_second_failure_in_a_row_counts_from_the_first() {
        let contacts = Contacts::default();
        call(&contacts, "waiting", None, 0);
        assert_eq!(call(&contacts, "waiting", DOWN, 10), None);
        let Some(Change::Began(failure)) = call(&contacts, "waiting", DOWN, 20) else {
            panic!("it began to fail")
        };
        assert_eq!((failure.since, failure.operation), (at(10), "waiting"));
        assert_eq!(failure.message, "no\\u{a}answer", "one line");
        assert_eq!(call(&contacts, "waiting", DOWN, 30), None, "told once");
        let ended = call(&contacts, "waiting", None, 70);
        assert_eq!(ended, Some(Change::Ended { after: SignedDuration::from_secs(60) }));
        assert_eq!(health(&contacts), Health::Ok);
    }

    #[test]
    fn a_service_that_never_answered_fails_at_once() {
        let contacts = Contacts::default();
        assert!(matches!(call(&contacts, "waiting", DOWN, 0), Some(Change::Began(_))));
        assert_eq!(health(&contacts), Health::Failing);
    }

    #[test]
    fn an_operation_that_is_denied_fails_until_it_succeeds_itself() {
        let contacts = Contacts::default();
        call(&contacts, "waiting", None, 0);
        for second in 1..10 {
            call(&contacts, "register", DENIED, second);
            call(&contacts, "waiting", None, second);
        }
        let contact = contacts.of("forge");
        let failure = contact.failing().expect("it fails");
        assert_eq!((failure.operation, failure.since), ("register", at(1)));
        assert!(matches!(call(&contacts, "register", None, 10), Some(Change::Ended { .. })));
    }

    #[test]
    fn the_success_of_a_failing_operation_ends_all_failures() {
        let contacts = Contacts::default();
        for operation in ["waiting", "job", "registrations"] {
            call(&contacts, operation, DENIED, 0);
            call(&contacts, operation, DENIED, 1);
        }
        assert!(matches!(call(&contacts, "job", None, 2), Some(Change::Ended { .. })));
        assert_eq!(health(&contacts), Health::Ok);
    }

    #[test]
    fn a_failure_that_is_not_repeated_is_forgotten() {
        let contacts = Contacts::default();
        call(&contacts, "waiting", None, 0);
        call(&contacts, "retire", DOWN, 1);
        call(&contacts, "retire", DOWN, 2);
        assert_eq!(call(&contacts, "waiting", None, 600), None);
        assert_eq!(health(&contacts), Health::Failing);
        assert!(matches!(call(&contacts, "waiting", None, 603), Some(Change::Ended { .. })));
    }

    #[test]
    fn refusals_of_a_working_service_are_contacts() {
        let contacts = Contacts::default();
        for kind in [ErrorKind::Conflict, ErrorKind::NoCapacity, ErrorKind::Limit] {
            call(&contacts, "launch", Some(kind), 1);
            assert_eq!(contacts.of("forge").good, Some(at(1)), "{kind}");
        }
        call(&contacts, "launch", DENIED, 2);
        call(&contacts, "launch", DENIED, 3);
        assert_eq!(health(&contacts), Health::Ok, "the breaker tells a denied launch");
        call(&contacts, "waiting", Some(ErrorKind::Throttled), 4);
        call(&contacts, "waiting", Some(ErrorKind::Throttled), 5);
        assert_eq!(contacts.of("forge").good, Some(at(3)));
    }

    #[test]
    fn long_messages_are_cut() {
        let contacts = Contacts::default();
        let error = PortError::new("store", "put", ErrorKind::Unavailable, "x".repeat(5_000));
        contacts.note("store", "put", Some(&error), at(0));
        let message = contacts.of("store").failing().expect("it fails").message.clone();
        assert_eq!(message.chars().count(), 300);
    }
}
