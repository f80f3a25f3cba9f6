//! Commands that call a server, except `get`.

use jiff::Timestamp;
use tinqs_ci_reconciler::controller::SweepReport;
use tinqs_ci_reconciler::model::RunName;

use super::args::{Explain, Server, TextOrJson};
use super::failure::{Failure, lister, out, warn};
use super::reach::Reach;
use super::{local, table_status};
use crate::api::{Plan, Reloaded};
use crate::commands::client::{self, Client, EventFilter};
use crate::commands::print::{self, Detail};
use crate::settings::{Env, Mistakes};
use tinqs_ci_reconciler::text::cut;

pub(super) fn client(server: &Server, env: &Env) -> Result<Client, Failure> {
    Reach::find(server, env)?.client()
}

/// Parses the name of a run, written `job-1` or `run/job-1`.
pub(super) fn run_name(text: &str) -> Result<RunName, Failure> {
    let name = text.strip_prefix("run/").or_else(|| text.strip_prefix("runs/")).unwrap_or(text);
    // An invalid name needs no request.
    name.parse().map_err(|_| {
        let lists = lister("run");
        Failure::not_found(format!("run `{}` not found", tinqs_ci_reconciler::text::cut(name, 60)))
            .hint(format!("a run is named `job-<number>` or `push-<16 hex digits>`; {lists}"))
    })
}

pub(super) async fn describe(
    name: &str,
    detail: Detail,
    server: &Server,
    env: &Env,
) -> Result<(), Failure> {
    let name = run_name(name)?;
    let client = client(server, env)?;
    let versioned = client.run(&name).await?;
    let filter = EventFilter { run: Some(name.to_string()), ..EventFilter::default() };
    let (machines, registrations, status, events) = tokio::join!(
        client.machines(),
        client.registrations(),
        table_status::for_table(&client),
        client.events(&filter)
    );
    table_status::banner(status.as_ref());
    table_status::run_fails(status.as_ref(), &versioned.run);
    // Show the run even if its machines or registrations cannot be listed.
    let machines = machines.map_or_else(
        |error| {
            warn(&format!("cannot list machines: {error}"));
            Vec::new()
        },
        |list| list.items,
    );
    let registrations = registrations.map_or_else(
        |error| {
            warn(&format!("cannot list registrations: {error}"));
            Vec::new()
        },
        |list| list.items,
    );
    let now = Timestamp::now();
    // An older server has none.
    let events = events.map(|list| list.items).unwrap_or_default();
    let events = print::events_of(&versioned.run, &events, now);
    out(&(print::describe(&versioned.run, &machines, &registrations, detail, now) + &events))
}

pub(super) async fn plan(name: &str, server: &Server, env: &Env) -> Result<Plan, Failure> {
    let name = run_name(name)?;
    Ok(client(server, env)?.plan(&name).await?)
}

pub(super) async fn explain(what: Explain, env: &Env) -> Result<(), Failure> {
    let text = match what {
        Explain::Push { repo, sha, git_ref, output, server } => {
            let client = client(&server, env)?;
            let push = client.explain_push(&repo, &sha, git_ref.as_deref()).await?;
            match output {
                TextOrJson::Text => print::explain_push(&push),
                TextOrJson::Json => local::json(&push)?,
            }
        }
        Explain::Job { id, repo, verbose, output, server } => {
            let number = ["run/", "runs/"].iter().find_map(|kind| id.strip_prefix(kind));
            let number = number.unwrap_or(&id);
            let number = number.strip_prefix("job-").unwrap_or(number).parse::<i64>().ok();
            let number = number.filter(|id| *id > 0).ok_or_else(|| {
                Failure::usage(format!("`{id}` is not a job ID"))
                    .hint("use the number at the end of the job's API address, or job-NUMBER")
            })?;
            let job = client(&server, env)?.explain_job(number, repo.as_deref()).await?;
            match output {
                TextOrJson::Text => print::explain_job(&job, super::detail(verbose)),
                TextOrJson::Json => local::json(&job)?,
            }
        }
    };
    out(&text)
}

pub(super) async fn sweep(output: TextOrJson, server: &Server, env: &Env) -> Result<(), Failure> {
    let report = client(server, env)?.sweep().await?;
    out(&match output {
        TextOrJson::Text => sweep_text(&report),
        TextOrJson::Json => local::json(&report)?,
    })?;
    if report.errors.is_empty() {
        return Ok(());
    }
    let message = format!("{} calls failed; the sweep used the others", report.errors.len());
    Err(Failure::failed(message).hint("run `tinqs-ci doctor` on the server's host"))
}

fn sweep_text(report: &SweepReport) -> String {
    use std::fmt::Write as _;
    let SweepReport {
        leader,
        waiting_jobs,
        unserved_jobs,
        unserved: _,
        created,
        woken,
        machines,
        registrations,
        seats,
        errors,
    } = report;
    if !leader {
        return "another replica is sweeping, nothing was done\n".to_owned();
    }
    let mut text = format!(
        "waiting jobs    {waiting_jobs}, {unserved_jobs} without a matching class\n\
         machines        {machines}\n\
         registrations   {registrations}\n\
         seats           {seats}\n\
         runs            {created} created, {woken} woken\n"
    );
    for error in errors {
        let _ = writeln!(text, "! {}", tinqs_ci_reconciler::text::cut(error, 300));
    }
    text
}

pub(super) async fn reload(output: TextOrJson, server: &Server, env: &Env) -> Result<(), Failure> {
    let reloaded = match client(server, env)?.reload().await {
        Ok(reloaded) => reloaded,
        Err(client::Error::Refused { status, detail }) if status.as_u16() == 422 => {
            let lines = detail.lines().map(str::to_owned).collect();
            let hint = "fix it on the server's host; the former configuration stays in force";
            return Err(Mistakes { lines, hint: hint.to_owned() }.into());
        }
        Err(error) => return Err(error.into()),
    };
    out(&match output {
        TextOrJson::Text => reloaded_text(&reloaded),
        TextOrJson::Json => local::json(&reloaded)?,
    })
}

fn reloaded_text(reloaded: &Reloaded) -> String {
    use std::fmt::Write as _;
    let Reloaded { changed, restart, warnings } = reloaded;
    let mut text = String::new();
    for change in changed {
        let _ = writeln!(text, "{}", cut(change, 300));
    }
    for key in restart {
        let _ = writeln!(text, "{}: restart to apply", cut(key, 100));
    }
    for warning in warnings {
        let _ = writeln!(text, "! {}", cut(warning, 300));
    }
    if changed.is_empty() && restart.is_empty() {
        text.push_str("nothing has changed\n");
    }
    text
}
