//! Seats: one item per class, so that one conditional write enforces all limits.
//!
//! `seats` maps each attempt ID that holds a seat to its repository, `repos` each repository to its
//! number of seats, `owners` each owner to its number. All change in the same write. An item of a
//! release without `owner_limit` has no `owners`, and a replica of such a release does not keep
//! them: where they differ from `seats`, they are counted again.

use std::collections::HashMap;
use std::fmt::Write as _;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};
use tinqs_ci_reconciler::model::{AttemptId, ClassName, SeatLimits, owner_of};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, Seat};

use super::item::{self, Item, KEY};
use super::{DynamoStore, quarantined};
use crate::errors::dynamodb::port_error;

/// Attempt ID → repository.
const SEATS: &str = "seats";
/// Repository → number of seats.
const REPOS: &str = "repos";
/// Owner → number of seats.
const OWNERS: &str = "owners";
/// Tries before the write fails, since others may change the item in between.
const TRIES: usize = 16;

fn class_key(class: &ClassName) -> String {
    item::key("seats", &class.0)
}

/// A repository as an attribute name, which may be neither empty nor long.
fn repo_key(repo: &str) -> String {
    let plain = (1..=200).contains(&repo.len()) && !repo.starts_with('#');
    if plain { repo.to_owned() } else { item::hashed(repo) }
}

/// An owner as an attribute name: the forge compares owners without case.
fn owner_key(repo: &str) -> String {
    repo_key(&owner_of(repo).to_ascii_lowercase())
}

fn map<'i>(item: &'i Item, name: &str) -> Option<&'i HashMap<String, AttributeValue>> {
    item.get(name)?.as_m().ok()
}

fn holder<'i>(item: &'i Item, attempt_id: &str) -> Option<&'i AttributeValue> {
    map(item, SEATS)?.get(attempt_id)
}

/// Returns a stored count.
fn number(value: &AttributeValue) -> Option<u32> {
    value.as_n().ok()?.parse().ok()
}

/// Returns the number of seats of each owner, as the seats of the item say.
fn owners_of(item: &Item) -> HashMap<String, u32> {
    let mut owners = HashMap::new();
    for repo in map(item, SEATS).into_iter().flatten().filter_map(|(_, repo)| repo.as_s().ok()) {
        *owners.entry(owner_key(repo)).or_insert(0) += 1;
    }
    owners
}

/// Returns whether the item's numbers of seats of each owner are right.
fn counts_owners(item: &Item) -> bool {
    let Some(kept) = map(item, OWNERS) else { return false };
    let kept = kept.iter().map(|(owner, count)| (owner.clone(), number(count).unwrap_or(0)));
    kept.collect::<HashMap<_, _>>() == owners_of(item)
}

fn busy(operation: &'static str, class: &ClassName) -> PortError {
    let message =
        format!("other processes changed the seats of class {class} during all {TRIES} tries");
    PortError::new("store", operation, ErrorKind::Conflict, message)
}

impl DynamoStore {
    pub(super) async fn take_seat(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
        repo: &str,
        limits: SeatLimits,
    ) -> Result<bool, PortError> {
        let attempt_id = attempt_id.to_string();
        for _ in 0..TRIES {
            let there = match self.seat_if_room(class, &attempt_id, repo, limits).await? {
                Ok(()) => return Ok(true),
                Err(there) => there,
            };
            match there {
                Some(item) if holder(&item, &attempt_id).is_some() => return Ok(true),
                Some(item) if !counts_owners(&item) => self.count_owners(class, &item).await?,
                Some(_) => return Ok(false),
                None if limits.reached(repo, []).is_some() => return Ok(false),
                None if self.first_seat(class, &attempt_id, repo).await? => return Ok(true),
                None => {}
            }
        }
        Err(busy("seat", class))
    }

