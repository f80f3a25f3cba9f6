//! Seats: one conditional write of the class's head takes one, however many there are.
//!
//! A taker reads the head, then the pages; writes the last seat into its page, unless it is there;
//! compares the limits with all seats; writes the head on the condition that its version is still
//! the one that was read; and writes its seat into its page. Since every taker does so, the pages
//! that are read after a head hold every seat up to its version, and while the version stays, seats
//! are only given back: the limits hold, and an attempt that has a seat is found.
//!
//! A seat is written into its page once: a page takes a seat only if its own version is lower. So a
//! late writer does not bring back a seat that was given back.
//!
//! Within this process takers of one class wait for each other, and the seats are kept in memory
//! until another process has taken one.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnConsumedCapacity};
use tinqs_ci_reconciler::model::{AttemptId, ClassName, RepoRef, SeatLimits};
use tinqs_ci_reconciler::ports::{ErrorKind, PortError, Seat};
use tokio::sync::OwnedMutexGuard;

use super::item::{self, Item, KEY, REPO, VERSION};
use super::seat_items::{
    ATTEMPT, Claim, EARLIER, Head, OWNERS, PAGE, PAGES, Place, REPOS, SEATS, Seats, Taken,
    first_version, head_key, page_key,
};
use super::{DynamoStore, quarantined};
use crate::errors::dynamodb::port_error;

/// Tries while other processes take seats of the class.
const TRIES: u32 = 16;
/// The first pause after another process took one; doubled each time, up to 32 times.
const PAUSE: Duration = Duration::from_millis(10);
/// Longest wait for other takers in this process.
const TURN: Duration = Duration::from_secs(30);

fn busy(class: &ClassName) -> PortError {
    let message = format!("other processes took seats of class {class} during all {TRIES} tries");
    PortError::new("store", "seat", ErrorKind::Conflict, message)
}

impl DynamoStore {
    pub(super) async fn take_seat(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
        repo: RepoRef<'_>,
        limits: SeatLimits,
    ) -> Result<bool, PortError> {
        let attempt_id = attempt_id.to_string();
        let mut kept = self.turn("seat", class).await?;
        for tried in 0..TRIES {
            let (mut seats, is_fresh) = self.settled("seat", class, kept.take()).await?;
            let is_held = seats.place_of(&attempt_id).is_some();
            if is_held || limits.reached(repo, seats.repos()).is_some() {
                if is_fresh {
                    *kept = Some(seats);
                    return Ok(is_held);
                }
                // Another process may have given seats back: read again.
                continue;
            }
            let taken = seats.with(&attempt_id, &repo.stored());
            if self.claim(class, seats.head.version, &taken).await? {
                self.place("seat", class, taken.version, &taken.claim).await?;
                seats.took(taken);
                *kept = Some(seats);
                return Ok(true);
            }
            self.back_off(tried).await;
        }
        Err(busy(class))
    }

    pub(super) async fn give_seat_back(
        &self,
        class: &ClassName,
        attempt_id: &AttemptId,
    ) -> Result<(), PortError> {
        let attempt_id = attempt_id.to_string();
        let mut kept = self.turn("unseat", class).await?;
        // Ends with the second round, which reads the seats.
        loop {
            let (mut seats, is_fresh) = self.settled("unseat", class, kept.take()).await?;
            let mut is_done = is_fresh;
            if let Some(place) = seats.place_of(&attempt_id) {
                is_done |= self.remove_seat(class, place, &attempt_id).await?;
                seats.gave_back(&attempt_id, place);
            }
            if is_done {
                *kept = Some(seats);
                return Ok(());
            }
        }
    }

    pub(super) async fn list_seats(&self, class: &ClassName) -> Result<Vec<Seat>, PortError> {
        let seats = self.read_seats("seats", class).await?;
        let mut found = Vec::new();
        for (attempt_id, repo) in seats.all() {
            match (attempt_id.parse(), repo.as_s()) {
                (Ok(attempt_id), Ok(repo)) => {
                    found.push(Seat::new(attempt_id, RepoRef::of_stored(repo)));
                }
                (Err(reason), _) => quarantined(attempt_id, &reason.to_string()),
                (_, Err(_)) => quarantined(attempt_id, "its repository is not text"),
            }
        }
        found.sort_by(|a, b| a.attempt_id.cmp(&b.attempt_id));
        Ok(found)
    }

    /// Waits until no other call of this process changes the seats of the class.
    async fn turn(
        &self,
        operation: &'static str,
        class: &ClassName,
    ) -> Result<OwnedMutexGuard<Option<Seats>>, PortError> {
        let kept = self.seats.lock().entry(class.clone()).or_default().clone();
        tokio::time::timeout(TURN, kept.lock_owned()).await.map_err(|_| {
            let message = format!(
                "other calls changed the seats of class {class} for {} s: the table answers too \
                 slowly",
                TURN.as_secs()
            );
            PortError::new("store", operation, ErrorKind::Throttled, message)
        })
    }

    /// Returns the kept seats, or reads them, with the last one in its page; and whether it read.
    async fn settled(
        &self,
        operation: &'static str,
        class: &ClassName,
        kept: Option<Seats>,
    ) -> Result<(Seats, bool), PortError> {
        if let Some(seats) = kept {
            return Ok((seats, false));
        }
        let mut seats = self.read_seats(operation, class).await?;
        if seats.head.is_earlier() {
            self.switch_form(operation, class).await?;
            seats = self.read_seats(operation, class).await?;
        }
        if let Some((version, claim)) = seats.unplaced() {
            self.place(operation, class, version, claim).await?;
        }
        Ok((seats, true))
    }

