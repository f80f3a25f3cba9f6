//! A person who reads: by the keyboard, with many runs, and with names from anywhere.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tinqs_ci_reconciler::model::{Amount, ClassName, MicroUsd, RunName, Seconds, UsageKey};

use crate::host::{HOSTILE, Host, READS};
use crate::signing_in::signed_in;

/// Counts a job of today.
pub(crate) fn used(host: &Host, repo: &str, workflow: &str) {
    let key = UsageKey {
        day: TimeZone::UTC.to_datetime(Timestamp::now()).date(),
        class: ClassName("linux".to_owned()),
        repo: repo.to_owned(),
        workflow: workflow.to_owned(),
    };
    let seconds = Seconds { boot: 21, idle: 3, busy: 640, lost: 0 };
    let cost = MicroUsd(20_000);
    let amount = Amount { jobs: 1, seconds, cost, unpriced: 0, unknown_end: 0 };
    *host.world().state().usage.entry(key).or_default() += amount;
}

#[test]
fn the_keyboard_leads_from_the_overview_to_a_run() {
    let browser = browser!();
    let host = Host::with_runs(120);
    let mut tab = signed_in(&browser, &host, READS);
    tab.go(&host.door("/"));
    tab.shows("/", "LATEST EVENTS");
    tab.press("Tab");
    assert_eq!(tab.value("document.activeElement.innerText"), "Skip to content", "it comes first");
    let visible = "document.activeElement.getBoundingClientRect().left >= 0";
    assert_eq!(tab.value(visible), true, "and is seen with the focus");
    tab.press("Enter");
    tab.until("document.activeElement.id === 'main'");
    tab.go(&host.door("/"));
    tab.shows("/", "LATEST EVENTS");
    tab.focus("Runs");
    let outline = "getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(tab.value(outline), "solid", "the focus is seen");
    tab.press("Enter");
    tab.shows("/runs", "Older runs");
    tab.focus_on("document.activeElement.name === 'text'");
    tab.write("build (77)");
    tab.press("Enter");
    tab.until("location.search.includes('text=build')");
    tab.shows("/runs", "build (77)");
    // A table that is wider than its screen is scrolled by the keyboard.
    tab.focus_on("document.activeElement.matches('div.table')");
    tab.focus("job-77");
    tab.press("Enter");
    tab.shows("/runs/job-77", "ATTEMPTS");
}

#[test]
fn pages_beyond_the_end_say_so_and_lead_back() {
    let browser = browser!();
    let host = Host::with_runs(200);
    let mut tab = signed_in(&browser, &host, READS);
    tab.go(&host.door("/runs?repo=acme%2Fweb"));
    tab.shows("/runs", "Older runs");
    tab.focus("Older runs");
    tab.press("Enter");
    tab.until("location.search.includes('after=')");
    tab.shows("/runs", "job-1");
    // While it was open, those of its second page were deleted.
    let number = |name: &RunName| name.as_str().trim_start_matches("job-").parse::<u32>();
    host.world().state().runs.retain(|name, _| number(name).is_ok_and(|number| number > 100));
    let last = tab.value("location.href");
    tab.go(last.as_str().expect("an address"));
    tab.shows("/runs", "There are no older runs.");
    tab.focus("Newest runs");
    tab.press("Enter");
    tab.until("location.search === '?repo=acme%2Fweb'");
    tab.shows("/runs", "job-200");
}

#[test]
fn every_screen_of_a_thousand_runs_is_three_files_of_less_than_60_kb() {
    let browser = browser!();
    let host = Host::with_runs(1_000);
    let mut tab = signed_in(&browser, &host, READS);
    for path in ["/", "/runs", "/runs/job-1000", "/machines", "/classes", "/usage"] {
        tab.go(&host.door(path));
        tab.shows(path, "Sign out");
        let files = "performance.getEntriesByType('resource')
            .filter((one) => ['link', 'script', 'css', 'img'].includes(one.initiatorType))";
        let count = tab.value(&format!("({files}).length"));
        assert_eq!(count, 2, "{path}: a style sheet and a script");
        let bytes = tab.value(&format!(
            "performance.getEntriesByType('navigation').concat({files})
               .reduce((sum, one) => sum + one.decodedBodySize, 0)"
        ));
        let bytes = bytes.as_u64().unwrap_or_else(|| panic!("{path}: {bytes}"));
        // The event ends a moment after the page is complete.
        let loaded = "performance.getEntriesByType('navigation')[0].loadEventEnd";
        tab.until(&format!("{loaded} > 0"));
        let loaded = tab.value(loaded);
        let loaded = loaded.as_f64().unwrap_or_else(|| panic!("{path}: {loaded}"));
        println!("{path}: {bytes} bytes with its files, loaded after {loaded:.0} ms");
        assert!((1_000..60_000).contains(&bytes), "{path}: {bytes} bytes");
    }
}

#[test]
fn names_from_anywhere_stay_short_text_on_a_small_screen() {
    let browser = browser!();
    let host = Host::with_runs(0);
    let ansi = "\u{1b}[31mred\u{1b}[0m\u{7}";
    let backwards = "\u{202e}txt.exe\u{2066} بناء ";
    let endless = "x".repeat(10_000);
    for (id, name) in [(1, HOSTILE), (2, ansi), (3, backwards), (4, endless.as_str())] {
        host.add(id, name);
        used(&host, name, name);
    }
    let mut tab = signed_in(&browser, &host, READS);
    tab.on_screen(375, "light");
    let runs = ["/runs/job-1", "/runs/job-2", "/runs/job-3", "/runs/job-4"];
    for path in ["/", "/runs", "/usage"].into_iter().chain(runs) {
        tab.go(&host.door(path));
        tab.shows(path, "Sign out");
        let wide = tab.value("document.documentElement.scrollWidth");
        assert_eq!(wide, 375, "{path} is wider than its screen");
        for attack in ["document.querySelectorAll('img').length", "document.scripts.length - 1"] {
            assert_eq!(tab.value(attack), 0, "{path}: {attack}");
        }
        assert_eq!(tab.value("document.body.dataset.attacked === undefined"), true, "{path}");
        let shown = tab.value("document.body.innerText");
        let shown = shown.as_str().expect("text");
        let controls = shown.chars().filter(|c| c.is_control() && !"\n\t".contains(*c));
        assert_eq!(controls.count(), 0, "{path}: {shown}");
        for hidden in ['\u{202e}', '\u{2066}'] {
            assert!(!shown.contains(hidden), "{path}: it changes the direction of what follows");
        }
        assert!(shown.len() < 5_000, "{path}: {} bytes", shown.len());
    }
}
