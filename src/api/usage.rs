//! The answer of `/v1/usage`: sums of what machines did, and the same as CSV.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::model::{Amount, MicroUsd, Seconds, Usage};

use crate::words::money;

/// The property by which usage is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UsageBy {
    /// One row for each repository.
    #[default]
    Repo,
    /// One row for each class.
    Class,
    /// One row for each workflow of a repository.
    Workflow,
    /// One row for each day, in UTC.
    Day,
}

impl UsageBy {
    /// Every one, in the order of the page.
    pub const ALL: [Self; 4] = [Self::Day, Self::Class, Self::Repo, Self::Workflow];

    /// Returns its name in queries: `repo`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Repo => "repo",
            Self::Class => "class",
            Self::Workflow => "workflow",
            Self::Day => "day",
        }
    }
}

/// A month in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(Date);

impl Month {
    /// Returns the month of a time.
    pub fn of(at: Timestamp) -> Self {
        Self(jiff::tz::TimeZone::UTC.to_datetime(at).date().first_of_month())
    }

    /// Returns its first day.
    pub fn first(self) -> Date {
        self.0
    }

    /// Returns its last day.
    pub fn last(self) -> Date {
        self.0.last_of_month()
    }

    /// Returns the month before; `None` at the begin of time.
    pub fn before(self) -> Option<Self> {
        Some(Self(self.first().yesterday().ok()?.first_of_month()))
    }

    /// Returns the month after; `None` at the end of time.
    pub fn after(self) -> Option<Self> {
        Some(Self(self.last().tomorrow().ok()?))
    }
}

/// Written as `2026-11`.
impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.0.year(), self.0.month())
    }
}

impl std::str::FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (year, month) = text.split_once('-')?;
            let is_number = |part: &str| part.bytes().all(|digit| digit.is_ascii_digit());
            if year.len() != 4 || month.len() != 2 || !is_number(year) || !is_number(month) {
                return None;
            }
            Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok().map(Self)
        };
        parse().ok_or_else(|| "expected a month such as 2026-11".to_owned())
    }
}

/// The usage of a month, in sums.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageList {
    /// The time of the answer.
    #[schemars(with = "String")]
    pub now: Timestamp,
    /// The month in UTC: `2026-11`.
    pub month: String,
    /// The property by which the rows are summed.
    pub by: UsageBy,
    /// The rows: days in order, else the highest cost first.
    pub items: Vec<UsageRow>,
    /// The sum of all rows.
    pub total: UsageSum,
}

/// A row. It has the names that the rows are summed by; the others are `null`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageRow {
    /// The day in UTC.
    pub day: Option<String>,
    /// The class.
    pub class: Option<String>,
    /// The repository, `owner/name`.
    pub repo: Option<String>,
    /// The workflow's file or name; empty if it is not known.
    pub workflow: Option<String>,
    /// The sum.
    #[serde(flatten)]
    pub sum: UsageSum,
}

/// A sum of usage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UsageSum {
    /// Jobs that ran on a machine and are over.
    pub jobs: u64,
    /// Seconds of machines from the launch until they got a job.
    pub boot_seconds: u64,
    /// Seconds of machines that were up without a job.
    pub idle_seconds: u64,
    /// Seconds of machines with a job.
    pub busy_seconds: u64,
    /// Seconds of machines that were of no use, and of jobs whose machine was lost.
    pub lost_seconds: u64,
    /// All these seconds.
    pub total_seconds: u64,
    /// The cost in millionths of a US dollar; `null` if no second has a known price.
    pub cost_micro_usd: Option<u64>,
    /// The seconds whose price is not known. They are not in the cost.
    pub unpriced_seconds: u64,
    /// The most seconds that machines lived beyond the total: nobody saw when they ended, for
    /// example because the server was down for longer than the cloud lists them. They are neither in
    /// the total nor in the cost.
    #[serde(default)]
    pub unknown_end_seconds: u64,
}

