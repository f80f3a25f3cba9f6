//! Seats: one item per class, so that one conditional write enforces both limits.
//!
//! `seats` maps each attempt ID that holds a seat to its repository, `repos` each repository to its
//! number of seats. Both change in the same write.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnConsumedCapacity, ReturnValuesOnConditionCheckFailure,
};
use tinqs_ci_reconciler::model::{AttemptId, ClassName, SeatLimits};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, Seat};

use super::item::{self, Item, KEY};
use super::{DynamoStore, quarantined};
use crate::errors::dynamodb::port_error;

/// Attempt ID → repository.
const SEATS: &str = "seats";
/// Repository → number of seats.
const REPOS: &str = "repos";
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

fn map<'i>(item: &'i Item, name: &str) -> Option<&'i HashMap<String, AttributeValue>> {
    item.get(name)?.as_m().ok()
}

fn holder<'i>(item: &'i Item, attempt_id: &str) -> Option<&'i AttributeValue> {
    map(item, SEATS)?.get(attempt_id)
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
                Some(_) => return Ok(false),
                None if limits.class == Some(0) || limits.repo == Some(0) => return Ok(false),
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
        let mut condition =
            "attribute_exists(#key) AND attribute_not_exists(#seats.#attempt)".to_owned();
        let mut asked = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(KEY, item::text(class_key(class)))
            .update_expression(
                "SET #seats.#attempt = :repo, #repos.#repo = if_not_exists(#repos.#repo, :none) + :one",
            )
            .expression_attribute_names("#key", KEY)
            .expression_attribute_names("#seats", SEATS)
            .expression_attribute_names("#attempt", attempt_id)
            .expression_attribute_names("#repos", REPOS)
            .expression_attribute_names("#repo", repo_key(repo))
            .expression_attribute_values(":repo", item::text(repo))
            .expression_attribute_values(":none", item::number(0))
            .expression_attribute_values(":one", item::number(1))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(most) = limits.class {
            condition.push_str(" AND size(#seats) < :most");
            asked = asked.expression_attribute_values(":most", item::number(most));
        }
        if let Some(most) = limits.repo {
            if most == 0 {
                // A repository without seats has no count to compare.
                condition.push_str(" AND #repos.#repo < :each");
            } else {
                condition
                    .push_str(" AND (attribute_not_exists(#repos.#repo) OR #repos.#repo < :each)");
            }
            asked = asked.expression_attribute_values(":each", item::number(most));
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
        let asked = self
            .client
            .put_item()
            .table_name(&self.table)
            .item(KEY, item::text(class_key(class)))
            .item(SEATS, AttributeValue::M(seats))
            .item(REPOS, AttributeValue::M(repos))
            .condition_expression("attribute_not_exists(#key)")
            .expression_attribute_names("#key", KEY)
            .return_consumed_capacity(ReturnConsumedCapacity::Total);
        self.put_if("seat", asked).await
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
            let repo = repo_key(held.as_s().map_or("", String::as_str));
            let count = there.as_ref().and_then(|item| map(item, REPOS)?.get(&repo));
            let count = count.and_then(|count| count.as_n().ok()).and_then(|n| n.parse().ok());
            let more = count.is_some_and(|count: u32| count > 1);
            let (update, condition) = if more {
                (
                    "REMOVE #seats.#attempt SET #repos.#repo = #repos.#repo - :one",
                    "#repos.#repo > :one",
                )
            } else {
                (
                    "REMOVE #seats.#attempt, #repos.#repo",
                    "(attribute_not_exists(#repos.#repo) OR #repos.#repo <= :one)",
                )
            };
            let asked = self
                .client
                .update_item()
                .table_name(&self.table)
                .key(KEY, item::text(&*key))
                .update_expression(update)
                .condition_expression(format!("#seats.#attempt = :repo AND {condition}"))
                .expression_attribute_names("#seats", SEATS)
                .expression_attribute_names("#attempt", &*attempt_id)
                .expression_attribute_names("#repos", REPOS)
                .expression_attribute_names("#repo", repo)
                .expression_attribute_values(":repo", held.clone())
                .expression_attribute_values(":one", item::number(1))
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
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
