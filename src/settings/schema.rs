//! Generates the JSON Schema and the reference page of the configuration from the table of keys.

use serde_json::{Map, Value, json};

use super::keys::{Form, Key, SECRET, TOP};

/// The characters of tags.
const TAG: &str = "^[\\p{L}\\p{N} +=._:/@-]*$";

/// Returns the JSON Schema (draft 2020-12) of `tinqs-ci.toml`.
pub fn schema() -> Value {
    let mut schema = object(TOP);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "tinqs-ci.toml".into();
    schema["description"] = "The configuration of tinqs-ci.".into();
    let mut secret = object(SECRET);
    secret["minProperties"] = 1.into();
    secret["maxProperties"] = 1.into();
    schema["$defs"] = json!({ "secret": {
        "description": "A credential: from an environment variable, from a file, from AWS, or inline.",
        "oneOf": [{ "type": "string", "minLength": 1 }, secret],
    }});
    schema
}

fn object(keys: &[Key]) -> Value {
    let properties: Map<String, Value> =
        keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<&str> = keys.iter().filter(|k| k.required).map(|k| k.name).collect();
    let mut object =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    object
}

fn property(key: &Key) -> Value {
    let list = |item: Value| json!({ "type": "array", "minItems": 1, "items": item });
    let mut property = match key.form {
        Form::Text { pattern, .. } => json!({ "type": "string", "pattern": pattern }),
        Form::Word(words) => json!({ "enum": words }),
        Form::Duration => json!({ "type": "string", "pattern": "^[^-].*[0-9a-zA-Z]$" }),
        Form::Count => json!({ "type": "integer", "minimum": 1, "maximum": u32::MAX }),
        Form::CountIn(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Form::DecimalIn(least, most) => {
            json!({ "type": "number", "minimum": least, "maximum": most })
        }
        Form::CountOr(word) => json!({ "anyOf": [
            { "type": "integer", "minimum": 1, "maximum": u32::MAX },
            { "enum": [word] },
        ]}),
        Form::Switch => json!({ "type": "boolean" }),
        Form::SwitchOr { pattern, .. } => json!({ "anyOf": [
            { "type": "boolean" },
            { "type": "string", "pattern": pattern },
        ]}),
        Form::Secret => json!({ "$ref": "#/$defs/secret" }),
        Form::Secrets => {
            let secret = json!({ "$ref": "#/$defs/secret" });
            json!({ "anyOf": [secret, list(secret.clone())] })
        }
        Form::Texts { pattern, .. } => list(json!({ "type": "string", "pattern": pattern })),
        Form::Words(words) => list(json!({ "enum": words })),
        Form::Tags(most) => json!({
            "type": "object",
            "maxProperties": most,
            "propertyNames": { "pattern": TAG, "minLength": 1, "maxLength": 128 },
            "additionalProperties": { "type": "string", "pattern": TAG, "maxLength": 256 },
        }),
        Form::Prices => json!({
            "type": "object",
            "additionalProperties": { "type": "string", "pattern": "^\\$[0-9]{1,9}(\\.[0-9]{1,6})?/h$" },
        }),
        Form::Variables => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
            "additionalProperties": { "type": "string" },
        }),
        Form::Table(keys) => object(keys),
        Form::Tables(_, keys) => list(object(keys)),
    };
    property["description"] = key.about.into();
    if let Some(default) = key.default {
        property["default"] = default_value(key.form, default);
    }
    property
}

fn default_value(form: Form, text: &str) -> Value {
    match form {
        // These TOML values are valid JSON.
        Form::Words(_)
        | Form::Texts { .. }
        | Form::Switch
        | Form::SwitchOr { .. }
        | Form::Count
        | Form::CountIn(..)
        | Form::DecimalIn(..)
        | Form::CountOr(_) => serde_json::from_str(text).unwrap_or(Value::Null),
        _ => text.into(),
    }
}

/// Returns the reference of all keys in Markdown.
pub fn reference() -> String {
    let mut page = String::new();
    section(&mut page, "Top level", "", TOP);
    page
}

/// Writes the keys of a table, then the tables below it. `path`: its name with a point, such as
/// `server.`, or nothing at the top.
fn section(page: &mut String, title: &str, path: &str, keys: &[Key]) {
    use std::fmt::Write as _;
    let _ = writeln!(page, "## {title}\n");
    let _ = writeln!(page, "| key | value | default | description |\n|---|---|---|---|");
    let mut below = Vec::new();
    for key in keys {
        if let Form::Table(inner) | Form::Tables(_, inner) = key.form {
            below.push((key, inner));
            continue;
        }
        let default = match (key.default, key.required) {
            (Some(default), _) => format!("`{default}`"),
            (None, true) => "required".to_owned(),
            (None, false) => String::new(),
        };
        let takes = key.form.expected().replace('|', "\\|");
        let about = key.about.replace('|', "\\|");
        let _ = writeln!(page, "| `{}` | {takes} | {default} | {about} |", key.name);
    }
    page.push('\n');
    for (key, inner) in below {
        let name = format!("{path}{}", key.name);
        let title = match key.form {
            Form::Tables(heading, _) => format!("`{heading}`"),
            _ => format!("`[{name}]`"),
        };
        section(page, &format!("{title}: {}", key.about), &format!("{name}."), inner);
    }
}
