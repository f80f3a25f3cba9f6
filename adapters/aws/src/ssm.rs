//! Parameters of AWS Systems Manager.
//!
//! One call, signed and sent by the parts that the SDK is made of: the SDK's own crate for this
//! service has some 150 operations, and takes minutes to build.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::time::SystemTime;

use aws_config::{BehaviorVersion, SdkConfig};
use aws_sdk_dynamodb::config::ProvideCredentials as _;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SigningParams, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use serde_json::{Value, json};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tinqs_ci_reconciler::text::{chain, cut};

use crate::errors::{self, Table};

/// Environment variable of the service's endpoint, as in every AWS program.
const ENDPOINT: &str = "AWS_ENDPOINT_URL_SSM";
const TARGET: &str = "AmazonSSM.GetParameter";
const CONTENT: &str = "application/x-amz-json-1.1";

/// The error codes of Systems Manager.
const TABLE: Table = Table { kind, cause: |_| None, remedy };

/// The parameters of an account in one Region.
#[derive(Clone, Debug)]
pub struct Parameters {
    config: SdkConfig,
}

/// A signed call. Its headers hold a session token.
struct SignedCall {
    headers: Vec<(String, String)>,
    body: String,
}

impl fmt::Debug for SignedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(TARGET)
    }
}

/// A response: its status and body.
#[derive(Debug)]
struct Reply {
    status: u16,
    body: Vec<u8>,
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
        let call = self.signed(json!({ "Name": name }).to_string()).await;
        let call = call.map_err(|error| {
            let why = format!("not asked for: {}", cut(&chain(&*error), 300));
            failed(name, ErrorKind::Unavailable, &why)
        })?;
        let reply = self.operation().invoke(call).await.map_err(|error| {
            let why = format!("no response: {}", cut(&chain(&error), 300));
            failed(name, ErrorKind::Unavailable, &why)
        })?;
        read(name, &reply)
    }

    fn region(&self) -> &str {
        self.config.region().map_or("", AsRef::as_ref)
    }

    fn endpoint(&self) -> String {
        let own = std::env::var(ENDPOINT).ok().filter(|url| !url.is_empty());
        let set = own.or_else(|| self.config.endpoint_url().map(str::to_owned));
        let usual = || {
            let region = self.region();
            let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://ssm.{region}.amazonaws.com{suffix}")
        };
        set.unwrap_or_else(usual).trim_end_matches('/').to_owned()
    }

    /// Signs a call with this body.
    async fn signed(&self, body: String) -> Result<SignedCall, Box<dyn Error + Send + Sync>> {
        let provider = self.config.credentials_provider().ok_or("no source of credentials")?;
        let identity: Identity = provider.provide_credentials().await?.into();
        let params: SigningParams<'_> = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region())
            .name("ssm")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = [("content-type", CONTENT), ("x-amz-target", TARGET)];
        let url = format!("{}/", self.endpoint());
        let signable = SignableRequest::new(
            "POST",
            url,
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        )?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let headers = headers.into_iter().chain(instructions.headers());
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(SignedCall { headers, body })
    }

    /// Sends a signed call. Not repeated: who needs the value asks again later.
    fn operation(&self) -> Operation<SignedCall, Reply, Infallible> {
        let config = &self.config;
        let mut call = Operation::builder()
            .service_name("ssm")
            .operation_name("GetParameter")
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(&self.endpoint())
            .no_auth()
            .no_retry();
        if let Some(http_client) = config.http_client() {
            call = call.http_client(http_client);
        }
        if let Some(sleep) = config.sleep_impl() {
            call = call.sleep_impl(sleep);
        }
        if let Some(time) = config.time_source() {
            call = call.time_source(time);
        }
        if let Some(within) = config.timeout_config() {
            call = call.timeout_config(within.clone());
        }
        let reply = |response: &HttpResponse| {
            let body = response.body().bytes().unwrap_or_default().to_vec();
            Ok(Reply { status: response.status().as_u16(), body })
        };
        call.serializer(request).deserializer(reply).build()
    }
}

/// Makes the HTTP request of a call.
fn request(call: SignedCall) -> Result<HttpRequest, Box<dyn Error + Send + Sync>> {
    let mut request = HttpRequest::new(SdkBody::from(call.body));
    request.set_method("POST")?;
    request.set_uri("/")?;
    for (name, value) in call.headers {
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

/// Reads a response. A value is never part of a message: it may be a secret.
fn read(name: &str, reply: &Reply) -> Result<String, PortError> {
    let Reply { status, body } = reply;
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if *status == 200 {
        let value = json.pointer("/Parameter/Value").and_then(Value::as_str);
        let none = || failed(name, ErrorKind::Unavailable, "the response has no value");
        return value.map(str::to_owned).ok_or_else(none);
    }
    let code = json.get("__type").map(text).unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    let said = json.get("message").or_else(|| json.get("Message")).map(text).unwrap_or_default();
    let kind = errors::kind(code, *status, TABLE);
    let parts = [
        format!("{} (HTTP {status})", cut(code, 80)),
        cut(&said, 200),
        remedy(code, "").to_owned(),
    ];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Err(failed(name, kind, &parts.join(": ")))
}

fn kind(code: &str) -> Option<ErrorKind> {
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
        read("/ci/image", &Reply { status, body: body.as_bytes().to_vec() })
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
