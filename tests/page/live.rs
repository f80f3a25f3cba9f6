//! A page that follows events: a change appears soon, also while much happens.

use std::time::{Duration, Instant};

use crate::browser::{Browser, PATIENCE};
use crate::devtools::Tab;
use crate::host::Host;

/// Waits until something holds.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the page has not loaded itself for a while.
fn settle(host: &Host) {
    let (mut asked, mut since) = (host.asked(), Instant::now());
    until("the page loads nothing more", || {
        if host.asked() != asked {
            (asked, since) = (host.asked(), Instant::now());
        }
        since.elapsed() > Duration::from_millis(1_500)
    });
}

/// Opens the list of runs, and waits until it follows events and has loaded itself: by the clock it
/// does so again in half a minute.
fn following(browser: &Browser, host: &Host) -> Tab {
    host.stream();
    let mut tab = Tab::new(browser);
    tab.go(&host.url("/runs"));
    tab.shows("/runs", "as of");
    until("it follows events", || host.followers() > 0 && host.asked() > 1);
    tab
}

#[test]
fn a_change_appears_without_a_reload() {
    let browser = browser!();
    let host = Host::with_runs(0);
    let mut tab = following(&browser, &host);
    let mut took = Vec::new();
    for id in 1..=5 {
        settle(&host);
        let (asked, began) = (host.asked(), Instant::now());
        host.write(id, &format!("appeared as {id}"));
        tab.shows("/runs", &format!("appeared as {id}"));
        took.push(began.elapsed());
        settle(&host);
        assert_eq!(host.asked() - asked, 1, "one load shows it, and no other follows");
    }
    println!("changes appeared within {took:?}");
    // Without events it would take until the next poll. Others may use the processor meanwhile.
    let quickest = took.into_iter().min().expect("five");
    assert!(quickest < Duration::from_secs(5), "{quickest:?}");
    assert_eq!(host.followers(), 1, "one stream told all of it");
}

#[test]
fn a_page_is_loaded_again_also_while_events_never_pause() {
    let browser = browser!();
    let host = Host::with_runs(0);
    let mut tab = following(&browser, &host);
    settle(&host);
    let (asked, began) = (host.asked(), Instant::now());
    let mut id = 0;
    // By the clock alone, three loads would take longer than this waits.
    until("it is loaded three times while events come", || {
        id += 1;
        host.write(id, &format!("one of many ({id})"));
        std::thread::sleep(Duration::from_millis(80));
        host.asked() - asked >= 3
    });
    let loads = host.asked() - asked;
    let most = usize::try_from(began.elapsed().as_millis() / 500).expect("few") + 1;
    assert!(loads <= most, "{loads} loads in {:?}", began.elapsed());
    tab.shows("/runs", &format!("one of many ({id})"));
}

#[test]
fn the_banner_of_a_lost_server_says_when_the_page_was_last_true() {
    let browser = browser!();
    let host = Host::with_runs(0);
    host.stream();
    let mut tab = Tab::new(&browser);
    tab.go(&host.url("/runs"));
    tab.shows("/runs", "as of");
    let shown = "document.getElementById('shown').textContent";
    let first = tab.value(shown);
    until("it has loaded itself", || host.followers() > 0 && host.asked() > 1);
    host.write(1, "the last news");
    tab.shows("/runs", "the last news");
    settle(&host);
    host.refuse();
    host.write(2, "never shown");
    tab.until("!document.getElementById('offline').hidden");
    let last = tab.value(shown);
    assert_ne!(first, last, "it was refreshed");
    let last =
        last.as_str().and_then(|text| text.strip_prefix("as of ")).expect("a time").to_owned();
    let banner = tab.value("document.getElementById('offline').textContent");
    let expected = format!("Disconnected: this is what was true at {last}. Trying again.");
    assert_eq!(banner, expected.as_str());
    let lines = tab.value("document.body.innerText.includes('never shown')");
    assert_eq!(lines, false);
}
