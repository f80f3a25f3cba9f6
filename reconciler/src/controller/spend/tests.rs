//! Tests of the spend of a day.

use super::*;
use crate::model::{Amount, AttemptId, MachineId, MachineOptions, MachineState, Uid8, UsageKey};

/// The price of every machine: a dollar per hour.
const PRICE: MicroUsd = MicroUsd(1_000_000);

fn linux() -> ClassName {
    ClassName("linux".to_owned())
}

/// A time of the second day, in minutes after midnight.
fn at(minutes: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_mins(24 * 60 + minutes)
}

fn machine(id: &str, launched_at: i64, state: MachineState, ended_at: Option<i64>) -> Machine {
    let attempt_id =
        AttemptId { run: RunName::job(1), uid: Uid8("0a1b2c3d".to_owned()), number: 1 };
    Machine {
        id: MachineId(id.to_owned()),
        attempt_id,
        placement: 0,
        state,
        launched_at: at(launched_at),
        deadline: at(launched_at + 360),
        registration: 1,
        repo_id: 0,
        promise: None,
        ended_by: None,
        ended_at: ended_at.map(at),
        state_reason: None,
        class: linux(),
        kind: "small".to_owned(),
        zone: String::new(),
        market: Market::Spot,
    }
}

fn live(id: &str, launched_at: i64) -> Machine {
    machine(id, launched_at, MachineState::Up, None)
}

fn gone(id: &str, launched_at: i64, ended_at: Option<i64>) -> Machine {
    machine(id, launched_at, MachineState::Gone, ended_at)
}

fn list(spend: &Spend, machines: &[Machine], minutes: i64) {
    listed(spend, machines, Some(PRICE), minutes);
}

fn listed(spend: &Spend, machines: &[Machine], price: Option<MicroUsd>, minutes: i64) {
    let (began_at, read_at) = (at(minutes), at(minutes));
    spend.listed(machines, |_| price, &ListRead { began_at, read_at, is_dated: true });
}

/// Counts this many minutes on the day of a time, and reads it.
fn count(spend: &Spend, minutes: u64, now: i64) {
    let day = day_of(at(now));
    let key = UsageKey { day, class: linux(), repo: "a/b".into(), workflow: String::new() };
    let amount = Amount { cost: PRICE.for_seconds(60 * minutes), ..Amount::default() };
    spend.counted(&[Usage { key, amount }], day, at(now));
}

/// Returns the minutes that were spent today.
fn spent(spend: &Spend, now: i64) -> u64 {
    let (MicroUsd(micros), _) = spend.today(&linux(), at(now));
    (micros * 60 + 500_000) / 1_000_000
}

#[test]
fn a_machine_costs_from_its_launch_or_midnight_until_it_was_last_up() {
    let spend = Spend::default();
    list(&spend, &[live("a", -30), live("b", 5)], 10);
    assert_eq!(spent(&spend, 10), 10 + 5);
    list(&spend, &[live("a", -30), gone("b", 5, Some(12))], 20);
    assert_eq!(spent(&spend, 20), 20 + 7);
    assert_eq!(spend.today(&ClassName("other".to_owned()), at(20)).0, MicroUsd(0));
    // The next day begins with nothing but the machine that is still up.
    assert_eq!(spent(&spend, 24 * 60), 0);
    list(&spend, &[live("a", -30)], 24 * 60 + 3);
    assert_eq!(spent(&spend, 24 * 60 + 3), 3);
}

#[test]
fn a_machine_that_no_list_shows_any_more_stays_in_the_sum_of_its_day() {
    let spend = Spend::default();
    list(&spend, &[gone("a", 0, Some(10)), live("b", 0)], 20);
    for minutes in [60, 200, 400] {
        list(&spend, &[], minutes);
        assert_eq!(spent(&spend, minutes), 10 + 20, "as last seen");
    }
    list(&spend, &[], 24 * 60 + 1);
    assert_eq!(spent(&spend, 24 * 60 + 1), 0);
    let after_an_outage = Spend::default();
    for minutes in [10, 200] {
        list(&after_an_outage, &[live("a", 0)], minutes);
        assert_eq!(spent(&after_an_outage, minutes), u64::try_from(minutes).expect("positive"));
    }
}

#[test]
fn an_end_without_a_date_is_that_of_the_list_that_showed_it() {
    let spend = Spend::default();
    list(&spend, &[live("a", 0), gone("b", 0, None)], 10);
    assert_eq!(spent(&spend, 10), 10, "nobody saw when the other ended");
    list(&spend, &[gone("a", 0, None)], 12);
    list(&spend, &[live("a", 0)], 14);
    list(&spend, &[gone("a", 0, None)], 16);
    assert_eq!(spent(&spend, 16), 12, "a stale list does not revive it");
}

