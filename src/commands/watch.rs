//! `watch`: each change of a run, until it is finished.

use std::time::Duration;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Outcome, Phase, Run};
use tinqs_ci_reconciler::text::cut;

use super::args::Server;
use super::failure::{Failure, out, warn};
use super::{remote, target};
use crate::commands::client;
use crate::settings::Env;

/// The interval of reading the run.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Columns of a message.
const SHOWN: usize = 400;

pub(super) async fn watch(
    what: &str,
    exit_status: bool,
    server: &Server,
    env: &Env,
) -> Result<(), Failure> {
    let client = remote::client(server, env)?;
    let mut run = target::find_run(what, &client).await?;
    let name = run.name.clone();
    let mut shown = String::new();
    let mut is_down = false;
    loop {
        let now = state(&run);
        if now != shown {
            out(&format!("{:.0}  {now}\n", Timestamp::now()))?;
            shown = now;
        }
        if run.status.phase == Phase::Finished {
            let succeeded = run.status.outcome == Some(Outcome::Succeeded);
            return if exit_status && !succeeded { Err(Failure::silent(1)) } else { Ok(()) };
        }
        tokio::time::sleep(WATCH_EVERY).await;
        match client.run(&name).await {
            Ok(versioned) => {
                run = versioned.run;
                is_down = false;
            }
            Err(client::Error::NotFound { .. }) => {
                return Err(Failure::not_found(format!("run/{name} is gone before it finished"))
                    .hint("a deleted run is removed once its job waits no longer"));
            }
            Err(error) if error.is_transient() => {
                if !is_down {
                    warn(&format!("{error}; will retry"));
                }
                is_down = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Describes the state of a run in one line.
fn state(run: &Run) -> String {
    let status = &run.status;
    let phase = format!("{:?}", status.phase);
    let mut parts = vec![format!("{phase:<8}")];
    if let Some(outcome) = status.outcome {
        parts.push(format!("{outcome:?}"));
    }
    if let Some(condition) = status.conditions.first() {
        parts.push(format!("{}: {}", condition.reason, cut(&condition.message, SHOWN)));
    }
    if let Some(machine) = machine(run) {
        parts.push(format!("machine {}", cut(&machine, 100)));
    }
    parts.join("  ").trim_end().to_owned()
}

/// Returns the machine of the current attempt, or the runner of another run that has the job.
fn machine(run: &Run) -> Option<String> {
    let attempt = run.status.attempt.as_ref();
    let own = attempt.map(|attempt| attempt.runner.name.as_str());
    if let Some(runner) = run.status.runner.as_deref().filter(|runner| Some(*runner) != own) {
        return Some(runner.to_owned());
    }
    let ended = matches!(run.status.phase, Phase::Waiting | Phase::Finished);
    let attempt = attempt.filter(|_| !ended)?;
    let mut answers = attempt.placements.iter().rev();
    answers.find_map(|p| p.answered.as_ref()).map(|answer| answer.id.to_string())
}
