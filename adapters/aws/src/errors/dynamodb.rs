//! `DynamoDB`'s error codes. All come with HTTP 400 except those of server errors.

use std::error::Error;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::{Response, sentence, told};

/// Matched by the end of a code, because of the form `com.amazonaws.dynamodb.v20120810#Code`.
const CODES: &[(&str, ErrorKind)] = &[
    ("ConditionalCheckFailedException", ErrorKind::Conflict),
    // Rate limits. The client retries by itself first.
    ("ThrottlingException", ErrorKind::Throttled),
    ("Throttling", ErrorKind::Throttled),
    ("ProvisionedThroughputExceededException", ErrorKind::Throttled),
    ("RequestLimitExceeded", ErrorKind::Throttled),
    // Concurrent writes, or the table is being created: retry later.
    ("TransactionConflictException", ErrorKind::Unavailable),
    ("TransactionInProgressException", ErrorKind::Unavailable),
    ("ReplicatedWriteConflictException", ErrorKind::Unavailable),
    ("ResourceInUseException", ErrorKind::Unavailable),
    ("LimitExceededException", ErrorKind::Unavailable),
    ("InternalServerError", ErrorKind::Unavailable),
    ("InternalFailure", ErrorKind::Unavailable),
    ("ServiceUnavailable", ErrorKind::Unavailable),
    // An operator must act: permissions, credentials, this host's clock.
    ("AccessDeniedException", ErrorKind::Denied),
    ("AccessDenied", ErrorKind::Denied),
    ("UnrecognizedClientException", ErrorKind::Denied),
    ("InvalidClientTokenId", ErrorKind::Denied),
    ("InvalidSignatureException", ErrorKind::Denied),
    ("IncompleteSignature", ErrorKind::Denied),
    ("IncompleteSignatureException", ErrorKind::Denied),
    ("MissingAuthenticationToken", ErrorKind::Denied),
    ("MissingAuthenticationTokenException", ErrorKind::Denied),
    ("ExpiredToken", ErrorKind::Denied),
    ("ExpiredTokenException", ErrorKind::Denied),
    ("RequestExpired", ErrorKind::Denied),
    ("RequestTimeTooSkewed", ErrorKind::Denied),
    ("OptInRequired", ErrorKind::Denied),
    // The table is missing or not ours, or the request is invalid.
    ("ResourceNotFoundException", ErrorKind::Invalid),
    ("ValidationException", ErrorKind::Invalid),
    ("SerializationException", ErrorKind::Invalid),
    ("ItemCollectionSizeLimitExceededException", ErrorKind::Invalid),
    ("IdempotentParameterMismatchException", ErrorKind::Invalid),
    ("UnknownOperationException", ErrorKind::Invalid),
    ("UnknownOperation", ErrorKind::Invalid),
];

/// The kind of a failed call.
pub fn kind(told: Response<'_>) -> ErrorKind {
    let (code, status) = match told {
        Response::NotSent => return ErrorKind::Invalid,
        Response::Ambiguous => return ErrorKind::Unavailable,
        Response::Answered { code, status } => (code.unwrap_or_default(), status),
    };
    let code = code.rsplit('#').next().unwrap_or(code);
    match CODES.iter().find(|(known, _)| *known == code) {
        Some((_, kind)) => *kind,
        None if (400..500).contains(&status) => ErrorKind::Invalid,
        // A server error, or the response of a proxy.
        None => ErrorKind::Unavailable,
    }
}

/// Converts a failed call to the port's error.
pub fn port_error<E>(operation: &'static str, error: &SdkError<E, HttpResponse>) -> PortError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    PortError::new("store", operation, kind(told(error)), sentence(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: &str, status: u16) -> ErrorKind {
        kind(Response::Answered { code: Some(code), status })
    }

    #[test]
    fn the_kind_follows_the_code_then_the_status() {
        assert_eq!(answered("ConditionalCheckFailedException", 400), ErrorKind::Conflict);
        assert_eq!(answered("ThrottlingException", 400), ErrorKind::Throttled);
        let long = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException";
        assert_eq!(answered(long, 400), ErrorKind::Throttled);
        assert_eq!(answered("AccessDeniedException", 400), ErrorKind::Denied);
        assert_eq!(answered("ResourceNotFoundException", 400), ErrorKind::Invalid);
        assert_eq!(answered("NeverHeardOf", 400), ErrorKind::Invalid);
        assert_eq!(answered("NeverHeardOf", 503), ErrorKind::Unavailable);
        assert_eq!(kind(Response::Answered { code: None, status: 500 }), ErrorKind::Unavailable);
        assert_eq!(kind(Response::Ambiguous), ErrorKind::Unavailable);
        assert_eq!(kind(Response::NotSent), ErrorKind::Invalid);
    }

    #[test]
    fn no_code_is_listed_twice() {
        let mut codes: Vec<_> = CODES.iter().map(|(code, _)| code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
    }
}
