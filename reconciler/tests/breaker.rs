//! A class whose launches the cloud refuses for what an operator must mend is asked for rarely, its
//! runs wait without attempts, failures or further writes, other classes are served as ever, and once
//! it is mended all of them go on.

#[allow(dead_code, reason = "the line asks for more")]
mod town;

use jiff::SignedDuration;
use tinqs_ci_reconciler::controller::Fact;
use tinqs_ci_reconciler::model::{Cause, Phase, Reason, Refusal};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use town::{Answer, Town};

fn bad_image() -> Answer {
    Answer::Refuses(|| {
        let message = "InvalidAMIID.NotFound: check the class's `image`";
        PortError::new("compute", "launch", ErrorKind::Invalid, message)
    })
}

fn opened(facts: &[Fact]) -> usize {
    facts.iter().filter(|fact| matches!(fact, Fact::BreakerOpened { .. })).count()
}

fn closed(facts: &[Fact]) -> Vec<i64> {
    let seconds = |fact: &Fact| match fact {
        Fact::BreakerClosed { open_seconds, .. } => Some(*open_seconds),
        _ => None,
    };
    facts.iter().filter_map(seconds).collect()
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

#[test]
fn fifty_runs_of_a_bad_image_ask_once_and_the_other_class_is_served() {
    let town = Town::new();
    town.answers("bad", bad_image());
    let bad = town.jobs(50, "bad");
    let good = town.jobs(5, "good");
    let mut facts = town.look_at(&bad);
    facts.extend(town.look_at(&good));
    assert_eq!((town.launches("bad"), town.launches("good")), (1, 5));
    assert_eq!(opened(&facts), 1, "it is told once");
    for name in &bad {
        let run = town.run(name);
        assert_eq!(run.status.phase, Phase::Waiting);
        assert_eq!(run.status.reason(), Some(Reason::BreakerOpen));
        let message = &run.status.conditions[0].message;
        assert!(message.contains("class bad") && message.contains("check the class's `image`"));
        let refused = u32::from(*name == bad[0]);
        assert_eq!((run.status.failures, run.status.attempt.is_some()), (refused, refused > 0));
    }
    // Looked at again and again they are written no more and ask no more.
    let written = town.writes();
    for _ in 0..4 {
        town.pass(MINUTE);
        town.look_at(&bad);
    }
    assert_eq!((town.launches("bad"), town.writes()), (1, written));
}

#[test]
fn one_attempt_tries_each_five_minutes_and_its_success_lets_all_go_on() {
    let town = Town::new();
    town.answers("bad", bad_image());
    let bad = town.jobs(20, "bad");
    let mut facts = town.look_at(&bad);
    for launches in 2..=4 {
        town.pass(5 * MINUTE);
        facts.extend(town.look_at(&bad));
        assert_eq!(town.launches("bad"), launches, "one of the {} tries", bad.len());
    }
    assert_eq!((opened(&facts), closed(&facts).len()), (1, 0), "it is told once");
    town.answers("bad", Answer::Takes);
    town.pass(5 * MINUTE);
    let tried = town.jobs(1, "bad");
    let facts = town.look_at(&tried);
    assert_eq!(closed(&facts), [20 * 60]);
    town.look_at(&bad);
    let retried = bad.iter().filter(|name| town.run(name).status.phase == Phase::Starting).count();
    // The one that tried last backs off by itself.
    assert!(retried >= bad.len() - 4, "{retried} of {}", bad.len());
}

#[test]
fn an_answer_that_tells_nothing_neither_stops_nor_lets_go_on() {
    let town = Town::new();
    let lost = || PortError::new("compute", "launch", ErrorKind::Unavailable, "no answer");
    town.answers("bad", bad_image());
    let first = town.jobs(1, "bad");
    town.look_at(&first);
    town.pass(5 * MINUTE);
    town.answers("bad", Answer::Refuses(lost));
    let more = town.jobs(3, "bad");
    let facts = town.look_at(&more);
    assert!(opened(&facts) == 0 && closed(&facts).is_empty());
    assert_eq!(town.launches("bad"), 2, "one of them tries, and the door is shut behind it");
    // Its own attempt is asked for again, as any that was not answered.
    town.pass(SignedDuration::from_secs(20));
    town.answers("bad", Answer::Takes);
    town.wakes();
    let facts = town.look_at(&more[..1]);
    assert_eq!((town.launches("bad"), closed(&facts).len()), (3, 1));
    assert_eq!(town.wakes(), 1 + 2, "those that waited are due now");
    town.look_at(&more);
    assert_eq!(town.launches("bad"), 3 + 2, "and with its answer the others follow");
}

#[test]
fn a_class_that_is_stopped_while_a_look_prepares_is_not_asked() {
    let town = Town::new();
    town.look_at(&town.jobs(1, "bad"));
    town.answers("bad", bad_image());
    let names = town.jobs(2, "bad");
    // The first has read that launches go on, and registers while the second is refused.
    town.meanwhile("register", &names[1]);
    let report = town.look(&names[0]);
    assert_eq!(town.launches("bad"), 2, "the one that was taken, the one that was refused");
    let run = town.run(&names[0]);
    let attempt = run.status.attempt.as_ref().expect("it was recorded");
    let refused = attempt.placements[0].refused.map(|refused| refused.why);
    assert_eq!(refused, Some(Refusal::Invalid), "nobody asked for it, and nobody will");
    assert_eq!(
        (run.status.phase, run.status.reason()),
        (Phase::Waiting, Some(Reason::BreakerOpen))
    );
    assert_eq!(report.reason, Some(Reason::BreakerOpen));
    // Nothing is begun again and again in one look.
    assert_eq!(town.calls("register"), 3);
}

#[test]
fn a_run_that_is_refused_by_its_own_fault_stops_no_other() {
    let town = Town::new();
    town.answers(
        "bad",
        Answer::Refuses(|| {
            let message = "the boot script is too long";
            PortError::new("compute", "launch", ErrorKind::Invalid, message).because(Cause::Attempt)
        }),
    );
    let bad = town.jobs(4, "bad");
    let facts = town.look_at(&bad);
    assert_eq!((town.launches("bad"), opened(&facts)), (2 * 4, 0), "each begins anew once at once");
}

#[test]
fn want_of_capacity_stops_no_class_and_ends_a_stop() {
    let town = Town::new();
    town.answers("bad", bad_image());
    let bad = town.jobs(2, "bad");
    town.look_at(&bad);
    town.pass(5 * MINUTE);
    town.answers(
        "bad",
        Answer::Refuses(|| PortError::new("compute", "launch", ErrorKind::NoCapacity, "none")),
    );
    let facts = town.look_at(&bad[1..]);
    assert_eq!(closed(&facts).len(), 1, "what was asked for is right");
    assert_eq!(town.run(&bad[1]).status.reason(), Some(Reason::NoCapacity));
}

#[test]
fn an_account_limit_holds_the_others_of_the_class_and_market_for_a_minute() {
    let town = Town::new();
    let limit = || PortError::new("compute", "launch", ErrorKind::Limit, "quota");
    town.answers("bad", Answer::Refuses(limit));
    let bad = town.jobs(10, "bad");
    town.look_at(&bad);
    // The class has spot machines in two subnets, and one on demand.
    assert_eq!(town.launches("bad"), 2, "one for each market");
    town.pass(SignedDuration::from_secs(61));
    town.look_at(&bad[5..]);
    assert_eq!(town.launches("bad"), 4);
}

#[test]
fn a_market_that_the_account_may_not_use_stops_no_class_and_is_told() {
    let town = Town::new();
    town.answers(
        "bad",
        Answer::Refuses(|| {
            let message = "the account has never used spot";
            PortError::new("compute", "launch", ErrorKind::Denied, message).because(Cause::Market)
        }),
    );
    let bad = town.jobs(10, "bad");
    let facts = town.look_at(&bad);
    assert_eq!((town.launches("bad"), opened(&facts)), (2, 0), "one for each market");
    let run = town.run(&bad[9]);
    assert_eq!(run.status.reason(), Some(Reason::NoCapacity));
    let message = &run.status.conditions[0].message;
    assert!(message.contains("may not use the market"), "{message}");
}

#[test]
fn what_is_not_offered_is_asked_for_once_an_hour_and_told_as_a_fault() {
    let town = Town::new();
    town.answers(
        "bad",
        Answer::Refuses(|| {
            let message = "no such kind in this zone";
            let error = PortError::new("compute", "launch", ErrorKind::NoCapacity, message);
            error.because(Cause::Unsupported)
        }),
    );
    let bad = town.jobs(10, "bad");
    town.look_at(&bad);
    assert_eq!(town.launches("bad"), 3, "one for each machine of the class");
    for name in &bad[1..] {
        let run = town.run(name);
        assert_eq!((run.status.reason(), run.status.failures), (Some(Reason::NoCapacity), 0));
        let message = &run.status.conditions[0].message;
        assert!(message.contains("check its `kinds` and `subnets`"), "{message}");
    }
    let written = town.writes();
    for _ in 0..7 {
        town.pass(8 * MINUTE);
        town.look_at(&bad[1..]);
    }
    assert_eq!((town.launches("bad"), town.writes()), (3, written));
    town.pass(5 * MINUTE);
    town.look_at(&bad[1..]);
    assert_eq!(town.launches("bad"), 6);
}

#[test]
fn another_configuration_of_the_class_is_tried_at_once() {
    let town = Town::new();
    town.answers("bad", bad_image());
    let bad = town.jobs(3, "bad");
    town.look_at(&bad);
    town.configure("good", |class| class.machines.truncate(2));
    town.look_at(&bad);
    assert_eq!(town.launches("bad"), 1, "the other class was configured otherwise");
    town.answers("bad", Answer::Takes);
    town.configure("bad", |class| class.machines.truncate(2));
    let facts = town.look_at(&bad[1..]);
    assert_eq!((town.launches("bad"), closed(&facts).len()), (3, 1));
}

#[test]
fn a_machine_that_was_taken_back_makes_others_preferred() {
    let town = Town::new();
    let first = town.jobs(1, "good");
    town.look_at(&first);
    assert_eq!(town.subnets(), ["subnet-a"]);
    town.take_back(&first[0]);
    town.look_at(&first);
    let second = town.jobs(1, "good");
    town.look_at(&second);
    assert_eq!(town.subnets(), ["subnet-a", "subnet-b", "subnet-b"]);
    // It is listed for an hour, and counts for three minutes.
    town.pass(4 * MINUTE);
    let third = town.jobs(1, "good");
    town.look_at(&first);
    town.look_at(&third);
    assert_eq!(town.subnets()[3..], ["subnet-a"]);
}
