//! All metric families with their types, labels and help. `schema metrics` prints this table.

use serde::Serialize;

use super::labels;

/// A metric family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Family {
    /// The name, with prefix and unit.
    pub name: &'static str,
    /// The Prometheus type.
    pub kind: Kind,
    /// The label names.
    pub labels: &'static [&'static str],
    /// The text of `# HELP`.
    pub help: &'static str,
    /// The stability of the family.
    pub stability: Stability,
    /// An example query.
    pub example: &'static str,
}

/// The Prometheus type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A value that only increases.
    Counter,
    /// A value that rises and falls.
    Gauge,
    /// A distribution.
    Histogram,
}

/// The permitted changes of a family between versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stability {
    /// Changes only with a major version.
    Stable,
    /// May change with a minor version.
    Beta,
}

/// Returns every family with its fixed label values, as printed by `tinqs-ci schema metrics`.
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
        /// All families.
        pub const FAMILIES: &[Family] = &[$($constant),*];
    };
}

families! {
    BUILD_INFO = "build_info" Gauge ["version", "revision", "deployment"] Stable
        "The running build; always 1.", "tinqs_ci_build_info";
    CONFIG_INFO = "config_info" Gauge ["hash"] Stable
        "The configuration in force, as a hash without credentials; always 1.",
        "count by (hash) (tinqs_ci_config_info)";
    CONFIG_LOADED = "config_last_reload_successful" Gauge [] Stable
        "1 if the configuration was loaded the last time that it was read, 0 if it had mistakes and the former one stays in force.",
        "tinqs_ci_config_last_reload_successful == 0";
    CONFIG_LOADED_AT = "config_last_reload_success_timestamp_seconds" Gauge [] Stable
        "Unix time of the last successful load of the configuration.",
        "time() - tinqs_ci_config_last_reload_success_timestamp_seconds";
    TLS_EXPIRY = "tls_certificate_expiry_timestamp_seconds" Gauge [] Beta
        "Unix time at which the certificate of `server.tls` expires; absent without one.",
        "min(tinqs_ci_tls_certificate_expiry_timestamp_seconds) - time() < 604800";
    SNAPSHOT_TIMESTAMP = "snapshot_timestamp_seconds" Gauge ["source"] Stable
        "Unix time of the last successful listing of this source; 0 if there was none.",
        "time() - tinqs_ci_snapshot_timestamp_seconds";
    SNAPSHOT_ERRORS = "snapshot_errors_total" Counter ["source"] Stable
        "Failed listings of this source.", "rate(tinqs_ci_snapshot_errors_total[5m])";
    DESIRED_MACHINES = "desired_machines" Gauge ["class"] Stable
        "Machines that the open runs need.", "sum(tinqs_ci_desired_machines)";
    MACHINES = "machines" Gauge ["class", "state", "market"] Stable
        "Machines with the installation's tag, as last listed.",
        "sum by (class, state) (tinqs_ci_machines)";
    REGISTRATIONS = "registrations" Gauge ["class", "status"] Stable
        "Runners of this installation at the forge, as last listed.",
        "sum by (status) (tinqs_ci_registrations)";
    JOBS = "jobs" Gauge ["class", "status"] Stable
        "Jobs at the forge that wait for a runner or run, as last listed; those that no class serves have the class `no_class`.",
        "sum by (status) (tinqs_ci_jobs)";
    RUNS = "runs" Gauge ["class", "stage"] Stable
        "Open runs by stage, computed from the last listings.",
        "sum by (stage) (tinqs_ci_runs)";
    CLASS_LIMIT = "class_limit_machines" Gauge ["class", "limit"] Stable
        "Configured limit of machines; 0 means no limit.",
        "tinqs_ci_class_limit_machines{limit=\"max\"}";
    JOB_WAIT = "job_wait_duration_seconds" Histogram ["class"] Stable
        "Time that jobs waited until they started.",
        "histogram_quantile(0.95, sum by (le) (rate(tinqs_ci_job_wait_duration_seconds_bucket[10m])))";
    STEP_DURATION = "step_duration_seconds" Histogram ["class", "step"] Beta
        "Time that a step of a run's path took: from the job's creation until it was seen (`webhook`), until an attempt was recorded (`decision`), until the cloud accepted its launch (`launch`), until the job started (`boot`), until it ended (`run`).",
        "histogram_quantile(0.95, sum by (le, step) (rate(tinqs_ci_step_duration_seconds_bucket[10m])))";
    OLDEST_WAITING = "job_oldest_waiting_timestamp_seconds" Gauge ["class"] Stable
        "Unix time since when the oldest waiting job waits; 0 if none waits.",
        "time() - min(tinqs_ci_job_oldest_waiting_timestamp_seconds > 0)";
    UNSERVED_JOBS = "unserved_jobs" Gauge [] Beta
        "Waiting jobs that no class serves, as last polled; 0 on a replica that does not poll.",
        "max(tinqs_ci_unserved_jobs) > 0";
    SERVICE_FAILING = "service_failing_timestamp_seconds" Gauge ["service"] Beta
        "Unix time since when calls to the service fail; 0 if they succeed.",
        "time() - (tinqs_ci_service_failing_timestamp_seconds > 0)";
    CLOCK_AHEAD = "clock_ahead_seconds" Gauge [] Beta
        "How far the clock of this process is ahead of the forge's, negative if behind; 0 if the forge has not told its time. More than 120 in either direction: nothing is ended, retired or given back after a wait.",
        "abs(tinqs_ci_clock_ahead_seconds) > 120";
    FOREIGN_MACHINES = "foreign_machines" Gauge [] Beta
        "Machines that carry this installation's tags but were not launched by it, as last listed. They are never touched.",
        "tinqs_ci_foreign_machines > 0";
    UNREADABLE_RECORDS = "unreadable_records" Gauge [] Beta
        "Records that could not be decoded when last read, and are skipped.",
        "tinqs_ci_unreadable_records > 0";
    NEWER_RECORDS = "newer_records" Gauge [] Beta
        "Records of a newer format than this release reads, when last read. They are left alone.",
        "tinqs_ci_newer_records > 0";
    RUN_OUTCOMES = "run_outcomes_total" Counter ["class", "outcome"] Stable
        "Ended runs by outcome.", "sum by (outcome) (increase(tinqs_ci_run_outcomes_total[1h]))";
    RECONCILE = "reconcile_total" Counter ["controller", "result"] Stable
        "Passes of each loop by result.", "sum by (result) (rate(tinqs_ci_reconcile_total[5m]))";
    RECONCILE_DURATION = "reconcile_duration_seconds" Histogram ["controller"] Stable
        "Duration of a pass.",
        "histogram_quantile(0.95, sum by (le) (rate(tinqs_ci_reconcile_duration_seconds_bucket[5m])))";
    RECONCILE_SUCCESS = "reconcile_last_success_timestamp_seconds" Gauge ["controller"] Stable
        "Unix time of the last successful pass; 0 if there was none.",
        "time() - tinqs_ci_reconcile_last_success_timestamp_seconds{controller=\"run\"}";
    PANICS = "reconcile_panics_total" Counter ["controller"] Stable
        "Caught panics; each is a bug in tinqs-ci.", "tinqs_ci_reconcile_panics_total > 0";
    ACTIONS = "actions_total" Counter ["action", "result"] Stable
        "Calls that change external state.", "sum by (action) (rate(tinqs_ci_actions_total[5m]))";
    WORKQUEUE_DEPTH = "workqueue_depth" Gauge ["queue"] Beta
        "Waiting work: wake-ups taken but not reconciled yet (`wake`), runs whose due time has passed (`due`).",
        "tinqs_ci_workqueue_depth";
    WORKQUEUE_OLDEST = "workqueue_oldest_timestamp_seconds" Gauge ["queue"] Beta
        "Unix time since when the oldest of this work waits, as this process knows it; 0 if there is none.",
        "time() - (tinqs_ci_workqueue_oldest_timestamp_seconds{queue=\"due\"} > 0)";
    WORKQUEUE_RETRIES = "workqueue_retries_total" Counter ["queue"] Beta
        "Reconciles repeated after a write conflict or an error.",
        "rate(tinqs_ci_workqueue_retries_total[5m])";
    LEADER = "leader" Gauge [] Stable
        "1 on the replica that holds the sweep lease, else 0.", "sum(tinqs_ci_leader)";
    WEBHOOKS = "webhooks_total" Counter ["event", "result"] Stable
        "Webhook deliveries by result.", "sum by (result) (increase(tinqs_ci_webhooks_total[1h]))";
    WEBHOOK_DURATION = "webhook_duration_seconds" Histogram [] Stable
        "Time from a webhook's headers to its response.",
        "histogram_quantile(0.99, sum by (le) (rate(tinqs_ci_webhook_duration_seconds_bucket[5m])))";
    WEBHOOK_ACCEPTED = "webhook_last_accepted_timestamp_seconds" Gauge [] Stable
        "Unix time of the last accepted webhook; 0 if there was none.",
        "time() - tinqs_ci_webhook_last_accepted_timestamp_seconds";
    PUSHES = "push_evaluations_total" Counter ["result"] Beta
        "Evaluations of pushes and other trigger events in push mode, by result.",
        "sum by (result) (increase(tinqs_ci_push_evaluations_total[1h]))";
    PUSH_DURATION = "push_evaluation_duration_seconds" Histogram ["result"] Beta
        "Duration of an evaluation, including reads from the forge.",
        "histogram_quantile(0.95, sum by (le) (rate(tinqs_ci_push_evaluation_duration_seconds_bucket[10m])))";
    RESYNC_FOUND = "resync_found_jobs_total" Counter [] Stable
        "Jobs found by listing that no webhook announced.",
        "increase(tinqs_ci_resync_found_jobs_total[30m])";
    QUEUE_MESSAGES = "queue_messages" Gauge ["queue", "state"] Beta
        "Messages in the queue of wake-ups (`events`) and in its dead-letter queue (`dlq`), as far as that is known, without those that are delayed until their run is due. SQS is asked once a minute and counts approximately.",
        "sum by (queue) (tinqs_ci_queue_messages)";
    QUEUE_OLDEST = "queue_oldest_message_timestamp_seconds" Gauge ["queue"] Beta
        "Unix time since when the oldest message waits for delivery, as far as that is known; 0 if none waits. With SQS: since when each reading, one a minute, found a message, or when the oldest of those that the process received meanwhile was sent, whichever is later.",
        "time() - (tinqs_ci_queue_oldest_message_timestamp_seconds > 0)";
    API_REQUESTS = "api_requests_total" Counter ["service", "operation", "code"] Stable
        "Calls to the store, the queue, the cloud and the forge.",
        "sum by (service, code) (rate(tinqs_ci_api_requests_total[5m]))";
    API_DURATION = "api_request_duration_seconds" Histogram ["service", "operation"] Stable
        "Duration of these calls, without waiting for a wake-up.",
        "histogram_quantile(0.95, sum by (le, operation) (rate(tinqs_ci_api_request_duration_seconds_bucket[5m])))";
    BREAKER_OPENED = "breaker_opened_timestamp_seconds" Gauge ["class", "cause"] Beta
        "Unix time since when the class's breaker is open, because the cloud rejects its launches or because its machines never come online; 0 if it is closed.",
        "tinqs_ci_breaker_opened_timestamp_seconds > 0";
    PAUSED = "paused" Gauge ["class"] Stable
        "1 if a person has paused the launches of the class, else 0; as last read from the store.",
        "max by (class) (tinqs_ci_paused) > 0";
    DRIFT = "drift" Gauge ["class", "kind", "blocked_by"] Stable
        "Differences between runs, machines and registrations that last longer than their stage allows, as of the last poll; 0 on a replica that does not poll.",
        "sum by (class, kind, blocked_by) (tinqs_ci_drift) > 0";
    DRIFT_OLDEST = "drift_oldest_timestamp_seconds" Gauge ["class", "kind"] Stable
        "Unix time since when the oldest of them is open; 0 if there is none.",
        "time() - (tinqs_ci_drift_oldest_timestamp_seconds > 0)";
    DRIFT_DETECTED = "drift_detected_total" Counter ["class", "kind"] Stable
        "Differences that began to last longer than their stage allows.",
        "sum by (kind) (increase(tinqs_ci_drift_detected_total[1h]))";
    DRIFT_RESOLVED = "drift_resolved_total" Counter ["class", "kind", "by"] Stable
        "Differences that are gone, and who acted: a reconcile, a person through the API, or nobody.",
        "sum by (by) (increase(tinqs_ci_drift_resolved_total[1h]))";
    DRIFT_RESOLUTION = "drift_resolution_duration_seconds" Histogram ["kind"] Stable
        "Time for which a difference was open.",
        "histogram_quantile(0.95, sum by (le, kind) (rate(tinqs_ci_drift_resolution_duration_seconds_bucket[1h])))";
    HOURLY_COST = "hourly_cost_usd" Gauge ["class", "market"] Stable
        "Estimated cost per hour of the machines that were last listed; no series while the price of one of them is not known.",
        "sum by (class) (tinqs_ci_hourly_cost_usd)";
    DAILY_BUDGET = "daily_budget_usd" Gauge ["class"] Stable
        "What the machines of the class may cost per day, as configured; 0 if it has no budget.",
        "max by (class) (tinqs_ci_daily_budget_usd) > 0";
    DAILY_SPEND = "daily_spend_usd" Gauge ["class"] Stable
        "Estimated cost of the machines of a class with a budget since midnight UTC, as this process knows it; no series before it has read what was counted.",
        "max by (class) (tinqs_ci_daily_spend_usd) / max by (class) (tinqs_ci_daily_budget_usd > 0)";
    COST = "cost_usd_total" Counter ["class"] Stable
        "Estimated cost of ended machines, as this process has counted it; without seconds whose price or end is not known.",
        "sum by (class) (increase(tinqs_ci_cost_usd_total[1d]))";
    MACHINE_SECONDS = "machine_seconds_total" Counter ["class", "use"] Stable
        "Seconds of ended machines by their use, as this process has counted them; `unknown_end`: the most that machines lived beyond the others whose end nobody saw.",
        "sum by (use) (increase(tinqs_ci_machine_seconds_total[1d]))";
    LAUNCH_ATTEMPTS = "launch_attempts_total" Counter ["class", "market", "result"] Stable
        "Attempted launches.", "sum by (result) (rate(tinqs_ci_launch_attempts_total[10m]))";
    LAUNCH_REFUSED = "launch_refused_total" Counter ["machine_kind", "subnet", "reason"] Stable
        "Launches that the cloud refused for the offering.",
        "sum by (machine_kind, subnet, reason) (increase(tinqs_ci_launch_refused_total[1h])) > 0";
    OFFERING_UNAVAILABLE = "offering_unavailable" Gauge ["machine_kind", "subnet", "market"] Stable
        "1 while this process skips the offering because the cloud refused it, else 0.",
        "max by (machine_kind, subnet, market) (tinqs_ci_offering_unavailable) > 0";
    INTERRUPTIONS = "interruptions_total" Counter ["class"] Stable
        "Jobs whose machine the cloud took while they ran.",
        "sum by (class) (increase(tinqs_ci_interruptions_total[1h]))";
    RERUNS = "reruns_total" Counter ["outcome"] Stable
        "Requests to run such jobs again by what the forge did, and jobs that are not run again by the reason.",
        "sum by (outcome) (increase(tinqs_ci_reruns_total[1h])) > 0";
    SPOT_BREAKER_OPENED = "spot_breaker_opened_timestamp_seconds" Gauge ["class"] Beta
        "Unix time since when machines on demand of the class come first, because the cloud took several of its spot machines; 0 if its own order holds.",
        "max by (class) (tinqs_ci_spot_breaker_opened_timestamp_seconds) > 0";
    SPOT_INTERRUPTIONS = "spot_interruptions_total" Counter ["machine_kind", "zone"] Stable
        "Spot machines that the cloud took back before they had done their job; a series begins with the first spot machine of its kind in a zone.",
        "sum by (machine_kind, zone) (increase(tinqs_ci_spot_interruptions_total[1h]))";
}
