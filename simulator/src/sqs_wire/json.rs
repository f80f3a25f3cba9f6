//! Responses and errors of SQS in JSON.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::queue::md5;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// An error with its code. The HTTP status is 400 except for a few named here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: String,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }

    pub(super) fn value(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterValue", message)
    }

    pub(super) fn status(&self) -> u16 {
        match self.code.as_str() {
            "AccessDenied" | "InvalidSecurity" | "MissingAuthenticationToken" => 403,
            "InternalFailure" => 500,
            "ServiceUnavailable" => 503,
            _ => 400,
        }
    }

    /// Returns an entry of `Failed`.
    pub(super) fn entry(&self, id: &str) -> Value {
        let ours = self.code == "InternalError";
        json!({"Id": id, "Code": self.code, "Message": self.message, "SenderFault": !ours})
    }
}

pub(super) fn error_body(code: &str, message: &str) -> String {
    json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": message}).to_string()
}

/// Returns a text field.
pub(super) fn text<'a>(body: &'a Value, name: &str) -> Result<&'a str, Fault> {
    let missing = || {
        let message = format!("The request must contain the parameter {name}.");
        Fault::new("MissingParameter", message)
    };
    body[name].as_str().ok_or_else(missing)
}

/// Returns a number within bounds; `None` if missing.
pub(super) fn number(
    body: &Value,
    name: &str,
    within: std::ops::RangeInclusive<i64>,
) -> Result<Option<i64>, Fault> {
    match &body[name] {
        Value::Null => Ok(None),
        value => {
            let read = value.as_i64().filter(|number| within.contains(number));
            let message = || format!("Value {value} for parameter {name} is invalid.");
            read.map(Some).ok_or_else(|| Fault::value(message()))
        }
    }
}

/// Returns the digest of message attributes: name, type and value of each, with their lengths.
pub(super) fn attributes_md5(attributes: &Value) -> Option<String> {
    let attributes = attributes.as_object().filter(|all| !all.is_empty())?;
    let sorted: BTreeMap<_, _> = attributes.iter().collect();
    let mut bytes = Vec::new();
    let put = |bytes: &mut Vec<u8>, part: &[u8]| {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        bytes.extend(length.to_be_bytes());
        bytes.extend(part);
    };
    for (name, value) in sorted {
        put(&mut bytes, name.as_bytes());
        put(&mut bytes, value["DataType"].as_str().unwrap_or_default().as_bytes());
        if let Some(text) = value["StringValue"].as_str() {
            bytes.push(1);
            put(&mut bytes, text.as_bytes());
        } else {
            let binary = value["BinaryValue"].as_str().unwrap_or_default();
            bytes.push(2);
            put(&mut bytes, &BASE64_STANDARD.decode(binary).unwrap_or_default());
        }
    }
    Some(md5(&bytes))
}

/// Returns whether SQS accepts a text: it has only characters of XML.
pub(super) fn allowed(text: &str) -> bool {
    text.chars().all(|c| {
        matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
            || c > '\u{ffff}'
    })
}
