//! Checks that the generated pages of `docs/reference/` are current and that configuration examples
//! in the documentation are valid. `UPDATE_EXPECT=1` rewrites the pages.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use expect_test::expect_file;
use serde_json::Value;
use tinqs_ci::settings::{Form, Key, TOP};

#[path = "reference/examples.rs"]
mod examples;
#[path = "observability/families.rs"]
mod families;
#[path = "observability/page.rs"]
mod metrics;
#[path = "reference/reasons.rs"]
mod reasons;
#[path = "house/words.rs"]
mod words;

use words::words;

const GENERATED: &str = "<!-- Generated: UPDATE_EXPECT=1 cargo test --test reference -->\n";
const GENERATED_END: &str = "<!-- The end of the generated part -->\n";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the output of the real binary.
fn binary(arguments: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_tinqs-ci"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .env_remove("COLUMNS")
        .env_remove("CLICOLOR_FORCE")
        .output()
        .expect("the binary starts");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "tinqs-ci {}: {}: {said}", arguments.join(" "), out.status);
    String::from_utf8(out.stdout).expect("the output is text")
}

/// Returns the output of `tinqs-ci schema KIND`.
fn schema(kind: &str) -> Value {
    serde_json::from_str(&binary(&["schema", kind])).expect("a schema is JSON")
}

/// Escapes a text for a table cell.
fn cell(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|")
}

/// Wraps a paragraph at 100 columns, each line but the first after the indentation. A code span
/// stays whole.
fn wrapped(text: &str, indent: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in words(text) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= 100 => {
                line.push(' ');
                line.push_str(&word);
            }
            Some(_) => lines.push(format!("{indent}{word}")),
            None => lines.push(word),
        }
    }
    lines.join("\n")
}

// ---------------------------------------------------------------- configuration

/// Returns the page of all keys: from the JSON Schema, in the order in which `src/settings/keys.rs`
/// declares them.
fn configuration_page(schema: &Value) -> String {
    let mut page = format!("# Configuration\n\n{GENERATED}\n");
    page.push_str(CONFIGURATION_INTRODUCTION);
    section(&mut page, "Top level", "", "", schema, TOP);
    page.push_str(CONFIGURATION_END);
    page
}

const CONFIGURATION_INTRODUCTION: &str = "\
The configuration is one TOML file: `--config FILE`, else `TINQS_CI_CONFIG`, else
`./tinqs-ci.toml` if it exists. `tinqs-ci init` writes one with comments. Relative paths are
relative to the working directory.

Environment variables override the file: `TINQS_CI_<SECTION>__<KEY>`, with two underscores between
section and key, as in `TINQS_CI_FORGE__POLL_EVERY=30s` or `TINQS_CI_STORE=memory:`. A credential
from a file is `TINQS_CI_FORGE__TOKEN__FILE=path`. Classes can be configured in the file only. Empty
variables count as unset.

Unknown keys, wrong types and contradictions end the program with exit code 2 and one line per
mistake: file, line, key, what was expected, and the nearest known key. `tinqs-ci schema config`
prints the JSON Schema from which this page is generated. Keys stand in the order of use, and the
example below a table sets each of them; the values are no recommendations.

