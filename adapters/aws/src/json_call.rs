//! Calls of AWS services in JSON, signed and sent by the parts that the SDK is made of.
//!
//! The SDK's own crates for these services have some hundred operations each, and take minutes to
//! build.

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
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, SensitiveOutput};
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use serde_json::Value;
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_reconciler::text::{chain, cut};

use crate::errors::{self, Table};

const CONTENT: &str = "application/x-amz-json-1.1";

/// An operation of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonCall {
    /// The service, as signatures and host names have it.
    pub(crate) service: &'static str,
    /// The operation.
    pub(crate) operation: &'static str,
    /// The header `x-amz-target`.
    pub(crate) target: &'static str,
    /// The environment variable of the service's endpoint, as in every AWS program.
    pub(crate) endpoint: &'static str,
}

/// A signed request. Its headers hold a session token.
struct Signed {
    headers: Vec<(String, String)>,
    body: String,
}

impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a signed request")
    }
}

/// A response. Its body may hold a secret.
pub(crate) struct Reply {
    status: u16,
    body: Vec<u8>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a response with HTTP {}", self.status)
    }
}

impl JsonCall {
    /// Sends this body, with the credentials, Region and endpoints of the configuration. Not
    /// repeated: who needs the value asks again later.
    ///
    /// # Errors
    /// The request cannot be signed, or there is no response; the error says why.
    pub(crate) async fn send(self, config: &SdkConfig, body: &Value) -> Result<Reply, String> {
        let signed = self.signed(config, body.to_string()).await;
        let signed =
            signed.map_err(|error| format!("not asked for: {}", cut(&chain(&*error), 300)))?;
        let sent = self.operation(config).invoke(signed).await;
        sent.map_err(|error| format!("no response: {}", cut(&chain(&error), 300)))
    }

    fn url(self, config: &SdkConfig) -> String {
        let own = std::env::var(self.endpoint).ok().filter(|url| !url.is_empty());
        let set = own.or_else(|| config.endpoint_url().map(str::to_owned));
        let usual = || {
            let (service, region) = (self.service, region(config));
            let suffix = if region.starts_with("cn-") { ".cn" } else { "" };
            format!("https://{service}.{region}.amazonaws.com{suffix}")
        };
        set.unwrap_or_else(usual).trim_end_matches('/').to_owned()
    }

    /// Signs a request with this body.
    async fn signed(
        self,
        config: &SdkConfig,
        body: String,
    ) -> Result<Signed, Box<dyn Error + Send + Sync>> {
        let provider = config.credentials_provider().ok_or("no source of credentials")?;
        let identity: Identity = provider.provide_credentials().await?.into();
        let params: SigningParams<'_> = v4::SigningParams::builder()
            .identity(&identity)
            .region(region(config))
            .name(self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let headers = [("content-type", CONTENT), ("x-amz-target", self.target)];
        let url = format!("{}/", self.url(config));
        let signable = SignableRequest::new(
            "POST",
            url,
            headers.into_iter(),
            SignableBody::Bytes(body.as_bytes()),
        )?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        let headers = headers.into_iter().chain(instructions.headers());
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Signed { headers, body })
    }

    fn operation(self, config: &SdkConfig) -> Operation<Signed, Reply, Infallible> {
        // Keeps the body of the response out of the SDK's own log.
        let mut sensitive = Layer::new("SensitiveOutput");
        sensitive.store_put(SensitiveOutput);
        let mut call = Operation::builder()
            .service_name(self.service)
            .operation_name(self.operation)
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(&self.url(config))
            .runtime_plugin(StaticRuntimePlugin::new().with_config(sensitive.freeze()))
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

fn region(config: &SdkConfig) -> &str {
    config.region().map_or("", AsRef::as_ref)
}

/// Makes the HTTP request of a call.
fn request(call: Signed) -> Result<HttpRequest, Box<dyn Error + Send + Sync>> {
    let mut request = HttpRequest::new(SdkBody::from(call.body));
    request.set_method("POST")?;
    request.set_uri("/")?;
    for (name, value) in call.headers {
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

impl Reply {
    /// Returns the text at this pointer of a successful response.
    ///
    /// # Errors
    /// The kind of the failure, and a sentence with the code, AWS's message and the remedy of the
    /// table. No value is part of it: it may be a secret.
    pub(crate) fn text(&self, pointer: &str, table: Table) -> Result<String, (ErrorKind, String)> {
        let Self { status, body } = self;
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if *status == 200 {
            let value = json.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            let none = || (ErrorKind::Unavailable, "the response has no value".to_owned());
            return value.ok_or_else(none);
        }
        let code = json.get("__type").map(text).unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or_default();
        let said = json.get("message").or_else(|| json.get("Message")).map(text);
        let said = said.unwrap_or_default();
        let parts = [
            format!("{} (HTTP {status})", cut(code, 80)),
            cut(&said, 200),
            (table.remedy)(code, &said).to_owned(),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Err((errors::kind(code, *status, table), parts.join(": ")))
    }

    /// A response that no server sent.
    #[cfg(test)]
    pub(crate) fn of(status: u16, body: &str) -> Self {
        Self { status, body: body.as_bytes().to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_shows_nothing_of_its_body() {
        let reply = Reply::of(200, r#"{"SecretString":"s3cret"}"#);
        assert_eq!(format!("{reply:?}"), "a response with HTTP 200");
    }
}
