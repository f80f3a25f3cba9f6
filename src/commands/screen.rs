//! The capabilities of standard output.

use std::io::{IsTerminal as _, stdout};

use anstream::{AutoStream, ColorChoice};

use super::print::Screen;
use crate::settings::Env;

/// The width of a terminal that does not say its width.
const USUAL: usize = 80;

/// Returns what standard output can show. A terminal has a width; anything else has one only if
/// COLUMNS says so, so that scripts see whole names.
pub(super) fn screen(env: &Env) -> Screen {
    let variable = |name: &str| env.get(name).map(String::as_str).filter(|text| !text.is_empty());
    let columns =
        variable("COLUMNS").and_then(|text| text.parse::<usize>().ok()).filter(|n| *n > 0);
    let is_terminal = stdout().is_terminal();
    Screen {
        width: if is_terminal { of_terminal().or(columns).or(Some(USUAL)) } else { columns },
        color: AutoStream::choice(&stdout()) != ColorChoice::Never,
        links: is_terminal && variable("TERM").is_some_and(|kind| kind != "dumb"),
    }
}

fn of_terminal() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}
