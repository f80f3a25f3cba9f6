//! `/v1/machines`, `/v1/registrations` and `/v1/classes`.

use std::collections::HashMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::controller::Offering;
use tinqs_ci_reconciler::model::{
    self, Cause, ClassName, ClassSpend, Machine, MachineId, MachineSpec, MachineState, Phase,
    Reason, Registrations, RepoKey, Run, serving,
};
use tinqs_ci_reconciler::ports::{OpenRun, Seat};

use super::etag::Wanted;
use super::guard::Identity;
use super::spend::today;
use super::work::Work;
use super::{App, Ctx, Refusal};
use crate::api::{BudgetUse, Class, List, MachineView, Registration, RepoSeats, Unavailable};
use crate::words::events::EventData;

/// The maximum number of waiting runs whose reasons are counted.
const BLOCKED_LIMIT: usize = 500;
/// The interval at which a price that is not known is asked for again.
const PRICES_READ_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// The maximum length of a machine's ID.
const ID_LIMIT: usize = 128;
/// The maximum wait of an answer for a listing that it needs.
const LIST_WITHIN: Duration = Duration::from_secs(3);

/// Lists machines and registrations for an answer of a Lambda function whose process has not listed
/// the machines within the interval of sweeps: the sweeps may all be those of other processes.
/// Elsewhere each process lists them by itself. The ports note failures.
pub(super) async fn list_if_late(app: &App) {
    if app.api.is_some() {
        return;
    }
    let (now, every) = (app.telemetry.now(), app.controller.settings().sweep_every);
    let (listed_at, _) = app.telemetry.seen.machines();
    if listed_at.is_some_and(|at| now.duration_since(at) <= every) {
        return;
    }
    // As if there were open runs: the answer needs the lists of now.
    let lists = Box::pin(app.controller.list_sides(true));
    let listed = tokio::time::timeout(LIST_WITHIN, lists).await;
    if listed.is_err() {
        tracing::warn!("cannot list machines and registrations for an answer within 3 s");
    }
}

/// `GET /v1/machines`, newest first.
pub(super) async fn machines(State(app): Ctx) -> Result<Json<List<MachineView>>, Refusal> {
    let machines = app.controller.machines().await?;
    Ok(Json(List { items: machine_views(&app, machines).await, next: None }))
}

/// Returns machines as the API shows them, newest first.
pub(super) async fn machine_views(app: &App, mut machines: Vec<Machine>) -> Vec<MachineView> {
    machines.sort_by(|a, b| b.launched_at.cmp(&a.launched_at).then_with(|| a.id.cmp(&b.id)));
    let work = Work::of(app, &machines).await;
    machines.iter().map(|machine| work.view(app, machine)).collect()
}

/// Parses the ID of a machine. IDs go into paths and API calls, so only what clouds use is allowed.
pub(super) fn machine_id(id: &str) -> Result<MachineId, Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    let invalid =
        id.is_empty() || id.len() > ID_LIMIT || id.starts_with('.') || !id.bytes().all(plain);
    if invalid { Err(unknown_machine()) } else { Ok(MachineId(id.to_owned())) }
}

pub(super) fn unknown_machine() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "this installation has no machine with this ID")
}

/// `POST /v1/machines/{id}/terminate`: terminates a machine of this installation, even mid-job.
pub(super) async fn terminate(
    State(app): Ctx,
    Extension(caller): Extension<Identity>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    // A machine has no version to match.
    if matches!(Wanted::to_change(&headers)?, Wanted::OneOf(_)) {
        let detail = "a machine has no version: remove `If-Match`";
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, detail));
    }
    let before = end(&app, &id, &caller).await?;
    Ok((StatusCode::ACCEPTED, Json(before)).into_response())
}

/// Terminates a machine for this caller. Returns it as it was before.
pub(super) async fn end(app: &App, id: &str, caller: &Identity) -> Result<MachineView, Refusal> {
    let id = machine_id(id)?;
    let ports = app.controller.ports();
    let found = ports.compute.find(&id).await?.ok_or_else(unknown_machine)?;
    if found.state == MachineState::Gone {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "this machine is gone already"));
    }
    ports.compute.terminate(&id).await?;
    app.telemetry.acted_on(&id.0);
    let run = found.attempt_id.run.as_str();
    tracing::info!(run, machine = id.0, action = "terminate", "terminated machine on request");
    let what = EventData::Terminated { machine: id, by: Some(caller.who.clone()) };
    app.telemetry.events.tell_run(&found.attempt_id.run, what, app.telemetry.now());
    if let Err(error) = ports.queue.wake(&found.attempt_id.run).await {
        // The sweep notices that the machine is gone.
        tracing::warn!(run, error = %error, "cannot wake run");
    }
    // The record of the run still shows the job.
    Ok(Work::of(app, std::slice::from_ref(&found)).await.view(app, &found))
}

/// `GET /v1/registrations`, newest first.
pub(super) async fn registrations(State(app): Ctx) -> Result<Json<List<Registration>>, Refusal> {
    let rows = match app.controller.list_registrations().await? {
        Registrations::Seen(rows) => rows,
        Registrations::Unknown => {
            let detail = "`forge.token` cannot list runners: grant it that right at the forge";
            return Err(Refusal::new(StatusCode::BAD_GATEWAY, detail));
        }
    };
    let mut items: Vec<Registration> = rows
        .iter()
        .filter(|row| row.missing_since.is_none())
        .map(|row| Registration {
            id: row.id,
            attempt_id: row.attempt_id.to_string(),
            run: row.attempt_id.run.to_string(),
            online: row.online,
            busy: row.busy,
        })
        .collect();
    items.sort_by_key(|row| std::cmp::Reverse(row.id));
    Ok(Json(List { items, next: None }))
}

