//! The activity of machines, from the records of the runs that use them.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use tinqs_ci_reconciler::model::{Machine, MachineState, MicroUsd, Phase, Run};
use tinqs_ci_reconciler::ports::{Filter, PortError};

use super::App;
use crate::api::{self, MachineActivity, MachineJob, MachineView};

/// The number of runs per page, and the maximum number of pages of one phase.
const PAGE: usize = 500;
const PAGES: usize = 20;
/// The time after which machines are shown without what they do.
const WITHIN: Duration = Duration::from_secs(3);

/// The jobs that run on machines, and the machines that wait for one, by attempt ID.
#[derive(Debug, Default)]
pub(super) struct Work {
    jobs: HashMap<String, MachineJob>,
    idle: HashSet<String>,
}

impl Work {
    /// Reads what these machines do. If the store cannot be read, machines are shown without that.
    pub(super) async fn of(app: &App, machines: &[Machine]) -> Self {
        // A slow store must not delay the answer about the machines.
        let read = tokio::time::timeout(WITHIN, Self::read(app, machines)).await;
        read.unwrap_or_else(|_| {
            tracing::warn!("cannot read what machines do: no answer within 3 s");
            Self::default()
        })
    }

    async fn read(app: &App, machines: &[Machine]) -> Self {
        // Only a machine that is up can have a job or wait for one.
        if !machines.iter().any(|machine| machine.state == MachineState::Up) {
            return Self::default();
        }
        let (starting, running) =
            tokio::join!(runs_in(app, Phase::Starting), runs_in(app, Phase::Running));
        match (starting, running) {
            (Ok(starting), Ok(running)) => Self::new(&starting, &running),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(error = %error, "cannot read what machines do");
                Self::default()
            }
        }
    }

    fn new(starting: &[Run], running: &[Run]) -> Self {
        let job = |run: &Run| {
            let about = &run.spec.about;
            let repo = if about.repo.is_empty() { &run.spec.job.repo } else { &about.repo };
            let job = MachineJob {
                run: run.name.to_string(),
                repo: repo.clone(),
                name: about.job.clone(),
                url: about.url.clone(),
            };
            Some((api::machine::runner(run)?, job))
        };
        let jobs: HashMap<String, MachineJob> = running.iter().filter_map(job).collect();
        let active = |run: &Run| {
            let attempt = run.status.attempt.as_ref().filter(|attempt| attempt.ended.is_none())?;
            Some(run.attempt_id(attempt.number).to_string())
        };
        Self { jobs, idle: starting.iter().filter_map(active).collect() }
    }

    /// Returns a machine as the API shows it.
    pub(super) fn view(&self, app: &App, machine: &Machine) -> MachineView {
        let attempt_id = machine.attempt_id.to_string();
        let job = self.jobs.get(&attempt_id).filter(|_| machine.is_live()).cloned();
        let doing = match machine.state {
            MachineState::Booting | MachineState::Up if job.is_some() => MachineActivity::Job,
            MachineState::Booting => MachineActivity::Booting,
            MachineState::Up if self.idle.contains(&attempt_id) => MachineActivity::Idle,
            MachineState::Up => MachineActivity::Up,
            MachineState::Ending => MachineActivity::Ending,
            MachineState::Gone => MachineActivity::Gone,
        };
        MachineView {
            id: machine.id.to_string(),
            attempt_id,
            run: machine.attempt_id.run.to_string(),
            class: machine.class.to_string(),
            kind: machine.kind.clone(),
            zone: machine.zone.clone(),
            market: machine.market,
            state: machine.state,
            doing,
            job,
            launched_at: machine.launched_at,
            deadline: machine.deadline,
            hourly_micro_usd: price(app, machine).map(|price| price.0),
            cost_micro_usd: cost_so_far(app, machine, app.telemetry.now()).map(|cost| cost.0),
        }
    }
}

/// Returns the price per hour of a machine, as it is now; `None` if it is not known.
pub(super) fn price(app: &App, machine: &Machine) -> Option<MicroUsd> {
    app.controller.price(&machine.kind, machine.market, &machine.zone)
}

/// Returns the cost of a machine since its launch, at the price of now; `None` if the price, the
/// launch or the end is not known.
fn cost_so_far(app: &App, machine: &Machine, now: Timestamp) -> Option<MicroUsd> {
    Some(price(app, machine)?.for_seconds(lived(machine, now)?))
}

/// Returns the whole seconds since the launch, or between the launch and the end.
fn lived(machine: &Machine, now: Timestamp) -> Option<u64> {
    let until = match machine.state {
        MachineState::Gone => machine.ended_at?,
        MachineState::Booting | MachineState::Up | MachineState::Ending => {
            machine.ended_at.unwrap_or(now)
        }
    };
    // Such a cloud tells no time of the launch.
    if machine.launched_at == Timestamp::UNIX_EPOCH {
        return None;
    }
    let seconds = until.as_second() - machine.launched_at.as_second();
    // This clock may be behind that of the cloud.
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// Returns the runs in a phase. There are about as many in each of these two as there are machines.
async fn runs_in(app: &App, phase: Phase) -> Result<Vec<Run>, PortError> {
    let filter = Filter { phase: Some(phase), limit: PAGE, ..Filter::default() };
    let mut runs = Vec::new();
    let mut after: Option<String> = None;
    for _ in 0..PAGES {
        let page = app.controller.ports().store.page(&filter, after.as_deref()).await?;
        runs.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    Ok(runs)
}
