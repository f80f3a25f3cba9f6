//! Reads a secret: one call, from code that waits for it.

use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_reconciler::text::chain;

use super::SecretId;
use crate::client;
use crate::errors::Table;
use crate::json_call::{JsonCall, Reply};
use crate::ssm::{self, GET_PARAMETER};

/// Reads a secret of Secrets Manager.
const GET_SECRET: JsonCall = JsonCall {
    service: "secretsmanager",
    operation: "GetSecretValue",
    target: "secretsmanager.GetSecretValue",
    endpoint: "AWS_ENDPOINT_URL_SECRETS_MANAGER",
};

/// Credentials may come from a process or another service, which may hang.
const WITHIN: Duration = Duration::from_secs(30);

const PARAMETERS: Table = Table { kind: ssm::kind, cause: |_| None, remedy: of_parameter };
const SECRETS: Table = Table { kind, cause: |_| None, remedy: of_secret };

/// Reads on a thread of its own: the caller may be a task, in which nothing may block.
pub(super) fn read(id: &SecretId, region: Option<&str>) -> Result<String, String> {
    let on_thread = || -> Result<String, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
        runtime.block_on(async {
            let fetched = tokio::time::timeout(WITHIN, Box::pin(fetch(id, region))).await;
            let late = || {
                let within = WITHIN.as_secs();
                format!("not read within {within} s: check the network and the AWS credentials")
            };
            fetched.unwrap_or_else(|_| Err(late()))
        })
    };
    let read = thread::scope(|scope| scope.spawn(on_thread).join());
    read.unwrap_or_else(|_| Err("reading it panicked: a bug".to_owned()))
}

async fn fetch(id: &SecretId, region: Option<&str>) -> Result<String, String> {
    let config = client::load(region).await.map_err(|error| chain(&error))?;
    let config = client::hasty(&config);
    let (call, body) = request(id);
    value(id, &call.send(&config, &body).await?)
}

fn request(id: &SecretId) -> (JsonCall, Value) {
    match id {
        SecretId::Parameter(name) => {
            (GET_PARAMETER, json!({ "Name": name, "WithDecryption": true }))
        }
        SecretId::Secret(name) => (GET_SECRET, json!({ "SecretId": name })),
    }
}

fn value(id: &SecretId, reply: &Reply) -> Result<String, String> {
    let value = match id {
        SecretId::Parameter(_) => reply.text(ssm::VALUE, PARAMETERS),
        SecretId::Secret(_) => reply.text("/SecretString", SECRETS),
    };
    value.map_err(|(_, why)| why)
}

fn kind(code: &str) -> Option<ErrorKind> {
    match code {
        "ResourceNotFoundException" | "InvalidRequestException" => Some(ErrorKind::Invalid),
        code => ssm::kind(code),
    }
}

fn of_parameter(code: &str, _: &str) -> &'static str {
    match code {
        "AccessDeniedException" => {
            "allow ssm:GetParameter on it, and kms:Decrypt on its key, to this process's role \
             (deploy/aws/iam/controller.json, statement SecretParameters)"
        }
        "ParameterNotFound" | "ParameterVersionNotFound" => {
            "create it in this Region as a SecureString, or correct the name in `ssm`"
        }
        "InvalidKeyId" => "enable the KMS key that encrypts it",
        _ => "",
    }
}

fn of_secret(code: &str, _: &str) -> &'static str {
    match code {
        "AccessDeniedException" | "DecryptionFailure" => {
            "allow secretsmanager:GetSecretValue on it, and kms:Decrypt on its key, to this \
             process's role (deploy/aws/iam/controller.json, statement ForgeToken)"
        }
        "ResourceNotFoundException" => {
            "create it in this Region as plain text, or correct the name in `secretsmanager`"
        }
        "InvalidRequestException" => "restore it if it is marked for deletion",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_a_value_or_says_what_to_do() {
        let parameter = SecretId::Parameter("/ci/token".to_owned());
        let secret = SecretId::Secret("ci/token".to_owned());
        let of = |id: &SecretId, status, body: &str| value(id, &Reply::of(status, body));
        let body = r#"{"Parameter":{"Name":"/ci/token","Value":"s3cret"}}"#;
        assert_eq!(of(&parameter, 200, body).unwrap(), "s3cret");
        let body = r#"{"Name":"ci/token","SecretString":"s3cret"}"#;
        assert_eq!(of(&secret, 200, body).unwrap(), "s3cret");
        for (id, status, body, says) in [
            (&parameter, 400, r#"{"__type":"ParameterNotFound"}"#, "as a SecureString"),
            (&parameter, 400, r#"{"__type":"AccessDeniedException"}"#, "SecretParameters"),
            (&secret, 400, r#"{"__type":"ResourceNotFoundException"}"#, "as plain text"),
            (&secret, 400, r#"{"__type":"x#AccessDeniedException"}"#, "statement ForgeToken"),
            (&secret, 200, r#"{"SecretBinary":"czNjcmV0"}"#, "no value"),
            (&secret, 503, "s3cret", "(HTTP 503)"),
        ] {
            let error = of(id, status, body).unwrap_err();
            assert!(error.contains(says), "{error}");
            assert!(!error.contains("s3cret") && !error.contains("czNjcmV0"), "{error}");
        }
    }

    #[test]
    fn a_parameter_is_asked_for_decrypted() {
        let (call, body) = request(&SecretId::Parameter("/ci/token".to_owned()));
        assert_eq!(call.target, "AmazonSSM.GetParameter");
        assert_eq!(body["WithDecryption"], true);
    }
}
