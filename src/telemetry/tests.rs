use super::*;
use crate::push::PushResult;
use crate::settings::Env;
use tinqs_ci_reconciler::controller::{Effect, Event, FailedCall, UnservedLabels};
use tinqs_ci_reconciler::model::{
    AttemptId, BootStop, ClassName, Machine, MachineId, MachineState, Market, OpenBreaker, Outcome,
    Phase, Refusal, RunName, SpotBreaker, Times, Uid8,
};
use tinqs_ci_reconciler::plan::Rule;
use tinqs_ci_reconciler::ports::OpenRun;

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).expect("a time")
}

fn class(name: &str) -> Class {
    Class {
        name: ClassName(name.to_owned()),
        labels: vec![name.to_owned()],
        serves_unlabeled: false,
        machines: vec![tinqs_ci_testing::make::process()],
        limit: Some(20),
        repo_limit: None,
        owner_limit: None,
        rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
        budget: None,
        allocation: tinqs_ci_reconciler::model::Allocation::Order,
        repos: Vec::new(),
        times: Times::default(),
    }
}

fn telemetry(classes: usize) -> Arc<Telemetry> {
    let classes: Vec<Class> = (0..classes).map(|i| class(&format!("class-{i}"))).collect();
    Telemetry::new(&classes, Arc::new(At(now())))
}

fn report(hostile: &str) -> Report {
    Report {
        name: RunName::job(7),
        began_at: now(),
        result: ReconcileOutcome::Acted,
        phase_before: None,
        phase: Some(Phase::Starting),
        reason: None,
        class: Some(ClassName(hostile.to_owned())),
        repo: hostile.to_owned(),
        job: hostile.to_owned(),
        effects: vec![Effect {
            action: ActionKind::Launch,
            target: hostile.to_owned(),
            attempt_id: Some(hostile.to_owned()),
            rule: Rule::Launch,
            error: Some((ErrorKind::Unavailable, hostile.to_owned())),
        }],
        due: None,
        error: Some(hostile.to_owned()),
        failed: None,
        events: vec![
            Event::Started { waited_seconds: 12 },
            Event::Finished { outcome: Outcome::Succeeded, ran_ms: Some(6_000) },
        ],
    }
}

