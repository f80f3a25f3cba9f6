//! Credentials leave a record with the write after which nothing is launched from it.

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{
    Attempt, ClassName, Conclusion, End, Happened, Job, Phase, Registration, Registrations, Run,
    decode, encode,
};
use tinqs_ci_reconciler::plan::{Action, Plan, Rule, plan};

use crate::names::{GIT, TOKEN, now, observed, run};

/// Returns a run whose launch got no answer yet.
fn asked() -> Run {
    let mut run = run(42);
    run.status.phase = Phase::Starting;
    attempt(&mut run).placements[0].answered = None;
    run
}

fn attempt(run: &mut Run) -> &mut Attempt {
    run.status.attempt.as_mut().expect("an attempt")
}

fn elsewhere() -> Job {
    Job::Running { runner: "office-pc".to_owned() }
}

/// Returns the run after a decision, as the store returns it.
fn after(run: &Run, job: Job) -> Run {
    let status = plan(&observed(run.clone(), job, Vec::new())).status.expect("a record");
    decode(&encode(&Run { status, ..run.clone() })).expect("a record")
}

fn is_bare(run: &Run) -> bool {
    let stored = String::from_utf8(encode(run)).expect("JSON");
    let shown = GIT.escape_default().to_string();
    !stored.contains(TOKEN) && !stored.contains(&shown) && !stored.contains("git_token")
}

#[test]
fn they_leave_a_record_that_runs_or_is_finished() {
    let done = Job::Done { conclusion: Conclusion::Success };
    for job in [elsewhere(), done, Job::Absent] {
        for run in [run(42), asked()] {
            assert!(!is_bare(&run));
            assert!(is_bare(&after(&run, job.clone())), "{job:?}");
        }
    }
}

#[test]
fn they_stay_as_long_as_a_launch_may_be_repeated() {
    let run = asked();
    let Plan { rule, status, actions, .. } = plan(&observed(run.clone(), Job::Waiting, Vec::new()));
    assert_eq!(rule, Rule::Launch);
    assert!(actions.iter().any(|action| matches!(action, Action::Launch { .. })));
    let kept = status.and_then(|status| status.attempt).expect("an attempt");
    assert_eq!(kept.runner.token.expose(), TOKEN);
    assert_eq!(kept.secrets(), run.status.attempt.expect("an attempt").secrets());
}

#[test]
fn an_attempt_without_an_answer_ends_and_is_not_launched_again() {
    let mut running = after(&asked(), elsewhere());
    let ended = attempt(&mut running).ended.map(|ended| ended.why);
    assert_eq!((running.status.phase, ended), (Phase::Running, Some(End::Superseded)));
    assert_eq!(running.status.failures, 0, "it is no failure");
    let told = running.status.timeline.last().map(|milestone| milestone.what.clone());
    assert_eq!(told, Some(Happened::AttemptEnded { attempt: 1, why: End::Superseded }));
    assert_eq!(after(&running, elsewhere()), running, "it is written once");
    // The job waits again while the launch could still be repeated.
    let again = plan(&observed(running, Job::Waiting, Vec::new()));
    assert_eq!(again.rule, Rule::NextAttempt);
    assert!(again.prepare.is_some_and(|next| next.attempt_id.number > 1));
    assert!(again.actions.is_empty(), "{:?}", again.actions);
}

#[test]
fn an_attempt_with_an_answer_goes_on_without_them() {
    let mut running = after(&run(42), elsewhere());
    assert_eq!(attempt(&mut running).ended, None);
    let again = plan(&observed(running, Job::Waiting, Vec::new()));
    assert_eq!(again.rule, Rule::Unseen, "its machine may still be listed");
    assert!(again.actions.is_empty(), "{:?}", again.actions);
}

#[test]
fn without_them_nothing_is_launched() {
    let mut bare = asked();
    attempt(&mut bare).forget_credentials();
    let decided = plan(&observed(bare, Job::Waiting, Vec::new()));
    assert_eq!((decided.rule, decided.actions), (Rule::Unseen, Vec::new()));
}

#[test]
fn seat_and_registration_stay_until_no_machine_can_appear() {
    let running = after(&asked(), elsewhere());
    let class = ClassName("linux".to_owned());
    let attempt_id = running.attempt_id(1);
    let mut seen = observed(running, elsewhere(), Vec::new());
    seen.seats = vec![(class, attempt_id.clone())];
    seen.registrations = Registrations::Seen(vec![Registration {
        repo_id: 0,
        id: 101,
        attempt_id,
        uuid: None,
        online: false,
        busy: false,
        disabled: None,
        disabled_since: None,
        missing_since: None,
    }]);
    let none = plan(&seen).actions;
    assert!(none.is_empty(), "{none:?}");
    seen.now = now() + SignedDuration::from_mins(23);
    let rules: Vec<Rule> = plan(&seen)
        .actions
        .iter()
        .map(|action| match action {
            Action::Unseat { rule, .. } | Action::Retire { rule, .. } => *rule,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(rules, [Rule::SeatFree, Rule::Spent]);
}
