//! The usage of a finished run: a table of lives of machines, and that each second counts once.

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{
    About, Amount, Attempt, Boot, ClassName, End, Ended, EndedBy, JobRef, Machine, MachineId,
    MachineOptions, MachineSpec, MachineState, Market, MicroUsd, Outcome, Phase, Placement, Run,
    RunName, Runner, Seconds, Secret, SeenBy, Spec, Usage, decode, encode,
};
use tinqs_ci_reconciler::plan::usage::Sighted;
use tinqs_ci_reconciler::plan::{record, usage};

/// The price of every machine: one dollar an hour.
const PRICE: MicroUsd = MicroUsd(1_000_000);

fn at(second: i64) -> Timestamp {
    // 23:50 in UTC: an hour crosses midnight.
    Timestamp::constant(1_767_311_400, 0) + SignedDuration::from_secs(second)
}

fn attempt(run: &Run, number: u32, ended: Option<(End, i64)>) -> Attempt {
    let machine = MachineSpec {
        kind: "c7a.large".to_owned(),
        subnet: String::new(),
        market: Market::Spot,
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    };
    Attempt {
        number,
        decided_at: at(0),
        class: ClassName("linux".to_owned()),
        runner: Runner {
            id: 100 + i64::from(number),
            repo_id: 7,
            uuid: "uuid".to_owned(),
            name: run.attempt_id(number).to_string(),
            labels: vec!["linux:host".to_owned()],
            token: Secret::new("token"),
        },
        boot: Boot {
            deadline: at(6 * 3_600),
            idle_within: SignedDuration::from_secs(120),
            instance_url: "https://forge".to_owned(),
            git_token: None,
            start_by: Some(at(20 * 60)),
            hold: SignedDuration::ZERO,
        },
        placements: vec![Placement::new(machine)],
        ended: ended.map(|(why, second)| Ended { why, at: at(second) }),
        state_reason: None,
        log: None,
        hung_since: None,
        boot_result: None,
    }
}

/// A run with one attempt.
fn run(ended: Option<(End, i64)>) -> Run {
    let spec = Spec {
        job: JobRef { repo: "acme/site".to_owned(), repo_id: 7, job_id: 1 },
        runs_on: vec!["linux".to_owned()],
        about: About { workflow: "test.yml".to_owned(), ..About::default() },
        ..Spec::default()
    };
    let mut run = Run::new("test", RunName::job(1), spec, SeenBy::Poll, at(0));
    run.status.next = 2;
    run.status.attempt = Some(attempt(&run, 1, ended));
    run
}

/// The same, with its job on a runner from one second to another.
fn ran(mut run: Run, runner: &str, from: i64, to: i64, outcome: Outcome) -> Run {
    run.status.runner = Some(runner.to_owned());
    run.status.wait.started_at = Some(at(from));
    over(run, to, outcome)
}

fn over(mut run: Run, second: i64, outcome: Outcome) -> Run {
    run.status.phase = Phase::Finished;
    run.status.outcome = Some(outcome);
    run.status.finished_at = Some(at(second));
    run
}

/// A machine of an attempt that lived from one second to another.
fn machine(run: &Run, number: u32, from: i64, to: Option<(i64, EndedBy)>) -> Machine {
    Machine {
        id: MachineId(format!("i-{number}")),
        attempt_id: run.attempt_id(number),
        placement: 0,
        state: if to.is_some() { MachineState::Gone } else { MachineState::Up },
        launched_at: at(from),
        deadline: at(6 * 3_600),
        registration: 100 + i64::from(number),
        repo_id: 7,
        ended_by: to.map(|(_, by)| by),
        ended_at: to.map(|(second, _)| at(second)),
        state_reason: None,
        class: ClassName("linux".to_owned()),
        kind: "c7a.large".to_owned(),
        zone: String::new(),
        market: Market::Spot,
        promise: None,
    }
}

fn count(run: &mut Run, machines: &[Machine], second: i64) -> Option<Usage> {
    usage::note(run, machines, |_| Some(PRICE), |_| Sighted::default(), Some(at(second)));
    usage::count(run, None, at(second))
}

/// Boot, idle, busy, lost.
type Split = (u64, u64, u64, u64);

