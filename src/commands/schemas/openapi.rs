//! The description of `/v1` by `OpenAPI` 3.1, from the types of its answers.

mod operation;
mod operations;

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::api::Problem;
use crate::api::backup::BACKUP_TYPE;
use operation::{Answer, Body, Form, Operation, Parameter};
use operations::OPERATIONS;

/// Statuses of errors of every operation.
const COMMON: [u16; 8] = [400, 401, 404, 421, 500, 502, 503, 504];
/// The same of changes.
const OF_CHANGES: [u16; 1] = [403];

/// Says when a status is answered.
fn condition(status: u16) -> &'static str {
    match status {
        400 => "The path, the query or a header is invalid; the detail names what is known.",
        401 => "The token is missing or wrong.",
        403 => "The token may only read, or another site made a browser send the request.",
        404 => "There is no such thing, or this replica has no API.",
        406 => "This server does not stream.",
        409 => "The state does not allow it, or concurrent writes prevent it.",
        412 => "The run has changed since the version in `If-Match`.",
        421 => "The name in `Host` is not one of this server.",
        422 => "The configuration has mistakes; the former one stays in force.",
        500 => "A bug: see the log.",
        501 => "This server cannot do that.",
        502 => "The forge or the cloud rejected a call.",
        503 => "A service cannot be reached or throttles calls, or there are too many clients.",
        504 => "No answer in time.",
        _ => "Another error.",
    }
}

/// Returns the description.
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12();
    let settings = settings.with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for operation in OPERATIONS {
        let described = operation.described(&mut generator, &problem);
        let of_path = paths.entry(operation.path).or_insert_with(|| json!({}));
        of_path[operation.method] = described;
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "tinqs-ci",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs, machines and what stands between them.",
            "license": { "name": env!("CARGO_PKG_LICENSE") },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }, { "session": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `[[server.token]]`.",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "tinqs-ci.INSTALLATION",
                    "description": "The cookie of a browser that has signed in; its changes must \
                                    come from the page of this server.",
                },
            },
        },
    })
}

impl Operation {
    fn described(&self, generator: &mut SchemaGenerator, problem: &Schema) -> Value {
        let mut responses = Map::new();
        for answer in self.answers {
            responses.insert(answer.status.to_string(), answer.described(generator));
        }
        let is_change = self.method != "get";
        let of_changes = OF_CHANGES.iter().filter(|_| is_change);
        for status in COMMON.iter().chain(of_changes).chain(self.errors) {
            let mut response = json!({
                "description": condition(*status),
                "content": { "application/problem+json": { "schema": problem } },
            });
            if matches!(*status, 409 | 503) {
                response["headers"] = headers(&[("Retry-After", "Seconds.")]);
            }
            responses.insert(status.to_string(), response);
        }
        let parameters: Vec<Value> = self.parameters.iter().map(Parameter::described).collect();
        json!({
            "operationId": self.id,
            "summary": self.about,
            "parameters": parameters,
            "responses": responses,
        })
    }
}

impl Parameter {
    fn described(&self) -> Value {
        let schema = match self.form {
            Form::Text => json!({ "type": "string" }),
            Form::Words(words) => json!({ "type": "string", "enum": words }),
            Form::Number(least, most) => {
                json!({ "type": "integer", "minimum": least, "maximum": most })
            }
        };
        json!({
            "in": self.place,
            "name": self.name,
            "required": self.place == "path",
            "description": self.about,
            "schema": schema,
        })
    }
}

impl Answer {
    fn described(&self, generator: &mut SchemaGenerator) -> Value {
        let mut response = json!({ "description": self.about });
        let stream = json!({ "schema": { "type": "string" } });
        match self.body {
            Body::None => {}
            Body::Json(of) => {
                response["content"] = json!({ "application/json": { "schema": of(generator) } });
            }
            Body::JsonOrStream(of) => {
                response["content"] = json!({
                    "application/json": { "schema": of(generator) },
                    "text/event-stream": stream,
                });
            }
            Body::Text => response["content"] = json!({ "text/plain": stream }),
            Body::Lines => response["content"] = json!({ BACKUP_TYPE: stream }),
        }
        if !self.headers.is_empty() {
            response["headers"] = headers(self.headers);
        }
        response
    }
}

fn headers(named: &[(&str, &str)]) -> Value {
    let described = named.iter().map(|(name, about)| {
        ((*name).to_owned(), json!({ "description": about, "schema": { "type": "string" } }))
    });
    Value::Object(described.collect())
}
