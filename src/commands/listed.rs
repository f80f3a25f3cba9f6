//! Prints lists in each output format.

use jiff::Timestamp;

use super::args::Output;
use super::failure::{Failure, out};
use crate::commands::print::{self, Detail, Listed, Screen, Table};

/// Wide tables show whole names on any screen.
pub(super) fn shown_on(output: Output, screen: Screen) -> Screen {
    if output == Output::Wide { Screen { width: None, ..screen } } else { screen }
}

pub(super) fn detail(output: Output) -> Detail {
    match output {
        Output::Wide => Detail::Wide,
        Output::Table | Output::Json | Output::Yaml | Output::Name => Detail::Table,
    }
}

pub(super) fn yaml<T: serde::Serialize>(thing: &T) -> Result<String, Failure> {
    print::yaml(thing).map_err(|error| Failure::failed(format!("cannot encode as YAML: {error}")))
}

pub(super) fn names<T: Listed>(things: &[T]) -> String {
    let mut text = String::new();
    for thing in things {
        text.extend([T::KIND, "/", &tinqs_ci_reconciler::text::escape(&thing.name()), "\n"]);
    }
    text
}

pub(super) fn table<T: Listed>(things: &[T], detail: Detail) -> Table {
    print::table(things, detail, Timestamp::now())
}

pub(super) fn print_changed<T: Listed>(
    changed: &[T],
    output: Output,
    screen: Screen,
    widths: &mut Vec<usize>,
    with_titles: bool,
) -> Result<(), Failure> {
    if changed.is_empty() {
        return Ok(());
    }
    let lines: String = match output {
        Output::Table | Output::Wide => {
            table(changed, detail(output)).lines(screen, widths, with_titles)
        }
        Output::Name => names(changed),
        Output::Json => changed.iter().filter_map(|thing| print::json_line(thing).ok()).collect(),
        Output::Yaml => {
            let documents: Result<Vec<String>, Failure> =
                changed.iter().map(|thing| Ok(format!("---\n{}", yaml(thing)?))).collect();
            documents?.concat()
        }
    };
    out(&lines)
}
