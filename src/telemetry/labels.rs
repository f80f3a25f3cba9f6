//! The fixed values of metric labels: enums and constants only, never external text.

use tinqs_ci_reconciler::controller::{ActionKind, ReconcileOutcome, Report, RerunOutcome};
use tinqs_ci_reconciler::model::{Blocker, Cause, DriftKind, Market, Outcome, Reason};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use crate::push::PushResult;

/// Labels without fixed values: those of the build, of the configuration and of the cloud.
pub const OPEN: [&str; 8] =
    ["class", "version", "revision", "deployment", "hash", "machine_kind", "subnet", "zone"];
/// The class label of runs and machines without a configured class.
pub const NO_CLASS: &str = Reason::NoClass.label();

/// The loops; `run` reconciles runs.
pub const CONTROLLERS: [&str; 4] = ["run", "sweep", "ingest", "demand"];
/// Results of a pass.
pub const PASS_RESULTS: [&str; 5] = ["settled", "acted", "conflict", "error", "panic"];
/// Actions that change external state.
pub const ACTIONS: [&str; 11] = [
    "seat",
    "unseat",
    "register",
    "put",
    "launch",
    "terminate",
    "disable",
    "retire",
    "rerun",
    "remove",
    "wake",
];
/// Results of an action.
pub const ACTION_RESULTS: [&str; 2] = ["ok", "error"];
/// Outcomes of runs.
pub const OUTCOMES: [&str; 9] = [
    "succeeded",
    "failed",
    "cancelled",
    "skipped",
    "job_gone",
    "gave_up",
    "machine_ended",
    "machine_lost",
    "max_age",
];
/// Results of a call to a port.
pub const CODES: [&str; 4] = ["ok", "throttled", "client", "server"];
/// Results of a launch.
pub const LAUNCH_RESULTS: [&str; 7] =
    ["ok", "insufficient_capacity", "quota", "throttled", "permission", "invalid", "error"];
/// Purchase options of machines.
pub const MARKETS: [&str; 2] = ["spot", "on_demand"];
/// States of machines; `up` has no registration online yet.
pub const MACHINE_STATES: [&str; 5] = ["booting", "up", "idle", "busy", "ending"];
/// States of registrations.
pub const REGISTRATION_STATES: [&str; 3] = ["idle", "busy", "offline"];
/// Stages of open runs, computed from the last listings.
pub const STAGES: [&str; 7] =
    ["pending", "launching", "booting", "registering", "idle", "busy", "draining"];
/// Statuses of jobs: those that wait for a runner, and those that run.
pub const JOB_STATES: [&str; 2] = ["waiting", "running"];
/// Measured parts of the path of a run.
pub const STEPS: [&str; 5] = ["webhook", "decision", "launch", "boot", "run"];
/// Reasons for which the cloud refuses an offering.
pub const REFUSED: [&str; 5] = ["capacity", "unsupported", "addresses", "quota", "market"];
/// A breaker that refusals of the cloud opened.
pub const REFUSALS: &str = "refused";
/// A breaker that machines opened whose runners never came online.
pub const NEVER_ONLINE: &str = "never_online";
/// Causes for which a breaker opens.
pub const BREAKER_CAUSES: [&str; 2] = [REFUSALS, NEVER_ONLINE];
/// The queue of wake-ups, and its dead-letter queue.
pub const MESSAGE_QUEUES: [&str; 2] = ["events", "dlq"];
/// States of messages.
pub const MESSAGE_STATES: [&str; 2] = ["visible", "in_flight"];
/// The listed sources.
pub const SOURCES: [&str; 3] = ["store", "compute", "forge"];
/// Wake-ups taken but not reconciled yet; runs whose due time has passed.
pub const WORK_QUEUES: [&str; 2] = ["wake", "due"];
/// Webhook events.
pub const EVENTS: [&str; 3] = ["workflow_job", "push", "unknown"];
/// Results of a webhook.
pub const WEBHOOK_RESULTS: [&str; 5] =
    ["accepted", "ignored", "bad_signature", "bad_payload", "error"];
