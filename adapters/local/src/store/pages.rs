//! Pages of runs, newest first, and the list of open runs.

use std::ops::Bound;

use jiff::Timestamp;
use redb::{ReadTransaction, ReadableTable};
use tinqs_ci_reconciler::model::Phase;
use tinqs_ci_reconciler::ports::{Cursor, Filter, OpenRun, Page, Sharing, UnreadRecords};

use super::index::{understand, unproject};
use super::tables::{CREATED, EXPIRY, OPEN, RUNS};

/// Most expired runs of one read.
const EXPIRED_AT_ONCE: usize = 10_000;
/// Records read for one page.
const SCAN: usize = 10_000;
/// Runs on one page.
const PAGE: usize = 1_000;

/// Newest first. Open phases have few runs and their own table; finished runs are read in order of
/// time.
pub(super) fn page(
    read: &ReadTransaction,
    filter: &Filter,
    after: Option<&Cursor>,
    unread: &UnreadRecords,
) -> Result<Page, redb::Error> {
    let limit = filter.limit.clamp(1, PAGE);
    let runs = read.open_table(RUNS)?;
    let mut page = Page::default();
    let mut last = None;
    let mut add = |at: Cursor| -> Result<bool, redb::Error> {
        if page.items.len() == limit {
            page.next = last.take().map(|last: Cursor| last.text());
            return Ok(false);
        }
        if let Some(found) = runs.get(at.name.as_str())? {
            let (_, version, _, _, body) = found.value();
            if let Ok(run) = understand(&at.name, version, body, unread)
                && filter.takes(&run)
            {
                page.items.push(run);
            }
        }
        last = Some(at);
        Ok(true)
    };
    if let Some(Phase::Waiting | Phase::Starting | Phase::Running) = filter.phase {
        for at in open_newest_first(read, filter, unread)? {
            if after.is_none_or(|after| at < *after) && !add(at)? {
                break;
            }
        }
        return Ok(page);
    }
    let created = read.open_table(CREATED)?;
    let end = match after {
        Some(Cursor { created, name }) => Bound::Excluded((*created, name.as_str())),
        None => Bound::Unbounded,
    };
    for (scanned, entry) in created.range((Bound::Unbounded, end))?.rev().enumerate() {
        let (key, ()) = (entry?.0, ());
        let (created, name) = key.value();
        if scanned == SCAN {
            page.next = last.map(|last| last.text());
            break;
        }
        if !add(Cursor { created, name: name.to_owned() })? {
            break;
        }
    }
    Ok(page)
}

fn open_newest_first(
    read: &ReadTransaction,
    filter: &Filter,
    unread: &UnreadRecords,
) -> Result<Vec<Cursor>, redb::Error> {
    let runs = read.open_table(RUNS)?;
    let mut cursors = Vec::new();
    for entry in read.open_table(OPEN)?.iter()? {
        let (name, projection) = entry?;
        let Some(open) = unproject(name.value(), projection.value(), unread) else { continue };
        let matches = filter.phase == Some(open.phase)
            && filter.repo.as_ref().is_none_or(|repo| repo.as_str() == &*open.repo);
        if matches && let Some(run) = runs.get(name.value())? {
            cursors.push(Cursor { created: run.value().2, name: name.value().to_owned() });
        }
    }
    cursors.sort_unstable_by(|a, b| b.cmp(a));
    Ok(cursors)
}

pub(super) fn open(
    read: &ReadTransaction,
    now: Timestamp,
    unread: &UnreadRecords,
) -> Result<Vec<OpenRun>, redb::Error> {
    let mut found = Vec::new();
    let mut sharing = Sharing::default();
    for entry in read.open_table(OPEN)?.iter()? {
        let (name, projection) = entry?;
        let open = unproject(name.value(), projection.value(), unread);
        found.extend(open.map(|run| sharing.share(run)));
    }
    let over = ..(now.as_millisecond().saturating_add(1), "");
    for entry in read.open_table(EXPIRY)?.range(over)?.take(EXPIRED_AT_ONCE) {
        let (key, projection) = entry?;
        let finished = unproject(key.value().1, projection.value(), unread);
        found.extend(finished.map(|run| sharing.share(run)));
    }
    Ok(found)
}
