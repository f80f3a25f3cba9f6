//! A burst waits for the pace of launches: in order, and without asking again and again.

#[allow(dead_code, reason = "the breaker asks for more")]
mod town;

use jiff::SignedDuration;
use tinqs_ci_reconciler::model::{Phase, Reason, RunName};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use town::{Answer, Town};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Jobs of a class, a second apart, all of which have been told to wait: the oldest first.
fn in_line(town: &Town, count: usize, class: &str) -> Vec<RunName> {
    town.room_for(0);
    let names: Vec<RunName> = (0..count)
        .flat_map(|_| {
            town.pass(SECOND);
            town.jobs(1, class)
        })
        .collect();
    // Looked at in another order.
    let backwards: Vec<RunName> = names.iter().rev().cloned().collect();
    town.look_at(&backwards);
    for name in &names {
        assert_eq!(town.run(name).status.reason(), Some(Reason::Paced));
    }
    names
}

fn starting(town: &Town, names: &[RunName]) -> usize {
    names.iter().filter(|name| town.run(name).status.phase == Phase::Starting).count()
}

#[test]
fn while_there_is_no_room_nobody_is_looked_at() {
    let town = Town::new();
    let names = in_line(&town, 100, "good");
    let written = town.writes();
    for _ in 0..190 {
        town.pass(SECOND);
        assert_eq!(town.wakes(), 0);
    }
    // Once in five minutes each is, whatever the pace does: its job may be gone.
    town.pass(SignedDuration::from_secs(120));
    assert_eq!((town.wakes(), town.follow()), (names.len(), names.len()));
    town.pass(SECOND);
    assert_eq!(town.wakes(), 0);
    assert_eq!((town.launches("good"), town.writes()), (0, written));
}

#[test]
fn room_goes_to_those_that_have_waited_longest() {
    let town = Town::new();
    let names = in_line(&town, 100, "good");
    for round in 1..=10 {
        town.pass(SECOND);
        town.room_for(2);
        town.wakes();
        let looks = town.follow();
        assert!(looks <= 6, "{looks} looks for two launches");
        assert_eq!(town.launches("good"), 2 * round);
        assert_eq!(starting(&town, &names[..2 * round]), 2 * round, "in order");
    }
}

#[test]
fn who_needs_no_launch_any_more_holds_nobody_up() {
    let town = Town::new();
    let bad = in_line(&town, 50, "bad");
    let good = in_line(&town, 5, "good");
    town.answers(
        "bad",
        Answer::Refuses(|| {
            PortError::new("compute", "launch", ErrorKind::Invalid, "check the class's `image`")
        }),
    );
    town.pass(SECOND);
    town.room_for(50);
    town.wakes();
    let looks = town.follow();
    // One of the bad ones asks, the others are told why they wait, and each calls the next.
    assert_eq!((town.launches("bad"), town.launches("good")), (1, 5));
    assert_eq!(starting(&town, &good), 5);
    assert!(looks <= bad.len() + good.len(), "{looks}");
}

#[test]
fn one_whose_call_is_lost_is_called_again_in_half_a_minute() {
    let town = Town::new();
    let names = in_line(&town, 2, "good");
    town.pass(SECOND);
    town.room_for(2);
    assert_eq!((town.wakes(), town.woken().len()), (2, 2));
    // Nobody looks at them.
    town.pass(29 * SECOND);
    assert_eq!(town.wakes(), 0);
    town.pass(SECOND);
    assert_eq!((town.wakes(), town.follow()), (2, 2));
    assert_eq!(starting(&town, &names), 2);
}

#[test]
fn who_has_got_a_machine_without_being_called_is_in_the_line_no_more() {
    let town = Town::new();
    let names = in_line(&town, 1, "good");
    town.pass(SECOND);
    town.room_for(1);
    town.look_at(&names);
    assert_eq!(starting(&town, &names), 1);
    town.pass(30 * SECOND);
    assert_eq!(town.wakes(), 1, "it is due like any other");
}
