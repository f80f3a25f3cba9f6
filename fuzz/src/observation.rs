//! Observations. Input: JSON as for `tinqs-ci plan -f`, or (if it does not begin with `{`) a number
//! of eight bytes that selects an observation, and changes of three bytes each.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{
    Cause, Job, Machine, MachineId, MachineState, Observation, Phase, Registration, Registrations,
    Runner, Secret, UnavailableOffering,
};
use tinqs_ci_reconciler::plan::{Action, Plan, Rule, plan, record};
use tinqs_ci_reconciler::ports::ErrorKind;

#[allow(dead_code, unreachable_pub, reason = "the enumeration itself is used elsewhere")]
#[path = "../../reconciler/tests/enumerated/mod.rs"]
mod enumerated;

/// The maximum number of rounds that change something. Each machine of the class without capacity
/// adds two, and the controller continues with the rest in the next reconcile.
const ROUNDS: usize = 6;

const YEAR_9000: i64 = 7_030 * 31_557_600;

/// Checks that every observation has a plan, the same each time, and that carrying it out leads to a
/// plan that requires nothing more.
///
/// # Panics
/// Panics if that does not hold.
pub(crate) fn check(data: &[u8]) {
    let Some(mut seen) = read(data) else { return };
    // A clock may be wrong by years, but not close to the maximum timestamp.
    if !(0..YEAR_9000).contains(&seen.now.as_second()) {
        return;
    }
    let how = data.iter().fold(0_usize, |sum, byte| sum + usize::from(*byte));
    let most = ROUNDS + 2 * seen.class.as_ref().map_or(0, |observed| observed.class.machines.len());
    let mut launched = Vec::new();
    let mut rows = Vec::new();
    loop {
        let decided = plan(&seen);
        assert_eq!(plan(&seen), decided, "a plan is a function");
        allowed(&seen, &decided);
        rows.push(decided.rule);
        let before = seen.run.as_ref().map(|run| &run.status);
        let again = |action: &Action| match action {
            Action::Launch { attempt_id, placement } => {
                launched.contains(&attempt_id.token(*placement))
            }
            // What was asked for is on no side that an observation here shows.
            Action::Rerun { .. } => true,
            _ => false,
        };
        if before == decided.status.as_ref()
            && decided.prepare.is_none()
            && decided.actions.iter().all(again)
        {
            return;
        }
        assert!(rows.len() <= most, "not settled: {rows:?}\n{seen:#?}\n{decided:#?}");
        carry_out(&mut seen, decided, how, &mut launched);
    }
}

fn read(data: &[u8]) -> Option<Observation> {
    if data.first() == Some(&b'{') {
        return serde_json::from_slice(data).ok();
    }
    let (number, changes) = data.split_first_chunk::<8>()?;
    let index = u64::from_le_bytes(*number);
    let start = enumerated::observation(index);
    let mut value = serde_json::to_value(start).expect("an observation is JSON");
    for change in changes.chunks_exact(3).take(24) {
        let (place, what) = (u16::from_le_bytes([change[0], change[1]]), change[2]);
        let mut left = usize::from(place) % count(&value);
        alter(&mut value, &mut left, what);
    }
    serde_json::from_value(value).ok()
}

/// Counts the values: the whole and everything in it.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Changes the value that is `left` positions further on.
fn alter(value: &mut Value, left: &mut usize, what: u8) -> bool {
    if *left == 0 {
        *value = altered(value.take(), what);
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().any(|item| alter(item, left, what)),
        Value::Object(fields) => fields.values_mut().any(|field| alter(field, left, what)),
        _ => false,
    }
}

