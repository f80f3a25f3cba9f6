//! What AWS says, told apart by what helps. One table for each service; what they share is here.

pub mod dynamodb;

use std::error::Error;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::print::{chain, cut};

/// Longest message, in characters.
const LONGEST: usize = 300;

/// What came back of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'e> {
    /// It was never sent: the request itself is wrong.
    NotSent,
    /// It may have happened or not: no answer, or none that can be read.
    Ambiguous,
    /// An answer.
    Answered {
        /// The service's code, where it named one.
        code: Option<&'e str>,
        /// The HTTP status.
        status: u16,
    },
}

/// What came back of a failed call.
pub fn told<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Told<'_> {
    match error {
        SdkError::ConstructionFailure(_) => Told::NotSent,
        SdkError::ServiceError(answer) => {
            Told::Answered { code: answer.err().code(), status: answer.raw().status().as_u16() }
        }
        // Time-outs, broken connections, answers that are cut: all the same here.
        _ => Told::Ambiguous,
    }
}

/// The same for people, on one line. Never the request or the answer's body: they hold credentials.
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
