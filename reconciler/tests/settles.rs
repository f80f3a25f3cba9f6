//! Runs `plan` over an enumerated product of observations: it is total, keeps the laws, and once
//! its actions are carried out, a plan follows that requires nothing more.

mod enumerated;

use std::collections::BTreeSet;

use enumerated::{LAUNCHES, Launching, now, observation, product};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Cause, Job, Machine, MachineId, MachineState, Observation, ObservedClass,
    OpenBreaker, Phase, Reason, Refusal, Registration, Registrations, Run, Runner, Secret, Status,
    UnavailableOffering,
};
use tinqs_ci_reconciler::plan::{
    Action, BREAKER_RETRIES_AFTER, LAUNCH_WINDOW, LONGEST_BACKOFF_PUSH, LONGEST_DUE, Plan, Rule,
    plan, record,
};
use tinqs_ci_reconciler::ports::ErrorKind;

/// The maximum number of rounds that change something.
const ROUNDS: usize = 6;

#[test]
fn every_plan_keeps_the_laws_and_settles() {
    let (mut planned, mut longest) = (0_u64, 0);
    let mut reached = BTreeSet::new();
    for index in product() {
        let start = observation(index);
        let launching = LAUNCHES[usize::try_from(index).unwrap_or(0) % LAUNCHES.len()];
        let mut world =
            World { seen: start.clone(), launching, launched: Vec::new(), disabled: false };
        let mut rounds = 0;
        let mut rules = Vec::new();
        loop {
            let decided = plan(&world.seen);
            planned += 1;
            rules.push(decided.rule);
            reached.insert(decided.rule);
            reached.extend(decided.actions.iter().filter_map(ground));
            let tell = |rounds: usize, what: String| {
                panic!(
                    "case {index}, round {rounds}: {what}\n{}\n{}",
                    serde_json::to_string_pretty(&world.seen).unwrap_or_default(),
                    serde_json::to_string_pretty(&decided).unwrap_or_default()
                )
            };
            if let Err(what) = laws(&world.seen, &decided) {
                tell(rounds, what);
            }
            if world.nothing_to_do(&decided) {
                break;
            }
            rounds += 1;
            if rounds > ROUNDS {
                tell(
                    rounds,
                    format!(
                        "not settled after {ROUNDS} rounds: {rules:?}, launching {launching:?}"
                    ),
                );
            }
            world.carry_out(decided);
        }
        longest = longest.max(rounds);
    }
    let never: Vec<_> = Rule::ALL.iter().filter(|rule| !reached.contains(rule)).collect();
    assert!(never.is_empty(), "rules never reached: {never:?}");
    assert!(planned > 100_000, "only {planned} plans");
    assert!(longest > 3, "no case needs more than {longest} rounds");
}

/// Returns the rule that requires an action, if it is another one than that of the status.
fn ground(action: &Action) -> Option<Rule> {
    match action {
        Action::Unseat { rule, .. }
        | Action::Retire { rule, .. }
        | Action::Disable { rule, .. }
        | Action::Rerun { rule, .. }
        | Action::Terminate { rule, .. } => Some(*rule),
        Action::Launch { .. } | Action::Remove => None,
    }
}

/// An observation that changes by the actions, all at one time.
struct World {
    seen: Observation,
    launching: Launching,
    launched: Vec<String>,
    /// Whether a registration was disabled.
    disabled: bool,
}

impl World {
    /// Returns whether nothing would be written and no effect issued.
    fn nothing_to_do(&self, decided: &Plan) -> bool {
        let Plan { rule: _, status, prepare, actions } = decided;
        let before = self.seen.run.as_ref().map(|run| &run.status);
        let asked = |action: &Action| matches!(action, Action::Launch { attempt_id, placement } if self.launched.contains(&attempt_id.token(*placement)));
        before == status.as_ref() && prepare.is_none() && actions.iter().all(asked)
    }

