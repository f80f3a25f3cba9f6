//! Commands that change a run or a machine: `delete`, `retry`, `terminate`. Each says what follows.

use tinqs_ci_reconciler::model::{Phase, Run};
use tinqs_ci_reconciler::text::{cut, escape};

use super::args::{DryRun, Server};
use super::client::{self, Now};
use super::failure::{Failure, lister, note, out};
use super::remote::{client, run_name};
use crate::api::{MachineActivity, MachineView};
use crate::settings::Env;

/// The consequence, at Gitea, for a job whose machine ended.
const FAILS_LATER: &str = "Gitea usually fails it 10 to 15 min later";
/// The number of tries after write conflicts with the controller.
const TRIES: usize = 5;

/// A requested change of a run.
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

/// Reads the run, then changes the version that was read. Retries after a conflict if the run still
/// has the same UID; a new run of the same name is not changed.
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
    let uid = first.run.uid;
    let mut versioned = first;
    for _ in 0..TRIES {
        if matches!(change, Change::Retry) && !versioned.run.can_retry() {
            return Err(nothing_to_retry(&versioned.run));
        }
        if dry.dry_run {
            out(&format!("run/{name} {} (dry run)\n", change.past()))?;
            tell(change, &versioned.run);
            return Ok(());
        }
        let done = match change {
            Change::Delete(now) => client.delete(&versioned, now).await,
            Change::Retry => client.retry(&versioned).await,
        };
        match done {
            Ok(()) => {
                out(&format!("run/{name} {}\n", change.past()))?;
                tell(change, &versioned.run);
                return Ok(());
            }
            Err(client::Error::Refused { status, .. }) if status.as_u16() == 412 => {
                versioned = client.run(&name).await?;
                if versioned.run.uid != uid {
                    let message = format!("run/{name} was replaced meanwhile, nothing was changed");
                    return Err(Failure::failed(message)
                        .hint("check it with `tinqs-ci describe RUN`, then try again"));
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::failed(format!("run/{name} is written concurrently")).hint("try again"))
}

fn nothing_to_retry(run: &Run) -> Failure {
    let about = &run.spec.about;
    let outcome = run.status.outcome.map(|outcome| format!(" ({outcome:?})")).unwrap_or_default();
    let message = format!("run/{} is finished{outcome}: there is nothing to retry", run.name);
    let place = match (about.url.as_str(), about.repo.as_str()) {
        ("", "") => "at the forge".to_owned(),
        ("", repo) => format!("at the forge, in {}", cut(repo, 200)),
        (url, _) => format!("at the forge: {}", cut(url, 500)),
    };
    Failure::failed(message).hint(format!("re-run its job {place}"))
}

/// Says what follows from a change of this run, and what it does not do.
fn tell(change: Change, run: &Run) {
    if let Change::Delete(now) = change
        && let Some(line) = after_deletion(run, now)
    {
        note(&line);
    }
}

fn after_deletion(run: &Run, now: Now) -> Option<String> {
    let runner = run.status.runner.as_deref().and_then(|name| run.attempt_of(name));
    let elsewhere = runner.filter(|attempt_id| attempt_id.run != run.name);
    match (run.status.phase, elsewhere, now) {
        (Phase::Finished, ..) => None,
        (Phase::Waiting | Phase::Starting, ..) => {
            Some("its job stays queued at the forge and gets no machine".to_owned())
        }
        (Phase::Running, Some(other), _) => {
            Some(format!("its job goes on: it runs on the machine of {}", other.run))
        }
        (Phase::Running, None, Now::No) => Some(
            "its job goes on; the machine ends itself after it; use --now to end the machine at \
             once"
                .to_owned(),
        ),
        (Phase::Running, None, Now::Yes) => {
            Some(format!("its job loses its machine: {FAILS_LATER}"))
        }
    }
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
        return Err(Failure::usage(format!("`{machine}` is not a machine ID"))
            .hint("`tinqs-ci get machines -o name` lists the machines"));
    }
    let client = client(server, env)?;
    if !dry.dry_run {
        let ended = client.terminate(id).await?;
        out(&format!("machine/{} terminated\n", escape(id)))?;
        note(&after_termination(&ended));
        return Ok(());
    }
    let machines = client.machines().await?.items;
    let found = machines.iter().find(|machine| machine.id == id);
    let shown = cut(id, 100);
    match found {
        Some(found) if found.doing != MachineActivity::Gone => {
            out(&format!("machine/{shown} terminated (dry run)\n"))?;
            note(&after_termination(found));
            Ok(())
        }
        Some(_) => Err(Failure::not_found(format!("machine `{shown}` is gone already"))
            .hint(lister("machine"))),
        None => {
            Err(Failure::not_found(format!("machine `{shown}` not found")).hint(lister("machine")))
        }
    }
}

/// Says what follows for the job of a machine, given the machine as it was before.
fn after_termination(machine: &MachineView) -> String {
    match (&machine.job, machine.doing) {
        (Some(job), _) => {
            let (repo, name) = (cut(&job.repo, 200), cut(&job.name, 200));
            format!("its job {repo} {name} is running: {FAILS_LATER}")
        }
        (None, MachineActivity::Booting | MachineActivity::Idle) => {
            format!("it had no job; {} gets another machine if its job still waits", machine.run)
        }
        (None, _) => format!("if it has a job, {FAILS_LATER}"),
    }
}
