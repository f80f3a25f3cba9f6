//! Parameters of AWS Systems Manager.

use aws_config::SdkConfig;
use serde_json::json;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tinqs_ci_reconciler::text::cut;

use crate::errors::Table;
use crate::json_call::{JsonCall, Reply};

/// Reads a parameter.
pub(crate) const GET_PARAMETER: JsonCall = JsonCall {
    service: "ssm",
    operation: "GetParameter",
    target: "AmazonSSM.GetParameter",
    endpoint: "AWS_ENDPOINT_URL_SSM",
};
/// The place of a parameter's value in the response.
pub(crate) const VALUE: &str = "/Parameter/Value";

/// The error codes of Systems Manager.
const TABLE: Table = Table { kind, cause: |_| None, remedy };

/// The parameters of an account in one Region.
#[derive(Clone, Debug)]
pub struct Parameters {
    config: SdkConfig,
}

fn failed(name: &str, kind: ErrorKind, why: &str) -> PortError {
    let message = format!("parameter {}: {why}", cut(name, 200));
    PortError::new("compute", "image", kind, message)
}

impl Parameters {
    /// Reads with the credentials, Region and endpoints of this configuration.
    pub fn new(config: &SdkConfig) -> Self {
        Self { config: config.clone() }
    }

    /// Returns the value of a parameter, as it is stored: a secret one stays encrypted.
    ///
    /// # Errors
    /// `Unavailable`, `Throttled`: it cannot be read now. `Denied`: no right to read it. `Invalid`:
    /// it does not exist.
    pub async fn get(&self, name: &str) -> Result<String, PortError> {
        let reply = GET_PARAMETER.send(&self.config, &json!({ "Name": name })).await;
        read(name, &reply.map_err(|why| failed(name, ErrorKind::Unavailable, &why))?)
    }
}

fn read(name: &str, reply: &Reply) -> Result<String, PortError> {
    reply.text(VALUE, TABLE).map_err(|(kind, why)| failed(name, kind, &why))
}

pub(crate) fn kind(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "ThrottlingException" | "TooManyUpdates" => ErrorKind::Throttled,
        "AccessDeniedException"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "UnrecognizedClientException" => ErrorKind::Denied,
        "ParameterNotFound" | "ParameterVersionNotFound" | "ValidationException" => {
            ErrorKind::Invalid
        }
        _ => return None,
    })
}

fn remedy(code: &str, _: &str) -> &'static str {
    match code {
        "AccessDeniedException" => {
            "allow ssm:GetParameter on it to this process's role (deploy/aws/iam/controller.json, \
             statement ImageParameters)"
        }
        "ParameterNotFound" | "ParameterVersionNotFound" => {
            "create it in this Region, or check the class's `image` (RUNNER_AMI)"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Result<String, PortError> {
        read("/ci/image", &Reply::of(status, body))
    }

    #[test]
    fn a_response_is_a_value_or_says_what_to_do() {
        let value = reply(200, r#"{"Parameter":{"Name":"/ci/image","Value":"ami-1"}}"#);
        assert_eq!(value.unwrap(), "ami-1");
        for (status, body, kind, says) in [
            (400, r#"{"__type":"ParameterNotFound"}"#, ErrorKind::Invalid, "create it"),
            (
                400,
                r#"{"__type":"com.amazonaws.ssm#AccessDeniedException","Message":"no"}"#,
                ErrorKind::Denied,
                "AccessDeniedException (HTTP 400): no: allow ssm:GetParameter",
            ),
            (400, r#"{"__type":"ThrottlingException"}"#, ErrorKind::Throttled, "(HTTP 400)"),
            (500, "<html>", ErrorKind::Unavailable, "(HTTP 500)"),
            (200, r#"{"Parameter":{"Secret":"s3cret"}}"#, ErrorKind::Unavailable, "no value"),
        ] {
            let error = reply(status, body).unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(says), "{error}");
            assert!(error.message.starts_with("parameter /ci/image: "), "{error}");
            assert!(!error.message.contains("s3cret"), "{error}");
        }
    }
}