A *secret* is `{ env = \"NAME\" }`, `{ file = \"path\" }`, `{ ssm = \"/name\" }` or
`{ secretsmanager = \"name\" }` ([Secrets in
AWS](../aws/credentials.md#secrets-in-aws)), or the credential itself, which causes a warning.
Secrets are removed from messages, except those shorter than 8 characters, which cause a warning
too. A *duration* is written as `90s`, `5m` or `1h 30m`.

### Changes while the server runs

**Secrets from files** are read again when the file changes, within two seconds, and at once when
the forge rejects the token. A file may be written in place or replaced by a rename, also of a
symbolic link on the way, as Kubernetes does it. If the file is empty, unreadable or not a
credential, the former secret stays in force, and one warning names the file and the cause. While a
webhook secret is replaced, list the new one and the former one
(`webhook_secret = [{ file = \"new\" }, { file = \"former\" }]`): both count. Otherwise webhooks are
refused with 401 until both sides have the new one, and the poll finds their jobs. **Secrets in
AWS** are read again every 10 minutes, and after the forge rejects the token. Secrets from the
environment need a restart.

**The files of `server.tls`** likewise, within three seconds. A pair that cannot be used, does not
belong together or has expired leaves the former one in force, with one warning; open connections
keep the certificate with which they began.

**The configuration file** is read again on SIGHUP, on `tinqs-ci reload` and on `POST /v1/reload`.
Classes, prices, secrets, `server.token`, `server.hosts`, `forge.poll_every`, `forge.sweep_every`,
`forge.machine_url`, `server.tls` and `server.log` take effect at once; running machines keep what
they were launched with. Everything else (`installation`, `store`, `queue`, `compute`, `forge.url`,
`forge.scope`, `forge.demand`, the addresses of `server`, `server.event_clients`, `server.emf`, and
whether `forge.token`, `forge.webhook_secret`, `server.token` and `server.tls` are set at all) needs
a restart, which the log and the answer say. After a change of `compute` to or from EC2, the classes
wait for the restart too. If the file is missing or has a mistake, the whole former configuration
stays in force. The environment of a running process does not change. With several replicas, each
needs the signal; a call reaches one of them. A Lambda function reads its configuration at its start
only.

### The log

The server logs to standard error: JSON lines, one object per event, from the first line to the last
one; short lines only on a terminal. `TINQS_CI_LOG` selects what is logged: a level (`error`,
`warn`, `info`, `debug`, `trace`) or a list such as `info,tinqs_ci=debug`. It precedes `RUST_LOG`
and `server.log`; the default is `info`.

### Traces

The server sends traces if `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`
names a collector and the build has the feature `otlp`, as the published binary does. They and the
other standard variables of OpenTelemetry are in [Traces](../how-to/traces.md); no key of the
configuration is about them.

";

const CONFIGURATION_END: &str = "\
## A complete example

```toml
installation = \"tinqs-ci\"
store        = \"redb:./data\"
queue        = \"memory:\"
compute      = \"process:\"

[forge]
url            = \"https://git.example.com\"
token          = { env = \"GITEA_TOKEN\" }
webhook_secret = { file = \"webhook-secret\" }
scope          = \"org:acme\"
demand         = \"auto\"
poll_every     = \"10s\"
sweep_every    = \"60s\"

[server]
webhooks = \"0.0.0.0:8080\"
api      = \"127.0.0.1:8081\"

[prices]
process = \"$0.02/h\"

[[server.token]]
name   = \"dashboard\"
secret = { file = \"dashboard-token\" }
may    = \"read\"

[[class]]
name        = \"linux\"
labels      = [\"linux\", \"ubuntu-latest:host\"]
limit       = 20
boot_within = \"5m\"
idle_within = \"2m\"
max_age     = \"6h\"

[[class]]
name        = \"big\"
labels      = [\"linux\", \"big\"]
limit       = 2
repo_limit  = 1
```

The first class whose labels contain every label of a job's `runs-on` serves it: a job on `linux`
gets a machine of the class `linux`, and a job on `[linux, big]` one of `big`. If `big` came first,
it would serve both: put the common classes first.
";

/// Writes a table of keys and an example, then the tables nested in it.
fn section(page: &mut String, title: &str, about: &str, path: &str, schema: &Value, keys: &[Key]) {
    let _ = writeln!(page, "## {title}\n");
    if !about.is_empty() {
        let _ = writeln!(page, "{}\n", wrapped(about, ""));
    }
    let properties = &schema["properties"];
    assert_eq!(properties.as_object().map(serde_json::Map::len), Some(keys.len()), "[{path}]");
    let mut tables = Vec::new();
    let mut rows = String::new();
    for key in keys {
        let (name, property) = (key.name, &properties[key.name]);
        let inner_path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match key.form {
            Form::Table(inner) => {
                tables.push((format!("`[{inner_path}]`"), inner_path, property, property, inner));
                continue;
            }
            Form::Tables(_, inner) => {
                let items = &property["items"];
                tables.push((format!("`[[{inner_path}]]`"), inner_path, property, items, inner));
                continue;
            }
            _ => {}
        }
        let default = match &property["default"] {
            Value::Null if key.required => "required".to_owned(),
            Value::Null => String::new(),
            Value::String(text) => format!("`\"{text}\"`"),
            other => format!("`{other}`"),
        };
        let about = property["description"].as_str().unwrap_or_default();
        let takes = takes(property);
        let _ = writeln!(rows, "| `{name}` | {takes} | {} | {} |", cell(&default), cell(about));
    }
    let _ = writeln!(page, "| key | value | default | description |\n|---|---|---|---|\n{rows}");
    let _ = writeln!(page, "```toml\n{}```\n", examples::of(path));
    for (title, path, outer, inner, keys) in tables {
        let about = outer["description"].as_str().unwrap_or_default();
        section(page, &title, about, &path, inner, keys);
    }
}

/// Returns a key's type in a word or two.
fn takes(property: &Value) -> String {
    if property["$ref"].as_str().is_some_and(|r| r.ends_with("/secret")) {
        return "secret".to_owned();
    }
    if let Some(kinds) = property["anyOf"].as_array() {
        return kinds.iter().map(takes).collect::<Vec<_>>().join(" or ");
    }
    if let Some(words) = property["enum"].as_array() {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        return cell(&words.join(", "));
    }
    match property["type"].as_str() {
        Some("array") => format!("list of {}", takes(&property["items"])),
        Some("integer" | "number") => "number".to_owned(),
        Some("object") => "table".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        Some("string") if is_duration(property) => "duration".to_owned(),
        Some("string") => "text".to_owned(),
        other => panic!("unknown type {other:?} in {property}"),
    }
}

fn is_duration(property: &Value) -> bool {
    let text = property["default"].as_str().unwrap_or_default();
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.ends_with(['s', 'm', 'h', 'd'])
        && text.parse::<jiff::SignedDuration>().is_ok()
}

#[test]
fn the_configuration_page_is_current() {
    let page = configuration_page(&schema("config"));
    assert!(page.matches("\n## ").count() >= 6, "sections are missing:\n{page}");
    expect_file!["../docs/reference/configuration.md"].assert_eq(&page);
}

/// Returns the fenced blocks of a language in a page with their first lines.
fn blocks(page: &str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside: Option<(usize, String)> = None;
    for (number, line) in page.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut inside, fence) {
            (None, Some(of)) if of.trim() == language => inside = Some((number + 1, String::new())),
            (None, Some("") | None) => {}
            (None, Some(_)) => inside = Some((0, String::new())),
            (Some(_), Some(_)) => found.extend(inside.take().filter(|(at, _)| *at > 0)),
            (Some((_, text)), None) => {
                text.push_str(line.trim_start());
                text.push('\n');
            }
        }
    }
    found
}

