//! The machines, costs, waits and classes in the views.

use serde_json::Value;
use tinqs_ci::api::status::Spend;
use tinqs_ci::api::{BudgetUse, MachineView};
use tinqs_ci::words::money;
use tinqs_ci_reconciler::model::{MachineState, MicroUsd};

use super::{Views, items, number};

/// Returns a text as it is in HTML.
fn escaped(text: &str) -> String {
    text.replace('<', "&lt;").replace('>', "&gt;")
}

/// Returns the budget of a class as the page shows it.
pub(super) fn budget(class: &Value, none: &str) -> String {
    let budget: Option<BudgetUse> =
        serde_json::from_value(class["budget"].clone()).expect("a budget");
    budget.map_or(none.to_owned(), |budget| escaped(&budget.to_string()))
}

impl Views {
    fn machines(&self) -> Vec<MachineView> {
        let all = items(&self.machines).iter().cloned();
        all.map(|machine| serde_json::from_value(machine).expect("a machine")).collect()
    }

    /// The machines: in `/v1/machines`, and in the same order on their page.
    pub(super) fn machines_agree(&self) {
        let table = self.machines_page.split("<tbody>").nth(1).unwrap_or_default();
        let rows: Vec<&str> = table.split("<tr>").skip(1).collect();
        let machines = self.machines();
        assert_eq!(rows.len(), machines.len(), "{}", self.machines_page);
        for ((row, machine), told) in rows.iter().zip(&machines).zip(items(&self.machines)) {
            let MachineView { id, class, kind, cost_micro_usd, .. } = machine;
            let cost = cost_micro_usd.map(|cost| money::dollars(MicroUsd(cost)));
            let cost = escaped(&cost.unwrap_or(money::UNKNOWN.to_owned()));
            let doing = told["doing"].as_str().expect("a word");
            for part in [
                format!("<td>{id}</td>"),
                format!("<td>{class}</td>"),
                format!("<td>{kind}</td>"),
                format!("</span> {doing}</span>"),
                format!(">{cost}</td>"),
            ] {
                assert!(row.contains(&part), "{part} of machine {id}: {row}");
            }
        }
    }

    /// The costs of machines: in `/v1/status`, `/v1/machines` and `/v1/usage`, and on the overview.
    /// A history takes some hours of one day.
    pub(super) fn costs_agree(&self) {
        let spend: Spend = serde_json::from_value(self.status["spend"].clone()).expect("the spend");
        let mut live = self.machines();
        live.retain(|m| matches!(m.state, MachineState::Booting | MachineState::Up));
        let prices: Vec<u64> = live.iter().filter_map(|m| m.hourly_micro_usd).collect();
        let unpriced = live.len() - prices.len();
        assert_eq!(spend.unpriced_machines, unpriced, "{spend:?}");
        let is_known = !prices.is_empty() || unpriced == 0;
        let per_hour = is_known.then(|| prices.iter().sum::<u64>());
        assert_eq!(spend.per_hour_micro_usd, per_hour, "cost per hour of {live:?}");
        if let Some(today) = spend.today_micro_usd {
            let so_far: u64 = live.iter().filter_map(|m| m.cost_micro_usd).sum();
            let counted = self.used.total().cost_micro_usd.unwrap_or(0);
            // Beyond both are ended machines that are listed no more and not counted yet: their runs
            // are counted when they finish, and one whose machine was lost waits for the next.
            let known = so_far + counted;
            assert!(today >= known, "cost of today: {known}, {spend:?}");
            if self.machines().is_empty() && self.open_runs() == 0 {
                assert_eq!(today, known, "cost of today once all is counted: {spend:?}");
            }
        }
        for (title, cost) in [("per hour", spend.per_hour()), ("today", spend.today())] {
            let part = format!("<dt>cost {title}</dt><dd>{}</dd>", escaped(&cost));
            assert!(self.overview.contains(&part), "the overview does not show {part}");
        }
    }

    /// The waits of all classes and of each: in `/v1/status`, and on the overview.
    pub(super) fn waits_agree(&self) {
        let jobs = |waits: &Value| if waits.is_null() { 0 } else { number(&waits["jobs"]) };
        let of_all = jobs(&self.status["waits"]);
        let classes = self.status["classes"].as_array().expect("a list");
        let of_each: usize = classes.iter().map(|class| jobs(&class["waits"])).sum();
        assert_eq!(of_all, of_each, "{}", self.status);
        let part = match of_all {
            0 => "No job has started within the last hour".to_owned(),
            1 => "The wait is that of the one job that started".to_owned(),
            jobs => format!("Waits are those of {jobs} jobs that started"),
        };
        assert!(self.overview.contains(&part), "the overview does not show: {part}");
    }

    /// The classes: in `/v1/classes`, `/v1/status`, and on their page.
    pub(super) fn class_pages_agree(&self) {
        for (index, listed) in items(&self.classes).iter().enumerate() {
            assert_eq!(listed["budget"], self.status["classes"][index]["budget"]);
            let begin = format!("id=\"class-{index}\"");
            let section = self.classes_page.split(&begin).nth(1).expect("a section");
            let section = section.split("</section>").next().unwrap_or_default();
            let counted = |key: &str| number(&listed[key]).to_string();
            for (title, value) in [
                ("machines", counted("machines")),
                ("seats", counted("seats")),
                ("open runs", counted("open_runs")),
                ("waiting", counted("waiting_runs")),
                ("budget of today", budget(listed, "none")),
            ] {
                let part = format!("<dt>{title}</dt><dd>{value}</dd>");
                assert!(section.contains(&part), "{part}: {section}");
            }
        }
    }
}
