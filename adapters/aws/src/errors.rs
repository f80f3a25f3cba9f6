//! Maps AWS's errors to kinds of remedy. One table per service; shared parts are here.

pub mod dynamodb;
pub mod ec2;
pub mod sqs;

use std::error::Error;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId as _;
use tinqs_ci_reconciler::model::Cause;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use tinqs_ci_reconciler::text::{chain, cut};

/// Longest message, in characters.
const LONGEST: usize = 300;
/// Precedes kilobytes that only `sts decode-authorization-message` can read.
const ENCODED: &str = "Encoded authorization failure message";

/// Result of a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response<'e> {
    /// It was never sent: the request itself is invalid.
    NotSent,
    /// It may have happened or not: no readable response.
    Ambiguous,
    /// The service responded with an error.
    Answered {
        /// The service's error code, if any.
        code: Option<&'e str>,
        /// The HTTP status.
        status: u16,
    },
}

/// Classifies a failed call.
pub fn told<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Response<'_> {
    match error {
        SdkError::ConstructionFailure(_) => Response::NotSent,
        SdkError::ServiceError(answer) => {
            Response::Answered { code: answer.err().code(), status: answer.raw().status().as_u16() }
        }
        // Timeouts, broken connections and truncated responses are equivalent here.
        _ => Response::Ambiguous,
    }
}

/// Describes the error on one line. Never includes the request or the response body: they hold
/// credentials.
pub fn sentence<E>(error: &SdkError<E, HttpResponse>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let (code, status) = (answer.err().code().unwrap_or("?"), answer.raw().status());
            let message = answer.err().message().unwrap_or("no message");
            cut(&format!("{code} (HTTP {}): {message}", status.as_u16()), LONGEST)
        }
        other => cut(&chain(other), LONGEST),
    }
}

/// One service's error codes.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// The kind of a code; `None`: the HTTP status decides.
    pub kind: fn(code: &str) -> Option<ErrorKind>,
    /// The cause of a refusal, if the code is more precise than its kind.
    pub cause: fn(code: &str) -> Option<Cause>,
    /// The remedy for an operator, appended to the message; empty for none.
    pub remedy: fn(code: &str, message: &str) -> &'static str,
}

/// Converts a failed call to a port's error. Its message holds code, status, request ID and AWS's
/// sentence, never the request: that may hold an identity.
pub fn port_error<E>(
    port: &'static str,
    operation: &'static str,
    error: &SdkError<E, HttpResponse>,
    table: Table,
) -> PortError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let Response::Answered { code, status } = told(error) else {
        // No readable response: it may have happened.
        let message = format!("no response: {}", cut(&chain(error), LONGEST));
        return PortError::new(port, operation, ErrorKind::Unavailable, message);
    };
    let code = code.unwrap_or_default();
    let said = error.message().unwrap_or_default();
    let kind = kind(code, status, table);
    let request = error.request_id().unwrap_or("unknown");
    let remedy = (table.remedy)(code, said);
    let colon = if remedy.is_empty() { "" } else { ": " };
    let message = format!(
        "{} (HTTP {status}, request {}): {}{colon}{remedy}",
        cut(code, 80),
        cut(request, 80),
        readable(said),
    );
    PortError { cause: (table.cause)(code), ..PortError::new(port, operation, kind, message) }
}

/// The kind of an error response.
pub fn kind(code: &str, status: u16, table: Table) -> ErrorKind {
    (table.kind)(code).unwrap_or(match status {
        429 => ErrorKind::Throttled,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Unavailable,
    })
}

/// The code of an error response; `None` if there was no response.
pub fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    match told(error) {
        Response::Answered { code, status: _ } => code,
        Response::NotSent | Response::Ambiguous => None,
    }
}

/// Copies the error for each caller that waits for the same call.
pub(super) fn again(error: &PortError) -> PortError {
    let PortError { port, operation, kind, message, cause, source: _ } = error;
    PortError { cause: *cause, ..PortError::new(port, operation, *kind, message.clone()) }
}

/// AWS's sentence on one line, without the encoded part.
fn readable(said: &str) -> String {
    let (readable, encoded) = match said.split_once(ENCODED) {
        Some((before, _)) => (before.trim_end(), " (an encoded message came with it)"),
        None => (said, ""),
    };
    format!("{}{encoded}", cut(readable, LONGEST))
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
            SdkBody::from("the body is not shown: SECRET"),
        );
        SdkError::service_error(RunInstancesError::generic(metadata), status)
    }

    #[test]
    fn an_error_shows_code_status_and_sentence_alone() {
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
    fn a_call_without_a_response_may_have_happened() {
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
            assert!(error.message.starts_with("no response: "), "{error}");
        }
    }
}
