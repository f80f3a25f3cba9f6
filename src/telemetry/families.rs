//! Every metric family: name, type, labels, meaning. `schema metrics` prints this table.

use serde::Serialize;

use super::labels;

/// A metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Family {
    /// With the prefix and the unit.
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, as in `# HELP`.
    pub help: &'static str,
    /// How much it may change between versions.
    pub stability: Stability,
    /// A query that reads it.
    pub example: &'static str,
}

/// What a family is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Only grows.
    Counter,
    /// A level.
    Gauge,
    /// A distribution.
    Histogram,
}

/// How much a family may change between versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stability {
    /// Changes with a major version only.
    Stable,
    /// May change with a minor version.
    Beta,
}

/// What `tinqs-ci schema metrics` prints: every family with its closed label values.
pub fn schema() -> serde_json::Value {
    let families = FAMILIES.iter().map(|family| {
        let values: serde_json::Map<_, _> = family
            .labels
            .iter()
            .map(|label| {
                let values = labels::of_family(family.name, label);
                ((*label).to_owned(), values.map_or(serde_json::Value::Null, Into::into))
            })
            .collect();
        let mut row = serde_json::to_value(family).unwrap_or_default();
        row["values"] = values.into();
        row
    });
    families.collect::<Vec<_>>().into()
}

