//! SQS's error codes and what helps against each.

use tinqs_ci_reconciler::ports::ErrorKind::{self, Denied, Invalid, Throttled};

use super::Table;

/// SQS's error codes.
pub const TABLE: Table = Table { kind, cause: |_| None, remedy };

/// Whether a code says that a receipt handle is no longer valid: the message came again, or is
/// gone.
pub fn is_stale_handle(code: &str) -> bool {
    matches!(
        code,
        "ReceiptHandleIsInvalid" | "InvalidParameterValue" | "InvalidIdFormat" | "MissingParameter"
    )
}

/// Whether a code says that the queue does not exist.
pub fn is_unknown_queue(code: &str) -> bool {
    matches!(code, "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue")
}

fn kind(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "OverLimit"
        | "RequestThrottled"
        | "Throttling"
        | "ThrottlingException"
        | "KmsThrottled"
        | "KMS.ThrottlingException" => Throttled,
        "AccessDenied"
        | "AccessDeniedException"
        | "InvalidSecurity"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "RequestTimeTooSkewed"
        | "OptInRequired"
        | "KmsAccessDenied"
        | "KMS.AccessDeniedException" => Denied,
        "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue" | "InvalidAddress" => {
            Invalid
        }
        _ => return None,
    })
}

fn remedy(code: &str, _message: &str) -> &'static str {
    match code {
        "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue" | "InvalidAddress" => {
            "check `queue`; until then the sweep reconciles runs when they are due"
        }
        "AccessDenied" | "AccessDeniedException" => {
            "allow the controller's role sqs:SendMessage, ReceiveMessage, DeleteMessage and \
             GetQueueAttributes on this queue"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use tinqs_ci_reconciler::ports::ErrorKind::Unavailable;

    use super::super::kind as judged;
    use super::*;

    #[test]
    fn every_code_has_its_kind() {
        let rows = [
            ("OverLimit", 403, Throttled),
            ("RequestThrottled", 400, Throttled),
            ("ThrottlingException", 400, Throttled),
            ("KmsThrottled", 400, Throttled),
            ("AccessDenied", 403, Denied),
            ("InvalidSecurity", 400, Denied),
            ("ExpiredToken", 403, Denied),
            ("QueueDoesNotExist", 400, Invalid),
            ("AWS.SimpleQueueService.NonExistentQueue", 400, Invalid),
            ("SomethingNew", 400, Invalid),
            ("InternalFailure", 500, Unavailable),
            ("ServiceUnavailable", 503, Unavailable),
        ];
        for (code, status, kind) in rows {
            assert_eq!(judged(code, status, TABLE), kind, "{code}");
        }
        assert!(remedy("QueueDoesNotExist", "").contains("queue"));
        assert!(is_stale_handle("ReceiptHandleIsInvalid") && !is_stale_handle("AccessDenied"));
    }
}
