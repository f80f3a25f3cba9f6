//! The page `docs/reference/metrics.md`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{GENERATED, cell, families, wrapped};

/// Returns the page of all metric families, from `schema metrics`.
pub(crate) fn page(families: &[Value]) -> String {
    let mut page = format!("# Metrics\n\n{GENERATED}\n");
    page.push_str(METRICS_INTRODUCTION);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for family in families {
        let name = text(&family["name"]);
        let _ = writeln!(page, "## `{name}`\n\n{}\n", wrapped(&text(&family["help"]), ""));
        let (kind, stability) = (text(&family["kind"]), text(&family["stability"]));
        let about = format!("A {kind}, {stability}. Example: `{}`", text(&family["example"]));
        let _ = writeln!(page, "{}\n", wrapped(&about, ""));
        let empty = serde_json::Map::new();
        let labels = family["values"].as_object().unwrap_or(&empty);
        if labels.is_empty() {
            continue;
        }
        page.push_str("| label | values |\n|---|---|\n");
        for (label, values) in labels {
            let values = match values.as_array() {
                Some(values) => {
                    let quoted: Vec<String> =
                        values.iter().map(|v| format!("`{}`", text(v))).collect();
                    quoted.join(", ")
                }
                None => match label.as_str() {
                    "class" => "the configured classes, and `no_class`".to_owned(),
                    "hash" => "twelve hexadecimal digits".to_owned(),
                    "machine_kind" => "the kinds of the configured machines".to_owned(),
                    "subnet" => "the subnets of the configured machines; `none`".to_owned(),
                    "zone" => "the zones of machines; `none`".to_owned(),
                    _ => "the values of this build".to_owned(),
                },
            };
            let _ = writeln!(page, "| `{label}` | {values} |");
        }
        page.push('\n');
    }
    page.push_str(METRICS_NOT_EXPORTED);
    for family in &families::Reference::read().family {
        let Some((why, is_later)) = family.missing() else { continue };
        let when = if is_later { "not yet" } else { "no" };
        let _ = writeln!(page, "| `{}` | {when} | {} |", family.full_name(), cell(why));
    }
    format!("{}\n", page.trim_end())
}

const METRICS_NOT_EXPORTED: &str = "\
## Not exported

Families that one might expect, and why they are missing.

| family | exported | why |
|---|---|---|
";

const METRICS_INTRODUCTION: &str = "\
`GET /metrics` returns Prometheus text: at `server.api`, where it requires a token unless that is on
loopback, and at `server.metrics`, if that is set, without one. A scrape calls
neither the forge nor the cloud: it shows what the loops last observed, and
`tinqs_ci_snapshot_timestamp_seconds` says when. Where no loop has listed the open runs for three
seconds, it asks the store for them, but waits for at most 20 ms: while the store is slow or cannot
be reached, it shows the last snapshot, and its age grows.

Times are exported as Unix times, and 0 means none: an age is `time() - x`, and keeps growing if the
loop that sets it has stopped. Every possible series exists from the start, except those of the
queue while that was not read, and that of the certificate, which needs `server.tls`. No label ever
contains a repository, a job, a branch or an ID.

Where several replicas serve one installation, each shows what it knows: take the maximum of a gauge
over `instance` and the sum of a counter. Alerting rules and their tests are in `docs/alerts/`; each
alert has a runbook in this book.

Do not scrape a Lambda function: its gauges are right, but each instance of it counts for itself,
and a request asks one of them. [Monitor](../how-to/monitor.md#as-a-lambda-function) says what to
scrape instead.

";