    fn carry_out(&mut self, decided: Plan) {
        let Plan { rule, status, prepare, actions } = decided;
        for action in &actions {
            self.free(action);
        }
        if let (Some(run), Some(status)) = (&mut self.seen.run, status) {
            run.status = status;
        }
        if let Some(prepare) = prepare {
            if prepare.seat.is_some() {
                self.seen.seats.push((prepare.class.clone(), prepare.attempt_id.clone()));
            }
            let runner = self.register(&prepare.attempt_id);
            let run = self.seen.run.as_ref();
            let live = run.map_or_else(Vec::new, |run| record::live_attempts(&self.seen, run));
            if let Some(run) = &mut self.seen.run {
                let boot = ("https://forge".to_owned(), None);
                let now = self.seen.now;
                record::prepared(&mut run.status, prepare, runner, boot, now, &live);
            }
        }
        if (rule == Rule::NextPlacement || rule == Rule::NextAttempt || rule == Rule::Seat)
            && let Some(attempt) = self.seen.run.as_ref().and_then(|r| r.status.attempt.as_ref())
        {
            self.seen.recorded_here = Some((attempt.number, attempt.current()));
        }
        for action in actions {
            if let Action::Launch { attempt_id, placement } = action {
                // After a registration was disabled, all is planned again: the controller issues a
                // launch once.
                if !self.disabled || !self.launched.contains(&attempt_id.token(placement)) {
                    self.launch(&attempt_id, placement);
                }
            } else if action == Action::Remove {
                self.seen.run = None;
            }
        }
    }

    fn free(&mut self, action: &Action) {
        match action {
            Action::Unseat { class, attempt_id, rule: _ } => {
                self.seen.seats.retain(|(c, s)| (c, s) != (class, attempt_id));
            }
            Action::Retire { id, .. } => {
                if let Registrations::Seen(rows) = &mut self.seen.registrations {
                    rows.retain(|row| row.id != *id);
                }
            }
            Action::Disable { id, .. } => {
                self.disabled = true;
                if let Registrations::Seen(rows) = &mut self.seen.registrations {
                    rows.iter_mut().filter(|r| r.id == *id).for_each(|r| r.disabled = Some(true));
                }
            }
            Action::Terminate { id, .. } => {
                for machine in self.seen.machines.iter_mut().filter(|m| m.id == *id) {
                    machine.state = MachineState::Ending;
                }
            }
            Action::Launch { .. } | Action::Rerun { .. } | Action::Remove => {}
        }
    }

    fn register(&mut self, attempt_id: &AttemptId) -> Runner {
        let id = 1000 + i64::from(attempt_id.number);
        if let Registrations::Seen(rows) = &mut self.seen.registrations {
            let (online, busy) = (false, false);
            let attempt_id = attempt_id.clone();
            rows.push(Registration {
                repo_id: 0,
                id,
                attempt_id,
                uuid: None,
                online,
                busy,
                disabled: None,
                disabled_since: None,
                missing_since: None,
            });
        }
        let (name, token) = (attempt_id.to_string(), Secret::new("token"));
        Runner { id, repo_id: 0, uuid: String::new(), name, labels: Vec::new(), token }
    }

    fn launch(&mut self, attempt_id: &AttemptId, placement: u32) {
        let now = self.seen.now;
        let first = !self.launched.contains(&attempt_id.token(placement));
        self.launched.push(attempt_id.token(placement));
        let Some(run) = &mut self.seen.run else { panic!("a launch without a record") };
        let Some(attempt) = run.status.attempt.clone() else { panic!("a launch without attempt") };
        assert!(first, "{attempt_id} is launched twice in a reconcile");
        let state = match self.launching {
            // Only a token that was used before can return a dead machine.
            Launching::Dead if attempt.number == 1 => MachineState::Gone,
            Launching::Boots | Launching::Dead => MachineState::Booting,
            Launching::Fails(kind) => {
                record::not_launched(&mut run.status, placement, kind, now);
                if let (ErrorKind::NoCapacity, Some(class)) = (kind, &mut self.seen.class) {
                    let machine = attempt.placements[placement as usize].machine.clone();
                    let until = now + jiff::SignedDuration::from_mins(3);
                    class.unavailable.push(UnavailableOffering {
                        machine,
                        until,
                        cause: Cause::Capacity,
                    });
                }
                if let (ErrorKind::Invalid, Some(class)) = (kind, &mut self.seen.class) {
                    let until = now + BREAKER_RETRIES_AFTER;
                    let (why, message) = (Refusal::Invalid, "no such image".to_owned());
                    class.breaker = Some(OpenBreaker { why, message, since: now, until });
                }
                return;
            }
        };
        let machine = Machine {
            id: MachineId(format!("new-{}", attempt_id.token(placement))),
            attempt_id: attempt_id.clone(),
            placement,
            state,
            launched_at: now,
            deadline: attempt.boot.deadline,
            registration: attempt.runner.id,
            repo_id: attempt.runner.repo_id,
            promise: None,
            ended_by: None,
            ended_at: None,
            state_reason: None,
            class: attempt.class.clone(),
            kind: String::new(),
            zone: String::new(),
            market: attempt.placements[placement as usize].machine.market,
        };
        record::launched(&mut run.status, placement, &machine, now);
        self.seen.machines.push(machine);
    }
}

