//! `init --from-lambda`: writes the configuration that the variables of the predecessor's Lambda
//! function mean, and says what changes. Calls neither the forge nor AWS.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;

use tinqs_ci_reconciler::model::Class;
use tinqs_ci_reconciler::text::escape;

use super::aws::needs_adapters;
use super::function::Function;
use super::named;
use super::write::{Files, Made, quoted, random};
use crate::commands::failure::{Failure, out, warn};
use crate::settings::{self, Env, Settings};

/// The label of jobs that get machines of tinqs-ci while the function serves all others.
const TRIAL: &str = "tinqs-ci-trial";

/// The remedy for a credential file with other content.
const ELSEWHERE: &str = "name another file with --output";

/// A variable of the function, and the key that replaces it.
struct Change {
    variable: &'static str,
    key: &'static str,
    /// The difference; may be empty.
    note: &'static str,
    /// The value in force if it is not set; empty: nothing worth a line.
    unset: &'static str,
}

const fn change(
    variable: &'static str,
    key: &'static str,
    note: &'static str,
    unset: &'static str,
) -> Change {
    Change { variable, key, note, unset }
}

/// The variables of the function and their keys, in the order of the output.
const CHANGES: [Change; 18] = [
    change("GITEA_URL", "forge.url", "", ""),
    change("GITEA_TOKEN", "forge.token", "in a file; also needs write:repository", ""),
    change("RUNNER_TOKEN", "not used", "each runner is registered in its job's repository", ""),
    change("RUNNER_AMI", "class.machines.image", "needs bash, git and the runner", ""),
    change("SUBNET", "class.machines.subnets", "a list is tried in its order", ""),
    change("SECURITY_GROUP", "class.machines.security_groups", "", "the default group of the VPC"),
    change("INSTANCE_PROFILE", "class.machines.instance_profile", "every job has its rights", ""),
    change("DDB_TABLE", "store", "its items stay; gets indexes and an expiry", ""),
    change("AWS_REGION", "compute", "", ""),
    change("AWS_DEFAULT_REGION", "compute", "only without AWS_REGION", ""),
    change("INSTANCE_TYPES", "class.machines.kinds", "", "t3.small"),
    change("TIMEOUT_MINUTES", "class.max_age", "the machine ends itself", "6 hours"),
    change("LIMIT", "class.limit", "more jobs wait", "20 machines; more jobs wait"),
    change("DISK_GIB", "class.machines.disk_gib", "", ""),
    change("PUBLIC_ADDRESS", "class.machines.public_address", "", ""),
    change("RUNNER_URL", "class.runner.download", "with RUNNER_SHA256", ""),
    change("WEBHOOK_SECRET", "forge.webhook_secret", "in a file", "a new one, in a file"),
    change("RUNNER_GIT_TOKEN", "forge.git_token", "in a file; every job can read it", ""),
];

/// Writes the configuration of the predecessor's Lambda function. `source` is the output of `aws
/// lambda get-function-configuration` (`-` is standard input); without it, the variables are those
/// of the environment. Overwrites nothing.
///
/// # Errors
/// A variable is missing or wrong, or a file exists with other content.
pub fn from_lambda(source: Option<&Path>, output: &Path, env: &Env) -> Result<(), Failure> {
    needs_adapters("--from-lambda")?;
    let function = Function::read(source, env)?;
    let meant = function.settings()?;
    let files = Files::beside(output)?;
    let git_token = files.token.with_extension("git-token");
    let mut made = Made::default();
    if let Some(token) = &meant.forge.token {
        made.given(&files.token, token, "token", ELSEWHERE)?;
    }
    match &meant.forge.webhook_secret {
        Some(secret) => made.given(&files.webhook, secret, "webhook secret", ELSEWHERE)?,
        None => drop(made.credential(&files.webhook, random)?),
    }
    if let Some(token) = &meant.forge.git_token {
        made.given(&git_token, token, "git token", ELSEWHERE)?;
    }
    let git_token = meant.forge.git_token.as_ref().map(|_| git_token.as_path());
    let text = configuration(&function, &meant, &files, git_token);
    write(&mut made, output, &text, env)?;
    made.finish(Some(output))?;
    for warning in settings::load(Some(output), env)?.warnings {
        warn(&warning);
    }
    out(&changes(&function))?;
    out(&next(output))
}

