//! The Query protocol: parses a call, dispatches it, serializes the response.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use serde_json::json;

use super::error::Fault;
use super::outcome::Outcome;
use super::params::Params;
use super::state::Shared;
use super::xml::{Element, leaf, node};
use super::{catalogue, console, describe, launch, parameters, templates, terminate, who};
use crate::aws_wire::{Answer, Head, ReadFault, Reply, Service, caller, request_id};

/// A parsed call.
pub(super) struct Call {
    head: Head,
    params: Params,
    caller: String,
}

pub(super) struct Query(pub(super) Arc<Shared>);

/// Returns service and XML namespace of an API version.
fn service(version: &str) -> Option<(&'static str, &'static str)> {
    match version {
        "2016-11-15" => Some(("ec2", "http://ec2.amazonaws.com/doc/2016-11-15/")),
        "2011-06-15" => Some(("sts", "https://sts.amazonaws.com/doc/2011-06-15/")),
        "2010-05-08" => Some(("iam", "https://iam.amazonaws.com/doc/2010-05-08/")),
        _ => None,
    }
}

impl Query {
    fn refuse(&self, head: &Head, fault: &Fault) -> Reply {
        self.error(head, &fault.code, fault.status(), &fault.message)
    }

    fn answer(&self, call: &Call, read_fault: &ReadFault) -> Outcome {
        let shared = &self.0;
        let account = &shared.options.account;
        let (op, params) = (call.head.op.as_str(), &call.params);
        match (call.head.service, op) {
            ("sts", _) => who::sts(account, op, &call.caller),
            ("iam", _) => who::iam(account, op, params),
            (_, "RunInstances") => launch::launch(shared, params, &call.caller),
            _ => self.others(op, params, &call.caller, read_fault),
        }
    }

    fn others(&self, op: &str, params: &Params, caller: &str, read_fault: &ReadFault) -> Outcome {
        let shared = &self.0;
        if let Err(fault) = who::may(&shared.options, caller, &format!("ec2:{op}"), "*") {
            return Outcome::from(fault);
        }
        match op {
            "DescribeInstances" => describe::describe(shared, params, read_fault),
            "TerminateInstances" => terminate::terminate(shared, params),
            "GetConsoleOutput" => console::console(shared, params),
            "DescribeLaunchTemplateVersions" => templates::answer(shared, params),
            "CreateTags" | "DeleteTags" => {
                shared.state().breaks("tags at launch only", op);
                let message = "You are not authorized to perform this operation.";
                Outcome::from(Fault::new("UnauthorizedOperation", message))
            }
            "StopInstances" | "StartInstances" => {
                shared.state().breaks("no StopInstances", op);
                let message = "The instance was launched by a one-time Spot request";
                Outcome::from(Fault::new("UnsupportedOperation", message))
            }
            _ => catalogue::answer(shared, op, params)
                .unwrap_or_else(|| Outcome::from(who::unknown(op))),
        }
    }
}

impl Service for Query {
    type Call = Call;
    const CONTENT_TYPE: &'static str = "text/xml;charset=UTF-8";
    const THROTTLED: (&'static str, u16) = ("RequestLimitExceeded", 503);

    fn read(&self, headers: &HeaderMap, body: &[u8]) -> Result<(Head, Call), (Head, Reply)> {
        if let Some(op) = parameters::operation(headers) {
            let head = Head { service: "ssm", op };
            let Some(caller) = caller(headers) else {
                let message = "The security token included in the request is invalid.";
                let reply = self.refuse(&head, &Fault::new("UnrecognizedClientException", message));
                return Err((head, reply));
            };
            let params = parameters::read(body);
            return Ok((head.clone(), Call { head, params, caller: caller.to_owned() }));
        }
        let params = Params::read(body);
        let version = params.get("Version").and_then(service);
        let op = params.get("Action").unwrap_or_default().to_owned();
        let head = Head { service: version.map_or("ec2", |(service, _)| service), op };
        let fault = match (caller(headers), version, head.op.as_str()) {
            (None, _, _) => {
                let message = "AWS was not able to validate the provided access credentials";
                Some(Fault::new("AuthFailure", message))
            }
            (_, _, "") => Some(Fault::new("MissingAction", "Missing Action parameter")),
            (_, None, op) => Some(who::unknown(op)),
            (Some(_), Some(_), _) => None,
        };
        match fault {
            Some(fault) => {
                let reply = self.refuse(&head, &fault);
                Err((head, reply))
            }
            None => {
                let caller = caller(headers).unwrap_or_default().to_owned();
                Ok((head.clone(), Call { head, params, caller }))
            }
        }
    }

    fn carry_out<'a>(&'a self, call: &'a Call, read_fault: &'a ReadFault) -> Answer<'a> {
        Box::pin(async move {
            if call.head.service == "ssm" {
                let Call { head, params, caller } = call;
                return match parameters::answer(&self.0, &head.op, params, caller) {
                    Ok(body) => {
                        Reply { status: 200, code: String::new(), body, items: 1, tokens: (0, 0) }
                    }
                    Err(fault) => self.refuse(head, &fault),
                };
            }
            let outcome = self.answer(call, read_fault);
            let mut reply = match &outcome.result {
                Ok(parts) => written(&call.head, parts.clone()),
                Err(fault) => self.refuse(&call.head, fault),
            };
            reply.items = outcome.items;
            reply.tokens = outcome.tokens;
            reply
        })
    }

    fn error(&self, head: &Head, code: &str, status: u16, message: &str) -> Reply {
        if head.service == "ssm" {
            let body = json!({ "__type": code, "message": message }).to_string();
            return Reply { status, code: code.to_owned(), body, items: 0, tokens: (0, 0) };
        }
        let id = request_id(format!("{} {code} {message}", head.op).as_bytes());
        let error = [leaf("Code", code), leaf("Message", message)];
        let tree = if head.service == "ec2" {
            let errors = node("Errors", [node("Error", error)]);
            node("Response", [errors, leaf("RequestID", id)])
        } else {
            let side = leaf("Type", if status < 500 { "Sender" } else { "Receiver" });
            let error = node("Error", [side].into_iter().chain(error));
            node("ErrorResponse", [error, leaf("RequestId", id)])
        };
        let body = tree.document();
        Reply { status, code: code.to_owned(), body, items: 0, tokens: (0, 0) }
    }

    fn ends_with_its_caller(_: &HeaderMap) -> bool {
        false
    }

    fn error_header(_: &str) -> Option<(HeaderName, String)> {
        None
    }

    fn latency(&self, op: &str) -> Duration {
        let options = &self.0.options;
        options.latency.of(op) / options.speed.max(1)
    }
}

fn written(head: &Head, parts: Vec<Element>) -> Reply {
    let spaces = [("ec2", "2016-11-15"), ("sts", "2011-06-15"), ("iam", "2010-05-08")];
    let version = spaces.iter().find(|(name, _)| *name == head.service).map(|(_, v)| *v);
    let space = version.and_then(service).map_or("", |(_, space)| space);
    let id = request_id(format!("{} {}", head.op, jiff::Timestamp::now()).as_bytes());
    let name = format!("{}Response", head.op);
    let tree = if head.service == "ec2" {
        node(&name, [leaf("requestId", id)].into_iter().chain(parts))
    } else {
        let metadata = node("ResponseMetadata", [leaf("RequestId", id)]);
        node(&name, parts.into_iter().chain([metadata]))
    };
    let body = tree.in_space(space).document();
    Reply { status: 200, code: String::new(), body, items: 0, tokens: (0, 0) }
}
