//! `get events`: what happened, once or as it happens.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::args::{Get, Output};
use super::failure::{Failure, note, out, warn};
use super::screen::screen;
use super::{listed, local, target};
use crate::api::{Event, EventList};
use crate::commands::client::{Client, EventFilter, Streamed};
use crate::commands::print::Screen;
use crate::settings::Env;

/// The pause before a stream is opened again.
const AGAIN: Duration = Duration::from_secs(1);

/// Prints events.
pub(super) async fn get(args: &Get, client: &Client, env: &Env) -> Result<(), Failure> {
    let run = match &args.about {
        Some(what) => Some(target::find_run(what, client).await?.name.to_string()),
        None => None,
    };
    let filter = EventFilter { run, limit: args.limit, since: None };
    let list = client.events(&filter).await?;
    let screen = listed::shown_on(args.output, screen(env));
    if args.watch {
        return Watch::new(args.output, screen).run(client, filter, list).await;
    }
    if list.items.is_empty() && matches!(args.output, Output::Table | Output::Wide) {
        anstream::eprintln!("no events found");
        return Ok(());
    }
    out(&match args.output {
        Output::Table | Output::Wide => listed::table(&list.items, listed::detail(args.output))
            .lines(screen, &mut Vec::new(), true),
        Output::Name => listed::names(&list.items),
        Output::Json => local::json(&list)?,
        Output::Yaml => listed::yaml(&list)?,
    })
}

/// The events that were printed.
struct Watch {
    output: Output,
    screen: Screen,
    widths: Vec<usize>,
    with_titles: bool,
    /// The time and the number of each printed event, by its ID or else its object and reason: a
    /// list that is loaded again has events that were printed before.
    printed: BTreeMap<(String, String), (Timestamp, u64)>,
}

impl Watch {
    fn new(output: Output, screen: Screen) -> Self {
        let (widths, printed) = (Vec::new(), BTreeMap::new());
        Self { output, screen, widths, with_titles: true, printed }
    }

    /// Prints the list, then each event until Ctrl-C.
    async fn run(
        mut self,
        client: &Client,
        filter: EventFilter,
        list: EventList,
    ) -> Result<(), Failure> {
        let mut last_id = list.last_id;
        self.print(list.items)?;
        let mut is_down = false;
        loop {
            match self.follow(client, &filter, &mut last_id).await {
                Ok(()) => is_down = false,
                Err(Stopped::Failure(failure)) => return Err(failure),
                Err(Stopped::Down(why)) => {
                    if !is_down {
                        warn(&format!("{why}; will retry"));
                    }
                    is_down = true;
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Prints events until the stream ends.
    async fn follow(
        &mut self,
        client: &Client,
        filter: &EventFilter,
        last_id: &mut String,
    ) -> Result<(), Stopped> {
        let mut stream = client.follow(filter, last_id).await?;
        while let Some(message) = stream.next().await? {
            match message {
                Streamed::Event(event) => {
                    if let Some(id) = &event.id {
                        last_id.clone_from(id);
                    }
                    self.print(vec![*event])?;
                }
                Streamed::Reset | Streamed::Dropped => {
                    note("events may be missing: the server was restarted, or sent too many");
                    let list = client.events(filter).await?;
                    last_id.clone_from(&list.last_id);
                    self.print(list.items)?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Prints what was not printed before.
    fn print(&mut self, events: Vec<Event>) -> Result<(), Failure> {
        let is_new = |event: &Event| {
            let key = (event.object.name.clone(), format!("{} {}", event.reason, event.message));
            let now = (event.last_at, event.count);
            self.printed.insert(key, now).is_none_or(|before| before < now)
        };
        let events: Vec<Event> = events.into_iter().filter(is_new).collect();
        listed::print_changed(
            &events,
            self.output,
            self.screen,
            &mut self.widths,
            self.with_titles,
        )?;
        self.with_titles &= events.is_empty();
        Ok(())
    }
}

/// The reason why a stream is not followed any more.
enum Stopped {
    /// It is followed again.
    Down(String),
    Failure(Failure),
}

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<crate::commands::client::Error> for Stopped {
    fn from(error: crate::commands::client::Error) -> Self {
        if error.is_transient() {
            Self::Down(error.to_string())
        } else {
            Self::Failure(error.into())
        }
    }
}