impl From<Amount> for UsageSum {
    fn from(amount: Amount) -> Self {
        let Seconds { boot, idle, busy, lost } = amount.seconds;
        Self {
            jobs: amount.jobs,
            boot_seconds: boot,
            idle_seconds: idle,
            busy_seconds: busy,
            lost_seconds: lost,
            total_seconds: amount.seconds.total(),
            cost_micro_usd: amount.known_cost().map(|cost| cost.0),
            unpriced_seconds: amount.unpriced,
            unknown_end_seconds: amount.unknown_end,
        }
    }
}

impl UsageSum {
    /// Returns the cost for people: `$3.10`, `≥ $3.10`, `–`.
    pub fn cost(&self) -> String {
        let seconds = Seconds { busy: self.total_seconds, ..Seconds::default() };
        let cost = MicroUsd(self.cost_micro_usd.unwrap_or(0));
        money::cost(&Amount {
            jobs: self.jobs,
            seconds,
            cost,
            unpriced: self.unpriced_seconds,
            unknown_end: self.unknown_end_seconds,
        })
    }
}

/// The names of a row: day, class, repository, workflow.
type Names = [Option<String>; 4];

/// Sums the usage of a month.
pub fn usage_list(all: &[Usage], month: Month, by: UsageBy, now: Timestamp) -> UsageList {
    let mut sums: BTreeMap<Names, Amount> = BTreeMap::new();
    let mut total = Amount::default();
    for Usage { key, amount } in all {
        let (class, repo, workflow) =
            (Some(key.class.to_string()), Some(key.repo.clone()), Some(key.workflow.clone()));
        let names = match by {
            UsageBy::Day => [Some(key.day.to_string()), None, None, None],
            UsageBy::Class => [None, class, None, None],
            UsageBy::Repo => [None, None, repo, None],
            UsageBy::Workflow => [None, None, repo, workflow],
        };
        *sums.entry(names).or_default() += *amount;
        total += *amount;
    }
    let mut rows: Vec<(Names, Amount)> = sums.into_iter().collect();
    if by != UsageBy::Day {
        // A stable sort: rows of the same cost stay in the order of their names.
        rows.sort_by_key(|(_, amount)| std::cmp::Reverse((amount.cost, amount.seconds.total())));
    }
    let items = rows.into_iter().map(|([day, class, repo, workflow], amount)| UsageRow {
        day,
        class,
        repo,
        workflow,
        sum: amount.into(),
    });
    let (items, total) = (items.collect(), total.into());
    UsageList { now, month: month.to_string(), by, items, total }
}

impl UsageList {
    /// Returns the rows as CSV (RFC 4180) with a heading. An unknown cost is an empty field.
    pub fn csv(&self) -> String {
        let names: &[&str] = match self.by {
            UsageBy::Day => &["day"],
            UsageBy::Class => &["class"],
            UsageBy::Repo => &["repo"],
            UsageBy::Workflow => &["repo", "workflow"],
        };
        let mut csv = names.join(",");
        csv.push_str(
            ",jobs,boot_seconds,idle_seconds,busy_seconds,lost_seconds,total_seconds,cost_usd,\
             unpriced_seconds,unknown_end_seconds\r\n",
        );
        for row in &self.items {
            let UsageRow { day, class, repo, workflow, sum } = row;
            for name in [day, class, repo, workflow].into_iter().flatten() {
                let _ = write!(csv, "{},", field(name));
            }
            let cost = sum.cost_micro_usd.map(MicroUsd);
            let _ = write!(
                csv,
                "{},{},{},{},{},{},{},{},{}\r\n",
                sum.jobs,
                sum.boot_seconds,
                sum.idle_seconds,
                sum.busy_seconds,
                sum.lost_seconds,
                sum.total_seconds,
                cost.map(money::exact).unwrap_or_default(),
                sum.unpriced_seconds,
                sum.unknown_end_seconds
            );
        }
        csv
    }
}

