use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

const NONE: SeatLimits = SeatLimits { class: None, repo: None, owner: None };

fn in_class(limit: u32) -> SeatLimits {
    SeatLimits { class: Some(limit), ..NONE }
}

/// Returns the numbers of the waiting jobs in their order. `waiting`: repository, and since when.
fn ordered(
    limits: SeatLimits,
    live: &[&str],
    waiting: &[(&str, i64)],
    served: &[(&str, i64)],
    now: i64,
) -> Vec<usize> {
    let names: Vec<RunName> =
        (0..waiting.len()).map(|n| RunName::job(i64::try_from(n).expect("small"))).collect();
    let of = |(name, (repo, since))| Waiter { name, repo: RepoRef::named(repo), since: at(since) };
    let waiting = names.iter().zip(waiting.iter().copied()).map(of);
    let mut known = Served::default();
    for (repo, second) in served {
        known.gets(RepoRef::named(repo), at(*second));
    }
    let live = live.iter().map(|repo| RepoRef::named(repo));
    let order = order(limits, live, waiting, &known, at(now));
    let number = |name: &RunName| names.iter().position(|other| other == name);
    order.map(|waiter| number(waiter.name).expect("one of them")).collect()
}

#[test]
fn the_owner_with_the_fewest_machines_goes_first() {
    let waiting = [("flood/a", 0), ("flood/b", 0), ("lone/a", 100)];
    assert_eq!(ordered(in_class(4), &["flood/a"; 3], &waiting, &[], 200), [2]);
    // Two are free: the second goes to the repository of `flood` that has none.
    assert_eq!(ordered(in_class(4), &["flood/a"; 2], &waiting, &[], 200), [2, 1]);
    assert!(ordered(in_class(3), &["Flood/a"; 3], &waiting, &[], 200).is_empty());
    let equal = [("a/a", 5), ("b/b", 3)];
    assert_eq!(ordered(NONE, &[], &equal, &[], 10), [1, 0], "the oldest");
    assert_eq!(ordered(NONE, &["B/c"], &equal, &[], 10), [0, 1], "an owner counts without case");
}

#[test]
fn one_repository_is_served_in_the_order_of_its_runs() {
    let waiting = [("a/a", 7), ("a/a", 3), ("a/a", 3)];
    assert_eq!(ordered(NONE, &[], &waiting, &[], 10), [1, 2, 0]);
}

#[test]
fn many_repositories_of_one_owner_count_together() {
    let waiting = [("big/1", 0), ("big/2", 0), ("big/3", 0), ("lone/a", 50), ("lone/a", 51)];
    assert_eq!(ordered(NONE, &[], &waiting, &[], 60), [0, 3, 1, 4, 2]);
}

#[test]
fn who_was_served_last_goes_after_equals_that_have_waited() {
    let waiting = [("flood/a", 0), ("lone/a", 100)];
    // The only machine of the class has just ended: neither has one.
    assert_eq!(ordered(in_class(1), &[], &waiting, &[("flood/a", 150)], 200), [1]);
    assert_eq!(ordered(in_class(1), &[], &waiting, &[("flood/a", 50)], 200), [0], "one machine");
}

#[test]
fn capacity_that_passed_an_owner_by_for_half_an_hour_goes_to_it() {
    // A machine of `slow` runs for hours, and others without any machine come again and again.
    let waiting = [("slow/a", 0), ("new/a", 1_790)];
    assert_eq!(ordered(in_class(2), &["slow/a"], &waiting, &[], 1_799), [1]);
    assert_eq!(ordered(in_class(2), &["slow/a"], &waiting, &[], 1_800), [0]);
    let lately = [("slow/b", 100)];
    assert_eq!(ordered(in_class(2), &["slow/a"], &waiting, &lately, 1_800), [1], "it got one");
    // A flood that is served all the time is not passed by, however old its jobs are.
    let flood = [("flood/a", 0), ("flood/b", 0), ("lone/a", 7_190)];
    let served = [("flood/c", 7_000)];
    assert_eq!(ordered(in_class(3), &["flood/c"; 2], &flood, &served, 7_200), [2]);
}

