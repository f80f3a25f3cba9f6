//! `GetParameter` of AWS Systems Manager and `GetSecretValue` of Secrets Manager, in JSON.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::Ec2Wire;
use super::error::Fault;
use super::params::Params;
use super::state::{Parameter, Shared};
use super::who;
use crate::aws_wire::Head;

/// The services by the beginning of the header `x-amz-target`.
const SERVICES: [(&str, &str); 2] = [("AmazonSSM.", "ssm"), ("secretsmanager.", "secretsmanager")];

/// Returns the operation if the call is one of these services.
pub(super) fn head(headers: &HeaderMap) -> Option<Head> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    SERVICES.into_iter().find_map(|(prefix, service)| {
        Some(Head { service, op: target.strip_prefix(prefix)?.to_owned() })
    })
}

/// Whether this service speaks JSON.
pub(super) fn is_json(service: &str) -> bool {
    SERVICES.iter().any(|(_, known)| *known == service)
}

/// Parses a call.
pub(super) fn read(body: &[u8]) -> Params {
    let json: BTreeMap<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Bool(switch) => Some(switch.to_string()),
        _ => None,
    };
    Params::of(json.into_iter().filter_map(|(name, value)| Some((name, text(value)?))))
}

/// Returns the body of a response.
pub(super) fn answer(
    shared: &Shared,
    head: &Head,
    params: &Params,
    caller: &str,
) -> Result<String, Fault> {
    let (key, action) = match (head.service, head.op.as_str()) {
        ("ssm", "GetParameter") => ("Name", "ssm:GetParameter"),
        ("secretsmanager", "GetSecretValue") => ("SecretId", "secretsmanager:GetSecretValue"),
        (_, op) => return Err(Fault::new("InvalidAction", format!("unknown operation {op}"))),
    };
    let name = params.get(key).unwrap_or_default();
    if who::may(&shared.options, caller, action, name).is_err() {
        let message = format!("User is not authorized to perform: {action} on {name}");
        return Err(Fault::new("AccessDeniedException", message));
    }
    if head.service == "ssm" { parameter(shared, name, params) } else { secret(shared, name) }
}

fn parameter(shared: &Shared, name: &str, params: &Params) -> Result<String, Fault> {
    let state = shared.state();
    let Some(Parameter { value, is_secure }) = state.parameters.get(name) else {
        return Err(Fault::new("ParameterNotFound", ""));
    };
    let is_decrypted = !is_secure || params.get("WithDecryption") == Some("true");
    let value = if is_decrypted { value.as_str() } else { "AQICAHencrypted" };
    let kind = if *is_secure { "SecureString" } else { "String" };
    let parameter = json!({ "Name": name, "Type": kind, "Value": value, "Version": 1 });
    Ok(json!({ "Parameter": parameter }).to_string())
}

fn secret(shared: &Shared, name: &str) -> Result<String, Fault> {
    match shared.state().secrets.get(name) {
        Some(value) => Ok(json!({ "Name": name, "SecretString": value }).to_string()),
        None => {
            let message = "Secrets Manager can't find the specified secret.";
            Err(Fault::new("ResourceNotFoundException", message))
        }
    }
}

impl Ec2Wire {
    /// Sets a parameter of Systems Manager from now on.
    pub fn set_parameter(&self, name: &str, value: &str) {
        let parameter = Parameter { value: value.to_owned(), is_secure: false };
        self.shared.state().parameters.insert(name.to_owned(), parameter);
    }

    /// Sets a parameter of Systems Manager that is stored encrypted.
    pub fn set_secure_parameter(&self, name: &str, value: &str) {
        let parameter = Parameter { value: value.to_owned(), is_secure: true };
        self.shared.state().parameters.insert(name.to_owned(), parameter);
    }

    /// Sets a secret of Secrets Manager from now on.
    pub fn set_secret(&self, name: &str, value: &str) {
        self.shared.state().secrets.insert(name.to_owned(), value.to_owned());
    }
}
