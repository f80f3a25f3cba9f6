//! The parts of every screen: head, navigation, banner.

use axum::http::StatusCode;
use jiff::Timestamp;
use maud::{DOCTYPE, Markup, html};

use super::assets::{SCRIPT, STYLE};
use crate::server::http::guard::{AuthMethod, Identity};
use crate::server::http::session;

/// The screens of the navigation: path and title.
const SCREENS: [(&str, &str); 5] = [
    ("/", "Overview"),
    ("/runs", "Runs"),
    ("/machines", "Machines"),
    ("/classes", "Classes"),
    ("/usage", "Usage"),
];

/// Returns a whole page for this caller, if one is known. `here` is the path of its entry in the
/// navigation.
pub(super) fn page(
    installation: &str,
    caller: Option<&Identity>,
    (here, title): (&str, &str),
    now: Timestamp,
    main: &Markup,
) -> Markup {
    let whole = if installation.is_empty() {
        format!("{title} · tinqs-ci")
    } else {
        format!("{title} · {installation} · tinqs-ci")
    };
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (whole) }
                link rel="icon" href="data:,";
                link rel="stylesheet" href=(STYLE.path);
                script src=(SCRIPT.path) defer {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                header {
                    span.name { "tinqs-ci" @if !installation.is_empty() { " · " (installation) } }
                    nav aria-label="Screens" {
                        @for (path, name) in SCREENS {
                            a href=(path) aria-current=[(path == here).then_some("page")] { (name) }
                        }
                    }
                }
                p #offline role="alert" hidden {
                    "Disconnected: this is what was true at "
                    // Of the last refresh, as all that it shows.
                    span #known-at data-live { (clock(now)) } " UTC. Trying again."
                }
                main #main tabindex="-1" { (main) }
                footer {
                    span #shown data-live { "as of " (clock(now)) " UTC" }
                    noscript { " · without scripts: reload for current values" }
                    @if let Some(caller) = caller { (signed_in(caller)) }
                }
            }
        }
    }
}

/// Says who reads the page; a session can be ended.
fn signed_in(caller: &Identity) -> Markup {
    html! {
        " · " (caller.who) " may " (session::word(caller.may))
        @if caller.by == AuthMethod::Session {
            form.inline method="post" action="/sign-out" { button type="submit" { "Sign out" } }
        }
    }
}

/// Returns a page that says what failed.
pub(super) fn failure(status: StatusCode, detail: &str) -> Markup {
    let title = status.canonical_reason().unwrap_or("Error");
    let main = html! {
        h1 { (title) }
        p { (detail) }
        p { a href="/" { "Overview" } }
    };
    page("", None, ("", title), Timestamp::now(), &main)
}

fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}
