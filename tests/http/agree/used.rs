//! The usage in each view, which is the same in all of them.

use std::collections::BTreeMap;

use tinqs_ci::api::{UsageBy, UsageList, UsageRow, UsageSum};

use super::history::{CLASSES, HTML, History, json, text};

/// The columns of the CSV file after the names.
const COLUMNS: [&str; 9] = [
    "jobs",
    "boot_seconds",
    "idle_seconds",
    "busy_seconds",
    "lost_seconds",
    "total_seconds",
    "cost_usd",
    "unpriced_seconds",
    "unknown_end_seconds",
];

/// Everything that shows the usage of the month, by what it is summed.
pub(super) struct Used {
    lists: Vec<UsageList>,
    files: Vec<String>,
    pages: Vec<String>,
}

impl Used {
    pub(super) async fn read(history: &History) -> Self {
        let (mut lists, mut files, mut pages) = (Vec::new(), Vec::new(), Vec::new());
        for by in UsageBy::ALL.map(UsageBy::as_str) {
            let list = json(history, &format!("/v1/usage?by={by}")).await;
            lists.push(serde_json::from_value(list).expect("a list of usage"));
            files.push(text(history, &format!("/usage.csv?by={by}"), HTML).await);
            pages.push(text(history, &format!("/usage?by={by}"), HTML).await);
        }
        Self { lists, files, pages }
    }

    /// The sum of the month.
    pub(super) fn total(&self) -> UsageSum {
        self.lists[0].total
    }

    /// Fails if two views differ.
    pub(super) fn agree(&self, metrics: &str) {
        let total = self.total();
        let views = self.lists.iter().zip(&self.files).zip(&self.pages);
        for ((list, file), page) in views {
            let by = list.by.as_str();
            assert_eq!(list.total, total, "the total by {by}");
            assert_eq!(summed(list.items.iter().map(|row| row.sum)), total, "the rows by {by}");
            let rows: Vec<UsageSum> = list.items.iter().map(|row| row.sum).collect();
            assert_eq!(rows_of(file), rows, "the file by {by}: {file}");
            page_agrees(page, list);
        }
        self.metrics_agree(metrics);
    }

    /// The process of the test has counted everything, so that its counters are the month's sums.
    fn metrics_agree(&self, metrics: &str) {
        let by_class = self.lists.iter().find(|list| list.by == UsageBy::Class).expect("by class");
        let rows = by_class.items.iter();
        let sums: BTreeMap<&str, UsageSum> = rows
            .map(|UsageRow { class, sum, .. }| (class.as_deref().expect("a class"), *sum))
            .collect();
        for class in CLASSES {
            let sum = sums.get(class).copied().unwrap_or_default();
            let shown = |series: String| {
                let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
                let value = line.unwrap_or_else(|| panic!("no {series}: {metrics}"));
                value.trim().parse::<f64>().unwrap_or_else(|_| panic!("{series}: {value}"))
            };
            let cost = shown(format!("tinqs_ci_cost_usd_total{{class=\"{class}\"}} "));
            let told = sum.cost_micro_usd.unwrap_or(0);
            assert_eq!(micros(cost), told, "metric of the cost of {class}");
            let uses = [
                ("boot", sum.boot_seconds),
                ("idle", sum.idle_seconds),
                ("busy", sum.busy_seconds),
                ("lost", sum.lost_seconds),
                ("unknown_end", sum.unknown_end_seconds),
            ];
            for (used, seconds) in uses {
                let labels = format!("{{class=\"{class}\",use=\"{used}\"}} ");
                let value = shown(format!("tinqs_ci_machine_seconds_total{labels}"));
                assert_eq!(value.to_string(), seconds.to_string(), "metric of {used} of {class}");
            }
        }
        let others = sums.keys().filter(|class| !CLASSES.contains(*class));
        assert_eq!(others.count(), 0, "classes: {sums:?}");
    }
}

/// Returns dollars in millionths.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a few dollars, never below 0"
)]
fn micros(dollars: f64) -> u64 {
    (dollars * 1e6).round() as u64
}

