//! The variables of the predecessor's Lambda function: from the environment, or from the output of
//! `aws lambda get-function-configuration`. They hold credentials: no message has their values.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;
use tinqs_ci_reconciler::text::{cut, escape};

use crate::commands::failure::Failure;
use crate::settings::{self, Env, Settings};

/// The variables of every such function.
const EIGHT: [&str; 8] = [
    "GITEA_URL",
    "GITEA_TOKEN",
    "RUNNER_TOKEN",
    "RUNNER_AMI",
    "SUBNET",
    "SECURITY_GROUP",
    "DDB_TABLE",
    "INSTANCE_PROFILE",
];

/// Those without which there is no configuration.
const REQUIRED: [&str; 5] = ["GITEA_URL", "GITEA_TOKEN", "RUNNER_AMI", "SUBNET", "DDB_TABLE"];

/// The variables that may be set as well.
const OPTIONAL: [&str; 11] = [
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "INSTANCE_TYPES",
    "TIMEOUT_MINUTES",
    "LIMIT",
    "DISK_GIB",
    "PUBLIC_ADDRESS",
    "RUNNER_URL",
    "RUNNER_SHA256",
    "WEBHOOK_SECRET",
    "RUNNER_GIT_TOKEN",
];

/// The maximum number of bytes that are read. A function's variables have at most 4 kB.
const MOST: u64 = 1 << 20;

/// The command that passes the function's variables to `init`.
const PIPE: &str = "aws lambda get-function-configuration --function-name NAME | tinqs-ci init \
                    --from-lambda -";

/// The variables of the function.
pub(super) struct Function {
    /// Those that have a meaning here, without empty ones.
    variables: Env,
    /// The names of its other variables.
    others: Vec<String>,
}

impl Function {
    /// Reads the variables from a file (`-` is standard input), or from the environment.
    ///
    /// # Errors
    /// The source cannot be read, belongs to another function, or lacks a required variable.
    pub(super) fn read(source: Option<&Path>, env: &Env) -> Result<Self, Failure> {
        let given = match source {
            Some(file) => of_json(&content(file)?, &shown(file))?,
            None => env.clone(),
        };
        let is_known = |name: &str| EIGHT.contains(&name) || OPTIONAL.contains(&name);
        let set = given.into_iter().filter(|(_, value)| !value.trim().is_empty());
        let (variables, others): (Env, Env) = set.partition(|(name, _)| is_known(name));
        // The environment of a shell is full of others.
        let others = if source.is_some() { others.into_keys().collect() } else { Vec::new() };
        let function = Self { variables, others };
        function.check(source)?;
        Ok(function)
    }

    /// Checks that the required variables are there.
    fn check(&self, source: Option<&Path>) -> Result<(), Failure> {
        let hint = match source {
            Some(_) => format!("NAME is the function that tinqs-ci replaces: {PIPE}"),
            None => format!("set them, or take them from the function: {PIPE}"),
        };
        if EIGHT.iter().all(|name| self.text(name).is_none()) {
            let of = match source {
                Some(file) => format!("{} is of another function: it has", shown(file)),
                None => "the environment has".to_owned(),
            };
            let message = format!("{of} none of the variables {}", EIGHT.join(", "));
            return Err(Failure::usage(message).hint(hint));
        }
        let mut missing = REQUIRED.to_vec();
        missing.retain(|name| self.text(name).is_none());
        if self.text("AWS_REGION").or_else(|| self.text("AWS_DEFAULT_REGION")).is_none() {
            missing.push("AWS_REGION");
        }
        if missing.is_empty() {
            return Ok(());
        }
        let whose = source.map_or_else(|| "the environment".to_owned(), shown);
        Err(Failure::usage(format!("{whose} lacks {}", missing.join(", "))).hint(hint))
    }