fn altered(value: Value, what: u8) -> Value {
    const WORDS: [&str; 12] = [
        "Waiting",
        "Starting",
        "Running",
        "Finished",
        "Booting",
        "up",
        "ending",
        "gone",
        "tq-job-7-0a1b2c3d-1",
        "",
        "linux",
        "NoCapacity",
    ];
    const SECONDS: [i64; 8] = [1, -1, 61, -300, 600, -1_320, 86_400, -604_801];
    let pick = usize::from(what >> 3);
    match value {
        Value::Null => [json!(0), json!("2026-01-01T12:00:00Z"), json!("Succeeded"), json!([])]
            [pick % 4]
            .clone(),
        Value::Bool(flag) => json!(!flag),
        Value::Number(number) => {
            let n = number.as_i64().unwrap_or_default();
            let choices = [
                n.wrapping_add(1),
                n.wrapping_sub(1),
                0,
                -1,
                1,
                i64::from(u32::MAX),
                i64::MAX,
                i64::MIN,
            ];
            json!(choices[pick % choices.len()])
        }
        Value::String(text) => match text.parse::<jiff::Timestamp>() {
            Ok(_) if pick == 31 => json!(jiff::Timestamp::MAX.to_string()),
            Ok(_) if pick == 30 => json!(jiff::Timestamp::MIN.to_string()),
            Ok(time) => {
                let by = jiff::SignedDuration::from_secs(SECONDS[pick % SECONDS.len()]);
                json!(time.saturating_add(by).unwrap_or(time).to_string())
            }
            Err(_) => json!(WORDS[pick % WORDS.len()]),
        },
        Value::Array(mut items) => {
            match pick % 4 {
                0 => drop(items.pop()),
                1 => items.extend(items.clone().into_iter().take(4)),
                2 => items.reverse(),
                _ => items.clear(),
            }
            Value::Array(items)
        }
        Value::Object(mut fields) => {
            let at = pick % fields.len().max(1);
            if let Some(name) = fields.keys().nth(at).cloned() {
                fields.insert(name, Value::Null);
            }
            if what.is_multiple_of(8) { Value::Null } else { Value::Object(fields) }
        }
    }
}

/// Checks the laws that hold even for garbage.
fn allowed(seen: &Observation, decided: &Plan) {
    let live = |id: &MachineId| seen.machines.iter().any(|m| m.id == *id && m.is_live());
    for action in &decided.actions {
        match action {
            Action::Terminate { id, attempt_id: _, rule } => {
                assert!(live(id), "{id} is not live: {decided:#?}");
                assert!(
                    matches!(rule, Rule::Deleted | Rule::Overdue | Rule::Unregistered | Rule::Hung),
                    "{rule}"
                );
            }
            Action::Launch { attempt_id, .. } => {
                let recorded = decided.status.as_ref().and_then(|status| status.attempt.as_ref());
                let run = seen.run.as_ref();
                assert!(
                    recorded
                        .zip(run)
                        .is_some_and(|(a, run)| *attempt_id == run.attempt_id(a.number))
                );
            }
            Action::Remove => {
                assert!(
                    !seen.machines.iter().any(Machine::is_live),
                    "a record goes before its machine"
                );
            }
            Action::Rerun { requests, .. } => {
                let failed = matches!(seen.job, Job::Done { .. });
                assert!(failed && !requests.is_empty(), "{decided:#?}");
            }
            Action::Unseat { .. } | Action::Retire { .. } | Action::Disable { .. } => {}
        }
    }
    if let (Some(run), Some(after)) = (&seen.run, &decided.status) {
        // A higher number is garbage: counting starts again.
        let counted = run.status.next <= u32::MAX / 2;
        assert!(after.next >= run.status.next || !counted, "numbers grow");
        let finished = after.phase == Phase::Finished;
        assert!(!finished || after.outcome.is_some(), "finished, but how? {decided:#?}");
    }
}

