//! Every screen as people see it: on a small and a wide screen, in light and dark, and as axe checks
//! it for those who read it by other means.

use std::path::PathBuf;

use serde_json::Value;

use crate::browser::{Browser, keep};
use crate::devtools::Tab;
use crate::host::{Host, OPERATES};
use crate::reading::used;
use crate::signing_in::signed_in;

/// A name for pictures, the path, and what the screen shows.
const SCREENS: [(&str, &str, &str); 9] = [
    ("overview", "/", "LATEST EVENTS"),
    ("runs", "/runs", "test (unit)"),
    ("run", "/runs/job-5", "ATTEMPTS"),
    ("running", "/runs/job-4", "ATTEMPTS"),
    ("machines", "/machines", "i-0f3c21"),
    ("classes", "/classes", "arm"),
    ("usage", "/usage", "acme/web"),
    ("confirm", "/runs/job-3/delete", "Cancel"),
    ("no-run", "/runs/job-404", "Not Found"),
];
const SIZES: [u32; 2] = [375, 1_280];
const SCHEMES: [&str; 2] = ["light", "dark"];

/// Returns the text of axe; prints a loud line if there is none. `.ci/run` installs it.
fn axe() -> Option<String> {
    let Some(file) = std::env::var_os("AXE").map(PathBuf::from) else {
        println!("!! SKIPPED: the page with axe: set AXE to its axe.min.js");
        return None;
    };
    let text = std::fs::read_to_string(&file);
    Some(text.unwrap_or_else(|error| panic!("AXE: {}: {error}", file.display())))
}

/// Lets every check see the screen in each size and in each scheme; `/sign-in` comes last.
fn on_each_screen(browser: &Browser, host: &Host, mut check: impl FnMut(&mut Tab, &str)) {
    let mut tab = signed_in(browser, host, OPERATES);
    let mut stranger = Tab::new(browser);
    for width in SIZES {
        for scheme in SCHEMES {
            for (name, path, text) in SCREENS {
                tab.on_screen(width, scheme);
                tab.go(&host.door(path));
                tab.shows(path, text);
                check(&mut tab, &format!("{name}-{width}-{scheme}"));
            }
            stranger.on_screen(width, scheme);
            stranger.go(&host.door("/runs"));
            stranger.shows("/runs", "Token");
            check(&mut stranger, &format!("sign-in-{width}-{scheme}"));
        }
    }
}

#[test]
fn no_screen_scrolls_sideways_and_each_has_its_own_colors() {
    let browser = browser!();
    let host = Host::furnished();
    used(&host, "acme/web", "test.yml");
    let mut seen = 0;
    on_each_screen(&browser, &host, |tab, screen| {
        let width = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(tab.value(width), true, "{screen} is wider than its screen");
        let ground = tab.value("getComputedStyle(document.body).backgroundColor");
        assert_eq!(ground == "rgb(255, 255, 255)", screen.ends_with("light"), "{screen}: {ground}");
        let picture = tab.picture();
        assert!(picture.starts_with(b"\x89PNG"), "{screen}: a picture");
        keep(screen, &picture);
        seen += 1;
    });
    assert_eq!(seen, 4 * (SCREENS.len() + 1));
}

#[test]
fn axe_finds_nothing_serious_on_any_screen() {
    let browser = browser!();
    let Some(axe) = axe() else { return };
    let host = Host::furnished();
    used(&host, "acme/web", "test.yml");
    let find = |tab: &mut Tab| {
        if tab.value("typeof axe") != "object" {
            // No screen changes while it is read.
            tab.value("for (let timer = 0; timer < 9999; timer++) clearTimeout(timer)");
            tab.value(&axe);
        }
        let found = tab.awaited(
            "axe.run(document, { resultTypes: ['violations'] }).then((all) => all.violations
               .map((one) => [one.impact, one.id, one.nodes.map((node) => node.html).join(' ')]))",
        );
        serde_json::from_value::<Vec<[String; 3]>>(found).expect("findings")
    };
    let is_serious = |finding: &[String; 3]| ["serious", "critical"].contains(&finding[0].as_str());
    let mut wrong = Vec::new();
    let mut seen = 0;
    on_each_screen(&browser, &host, |tab, screen| {
        for finding in find(tab) {
            println!("{screen}: {finding:?}");
            if is_serious(&finding) {
                wrong.push(format!("{screen}: {finding:?}"));
            }
        }
        seen += 1;
        if seen == 1 {
            // The check is one that can fail.
            tab.value("document.querySelector('main').append(document.createElement('button'))");
            assert!(find(tab).iter().any(|one| is_serious(one) && one[1] == "button-name"));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen, 4 * (SCREENS.len() + 1));
}

#[test]
fn charts_and_bars_are_pictures_with_words() {
    let browser = browser!();
    let host = Host::furnished();
    let mut tab = signed_in(&browser, &host, OPERATES);
    let words = |tab: &mut Tab, of: &str| -> Vec<String> {
        let all =
            format!("[...document.querySelectorAll('{of}[role=img]')].map((one) => one.ariaLabel)");
        serde_json::from_value::<Vec<String>>(tab.value(&all)).expect("texts")
    };
    let charts = words(&mut tab, "svg.chart");
    assert_eq!(charts.len(), 2, "one of each class: {charts:?}");
    assert_eq!(charts[0], "last 10 min: desired up to 4, actual up to 1");
    let high = "document.querySelector('svg.chart').getBoundingClientRect().height > 10";
    assert_eq!(tab.value(high), Value::Bool(true));
    tab.go(&host.door("/runs/job-5"));
    tab.shows("/runs/job-5", "picked");
    let bars = words(&mut tab, "svg.bar");
    assert_eq!(bars, ["decided after 1s, launched after 5s, picked after 30s, done after 18s"]);
    let widths = "[...document.querySelectorAll('svg.bar rect')].map((one) =>
        one.getBoundingClientRect().width)";
    let widths: Vec<f64> = serde_json::from_value(tab.value(widths)).expect("numbers");
    assert!(widths[2] > widths[3] && widths[3] > widths[1] && widths[1] > widths[0], "{widths:?}");
}