#[test]
fn of_several_that_were_passed_by_the_longest_wait_goes_first_and_each_gets_one() {
    let waiting = [("a/a", 60), ("a/a", 61), ("b/b", 0), ("c/c", 3_590)];
    assert_eq!(ordered(in_class(4), &["b/b"], &waiting, &[], 3_600), [2, 0, 3]);
}

#[test]
fn a_repository_of_an_owner_is_not_passed_by_for_long_either() {
    let waiting = [("a/slow", 0), ("a/new", 1_790)];
    let served = [("a/other", 1_780)];
    assert_eq!(ordered(in_class(2), &["a/slow"], &waiting, &served, 1_799), [1]);
    assert_eq!(ordered(in_class(2), &["a/slow"], &waiting, &served, 1_800), [0]);
}

#[test]
fn who_is_at_its_own_limit_holds_up_nobody() {
    let limits = SeatLimits { class: Some(5), repo: Some(1), owner: Some(2) };
    let waiting = [("a/a", 0), ("a/b", 1), ("a/c", 2), ("b/b", 9)];
    assert_eq!(ordered(limits, &["a/a"], &waiting, &[], 10), [3, 1]);
}

#[test]
fn what_is_old_is_forgotten() {
    let mut served = Served::default();
    served.gets(RepoRef::named("A/a"), at(10));
    served.gets(RepoRef::named("b/b"), at(20));
    served.forget_old(at(24 * 3_600 + 15));
    assert_eq!(served.owners.keys().collect::<Vec<_>>(), ["b"]);
    assert_eq!(served.repos.keys().collect::<Vec<_>>(), [&RepoRef::named("b/b").key()]);
}

#[test]
fn a_renamed_repository_is_one_and_a_replaced_one_is_another() {
    let of = |id, name| RepoRef { id, name };
    let limits = SeatLimits { class: Some(9), repo: Some(2), owner: Some(3) };
    let names: Vec<RunName> = (0..3).map(RunName::job).collect();
    let turns = |live: &[RepoRef<'_>], waiting: [RepoRef<'_>; 3]| {
        let of = |(name, (repo, since))| Waiter { name, repo, since: at(since) };
        let waiting = names.iter().zip(waiting.into_iter().zip(0..)).map(of);
        let order = order(limits, live.iter().copied(), waiting, &Served::default(), at(10));
        order.map(|waiter| waiter.name.clone()).collect::<Vec<_>>()
    };
    let jobs = |numbers: &[i64]| numbers.iter().map(|n| RunName::job(*n)).collect::<Vec<_>>();
    // The same repository under two names has its two, and holds up nobody.
    let waiting = [of(7, "acme/new"), of(7, "acme/newer"), of(8, "lone/a")];
    assert_eq!(turns(&[of(7, "acme/old"); 2], waiting), jobs(&[2]));
    assert_eq!(turns(&[of(7, "acme/old")], waiting), jobs(&[2, 0]), "one is left, for the oldest");
    // What it has under a former owner counts for the limit of the one that it has now.
    let waiting = [of(7, "acme/new"), of(9, "acme/x"), of(9, "acme/x")];
    let held = [of(7, "former/site"), of(8, "acme/y"), of(8, "acme/y")];
    assert_eq!(turns(&held, waiting), jobs(&[1]));
    // A repository that got the name of another begins at zero.
    let waiting = [of(8, "acme/site"); 3];
    assert_eq!(turns(&[of(7, "acme/site"); 2], waiting), jobs(&[0]), "its owner has three");
    assert_eq!(turns(&[RepoRef::named("Acme/Site"); 2], waiting), jobs(&[]), "without an ID");
}