    /// The conditional write. If refused, the item as it was; `None` if there is none.
    async fn seat_if_room(
        &self,
        class: &ClassName,
        attempt_id: &str,
        repo: &str,
        limits: SeatLimits,
    ) -> Result<Result<(), Option<Item>>, PortError> {
        let mut condition = "attribute_exists(#key) AND attribute_exists(#owners) AND \
                             attribute_not_exists(#seats.#attempt)"
            .to_owned();
        let mut asked = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(KEY, item::text(class_key(class)))
            .update_expression(
                "SET #seats.#attempt = :repo, #repos.#repo = if_not_exists(#repos.#repo, :none) + :one, \
                 #owners.#owner = if_not_exists(#owners.#owner, :none) + :one",
            )
            .expression_attribute_names("#key", KEY)
            .expression_attribute_names("#seats", SEATS)
            .expression_attribute_names("#attempt", attempt_id)
            .expression_attribute_names("#repos", REPOS)
            .expression_attribute_names("#repo", repo_key(repo))
            .expression_attribute_names("#owners", OWNERS)
            .expression_attribute_names("#owner", owner_key(repo))
            .expression_attribute_values(":repo", item::text(repo))
            .expression_attribute_values(":none", item::number(0))
            .expression_attribute_values(":one", item::number(1))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(most) = limits.class {
            condition.push_str(" AND size(#seats) < :most");
            asked = asked.expression_attribute_values(":most", item::number(most));
        }
        let counted =
            [("#repos.#repo", ":each", limits.repo), ("#owners.#owner", ":own", limits.owner)];
        for (count, name, most) in counted {
            let Some(most) = most else { continue };
            let _ = if most == 0 {
                // What has no seat has no count to compare.
                write!(condition, " AND {count} < {name}")
            } else {
                write!(condition, " AND (attribute_not_exists({count}) OR {count} < {name})")
            };
            asked = asked.expression_attribute_values(name, item::number(most));
        }
        match asked.condition_expression(condition).send().await {
            Ok(answer) => {
                self.wrote(answer.consumed_capacity());
                Ok(Ok(()))
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                    Ok(Err(refused.item().cloned()))
                }
                _ => Err(port_error("seat", &error)),
            },
        }
    }

    /// Creates the class's item with its first seat; `false` if another process created it.
    async fn first_seat(
        &self,
        class: &ClassName,
        attempt_id: &str,
        repo: &str,
    ) -> Result<bool, PortError> {
        let seats = HashMap::from([(attempt_id.to_owned(), item::text(repo))]);
        let repos = HashMap::from([(repo_key(repo), item::number(1))]);
        let owners = HashMap::from([(owner_key(repo), item::number(1))]);
        let asked = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(KEY, item::text(class_key(class)))
            .item(SEATS, AttributeValue::M(seats))
            .item(REPOS, AttributeValue::M(repos))
            .item(OWNERS, AttributeValue::M(owners))
            .condition_expression("attribute_not_exists(#key)")
            .expression_attribute_names("#key", KEY)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        self.put_if("seat", asked).await
    }

    /// Counts the seats of each owner again, unless the seats have changed meanwhile.
    async fn count_owners(&self, class: &ClassName, there: &Item) -> Result<(), PortError> {
        let owners = owners_of(there).into_iter();
        let owners = owners.map(|(owner, count)| (owner, item::number(count))).collect();
        let seats = there.get(SEATS).cloned().unwrap_or(AttributeValue::M(HashMap::new()));
        let asked = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(KEY, item::text(class_key(class)))
            .update_expression("SET #owners = :owners")
            .condition_expression("#seats = :seats")
            .expression_attribute_names("#owners", OWNERS)
            .expression_attribute_names("#seats", SEATS)
            .expression_attribute_values(":owners", AttributeValue::M(owners))
            .expression_attribute_values(":seats", seats)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        match asked.send().await {
            Ok(answer) => self.wrote(answer.consumed_capacity()),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => {}
                _ => return Err(port_error("seat", &error)),
            },
        }
        Ok(())
    }

    pub(super) async fn give_seat_back(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
    ) -> Result<(), PortError> {
        let (key, attempt_id) = (class_key(class), attempt_id.to_string());
        let mut there = self.item("unseat", &key).await?;
        for _ in 0..TRIES {
            let Some(held) = there.as_ref().and_then(|item| holder(item, &attempt_id)) else {
                return Ok(());
            };
            let repo = held.as_s().map_or("", String::as_str);
            let mut asked = self
                .client
                .update_item()
                .table_name(&self.table)
                .key(KEY, item::text(&*key))
                .expression_attribute_names("#seats", SEATS)
                .expression_attribute_names("#attempt", &*attempt_id)
                .expression_attribute_values(":repo", held.clone())
                .expression_attribute_values(":one", item::number(1))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            let mut condition = "#seats.#attempt = :repo".to_owned();
            let (mut removed, mut less) = ("#seats.#attempt".to_owned(), Vec::new());
            let counted = [
                (REPOS, "#repos", "#repo", repo_key(repo)),
                (OWNERS, "#owners", "#owner", owner_key(repo)),
            ];
            for (name, map_name, key_name, counted_key) in counted {
                asked = asked.expression_attribute_names(map_name, name);
                let Some(counts) = there.as_ref().and_then(|item| map(item, name)) else {
                    // Of a release that does not count owners.
                    let _ = write!(condition, " AND attribute_not_exists({map_name})");
                    continue;
                };
                let path = format!("{map_name}.{key_name}");
                if counts.get(&counted_key).and_then(number).is_some_and(|count| count > 1) {
                    less.push(format!("{path} = {path} - :one"));
                    let _ = write!(condition, " AND {path} > :one");
                } else {
                    let _ = write!(removed, ", {path}");
                    let none = format!("attribute_not_exists({path})");
                    let _ = write!(condition, " AND ({none} OR {path} <= :one)");
                }
                asked = asked.expression_attribute_names(key_name, counted_key);
            }
            let set = if less.is_empty() { "" } else { " SET " };
            let asked = asked
                .update_expression(format!("REMOVE {removed}{set}{}", less.join(", ")))
                .condition_expression(condition);
            match asked.send().await {
                Ok(answer) => {
                    self.wrote(answer.consumed_capacity());
                    return Ok(());
                }
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(refused)) => {
                        there = refused.item().cloned();
                    }
                    _ => return Err(port_error("unseat", &error)),
                },
            }
        }
        Err(busy("unseat", class))
    }

    pub(super) async fn list_seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError> {
        let Some(item) = self.item("seats", &class_key(class)).await? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for (attempt_id, repo) in map(&item, SEATS).into_iter().flatten() {
            match (attempt_id.parse(), repo.as_s()) {
                (Ok(attempt_id), Ok(repo)) => found.push(Seat { attempt_id, repo: repo.clone() }),
                (Err(reason), _) => quarantined(attempt_id, &reason.to_string()),
                (_, Err(_)) => quarantined(attempt_id, "its repository is not text"),
            }
        }
        found.sort_by(|a, b| a.attempt_id.cmp(&b.attempt_id));
        Ok(found)
    }
}