/// `GET /v1/classes`, in the order of the configuration.
pub(super) async fn classes(State(app): Ctx) -> Result<Json<List<Class>>, Refusal> {
    // If the cloud cannot be reached, show the last listing.
    let machines = match app.controller.machines().await {
        Ok(machines) => machines,
        Err(_) => app.telemetry.seen.machines().1,
    };
    Ok(Json(List { items: class_views(&app, &machines).await?, next: None }))
}

/// Returns the classes with their use of these machines.
pub(super) async fn class_views(app: &App, machines: &[Machine]) -> Result<Vec<Class>, Refusal> {
    let ports = app.controller.ports();
    let settings = app.controller.settings();
    let open = app.telemetry.open_runs(&ports.store).await?;
    let waiting = app.telemetry.waiting_runs(&ports.store, &open, BLOCKED_LIMIT).await;
    let spend = today(app).await.budgets;
    let offerings = app.controller.offerings();
    let stops = app.controller.boot_stops();
    let boot_stop = |class: &ClassName| {
        stops.iter().find(|(name, _)| name == class).map(|(_, stop)| stop.clone())
    };
    let breakers = app.controller.spot_breakers();
    let spot_breaker = |class: &ClassName| {
        breakers.iter().find(|(name, _)| name == class).map(|(_, breaker)| breaker.clone())
    };
    let mut items = Vec::with_capacity(settings.classes.len());
    for class in &settings.classes {
        let seats =
            if class.has_limit() { ports.store.seats(&class.name).await? } else { Vec::new() };
        let serves = |repo: &str, runs_on: &[String]| {
            serving(&settings.classes, repo, runs_on).is_some_and(|by| by.name == class.name)
        };
        let runs = open.iter().filter(|run| run.phase != Phase::Finished);
        let runs = runs.filter(|run| serves(&run.repo, &run.runs_on));
        let runs: Vec<&OpenRun> = runs.collect();
        // All machines of a class have the same groups and the same profile.
        let machine = class.machines.first();
        items.push(Class {
            name: class.name.to_string(),
            labels: class.labels.clone(),
            serves_unlabeled: class.serves_unlabeled,
            repos: class.repos.clone(),
            security_groups: machine.map(|spec| spec.security_groups.clone()).unwrap_or_default(),
            instance_profile: machine
                .map(|spec| spec.instance_profile.clone())
                .filter(|profile| !profile.is_empty()),
            limit: class.limit,
            repo_limit: class.repo_limit,
            owner_limit: class.owner_limit,
            budget: BudgetUse::of(&spend, &class.name),
            seats: seats.len(),
            seats_by_repo: by_repo(&seats),
            machines: machines.iter().filter(|m| m.class == class.name && m.is_live()).count(),
            open_runs: runs.len(),
            waiting_runs: runs.iter().filter(|run| run.phase == Phase::Waiting).count(),
            blocked_by: blocked_by(
                waiting.iter().filter(|run| serves(&run.spec.job.repo, &run.spec.runs_on)),
            ),
            unavailable: unavailable(&offerings, &class.machines)
                .into_iter()
                .chain(unpriced(&spend, class, app.telemetry.now()))
                .collect(),
            boot_stop: boot_stop(&class.name),
            spot_breaker: spot_breaker(&class.name),
        });
    }
    Ok(items)
}

/// Returns the repositories that hold these seats, those with the most first, then by name. One that
/// was renamed meanwhile is told by one of its names.
fn by_repo(seats: &[Seat]) -> Vec<RepoSeats> {
    let mut counts: HashMap<RepoKey, RepoSeats> = HashMap::new();
    for seat in seats {
        let none = || RepoSeats { repo: seat.repo.clone(), seats: 0 };
        counts.entry(seat.repo_ref().key()).or_insert_with(none).seats += 1;
    }
    let mut repos: Vec<RepoSeats> = counts.into_values().collect();
    repos.sort_by(|a, b| b.seats.cmp(&a.seats).then_with(|| a.repo.cmp(&b.repo)));
    repos
}

/// Returns the offerings of these machines that are skipped, each once.
fn unavailable(offerings: &[Offering], machines: &[MachineSpec]) -> Vec<Unavailable> {
    let mut found = Vec::new();
    for machine in machines {
        let of = offerings.iter().find(|offering| offering.machine.same_capacity(machine));
        let Some((until, why)) = of.and_then(|offering| offering.skipped) else { continue };
        let (kind, subnet, market) = (machine.kind.clone(), machine.subnet.clone(), machine.market);
        let one = Unavailable { kind, subnet, market, until, why };
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found
}

/// Returns the offerings that a class does not ask for, because its budget needs their price.
fn unpriced(
    spend: &[ClassSpend],
    class: &model::Class,
    now: Timestamp,
) -> impl Iterator<Item = Unavailable> {
    let own = spend.iter().find(|own| own.class == class.name);
    let machines = own.map(|own| own.unpriced.clone()).unwrap_or_default();
    machines.into_iter().map(move |MachineSpec { kind, subnet, market, .. }| Unavailable {
        kind,
        subnet,
        market,
        until: now + PRICES_READ_EVERY,
        why: Cause::Unpriced,
    })
}

/// Returns the distinct reasons of waiting runs, most frequent first.
fn blocked_by<'a>(waiting: impl Iterator<Item = &'a Run>) -> Vec<Reason> {
    let mut counts: HashMap<Reason, usize> = HashMap::new();
    for reason in waiting.filter_map(|run| run.status.reason()) {
        *counts.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<(Reason, usize)> = counts.into_iter().collect();
    reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), reason.as_str()));
    reasons.into_iter().map(|(reason, _)| reason).collect()
}
