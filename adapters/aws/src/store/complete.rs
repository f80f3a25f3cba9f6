//! Completes the table: an index over many items takes minutes, in which the program goes on.

use std::time::Duration;

use aws_sdk_dynamodb::types::TableDescription;
use tinqs_ci_reconciler::ports::{ErrorKind, PortError};
use tokio::time::{Instant, sleep};

use super::DynamoStore;
use super::shape::Index;
use super::table::{
    DESCRIBE_AT_LEAST_EVERY, DESCRIBE_FIRST, Deletion, Ensured, Maker, Step, TableError, TableState,
};

/// Longest wait for the indexes of a table.
const COMPLETE_WITHIN: Duration = Duration::from_mins(20);
/// The time for which a start waits for them: those of a table with few items may be ready.
const START_WITHIN: Duration = Duration::from_secs(5);
/// The interval at which the progress is told.
const TOLD_EVERY: Duration = Duration::from_secs(30);
/// The pause after a failure in the background.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Tells people how far the table is.
pub type Progress<'p> = &'p (dyn Fn(&str) + Sync);

/// The index that the store waits for.
#[derive(Debug)]
pub(super) struct Awaited {
    index: Index,
    since: Instant,
    /// The error of the last try to go on, if it failed.
    failure: Option<String>,
}

impl DynamoStore {
    /// Creates the table, its indexes and its time to live, as far as they are missing, and waits
    /// for them. Existing parts stay unchanged.
    ///
    /// # Errors
    /// [`TableError`]. A process that may not describe the table gets a warning instead.
    pub async fn ensure_table(&self) -> Result<Ensured, TableError> {
        self.make_table(Deletion::Allowed, &|_| {}).await
    }

    /// Does the same, with a choice of deletion protection for a new table, and tells the progress.
    ///
    /// # Errors
    /// As [`DynamoStore::ensure_table`].
    pub async fn make_table(
        &self,
        deletion: Deletion,
        progress: Progress<'_>,
    ) -> Result<Ensured, TableError> {
        let (maker, mut done) = (self.maker(), Ensured::default());
        let Some(table) = maker.there(deletion, &mut done).await? else { return Ok(done) };
        let told = |index: Index, lasts: Duration| {
            let (name, table, seconds) = (index.name(), &self.table, lasts.as_secs());
            progress(&format!(
                "index `{name}` of table {table} is being created: {seconds} s so far, which may \
                 take 20 min"
            ));
        };
        if let Some(index) = maker.complete(table, COMPLETE_WITHIN, &told, &mut done).await? {
            let what = format!("index `{}` of table {}", index.name(), self.table);
            return Err(TableError::Late { what, after: COMPLETE_WITHIN });
        }
        Ok(done)
    }

    /// Does the same as [`DynamoStore::ensure_table`], but waits only for seconds. If an index is
    /// still being made then, all calls that need it fail until [`DynamoStore::complete_table`] has
    /// ended.
    ///
    /// # Errors
    /// As [`DynamoStore::ensure_table`].
    pub async fn open_table(&self) -> Result<Ensured, TableError> {
        let (maker, mut done) = (self.maker(), Ensured::default());
        let Some(table) = maker.there(Deletion::Allowed, &mut done).await? else {
            return Ok(done);
        };
        let awaited = maker.complete(table, START_WITHIN, &|_, _| {}, &mut done).await?;
        done.awaited = awaited.map(Index::name);
        *self.awaited.lock() =
            awaited.map(|index| Awaited { index, since: Instant::now(), failure: None });
        Ok(done)
    }

    /// Completes the table, however long that takes; failures are logged, and tried again.
    pub async fn complete_table(&self) -> Ensured {
        let mut done = Ensured::default();
        loop {
            match self.go_on(&mut done).await {
                Ok(()) => {
                    *self.awaited.lock() = None;
                    return done;
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot complete the table, will retry");
                    if let Some(awaited) = self.awaited.lock().as_mut() {
                        awaited.failure = Some(error.to_string());
                    }
                    sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn go_on(&self, done: &mut Ensured) -> Result<(), TableError> {
        let note = |index: Index, _: Duration| {
            if let Some(awaited) = self.awaited.lock().as_mut() {
                let since = if awaited.index == index { awaited.since } else { Instant::now() };
                *awaited = Awaited { index, since, failure: None };
            }
        };
        let maker = self.maker();
        let table = maker.usable().await?;
        maker.complete(table, Duration::MAX, &note, done).await.map(|_| ())
    }

    /// Fails while an index is being made.
    pub(super) fn needs_indexes(&self, operation: &'static str) -> Result<(), PortError> {
        let awaited = self.awaited.lock();
        let Some(Awaited { index, since, failure }) = awaited.as_ref() else { return Ok(()) };
        let (name, minutes) = (index.name(), since.elapsed().as_secs() / 60);
        let mut message = format!(
            "index `{name}` of table {} is being created, for {minutes} min so far",
            self.table
        );
        if let Some(failure) = failure {
            message = format!("{message}, and the last try to go on failed: {failure}");
        }
        Err(PortError::new("store", operation, ErrorKind::Unavailable, message))
    }

    pub(super) fn maker(&self) -> Maker<'_> {
        Maker { client: &self.client, table: &self.table }
    }
}

impl Maker<'_> {
    /// Returns the table, which is created if it is missing; `None` if this process may not read
    /// its state.
    async fn there(
        &self,
        deletion: Deletion,
        done: &mut Ensured,
    ) -> Result<Option<TableDescription>, TableError> {
        match self.inspect().await? {
            TableState::Denied(warning) => {
                done.warnings.push(warning);
                return Ok(None);
            }
            TableState::There(_) => {}
            TableState::Missing => done.made = self.create(deletion).await?,
        }
        self.usable().await.map(Some)
    }

    /// Takes the steps that complete the table, and waits between them. Returns the index that is
    /// not ready after this time.
    async fn complete(
        &self,
        mut table: TableDescription,
        within: Duration,
        told: &(dyn Fn(Index, Duration) + Sync),
        done: &mut Ensured,
    ) -> Result<Option<Index>, TableError> {
        self.check(&table)?;
        let begun = Instant::now();
        let (mut since, mut wait, mut told_at) = (begun, DESCRIBE_FIRST, None::<Instant>);
        loop {
            let Step { awaited, began } = self.step(&table).await?;
            let Some(index) = awaited else { break };
            if began {
                done.indexes.push(index.name());
                (since, wait, told_at) = (Instant::now(), DESCRIBE_FIRST, None);
            }
            if begun.elapsed() > within {
                return Ok(Some(index));
            }
            if told_at.is_none_or(|at| at.elapsed() >= TOLD_EVERY) {
                told(index, since.elapsed());
                told_at = Some(Instant::now());
            }
            sleep(wait).await;
            wait = (wait * 2).min(DESCRIBE_AT_LEAST_EVERY);
            table = self.usable().await?;
        }
        match self.expire().await {
            Ok(changed) => done.expires = changed,
            Err(error) => done.warnings.push(error.to_string()),
        }
        Ok(None)
    }
}