#[test]
fn what_was_counted_before_this_process_looked_is_added_once() {
    let spend = Spend::default();
    assert_eq!(spend.today(&linux(), at(0)), (MicroUsd(0), false), "not known");
    list(&spend, &[gone("a", 0, Some(10)), live("b", 20)], 30);
    count(&spend, 25, 30);
    assert!(spend.today(&linux(), at(30)).1);
    // Of the 25 counted minutes 10 may be those of the machine that was seen.
    assert_eq!(spent(&spend, 30), 25 + 10);
    list(&spend, &[gone("a", 0, Some(10)), gone("b", 20, Some(35))], 40);
    assert_eq!(spent(&spend, 40), 25 + 15);
    count(&spend, 25 + 15, 40);
    assert_eq!(spent(&spend, 40), 25 + 15, "it was counted meanwhile, once");
    count(&spend, 0, 24 * 60);
    assert_eq!(spent(&spend, 24 * 60), 0);
}

#[test]
fn a_machine_that_was_counted_with_its_hours_of_yesterday_counts_as_the_usage_shows() {
    let spend = Spend::default();
    list(&spend, &[live("a", -60)], 10);
    assert_eq!(spent(&spend, 10), 10);
    list(&spend, &[gone("a", -60, Some(20))], 20);
    count(&spend, 80, 20);
    assert_eq!(spent(&spend, 20), 80);
}

#[test]
fn a_price_that_is_not_known_any_more_is_the_last_known_one() {
    let spend = Spend::default();
    let spec = MachineSpec {
        kind: "small".to_owned(),
        subnet: String::new(),
        market: Market::Spot,
        image: String::new(),
        security_groups: Vec::new(),
        instance_profile: String::new(),
        runner: None,
        options: MachineOptions::default(),
    };
    assert!(!spend.is_priced(&spec, None));
    assert!(spend.is_priced(&spec, Some(PRICE)));
    assert!(spend.is_priced(&spec, None));
    listed(&spend, &[live("a", 0)], None, 30);
    assert_eq!(spent(&spend, 30), 30);
    let on_demand = MachineSpec { market: Market::OnDemand, ..spec };
    assert!(!spend.is_priced(&on_demand, None), "another market has its own");
}

#[test]
fn what_was_counted_is_read_every_five_minutes_on_a_new_day_and_after_a_change() {
    let spend = Spend::default();
    count(&spend, 0, 10);
    let is_read = |minutes| spend.is_read(at(minutes), READ_EVERY);
    assert!(is_read(15) && !is_read(16) && !is_read(9));
    assert!(!spend.is_read(at(11), SHOWN_FOR), "for people");
    spend.holds(&RunName::job(1), true);
    assert_eq!(spend.changed().into_iter().collect::<Vec<_>>(), [RunName::job(1)]);
    assert!(!is_read(15));
    count(&spend, 0, 24 * 60 - 1);
    assert!(!is_read(24 * 60), "another day");
}

#[test]
fn a_machine_that_was_counted_before_a_list_showed_its_end_counts_once() {
    let spend = Spend::default();
    list(&spend, &[live("a", 0)], 5);
    count(&spend, 10, 12);
    list(&spend, &[gone("a", 0, Some(10))], 13);
    assert_eq!(spent(&spend, 13), 10);
    count(&spend, 10, 14);
    assert_eq!(spent(&spend, 14), 10);
    list(&spend, &[gone("a", 0, Some(10)), gone("b", 13, Some(16))], 17);
    assert_eq!(spent(&spend, 17), 10 + 3);
}

#[test]
fn the_sum_of_all_classes_says_whether_a_part_is_not_known() {
    let spend = Spend::default();
    let total = |minutes| {
        let (MicroUsd(micros), is_partial) = spend.day(at(minutes), Day::total);
        ((micros * 60 + 500_000) / 1_000_000, is_partial)
    };
    assert_eq!(total(0), (0, true), "nothing was read");
    count(&spend, 20, 1);
    assert_eq!(total(1), (20, true), "no machine was listed");
    let other = Machine { class: ClassName("other".to_owned()), ..live("b", 0) };
    list(&spend, &[live("a", 0), other], 10);
    assert_eq!(total(10), (20 + 10 + 10, false));
    assert_eq!(spend.today(&linux(), at(10)).0, PRICE.for_seconds(30 * 60), "its part of it");
    listed(&spend, &[live("c", 5)], None, 11);
    assert_eq!(total(11), (20 + 10 + 10, true), "one has no price");
    let undated = Spend::default();
    count(&undated, 0, 1);
    list(&undated, &[gone("a", 0, None)], 2);
    assert_eq!(undated.day(at(2), Day::total), (MicroUsd(0), true), "nobody saw its end");
}

#[test]
fn a_failure_is_told_for_ten_seconds_and_until_a_reading_succeeds() {
    let spend = Spend::default();
    let error = PortError::new("store", "usage", ErrorKind::Throttled, "too many");
    spend.failed(&error, at(10));
    let told = |seconds| {
        let error = spend.failure(at(10) + SignedDuration::from_secs(seconds));
        error.map(|error| error.to_string())
    };
    assert_eq!((told(0), told(10)), (Some(error.to_string()), Some(error.to_string())));
    assert_eq!((told(11), told(-1)), (None, None));
    count(&spend, 0, 10);
    assert_eq!(told(0), None);
}
