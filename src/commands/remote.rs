//! Verbs that ask a server, but for `get`.

use jiff::Timestamp;
use tinqs_ci_reconciler::controller::SweepReport;
use tinqs_ci_reconciler::model::{RunName, Secret};

use super::args::{DryRun, Explain, Server, TextOrJson};
use super::failure::{Failure, lister, out, warn};
use super::local;
use crate::api::Plan;
use crate::commands::client::{self, Client, Now};
use crate::commands::print;
use crate::settings::Env;

pub(super) fn client(server: &Server, env: &Env) -> Result<Client, Failure> {
    let given = |name: &str| env.get(name).filter(|text| !text.is_empty());
    let url = server.url.as_ref().or_else(|| given("TINQS_CI_URL"));
    let url = url.map_or(client::DEFAULT_URL, String::as_str);
    let token = given("TINQS_CI_API_TOKEN").map(|token| Secret::new(token.as_str()));
    Ok(Client::new(url, token)?)
}

/// The name of a run, written `job-1` or `run/job-1`.
pub(super) fn run_name(text: &str) -> Result<RunName, Failure> {
    let name = text.strip_prefix("run/").or_else(|| text.strip_prefix("runs/")).unwrap_or(text);
    // No server need be asked.
    name.parse().map_err(|_| {
        let lists = lister("run");
        Failure::not_found(format!("run `{}` not found", tinqs_ci_reconciler::text::cut(name, 60)))
            .hint(format!("a run is named `job-<number>` or `push-<16 hex digits>`; {lists}"))
    })
}

pub(super) async fn describe(name: &str, server: &Server, env: &Env) -> Result<(), Failure> {
    let name = run_name(name)?;
    let client = client(server, env)?;
    let seen = client.run(&name).await?;
    let (machines, registrations) = tokio::join!(client.machines(), client.registrations());
    // The page is worth having without its neighbours; say which one is missing.
    let machines = machines.map_or_else(
        |error| {
            warn(&format!("machines are not shown: {error}"));
            Vec::new()
        },
        |list| list.items,
    );
    let registrations = registrations.map_or_else(
        |error| {
            warn(&format!("registrations are not shown: {error}"));
            Vec::new()
        },
        |list| list.items,
    );
    out(&print::describe(&seen.run, &machines, &registrations, Timestamp::now()))
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
        Explain::Job { id, repo, output, server } => {
            let number = ["run/", "runs/"].iter().find_map(|kind| id.strip_prefix(kind));
            let number = number.unwrap_or(&id);
            let number = number.strip_prefix("job-").unwrap_or(number).parse::<i64>().ok();
            let number = number.filter(|id| *id > 0).ok_or_else(|| {
                Failure::usage(format!("`{id}` is not a job's id"))
                    .hint("the number at the end of the job's API address, or of job-NUMBER")
            })?;
            let job = client(&server, env)?.explain_job(number, repo.as_deref()).await?;
            match output {
                TextOrJson::Text => print::explain_job(&job),
                TextOrJson::Json => local::json(&job)?,
            }
        }
    };
    out(&text)
}

/// What a person wants changed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Delete(Now),
    Retry,
}

impl Change {
    fn past(self) -> &'static str {
        match self {
            Self::Delete(_) => "deleted",
            Self::Retry => "retried",
        }
    }
}

/// Tries against a controller that writes at the same time.
const TRIES: usize = 5;

/// Reads the run, then changes the version that was read. A wish holds for the same incarnation
/// whatever was written meanwhile; another one of that name is left alone.
pub(super) async fn change(
    name: &str,
    change: Change,
    dry: &DryRun,
    server: &Server,
    env: &Env,
) -> Result<(), Failure> {
    let name = run_name(name)?;
    let client = client(server, env)?;
    let first = client.run(&name).await?;
    if dry.dry_run {
        return out(&format!("run/{name} {} (dry run)\n", change.past()));
    }
    let uid = first.run.uid;
    let mut seen = first;
    for _ in 0..TRIES {
        let done = match change {
            Change::Delete(now) => client.delete(&seen, now).await,
            Change::Retry => client.retry(&seen).await,
        };
        match done {
            Ok(()) => return out(&format!("run/{name} {}\n", change.past())),
            Err(client::Error::Refused { status, .. }) if status.as_u16() == 412 => {
                seen = client.run(&name).await?;
                if seen.run.uid != uid {
                    let message = format!("run/{name} has just been made anew and was left alone");
                    return Err(Failure::failed(message).hint("look at it, then ask again"));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::failed(format!("run/{name} is being written all the time")).hint("ask again"))
}

pub(super) async fn terminate(
    machine: &str,
    dry: &DryRun,
    server: &Server,
    env: &Env,
) -> Result<(), Failure> {
    let prefixed = machine.strip_prefix("machine/").or_else(|| machine.strip_prefix("machines/"));
    let id = prefixed.unwrap_or(machine);
    if id.is_empty() || id == "." || id == ".." {
        return Err(Failure::usage(format!("`{machine}` is not the id of a machine"))
            .hint("`tinqs-ci get machines -o name` lists them"));
    }
    let client = client(server, env)?;
    if dry.dry_run {
        let machines = client.machines().await?;
        if !machines.items.iter().any(|machine| machine.id == id) {
            return Err(Failure::not_found(format!(
                "machine `{}` not found",
                tinqs_ci_reconciler::text::cut(id, 100)
            ))
            .hint(lister("machine")));
        }
        return out(&format!(
            "machine/{} terminated (dry run)\n",
            tinqs_ci_reconciler::text::escape(id)
        ));
    }
    client.terminate(id).await?;
    out(&format!("machine/{} terminated\n", tinqs_ci_reconciler::text::escape(id)))
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
    let message = format!("{} readings failed; the others were used", report.errors.len());
    Err(Failure::failed(message).hint("`tinqs-ci doctor` checks them one by one"))
}

fn sweep_text(report: &SweepReport) -> String {
    use std::fmt::Write as _;
    let SweepReport {
        leader,
        waiting_jobs,
        unserved_jobs,
        created,
        woken,
        machines,
        registrations,
        seats,
        errors,
    } = report;
    if !leader {
        return "another replica is sweeping; nothing was read\n".to_owned();
    }
    let mut text = format!(
        "jobs waiting    {waiting_jobs}, of which no class serves {unserved_jobs}\n\
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
