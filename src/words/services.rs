//! The failure of a service: its reason, a sentence and the remedy.

use tinqs_ci_reconciler::ports::ErrorKind;

/// The reason why calls to a service fail. It is kept in the process and never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceReason {
    /// The forge does not accept the token, or the token lacks a right.
    ForgeDenied,
    /// Calls to the forge fail.
    ForgeUnreachable,
    /// The cloud does not accept the credentials, or a permission is missing.
    CloudDenied,
    /// Calls to the cloud fail.
    CloudUnreachable,
    /// The store cannot be read or written.
    StoreFailing,
    /// The queue of wake-ups fails.
    QueueFailing,
}

impl ServiceReason {
    /// Every reason.
    pub const ALL: &[Self] = &[
        Self::ForgeDenied,
        Self::ForgeUnreachable,
        Self::CloudDenied,
        Self::CloudUnreachable,
        Self::StoreFailing,
        Self::QueueFailing,
    ];

    /// Returns the reason for an error of a port. `None` if the error says nothing about the
    /// service: another writer was first, the rate is limited, there is no capacity.
    pub fn of(service: &str, kind: ErrorKind) -> Option<Self> {
        let denied = match kind {
            ErrorKind::Denied => true,
            ErrorKind::Unavailable => false,
            ErrorKind::Conflict
            | ErrorKind::Throttled
            | ErrorKind::NoCapacity
            | ErrorKind::Limit
            | ErrorKind::Invalid => return None,
        };
        Some(match (service, denied) {
            ("forge", true) => Self::ForgeDenied,
            ("forge", false) => Self::ForgeUnreachable,
            ("compute", true) => Self::CloudDenied,
            ("compute", false) => Self::CloudUnreachable,
            ("queue", _) => Self::QueueFailing,
            _ => Self::StoreFailing,
        })
    }

    /// Returns the name in JSON and text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ForgeDenied => "ForgeDenied",
            Self::ForgeUnreachable => "ForgeUnreachable",
            Self::CloudDenied => "CloudDenied",
            Self::CloudUnreachable => "CloudUnreachable",
            Self::StoreFailing => "StoreFailing",
            Self::QueueFailing => "QueueFailing",
        }
    }

    /// Returns the failure as a sentence. `message` is the error's own.
    pub fn sentence(self, message: &str) -> String {
        let message = without_request(message);
        match self {
            Self::ForgeDenied if message.starts_with("401 ") || is_unauthorized(message) => {
                "the forge does not accept the token (401): it is expired or was deleted".to_owned()
            }
            Self::ForgeDenied => format!("the forge denies a call: {message}"),
            Self::ForgeUnreachable => format!("calls to the forge fail: {message}"),
            Self::CloudDenied => format!("the cloud denies a call: {message}"),
            Self::CloudUnreachable => format!("calls to the cloud fail: {message}"),
            Self::StoreFailing => format!("the store fails: {message}"),
            Self::QueueFailing => format!("the queue of wake-ups fails: {message}"),
        }
    }

    /// Returns what to do. `message` is the error's own.
    pub fn fix(self, message: &str) -> &'static str {
        match self {
            Self::ForgeDenied if is_unauthorized(message) => {
                "create a new token at the forge and set it as `forge.token`; unless it is read from a \
                 file, run `tinqs-ci reload`"
            }
            Self::ForgeDenied => {
                "give the token the scope, and its user the right, that the message names"
            }
            Self::ForgeUnreachable => {
                "check that the forge is up and that this host can reach `forge.url`"
            }
            Self::CloudDenied => {
                "grant the permission that the message names; `tinqs-ci doctor` lists all"
            }
            Self::CloudUnreachable => {
                "check the network and the credentials of this host; `tinqs-ci doctor` tests both"
            }
            Self::StoreFailing if is_being_completed(message) => {
                "wait: DynamoDB takes minutes over many items, and this server goes on by itself; \
                 `tinqs-ci doctor` says whether the index is there"
            }
            Self::StoreFailing => {
                "check the free space and permissions of the store, or that its table exists"
            }
            Self::QueueFailing => "check that the queue of `queue` exists and this host may use it",
        }
    }

    /// Returns what a run waits for while this service fails.
    pub fn waits_for(self) -> &'static str {
        match self {
            Self::ForgeDenied => "the forge to accept the token",
            Self::ForgeUnreachable => "the forge to answer",
            Self::CloudDenied => "the cloud to accept the credentials",
            Self::CloudUnreachable => "the cloud to answer",
            Self::StoreFailing => "the store to work again",
            Self::QueueFailing => "the queue to work again",
        }
    }

    /// Whether it needs a person at once: only a person can end it, or nothing can be recorded.
    pub fn needs_person(self) -> bool {
        matches!(self, Self::ForgeDenied | Self::CloudDenied | Self::StoreFailing)
    }
}

