//! Drift, case by case: what is listed, and what drifts.
//!
//! Times are seconds. The job waits since 0 s; a machine is launched at 10 s, boots within 300 s,
//! idles for 120 s and ends at 3,600 s.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{
    Attempt, Blocker, BootPromise, BudgetStop, Cause, Class, Condition, Drift, DriftKind, End,
    Ended, Failing, Machine, MachineState, Market, MicroUsd, NextStep, ObservedClass, OpenBreaker,
    Pause, Phase, Reason, Refusal, Registration, Run, RunName, SeenBy, SeenSince, Spec,
    UnavailableOffering,
};
use tinqs_ci_reconciler::plan::drift::{Snapshot, drift, needs_record};
use tinqs_ci_reconciler::ports::OpenRun;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("as it is kept")
}

/// The state that is listed at `now`.
struct Listed {
    now: i64,
    classes: Vec<ObservedClass>,
    open: Vec<OpenRun>,
    records: Vec<Run>,
    machines: Vec<Machine>,
    machines_at: Option<i64>,
    rows: Vec<Registration>,
    rows_at: Option<i64>,
    since: SeenSince,
    failing: Failing,
    room: bool,
}

fn run(job: i64) -> Run {
    let spec: Spec = read(json!({
        "job": { "repo": "acme/site", "repo_id": 7, "job_id": job }, "runs_on": ["linux"],
    }));
    let mut run = Run::new("test", RunName::job(job), spec, SeenBy::Webhook, at(0));
    run.status.due = at(5_000);
    run
}

fn attempt(run: &Run, number: u32, decided_at: i64) -> Attempt {
    read(json!({
        "number": number, "decided_at": at(decided_at), "class": "linux",
        "runner": { "id": 100 + number, "uuid": "", "name": run.attempt_id(number).to_string(),
            "labels": [] },
        "boot": { "deadline": at(3_600), "idle_within": "2m", "instance_url": "https://forge" },
        "placements": [{ "machine": { "kind": "small" } }],
    }))
}

/// Returns the run of a job with an active attempt.
fn starting(job: i64, number: u32, decided_at: i64) -> Run {
    let mut run = run(job);
    run.status.phase = Phase::Starting;
    run.status.attempt = Some(attempt(&run, number, decided_at));
    run
}

/// Returns the run of a job whose latest attempt ended.
fn ended(job: i64, why: End, ended_at: i64) -> Run {
    let mut run = starting(job, 1, 5);
    run.status.phase = Phase::Waiting;
    if let Some(attempt) = &mut run.status.attempt {
        attempt.ended = Some(Ended { why, at: at(ended_at) });
    }
    run
}

fn because(mut run: Run, reason: Reason) -> Run {
    run.status.conditions = vec![Condition { reason, since: at(1), message: String::new() }];
    run
}

fn machine(run: &Run, number: u32) -> Machine {
    read(json!({
        "id": format!("i-{}-{number}", run.spec.job.job_id),
        "attempt_id": run.attempt_id(number).to_string(), "placement": 0, "state": "up",
        "launched_at": at(10), "deadline": at(3_600), "registration": 100 + number,
        "class": "linux", "kind": "small",
    }))
}

fn row(run: &Run, number: u32, online: bool, busy: bool) -> Registration {
    let id = i64::from(100 + number);
    let attempt_id = run.attempt_id(number);
    Registration {
        id,
        repo_id: 0,
        attempt_id,
        uuid: None,
        online,
        busy,
        disabled: None,
        disabled_since: None,
        missing_since: None,
    }
}

impl Listed {
    fn at(now: i64) -> Self {
        let class: Class = read(json!({
            "name": "linux", "labels": ["linux"], "machines": [{ "kind": "small" }],
        }));
        Self {
            now,
            classes: vec![class.into()],
            open: Vec::new(),
            records: Vec::new(),
            machines: Vec::new(),
            machines_at: Some(now),
            rows: Vec::new(),
            rows_at: Some(now),
            since: SeenSince::default(),
            failing: Failing::default(),
            room: true,
        }
    }

    /// Adds an open run whose record was read.
    fn run(mut self, run: Run) -> Self {
        self.open.push(OpenRun::of(&run));
        self.records.push(run);
        self
    }

    /// Adds an open run whose record was not read.
    fn summary(mut self, run: &Run) -> Self {
        self.open.push(OpenRun::of(run));
        self
    }

    fn machine(mut self, machine: Machine) -> Self {
        self.machines.push(machine);
        self
    }

    fn row(mut self, row: Registration) -> Self {
        self.rows.push(row);
        self
    }

