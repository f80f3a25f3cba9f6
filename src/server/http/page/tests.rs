//! The screens as text: what they show, and that nothing from outside is markup.

use jiff::{SignedDuration, Timestamp};
use maud::html;

use super::{assets, layout};

#[test]
fn the_whole_page_with_its_files_is_small() {
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(3_600);
    let page =
        layout::page("acme", None, ("/", "Overview"), now, &html! { p { "x" } }).into_string();
    let files = include_str!("page.css").len() + include_str!("page.js").len();
    assert!(page.len() + files < 30_000, "{} and {files} bytes", page.len());
    assert!(page.contains(&assets::STYLE.path) && page.contains(&assets::SCRIPT.path));
    assert!(!page.contains("style=") && !page.contains("onclick"), "nothing is inline: {page}");
    assert!(page.contains("as of 01:00:00 UTC"));
}

#[test]
fn the_files_load_nothing_from_elsewhere() {
    for text in [include_str!("page.css"), include_str!("page.js")] {
        for outside in ["http:", "https:", "//cdn", "@import", "url(", "eval(", "innerHTML = "] {
            assert!(!text.contains(outside), "{outside}");
        }
    }
}

#[test]
fn a_failure_is_a_page_whose_text_is_escaped() {
    let page =
        layout::failure(axum::http::StatusCode::NOT_FOUND, "run <b> not found").into_string();
    assert!(
        page.contains("<h1>Not Found</h1>") && page.contains("run &lt;b&gt; not found"),
        "{page}"
    );
}