macro_rules! families {
    ($($constant:ident = $name:literal $kind:ident [$($label:literal),*] $stability:ident $help:literal, $example:literal;)*) => {
        $(pub(super) const $constant: Family = Family {
            name: concat!("tinqs_ci_", $name),
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
            stability: Stability::$stability,
            example: $example,
        };)*
        /// All of them.
        pub const FAMILIES: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD_INFO = "build_info" Gauge ["version", "revision", "deployment"] Stable
        "What runs; always 1.", "tinqs_ci_build_info";
    SNAPSHOT_TIMESTAMP = "snapshot_timestamp_seconds" Gauge ["source"] Stable
        "When this side of the world was last read, Unix time; 0: never.",
        "time() - tinqs_ci_snapshot_timestamp_seconds";
    SNAPSHOT_ERRORS = "snapshot_errors_total" Counter ["source"] Stable
        "Failed listings of this side of the world.", "rate(tinqs_ci_snapshot_errors_total[5m])";
    DESIRED_INSTANCES = "desired_instances" Gauge ["class"] Stable
        "Machines that the open runs ask for.", "sum(tinqs_ci_desired_instances)";
    INSTANCES = "instances" Gauge ["class", "state", "market"] Stable
        "Machines with our tag, as last listed.", "sum by (class, state) (tinqs_ci_instances)";
    REGISTRATIONS = "registrations" Gauge ["class", "status"] Stable
        "Runners that the forge knows as ours, as last listed.",
        "sum by (status) (tinqs_ci_registrations)";
    RUNS = "runs" Gauge ["class", "stage"] Stable
        "Open runs by stage, computed from what was last seen.",
        "sum by (stage) (tinqs_ci_runs)";
    CLASS_LIMIT = "class_limit_instances" Gauge ["class", "limit"] Stable
        "Configured limit of machines; 0: none.", "tinqs_ci_class_limit_instances{limit=\"max\"}";
    JOB_WAIT = "job_wait_duration_seconds" Histogram ["class"] Stable
        "How long jobs waited until they ran.",
        "histogram_quantile(0.95, sum by (le) (rate(tinqs_ci_job_wait_duration_seconds_bucket[10m])))";
    OLDEST_WAITING = "job_oldest_waiting_timestamp_seconds" Gauge ["class"] Stable
        "Since when the oldest waiting job waits, Unix time; 0: none waits.",
        "time() - min(tinqs_ci_job_oldest_waiting_timestamp_seconds > 0)";
    UNREADABLE_RECORDS = "unreadable_records" Gauge [] Beta
        "Records that could not be understood when they were last read, and are skipped.",
        "tinqs_ci_unreadable_records > 0";
    RUN_OUTCOMES = "run_outcomes_total" Counter ["class", "outcome"] Stable
        "How runs ended.", "sum by (outcome) (increase(tinqs_ci_run_outcomes_total[1h]))";
    RECONCILE = "reconcile_total" Counter ["controller", "result"] Stable
        "Passes of each loop by result.", "sum by (result) (rate(tinqs_ci_reconcile_total[5m]))";
    RECONCILE_DURATION = "reconcile_duration_seconds" Histogram ["controller"] Stable
        "How long a pass took.",
        "histogram_quantile(0.95, sum by (le) (rate(tinqs_ci_reconcile_duration_seconds_bucket[5m])))";
    RECONCILE_SUCCESS = "reconcile_last_success_timestamp_seconds" Gauge ["controller"] Stable
        "When a pass last went well, Unix time; 0: never.",
        "time() - tinqs_ci_reconcile_last_success_timestamp_seconds{controller=\"run\"}";
    PANICS = "reconcile_panics_total" Counter ["controller"] Stable
        "Caught panics; every one is a defect of ours.", "tinqs_ci_reconcile_panics_total > 0";
    ACTIONS = "actions_total" Counter ["action", "result"] Stable
        "Calls that change the world.", "sum by (action) (rate(tinqs_ci_actions_total[5m]))";
    WORKQUEUE_DEPTH = "workqueue_depth" Gauge ["queue"] Beta
        "Work that waits: wake-ups taken and not looked at yet, runs whose recorded due is over.",
        "tinqs_ci_workqueue_depth";
    WORKQUEUE_RETRIES = "workqueue_retries_total" Counter ["queue"] Beta
        "Looks that are repeated because another wrote first, or after an error.",
        "rate(tinqs_ci_workqueue_retries_total[5m])";
    LEADER = "leader" Gauge [] Stable
        "1 on the replica that holds the sweep's lease, else 0.", "sum(tinqs_ci_leader)";
    WEBHOOKS = "webhooks_total" Counter ["event", "result"] Stable
        "Webhook deliveries by result.", "sum by (result) (increase(tinqs_ci_webhooks_total[1h]))";
    WEBHOOK_DURATION = "webhook_duration_seconds" Histogram [] Stable
        "From a webhook's head to its answer.",
        "histogram_quantile(0.99, sum by (le) (rate(tinqs_ci_webhook_duration_seconds_bucket[5m])))";
    WEBHOOK_ACCEPTED = "webhook_last_accepted_timestamp_seconds" Gauge [] Stable
        "When a webhook was last accepted, Unix time; 0: never.",
        "time() - tinqs_ci_webhook_last_accepted_timestamp_seconds";
    PUSHES = "push_evaluations_total" Counter ["result"] Beta
        "Pushes and other occasions that push mode set against the workflow files, by result.",
        "sum by (result) (increase(tinqs_ci_push_evaluations_total[1h]))";
    PUSH_DURATION = "push_evaluation_duration_seconds" Histogram ["result"] Beta
        "How long an evaluation took, what was read of the forge included.",
        "histogram_quantile(0.95, sum by (le) (rate(tinqs_ci_push_evaluation_duration_seconds_bucket[10m])))";
    RESYNC_FOUND = "resync_found_jobs_total" Counter [] Stable
        "Jobs found by listing that no webhook had announced.",
        "increase(tinqs_ci_resync_found_jobs_total[30m])";
    API_REQUESTS = "api_requests_total" Counter ["service", "operation", "code"] Stable
        "Calls to store, queue, cloud and forge.",
        "sum by (service, code) (rate(tinqs_ci_api_requests_total[5m]))";
    API_DURATION = "api_request_duration_seconds" Histogram ["service", "operation"] Stable
        "How long those calls took; waiting for a wake-up is left out.",
        "histogram_quantile(0.95, sum by (le, operation) (rate(tinqs_ci_api_request_duration_seconds_bucket[5m])))";
    BREAKER_OPENED = "breaker_opened_timestamp_seconds" Gauge ["class"] Beta
        "Since when a class's launches are stopped because the cloud denies them or calls them wrong, Unix time; 0: they are not.",
        "tinqs_ci_breaker_opened_timestamp_seconds > 0";
    LAUNCH_ATTEMPTS = "launch_attempts_total" Counter ["class", "market", "result"] Stable
        "Launches tried.", "sum by (result) (rate(tinqs_ci_launch_attempts_total[10m]))";
}
