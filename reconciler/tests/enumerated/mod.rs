//! The product of possible observations, sampled evenly.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    Answer, AtWork, Attempt, AttemptId, Boot, BootPromise, BudgetStop, Cause, Class, ClassName,
    ClockCheck, Conclusion, Condition, End, Ended, EndedBy, ForgeRead, InstallationId, Job, JobRef,
    JobTimes, Machine, MachineId, MachineOptions, MachineSpec, MachineState, Market, MicroUsd,
    Observation, ObservedClass, OpenBreaker, Outcome, PastAttempt, PastPlacement, Pause, Phase,
    Placement, Reason, Refusal, Refused, Registration, Registrations, Run, RunName, Runner, Secret,
    SeenBy, Spec, Times, Uid8, UnavailableOffering,
};
use tinqs_ci_reconciler::ports::ErrorKind;

/// The result of a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Launching {
    /// A machine that boots.
    Boots,
    /// The dead machine with the same token.
    Dead,
    /// An error: no machine, or an unknown result.
    Fails(ErrorKind),
}

/// All results, used in turn.
pub(crate) const LAUNCHES: [Launching; 6] = [
    Launching::Boots,
    Launching::Fails(ErrorKind::NoCapacity),
    Launching::Fails(ErrorKind::Unavailable),
    Launching::Dead,
    Launching::Fails(ErrorKind::Limit),
    Launching::Fails(ErrorKind::Invalid),
];

/// The number of choices for: job, record, attempt, end, age, machine, registration, others, class,
/// clock.
const SIZES: [u64; 10] = [7, 9, 7, 5, 6, 9, 7, 9, 11, 5];
/// The sampling interval: a prime that divides no size, so that every pair of choices occurs.
const STRIDE: u64 = 331;

/// Returns the sampled indices of the product.
pub(crate) fn product() -> impl Iterator<Item = u64> {
    let all: u64 = SIZES.iter().product();
    (0..all / STRIDE).map(|n| n * STRIDE)
}