/// Quotes a name from outside. One that a spreadsheet would compute gets an apostrophe before it.
fn field(name: &str) -> String {
    let computed = name.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let name = if computed { format!("'{name}") } else { name.to_owned() };
    if name.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use tinqs_ci_reconciler::model::{ClassName, UsageKey};

    use super::*;

    fn month() -> Month {
        "2026-11".parse().expect("a month")
    }

    fn usage(day: i8, class: &str, repo: &str, workflow: &str, cost: Option<u64>) -> Usage {
        let key = UsageKey {
            day: Date::constant(2026, 11, day),
            class: ClassName(class.to_owned()),
            repo: repo.to_owned(),
            workflow: workflow.to_owned(),
        };
        let seconds = Seconds { boot: 21, idle: 3, busy: 64, lost: 1 };
        let unpriced = if cost.is_some() { 0 } else { seconds.total() };
        let cost = MicroUsd(cost.unwrap_or(0));
        Usage { key, amount: Amount { jobs: 1, seconds, cost, unpriced, unknown_end: 0 } }
    }

    fn all() -> Vec<Usage> {
        vec![
            usage(2, "linux", "acme/web", "test.yml", Some(510)),
            usage(1, "linux", "acme/web", "test.yml", Some(20_000)),
            usage(2, "gpu", "acme/api", "a \"b\", c", Some(900_000)),
            usage(1, "host", "acme/api", "=cmd()", None),
        ]
    }

    fn csv(by: UsageBy) -> String {
        usage_list(&all(), month(), by, Timestamp::UNIX_EPOCH).csv().replace("\r\n", "\n")
    }

    #[test]
    fn rows_are_summed_by_what_is_asked() {
        expect![[r"
            repo,jobs,boot_seconds,idle_seconds,busy_seconds,lost_seconds,total_seconds,cost_usd,unpriced_seconds,unknown_end_seconds
            acme/api,2,42,6,128,2,178,0.9,89,0
            acme/web,2,42,6,128,2,178,0.02051,0,0
        "]]
        .assert_eq(&csv(UsageBy::Repo));
        expect![[r#"
            repo,workflow,jobs,boot_seconds,idle_seconds,busy_seconds,lost_seconds,total_seconds,cost_usd,unpriced_seconds,unknown_end_seconds
            acme/api,"a ""b"", c",1,21,3,64,1,89,0.9,0,0
            acme/web,test.yml,2,42,6,128,2,178,0.02051,0,0
            acme/api,'=cmd(),1,21,3,64,1,89,,89,0
        "#]]
        .assert_eq(&csv(UsageBy::Workflow));
        expect![[r"
            class,jobs,boot_seconds,idle_seconds,busy_seconds,lost_seconds,total_seconds,cost_usd,unpriced_seconds,unknown_end_seconds
            gpu,1,21,3,64,1,89,0.9,0,0
            linux,2,42,6,128,2,178,0.02051,0,0
            host,1,21,3,64,1,89,,89,0
        "]]
        .assert_eq(&csv(UsageBy::Class));
        let days = usage_list(&all(), month(), UsageBy::Day, Timestamp::UNIX_EPOCH);
        let names: Vec<_> = days.items.iter().filter_map(|row| row.day.as_deref()).collect();
        assert_eq!(names, ["2026-11-01", "2026-11-02"]);
        assert_eq!((days.total.jobs, days.total.total_seconds), (4, 356));
        assert_eq!(days.total.cost(), "≥ $0.92");
        let none = usage_list(&[], month(), UsageBy::Day, Timestamp::UNIX_EPOCH);
        assert_eq!((none.items.len(), none.total.cost().as_str()), (0, "$0.00"));
    }

    #[test]
    fn months_are_read_and_follow_each_other() {
        let month = month();
        assert_eq!(
            (month.first().to_string(), month.last().to_string()),
            ("2026-11-01".into(), "2026-11-30".into())
        );
        assert_eq!(month.before().map(|m| m.to_string()).as_deref(), Some("2026-10"));
        let december: Month = "2026-12".parse().expect("a month");
        assert_eq!(december.after().map(|m| m.to_string()).as_deref(), Some("2027-01"));
        assert_eq!(Month::of(Timestamp::UNIX_EPOCH).to_string(), "1970-01");
        for text in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "2026-1",
            "26-11",
            "2026-11-01",
            "-026-11",
            "+026-11",
            "2026_11",
        ] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }
}
