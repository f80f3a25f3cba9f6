//! `get`: prints lists, single objects, and their changes.

use std::collections::BTreeMap;
use std::time::Duration;

use tinqs_ci_reconciler::model::Run;

use super::args::{Get, Output, Phase, Sort};
use super::failure::{Failure, lister, out, warn};
use super::listed::{detail, names, print_changed, shown_on, table, yaml};
use super::local;
use super::remote::{client, run_name};
use super::screen::screen;
use super::{sort, table_status};
use crate::api::status::StatusView;
use crate::api::{Class, List, MachineView, Registration};
use crate::commands::client::{self, Client, RunFilter};
use crate::commands::print::{self, Cell, Listed, Screen, Table, Tone};
use crate::settings::{Env, nearest};

/// The interval of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Runs,
    Machines,
    Registrations,
    Classes,
    Events,
}

fn kind(word: &str) -> Option<Kind> {
    match word {
        "runs" | "run" => Some(Kind::Runs),
        "machines" | "machine" => Some(Kind::Machines),
        "registrations" | "registration" => Some(Kind::Registrations),
        "classes" | "class" => Some(Kind::Classes),
        "events" | "event" => Some(Kind::Events),
        _ => None,
    }
}

/// Parses `get runs`, `get runs job-1`, `get run/job-1` and `get job-1`.
fn wanted(args: &Get) -> Result<(Kind, Option<String>), Failure> {
    if let Some(kind) = kind(&args.kind) {
        return Ok((kind, args.name.clone()));
    }
    if let (Some((word, name)), None) = (args.kind.split_once('/'), &args.name)
        && let Some(kind) = kind(word)
    {
        return Ok((kind, Some(name.to_owned())));
    }
    if args.name.is_none() && run_name(&args.kind).is_ok() {
        return Ok((Kind::Runs, Some(args.kind.clone())));
    }
    Err(Failure::usage(format!(
        "unknown kind `{}`",
        tinqs_ci_reconciler::text::cut(&args.kind, 60)
    ))
    .hint("expected runs, machines, registrations, classes, events, or KIND/NAME"))
}

pub(super) async fn get(args: Get, env: &Env) -> Result<(), Failure> {
    let (kind, name) = wanted(&args)?;
    fitting(&args, kind)?;
    let client = client(&args.server, env)?;
    let name = match (kind, name) {
        (Kind::Runs, Some(name)) => Some(run_name(&name)?.to_string()),
        (_, name) => name,
    };
    let name = name.as_deref();
    if let Some(class) = &args.class {
        known_class(&client, kind, class).await?;
    }
    let view = View { args: &args, name, screen: shown_on(args.output, screen(env)) };
    match kind {
        Kind::Runs => show(&Runs { client, args: &args, name }, view).await,
        Kind::Machines => show(&Machines { client, args: &args }, view).await,
        Kind::Registrations => show(&Registrations { client }, view).await,
        Kind::Classes => show(&Classes { client }, view).await,
        Kind::Events => super::events::get(&args, &client, env).await,
    }
}

/// Rejects options that are not for this kind.
fn fitting(args: &Get, kind: Kind) -> Result<(), Failure> {
    let only_runs = args.phase.is_some() || args.repo.is_some() || args.limit.is_some();
    let limits_events = args.phase.is_none() && args.repo.is_none() && kind == Kind::Events;
    if only_runs && kind != Kind::Runs && !limits_events {
        return Err(Failure::usage("--phase, --repo and --limit are for runs")
            .hint("remove them, or use `tinqs-ci get runs`"));
    }
    if args.class.is_some() && !matches!(kind, Kind::Runs | Kind::Machines) {
        return Err(Failure::usage("--class is for runs and machines").hint("remove it"));
    }
    match (args.sort, kind) {
        (Some(Sort::Phase), Kind::Machines) => {
            return Err(Failure::usage("--sort phase is for runs")
                .hint("sort machines by age, repo or class"));
        }
        (None, _) | (Some(_), Kind::Runs | Kind::Machines) => {}
        (Some(_), _) => {
            return Err(Failure::usage("--sort is for runs and machines").hint("remove it"));
        }
    }
    if args.about.is_some() && kind != Kind::Events {
        return Err(
            Failure::usage("--for is for events").hint("use `tinqs-ci get events --for RUN`")
        );
    }
    if args.name.is_some() && kind == Kind::Events {
        return Err(Failure::usage("an event is not listed by its name")
            .hint("`tinqs-ci get events --for RUN` lists those of a run"));
    }
    Ok(())
}

