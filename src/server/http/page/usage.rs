//! The usage of a month: jobs, machine time by its use, and cost.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use maud::{Markup, html};

use super::parts::{self, name, span};
use super::{answer, layout, refused};
use crate::api::{Month, UsageBy, UsageList, UsageRow, UsageSum};
use crate::server::http::Ctx;
use crate::server::http::guard::Identity;
use crate::server::http::usage::{UsageQuery, list, selected};

/// `GET /usage`.
pub(super) async fn page(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    headers: HeaderMap,
    query: Result<Query<UsageQuery>, QueryRejection>,
) -> Response {
    let asked = selected(&app, query);
    let found = match asked {
        Ok((by, month)) => list(&app, by, month).await.map(|usage| (month, usage)),
        Err(refusal) => Err(refusal),
    };
    let (month, usage) = match found {
        Ok(found) => found,
        Err(refusal) => return refused(&headers, refusal),
    };
    let main = main(month, &usage);
    let installation = &app.live.settings().installation;
    let here = ("/usage", "Usage");
    let page = layout::page(installation, Some(&caller), here, usage.now, &main);
    answer(&headers, StatusCode::OK, page)
}

/// `GET /usage.csv`: the same rows as a file.
pub(super) async fn csv(
    State(app): Ctx,
    headers: HeaderMap,
    query: Result<Query<UsageQuery>, QueryRejection>,
) -> Response {
    let found = match selected(&app, query) {
        Ok((by, month)) => list(&app, by, month).await,
        Err(refusal) => Err(refusal),
    };
    let usage = match found {
        Ok(usage) => usage,
        Err(refusal) => return refused(&headers, refusal),
    };
    let (month, by) = (&usage.month, usage.by.as_str());
    let file = format!("attachment; filename=\"tinqs-ci-usage-{month}-by-{by}.csv\"");
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, file),
    ];
    (StatusCode::OK, headers, usage.csv()).into_response()
}

fn main(month: Month, usage: &UsageList) -> Markup {
    let to = |month: Month, by: UsageBy| format!("/usage?by={}&month={month}", by.as_str());
    let file = format!("/usage.csv?by={}&month={month}", usage.by.as_str());
    html! {
        h1 { "Usage " small { (month) " UTC" } }
        p.filter {
            @if let Some(before) = month.before() {
                a href=(to(before, usage.by)) { "← " (before) }
            }
            @if let Some(after) = month.after().filter(|after| *after <= Month::of(usage.now)) {
                a href=(to(after, usage.by)) { (after) " →" }
            }
            @for by in UsageBy::ALL {
                @if by == usage.by { strong { "by " (title(by)) } }
                @else { a href=(to(month, by)) { "by " (title(by)) } }
            }
            a href=(file) download { "CSV" }
        }
        section #usage data-live aria-label="Usage" {
            @if usage.items.is_empty() {
                p { "No machine has ended in this month, and no job." }
            } @else {
                (table(usage))
                p.quiet {
                    "Counted once a run is over and its machines have ended. A cost is an estimate by the \
                     prices that are known; “–” is not known."
                }
                @if usage.total.unknown_end_seconds > 0 {
                    p.quiet {
                        "Nobody saw when some machines ended: at most "
                        (duration(usage.total.unknown_end_seconds)) " more, which no column counts."
                    }
                }
            }
        }
    }
}

fn title(by: UsageBy) -> &'static str {
    match by {
        UsageBy::Repo => "repository",
        UsageBy::Class => "class",
        UsageBy::Workflow => "workflow",
        UsageBy::Day => "day",
    }
}

fn table(usage: &UsageList) -> Markup {
    let content = html! {
        thead { tr {
            th { (title(usage.by)) }
            th.n { "jobs" } th.n { "machine time" }
            th.n { "boot" } th.n { "idle" } th.n { "busy" } th.n { "lost" } th.n { "cost" }
        } }
        tbody { @for row in &usage.items { tr { td { (subject(row)) } (sums(&row.sum)) } } }
        tfoot { tr { th { "total" } (sums(&usage.total)) } }
    };
    parts::table(&format!("Usage by {}", title(usage.by)), &content)
}

fn subject(row: &UsageRow) -> Markup {
    let UsageRow { day, class, repo, workflow, sum: _ } = row;
    html! {
        @if let Some(day) = day { (day) }
        @if let Some(class) = class { (if class.is_empty() { "–".to_owned() } else { name(class) }) }
        @if let Some(repo) = repo { (name(repo)) }
        @if let Some(workflow) = workflow {
            " " (if workflow.is_empty() { "–".to_owned() } else { name(workflow) })
        }
    }
}

fn duration(seconds: u64) -> String {
    span(SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX)))
}

fn sums(sum: &UsageSum) -> Markup {
    let time = |seconds: u64| {
        html! { td.n title=(format!("{seconds} s")) { (duration(seconds)) } }
    };
    html! {
        td.n { (sum.jobs) }
        (time(sum.total_seconds)) (time(sum.boot_seconds)) (time(sum.idle_seconds))
        (time(sum.busy_seconds)) (time(sum.lost_seconds))
        td.n { (sum.cost()) }
    }
}