/// Writes the configuration if it does not exist.
fn write(made: &mut Made, file: &Path, text: &str, env: &Env) -> Result<(), Failure> {
    let shown = escape(&file.to_string_lossy());
    match std::fs::read_to_string(file) {
        Ok(there) if there == text => {
            made.keep(file);
            Ok(())
        }
        Ok(_) => {
            let message = format!("{shown} exists, and is not what the function's variables mean");
            Err(Failure::usage(message)
                .hint("to compare, name another file with --output; nothing was changed"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // `serve` must accept what is written.
            settings::parse(text, Some(file), env)?;
            made.write(file, text, 0o644)
        }
        Err(error) => Err(Failure::usage(format!("cannot read {shown}: {error}"))
            .hint("name another file with --output; nothing was changed")),
    }
}

/// Returns the configuration.
fn configuration(
    function: &Function,
    meant: &Settings,
    files: &Files,
    git_token: Option<&Path>,
) -> String {
    let value = |name: &str| function.text(name).unwrap_or_default();
    let region = function.text("AWS_REGION").unwrap_or_else(|| value("AWS_DEFAULT_REGION"));
    let file = |path: &Path| format!("{{ file = {} }}", quoted(&path.to_string_lossy()));
    let mut text = String::from(
        "# tinqs-ci: runs each waiting job on its own ephemeral machine.\n\
         # From the variables of a Lambda function: docs/how-to/migrate-from-the-lambda.md.\n\n\
         # The table of the function. Its items stay as they are.\n",
    );
    let _ = writeln!(text, "store   = {}", quoted(&format!("dynamodb:{}", value("DDB_TABLE"))));
    let _ = writeln!(text, "compute = {}\n", quoted(&format!("ec2:{region}")));
    let _ = writeln!(text, "[forge]\nurl            = {}", quoted(&meant.forge.url));
    let _ = writeln!(text, "token          = {}", file(&files.token));
    let _ = writeln!(text, "# The jobs to serve: all | user | org:NAME | repo:OWNER/NAME.");
    let _ = writeln!(text, "scope          = \"all\"");
    let _ = writeln!(text, "# The webhook at the forge must have the same secret.");
    let _ = writeln!(text, "webhook_secret = {}", file(&files.webhook));
    if let Some(git_token) = git_token {
        let _ = writeln!(text, "git_token      = {}", file(git_token));
    }
    for class in &meant.classes {
        text.push_str(&class_text(function, class));
    }
    text
}

/// Returns the class.
fn class_text(function: &Function, class: &Class) -> String {
    let list = |values: &[&str]| {
        let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
        format!("[{}]", values.join(", "))
    };
    let limit = class.limit.map_or_else(|| quoted("none"), |limit| limit.to_string());
    let mut kinds: Vec<&str> = class.machines.iter().map(|spec| spec.kind.as_str()).collect();
    kinds.dedup();
    let options = class.machines.first().map(|spec| &spec.options);
    let mut text = format!(
        "\n[[class]]\nname    = {}\n\
         # While the function serves the jobs: only those that ask for this label. Then [\"*\"]: any\n\
         # labels except `host`.\n\
         labels  = {}\n\
         # Only jobs of these repositories, such as [\"acme/site\", \"acme/infra-*\"]; without it, of\n\
         # all.\n\
         # repos = []\n\
         limit   = {limit}\n\
         # The maximum age of a machine, even mid-job.\n\
         max_age = \"{}m\"\n\n\
         [class.machines]\nmarkets = [\"spot\"]\n",
        quoted(&class.name.0),
        list(&[TRIAL]),
        class.times.max_age.as_mins(),
    );
    let groups = function.list("SECURITY_GROUP");
    let lines = [
        ("kinds", Some(list(&kinds))),
        ("subnets", Some(list(&function.list("SUBNET")))),
        ("image", function.text("RUNNER_AMI").map(quoted)),
        ("security_groups", (!groups.is_empty()).then(|| list(&groups))),
        ("instance_profile", function.text("INSTANCE_PROFILE").map(quoted)),
        ("disk_gib", options.and_then(|options| options.disk_gib).map(|gib| gib.to_string())),
        (
            "public_address",
            options.and_then(|options| options.public_address).map(|public| public.to_string()),
        ),
    ];
    for (key, value) in lines {
        if let Some(value) = value {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
    if let Some((url, sha256)) = function.text("RUNNER_URL").zip(function.text("RUNNER_SHA256")) {
        let (url, sha256) = (quoted(url), quoted(sha256));
        let _ = write!(text, "\n[class.runner.download]\nurl = {url}\nsha256 = {sha256}\n");
    }
    text
}

/// Says what becomes of each variable.
fn changes(function: &Function) -> String {
    let mut text = "\nVariables of the function:\n".to_owned();
    for Change { variable, key, note, unset } in &CHANGES {
        let note = match function.text(variable) {
            Some(_) => (*note).to_owned(),
            None if unset.is_empty() => continue,
            None => format!("not set: {unset}"),
        };
        let line = format!("  {variable:18}  {key:31}  {note}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if !function.others().is_empty() {
        let names: Vec<String> = function.others().iter().map(|name| escape(name)).collect();
        let _ = writeln!(text, "  without a meaning here: {}", names.join(", "));
    }
    text
}

/// Says which steps come next.
fn next(file: &Path) -> String {
    let named = named(file);
    let shown = escape(&file.to_string_lossy());
    format!(
        "\nNext, in this order (docs/how-to/migrate-from-the-lambda.md):\n\
         \x20 1. tinqs-ci doctor{named}\n\
         \x20    checks the token, the table, the image and the rights, and changes nothing\n\
         \x20 2. tinqs-ci init --aws{named}\n\
         \x20    adds to the table what it lacks; the function is not affected\n\
         \x20 3. tinqs-ci serve{named}\n\
         \x20    beside the function: only jobs with `runs-on: {TRIAL}` get its machines\n\
         \x20 4. disable the function's schedule, point the webhook at this server, and wait until\n\
         \x20    the jobs that the function was told of have started\n\
         \x20 5. write labels = [\"*\"] in {shown}, then: tinqs-ci reload\n\
         \x20    from here on every job gets a machine of tinqs-ci, except on `host`\n\
         \x20 6. after some days, remove the function, its role and its schedule\n\
         To go back, undo 4 and then 5: the function finds its items as it left them.\n"
    )
}