fn carry_out(seen: &mut Observation, decided: Plan, how: usize, launched: &mut Vec<String>) {
    let Plan { rule, status, prepare, actions } = decided;
    for action in &actions {
        match action {
            Action::Unseat { class, attempt_id, rule: _ } => {
                seen.seats.retain(|(c, s)| (c, s) != (class, attempt_id));
            }
            Action::Retire { id, .. } => {
                if let Registrations::Seen(rows) = &mut seen.registrations {
                    rows.retain(|row| row.id != *id);
                }
            }
            Action::Disable { id, .. } => {
                if let Registrations::Seen(rows) = &mut seen.registrations {
                    rows.iter_mut().filter(|r| r.id == *id).for_each(|r| r.disabled = Some(true));
                }
            }
            Action::Terminate { id, .. } => {
                for machine in seen.machines.iter_mut().filter(|machine| machine.id == *id) {
                    machine.state = MachineState::Ending;
                }
            }
            Action::Launch { .. } | Action::Rerun { .. } | Action::Remove => {}
        }
    }
    let Some(run) = &mut seen.run else { return };
    if let Some(status) = status {
        run.status = status;
    }
    if let Some(prepare) = prepare {
        if prepare.seat.is_some() {
            seen.seats.push((prepare.class.clone(), prepare.attempt_id.clone()));
        }
        let id = 1_000 + i64::from(prepare.attempt_id.number);
        if let Registrations::Seen(rows) = &mut seen.registrations {
            let attempt_id = prepare.attempt_id.clone();
            rows.push(Registration {
                repo_id: 0,
                id,
                attempt_id,
                uuid: None,
                online: false,
                busy: false,
                disabled: None,
                disabled_since: None,
                missing_since: None,
            });
        }
        let name = prepare.attempt_id.to_string();
        let runner = Runner {
            id,
            repo_id: 0,
            uuid: String::new(),
            name,
            labels: Vec::new(),
            token: Secret::new("t"),
        };
        record::prepared(
            &mut run.status,
            prepare,
            runner,
            ("https://forge".to_owned(), None),
            seen.now,
            &[],
        );
    }
    if matches!(rule, Rule::NextPlacement | Rule::NextAttempt | Rule::Seat)
        && let Some(attempt) = &run.status.attempt
    {
        seen.recorded_here = Some((attempt.number, attempt.current()));
    }
    for action in actions {
        match action {
            Action::Launch { attempt_id, placement } => {
                launched.push(attempt_id.token(placement));
                launch(seen, placement, how);
            }
            Action::Remove => seen.run = None,
            Action::Unseat { .. }
            | Action::Retire { .. }
            | Action::Disable { .. }
            | Action::Rerun { .. }
            | Action::Terminate { .. } => {}
        }
    }
}

fn launch(seen: &mut Observation, placement: u32, how: usize) {
    let Some(run) = &mut seen.run else { return };
    let Some(attempt) = run.status.attempt.clone() else { return };
    let refusals =
        [ErrorKind::NoCapacity, ErrorKind::Limit, ErrorKind::Unavailable, ErrorKind::Invalid];
    if let Some(&kind) = refusals.get(how % 6) {
        record::not_launched(&mut run.status, placement, kind, seen.now);
        let tried = usize::try_from(placement).ok().and_then(|at| attempt.placements.get(at));
        if let (ErrorKind::NoCapacity, Some(class), Some(tried)) = (kind, &mut seen.class, tried) {
            // Like the cache of the controller.
            let until = seen.now.saturating_add(SignedDuration::from_mins(3)).unwrap_or(seen.now);
            class.unavailable.push(UnavailableOffering {
                machine: tried.machine.clone(),
                until,
                cause: Cause::Capacity,
            });
        }
        return;
    }
    let Some(asked) = usize::try_from(placement).ok().and_then(|at| attempt.placements.get(at))
    else {
        panic!("placement {placement} is launched and not recorded: {attempt:#?}");
    };
    let attempt_id = run.attempt_id(attempt.number);
    let machine = Machine {
        id: MachineId(format!("new-{}", attempt_id.token(placement))),
        attempt_id,
        placement,
        state: if how % 6 == 4 { MachineState::Gone } else { MachineState::Booting },
        launched_at: seen.now,
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
        market: asked.machine.market,
    };
    record::launched(&mut run.status, placement, &machine, seen.now);
    seen.machines.push(machine);
}
