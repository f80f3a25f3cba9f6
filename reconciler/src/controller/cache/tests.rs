//! Tests of the cache.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::model::{Class, Market, ObservedClass, Times};
use crate::ports::{ErrorKind, PortError};

fn machine(kind: &str, subnet: &str, market: Market) -> MachineSpec {
    let (kind, subnet) = (kind.to_owned(), subnet.to_owned());
    let (image, instance_profile, security_groups, options) = Default::default();
    let runner = None;
    MachineSpec { kind, subnet, market, image, security_groups, instance_profile, runner, options }
}

/// Returns the machines of a class that are available after a number of seconds.
fn left(cache: &Cache, seconds: i64) -> Vec<String> {
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
    let mut machines = Vec::new();
    for market in [Market::Spot, Market::OnDemand] {
        for kind in ["small", "big"] {
            machines.extend(["a", "b"].map(|subnet| machine(kind, subnet, market)));
        }
    }
    let class = Class {
        name: ClassName("linux".to_owned()),
        labels: Vec::new(),
        serves_unlabeled: false,
        machines,
        limit: None,
        repo_limit: None,
        owner_limit: None,
        rerun: crate::model::RerunPolicy::default(),
        budget: None,
        allocation: crate::model::Allocation::Order,
        repos: Vec::new(),
        times: Times::default(),
    };
    let unavailable = cache.unavailable(now);
    let observed = ObservedClass { unavailable, ..class.into() };
    let machines = observed.class.machines.iter();
    let free = machines.filter(|m| observed.unavailable_until(m, now).is_none());
    free.map(|m| format!("{} {} {}", m.market, m.kind, m.subnet)).collect()
}

#[test]
fn pools_that_failed_are_worse_for_a_quarter_of_an_hour() {
    let cache = Cache::default();
    let small = machine("small", "a", Market::Spot);
    let big = machine("big", "b", Market::Spot);
    let after = |seconds: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
    let failed = |seconds: i64| {
        cache.failed_lately(after(seconds)).into_iter().map(|spec| spec.kind).collect::<Vec<_>>()
    };
    cache.skip(&small, Cause::Capacity, after(0));
    cache.skip(&big, Cause::Capacity, after(60));
    for cause in [Cause::Quota, Cause::Market, Cause::Addresses, Cause::Unsupported] {
        cache.skip(&machine("other", "c", Market::Spot), cause, after(60));
    }
    assert_eq!(failed(899), ["small", "big"]);
    assert_eq!(failed(900), ["big"]);
    assert_eq!(failed(960), [""; 0]);
    // It is available again, fails again, and its time begins again.
    cache.skip(&small, Cause::Capacity, after(900));
    assert_eq!(failed(959), ["big", "small"]);
}

#[test]
fn each_cause_covers_its_offerings_for_its_time() {
    let spot = machine("small", "a", Market::Spot);
    let rows = [
        (Cause::Capacity, 1, 180),
        (Cause::Unsupported, 1, 3_600),
        (Cause::Addresses, 4, 180),
        (Cause::Quota, 1, 60),
        (Cause::Market, 4, 180),
        (Cause::Attempt, 0, 0),
        (Cause::Unpriced, 0, 0),
    ];
    for (cause, reaches, seconds) in rows {
        let cache = Cache::default();
        cache.skip(&spot, cause, Timestamp::UNIX_EPOCH);
        assert_eq!(left(&cache, 0).len(), 8 - reaches, "{cause:?}");
        assert_eq!(left(&cache, (seconds - 1).max(0)).len(), 8 - reaches, "{cause:?}");
        assert_eq!(left(&cache, seconds).len(), 8, "{cause:?}");
    }
    let cache = Cache::default();
    cache.skip(&spot, Cause::Addresses, Timestamp::UNIX_EPOCH);
    assert!(left(&cache, 0).iter().all(|machine| machine.ends_with(" b")));
    cache.skip(&spot, Cause::Market, Timestamp::UNIX_EPOCH);
    assert_eq!(left(&cache, 0), ["on-demand small b", "on-demand big b"]);
}

#[test]
fn a_shorter_unavailability_does_not_end_a_longer_one() {
    let (cache, spot) = (Cache::default(), machine("small", "a", Market::Spot));
    cache.skip(&spot, Cause::Unsupported, Timestamp::UNIX_EPOCH);
    cache.skip(&spot, Cause::Capacity, Timestamp::UNIX_EPOCH);
    assert_eq!((left(&cache, 200).len(), cache.inner().unavailable.len()), (7, 2));
}

#[test]
fn an_expired_or_repeated_unavailability_is_replaced() {
    let (cache, spot) = (Cache::default(), machine("small", "a", Market::Spot));
    let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
    cache.skip(&spot, Cause::Capacity, at(0));
    cache.skip(&spot, Cause::Capacity, at(1));
    assert_eq!(cache.inner().unavailable.len(), 1);
    let (over, forgotten) = (at(181), at(181) + WORSE_FOR);
    assert_eq!((cache.unavailable(over).len(), cache.inner().unavailable.len()), (0, 1));
    cache.skip(&machine("big", "a", Market::Spot), Cause::Capacity, forgotten);
    assert_eq!(cache.inner().unavailable.len(), 1);
    let left = |seconds| cache.unavailable(forgotten + SignedDuration::from_secs(seconds)).len();
    assert_eq!((left(179), left(180)), (1, 0));
}

#[test]
fn runs_that_were_woken_long_ago_are_forgotten() {
    let cache = Cache::default();
    let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
    for (second, job, kept) in [(0, 1, 1), (10, 2, 2), (29, 3, 3), (30, 4, 3), (65, 5, 1)] {
        assert!(cache.may_wake(&RunName::job(job), at(second)));
        assert_eq!(cache.inner().woken.len(), kept, "after {second} s");
    }
}

#[test]
fn a_listing_serves_only_reconciles_that_began_before_it() {
    let (cache, listing) = (Cache::default(), Listing::default());
    let read = |ticket, answer: Result<u32, PortError>| {
        let asks = pin!(listing.after(&cache, ticket, std::future::ready(answer)));
        match asks.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(listing) => listing.map(|listing| *listing).ok(),
            Poll::Pending => panic!("nobody reads"),
        }
    };
    let down = || Err(PortError::new("compute", "list", ErrorKind::Unavailable, "down"));
    let (first, second) = (cache.ticket(), cache.ticket());
    assert_eq!(read(first, Ok(1)), Some(1));
    assert_eq!(read(second, Ok(2)), Some(1), "begun after both");
    let third = cache.ticket();
    assert_eq!(read(third, down()), None, "a failed read is not shared");
    assert_eq!(read(second, Ok(3)), Some(1));
    assert_eq!(read(third, Ok(4)), Some(4));
    assert_eq!(read(first, Ok(5)), Some(4));
}

#[test]
fn an_unavailable_offering_without_a_cause_lacks_capacity() {
    let text = r#"{"machine":{"kind":"small"},"until":"2026-01-01T12:00:00Z"}"#;
    let read: UnavailableOffering = serde_json::from_str(text).expect("the cause is optional");
    assert_eq!(read.cause, Cause::Capacity);
}