#[test]
fn every_family_follows_the_naming_rules() {
    let telemetry = telemetry(1);
    telemetry.metrics.config.named("0123456789ab");
    let text = telemetry.metrics.text();
    // The zones of machines are not known in advance, a queue is asked first, and there is no
    // certificate.
    let later = [
        "tinqs_ci_spot_interruptions_total",
        "tinqs_ci_queue_messages",
        "tinqs_ci_queue_oldest_message_timestamp_seconds",
        "tinqs_ci_tls_certificate_expiry_timestamp_seconds",
    ];
    for family in metrics::FAMILIES {
        let name = family.name;
        assert!(name.starts_with("tinqs_ci_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        let counts = name.ends_with("_total");
        assert_eq!(counts, family.kind == metrics::Kind::Counter, "{name}: counters end in _total");
        if family.kind == metrics::Kind::Histogram {
            assert!(name.ends_with("_seconds"), "{name}: the unit is the suffix");
        }
        for forbidden in ["_count", "_sum", "_bucket", "_milliseconds", "_ms"] {
            assert!(!name.ends_with(forbidden), "{name}");
        }
        assert!(!family.help.is_empty() && family.help.ends_with('.'), "{name}: {}", family.help);
        assert!(family.example.contains(name), "{name}: its example reads it");
        assert!(
            later.contains(&name) || text.contains(&format!("# HELP {name} ")),
            "{name} is registered and shown at once"
        );
    }
    let shown = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    let expected = metrics::FAMILIES.len() - later.len();
    assert_eq!(shown, expected, "nothing is registered that the table lacks");
}

#[test]
fn the_certificate_has_a_series_only_where_there_is_one() {
    let telemetry = telemetry(1);
    let name = "tinqs_ci_tls_certificate_expiry_timestamp_seconds";
    assert!(!telemetry.metrics.text().contains(name));
    telemetry.metrics.config.certificate(Some(now()));
    assert!(telemetry.metrics.text().contains(&format!("\n{name} 1800000000\n")));
    telemetry.metrics.config.certificate(None);
    assert!(!telemetry.metrics.text().contains(name));
}

#[test]
fn series_follow_the_configured_classes() {
    let telemetry = telemetry(2);
    let before = telemetry.metrics.series();
    let of = |class: &str| {
        let label = format!("class=\"{class}\"");
        telemetry.metrics.text().lines().filter(|line| line.contains(&label)).count()
    };
    telemetry.metrics.configure(&[Class { limit: Some(3), ..class("new") }]);
    assert!(of("new") > 10, "every possible series is there at 0");
    let limit = "tinqs_ci_class_limit_machines{class=\"new\",limit=\"max\"} 3";
    assert!(telemetry.metrics.text().lines().any(|line| line == limit));
    assert!(telemetry.metrics.series() < before + of("new"), "gauges of removed classes are gone");
    assert_eq!(telemetry.metrics.class(Some("new")), "new");
    assert_eq!(telemetry.metrics.class(Some("removed")), labels::NO_CLASS);
}

#[test]
fn the_variable_precedes_the_configured_filter() {
    let env = |pairs: &[(&str, &str)]| -> Env {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let (none, both) = (env(&[]), env(&[("TINQS_CI_LOG", "debug"), ("RUST_LOG", "warn")]));
    assert_eq!(filter(&none, None), None);
    assert_eq!(filter(&none, Some("trace")), Some("trace"));
    assert_eq!(filter(&both, Some("trace")), Some("debug"));
    let empty = env(&[("TINQS_CI_LOG", " "), ("RUST_LOG", "warn")]);
    assert_eq!(filter(&empty, Some("trace")), Some("warn"));
}

#[test]
fn the_series_stay_below_their_budget() {
    let series = telemetry(20).metrics.series();
    assert!(series < 8_000, "{series}");
    assert!(series > 1_000, "every possible series is there at 0: {series}");
}

#[test]
fn every_push_evaluation_is_counted_and_timed_by_result() {
    let telemetry = telemetry(1);
    let shown = |result: &str| {
        let text = telemetry.metrics.text();
        let value = |name: &str| {
            let series = format!("tinqs_ci_{name}{{result=\"{result}\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&series));
            line.unwrap_or_else(|| panic!("{series} is shown from the start")).to_owned()
        };
        [
            value("push_evaluations_total"),
            value("push_evaluation_duration_seconds_count"),
            value("push_evaluation_duration_seconds_sum"),
        ]
    };
    let results = ["evaluated", "waiting", "given_up"];
    assert_eq!(results.map(shown), [["0", "0", "0"]; 3]);
    telemetry.metrics.push(PushResult::Evaluated, Duration::from_millis(250));
    telemetry.metrics.push(PushResult::Evaluated, Duration::from_millis(500));
    telemetry.metrics.push(PushResult::Waiting, Duration::from_secs(15));
    telemetry.metrics.push(PushResult::GivenUp, Duration::from_secs(1));
    assert_eq!(results.map(shown), [["2", "2", "0.75"], ["1", "1", "15"], ["1", "1", "1"]]);
}

#[test]
fn external_text_creates_no_label_and_no_series() {
    let telemetry = telemetry(2);
    let before = telemetry.metrics.series();
    telemetry.record(&report("zyx\"w\n\x1b[31m{}"), Duration::from_millis(5));
    let text = telemetry.metrics.text();
    assert!(!text.contains("zyx"), "{text}");
    assert_eq!(telemetry.metrics.series(), before);
    assert!(
        text.contains("tinqs_ci_run_outcomes_total{class=\"no_class\",outcome=\"succeeded\"} 1")
    );
    assert!(text.contains("tinqs_ci_actions_total{action=\"launch\",result=\"error\"} 1"));
    assert!(text.contains("tinqs_ci_job_wait_duration_seconds_count{class=\"no_class\"} 1"));
    assert!(text.contains("tinqs_ci_reconcile_total{controller=\"run\",result=\"acted\"} 1"));
}

#[test]
fn an_open_breaker_shows_its_start_until_it_closes() {
    let telemetry = telemetry(2);
    let shown = |class: &str| {
        let labels = format!("cause=\"refused\",class=\"{class}\"");
        let series = format!("tinqs_ci_breaker_opened_timestamp_seconds{{{labels}}} ");
        let text = telemetry.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("{series} is shown from the start")).to_owned()
    };
    assert_eq!(["class-0", "class-1", "no_class"].map(shown), ["0"; 3]);
    let class = ClassName("class-1".to_owned());
    let breaker = OpenBreaker {
        why: Refusal::Denied,
        message: "check the credentials of this process".to_owned(),
        since: now(),
        until: now(),
    };
    let opened = Event::BreakerOpened { class: class.clone(), breaker };
    let mut reconcile = Report { events: vec![opened], ..report("class-0") };
    telemetry.record(&reconcile, Duration::from_millis(5));
    assert_eq!(["class-0", "class-1", "no_class"].map(shown), ["0", "1800000000", "0"]);
    reconcile.events = vec![Event::BreakerClosed { class, open_seconds: 300 }];
    telemetry.record(&reconcile, Duration::from_millis(5));
    assert_eq!(shown("class-1"), "0");
}

#[test]
fn machines_that_never_come_online_show_a_breaker_of_their_own() {
    let telemetry = telemetry(2);
    let shown = |cause: &str| {
        let labels = format!("cause=\"{cause}\",class=\"class-1\"");
        let series = format!("tinqs_ci_breaker_opened_timestamp_seconds{{{labels}}} ");
        let text = telemetry.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("{series} is shown from the start")).to_owned()
    };
    assert_eq!(shown("never_online"), "0");
    let stop = BootStop { machines: 3, since: now(), until: now(), launch_failed: false };
    telemetry.note_boot_stops(&[(ClassName("class-1".to_owned()), stop)]);
    assert_eq!((shown("never_online"), shown("refused")), ("1800000000".into(), "0".into()));
    telemetry.note_boot_stops(&[]);
    assert_eq!(shown("never_online"), "0");
}

#[test]
fn a_spot_breaker_is_shown_and_told_once_until_it_closes() {
    let telemetry = telemetry(2);
    let shown = |class: &str| {
        let series =
            format!("tinqs_ci_spot_breaker_opened_timestamp_seconds{{class=\"{class}\"}} ");
        let text = telemetry.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("{series} is shown from the start")).to_owned()
    };
    assert_eq!(["class-0", "class-1", "no_class"].map(shown), ["0"; 3]);
    let told = || {
        let told = telemetry.events.all(|_| true).into_iter();
        told.map(|entry| crate::words::events::told(&entry.what).reason).collect::<Vec<_>>()
    };
    let breaker = SpotBreaker { interruptions: 3, since: now(), until: now() };
    let open = [(ClassName("class-1".to_owned()), breaker)];
    telemetry.note_spot_breakers(&open);
    telemetry.note_spot_breakers(&open);
    assert_eq!(["class-0", "class-1"].map(shown), ["0", "1800000000"]);
    assert_eq!(told(), ["SpotBreakerOpen"]);
    telemetry.note_spot_breakers(&[]);
    assert_eq!(shown("class-1"), "0");
    assert_eq!(told(), ["SpotBreakerOpen", "SpotBreakerClosed"]);
}

#[test]
fn a_sweep_reports_the_lease_and_the_jobs_found() {
    let telemetry = telemetry(1);
    let report = SweepReport { leader: true, created: 3, ..SweepReport::default() };
    telemetry.record_sweep("demand", &report, Duration::from_millis(5));
    let text = telemetry.metrics.text();
    assert!(text.contains("tinqs_ci_leader 1"), "{text}");
    assert!(text.contains("tinqs_ci_resync_found_jobs_total 3"), "{text}");
    assert!(text.contains("tinqs_ci_reconcile_total{controller=\"demand\",result=\"acted\"} 1"));
}

#[test]
fn the_snapshot_counts_runs_and_machines_by_class_and_drops_what_is_gone() {
    let telemetry = telemetry(2);
    let classes = [class("class-0"), class("class-1")];
    let attempt_id =
        AttemptId { run: RunName::job(7), uid: Uid8("0123abcd".to_owned()), number: 1 };
    let run = OpenRun {
        name: RunName::job(7),
        phase: Phase::Starting,
        deleted: false,
        due: now(),
        attempt: Some(attempt_id.clone()),
        at_limit: false,
        runs_on: vec!["class-1".to_owned()].into(),
        repo: "a/b".into(),
        repo_id: 0,
        waiting_since: now(),
        boots: Vec::new(),
    };
    let machine = Machine {
        id: MachineId("m-1".to_owned()),
        attempt_id,
        placement: 0,
        state: MachineState::Booting,
        launched_at: now(),
        deadline: now(),
        registration: 5,
        repo_id: 0,
        promise: None,
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class: ClassName("class-1".to_owned()),
        kind: "process".to_owned(),
        zone: String::new(),
        market: Market::OnDemand,
    };
    let full = snapshot::Snapshot {
        classes: &classes,
        open: std::slice::from_ref(&run),
        machines: std::slice::from_ref(&machine),
        registrations: &[],
        unserved: &Polled::default(),
        now: now(),
    };
    telemetry.metrics.show(&full.counts());
    let text = telemetry.metrics.text();
    for line in [
        "tinqs_ci_desired_machines{class=\"class-1\"} 1",
        "tinqs_ci_runs{class=\"class-1\",stage=\"booting\"} 1",
        "tinqs_ci_machines{class=\"class-1\",market=\"on_demand\",state=\"booting\"} 1",
        "tinqs_ci_job_oldest_waiting_timestamp_seconds{class=\"class-1\"} 1800000000",
        "tinqs_ci_jobs{class=\"class-1\",status=\"waiting\"} 1",
        "tinqs_ci_jobs{class=\"no_class\",status=\"waiting\"} 0",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert_eq!(full.counts().overdue, 1);
    let unserved = UnservedLabels { runs_on: vec!["gpu".to_owned()], ..Default::default() };
    let unserved = Polled { jobs: 3, sets: vec![(unserved, now())] };
    let empty = snapshot::Snapshot { open: &[], machines: &[], unserved: &unserved, ..full };
    telemetry.metrics.show(&empty.counts());
    let text = telemetry.metrics.text();
    assert!(text.contains("tinqs_ci_desired_machines{class=\"class-1\"} 0"), "{text}");
    assert!(text.contains("tinqs_ci_job_oldest_waiting_timestamp_seconds{class=\"class-1\"} 0"));
    let oldest = "tinqs_ci_job_oldest_waiting_timestamp_seconds{class=\"no_class\"} 1800000000";
    assert!(text.contains(oldest), "{text}");
    assert!(text.contains("tinqs_ci_jobs{class=\"no_class\",status=\"waiting\"} 3"), "{text}");
}

#[test]
fn the_schema_contains_every_family_with_its_fixed_values() {
    let schema = metrics::schema();
    let rows = schema.as_array().expect("a list");
    assert_eq!(rows.len(), metrics::FAMILIES.len());
    for row in rows {
        for label in row["labels"].as_array().expect("labels") {
            let name = label.as_str().expect("text");
            let open = labels::OPEN.contains(&name);
            assert_eq!(row["values"][name].is_null(), open, "{row}");
        }
    }
}

fn failed(port: &'static str, operation: &'static str, kind: ErrorKind) -> Report {
    let call = FailedCall { port, operation, kind, message: "no\nanswer".to_owned() };
    Report {
        result: ReconcileOutcome::Error,
        phase: None,
        failed: Some(call),
        due: Some(now()),
        ..report("class-0")
    }
}

#[test]
fn a_run_whose_reconcile_failed_at_a_service_has_its_reason_until_one_succeeds() {
    let telemetry = telemetry(1);
    let record = |report: &Report| telemetry.record(report, Duration::from_millis(5));
    let name = RunName::job(7);
    record(&failed("forge", "job", ErrorKind::Unavailable));
    let failing = telemetry.failing_runs.of(&name).expect("it fails");
    assert_eq!((failing.reason.as_str(), failing.operation), ("ForgeUnreachable", "job"));
    assert_eq!((failing.since, failing.next), (now(), Some(now())));
    assert_eq!(failing.message, "no\\u{a}answer");
    let later = now() + jiff::SignedDuration::from_secs(30);
    record(&Report { began_at: later, ..failed("forge", "register", ErrorKind::Unavailable) });
    let failing = telemetry.failing_runs.of(&name).expect("it fails");
    assert_eq!((failing.since, failing.operation), (now(), "register"), "the same reason");
    record(&Report { began_at: later, ..failed("store", "put", ErrorKind::Unavailable) });
    let failing = telemetry.failing_runs.all();
    assert_eq!((failing.len(), failing[0].1.since), (1, later), "another reason");
    record(&report("class-0"));
    assert_eq!(telemetry.failing_runs.all(), []);
}

#[test]
fn what_says_nothing_about_a_service_is_no_reason_of_a_run() {
    let telemetry = telemetry(1);
    for (port, operation, kind) in [
        ("compute", "launch", ErrorKind::Denied),
        ("compute", "launch", ErrorKind::NoCapacity),
        ("store", "put", ErrorKind::Conflict),
        ("forge", "register", ErrorKind::Throttled),
    ] {
        telemetry.record(&failed(port, operation, kind), Duration::from_millis(5));
        assert_eq!(telemetry.failing_runs.all(), [], "{operation} {kind}");
    }
    let finished =
        Report { phase: Some(Phase::Finished), ..failed("forge", "retire", ErrorKind::Denied) };
    telemetry.record(&finished, Duration::from_millis(5));
    assert_eq!(telemetry.failing_runs.all(), [], "a finished run waits for nothing");
}

#[test]
fn unserved_jobs_are_counted_by_the_replica_that_polls() {
    let telemetry = telemetry(1);
    let polled = |controller, report: &SweepReport| {
        telemetry.record_sweep(controller, report, Duration::from_millis(5));
        let text = telemetry.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix("tinqs_ci_unserved_jobs "));
        line.expect("it is shown from the start").to_owned()
    };
    let set = UnservedLabels { runs_on: vec!["gpu".to_owned()], jobs: 3, ..Default::default() };
    let report = SweepReport {
        leader: true,
        unserved_jobs: 3,
        unserved: Some(vec![set]),
        ..SweepReport::default()
    };
    assert_eq!(polled("demand", &report), "3");
    assert_eq!(polled("sweep", &SweepReport::default()), "3", "a sweep does not read the list");
    assert_eq!(polled("demand", &SweepReport::default()), "0", "another replica polls");
}

#[test]
fn a_failing_service_shows_since_when() {
    let telemetry = telemetry(1);
    let shown = || {
        let series = "tinqs_ci_service_failing_timestamp_seconds{service=\"forge\"} ";
        let text = telemetry.metrics.text();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.expect("it is shown from the start").to_owned()
    };
    assert_eq!(shown(), "0");
    let error = PortError::new("forge", "waiting", ErrorKind::Denied, "401");
    telemetry.contact("forge", "waiting", Some(&error));
    assert_eq!(shown(), "1800000000");
    telemetry.contact("forge", "waiting", None);
    assert_eq!(shown(), "0");
}
