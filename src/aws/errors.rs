//! What AWS answers, as errors of the ports: by code first, then by HTTP status, then by transport.
//! Each service's codes are one table in a file of its own.

pub mod dynamodb;
pub mod ec2;
pub mod sqs;

use std::error::Error;

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_ec2::operation::RequestId as _;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use crate::print::cut;

/// A service's own part of the translation.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// What helps against a code; `None`: the status decides.
    pub kind: fn(code: &str) -> Option<ErrorKind>,
    /// What an operator may do about it, told after the message; empty for nothing.
    pub remedy: fn(code: &str, message: &str) -> &'static str,
}

/// Longest text of AWS that is told.
const LONGEST: usize = 300;
/// What stands before kilobytes that only `sts decode-authorization-message` can read.
const ENCODED: &str = "Encoded authorization failure message";

/// A failed call as a port's error. Its message holds code, status, request id and AWS's sentence,
/// never the request: that may hold an identity.
pub fn port_error<E>(
    port: &'static str,
    operation: &'static str,
    error: &SdkError<E>,
    table: Table,
) -> PortError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        // Not answered, or not understood: it may have happened.
        let message = format!("not answered: {}", cut(&chain(error), LONGEST));
        return PortError::new(port, operation, ErrorKind::Unavailable, message);
    };
    let code = answer.err().code().unwrap_or_default();
    let said = answer.err().message().unwrap_or_default();
    let status = answer.raw().status().as_u16();
    let kind = kind(code, status, table);
    let request = error.request_id().unwrap_or("unknown");
    let remedy = (table.remedy)(code, said);
    let colon = if remedy.is_empty() { "" } else { ": " };
    let message = format!(
        "{} (HTTP {status}, request {}): {}{colon}{remedy}",
        cut(code, 80),
        cut(request, 80),
        sentence(said),
    );
    PortError::new(port, operation, kind, message)
}

/// What helps against an answered error.
pub fn kind(code: &str, status: u16, table: Table) -> ErrorKind {
    (table.kind)(code).unwrap_or(match status {
        429 => ErrorKind::Throttled,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    })
}

/// The code of an answered error; `None` where there was no answer.
pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    match error {
        SdkError::ServiceError(answer) => answer.err().code(),
        _ => None,
    }
}

/// The same error once more, for each who waits for one call's answer.
pub(super) fn again(error: &PortError) -> PortError {
    let PortError { port, operation, kind, message, source: _ } = error;
    PortError::new(port, operation, *kind, message.clone())
}

/// AWS's sentence on one line, without what nobody can read.
fn sentence(said: &str) -> String {
    let (readable, encoded) = match said.split_once(ENCODED) {
        Some((before, _)) => (before.trim_end(), " (an encoded message came with it)"),
        None => (said, ""),
    };
    format!("{}{encoded}", cut(readable, LONGEST))
}

/// An error and its causes, each said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::error::ErrorMetadata;
    use aws_sdk_ec2::operation::run_instances::RunInstancesError;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    fn answered(code: &str, status: u16, message: &str) -> SdkError<RunInstancesError> {
        let metadata = ErrorMetadata::builder().code(code).message(message).build();
        let status = aws_sdk_ec2::config::http::HttpResponse::new(
            status.try_into().unwrap(),
            SdkBody::from("the body is not told: SECRET"),
        );
        SdkError::service_error(RunInstancesError::generic(metadata), status)
    }

    #[test]
    fn an_answer_is_told_with_code_status_and_sentence_alone() {
        let error = answered("InsufficientInstanceCapacity", 500, "no\ncapacity");
        let error = port_error("compute", "launch", &error, ec2::TABLE);
        assert_eq!(error.kind, ErrorKind::NoCapacity);
        assert_eq!(
            error.message,
            "InsufficientInstanceCapacity (HTTP 500, request unknown): no\\u{a}capacity"
        );
        assert!(!format!("{error:?}").contains("SECRET"));
    }

    #[test]
    fn an_encoded_message_is_noted_and_left_out() {
        let said = format!("You are not authorized. {ENCODED}: {}", "x".repeat(5_000));
        let error = answered("UnauthorizedOperation", 403, &said);
        let error = port_error("compute", "launch", &error, ec2::TABLE);
        assert_eq!(error.kind, ErrorKind::Denied);
        assert!(error.message.contains("not authorized. (an encoded message"), "{error}");
        assert!(!error.message.contains("xxx"), "{error}");
    }

    #[test]
    fn what_was_not_answered_may_have_happened() {
        let lost: [SdkError<RunInstancesError>; 3] = [
            SdkError::timeout_error("too slow"),
            SdkError::construction_failure("no credentials"),
            SdkError::response_error(
                "cut off",
                aws_sdk_ec2::config::http::HttpResponse::new(
                    200.try_into().unwrap(),
                    SdkBody::empty(),
                ),
            ),
        ];
        for error in lost {
            let error = port_error("compute", "launch", &error, ec2::TABLE);
            assert_eq!(error.kind, ErrorKind::Unavailable);
            assert!(error.message.starts_with("not answered: "), "{error}");
        }
    }
}
