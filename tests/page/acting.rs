//! A person at the keyboard: what a page asks before it acts.

use crate::host::{Host, OPERATES, READS};
use crate::signing_in::signed_in;

#[test]
fn a_run_is_deleted_and_retried_by_the_keyboard() {
    let browser = browser!();
    let host = Host::with_runs(3);
    let mut tab = signed_in(&browser, &host, OPERATES);
    tab.go(&host.door("/runs/job-3"));
    tab.shows("/runs/job-3", "Delete");
    tab.focus("Delete");
    tab.press("Enter");
    tab.shows("/runs/job-3/delete", "gets no machine any more");
    tab.focus("Cancel");
    tab.press("Enter");
    tab.shows("/runs/job-3", "Delete");
    tab.focus("Delete");
    tab.press("Enter");
    tab.shows("/runs/job-3/delete", "Delete job-3?");
    tab.focus("Delete");
    tab.press("Enter");
    tab.shows("/runs/job-3", "ops deleted the run");
    tab.focus("Retry");
    tab.press("Enter");
    tab.shows("/runs/job-3/retry", "Retry job-3?");
    tab.focus("Retry");
    tab.press("Enter");
    tab.shows("/runs/job-3", "ops retried the run");
}

#[test]
fn launches_are_paused_from_the_overview_and_a_reader_finds_no_way_to() {
    let browser = browser!();
    let host = Host::with_runs(0);
    let mut tab = signed_in(&browser, &host, OPERATES);
    tab.focus("Pause launches");
    tab.press("Enter");
    tab.shows("/pause", "jobs wait");
    tab.focus("Pause");
    tab.press("Enter");
    tab.shows("/", "paused by ops");
    assert_eq!(host.world().state().pauses.len(), 1);
    let mut reader = signed_in(&browser, &host, READS);
    reader.shows("/", "paused by ops");
    assert_eq!(reader.value("document.querySelectorAll('.acts').length"), 0);
    // Not even by a page of another port, with the cookie of a person who may.
    tab.go(&host.attack("/resume"));
    tab.shows("/resume", "does not come from the page of this server");
    assert_eq!(host.world().state().pauses.len(), 1);
}