#[test]
fn configuration_examples_are_valid() {
    let schema = schema("config");
    let validator = jsonschema::validator_for(&schema).expect("the schema is valid");
    let mut checked = 0;
    for page in [
        "README.md",
        "docs/tutorials/one-host.md",
        "docs/reference/configuration.md",
        "docs/how-to/classes.md",
        "docs/how-to/gitea-in-docker.md",
        "docs/how-to/private-network.md",
        "docs/how-to/second-installation.md",
        "docs/how-to/tune-cost.md",
    ] {
        for (line, block) in blocks(&read(page), "toml") {
            let table: toml::Table =
                block.parse().unwrap_or_else(|error| panic!("{page}:{line}: {error}"));
            let value = serde_json::to_value(table).expect("TOML becomes JSON");
            let mistakes: Vec<String> =
                validator.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(mistakes.is_empty(), "{page}:{line}: {mistakes:#?}");
            checked += 1;
        }
    }
    assert!(checked >= 2, "only {checked} blocks were found");
}

// ---------------------------------------------------------------- commands

/// Returns the page of all commands, from their `--help`.
fn commands_page() -> String {
    let mut page = format!("# Commands\n\n{GENERATED}\n");
    page.push_str(COMMANDS_INTRODUCTION);
    page.push_str("| command | description |\n|---|---|\n");
    let verbs = verbs(&binary(&["--help"]));
    for (name, about) in &verbs {
        let _ = writeln!(page, "| [`{name}`](#tinqs-ci-{name}) | {} |", cell(about));
    }
    page.push('\n');
    for (name, _) in &verbs {
        describe(&mut page, &[name]);
    }
    format!("{}\n", page.trim_end())
}