    /// Returns a variable, without surrounding white space.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim())
    }

    /// Returns the parts of a variable that is a list.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        let parts = self.text(name).unwrap_or_default().split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).collect()
    }

    /// Returns the names of its variables that have no meaning here.
    pub(super) fn others(&self) -> &[String] {
        &self.others
    }

    /// Returns what the variables mean.
    ///
    /// # Errors
    /// Lists each variable with a wrong value.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        Ok(settings::parse("", None, &self.variables)?.settings)
    }
}

/// Names the source for people.
fn shown(file: &Path) -> String {
    if file.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        escape(&file.to_string_lossy())
    }
}

fn content(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().lock().take(MOST).read_to_string(&mut text)
    } else {
        File::open(file).and_then(|from| from.take(MOST).read_to_string(&mut text))
    };
    match read {
        Ok(_) => Ok(text),
        Err(error) => {
            let message = format!("cannot read {}: {error}", shown(file));
            Err(Failure::usage(message).hint(format!("for example {PIPE}")))
        }
    }
}

/// Reads what `aws lambda get-function-configuration` prints. `shown` names it.
fn of_json(text: &str, shown: &str) -> Result<Env, Failure> {
    let wrong = |message: String| Failure::usage(message).hint(format!("for example {PIPE}"));
    // Where, without the words of the error: they may quote the text.
    let place = |error: &serde_json::Error| format!("{}:{}", error.line(), error.column());
    let function: Value = serde_json::from_str(text)
        .map_err(|error| wrong(format!("{shown} is not JSON ({})", place(&error))))?;
    let word = |pointer: &str| function.pointer(pointer).and_then(Value::as_str);
    if let Some(code) = word("/Environment/Error/ErrorCode") {
        let message = format!("AWS does not show the function's variables: {}", cut(code, 60));
        let hint = "read them as someone who may use the KMS key that encrypts them";
        return Err(Failure::failed(message).hint(hint));
    }
    let variables = function.pointer("/Environment/Variables").and_then(Value::as_object);
    let Some(variables) = variables else {
        return Err(wrong(format!("{shown} has no Environment.Variables of a function")));
    };
    let mut env = Env::new();
    for (name, value) in variables {
        let Some(value) = value.as_str() else {
            return Err(wrong(format!("{shown}: the variable {} is no string", cut(name, 60))));
        };
        env.insert(name.clone(), value.to_owned());
    }
    // Lambda sets the variable itself: it is not in the configuration.
    if let Some(region) = word("/FunctionArn").and_then(|arn| arn.split(':').nth(3)) {
        env.entry("AWS_REGION".to_owned()).or_insert_with(|| region.to_owned());
    }
    Ok(env)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(variables: &Value) -> Value {
        serde_json::json!({
            "FunctionName": "ci",
            "FunctionArn": "arn:aws:lambda:eu-central-1:111122223333:function:ci",
            "Environment": { "Variables": variables },
        })
    }

    #[test]
    fn the_region_is_in_the_name_of_the_function() {
        let env = of_json(&function(&serde_json::json!({ "SUBNET": "a" })).to_string(), "it");
        let env = env.expect("a function");
        assert_eq!(env.get("AWS_REGION").map(String::as_str), Some("eu-central-1"));
        assert_eq!(env.get("SUBNET").map(String::as_str), Some("a"));
    }

    #[test]
    fn no_message_quotes_a_value() {
        let secret = "0123456789abcdef";
        let cut_off = format!("{{\"GITEA_TOKEN\": \"{secret}");
        let no_string = function(&serde_json::json!({ "GITEA_TOKEN": [secret] })).to_string();
        let no_object = function(&serde_json::json!([secret])).to_string();
        let text = format!("\"{secret}\"");
        for json in [cut_off, no_string, no_object, text, secret.to_owned()] {
            let failure = of_json(&json, "standard input").expect_err(&json);
            assert!(!format!("{failure:?}").contains(secret), "{failure:?}");
        }
    }
}
