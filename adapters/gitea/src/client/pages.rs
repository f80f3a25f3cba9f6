//! Reads paged lists without relying on their order.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};

use super::call::Call;
use super::send::Sender;
use crate::wire::{ApiJob, ApiRunner};

/// Rows per page: the forge's default maximum (`[api] MAX_RESPONSE_ITEMS`).
const LIMIT: usize = 50;
/// Most pages of a list: 20,000 rows.
const PAGES: usize = 400;
/// Pages in a row without a new row that end the list.
const STALE: usize = 3;
/// Pages of the newest rows: 500 rows.
const NEWEST: usize = 10;
/// Most rows of one page that the forge may fail to show; more is an outage.
const BROKEN: usize = 2;

/// A page of a list.
pub(super) trait Page: DeserializeOwned {
    type Row;
    /// The first byte of its JSON.
    const BEGIN: u8 = b'{';
    /// Returns the rows by ID, and the length of the whole list if the forge reports it.
    fn rows(self) -> (Vec<(i64, Self::Row)>, Option<usize>);
}

/// A list that may be `null` but must be present: an object without it is another response.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Deserialize)]
pub(super) struct Jobs {
    #[serde(deserialize_with = "list")]
    jobs: Vec<ApiJob>,
    #[serde(default)]
    total_count: Option<usize>,
}

impl Page for Jobs {
    type Row = ApiJob;
    fn rows(self) -> (Vec<(i64, ApiJob)>, Option<usize>) {
        (self.jobs.into_iter().map(|job| (job.id, job)).collect(), self.total_count)
    }
}

#[derive(Deserialize)]
pub(super) struct Runners {
    #[serde(deserialize_with = "list")]
    runners: Vec<ApiRunner>,
    #[serde(default)]
    total_count: Option<usize>,
}

impl Page for Runners {
    type Row = ApiRunner;
    fn rows(self) -> (Vec<(i64, ApiRunner)>, Option<usize>) {
        (self.runners.into_iter().map(|runner| (runner.id, runner)).collect(), self.total_count)
    }
}

/// Reads pages until as many distinct rows were seen as the list reports, or until an empty page. A
/// list without an order may show a row twice and omit another. `path` may hold a query.
pub(super) async fn read_all<P: Page>(
    sender: &Sender,
    operation: &'static str,
    path: &str,
) -> Result<Vec<P::Row>, PortError> {
    let read = read_pages::<P>(sender, operation, path);
    in_time(sender, operation, path, read).await.map(|list| list.rows)
}

/// Reads a list of which no row may be missing.
///
/// # Errors
/// `Unavailable` if fewer distinct rows were read than the list reports.
pub(super) async fn read_whole<P: Page>(
    sender: &Sender,
    operation: &'static str,
    path: &str,
) -> Result<Vec<P::Row>, PortError> {
    let read = read_pages::<P>(sender, operation, path);
    let list = in_time(sender, operation, path, read).await?;
    if list.reported.is_none_or(|reported| list.rows.len() < reported) {
        let what = "the list has fewer rows than it reports: it is read again";
        return Err(sender.error(&Call::get(operation, path), ErrorKind::Unavailable, what));
    }
    Ok(list.rows)
}

/// Reads the last pages of a list that is ordered by ID: its newest rows.
pub(super) async fn read_newest<P: Page>(
    sender: &Sender,
    operation: &'static str,
    path: &str,
) -> Result<Vec<P::Row>, PortError> {
    let read = async {
        let (first, reported) = read_page::<P>(sender, operation, path, 1).await?;
        // A server may show fewer rows on a page than were asked for.
        let last = reported.unwrap_or(0).div_ceil(first.len().clamp(1, LIMIT));
        let mut rows: BTreeMap<i64, P::Row> = first.into_iter().collect();
        for number in (2..=last).rev().take(NEWEST) {
            rows.extend(read_page::<P>(sender, operation, path, number).await?.0);
        }
        Ok(rows.into_values().collect())
    };
    in_time(sender, operation, path, read).await
}

async fn in_time<T>(
    sender: &Sender,
    operation: &'static str,
    path: &str,
    read: impl Future<Output = Result<T, PortError>>,
) -> Result<T, PortError> {
    let within = sender.list_deadline();
    tokio::time::timeout(within, read).await.unwrap_or_else(|_| {
        let what = format!("reading the list took longer than {} s", within.as_secs_f32());
        Err(sender.error(&Call::get(operation, path), ErrorKind::Unavailable, &what))
    })
}

/// A list as far as it was read.
struct List<R> {
    rows: Vec<R>,
    /// Its length as the forge last reported it.
    reported: Option<usize>,
}

async fn read_pages<P: Page>(
    sender: &Sender,
    operation: &'static str,
    path: &str,
) -> Result<List<P::Row>, PortError> {
    let mut seen = BTreeMap::new();
    let mut stale = 0;
    let mut reported = None;
    for number in 1..=PAGES {
        let (rows, total) = read_page::<P>(sender, operation, path, number).await?;
        reported = total.or(reported);
        let before = seen.len();
        let empty = rows.is_empty();
        seen.extend(rows);
        stale = if seen.len() == before { stale + 1 } else { 0 };
        if empty || stale == STALE || total.is_some_and(|total| total > 0 && seen.len() >= total) {
            return Ok(List { rows: seen.into_values().collect(), reported });
        }
    }
    tracing::warn!(operation, rows = seen.len(), "list too long, read in part");
    Ok(List { rows: seen.into_values().collect(), reported })
}

type Rows<P> = (Vec<(i64, <P as Page>::Row)>, Option<usize>);

/// One row that the forge cannot show makes its whole page a 500: then the rows around it are read
/// in smaller pages. If the forge is down, those fail too.
async fn read_page<P: Page>(
    sender: &Sender,
    operation: &'static str,
    path: &str,
    number: usize,
) -> Result<Rows<P>, PortError> {
    let read = async |limit, page| read_some::<P>(sender, operation, path, limit, page).await;
    let failed = match read(LIMIT, number).await? {
        Ok(rows) => return Ok(rows),
        Err(failed) => failed,
    };
    let (mut rows, mut broken) = (Vec::new(), 0);
    for tenth in (number - 1) * 5 + 1..=number * 5 {
        if let Ok((some, _)) = read(LIMIT / 5, tenth).await? {
            rows.extend(some);
            continue;
        }
        for single in (tenth - 1) * 10 + 1..=tenth * 10 {
            match read(1, single).await? {
                Ok((some, _)) => rows.extend(some),
                Err(_) => broken += 1,
            }
            if broken > BROKEN {
                return Err(failed);
            }
        }
    }
    if rows.is_empty() {
        return Err(failed);
    }
    tracing::warn!(operation, page = number, broken, "the forge cannot show some rows of a list");
    Ok((rows, None))
}

/// The inner error is a 500 of the forge itself.
async fn read_some<P: Page>(
    sender: &Sender,
    operation: &'static str,
    path: &str,
    limit: usize,
    page: usize,
) -> Result<Result<Rows<P>, PortError>, PortError> {
    let join = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{join}limit={limit}&page={page}");
    let call = Call { reads_around: true, ..Call::get(operation, &path) };
    let answer = sender.send(&call).await?;
    if answer.is_own_failure() {
        return Ok(Err(sender.refusal(&call, &answer)));
    }
    let (rows, total) = sender.read_from::<P>(&call, &answer, P::BEGIN)?.rows();
    if rows.iter().any(|(id, _)| *id <= 0) {
        let what = "a row of the list has no ID";
        return Err(sender.error(&call, ErrorKind::Unavailable, what));
    }
    Ok(Ok((rows, total)))
}