/// Rejects a class that neither the server nor any run or machine knows.
async fn known_class(client: &Client, kind: Kind, class: &str) -> Result<(), Failure> {
    let classes = client.classes().await?.items;
    if classes.iter().any(|known| known.name == class) {
        return Ok(());
    }
    // It may have been removed from the configuration since.
    let is_used = if kind == Kind::Machines {
        client.machines().await?.items.iter().any(|machine| machine.class == class)
    } else {
        let class = Some(class.to_owned());
        let filter = RunFilter { class, limit: Some(1), ..RunFilter::default() };
        !client.runs(&filter).await?.items.is_empty()
    };
    if is_used {
        return Ok(());
    }
    let names: Vec<&str> = classes.iter().map(|known| known.name.as_str()).collect();
    let lists = lister("class");
    let hint = match nearest(class, &names, 3) {
        Some(near) => format!("did you mean `{near}`? {lists}"),
        None => lists,
    };
    let shown = tinqs_ci_reconciler::text::cut(class, 60);
    Err(Failure::not_found(format!("class `{shown}` not found")).hint(hint))
}

/// The options for showing a list.
#[derive(Clone, Copy)]
struct View<'a> {
    args: &'a Get,
    /// The only object to show.
    name: Option<&'a str>,
    screen: Screen,
}

/// A source of a list.
trait Source {
    type Thing: Listed;
    fn client(&self) -> &Client;
    async fn list(&self) -> Result<List<Self::Thing>, client::Error>;
    /// Adds to a table what only the status knows, and returns a line below it.
    fn add(&self, _: &StatusView, _: &[Self::Thing], _: &mut Table) -> Option<String> {
        None
    }
}

struct Runs<'a> {
    client: Client,
    args: &'a Get,
    name: Option<&'a str>,
}

impl Source for Runs<'_> {
    type Thing = Run;
    fn client(&self) -> &Client {
        &self.client
    }
    fn add(&self, status: &StatusView, runs: &[Run], table: &mut Table) -> Option<String> {
        for (run, row) in runs.iter().zip(&mut table.rows) {
            // The reason is the last column.
            if let (Some(reason), Some(cell)) = (table_status::failing(status, run), row.last_mut())
            {
                *cell = Cell::from(reason).tone(Tone::Bad);
            }
        }
        let Get { phase, class, repo, .. } = self.args;
        let waits = matches!(phase, None | Some(Phase::Waiting));
        if self.name.is_none() && class.is_none() && waits {
            let rows = table_status::unserved_rows(status, repo.as_deref(), &table.columns);
            table.rows.splice(0..0, rows);
        }
        None
    }
    async fn list(&self) -> Result<List<Run>, client::Error> {
        if let Some(name) = self.name.and_then(|name| name.parse().ok()) {
            let versioned = self.client.run(&name).await?;
            return Ok(List { items: vec![versioned.run], next: None });
        }
        let phase = self.args.phase.map(|phase| match phase {
            Phase::Waiting => "Waiting".to_owned(),
            Phase::Starting => "Starting".to_owned(),
            Phase::Running => "Running".to_owned(),
            Phase::Finished => "Finished".to_owned(),
        });
        let limit = self.args.limit.and_then(|limit| usize::try_from(limit).ok());
        let filter = RunFilter {
            phase,
            class: self.args.class.clone(),
            repo: self.args.repo.clone(),
            // All are sorted, so that the limit takes the first ones of that order.
            limit: limit.filter(|_| self.args.sort.is_none()),
        };
        let mut list = self.client.runs(&filter).await?;
        if let Some(by) = self.args.sort {
            sort::runs(&mut list.items, by);
            list.items.truncate(limit.unwrap_or(usize::MAX));
        }
        Ok(list)
    }
}

struct Machines<'a> {
    client: Client,
    args: &'a Get,
}