/// Results of an evaluation in push mode; `waiting` is retried.
pub const PUSH_RESULTS: [&str; 3] = ["evaluated", "waiting", "given_up"];
/// The blocker of drift that nothing keeps from being fixed.
pub const NOT_BLOCKED: &str = "none";
/// Uses of a machine's seconds.
pub const USES: [&str; 5] = ["boot", "idle", "busy", "lost", "unknown_end"];
/// The party that resolved drift.
pub const RESOLVED_BY: [&str; 3] = ["controller", "self", "operator"];
/// Operations by service, named as in the ports.
pub const CALLS: [(&str, &[&str]); 4] = [
    (
        "store",
        &[
            "get",
            "put",
            "remove",
            "open",
            "page",
            "seat",
            "unseat",
            "seats",
            "pause",
            "resume",
            "pauses",
            "lease",
            "announce",
            "usage",
            "reruns",
            "put_reruns",
        ],
    ),
    ("queue", &["wake", "next", "done", "depth"]),
    ("compute", &["list", "find", "launch", "terminate", "log"]),
    (
        "forge",
        &[
            "waiting",
            "job",
            "registrations",
            "registration",
            "at_work",
            "register",
            "disable",
            "retire",
            "workflow_run",
            "rerun",
        ],
    ),
];

/// Blockers of drift.
pub fn blocked_by() -> impl Iterator<Item = &'static str> {
    std::iter::once(NOT_BLOCKED).chain(Blocker::ALL.iter().map(|blocker| blocker.label()))
}

/// The label of a pass's result.
pub fn pass_result(result: ReconcileOutcome) -> &'static str {
    match result {
        ReconcileOutcome::Settled => "settled",
        ReconcileOutcome::Acted => "acted",
        ReconcileOutcome::Conflict => "conflict",
        ReconcileOutcome::Error => "error",
    }
}

/// The label of an effect.
pub fn action(action: ActionKind) -> &'static str {
    match action {
        ActionKind::Seat => "seat",
        ActionKind::Unseat => "unseat",
        ActionKind::Register => "register",
        ActionKind::Put => "put",
        ActionKind::Launch => "launch",
        ActionKind::Terminate => "terminate",
        ActionKind::Disable => "disable",
        ActionKind::Retire => "retire",
        ActionKind::Rerun => "rerun",
        ActionKind::Remove => "remove",
        ActionKind::Wake => "wake",
    }
}

/// The labels of a reconcile's effects, in order.
pub fn actions(report: &Report) -> Option<String> {
    let actions: Vec<&str> = report.effects.iter().map(|effect| action(effect.action)).collect();
    Some(actions.join("+")).filter(|actions| !actions.is_empty())
}

/// The ID of the attempt that a reconcile's last effect is about.
pub fn attempt_id(report: &Report) -> Option<&str> {
    report.effects.iter().rev().find_map(|effect| effect.attempt_id.as_deref())
}

/// The label of an evaluation's result.
pub fn push_result(result: PushResult) -> &'static str {
    match result {
        PushResult::Evaluated => "evaluated",
        PushResult::Waiting => "waiting",
        PushResult::GivenUp => "given_up",
    }
}

/// The label of an outcome.
pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::Skipped => "skipped",
        Outcome::JobGone => "job_gone",
        Outcome::GaveUp => "gave_up",
        Outcome::MachineEnded => "machine_ended",
        Outcome::MachineLost => "machine_lost",
        Outcome::MaxAge => "max_age",
    }
}

/// The label of a market.
pub fn market(market: Market) -> &'static str {
    match market {
        Market::Spot => "spot",
        Market::OnDemand => "on_demand",
    }
}

/// The label of a call's result; `None` is success.
pub fn code(error: Option<ErrorKind>) -> &'static str {
    match error {
        None => "ok",
        Some(ErrorKind::Throttled) => "throttled",
        Some(ErrorKind::Unavailable) => "server",
        Some(
            ErrorKind::Conflict
            | ErrorKind::NoCapacity
            | ErrorKind::Limit
            | ErrorKind::Denied
            | ErrorKind::Invalid,
        ) => "client",
    }
}

/// The label of a launch's result; `None` is success.
pub fn launch_result(error: Option<ErrorKind>) -> &'static str {
    match error {
        None => "ok",
        Some(ErrorKind::NoCapacity) => "insufficient_capacity",
        Some(ErrorKind::Limit) => "quota",
        Some(ErrorKind::Throttled) => "throttled",
        Some(ErrorKind::Denied) => "permission",
        Some(ErrorKind::Invalid) => "invalid",
        Some(ErrorKind::Unavailable | ErrorKind::Conflict) => "error",
    }
}

