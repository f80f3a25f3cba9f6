//! The quiet period of a state: what follows without faults, deterministically. It must lead to a
//! world in which nothing is left. Once everything is cleaned up, only records may be removed.

use tinqs_ci_reconciler::model::{Outcome, Phase, Run};

use crate::reconcile::Step;
use crate::scope::{UserAction, World};
use crate::state::{Doing, Job, RUNS, State, hash_of};
use crate::world::{Action, Reply, person};

/// The maximum number of rounds until a state settles.
pub(crate) const ROUNDS: u16 = 64;
/// The maximum number of consecutive reconciles of a run that find something to do.
const RECONCILES: usize = 12;

/// The effects of a round of reconciles.
#[derive(Default)]
struct Effects {
    all: usize,
    removals: usize,
}

impl World {
    /// Returns how many rounds it takes until nothing is left and nothing more happens.
    ///
    /// # Errors
    /// Returns what is wrong if the state does not settle.
    pub(crate) fn settle(&self, state: &State) -> Result<u16, String> {
        let mut state = State { faults: 0, user_actions: 0, ..state.clone() };
        let mut path = Vec::new();
        let left = loop {
            let here = hash_of(&state);
            let known = self.settles.lock().get(&here).copied();
            if let Some(left) = known {
                break left;
            }
            if is_over(&state) {
                break 0;
            }
            path.push(here);
            if path.len() > usize::from(ROUNDS) {
                return Err(format!("not settled after {ROUNDS} rounds: {state:#?}"));
            }
            self.round(&mut state)?;
        };
        let mut known = self.settles.lock();
        let mut rounds = left;
        for here in path.into_iter().rev() {
            rounds += 1;
            known.insert(here, rounds);
        }
        if rounds > ROUNDS {
            Err(format!("settled only after {rounds} rounds"))
        } else {
            Ok(rounds)
        }
    }

    fn round(&self, state: &mut State) -> Result<(), String> {
        let before = state.clone();
        let quiet = is_quiet(state);
        let mut effects = Effects::default();
        self.finish_reconciles(state, &mut effects)?;
        while !state.landings.is_empty() {
            self.happen(state, &Action::Land { landing: 0 });
        }
        if state.frozen_since.is_some() {
            self.happen(state, &Action::Thaw);
        }
        for run in 0..self.scope.jobs {
            if state.runs[run].is_none() && state.jobs[run] == Job::Waiting {
                self.happen(state, &Action::Notice { run });
            }
            self.reconcile_until_settled(state, run, &mut effects)?;
        }
        state.no_hung_machine_stays()?;
        if quiet && effects.all > effects.removals {
            return Err(format!("an effect after everything was done: {before:#?}"));
        }
        self.events(state);
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        if *state == before {
            self.wait(state)?;
        }
        Ok(())
    }

    /// Completes the reconciles in progress.
    fn finish_reconciles(&self, state: &mut State, effects: &mut Effects) -> Result<(), String> {
        let mut calls = 0;
        while let Some(replica) = state.replicas.iter().position(|r| r.reconcile.is_some()) {
            calls += 1;
            if calls > 100 {
                return Err(format!("a reconcile does not end: {state:#?}"));
            }
            let step = state.replicas[replica].reconcile.as_ref().and_then(|l| l.steps.front());
            let removes = step == Some(&Step::Remove);
            let before = outside(state);
            self.happen(state, &Action::Call { replica, reply: Reply::Comes });
            if outside(state) != before {
                effects.all += 1;
                effects.removals += usize::from(removes);
            }
        }
        Ok(())
    }

    fn reconcile_until_settled(
        &self,
        state: &mut State,
        run: usize,
        effects: &mut Effects,
    ) -> Result<(), String> {
        for _ in 0..RECONCILES {
            let before = effects.all;
            self.happen(state, &Action::Reconcile { replica: 0, run });
            self.finish_reconciles(state, effects)?;
            if effects.all == before {
                return Ok(());
            }
        }
        Err(format!("{RECONCILES} reconciles in a row of run {run} find work to do: {state:#?}"))
    }

    /// Advances each machine by one step.
    fn events(&self, state: &mut State) {
        for job in 0..self.scope.jobs {
            let mut zombies = Vec::new();
            self.possible(state, &mut zombies);
            if zombies.contains(&Action::Zombie { job }) {
                self.happen(state, &Action::Zombie { job });
            }
        }
        for machine in 0..state.machines.len() {
            // Machines that are gone may be forgotten meanwhile; the others follow next round.
            let Some(vm) = state.machines.get(machine) else { return };
            let waiting = (0..RUNS).find(|job| self.may_take(state, vm, *job));
            let action = match (vm.doing, waiting) {
                (Doing::Booting, _) => Action::Boot { machine, hangs: false },
                (Doing::Online, Some(job)) => Action::Take { machine, job, silent: false },
                (Doing::Online, _) => Action::Drain { machine },
                (Doing::Busy { .. }, _) => Action::Finish { machine, hangs: false },
                (Doing::Ending, _) => Action::Gone { machine },
                (Doing::Dark | Doing::Stuck | Doing::Spent | Doing::Gone, _) => continue,
            };
            self.happen(state, &action);
        }
    }

    /// Lets time pass when nothing is left to do. People cancel waiting jobs of deleted runs.
    fn wait(&self, state: &mut State) -> Result<(), String> {
        for run in 0..self.scope.jobs {
            let deleted = state.runs[run].as_ref().is_some_and(|r| r.deleted_at.is_some());
            if deleted && state.jobs[run] == Job::Waiting {
                person(state, run, UserAction::Cancel);
                return Ok(());
            }
        }
        let before = state.clone();
        self.happen(state, &Action::Tick);
        if *state == before {
            return Err(format!("nothing will ever happen again: {before:#?}"));
        }
        Ok(())
    }
}

/// Returns all but the controllers: what an effect changes.
fn outside(state: &State) -> State {
    State { replicas: Default::default(), ..state.clone() }
}

/// Returns whether nothing is left.
fn is_over(state: &State) -> bool {
    is_quiet(state) && state.runs.iter().all(Option::is_none)
}

/// Returns whether only records are left, and each says how its job ended.
fn is_quiet(state: &State) -> bool {
    let mut records = state.runs.iter().zip(&state.jobs);
    state.jobs.iter().all(|job| matches!(job, Job::Done(_)))
        && state.machines.iter().all(|m| m.doing == Doing::Gone)
        && state.rows.is_empty()
        && state.seats.is_empty()
        && state.landings.is_empty()
        && state.replicas.iter().all(|r| r.reconcile.is_none())
        && records.all(|(run, job)| run.as_ref().is_none_or(|run| tells_end(run, job)))
}

/// Returns whether the run is finished, with the outcome of its job. A canceled job that is run
/// again may end before a reconcile reads it; its record is then written once more.
fn tells_end(run: &Run, job: &Job) -> bool {
    let Job::Done(conclusion) = job else { return false };
    let told = match run.status.outcome {
        Some(Outcome::MachineLost | Outcome::MaxAge) => Some(Outcome::Failed),
        outcome => outcome,
    };
    run.status.phase == Phase::Finished && told == Some(Outcome::from(*conclusion))
}