/// Returns the names and summaries under `Commands:` of a help text.
fn verbs(help: &str) -> Vec<(String, String)> {
    let mut verbs: Vec<(String, String)> = Vec::new();
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    for line in listed.take_while(|line| line.starts_with("  ")) {
        let (name, about) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        // A summary may continue in the next, further indented line.
        match verbs.last_mut() {
            Some((_, before)) if line.starts_with("     ") => {
                before.push(' ');
                before.push_str(line.trim());
            }
            _ => verbs.push((name.to_owned(), about.trim().to_owned())),
        }
    }
    verbs.retain(|(name, _)| name != "help");
    verbs
}

fn describe(page: &mut String, path: &[&str]) {
    let help = binary(&[path, &["--help"]].concat());
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let marks = "#".repeat(path.len() + 1);
    let _ = writeln!(page, "{marks} tinqs-ci {}\n", path.join(" "));
    let _ = writeln!(page, "```text\n{}\n```\n", lines.join("\n").trim_end());
    for (inner, _) in verbs(&help) {
        describe(page, &[path, &[&inner]].concat());
    }
}

const COMMANDS_INTRODUCTION: &str = "\
Commands about runs and machines call only the server's HTTP API: that of `--server URL`, else of
`TINQS_CI_URL`, with a token from `--token-file FILE`, else from `TINQS_CI_API_TOKEN`. Without an
address they read the configuration (`TINQS_CI_CONFIG`, else `./tinqs-ci.toml`) and ask the server
of this host: at its socket if they may, else at `server.api` with a token that they can read. They
need nothing else of the configuration. Results go to stdout, errors and progress to stderr.
`NO_COLOR` and pipes give plain output; `-o json` prints the object as the API returns it.

A table fits its terminal: long names of jobs are cut in the middle, names that commands need are
not, and jobs link to their pages at the forge if the terminal shows links. `-o wide` adds columns
and is never cut. Without a terminal nothing is cut, so that scripts see whole names, unless
`COLUMNS` gives a width. `--verbose` shows internals, such as the rules of the decision table.

| exit code | meaning |
|---|---|
| 0 | done; with `plan --exit-code`: settled; with `drift --exit-code`: nothing drifts |
| 1 | failed: a check of `doctor`, a malformed line of `eval`, with `watch --exit-status` the job |
| 2 | wrong usage or configuration; with `plan --exit-code`: something to do; with `drift --exit-code`: something drifts |
| 3 | no run, machine, registration, class, job or commit has that name |
| 4 | cannot reach the server |

";

#[test]
fn the_commands_page_is_current() {
    let page = commands_page();
    for verb in ["serve", "demo", "init", "doctor", "get", "plan", "delete", "eval"] {
        assert!(page.contains(&format!("\n## tinqs-ci {verb}\n")), "{verb} is not on the page");
    }
    expect_file!["../docs/reference/commands.md"].assert_eq(&page);
}

// ---------------------------------------------------------------- metrics

#[test]
fn the_metrics_page_is_current() {
    let schema = schema("metrics");
    let page = metrics::page(schema.as_array().expect("a list of families"));
    expect_file!["../docs/reference/metrics.md"].assert_eq(&page);
}

// ---------------------------------------------------------------- reasons

#[test]
fn the_reasons_of_the_troubleshooting_page_are_current() {
    let page = read("docs/troubleshooting.md");
    let (begin, rest) = page.split_once(GENERATED).expect("where the generated part begins");
    let (_, end) = rest.split_once(GENERATED_END).expect("where the generated part ends");
    let current = format!("{begin}{GENERATED}\n{}{GENERATED_END}{end}", reasons::text());
    expect_file!["../docs/troubleshooting.md"].assert_eq(&current);
}
