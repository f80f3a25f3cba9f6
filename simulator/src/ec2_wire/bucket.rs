//! Token buckets: rate limits of calls and of their subjects.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Size and refill rate of a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Tokens of a full bucket.
    pub capacity: f64,
    /// Tokens per second.
    pub refill: f64,
}

/// All buckets of an account and Region. Operations without a bucket are not limited.
#[derive(Clone, Debug, Default)]
pub struct Buckets {
    /// One token per call, by operation. `DescribeInstances unfiltered` is the call without filters
    /// or paging.
    pub requests: BTreeMap<String, Bucket>,
    /// One token per machine, by operation.
    pub resources: BTreeMap<String, Bucket>,
    levels: BTreeMap<(bool, String), (f64, Timestamp)>,
}

impl Buckets {
    /// Returns EC2's default limits of an account.
    pub fn usual() -> Self {
        let bucket = |capacity, refill| Bucket { capacity, refill };
        let describe = [
            "DescribeInstances",
            "DescribeSubnets",
            "DescribeRouteTables",
            "DescribeImages",
            "DescribeSecurityGroups",
            "DescribeInstanceTypes",
            "DescribeInstanceTypeOfferings",
            "DescribeSpotPriceHistory",
            "GetConsoleOutput",
        ];
        let mut requests: BTreeMap<String, Bucket> =
            describe.map(|op| (op.to_owned(), bucket(100.0, 20.0))).into();
        requests.insert("DescribeInstances unfiltered".to_owned(), bucket(50.0, 10.0));
        requests.insert("RunInstances".to_owned(), bucket(5.0, 2.0));
        requests.insert("TerminateInstances".to_owned(), bucket(100.0, 5.0));
        let resources = [
            ("RunInstances".to_owned(), bucket(1000.0, 2.0)),
            ("TerminateInstances".to_owned(), bucket(1000.0, 20.0)),
        ];
        Self { requests, resources: resources.into(), levels: BTreeMap::new() }
    }

    /// Returns no limits.
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes a token for a call and one for each of its subjects, or none if a bucket has too few.
    pub(super) fn take(&mut self, now: Timestamp, op: &str, items: u32) -> bool {
        // "DescribeInstances unfiltered" has its own bucket.
        let request = self.requests.get(op).copied();
        let resource = self.resources.get(op).copied();
        let call = self.level(now, true, op, request);
        let things = self.level(now, false, op, resource);
        let items = f64::from(items);
        if call < 1.0 || things < items {
            return false;
        }
        self.levels.insert((true, op.to_owned()), (call - 1.0, now));
        self.levels.insert((false, op.to_owned()), (things - items, now));
        true
    }

    fn level(&self, now: Timestamp, call: bool, op: &str, bucket: Option<Bucket>) -> f64 {
        let Some(Bucket { capacity, refill }) = bucket else { return f64::INFINITY };
        let known = self.levels.get(&(call, op.to_owned()));
        known.map_or(capacity, |(level, at)| {
            let passed = now.duration_since(*at).as_secs_f64().max(0.0);
            (level + passed * refill).min(capacity)
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millis)
    }

    #[test]
    fn five_launches_pass_at_once_then_two_per_second() {
        let mut buckets = Buckets::usual();
        let taken = (0..20).filter(|_| buckets.take(at(0), "RunInstances", 1)).count();
        assert_eq!(taken, 5);
        assert!(!buckets.take(at(400), "RunInstances", 1));
        assert!(buckets.take(at(500), "RunInstances", 1));
        assert!(!buckets.take(at(500), "RunInstances", 1));
        let later = (0..20).filter(|_| buckets.take(at(60_000), "RunInstances", 1)).count();
        assert_eq!(later, 5, "a bucket holds at most its capacity");
    }

    #[test]
    fn machines_have_their_own_bucket_and_a_refusal_takes_no_tokens() {
        let mut buckets = Buckets::usual();
        assert!(!buckets.take(at(0), "RunInstances", 1001));
        assert!(buckets.take(at(0), "RunInstances", 1000));
        assert!(!buckets.take(at(0), "RunInstances", 1));
        assert!(buckets.take(at(0), "TerminateInstances", 1000));
        assert!((0..1000).all(|_| buckets.take(at(0), "CreateTags", 1)), "no bucket, no limit");
    }
}
