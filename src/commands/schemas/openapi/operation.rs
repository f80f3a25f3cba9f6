//! The description of a route: its parameters and its answers.

use schemars::{Schema, SchemaGenerator};

/// A route of `/v1` with a method.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// The name of the operation in generated clients.
    pub(super) id: &'static str,
    pub(super) about: &'static str,
    pub(super) parameters: &'static [Parameter],
    pub(super) answers: &'static [Answer],
    /// Statuses of errors beyond those of every operation.
    pub(super) errors: &'static [u16],
}

/// A parameter: `{name}` of the path, a part of the query, or a header.
pub(super) struct Parameter {
    pub(super) place: &'static str,
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) about: &'static str,
}

/// The form of a parameter.
pub(super) enum Form {
    Text,
    Words(&'static [&'static str]),
    Number(u64, u64),
}

/// An answer that is no error.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) about: &'static str,
    pub(super) body: Body,
    /// The names of headers.
    pub(super) headers: &'static [(&'static str, &'static str)],
}

/// The body of an answer.
pub(super) enum Body {
    None,
    Json(fn(&mut SchemaGenerator) -> Schema),
    /// The same, or a stream of server-sent events, as the client accepts it.
    JsonOrStream(fn(&mut SchemaGenerator) -> Schema),
    Text,
    /// JSON documents, one per line.
    Lines,
}

pub(super) const fn path(name: &'static str, about: &'static str) -> Parameter {
    Parameter { place: "path", name, form: Form::Text, about }
}

pub(super) const fn query(name: &'static str, form: Form, about: &'static str) -> Parameter {
    Parameter { place: "query", name, form, about }
}

pub(super) const fn header(name: &'static str, about: &'static str) -> Parameter {
    Parameter { place: "header", name, form: Form::Text, about }
}

pub(super) const fn json_of(
    about: &'static str,
    body: fn(&mut SchemaGenerator) -> Schema,
) -> Answer {
    Answer { status: 200, about, body: Body::Json(body), headers: &[] }
}