/// The reason for which the cloud refused an offering; `None` if the error is about something else.
pub fn refused(error: &PortError) -> Option<&'static str> {
    let cause = match (error.cause, error.kind) {
        (Some(cause), _) => cause,
        (None, ErrorKind::NoCapacity) => Cause::Capacity,
        (None, ErrorKind::Limit) => Cause::Quota,
        (None, _) => return None,
    };
    match cause {
        Cause::Capacity => Some("capacity"),
        Cause::Unsupported => Some("unsupported"),
        Cause::Addresses => Some("addresses"),
        Cause::Quota => Some("quota"),
        Cause::Market => Some("market"),
        Cause::Attempt | Cause::Unpriced => None,
    }
}

/// The name of an error's kind in logs and `/readyz`.
pub fn error_kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Conflict => "conflict",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Throttled => "throttled",
        ErrorKind::NoCapacity => "no_capacity",
        ErrorKind::Limit => "limit",
        ErrorKind::Denied => "denied",
        ErrorKind::Invalid => "invalid",
    }
}

/// The label of a webhook's event, from its header.
pub fn event(header: Option<&str>) -> &'static str {
    match header {
        Some("workflow_job") => "workflow_job",
        Some("push") => "push",
        _ => "unknown",
    }
}

/// The fixed values of a label; `None` for those of [`OPEN`].
fn values(label: &str) -> Option<Vec<&'static str>> {
    let values: &[&'static str] = match label {
        "controller" => &CONTROLLERS,
        "action" => &ACTIONS,
        "outcome" => &OUTCOMES,
        "code" => &CODES,
        "market" => &MARKETS,
        "source" => &SOURCES,
        "queue" => &WORK_QUEUES,
        "event" => &EVENTS,
        "limit" => &["max"],
        "kind" => return Some(DriftKind::ALL.iter().map(|kind| kind.label()).collect()),
        "blocked_by" => return Some(blocked_by().collect()),
        "by" => &RESOLVED_BY,
        "cause" => &BREAKER_CAUSES,
        "use" => &USES,
        "service" => return Some(CALLS.iter().map(|(service, _)| *service).collect()),
        "operation" => {
            return Some(
                CALLS.iter().flat_map(|(_, operations)| operations.iter().copied()).collect(),
            );
        }
        _ => return None,
    };
    Some(values.to_vec())
}

/// The fixed values of a family's label; `None` for those of [`OPEN`].
pub fn of_family(family: &str, label: &str) -> Option<Vec<&'static str>> {
    let values: &[&str] = match (family, label) {
        ("tinqs_ci_reconcile_total", "result") => &PASS_RESULTS,
        ("tinqs_ci_actions_total", "result") => &ACTION_RESULTS,
        ("tinqs_ci_webhooks_total", "result") => &WEBHOOK_RESULTS,
        ("tinqs_ci_launch_attempts_total", "result") => &LAUNCH_RESULTS,
        (
            "tinqs_ci_push_evaluations_total" | "tinqs_ci_push_evaluation_duration_seconds",
            "result",
        ) => &PUSH_RESULTS,
        ("tinqs_ci_launch_refused_total", "reason") => &REFUSED,
        ("tinqs_ci_reruns_total", "outcome") => {
            return Some(RerunOutcome::all().map(RerunOutcome::label).collect());
        }
        (
            "tinqs_ci_queue_messages" | "tinqs_ci_queue_oldest_message_timestamp_seconds",
            "queue",
        ) => &MESSAGE_QUEUES,
        ("tinqs_ci_queue_messages", "state") => &MESSAGE_STATES,
        ("tinqs_ci_jobs", "status") => &JOB_STATES,
        ("tinqs_ci_workqueue_retries_total", "queue") => &["wake"],
        (_, "state") => &MACHINE_STATES,
        (_, "status") => &REGISTRATION_STATES,
        (_, "stage") => &STAGES,
        (_, "step") => &STEPS,
        (_, label) => return values(label),
    };
    Some(values.to_vec())
}