    /// Reads the head, then the pages, each consistent with every completed write.
    async fn read_seats(
        &self,
        operation: &'static str,
        class: &ClassName,
    ) -> Result<Seats, PortError> {
        let head = Head::of(self.item(operation, &head_key(class)).await?);
        let key = |page| Item::from([(KEY.to_owned(), item::text(page_key(class, page)))]);
        let keys: Vec<Item> = (0..head.pages).map(key).collect();
        let pages = self.fetch(operation, &keys, true).await?;
        Ok(Seats::new(class, head, pages))
    }

    /// Gives the head of an earlier release the form of this one. Its seats stay in the head until
    /// they are given back. A process of that release takes none from then on.
    async fn switch_form(
        &self,
        operation: &'static str,
        class: &ClassName,
    ) -> Result<(), PortError> {
        let asked = self
            .update_of_seats(head_key(class))
            .update_expression(
                "SET #earlier = if_not_exists(#seats, :none), #version = :version, \
                 #pages = :pages REMOVE #seats, #repos, #owners",
            )
            .condition_expression("attribute_exists(#key) AND attribute_not_exists(#version)")
            .expression_attribute_names("#key", KEY)
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_names("#pages", PAGES)
            .expression_attribute_names("#earlier", EARLIER)
            .expression_attribute_names("#seats", SEATS)
            .expression_attribute_names("#repos", REPOS)
            .expression_attribute_names("#owners", OWNERS)
            .expression_attribute_values(":none", AttributeValue::M(Item::new()))
            .expression_attribute_values(":version", item::number(first_version()))
            .expression_attribute_values(":pages", item::number(0));
        if self.update_if(operation, asked).await? {
            tracing::info!(class = %class, "seats of an earlier release have the new form");
        }
        Ok(())
    }

    /// Writes the head with a further seat, if no other was taken since `before`.
    async fn claim(
        &self,
        class: &ClassName,
        before: Option<u64>,
        taken: &Taken,
    ) -> Result<bool, PortError> {
        let Taken { version, pages, claim } = taken;
        let asked = self
            .update_of_seats(head_key(class))
            .update_expression(
                "SET #version = :version, #pages = :pages, #attempt = :attempt, #repo = :repo, \
                 #page = :page",
            )
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_names("#pages", PAGES)
            .expression_attribute_names("#attempt", ATTEMPT)
            .expression_attribute_names("#repo", REPO)
            .expression_attribute_names("#page", PAGE)
            .expression_attribute_values(":version", item::number(*version))
            .expression_attribute_values(":pages", item::number(*pages))
            .expression_attribute_values(":attempt", item::text(&*claim.attempt_id))
            .expression_attribute_values(":repo", item::text(&*claim.repo))
            .expression_attribute_values(":page", item::number(claim.page));
        let asked = match before {
            Some(before) => asked
                .condition_expression("#version = :before")
                .expression_attribute_values(":before", item::number(before)),
            None => asked
                .condition_expression("attribute_not_exists(#key)")
                .expression_attribute_names("#key", KEY),
        };
        // After a lost reply the second try is refused, and the next read finds the seat.
        self.update_if("seat", asked).await
    }

    /// Writes a seat into its page, unless that was done.
    async fn place(
        &self,
        operation: &'static str,
        class: &ClassName,
        version: u64,
        claim: &Claim,
    ) -> Result<(), PortError> {
        let asked = self
            .update_of_seats(page_key(class, claim.page))
            .update_expression("SET #version = :version, #attempt = :repo")
            .condition_expression("attribute_not_exists(#version) OR #version < :version")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_names("#attempt", &*claim.attempt_id)
            .expression_attribute_values(":version", item::number(version))
            .expression_attribute_values(":repo", item::text(&*claim.repo));
        self.update_if(operation, asked).await.map(|_| ())
    }

    /// Removes a seat; `false` if it is no longer there.
    async fn remove_seat(
        &self,
        class: &ClassName,
        place: Place,
        attempt_id: &str,
    ) -> Result<bool, PortError> {
        let asked = match place {
            Place::Earlier => self
                .update_of_seats(head_key(class))
                .update_expression("REMOVE #earlier.#attempt")
                .condition_expression("attribute_exists(#earlier.#attempt)")
                .expression_attribute_names("#earlier", EARLIER),
            Place::Page(page) => self
                .update_of_seats(page_key(class, page))
                .update_expression("REMOVE #attempt")
                .condition_expression("attribute_exists(#attempt)"),
        };
        let asked = asked.expression_attribute_names("#attempt", attempt_id);
        self.update_if("unseat", asked).await
    }

    fn update_of_seats(&self, key: String) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(&self.table)
            .key(KEY, item::text(key))
            .return_consumed_capacity(ReturnConsumedCapacity::Total)
    }

    /// Updates an item on a condition. `false`: the condition does not hold.
    async fn update_if(
        &self,
        operation: &'static str,
        asked: UpdateItemFluentBuilder,
    ) -> Result<bool, PortError> {
        match asked.send().await {
            Ok(answer) => {
                self.wrote(answer.consumed_capacity());
                Ok(true)
            }
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(port_error(operation, &error)),
            },
        }
    }

    /// Waits, differently in each process, so that two do not meet again.
    async fn back_off(&self, tried: u32) {
        let mark = self.mark();
        let share = u32::from((mark[0] ^ mark[15]).wrapping_mul(37)) + 128;
        tokio::time::sleep(PAUSE * 2_u32.pow(tried.min(5)) * share / 256).await;
    }
}