    fn idle(mut self, id: i64, since: i64) -> Self {
        self.since.idle.insert(id, at(since));
        self
    }

    fn alone(mut self, id: i64, since: i64) -> Self {
        self.since.alone.insert(id, at(since));
        self
    }

    fn missing(mut self, id: i64, since: i64) -> Self {
        self.since.missing.insert(id, at(since));
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn drift(&self) -> Vec<Drift> {
        let seen = Snapshot {
            classes: &self.classes,
            open: &self.open,
            records: &self.records,
            machines: self.machines_at.map(|seconds| (&self.machines[..], at(seconds))),
            registrations: self.rows_at.map(|seconds| (&self.rows[..], at(seconds))),
            since: &self.since,
            failing: self.failing,
            room: self.room,
            sweep_every: SignedDuration::from_secs(60),
        };
        drift(&seen, at(self.now))
    }

    /// Returns the drift as `KIND SUBJECT SINCE..OPEN BLOCKED NEXT BY`.
    fn told(&self) -> Vec<String> {
        let told = |one: &Drift| {
            let seconds = |time: Timestamp| time.as_second();
            let blocked = one.blocked_by.map_or("-", Blocker::as_str);
            let by = one.by.map_or("-".to_owned(), |by| seconds(by).to_string());
            format!(
                "{} {} {}..{} {blocked} {} {by}",
                one.kind.as_str(),
                one.subject(),
                seconds(one.since),
                seconds(one.open_since),
                one.next.as_str()
            )
        };
        self.drift().iter().map(told).collect()
    }
}

#[track_caller]
fn check(cases: Vec<(&str, Listed, &[&str])>) -> usize {
    let count = cases.len();
    for (name, listed, expected) in cases {
        assert_eq!(listed.told(), expected, "{name}");
    }
    count
}

fn unavailable(listed: &mut Listed) {
    let machine = listed.classes[0].class.machines[0].clone();
    let until = at(listed.now + 60);
    listed.classes[0].unavailable =
        vec![UnavailableOffering { machine, until, cause: Cause::Capacity }];
}

fn breaker(listed: &mut Listed) {
    let (why, message) = (Refusal::Denied, String::new());
    listed.classes[0].breaker = Some(OpenBreaker { why, message, since: at(0), until: at(400) });
}

fn paused(listed: &mut Listed) {
    listed.classes[0].paused = Some(Pause { class: None, since: at(0), by: "ops".to_owned() });
}

fn no_budget(listed: &mut Listed, unpriced: Option<&str>) {
    let (budget, unpriced) = (MicroUsd(5_000_000), unpriced.map(str::to_owned));
    listed.classes[0].budget_stop = Some(BudgetStop { budget, unpriced, until: at(3_600) });
}

#[test]
#[rustfmt::skip]
fn runs_without_a_machine() {
    let live = |number| machine(&run(1), number);
    let gone = |number| Machine { state: MachineState::Gone, ..live(number) };
    let forge = |listed: &mut Listed| listed.failing.forge = Some(Blocker::ForgeUnreachable);
    let cloud = |listed: &mut Listed| listed.failing.cloud = Some(Blocker::CloudDenied);
    let unserved = || {
        let mut run = because(run(1), Reason::NoClass);
        run.spec.runs_on = vec!["gpu".to_owned()];
        run
    };
    let deleted = || Run { deleted_at: Some(at(5)), ..run(1) };
    let stopped = |reason| Listed::at(61).run(because(run(1), reason));
    let cases: Vec<(&str, Listed, &[&str])> = vec![
        ("nothing", Listed::at(100), &[]),
        ("within a minute", Listed::at(60).run(run(1)), &[]),
        ("after a minute", Listed::at(61).run(run(1)), &["RunWithoutMachine job-1 0..60 - Launch 5000"]),
        ("no record was read", Listed::at(61).summary(&run(1)), &["RunWithoutMachine job-1 0..60 - Launch 5000"]),
        ("no class", Listed::at(61).run(unserved()), &["RunWithoutMachine job-1 0..60 NoClass Nothing -"]),
        ("backing off", stopped(Reason::BackingOff), &["RunWithoutMachine job-1 0..60 BackingOff Launch 5000"]),
        ("no capacity", stopped(Reason::NoCapacity), &["RunWithoutMachine job-1 0..60 NoCapacity Launch 5000"]),
        ("paced", stopped(Reason::Paced), &["RunWithoutMachine job-1 0..60 Paced Launch 5000"]),
        ("at the limit", stopped(Reason::AtLimit), &["RunWithoutMachine job-1 0..60 AtLimit Launch -"]),
        ("displaced", stopped(Reason::MachineReassigned), &["RunWithoutMachine job-1 0..60 MachineReassigned Launch 5000"]),
        ("the breaker was recorded", stopped(Reason::BreakerOpen), &["RunWithoutMachine job-1 0..60 BreakerOpen Launch 5000"]),
        ("blocked by the forge", stopped(Reason::Blocked), &[]),
        ("deleted", Listed::at(61).run(deleted()), &[]),
        ("the class has no capacity", Listed::at(61).summary(&run(1)).with(unavailable), &["RunWithoutMachine job-1 0..60 NoCapacity Launch 5000"]),
        ("the breaker is open", Listed::at(61).summary(&run(1)).with(breaker), &["RunWithoutMachine job-1 0..60 BreakerOpen Launch 5000"]),
        ("the class is paused", Listed::at(61).summary(&run(1)).with(paused).with(breaker), &["RunWithoutMachine job-1 0..60 Paused Nothing -"]),
        ("the pause was recorded and is over", stopped(Reason::Paused), &["RunWithoutMachine job-1 0..60 - Launch 5000"]),
        ("the budget is spent", Listed::at(61).summary(&run(1)).with(|l| no_budget(l, None)), &["RunWithoutMachine job-1 0..60 Budget Launch 3600"]),
        ("a price is not known", Listed::at(61).summary(&run(1)).with(|l| no_budget(l, Some("x"))), &["RunWithoutMachine job-1 0..60 Budget Nothing -"]),
        ("the budget was spent the day before", stopped(Reason::Budget), &["RunWithoutMachine job-1 0..60 - Launch 5000"]),
        ("launches are paced", Listed::at(61).summary(&run(1)).with(|l| l.room = false), &["RunWithoutMachine job-1 0..60 Paced Launch 5000"]),
        ("the forge fails", Listed::at(61).run(run(1)).with(forge), &["RunWithoutMachine job-1 0..60 ForgeUnreachable Launch 5000"]),
        ("the cloud denies", Listed::at(61).run(run(1)).with(cloud), &["RunWithoutMachine job-1 0..60 CloudDenied Nothing -"]),
        ("its due has passed", Listed::at(6_000).run(run(1)), &["RunWithoutMachine job-1 0..60 - Launch 6000"]),
        ("its machine is launched", Listed::at(300).run(starting(1, 1, 5)), &[]),
        ("its machine is up", Listed::at(900).run(starting(1, 1, 5)).machine(live(1)), &[]),
        ("its machine never appeared", Listed::at(361).run(starting(1, 1, 5)), &["RunWithoutMachine job-1 0..360 - Launch 5000"]),
        ("its machine is gone", Listed::at(361).run(starting(1, 1, 5)).machine(gone(1)), &["RunWithoutMachine job-1 0..360 - Launch 5000"]),
        ("the list is older", Listed::at(900).run(starting(1, 1, 5)).with(|l| l.machines_at = Some(300)), &[]),
        ("machines were never listed", Listed::at(900).run(starting(1, 1, 5)).with(|l| l.machines_at = None), &[]),
        ("only another attempt has a machine", Listed::at(361).run(starting(1, 2, 5)).machine(live(1)), &["RunWithoutMachine job-1 0..360 - Launch 5000"]),
        ("another job took its machine", Listed::at(200).run(ended(1, End::Consumed, 100)), &[]),
        ("none was reassigned to it", Listed::at(221).run(ended(1, End::Consumed, 100)), &["RunWithoutMachine job-1 100..220 - Launch 5000"]),
        ("its machine was lost a moment ago", Listed::at(450).run(ended(1, End::MachineGone, 400)), &[]),
        ("no attempt follows a lost machine", Listed::at(461).run(ended(1, End::MachineGone, 400)), &["RunWithoutMachine job-1 0..460 - Launch 5000"]),
        ("the launch was refused a moment ago", Listed::at(450).run(ended(1, End::Refused(Refusal::NoCapacity), 449)), &["RunWithoutMachine job-1 0..60 - Launch 5000"]),
        ("it runs", Listed::at(900).run({ let mut run = ended(1, End::Consumed, 50); run.status.phase = Phase::Running; run }), &[]),
    ];
    assert!(check(cases) >= 30);
}

#[test]
#[rustfmt::skip]
fn machines_without_a_reason() {
    let live = |number| machine(&run(1), number);
    let own = || starting(1, 1, 5);
    let cloud = |listed: &mut Listed| listed.failing.cloud = Some(Blocker::CloudUnreachable);
    let in_state = |state| Machine { state, ..live(1) };
    let other = |change: fn(&mut Machine)| {
        let mut machine = live(1);
        change(&mut machine);
        Listed::at(100).run(own()).machine(machine).row(row(&run(1), 1, true, true))
    };
    let twin = || Machine { id: read(json!("i-9")), launched_at: at(20), ..live(1) };
    let promise: BootPromise =
        read(json!({ "start_by": at(610), "idle_within": "2m", "hold": "30m" }));
    let held = || Machine { promise: Some(promise), ..live(1) };
    let waits = |now| Listed::at(now).run(own()).machine(live(1)).row(row(&run(1), 1, true, false));
    let idle = |now| Listed::at(now).machine(live(1)).row(row(&run(1), 1, true, false)).idle(101, 60);
    let cases: Vec<(&str, Listed, &[&str])> = vec![
        ("without a run, before its deadline", Listed::at(3_000).machine(live(1)), &[]),
        ("without a run, at its deadline", Listed::at(3_720).machine(live(1)), &[]),
        ("without a run, after it", Listed::at(3_721).machine(live(1)), &["MachineWithoutRun i-1-1 3600..3720 - Terminate 3781"]),
        ("the cloud fails", Listed::at(3_721).machine(live(1)).with(cloud), &["MachineWithoutRun i-1-1 3600..3720 CloudUnreachable Terminate 3781"]),
        ("it is ending", Listed::at(3_721).machine(in_state(MachineState::Ending)), &[]),
        ("it is gone", Listed::at(3_721).machine(in_state(MachineState::Gone)), &[]),
        ("the list is from before", Listed::at(9_000).machine(live(1)).with(|l| l.machines_at = Some(3_700)), &[]),
        ("an open run's, after its deadline", Listed::at(3_721).run(own()).machine(live(1)), &["ExpiredMachine i-1-1 3600..3720 - Terminate 3781"]),
        ("its registration went", Listed::at(320).machine(live(1)).missing(101, 200), &[]),
        ("its registration went long ago", Listed::at(321).machine(live(1)).missing(101, 200), &["MachineWithoutRun i-1-1 200..320 - Terminate 381"]),
        ("an open run's registration went", Listed::at(321).run(own()).machine(live(1)).missing(101, 200), &["MachineWithoutRegistration i-1-1 200..320 - Terminate 381"]),
        ("it may be held after its registration went", Listed::at(2_120).machine(held()).missing(101, 200), &[]),
        ("it was held for too long", Listed::at(2_121).machine(held()).missing(101, 200), &["MachineWithoutRun i-1-1 200..2120 - Terminate 2181"]),
        ("missing, and listed again", Listed::at(321).machine(live(1)).missing(101, 200).row(row(&run(1), 1, true, true)), &[]),
        ("it boots", Listed::at(310).run(own()).machine(live(1)).row(row(&run(1), 1, false, false)), &[]),
        ("its runner is not online", Listed::at(311).run(own()).machine(live(1)).row(row(&run(1), 1, false, false)), &["MachineWithoutRegistration i-1-1 10..310 - PowerOff 3600"]),
        ("its registration is not listed", Listed::at(900).run(own()).machine(live(1)), &[]),
        ("registrations cannot be listed", Listed::at(900).run(own()).machine(live(1)).row(row(&run(1), 1, false, false)).with(|l| l.rows_at = None), &[]),
        ("busy", Listed::at(900).machine(live(1)).row(row(&run(1), 1, true, true)), &[]),
        ("busy and not in contact", Listed::at(900).machine(live(1)).row(row(&run(1), 1, false, true)), &[]),
        ("idle, and its job waits", waits(105).idle(101, 60), &[]),
        ("idle for too long", waits(106).idle(101, 60), &["JobNotAssigned i-1-1 60..105 - PowerOff 240"]),
        ("idle past its limit", waits(300).idle(101, 60), &["JobNotAssigned i-1-1 60..105 - PowerOff 3600"]),
        ("idle without a run", idle(240), &[]),
        ("idle without a run, past its limit", idle(241), &["SurplusMachine i-1-1 60..240 - PowerOff 3600"]),
        ("shown idle, and a job is recorded on it", idle(241).run({ let mut run = run(2); run.status.phase = Phase::Running; run.status.runner = Some(self::run(1).attempt_id(1).to_string()); run }), &[]),
        ("idle, and the forge blocks its job", idle(121).run(because(own(), Reason::Blocked)), &[]),
        ("idle, and its run has another attempt", idle(241).run(starting(1, 2, 100)).machine(Machine { registration: 102, ..machine(&run(1), 2) }), &["SurplusMachine i-1-1 60..240 - PowerOff 3600"]),
        ("another kind", other(|m| "big".clone_into(&mut m.kind)), &["SpecMismatch i-1-1 10..10 - PowerOff 3600"]),
        ("another market", other(|m| m.market = Market::Spot), &["SpecMismatch i-1-1 10..10 - PowerOff 3600"]),
        ("another placement", other(|m| m.placement = 3), &["SpecMismatch i-1-1 10..10 - PowerOff 3600"]),
        ("as recorded", other(|_| ()), &[]),
        ("a second machine of an attempt", Listed::at(141).run(own()).machine(live(1)).machine(twin()), &["SurplusMachine i-9 20..140 - PowerOff 3600"]),
        ("the worst is told", Listed::at(3_721).run(own()).machine(live(1)).missing(101, 200), &["ExpiredMachine i-1-1 3600..3720 - Terminate 3781"]),
    ];
    assert!(check(cases) >= 28);
}

#[test]
#[rustfmt::skip]
fn registrations_without_a_machine() {
    let own = || row(&run(1), 1, false, false);
    let gone = || Machine { state: MachineState::Gone, ..machine(&run(1), 1) };
    let ending = || Machine { state: MachineState::Ending, ..machine(&run(1), 1) };
    let forge = |listed: &mut Listed| listed.failing.forge = Some(Blocker::ForgeDenied);
    let cases: Vec<(&str, Listed, &[&str])> = vec![
        ("its machine may still appear", Listed::at(1_440).row(own()).alone(101, 0), &[]),
        ("no machine appeared", Listed::at(1_441).row(own()).alone(101, 0), &["RegistrationWithoutMachine 101 0..1440 - Retire 1501"]),
        ("its machine is ending", Listed::at(1_441).row(own()).alone(101, 0).machine(ending()), &[]),
        ("its machine has just gone", Listed::at(180).row(own()).alone(101, 0).machine(gone()), &[]),
        ("its machine is gone", Listed::at(181).row(own()).alone(101, 0).machine(gone()), &["RegistrationWithoutMachine 101 0..180 - Retire 241"]),
        ("the forge denies", Listed::at(181).row(own()).alone(101, 0).machine(gone()).with(forge), &["RegistrationWithoutMachine 101 0..180 ForgeDenied Retire 241"]),
        ("it has a job", Listed::at(1_441).row(row(&run(1), 1, true, true)).alone(101, 0), &[]),
        ("machines were never listed", Listed::at(1_441).row(own()).alone(101, 0).with(|l| l.machines_at = None), &[]),
        ("the machines' list is older", Listed::at(1_441).row(own()).alone(101, 0).with(|l| l.machines_at = Some(900)), &[]),
    ];
    assert!(check(cases) >= 9);
}

#[test]
fn the_longest_drift_is_first_and_names_its_class() {
    let mut listed = Listed::at(2_000).run(run(2)).run(because(run(3), Reason::NoCapacity));
    listed.open[0].waiting_since = at(500);
    let found = listed.machine(Machine { deadline: at(100), ..machine(&run(1), 1) }).drift();
    let order: Vec<String> = found.iter().map(Drift::subject).collect();
    assert_eq!(order, ["job-3", "i-1-1", "job-2"]);
    assert!(found.iter().all(|one| one.class.as_ref().is_some_and(|class| class.0 == "linux")));
}

#[test]
fn records_are_read_only_for_runs_that_wait_for_too_long() {
    let of = |run: &Run| needs_record(&OpenRun::of(run), at(61));
    assert!(of(&run(1)) && of(&starting(1, 1, 5)));
    assert!(!needs_record(&OpenRun::of(&run(1)), at(60)));
    assert!(!of(&because(run(1), Reason::AtLimit)), "the summary says it");
    assert!(!of(&Run { deleted_at: Some(at(1)), ..run(1) }));
}

#[test]
fn names_are_camel_case_in_json_and_snake_case_in_labels() {
    fn snake(camel: &str) -> String {
        let mut snake = String::new();
        for letter in camel.chars() {
            if letter.is_ascii_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        snake
    }
    let kinds = DriftKind::ALL.iter().map(|kind| (kind.as_str(), kind.label()));
    let blockers = Blocker::ALL.iter().map(|one| (one.as_str(), one.label()));
    let steps = NextStep::ALL.iter().map(|step| (step.as_str(), step.label()));
    for (name, label) in kinds.chain(blockers).chain(steps) {
        assert_eq!(snake(name), label);
    }
    for reason in Reason::ALL {
        let blocker = Blocker::of(*reason);
        assert!(blocker.is_none_or(|blocker| blocker.as_str() == reason.as_str()), "{reason}");
    }
    assert_eq!(DriftKind::ALL.len(), 8);
}