fn split(amount: &Amount) -> Split {
    let Seconds { boot, idle, busy, lost } = amount.seconds;
    (boot, idle, busy, lost)
}

/// The second in which a machine ended, and the party that ended it.
type Life = (i64, EndedBy);
/// Description, run, end of its machine, number of jobs, and seconds.
type Case = (&'static str, Run, Life, u64, Split);

const OTHER: &str = "tq-job-2-0a1b2c3d-1";

fn consumed(second: i64) -> (End, i64) {
    (End::Consumed, second)
}

fn itself(second: i64) -> Life {
    (second, EndedBy::Itself)
}

fn cloud(second: i64) -> Life {
    (second, EndedBy::Cloud)
}

#[rustfmt::skip]
fn with_a_job() -> Vec<Case> {
    use Outcome::{Failed, MachineLost, MaxAge, Succeeded};
    let own = run(None).attempt_id(1).to_string();
    vec![
        ("its own job ran on it", ran(run(Some(consumed(31))), &own, 30, 90, Succeeded), itself(97), 1, (30, 7, 60, 0)),
        ("it was gone before the job's end was seen", ran(run(Some(consumed(31))), &own, 30, 90, Failed), itself(80), 1, (30, 0, 50, 0)),
        ("the cloud took it mid-job", ran(run(Some(consumed(31))), &own, 30, 900, MachineLost), cloud(70), 1, (30, 0, 0, 40)),
        ("its deadline came mid-job", ran(run(Some(consumed(31))), &own, 30, 900, MaxAge), itself(330), 1, (30, 0, 0, 300)),
        ("the job was too short to be seen", ran_unseen(run(Some(consumed(40))), 30, 33), itself(41), 1, (30, 8, 3, 0)),
        ("the forge's clock is behind", ran(run(Some(consumed(31))), &own, -5, 90, Succeeded), itself(97), 1, (0, 7, 90, 0)),
        ("another job took it", ran(run(Some(consumed(45))), OTHER, 60, 90, Succeeded), itself(300), 1, (45, 0, 255, 0)),
        ("push mode: the job is not seen", over(run(Some(consumed(45))), 310, Outcome::MachineEnded), itself(300), 1, (45, 0, 255, 0)),
    ]
}

#[rustfmt::skip]
fn without_a_job() -> Vec<Case> {
    use Outcome::{Cancelled, Succeeded};
    let (gone, never) = (Some((End::MachineGone, 99)), Some((End::NeverReady, 301)));
    vec![
        ("it idled as long as it may", ran(run(None), OTHER, 10, 20, Succeeded), itself(155), 1, (35, 120, 0, 0)),
        ("it ended by itself before that", ran(run(None), OTHER, 10, 20, Succeeded), itself(90), 1, (0, 0, 0, 90)),
        ("the cloud took it while idle", ran(run(gone), OTHER, 10, 20, Succeeded), cloud(95), 1, (0, 0, 0, 95)),
        ("it never came online", over(run(never), 400, Cancelled), (3_600, EndedBy::Request), 0, (0, 0, 0, 3_600)),
        ("it ended as it was launched", over(run(gone), 400, Cancelled), cloud(0), 0, (0, 0, 0, 0)),
    ]
}

#[test]
fn the_seconds_of_a_machine_are_divided_by_their_use() {
    for (what, mut run, to, jobs, expected) in with_a_job().into_iter().chain(without_a_job()) {
        let seen = machine(&run, 1, 0, Some(to));
        let life = u64::try_from(to.0).expect("positive");
        let found = count(&mut run, &[seen], 5_000);
        let Some(Usage { amount, .. }) = found else {
            // Nothing ran, and a machine that did not live costs nothing.
            assert_eq!((jobs, life), (0, 0), "{what}");
            continue;
        };
        assert_eq!((amount.jobs, split(&amount)), (jobs, expected), "{what}");
        assert_eq!(amount.seconds.total(), life, "{what}: its life");
        assert_eq!(amount.cost, PRICE.for_seconds(life), "{what}: its cost");
    }
}

/// The job was over before it was seen running: its runner is not known.
fn ran_unseen(mut run: Run, from: i64, to: i64) -> Run {
    run.status.wait.started_at = Some(at(from));
    over(run, to, Outcome::Succeeded)
}

#[test]
fn a_run_is_counted_once_its_machines_have_ended() {
    let own = run(None).attempt_id(1).to_string();
    let consumed = Some((End::Consumed, 31));
    let mut open = run(consumed);
    let live = machine(&open, 1, 0, None);
    assert_eq!(count(&mut open, std::slice::from_ref(&live), 40), None, "it is not over");
    let mut run = ran(open, &own, 30, 90, Outcome::Succeeded);
    assert_eq!(count(&mut run, std::slice::from_ref(&live), 91), None, "its machine is up");
    assert!(usage::awaits_end(&run));
    let ending = Machine { state: MachineState::Ending, ended_at: None, ..live.clone() };
    assert_eq!(count(&mut run, &[ending], 92), None, "when it ended is not known yet");
    let gone = machine(&run, 1, 0, Some((97, EndedBy::Itself)));
    let found = count(&mut run, std::slice::from_ref(&gone), 150).expect("counted");
    assert_eq!(found.key.day.to_string(), "2026-01-01", "the day on which the run finished");
    assert_eq!((found.key.class.0.as_str(), found.key.repo.as_str()), ("linux", "acme/site"));
    assert_eq!(found.key.workflow, "test.yml");
    assert!(!usage::awaits_end(&run));
    // Again and again, also where a stale list shows it alive.
    for seen in [gone.clone(), live, gone] {
        assert_eq!(count(&mut run, &[seen], 160), None);
    }
    assert_eq!(decode(&encode(&run)).expect("a record"), run);
}

#[test]
fn a_record_lacks_the_end_of_a_machine_until_it_is_noted_and_counted() {
    let own = run(None).attempt_id(1).to_string();
    let consumed = Some((End::Consumed, 31));
    let mut open = run(consumed);
    let gone = machine(&open, 1, 0, Some((97, EndedBy::Itself)));
    assert!(usage::lacks_end(&open, &gone), "it was never noted");
    let live = machine(&open, 1, 0, None);
    count(&mut open, std::slice::from_ref(&live), 40);
    assert!(usage::lacks_end(&open, &gone), "it was noted as up");
    let mut run = ran(open.clone(), &own, 30, 90, Outcome::Succeeded);
    count(&mut run, &[live], 91);
    assert!(usage::lacks_end(&run, &gone));
    count(&mut open, std::slice::from_ref(&gone), 98);
    assert!(!usage::lacks_end(&open, &gone), "it counts when the run is finished");
    let left = ran(open, &own, 30, 90, Outcome::Succeeded);
    assert!(usage::lacks_end(&left, &gone), "finished by a write that did not count");
    assert!(count(&mut run, std::slice::from_ref(&gone), 99).is_some());
    assert!(!usage::lacks_end(&run, &gone), "it is counted");
    let later = Run::new("test", RunName::job(1), Spec::default(), SeenBy::Poll, at(1));
    assert!(!usage::lacks_end(&later, &gone), "another run had its name before");
}

#[test]
fn a_run_that_is_opened_again_counts_only_what_is_new() {
    let own = run(None).attempt_id(1).to_string();
    let mut run = ran(run(Some((End::Consumed, 31))), &own, 30, 90, Outcome::Failed);
    let first = machine(&run, 1, 0, Some((97, EndedBy::Itself)));
    assert_eq!(count(&mut run, std::slice::from_ref(&first), 150).expect("counted").amount.jobs, 1);
    let old = run.status.attempt.take().expect("an attempt");
    let ended = Ended { why: End::Consumed, at: at(31) };
    run.status.past.push(old.into_past(ended));
    run.status.phase = Phase::Starting;
    (run.status.outcome, run.status.finished_at) = (None, None);
    run.status.attempt = Some(attempt(&run, 2, Some((End::Consumed, 231))));
    let second = machine(&run, 2, 200, Some((300, EndedBy::Itself)));
    assert_eq!(count(&mut run, &[first.clone(), second.clone()], 310), None, "it is open");
    let runner = run.attempt_id(2).to_string();
    let mut run = ran(run, &runner, 230, 290, Outcome::Succeeded);
    let found = count(&mut run, &[first, second], 320).expect("counted").amount;
    assert_eq!((found.jobs, split(&found)), (1, (30, 10, 60, 0)));
}

#[test]
fn what_is_left_counts_when_the_record_goes() {
    let own = run(None).attempt_id(1).to_string();
    let mut finished = ran(run(Some((End::Consumed, 31))), &own, 30, 90, Outcome::Succeeded);
    let live = machine(&finished, 1, 0, None);
    assert_eq!(count(&mut finished, &[live], 91), None);
    let rest = usage::count_rest(&mut finished, None, at(90_000)).expect("its machine").amount;
    assert_eq!((split(&rest), rest.unknown_end), ((30, 0, 0, 0), 90_000 - 30), "who knows");
    assert_eq!(rest.cost, PRICE.for_seconds(30));
    assert_eq!(usage::count_rest(&mut finished, None, at(90_001)), None);

    let mut deleted = run(Some((End::Deleted, 50)));
    deleted.delete(at(50), true, None);
    let gone = machine(&deleted, 1, 0, Some((60, EndedBy::Request)));
    assert_eq!(count(&mut deleted, &[gone], 70), None, "a deleted run never finishes");
    let rest = usage::count_rest(&mut deleted, None, at(80)).expect("its machine").amount;
    assert_eq!((rest.jobs, split(&rest)), (0, (0, 0, 0, 60)));
}

#[test]
fn notes_about_machines_are_written_with_other_changes_or_before_they_are_forgotten() {
    let stored = run(None);
    let worth = |run: &Run, second: i64| record::worth_writing(&stored, &run.status, at(second));
    let mut noted = stored.clone();
    let live = machine(&noted, 1, 0, None);
    usage::note(&mut noted, &[live], |_| None, |_| Sighted::default(), Some(at(10)));
    assert_eq!(noted.status.usage.machines.len(), 1);
    assert!(!worth(&noted, 10), "a live machine is listed again");
    let gone = machine(&noted, 1, 0, Some((60, EndedBy::Itself)));
    usage::note(&mut noted, &[gone], |_| None, |_| Sighted::default(), Some(at(61)));
    assert!(!worth(&noted, 61), "an ended one for half an hour and more");
    assert!(worth(&noted, 60 + 16 * 60));
    let twice = record::worth_writing(&noted, &noted.status, at(60 + 16 * 60));
    assert!(!twice, "it is noted");
}

#[test]
fn a_run_with_many_machines_stays_short_and_counts_all() {
    let mut run = run(None);
    for number in 1..=180 {
        let from = i64::from(number) * 480;
        run.status.attempt = Some(attempt(&run, number, Some((End::MachineGone, from + 60))));
        let seen = machine(&run, number, from, Some((from + 60, EndedBy::Cloud)));
        let sighted = |_: &_| Sighted::default();
        usage::note(&mut run, &[seen], |_| Some(PRICE), sighted, Some(at(from + 61)));
        assert!(run.status.usage.machines.len() <= 17, "{}", run.status.usage.machines.len());
    }
    let mut run = over(run, 90_000, Outcome::GaveUp);
    let found = count(&mut run, &[], 90_000).expect("counted").amount;
    assert_eq!(split(&found), (0, 0, 0, 180 * 60));
    assert_eq!(found.cost, MicroUsd(PRICE.for_seconds(60).0 * 180));
}

#[test]
fn a_job_on_a_runner_that_is_not_ours_counts_nothing() {
    let mut elsewhere = run(None);
    elsewhere.status.attempt = None;
    let mut elsewhere = ran(elsewhere, "a runner of somebody else", 5, 50, Outcome::Succeeded);
    assert_eq!(count(&mut elsewhere, &[], 60), None);
    let mut canceled = over(run(None), 50, Outcome::Cancelled);
    canceled.status.attempt = None;
    assert_eq!(count(&mut canceled, &[], 60), None);
    // On a machine of another run, it is a job, and the seconds are counted there.
    let mut other = run(None);
    other.status.attempt = None;
    let mut other = ran(other, "tq-job-2-0a1b2c3d-1", 5, 50, Outcome::Succeeded);
    let found = count(&mut other, &[], 60).expect("a job").amount;
    assert_eq!((found.jobs, found.seconds.total()), (1, 0));
    assert_eq!(count(&mut other, &[], 61), None, "once");
}

#[test]
fn a_second_without_a_price_is_not_free() {
    let own = run(None).attempt_id(1).to_string();
    let mut run = ran(run(Some((End::Consumed, 31))), &own, 30, 90, Outcome::Succeeded);
    let gone = machine(&run, 1, 0, Some((97, EndedBy::Itself)));
    usage::note(&mut run, &[gone], |_| None, |_| Sighted::default(), Some(at(100)));
    let found = usage::count(&mut run, None, at(100)).expect("counted").amount;
    assert_eq!((found.known_cost(), found.unpriced, found.seconds.total()), (None, 97, 97));
}

/// A machine that is gone, without a time.
fn undated(run: &Run) -> Machine {
    Machine { ended_at: None, ended_by: None, ..machine(run, 1, 0, Some((0, EndedBy::Itself))) }
}

fn sighted(live: Option<i64>, over: Option<i64>) -> Sighted {
    Sighted { live_at: live.map(at), over_at: over.map(at), ..Sighted::default() }
}

#[test]
fn an_end_that_nobody_dates_counts_by_the_lists_or_is_unknown() {
    let own = run(None).attempt_id(1).to_string();
    let with_job = || ran(run(Some((End::Consumed, 31))), &own, 30, 90, Outcome::Succeeded);
    let without = || over(run(Some((End::MachineGone, 99))), 400, Outcome::Cancelled);
    let other = || ran(run(Some((End::Consumed, 31))), OTHER, 30, 90, Outcome::Succeeded);
    #[rustfmt::skip]
    let cases: [(&str, Run, Sighted, Split, u64); 7] = [
        ("the lists showed it end", with_job(), sighted(Some(85), Some(120)), (30, 30, 60, 0), 0),
        ("three minutes are near enough", with_job(), sighted(Some(85), Some(265)), (30, 175, 60, 0), 0),
        ("no list did for longer", with_job(), sighted(Some(85), Some(266)), (30, 0, 55, 0), 181),
        ("it was idle when last seen", with_job(), sighted(Some(100), Some(4_000)), (30, 10, 60, 0), 3_900),
        ("no list ever showed it: it was up when its job began", with_job(), sighted(None, None), (30, 0, 0, 0), 4_970),
        ("another job ran elsewhere", other(), sighted(None, Some(4_000)), (0, 0, 0, 0), 4_000),
        ("without a job", without(), sighted(Some(50), Some(4_000)), (0, 0, 0, 50), 3_950),
    ];
    for (what, mut run, sighted, expected, unknown) in cases {
        let live = machine(&run, 1, 0, None);
        let gone = undated(&run);
        usage::note(&mut run, &[live], |_| Some(PRICE), |_| Sighted::default(), Some(at(20)));
        usage::note(&mut run, &[gone], |_| Some(PRICE), |_| sighted, Some(at(5_000)));
        assert!(!usage::awaits_end(&run), "{what}");
        let amount = usage::count(&mut run, None, at(5_000)).expect(what).amount;
        assert_eq!((split(&amount), amount.unknown_end), (expected, unknown), "{what}");
        assert_eq!(amount.cost, PRICE.for_seconds(amount.seconds.total()), "{what}: its cost");
        assert_eq!(decode(&encode(&run)).expect("a record"), run);
    }
}

/// A cloud that cannot be reached for longer than it lists an ended machine, from soon after the end.
#[test]
fn an_end_that_was_listed_counts_when_no_list_shows_the_machine_any_more() {
    let own = run(None).attempt_id(1).to_string();
    let mut run = ran(run(Some((End::Consumed, 31))), &own, 30, 90, Outcome::Succeeded);
    let live = machine(&run, 1, 0, None);
    usage::note(&mut run, &[live], |_| Some(PRICE), |_| Sighted::default(), Some(at(20)));
    let later = at(3 * 3_600);
    usage::note(&mut run, &[], |_| Some(PRICE), |_| sighted(Some(85), None), Some(later));
    assert!(usage::awaits_end(&run), "lists showed it up only");
    let told = Sighted { ended_at: Some(at(97)), ..sighted(Some(90), Some(120)) };
    usage::note(&mut run, &[], |_| Some(PRICE), |_| told, Some(at(120)));
    let amount = usage::count(&mut run, None, later).expect("its end is known").amount;
    assert_eq!((split(&amount), amount.unknown_end), ((30, 7, 60, 0), 0));
}

#[test]
fn the_best_evidence_of_an_end_is_kept() {
    let own = run(None).attempt_id(1).to_string();
    let mut run = run(Some((End::Consumed, 31)));
    let (live, gone) = (machine(&run, 1, 0, None), undated(&run));
    let note = |run: &mut Run, seen: &Machine, sighted: Sighted, second| {
        usage::note(
            run,
            std::slice::from_ref(seen),
            |_| Some(PRICE),
            |_| sighted,
            Some(at(second)),
        );
    };
    note(&mut run, &live, Sighted::default(), 20);
    note(&mut run, &gone, sighted(Some(100), Some(4_000)), 4_100);
    // A replica that knows less, and a stale list.
    note(&mut run, &gone, Sighted::default(), 4_200);
    note(&mut run, &live, sighted(Some(4_150), None), 4_300);
    let mut unseen = ran(run.clone(), &own, 30, 90, Outcome::Succeeded);
    let found = usage::count(&mut unseen, None, at(4_300)).expect("counted").amount;
    assert_eq!((split(&found), found.unknown_end), ((30, 10, 60, 0), 3_900));
    // One that saw it longer up, and one that heard the cloud tell it.
    note(&mut run, &gone, sighted(Some(3_000), Some(4_100)), 4_400);
    let mut better = ran(run.clone(), &own, 30, 90, Outcome::Succeeded);
    let found = usage::count(&mut better, None, at(4_400)).expect("counted").amount;
    assert_eq!((found.seconds.total(), found.unknown_end), (3_000, 1_000));
    let told = Sighted { ended_at: Some(at(97)), ..sighted(Some(90), Some(120)) };
    note(&mut run, &gone, told, 4_500);
    let mut told = ran(run, &own, 30, 90, Outcome::Succeeded);
    let found = usage::count(&mut told, None, at(4_500)).expect("counted").amount;
    assert_eq!((split(&found), found.unknown_end), ((30, 7, 60, 0), 0));
}

#[test]
fn a_machine_that_was_forgotten_after_it_was_counted_is_not_counted_again() {
    let own = run(None).attempt_id(1).to_string();
    let mut run = ran(run(Some((End::Consumed, 31))), &own, 30, 90, Outcome::Succeeded);
    let gone = machine(&run, 1, 0, Some((97, EndedBy::Itself)));
    assert!(count(&mut run, &[gone], 150).is_some());
    assert_eq!(count(&mut run, &[], 3 * 3_600), None);
    assert!(run.status.usage.machines.is_empty(), "no list shows it any more");
    // Its registration could not be removed yet, so it is asked for by its ID.
    let unknown = undated(&run);
    assert_eq!(count(&mut run, std::slice::from_ref(&unknown), 3 * 3_600 + 1), None);
    let old = sighted(Some(90), Some(120));
    usage::note(&mut run, &[unknown], |_| Some(PRICE), |_| old, Some(at(3 * 3_600 + 2)));
    assert_eq!(usage::count(&mut run, None, at(3 * 3_600 + 2)), None);
}

#[test]
fn a_clock_that_is_not_right_dates_no_end() {
    let own = run(None).attempt_id(1).to_string();
    let mut run = ran(run(Some((End::Consumed, 31))), &own, 30, 90, Outcome::Succeeded);
    let note = |run: &mut Run, seen: &Machine| {
        let sighted = sighted(Some(85), Some(100));
        usage::note(run, std::slice::from_ref(seen), |_| Some(PRICE), |_| sighted, None);
    };
    let gone = machine(&run, 1, 0, Some((97, EndedBy::Itself)));
    note(&mut run, &gone);
    assert!(run.status.usage.machines.is_empty(), "it may have been counted long ago");
    let live = machine(&run, 1, 0, None);
    note(&mut run, &live);
    let unknown = undated(&run);
    note(&mut run, &unknown);
    assert_eq!(usage::count(&mut run, None, at(5_000)), None, "when it ended is not known");
    note(&mut run, &gone);
    let found = usage::count(&mut run, None, at(5_000)).expect("the cloud dates it").amount;
    assert_eq!((split(&found), found.unknown_end), ((30, 7, 60, 0), 0));
}
