//! `GetParameter` of AWS Systems Manager, in JSON.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::Ec2Wire;
use super::error::Fault;
use super::params::Params;
use super::state::Shared;
use super::who;

/// Returns the operation if the call is one of Systems Manager.
pub(super) fn operation(headers: &HeaderMap) -> Option<String> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    target.strip_prefix("AmazonSSM.").map(str::to_owned)
}

/// Parses a call.
pub(super) fn read(body: &[u8]) -> Params {
    let json: BTreeMap<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let text = |(name, value): (String, Value)| Some((name, value.as_str()?.to_owned()));
    Params::of(json.into_iter().filter_map(text))
}

/// Returns the body of a response.
pub(super) fn answer(
    shared: &Shared,
    op: &str,
    params: &Params,
    caller: &str,
) -> Result<String, Fault> {
    if op != "GetParameter" {
        return Err(Fault::new("InvalidAction", format!("unknown operation {op}")));
    }
    let name = params.get("Name").unwrap_or_default();
    if who::may(&shared.options, caller, "ssm:GetParameter", name).is_err() {
        let message = format!("User is not authorized to perform: ssm:GetParameter on {name}");
        return Err(Fault::new("AccessDeniedException", message));
    }
    match shared.state().parameters.get(name) {
        Some(value) => {
            let parameter = json!({ "Name": name, "Type": "String", "Value": value, "Version": 1 });
            Ok(json!({ "Parameter": parameter }).to_string())
        }
        None => Err(Fault::new("ParameterNotFound", "")),
    }
}

impl Ec2Wire {
    /// Sets a parameter of Systems Manager from now on.
    pub fn set_parameter(&self, name: &str, value: &str) {
        self.shared.state().parameters.insert(name.to_owned(), value.to_owned());
    }
}
