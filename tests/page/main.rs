//! The page in a real browser: headless Chromium, if this host has one.
//!
//! The browser comes from `CHROMIUM`, else from `PATH`. Without one, each test prints a loud line
//! and checks nothing; `.ci/run` installs the Debian package where it can.

use std::time::Instant;

/// Returns the browser; prints a loud line if there is none.
macro_rules! browser {
    () => {
        match $crate::browser::Browser::find() {
            Some(browser) => browser,
            None => {
                println!(
                    "!! SKIPPED: the page in a browser: no Chromium; set CHROMIUM or install it"
                );
                return;
            }
        }
    };
}

mod acting;
mod browser;
mod devtools;
mod host;
mod live;
mod looks;
mod reading;
mod signing_in;

use host::{HOSTILE, Host};

#[test]
fn a_thousand_runs_load_and_are_filtered_by_the_address() {
    let browser = browser!();
    let host = Host::with_runs(1_000);
    let began = Instant::now();
    let page = host.fetch("/runs");
    println!("/runs with 1,000 runs: {} bytes in {} ms", page.len(), began.elapsed().as_millis());
    let shown = browser.dom(&host.url("/runs"), 1_000);
    assert_eq!(shown.matches("href=\"/runs/job-").count(), 100, "the newest");
    assert!(page.len() < 50_000, "{} bytes", page.len());
    assert!(shown.contains("Older runs"));
    let found = browser.dom(&host.url("/runs?text=build+(777)"), 1_000);
    assert_eq!(found.matches("href=\"/runs/job-").count(), 1, "{found}");
    let overview = browser.dom(&host.url("/"), 1_000);
    assert!(overview.contains("1000 open; the longest 10 are shown"), "{overview}");
}

#[test]
fn hostile_names_stay_text() {
    let browser = browser!();
    let host = Host::with_runs(0);
    host.add(7, HOSTILE);
    for path in ["/", "/runs", "/runs/job-7"] {
        let shown = browser.dom(&host.url(path), 1_000);
        assert!(shown.contains("&lt;img src=x onerror="), "{path}: it is text\n{shown}");
        assert!(!shown.contains("<img"), "{path}: no element came of it");
        assert!(!shown.contains("data-attacked"), "{path}: no script ran");
    }
}

#[test]
fn an_empty_installation_says_so() {
    let browser = browser!();
    let host = Host::with_runs(0);
    let shown = browser.dom(&host.url("/"), 1_000);
    assert!(shown.contains("No job has been seen yet."), "{shown}");
    assert!(shown.contains("all is well"), "{shown}");
}

#[test]
fn a_change_appears_without_a_reload_where_nobody_can_follow_events() {
    let browser = browser!();
    let host = Host::with_runs(0);
    host.when_asked(2, |host| host.add(42, "appeared later"));
    // The page is polled every 5 s; the browser's own time passes faster.
    let shown = browser.dom(&host.url("/runs"), 20_000);
    assert!(shown.contains("appeared later"), "{shown}");
    assert!(shown.contains("role=\"alert\" hidden"), "it is connected: {shown}");
}

#[test]
fn a_page_whose_server_is_gone_says_so() {
    let browser = browser!();
    let host = Host::with_runs(3);
    host.when_asked(2, Host::refuse);
    let shown = browser.dom(&host.url("/runs"), 20_000);
    assert!(shown.contains("href=\"/runs/job-3\""), "what it showed stays: {shown}");
    assert!(!shown.contains("role=\"alert\" hidden"), "the banner is shown: {shown}");
}

#[test]
fn the_page_fits_a_small_screen_and_a_wide_one() {
    let browser = browser!();
    let host = Host::with_runs(30);
    host.add(
        31,
        "a very long name of a job, as matrices make them (ubuntu-24.04, nightly, release)",
    );
    for width in [375, 1_600] {
        for path in ["/", "/runs", "/runs/job-31", "/machines", "/classes", "/usage"] {
            let widths = browser.widths(&host, path, width);
            assert_eq!(widths, (width, width), "{path} is wider than its screen");
        }
        let picture = browser.screenshot(&host.url("/"), width);
        assert!(picture.len() > 5_000, "{} bytes", picture.len());
        assert!(picture.starts_with(b"\x89PNG"), "a picture");
    }
}