/// Checks what holds for every plan.
fn laws(seen: &Observation, decided: &Plan) -> Result<(), String> {
    let Plan { rule, status, prepare, actions } = decided;
    for action in actions {
        allowed(seen, status.as_ref(), action)?;
    }
    let (Some(run), Some(after)) = (&seen.run, status) else {
        let only_tidying = !actions.iter().any(|a| matches!(a, Action::Launch { .. }));
        return if only_tidying { Ok(()) } else { Err("a launch without a record".to_owned()) };
    };
    let before = &run.status;
    kept(before, after)?;
    entered(*rule, before, after)?;
    told(seen, after)?;
    let longest = if seen.job == Job::Unobservable { LONGEST_BACKOFF_PUSH } else { LONGEST_DUE };
    if after.phase != Phase::Finished && (after.due < now() || after.due > now() + longest) {
        return Err(format!("an open run is due at {}", after.due));
    }
    if (after.phase == Phase::Finished) != after.outcome.is_some()
        || after.outcome.is_some() != after.finished_at.is_some()
    {
        return Err("phase, finished_at and outcome contradict each other".to_owned());
    }
    if let Some(prepare) = prepare
        && (prepare.attempt_id != run.attempt_id(after.next) || after.phase != Phase::Waiting)
    {
        return Err("only the number next of a waiting run may be prepared".to_owned());
    }
    stopped(seen, decided)
}

/// Checks that a run whose job is on another run's machine, which the cloud took, says so.
fn told(seen: &Observation, after: &Status) -> Result<(), String> {
    let Job::Running { runner } = &seen.job else { return Ok(()) };
    let elsewhere = seen.elsewhere.as_ref();
    let is_on_it = elsewhere.is_some_and(|machine| machine.attempt_id.to_string() == *runner);
    if is_on_it && after.phase == Phase::Running && after.lost().is_none() {
        return Err("the loss of another run's machine is not told".to_owned());
    }
    Ok(())
}

/// Checks that an open breaker, of refusals or of machines, a pause or a spent budget lets no attempt
/// start, and repeats no launch of another reconcile.
fn stopped(seen: &Observation, decided: &Plan) -> Result<(), String> {
    let is_stopped = |class: &&ObservedClass| {
        class.paused.is_some()
            || class.budget_stop(seen.now).is_some()
            || class.boot_stop(seen.now).is_some()
            || class.open_breaker(seen.now).is_some()
    };
    let Some(class) = seen.class.as_ref().filter(is_stopped) else {
        return Ok(());
    };
    let attempt = seen.run.as_ref().and_then(|run| run.status.attempt.as_ref());
    let own = attempt.filter(|a| a.class == class.class.name).map(|a| (a.number, a.current()));
    let asks = decided.actions.iter().any(|a| matches!(a, Action::Launch { .. }));
    if decided.prepare.is_some() || decided.rule == Rule::NextPlacement {
        return Err("an attempt or a placement starts while launches are stopped".to_owned());
    }
    if asks && own.is_some() && seen.recorded_here != own {
        return Err("a stopped launch of another reconcile is repeated".to_owned());
    }
    Ok(())
}