impl Source for Machines<'_> {
    type Thing = MachineView;
    fn client(&self) -> &Client {
        &self.client
    }
    async fn list(&self) -> Result<List<MachineView>, client::Error> {
        let mut list = self.client.machines().await?;
        let class = self.args.class.as_deref();
        list.items.retain(|machine| class.is_none_or(|class| machine.class == class));
        if let Some(by) = self.args.sort {
            sort::machines(&mut list.items, by);
        }
        Ok(list)
    }
}

struct Registrations {
    client: Client,
}

impl Source for Registrations {
    type Thing = Registration;
    fn client(&self) -> &Client {
        &self.client
    }
    async fn list(&self) -> Result<List<Registration>, client::Error> {
        self.client.registrations().await
    }
}

struct Classes {
    client: Client,
}

impl Source for Classes {
    type Thing = Class;
    fn client(&self) -> &Client {
        &self.client
    }
    fn add(&self, status: &StatusView, _: &[Class], _: &mut Table) -> Option<String> {
        table_status::unserved_line(status)
    }
    async fn list(&self) -> Result<List<Class>, client::Error> {
        self.client.classes().await
    }
}

async fn show<S: Source>(source: &S, view: View<'_>) -> Result<(), Failure> {
    let View { args, name, screen } = view;
    let is_table = matches!(args.output, Output::Table | Output::Wide);
    let status =
        async { if is_table { table_status::for_table(source.client()).await } else { None } };
    let (list, status) = tokio::join!(source.list(), status);
    let mut list = list?;
    table_status::banner(status.as_ref());
    if let Some(name) = name {
        list.items.retain(|thing| thing.name() == name);
        if list.items.is_empty() {
            let kind = S::Thing::KIND;
            return Err(Failure::not_found(format!(
                "{kind} `{}` not found",
                tinqs_ci_reconciler::text::escape(name)
            ))
            .hint(lister(kind)));
        }
    }
    if args.watch {
        return watch(source, view, list).await;
    }
    out(&match args.output {
        Output::Table | Output::Wide => {
            let mut table = table(&list.items, detail(args.output));
            let below = status.and_then(|status| source.add(&status, &list.items, &mut table));
            if table.rows.is_empty() {
                anstream::eprintln!("no {} found", plural(S::Thing::KIND));
                return Ok(());
            }
            let below = below.map(|line| line + "\n").unwrap_or_default();
            table.lines(screen, &mut Vec::new(), true) + &below
        }
        Output::Name => names(&list.items),
        Output::Json => match (name, list.items.first()) {
            (Some(_), Some(thing)) => local::json(thing)?,
            _ => local::json(&list)?,
        },
        Output::Yaml => match (name, list.items.first()) {
            (Some(_), Some(thing)) => yaml(thing)?,
            _ => yaml(&list)?,
        },
    })
}

fn plural(kind: &str) -> String {
    if kind.ends_with('s') { format!("{kind}es") } else { format!("{kind}s") }
}

/// Prints everything once, then each change. Reports the first of consecutive failures and retries.
async fn watch<S: Source>(
    source: &S,
    view: View<'_>,
    first: List<S::Thing>,
) -> Result<(), Failure> {
    let View { args, name, screen } = view;
    let mut previous: BTreeMap<String, String> = BTreeMap::new();
    let mut widths = Vec::new();
    let mut next = Some(first);
    let mut with_titles = true;
    let mut is_down = false;
    loop {
        if let Some(list) = next.take() {
            let now: BTreeMap<String, String> = list
                .items
                .iter()
                .map(|thing| (thing.name(), print::json_line(thing).unwrap_or_default()))
                .collect();
            let changed: Vec<S::Thing> = list
                .items
                .into_iter()
                .filter(|thing| previous.get(&thing.name()) != now.get(&thing.name()))
                .collect();
            print_changed(&changed, args.output, screen, &mut widths, with_titles)?;
            with_titles &= changed.is_empty();
            previous = now;
        }
        tokio::time::sleep(WATCH_EVERY).await;
        match source.list().await {
            Ok(mut list) => {
                if let Some(name) = name {
                    list.items.retain(|thing| thing.name() == name);
                }
                is_down = false;
                next = Some(list);
            }
            Err(error @ client::Error::NotFound { .. }) => return Err(error.into()),
            Err(error) if !is_down => {
                is_down = true;
                warn(&format!("{error}; will retry"));
            }
            Err(_) => {}
        }
    }
}