fn summed(rows: impl Iterator<Item = UsageSum>) -> UsageSum {
    let mut sum = UsageSum { cost_micro_usd: Some(0), ..UsageSum::default() };
    for row in rows {
        sum.jobs += row.jobs;
        sum.boot_seconds += row.boot_seconds;
        sum.idle_seconds += row.idle_seconds;
        sum.busy_seconds += row.busy_seconds;
        sum.lost_seconds += row.lost_seconds;
        sum.total_seconds += row.total_seconds;
        sum.cost_micro_usd = sum.cost_micro_usd.map(|cost| cost + row.cost_micro_usd.unwrap_or(0));
        sum.unpriced_seconds += row.unpriced_seconds;
        sum.unknown_end_seconds += row.unknown_end_seconds;
    }
    // Seconds of which none has a price have no cost, rather than one of 0.
    let is_nothing = sum.total_seconds == 0 && sum.unknown_end_seconds == 0;
    if !is_nothing && sum.unpriced_seconds == sum.total_seconds {
        sum.cost_micro_usd = None;
    }
    sum
}

/// Returns the rows of a CSV file. No name of the test has a comma.
fn rows_of(file: &str) -> Vec<UsageSum> {
    let mut lines = file.lines();
    let heading: Vec<&str> = lines.next().expect("a heading").split(',').collect();
    let names = heading.len() - COLUMNS.len();
    assert_eq!(heading[names..], COLUMNS);
    let row = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), heading.len(), "{line}");
        let field = |name: &str| {
            let at = COLUMNS.iter().position(|column| *column == name).expect("a column");
            fields[names + at]
        };
        let number = |name: &str| field(name).parse().unwrap_or_else(|_| panic!("{name}: {line}"));
        let cost = field("cost_usd");
        UsageSum {
            jobs: number("jobs"),
            boot_seconds: number("boot_seconds"),
            idle_seconds: number("idle_seconds"),
            busy_seconds: number("busy_seconds"),
            lost_seconds: number("lost_seconds"),
            total_seconds: number("total_seconds"),
            cost_micro_usd: (!cost.is_empty()).then(|| micros(cost.parse().expect("dollars"))),
            unpriced_seconds: number("unpriced_seconds"),
            unknown_end_seconds: number("unknown_end_seconds"),
        }
    };
    lines.map(row).collect()
}

/// Fails if the page does not show the rows and the total of a list, in its order.
fn page_agrees(page: &str, list: &UsageList) {
    let by = list.by.as_str();
    if list.items.is_empty() {
        assert!(page.contains("No machine has ended in this month, and no job."), "by {by}");
        return;
    }
    let table = page.split("<tbody>").nth(1).and_then(|rest| rest.split("</table>").next());
    let table = table.unwrap_or_else(|| panic!("no table by {by}: {page}"));
    let rows: Vec<&str> = table.split("<tr>").skip(1).collect();
    let sums = list.items.iter().map(|row| row.sum).chain([list.total]);
    assert_eq!(rows.len(), list.items.len() + 1, "by {by}: {table}");
    for (row, sum) in rows.into_iter().zip(sums) {
        let seconds: Vec<u64> = row
            .split("title=\"")
            .skip(1)
            .filter_map(|rest| rest.split(" s\"").next()?.parse().ok())
            .collect();
        let UsageSum { total_seconds, boot_seconds, idle_seconds, .. } = sum;
        let told = [total_seconds, boot_seconds, idle_seconds, sum.busy_seconds, sum.lost_seconds];
        assert_eq!(seconds, told, "seconds by {by}: {row}");
        let cells: Vec<&str> = row
            .split("<td class=\"n\"")
            .skip(1)
            .filter_map(|cell| cell.split_once('>')?.1.split("</td>").next())
            .collect();
        let shown = (cells.first().copied(), cells.last().copied());
        let (jobs, cost) = (sum.jobs.to_string(), sum.cost().replace('<', "&lt;"));
        assert_eq!(shown, (Some(jobs.as_str()), Some(cost.as_str())), "by {by}: {row}");
    }
}
