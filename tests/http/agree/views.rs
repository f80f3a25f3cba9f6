//! The state in each view at one moment, which is the same in all of them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::history::{CLASSES, HTML, History, json, text};
use super::used::Used;

mod sides;

/// Everything that shows the state.
pub(super) struct Views {
    pub(super) status: Value,
    pub(super) used: Used,
    runs: Vec<Value>,
    classes: Value,
    machines: Value,
    drift: Value,
    why: Value,
    metrics: String,
    overview: String,
    machines_page: String,
    classes_page: String,
    /// The page of the runs of each phase.
    listed: BTreeMap<&'static str, String>,
    /// The page of each waiting run, and its story in `/v1/why` and `/v1/explain/job`.
    pages: BTreeMap<String, String>,
    stories: BTreeMap<String, (Value, Value)>,
}

fn items(list: &Value) -> &[Value] {
    list["items"].as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap_or_else(|| panic!("a number: {value}"))).expect("few")
}

/// The class of a run: each of the test's labels is the name of one.
fn class_of(run: &Value) -> &str {
    run["spec"]["runs_on"][0].as_str().expect("a label")
}

fn reason_of(run: &Value) -> Option<&str> {
    run["status"]["conditions"][0]["reason"].as_str()
}

impl Views {
    pub(super) async fn read(history: &History) -> Self {
        let mut runs = Vec::new();
        let mut path = "/v1/runs?limit=50".to_owned();
        loop {
            let page = json(history, &path).await;
            runs.extend(items(&page).to_vec());
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/runs?limit=50&after={next}");
        }
        let mut listed = BTreeMap::new();
        for phase in ["Waiting", "Starting", "Running"] {
            listed.insert(phase, text(history, &format!("/runs?phase={phase}"), HTML).await);
        }
        let (mut pages, mut stories) = (BTreeMap::new(), BTreeMap::new());
        for run in runs.iter().filter(|run| run["status"]["phase"] == "Waiting") {
            let name = run["name"].as_str().expect("a name").to_owned();
            let page = text(history, &format!("/runs/{name}"), HTML).await;
            let mut why = json(history, &format!("/v1/why?what={name}")).await;
            let explained = json(history, &format!("/v1/explain/job/{name}")).await;
            stories.insert(name.clone(), (why["job"].take(), explained));
            pages.insert(name, page);
        }
        Self {
            status: json(history, "/v1/status").await,
            classes: json(history, "/v1/classes").await,
            machines: json(history, "/v1/machines").await,
            drift: json(history, "/v1/drift").await,
            why: json(history, "/v1/why").await,
            used: Used::read(history).await,
            metrics: text(history, "/metrics", "text/plain").await,
            overview: text(history, "/", HTML).await,
            machines_page: text(history, "/machines", HTML).await,
            classes_page: text(history, "/classes", HTML).await,
            runs,
            listed,
            pages,
            stories,
        }
    }

    fn of(&self, class: &str, phase: &str) -> usize {
        let these = self.runs.iter().filter(|run| run["status"]["phase"] == phase);
        these.filter(|run| class_of(run) == class).count()
    }

    /// The runs that are not finished.
    pub(super) fn open_runs(&self) -> usize {
        self.runs.iter().filter(|run| run["status"]["phase"] != "Finished").count()
    }

    /// The runs of a class that wait, start and run.
    pub(super) fn phases(&self, class: &str) -> (usize, usize, usize) {
        (self.of(class, "Waiting"), self.of(class, "Starting"), self.of(class, "Running"))
    }

    /// The reasons of the waiting runs of a class.
    pub(super) fn reasons(&self, class: &str) -> Vec<(String, usize)> {
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let waiting = self.runs.iter().filter(|run| run["status"]["phase"] == "Waiting");
        for run in waiting.filter(|run| class_of(run) == class) {
            if let Some(reason) = reason_of(run) {
                *reasons.entry(reason.to_owned()).or_default() += 1;
            }
        }
        reasons.into_iter().collect()
    }

    /// The number of open drift.
    pub(super) fn drift(&self) -> usize {
        items(&self.drift).len()
    }

    /// Sums the samples of a family whose labels contain this text.
    fn sum(&self, family: &str, label: &str) -> usize {
        let samples = self.metrics.lines().filter_map(|line| line.strip_prefix(family));
        let samples = samples.filter(|rest| rest.starts_with('{') && rest.contains(label));
        let values = samples.map(|rest| rest.rsplit(' ').next().unwrap_or_default());
        values.map(|value| value.parse::<usize>().unwrap_or_else(|_| panic!("{value}"))).sum()
    }

    /// The cells of the row of a class on the overview.
    fn row(&self, class: &str) -> Vec<String> {
        let begin = format!("<tr><td>{class}</td>");
        let row = self.overview.split(&begin).nth(1).unwrap_or_else(|| panic!("no row of {class}"));
        let row = row.split("</tr>").next().unwrap_or_default();
        let cells = row.split("<td").skip(1);
        let text = |cell: &str| {
            let inner = cell.split_once('>').map_or("", |(_, inner)| inner);
            inner.split("</td>").next().unwrap_or_default().to_owned()
        };
        cells.map(text).collect()
    }