/// Returns the name of a service for people.
pub fn service_name(service: &str) -> &str {
    match service {
        "compute" => "cloud",
        other => other,
    }
}

/// Returns an error without the request in front of it, `GET /api/v1/…: `.
fn without_request(message: &str) -> &str {
    let is_request = ["GET ", "POST ", "PUT ", "PATCH ", "DELETE "];
    let rest = message.split_once(": ").map(|(_, rest)| rest);
    rest.filter(|_| is_request.iter().any(|method| message.starts_with(method))).unwrap_or(message)
}

/// Whether an error of the forge says that the token itself is not accepted. Only the wording
/// depends on it.
fn is_unauthorized(message: &str) -> bool {
    message.contains(": 401 ")
}

/// Whether an error of the store says that an index is still being made. Only the wording depends on
/// it.
pub fn is_being_completed(message: &str) -> bool {
    message.starts_with("index `") && message.contains(" is being created, for ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_rejected_token_and_a_missing_right_differ() {
        let denied = ServiceReason::of("forge", ErrorKind::Denied).expect("a reason");
        assert_eq!(denied.as_str(), "ForgeDenied");
        let expired = "GET /api/v1/user: 401 Unauthorized: the forge does not accept `forge.token`";
        assert_eq!(
            denied.sentence(expired),
            "the forge does not accept the token (401): it is expired or was deleted"
        );
        assert!(denied.fix(expired).contains("new token"), "{}", denied.fix(expired));
        let scope = "GET /api/v1/admin: 403 Forbidden: it must have the scope `read:admin`";
        assert!(denied.sentence(scope).contains("read:admin"));
        assert!(denied.fix(scope).contains("scope"));
    }

    #[test]
    fn the_request_is_left_out_of_a_sentence() {
        let down = ServiceReason::of("forge", ErrorKind::Unavailable).expect("a reason");
        let message = "GET /api/v1/admin/actions/jobs?status=queued: cannot connect to x: check it";
        let sentence = "calls to the forge fail: cannot connect to x: check it";
        assert_eq!(down.sentence(message), sentence);
        let store = ServiceReason::of("store", ErrorKind::Unavailable).expect("a reason");
        assert_eq!(store.sentence("disk: full"), "the store fails: disk: full");
    }

    #[test]
    fn a_store_that_is_being_completed_needs_only_time() {
        let store = ServiceReason::of("store", ErrorKind::Unavailable).expect("a reason");
        let being_made = "index `open` of table runs is being created, for 2 min so far";
        assert!(store.sentence(being_made).ends_with(being_made));
        let (wait, check) = (store.fix(being_made), store.fix("table runs is being created"));
        assert!(wait.starts_with("wait: ") && wait.contains("by itself"), "{wait}");
        assert!(check.contains("free space"), "{check}");
    }

    #[test]
    fn refusals_of_a_working_service_are_no_reason() {
        for kind in [
            ErrorKind::Conflict,
            ErrorKind::Throttled,
            ErrorKind::NoCapacity,
            ErrorKind::Limit,
            ErrorKind::Invalid,
        ] {
            for service in ["store", "queue", "compute", "forge"] {
                assert_eq!(ServiceReason::of(service, kind), None, "{service} {kind}");
            }
        }
    }

    #[test]
    fn every_reason_says_what_to_do_and_keeps_the_message() {
        let mut found = BTreeSet::new();
        for service in ["store", "queue", "compute", "forge"] {
            for kind in [ErrorKind::Unavailable, ErrorKind::Denied] {
                let reason = ServiceReason::of(service, kind).expect("a reason");
                assert!(reason.sentence("disk is full").ends_with(": disk is full"), "{reason:?}");
                assert!(reason.fix("disk is full").len() > 20, "{reason:?}");
                assert!(!reason.waits_for().is_empty(), "{reason:?}");
                found.insert(reason);
            }
        }
        assert_eq!(found, ServiceReason::ALL.iter().copied().collect());
    }
}
