//! The seats: one row each.

use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use tinqs_ci_reconciler::model::{AttemptId, ClassName, RepoRef, SeatLimits};
use tinqs_ci_reconciler::ports::Seat;

use super::index::quarantined;

/// Class, attempt ID → repository, with its ID if that is known ([`RepoRef::stored`]).
pub(super) const SEATS: TableDefinition<(&str, &str), &str> = TableDefinition::new("seats");

/// Takes a seat if the limits allow it. Returns whether the attempt has one, and whether it is new.
pub(super) fn take(
    write: &WriteTransaction,
    class: &ClassName,
    seat: &Seat,
    limits: SeatLimits,
) -> Result<(bool, bool), redb::Error> {
    let mut seats = write.open_table(SEATS)?;
    let attempt_id = seat.attempt_id.to_string();
    if seats.get((class.0.as_str(), attempt_id.as_str()))?.is_some() {
        return Ok((true, false));
    }
    // One row each: the write is small, and some thousand rows are read in a few milliseconds.
    let mut held: Vec<String> = Vec::new();
    if limits != SeatLimits::default() {
        for entry in seats.range((class.0.as_str(), "")..)? {
            let (key, held_for) = entry?;
            if key.value().0 != class.0 {
                break;
            }
            held.push(held_for.value().to_owned());
        }
    }
    let held = held.iter().map(|repo| RepoRef::of_stored(repo));
    if limits.reached(seat.repo_ref(), held).is_some() {
        return Ok((false, false));
    }
    let repo = seat.repo_ref().stored();
    seats.insert((class.0.as_str(), attempt_id.as_str()), repo.as_str())?;
    Ok((true, true))
}

/// Gives a seat back. Returns whether it was held.
pub(super) fn give_back(
    write: &WriteTransaction,
    class: &ClassName,
    attempt_id: &AttemptId,
) -> Result<bool, redb::Error> {
    let attempt_id = attempt_id.to_string();
    let mut seats = write.open_table(SEATS)?;
    let was = seats.remove((class.0.as_str(), attempt_id.as_str()))?.is_some();
    Ok(was)
}

pub(super) fn of_class(
    read: &ReadTransaction,
    class: &ClassName,
) -> Result<Vec<Seat>, redb::Error> {
    let mut found = Vec::new();
    for entry in read.open_table(SEATS)?.range((class.0.as_str(), "")..)? {
        let (key, repo) = entry?;
        let (of, attempt_id) = key.value();
        if of != class.0 {
            break;
        }
        match attempt_id.parse() {
            Ok(attempt_id) => {
                found.push(Seat::new(attempt_id, RepoRef::of_stored(repo.value())));
            }
            Err(reason) => quarantined(attempt_id, &reason),
        }
    }
    Ok(found)
}