/// The time of every observation.
pub(crate) fn now() -> Timestamp {
    Timestamp::constant(1_767_268_800, 0)
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

fn machine(kind: &str) -> MachineSpec {
    MachineSpec {
        kind: kind.to_owned(),
        subnet: String::new(),
        market: Market::Spot,
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    }
}

/// Returns one observation of the product.
pub(crate) fn observation(index: u64) -> Observation {
    let mut rest = index;
    let [job, record, attempt, end, age, machine, row, other, class, clock] = SIZES.map(|size| {
        let choice = rest % size;
        rest /= size;
        choice
    });
    let age = [0, 30, 601, 1259, 1260, 1400][at(age)];
    let mut run = record_of(record, clock);
    let attempt_id = run.attempt_id(1);
    if record != 8 {
        run.status.attempt = attempt_of(attempt, end, age, &attempt_id);
    }
    let recorded_here = (age == 0).then(|| {
        let current = run.status.attempt.as_ref().map_or(0, Attempt::current);
        (1, current)
    });
    let mut seen = Observation {
        now: now(),
        // Most of the product is about a clock that agrees.
        clock: if index % 5 == 4 { ClockCheck::Ahead } else { ClockCheck::Agrees },
        installation: InstallationId::of("test"),
        name: run.name.clone(),
        job: job_of(job, &attempt_id),
        times: JobTimes::default(),
        recorded_here,
        machines: machine_of(machine, &attempt_id, age),
        registrations: rows_of(row, &attempt_id),
        seats: Vec::new(),
        turn_of: Vec::new(),
        room: class != 5,
        forge_read: None,
        at_work: Vec::new(),
        canceled: Vec::new(),
        elsewhere: None,
        rerun: None,
        no_replacement: (end + machine) % 2 == 1,
        nearest: None,
        class: class_of(class),
        run: Some(run),
    };
    others(other, &mut seen);
    if other == 0 {
        let on_own = job != 2 && machine != 0;
        let on_other = AttemptId { run: RunName::job(41), ..attempt_id.clone() };
        taken_back(&mut seen, if on_own { &attempt_id } else { &on_other });
    }
    if record == 8 {
        seen.run = None;
    }
    seen
}

fn at(choice: u64) -> usize {
    usize::try_from(choice).expect("a small number")
}

fn job_of(choice: u64, attempt_id: &AttemptId) -> Job {
    match choice {
        0 => Job::Waiting,
        1 => Job::Running { runner: attempt_id.to_string() },
        2 => Job::Running { runner: "office-pc".to_owned() },
        3 => Job::Done { conclusion: Conclusion::Failure },
        4 => Job::Absent,
        5 => Job::Blocked,
        _ => Job::Unobservable,
    }
}

/// Returns a record in a phase, possibly deleted; the last choice stands for no record.
fn record_of(choice: u64, clock: u64) -> Run {
    let spec = Spec {
        job: JobRef { repo: "acme/site".to_owned(), repo_id: 7, job_id: 42 },
        runs_on: vec!["linux".to_owned()],
        ..Spec::default()
    };
    let mut run = Run::new("test", RunName::job(42), spec, SeenBy::Poll, ago(3600));
    let status = &mut run.status;
    status.next = 2;
    status.phase = [
        Phase::Waiting,
        Phase::Starting,
        Phase::Running,
        Phase::Finished,
        Phase::Finished,
        Phase::Waiting,
        Phase::Waiting,
        Phase::Finished,
        Phase::Waiting,
    ][at(choice)];
    let scrambled = clock == 4;
    if status.phase == Phase::Finished && !scrambled {
        let long = if clock == 1 { 8 * 24 * 3600 } else { 600 };
        status.finished_at = Some(ago(long));
        status.outcome = Some(if choice == 4 { Outcome::GaveUp } else { Outcome::Succeeded });
    }
    let condition = |reason| vec![Condition { reason, since: ago(60), message: String::new() }];
    match choice {
        5 => status.conditions = condition(Reason::NoClass),
        6 => status.conditions = condition(Reason::Blocked),
        7 => run.deleted_at = Some(ago(if clock == 1 { 8 * 24 * 3600 } else { 30 })),
        _ => {}
    }
    if choice == 7 && clock == 2 {
        run.terminate_now = true;
    }
    let status = &mut run.status;
    status.waiting_since = match clock {
        0 => ago(60),
        1 => ago(25 * 3600),
        2 => ago(600),
        3 => ago(24 * 3600),
        _ => Timestamp::MAX,
    };
    match clock {
        2 => (status.failures, status.retry_at) = (3, Some(ago(-60))),
        3 => (status.failures, status.retry_at) = (1, Some(ago(0))),
        4 => {
            (status.failures, status.retry_at) = (u32::MAX, Some(Timestamp::MAX));
            (status.next, status.due) = (0, Timestamp::MAX);
        }
        _ => {}
    }
    run
}

fn attempt_of(choice: u64, end: u64, age: i64, attempt_id: &AttemptId) -> Option<Attempt> {
    let open = |kind: &str| Placement::new(machine(kind));
    let refused = |why| Some(Refused { why, at: ago((age - 20).max(0)) });
    let answer = Answer { id: MachineId("i-1".to_owned()), at: ago(age) };
    let placements = match choice {
        0 => return None,
        1 => vec![open("a")],
        2 => vec![Placement { asked_again: true, ..open("a") }],
        3 => vec![Placement { answered: Some(answer), ..open("a") }],
        4 => vec![Placement { refused: refused(Refusal::NoCapacity), ..open("a") }],
        5 => vec![Placement { refused: refused(Refusal::Limit), ..open("a") }],
        _ => vec![Placement { refused: refused(Refusal::NoCapacity), ..open("a") }, open("b")],
    };
    let why = match end {
        0 => None,
        1 => Some(End::Consumed),
        2 => Some(End::MachineGone),
        3 => Some(End::NeverReady),
        _ => Some(End::Refused(Refusal::NoCapacity)),
    };
    Some(Attempt {
        number: 1,
        decided_at: ago(age),
        class: ClassName("linux".to_owned()),
        runner: Runner {
            repo_id: 0,
            id: 101,
            uuid: String::new(),
            name: attempt_id.to_string(),
            labels: Vec::new(),
            token: Secret::new("token"),
        },
        boot: Boot {
            deadline: ago(age - 6 * 3600),
            idle_within: SignedDuration::from_mins(2),
            start_by: None,
            hold: SignedDuration::ZERO,
            instance_url: String::new(),
            git_token: None,
        },
        placements,
        ended: why.map(|why| Ended { why, at: ago(30) }),
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    })
}

fn seen_machine(attempt_id: &AttemptId, state: MachineState, launched_at: Timestamp) -> Machine {
    Machine {
        id: MachineId("i-1".to_owned()),
        attempt_id: attempt_id.clone(),
        placement: 0,
        state,
        launched_at,
        deadline: ago(-3600),
        registration: 101,
        repo_id: 0,
        promise: None,
        ended_by: None,
        ended_at: None,
        state_reason: None,
        class: ClassName("linux".to_owned()),
        kind: "a".to_owned(),
        zone: String::new(),
        market: Market::Spot,
    }
}

fn machine_of(choice: u64, attempt_id: &AttemptId, age: i64) -> Vec<Machine> {
    let state = match choice {
        0 => return Vec::new(),
        1 | 5 => MachineState::Booting,
        2 | 6 | 7 => MachineState::Up,
        3 => MachineState::Ending,
        _ => MachineState::Gone,
    };
    // Choices 5 and 6 are late whatever their attempt's age, choice 7 is past its deadline.
    let launched = if choice == 5 || choice == 6 { ago(500) } else { ago(age) };
    let mut first = seen_machine(attempt_id, state, launched);
    if choice == 7 {
        first.deadline = ago(121);
    }
    let twin = (choice == 8).then(|| Machine {
        id: MachineId("i-2".to_owned()),
        placement: 1,
        ..seen_machine(attempt_id, MachineState::Up, ago(age))
    });
    std::iter::once(first).chain(twin).collect()
}

fn row(id: i64, attempt_id: &AttemptId) -> Registration {
    Registration {
        repo_id: 0,
        id,
        attempt_id: attempt_id.clone(),
        uuid: None,
        online: false,
        busy: false,
        disabled: None,
        disabled_since: None,
        missing_since: None,
    }
}

fn rows_of(choice: u64, attempt_id: &AttemptId) -> Registrations {
    let own = row(101, attempt_id);
    Registrations::Seen(vec![match choice {
        0 => return Registrations::Unknown,
        1 => return Registrations::Seen(Vec::new()),
        2 => own,
        3 => Registration { online: true, ..own },
        4 => Registration { online: true, busy: true, ..own },
        5 => Registration { missing_since: Some(now()), ..own },
        _ => Registration { missing_since: Some(ago(61)), ..own },
    }])
}

/// Adds what else there may be: seats, duplicates, void numbers, older incarnations, past attempts.
fn others(choice: u64, seen: &mut Observation) {
    let class = ClassName("linux".to_owned());
    let Some(run) = &mut seen.run else { return };
    let (first, void) = (run.attempt_id(1), run.attempt_id(7));
    let stranger = AttemptId { uid: Uid8("9f86ffffeeee".to_owned()), ..run.attempt_id(3) };
    match choice {
        1 => seen.seats.push((class.clone(), first.clone())),
        2 => {
            let big = ClassName("big".to_owned());
            seen.seats = vec![(class.clone(), run.attempt_id(2)), (big, first.clone())];
        }
        3 => {
            run.status.next = run.status.next.max(9);
            seen.seats.push((class.clone(), void.clone()));
            seen.machines.push(Machine {
                id: MachineId("i-7".to_owned()),
                registration: 107,
                repo_id: 0,
                ..seen_machine(&void, MachineState::Up, ago(900))
            });
        }
        4 => {
            seen.seats.push((class.clone(), stranger.clone()));
            seen.machines.push(Machine {
                id: MachineId("i-3".to_owned()),
                registration: 103,
                repo_id: 0,
                ..seen_machine(&stranger, MachineState::Gone, ago(900))
            });
        }
        5 => {
            let answered = Some(Answer { id: MachineId("i-6".to_owned()), at: ago(800) });
            run.status.next = 8;
            run.status.past.push(PastAttempt {
                number: 6,
                decided_at: ago(801),
                class: class.clone(),
                registration: 106,
                repo_id: 0,
                deadline: Some(ago(-21_600)),
                promise: None,
                placements: vec![PastPlacement { answered, refused: None }],
                ended: Ended { why: End::NeverReady, at: ago(400) },
                hung_since: None,
                boot_result: None,
                state_reason: None,
                log: None,
            });
            let attempt_id = run.attempt_id(6);
            seen.machines.push(Machine {
                id: MachineId("i-6".to_owned()),
                registration: 106,
                repo_id: 0,
                ..seen_machine(&attempt_id, MachineState::Up, ago(800))
            });
        }
        6..=8 => hung(choice == 6, run, &mut seen.machines),
        _ => {}
    }
    if choice >= 6 {
        let (steady_since, at) = (ago(3_600), now());
        seen.forge_read = Some(ForgeRead { steady_since, at, cannot_disable: false });
        seen.at_work = vec![AtWork { repo_id: 0, runners: Vec::new() }];
    }
    let past = run.attempt_id(6);
    if let Registrations::Seen(rows) = &mut seen.registrations {
        match choice {
            1 => rows.push(row(99, &first)),
            2 => rows.push(row(102, &run.attempt_id(2))),
            3 => rows.push(Registration { busy: true, ..row(107, &void) }),
            4 => rows.push(row(103, &stranger)),
            5 => rows.push(Registration { online: true, busy: true, ..row(106, &past) }),
            6..=8 => {
                let disabled_since = (choice == 8).then(|| ago(10));
                let disabled = Some(choice != 7);
                rows.push(Registration { disabled, disabled_since, ..row(106, &past) });
            }
            _ => {}
        }
    }
}

/// Adds a past attempt whose machine hangs, read once by the record or not yet.
fn hung(read: bool, run: &mut Run, machines: &mut Vec<Machine>) {
    let answered = Some(Answer { id: MachineId("i-6".to_owned()), at: ago(2_600) });
    let idle_within = SignedDuration::from_mins(2);
    run.status.next = 8;
    run.status.past.push(PastAttempt {
        number: 6,
        decided_at: ago(2_601),
        class: ClassName("linux".to_owned()),
        registration: 106,
        repo_id: 0,
        deadline: Some(ago(-21_600)),
        promise: Some(BootPromise {
            start_by: ago(2_001),
            idle_within,
            hold: SignedDuration::ZERO,
        }),
        placements: vec![PastPlacement { answered, refused: None }],
        ended: Ended { why: End::NeverReady, at: ago(2_200) },
        hung_since: read.then(|| ago(300)),
        boot_result: None,
        state_reason: None,
        log: None,
    });
    machines.push(Machine {
        id: MachineId("i-6".to_owned()),
        registration: 106,
        ..seen_machine(&run.attempt_id(6), MachineState::Up, ago(2_600))
    });
}

/// The cloud took the machines that are gone, and the one of the runner on which the job ran: also
/// of another run.
fn taken_back(seen: &mut Observation, attempt_id: &AttemptId) {
    if attempt_id.run != seen.name {
        let machine = seen_machine(attempt_id, MachineState::Gone, ago(900));
        seen.elsewhere = Some(Machine { ended_by: Some(EndedBy::Cloud), ..machine });
        if let Job::Running { runner } = &mut seen.job {
            *runner = attempt_id.to_string();
        }
    }
    for machine in seen.machines.iter_mut().filter(|one| one.state == MachineState::Gone) {
        machine.ended_by = Some(EndedBy::Cloud);
    }
    if let Some(run) = seen.run.as_mut().filter(|run| run.status.phase == Phase::Running) {
        run.spec.about.run_id = 9;
        run.status.runner = Some(attempt_id.to_string());
    }
}

fn class_of(choice: u64) -> Option<ObservedClass> {
    let because = |kind: &str, seconds: i64, cause| UnavailableOffering {
        machine: machine(kind),
        until: ago(-seconds),
        cause,
    };
    let unavailable = |kind: &str, seconds: i64| because(kind, seconds, Cause::Capacity);
    let breaker = |seconds: i64| {
        let (why, message) = (Refusal::Invalid, "no such image".to_owned());
        Some(OpenBreaker { why, message, since: ago(60), until: ago(-seconds) })
    };
    let class = Class {
        name: ClassName("linux".to_owned()),
        labels: vec!["linux:host".to_owned()],
        serves_unlabeled: false,
        machines: vec![machine("a"), machine("b")],
        limit: None,
        repo_limit: None,
        owner_limit: None,
        rerun: tinqs_ci_reconciler::model::RerunPolicy::default(),
        budget: None,
        allocation: tinqs_ci_reconciler::model::Allocation::Order,
        repos: Vec::new(),
        times: Times::default(),
    };
    Some(match choice {
        0 => return None,
        1 => Class { limit: Some(3), repo_limit: Some(2), ..class }.into(),
        2 => ObservedClass { unavailable: vec![unavailable("a", 60)], ..class.into() },
        3 => {
            let unavailable = vec![unavailable("a", 60), unavailable("b", 30)];
            ObservedClass { unavailable, ..class.into() }
        }
        6 => ObservedClass { breaker: breaker(240), ..class.into() },
        7 => {
            let unavailable = vec![unavailable("a", 60), unavailable("b", 30)];
            ObservedClass { unavailable, breaker: breaker(0), ..class.into() }
        }
        8 => {
            let none = ["a", "b"].map(|kind| because(kind, 3_000, Cause::Unsupported));
            ObservedClass { unavailable: none.into(), ..class.into() }
        }
        9 => {
            let pause = Pause { class: None, since: ago(60), by: "ops".to_owned() };
            ObservedClass { paused: Some(pause), ..class.into() }
        }
        10 => {
            let stop = BudgetStop { budget: MicroUsd(1), unpriced: None, until: ago(-90) };
            ObservedClass { budget_stop: Some(stop), ..class.into() }
        }
        _ => class.into(),
    })
}
