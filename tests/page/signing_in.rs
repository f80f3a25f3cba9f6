//! A person at the keyboard: signing in, reading, signing out.

use crate::browser::Browser;
use crate::devtools::Tab;
use crate::host::{Host, READS};

/// Signs in by a one-time address, as the person of this token.
pub(crate) fn signed_in(browser: &Browser, host: &Host, token: &str) -> Tab {
    let mut tab = Tab::new(browser);
    tab.go(&host.one_time_address(token));
    tab.shows("/sign-in", "who may");
    tab.until("document.activeElement.type === 'submit'");
    tab.press("Enter");
    tab.shows("/", "Sign out");
    tab
}

#[test]
fn a_person_signs_in_with_a_token_and_out_again_by_the_keyboard() {
    let browser = browser!();
    let host = Host::with_runs(3);
    let mut tab = Tab::new(&browser);
    tab.go(&host.door("/runs?text=build"));
    tab.shows("/runs", "Sign in");
    tab.until("document.activeElement.name === 'token'");
    tab.write("a-wrong-token");
    tab.press("Enter");
    tab.shows("/sign-in", "This is no token of this server.");
    tab.go(&host.door("/runs?text=build"));
    tab.shows("/runs", "Sign in");
    tab.until("document.activeElement.name === 'token'");
    tab.write(READS);
    tab.press("Enter");
    tab.shows("/runs", "build (3)");
    tab.until("location.search === '?text=build'");
    assert_eq!(tab.value("document.cookie"), "", "no script reads the cookie");
    tab.focus("Sign out");
    tab.press("Enter");
    tab.shows("/sign-in", "Sign in");
    tab.go(&host.door("/runs"));
    tab.shows("/runs", "Sign in");
}

#[test]
fn a_one_time_address_needs_one_key_and_works_once() {
    let browser = browser!();
    let host = Host::with_runs(3);
    let address = host.one_time_address(READS);
    let mut tab = Tab::new(&browser);
    tab.go(&address);
    tab.shows("/sign-in", "As page, who may read");
    tab.until("document.activeElement.type === 'submit'");
    tab.press("Enter");
    tab.shows("/", "3 open");
    tab.shows("/", "page may read");
    let mut other = Tab::new(&browser);
    other.go(&address);
    other.shows("/sign-in", "was used already");
}

#[test]
fn a_page_of_another_port_changes_nothing_with_the_cookie() {
    let browser = browser!();
    let host = Host::with_runs(0);
    let mut tab = Tab::new(&browser);
    tab.go(&host.one_time_address(READS));
    tab.shows("/sign-in", "As page");
    tab.until("document.activeElement.type === 'submit'");
    tab.press("Enter");
    tab.shows("/", "No job has been seen yet.");
    // The browser sends the cookie with it: ports do not tell sites apart.
    tab.go(&host.attack("/sign-out"));
    tab.shows("/sign-out", "does not come from the page of this server");
    tab.go(&host.door("/"));
    tab.shows("/", "page may read");
}