fn allowed(seen: &Observation, status: Option<&Status>, action: &Action) -> Result<(), String> {
    let now_deleted = seen.run.as_ref().is_some_and(|r| r.deleted_at.is_some() && r.terminate_now);
    // Some seats and registrations go by other grounds than a wait.
    let waits = matches!(action, Action::Disable { .. } | Action::Remove)
        || matches!(action, Action::Terminate { rule, .. } if *rule != Rule::Deleted);
    let deleted = seen.run.as_ref().is_some_and(|run| run.deleted_at.is_some());
    if waits && !seen.clock.agrees() && !(deleted && *action == Action::Remove) {
        return Err(format!("{action:?} after a wait by a clock that does not agree"));
    }
    let fine = match action {
        Action::Launch { attempt_id, placement } => {
            let attempt = status.and_then(|s| s.attempt.as_ref());
            attempt.zip(seen.run.as_ref()).is_some_and(|(a, run): (&Attempt, &Run)| {
                *attempt_id == run.attempt_id(a.number)
                    && *placement == a.current()
                    && a.can_launch()
                    && seen.now <= a.decided_at + LAUNCH_WINDOW
                    && (seen.recorded_here == Some((a.number, *placement))
                        || a.placements.last().is_some_and(|p| p.asked_again))
            })
        }
        Action::Disable { id, attempt_id: _, rule } => {
            let row = seen.registrations.by_id(*id);
            *rule == Rule::Hung && row.is_some_and(|row| !row.busy && row.disabled != Some(true))
        }
        Action::Terminate { id, attempt_id, rule } => {
            let live = seen.machines.iter().any(|m| m.id == *id && m.is_live());
            live && match rule {
                Rule::Deleted => now_deleted,
                Rule::Overdue | Rule::Unregistered => true,
                Rule::Hung => {
                    let row =
                        seen.registrations.seen().iter().find(|r| r.attempt_id == *attempt_id);
                    row.is_some_and(|row| !row.busy && row.disabled == Some(true))
                }
                _ => false,
            }
        }
        Action::Retire { id, attempt_id: _, rule } => {
            let busy = seen.registrations.by_id(*id).is_some_and(|r| r.busy);
            let at_work = seen.machines.iter().any(|m| m.registration == *id && m.is_live());
            matches!(rule, Rule::Spent | Rule::Duplicate | Rule::Void) && !(busy && at_work)
        }
        Action::Unseat { class, attempt_id, rule } => {
            let recorded = seen.run.as_ref().and_then(|r| r.status.attempt.as_ref());
            let own = recorded.is_some_and(|a| a.class == *class);
            let live = seen.machines.iter().any(|m| m.attempt_id == *attempt_id && m.is_live());
            *rule == Rule::SeatFree && !(own && live)
        }
        // No observation here shows a workflow run.
        Action::Rerun { .. } => false,
        Action::Remove => !seen.machines.iter().any(Machine::is_live),
    };
    if fine { Ok(()) } else { Err(format!("{action:?} is not allowed")) }
}

/// Checks that numbers grow, and that recorded attempts do not change.
fn kept(before: &Status, after: &Status) -> Result<(), String> {
    if after.next < before.next {
        return Err("next shrinks".to_owned());
    }
    let numbers = after.past.iter().map(|p| p.number).chain(after.attempt.iter().map(|a| a.number));
    if numbers.into_iter().any(|n| n >= after.next) {
        return Err("next is not above every number".to_owned());
    }
    match (&before.attempt, &after.attempt) {
        (Some(old), Some(new)) => {
            let spec = |a: &Attempt| {
                let mut a = a.clone();
                a.forget_credentials();
                let machines: Vec<_> = a.placements.iter().map(|p| p.machine.clone()).collect();
                (a.number, a.class.clone(), a.runner.clone(), a.boot.clone(), machines)
            };
            let ((n, c, r, b, machines), new) = (spec(old), spec(new));
            let same = (n, c, r, b) == (new.0, new.1, new.2, new.3);
            if !same || !new.4.starts_with(&machines) {
                return Err("a recorded attempt changes".to_owned());
            }
            without_credentials(after)?;
        }
        (Some(old), None) if !after.past.iter().any(|p| p.number == old.number) => {
            return Err("a recorded attempt is forgotten".to_owned());
        }
        (None, Some(_)) => return Err("an attempt without registration".to_owned()),
        (Some(_) | None, None) => {}
    }
    Ok(())
}

/// Checks that credentials have left with the end of the attempt, or as its run runs or is finished.
fn without_credentials(after: &Status) -> Result<(), String> {
    let is_over = matches!(after.phase, Phase::Running | Phase::Finished);
    let kept = after.attempt.as_ref().filter(|attempt| attempt.has_credentials());
    if kept.is_some_and(|attempt| is_over || attempt.ended.is_some()) {
        return Err("credentials stay in the record".to_owned());
    }
    Ok(())
}

/// Checks that entering Running, Finished or `NoClass` voids the number in preparation.
fn entered(rule: Rule, before: &Status, after: &Status) -> Result<(), String> {
    let enters = |phase: Phase| before.phase != phase && after.phase == phase;
    let no_class = rule == Rule::NoClass
        && (before.phase != Phase::Waiting || before.reason() != Some(Reason::NoClass));
    if (enters(Phase::Running) || enters(Phase::Finished) || no_class) && after.next <= before.next
    {
        return Err("the number next is not voided".to_owned());
    }
    Ok(())
}