    /// Fails if two views differ.
    pub(super) fn agree(&self) {
        for (index, class) in CLASSES.into_iter().enumerate() {
            self.class_agrees(class, &self.status["classes"][index], &self.classes["items"][index]);
        }
        self.drift_agrees();
        self.reasons_agree();
        self.stories_agree();
        self.machines_agree();
        self.costs_agree();
        self.waits_agree();
        self.class_pages_agree();
        self.used.agree(&self.metrics);
        for (phase, page) in &self.listed {
            let shown = page.matches("href=\"/runs/").count();
            let these = self.runs.iter().filter(|run| run["status"]["phase"] == *phase).count();
            assert_eq!(shown, these, "the page of runs in phase {phase}");
        }
    }

    fn class_agrees(&self, class: &str, status: &Value, listed: &Value) {
        let (waiting, starting, running) = self.phases(class);
        let open = waiting + starting + running;
        let told = |key: &str| number(&status[key]);
        assert_eq!(status["name"], class);
        assert_eq!(
            (told("waiting"), told("starting"), told("running"), told("open")),
            (waiting, starting, running, open),
            "/v1/status of {class}: {status}"
        );
        assert_eq!(
            (number(&listed["open_runs"]), number(&listed["waiting_runs"])),
            (open, waiting),
            "/v1/classes of {class}"
        );
        let label = format!("class=\"{class}\"");
        assert_eq!(self.sum("tinqs_ci_runs", &label), open, "metric of open runs of {class}");
        let machines = |states: &[&str]| {
            let of_class = items(&self.machines).iter().filter(|machine| machine["class"] == class);
            of_class.filter(|m| states.iter().any(|state| m["state"] == *state)).count()
        };
        let live = machines(&["booting", "up"]);
        assert_eq!(number(&listed["machines"]), live, "machines of {class} in /v1/classes");
        assert_eq!(told("machines"), live, "machines of {class} in /v1/status");
        let not_gone = live + machines(&["ending"]);
        assert_eq!(
            self.sum("tinqs_ci_machines", &label),
            not_gone,
            "metric of machines of {class}"
        );
        let desired = told("desired");
        assert_eq!(self.sum("tinqs_ci_desired_machines", &label), desired, "metric of {class}");
        let cells = self.row(class);
        let shown: Vec<&str> = cells.iter().map(String::as_str).collect();
        let [wanted, actual, _limit, budget, _chart, p50, p95, waits, runs, ..] = shown[..] else {
            panic!("{shown:?}")
        };
        assert_eq!(budget, sides::budget(status, "–"), "budget of {class}");
        let unknown = status["waits"].is_null();
        assert_eq!([p50 == "–", p95 == "–"], [unknown; 2], "waits of {class}: {status}");
        let expected = [desired, live, waiting, running].map(|count| count.to_string());
        assert_eq!([wanted, actual, waits, runs], expected.each_ref().map(String::as_str));
    }

    fn drift_agrees(&self) {
        let open = self.drift();
        assert_eq!(number(&self.status["open_drift"]), open, "/v1/status");
        assert_eq!(self.sum("tinqs_ci_drift", ""), open, "metric of drift: {}", self.drift);
        let shown = if open == 0 { "none".to_owned() } else { format!("{open} open") };
        let title = format!("Drift <small>{shown}");
        assert!(self.overview.contains(&title), "the overview does not show {shown:?}");
    }

    /// Reasons of waiting runs: in the record, `/v1/status`, `/v1/why`, and on the run's page.
    fn reasons_agree(&self) {
        for (index, class) in CLASSES.into_iter().enumerate() {
            let told = self.status["classes"][index]["reasons"].as_array().expect("a list");
            let mut told: Vec<(String, usize)> = told
                .iter()
                .map(|one| (one["reason"].as_str().expect("a word").into(), number(&one["runs"])))
                .collect();
            told.sort();
            assert_eq!(told, self.reasons(class), "reasons of {class} in /v1/status");
        }
        let why: BTreeMap<&str, &str> = self.why["runs"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(|one| (one["run"].as_str().unwrap_or(""), one["reason"].as_str().unwrap_or("")))
            .collect();
        for run in self.runs.iter().filter(|run| run["status"]["phase"] == "Waiting") {
            let name = run["name"].as_str().expect("a name");
            let Some(reason) = reason_of(run) else { continue };
            assert_eq!(why.get(name), Some(&reason), "{name} in /v1/why: {}", self.why);
            assert!(self.pages[name].contains(reason), "the page of {name} does not show {reason}");
        }
    }

    /// The stories of waiting runs: in `/v1/why`, `/v1/explain/job`, and on the run's page.
    fn stories_agree(&self) {
        for (name, (why, explained)) in &self.stories {
            let told = |key: &str| why[key].as_str().unwrap_or_default();
            let reason = why["reason"].as_str().map(|reason| format!("{reason}: "));
            let first = format!("{}{}", reason.unwrap_or_default(), told("state"));
            assert_eq!(explained["why"][0], first, "{name}: {explained}");
            for key in ["run", "class", "phase", "at_forge", "attempts"] {
                assert_eq!(explained[key], why[key], "{key} of {name}");
            }
            let state = told("state").replace('<', "&lt;").replace('>', "&gt;");
            let page = &self.pages[name];
            for part in [state.as_str(), told("at_forge"), told("waits_for")] {
                assert!(page.contains(part), "the page of {name} does not show: {part}");
            }
        }
    }
}
