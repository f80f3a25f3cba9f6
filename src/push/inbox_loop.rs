//! The loop over the inbox: evaluates changes, takes what was told about jobs, and creates runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::model::serving;
use tinqs_ci_reconciler::ports::{ErrorKind, Inbox, InboxItem, PortError};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use tinqs_ci_gitea::demand::by_mode::DemandSource;
use tinqs_ci_gitea::demand::{self, Demand, Mode};
use tinqs_ci_gitea::trigger_event::TriggerEvent;
use tinqs_ci_gitea::webhook::Event;

use super::evaluate::evaluate;
use super::item::{Content, Item};
use super::{inbox_wake, runs};

/// The number of items read at once.
const ITEMS: usize = 100;
/// The number of concurrent evaluations.
const AT_ONCE: usize = 4;
/// Evaluation is given up after this time; by then the forge has given up the job too
/// (`ABANDONED_JOB_TIMEOUT`).
const KEEP_TRYING: SignedDuration = SignedDuration::from_hours(24);
/// The time to wait for a missing commit: a push may be announced before mirrors have it.
const MAY_COME: SignedDuration = SignedDuration::from_mins(10);
/// The first and the longest delay before a failed item is retried; doubles in between.
const SOON: SignedDuration = SignedDuration::from_secs(2);
const LATE: SignedDuration = SignedDuration::from_mins(1);

/// The state of the inbox and of push mode.
pub struct Pushes {
    demand: Arc<DemandSource>,
    inbox: Arc<dyn Inbox>,
    controller: Arc<Controller>,
    woken: Notify,
    /// Failed items with the number of failures and the time of the next try. May be lost: then an
    /// item is retried early.
    failed: Mutex<HashMap<String, (u32, Timestamp)>>,
}

/// The result of an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushResult {
    /// The runs, if any, are stored.
    Evaluated,
    /// The forge or the store failed, or the commit does not exist yet; will be retried.
    Waiting,
    /// The evaluation failed for too long and is not retried.
    GivenUp,
}

/// The result of a pass over the inbox.
#[derive(Debug, Default)]
pub struct Pass {
    /// The number of evaluated items.
    pub evaluated: usize,
    /// The number of created runs.
    pub created: usize,
    /// The number of items to be retried.
    pub waiting: usize,
    /// The number of items given up.
    pub given_up: usize,
    /// Whether the forge could not be reached, so that the rest was postponed.
    pub unanswered: bool,
    /// The result and duration of each evaluation of a change.
    pub told: Vec<(PushResult, Duration)>,
    /// Whether the job list must be read soon: it also shows what a delivery omits.
    pub poll_soon: bool,
    /// The inbox could not be read or the mode not be decided; the rest was not evaluated.
    pub error: Option<PortError>,
    /// Whether the inbox is empty and only a wake-up can tell more, because the job list shows the
    /// demand.
    pub quiet: bool,
}

/// The outcome of an item.
enum ItemOutcome {
    Done { created: usize },
    Again(PortError),
    GivenUp(String),
}

/// The key of an item, the item, its outcome and the duration.
type Processed = (String, Item, ItemOutcome, Duration);

impl Pushes {
    /// Creates the state of push mode.
    pub fn new(
        demand: Arc<DemandSource>,
        inbox: Arc<dyn Inbox>,
        controller: Arc<Controller>,
    ) -> Self {
        let (woken, failed) = (Notify::new(), Mutex::default());
        Self { demand, inbox, controller, woken, failed }
    }

    /// Returns the forge and its demand mode.
    pub fn demand(&self) -> &Arc<DemandSource> {
        &self.demand
    }

    /// Whether an event must be stored: in push mode, and while the mode is undecided.
    pub fn wants(&self, event: &str) -> bool {
        self.demand.known() != Some(Mode::Jobs) && TriggerEvent::is_one(event)
    }

    /// Stores a trigger event for evaluation. Returns `false` if the inbox is full.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn take_in(&self, trigger_event: TriggerEvent) -> Result<bool, PortError> {
        self.store(Content::Trigger(Box::new(trigger_event))).await
    }

    /// Stores what a delivery tells about jobs, for a replica that reconciles. Returns `false` if
    /// the inbox is full.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn take_in_jobs(&self, events: Vec<Event>) -> Result<bool, PortError> {
        self.store(Content::Jobs(events)).await
    }

    async fn store(&self, content: Content) -> Result<bool, PortError> {
        let received_at = self.controller.ports().clock.now();
        let item = Item { received_at, content }.stored()?;
        let taken = self.inbox.take_in(&item).await?;
        self.woken.notify_one();
        Ok(taken)
    }

    /// Wakes a replica that reads the inbox.
    ///
    /// # Errors
    /// The queue's error: then a replica reads it at its next pass.
    pub async fn wake_reader(&self) -> Result<(), PortError> {
        self.controller.ports().queue.wake(&inbox_wake()).await
    }

    /// Lets the loop read the inbox now, because another replica has stored an item.
    pub fn read_now(&self) {
        self.woken.notify_one();
    }

    /// Waits until an item was stored.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Evaluates the due items of the inbox. An item is removed once its runs are stored. If the
    /// forge cannot be reached, the rest is left to the next pass.
    pub async fn pass(self: &Arc<Self>) -> Pass {
        let mut pass = Pass::default();
        pass.error = self.go_through(&mut pass).await.err();
        let all_taken = pass.error.is_none() && pass.waiting == 0;
        pass.quiet = all_taken && self.demand.known() == Some(Mode::Jobs);
        pass
    }

    async fn go_through(self: &Arc<Self>, pass: &mut Pass) -> Result<(), PortError> {
        let mut tasks = JoinSet::new();
        let mut after = String::new();
        let now = self.controller.ports().clock.now();
        loop {
            let items = self.inbox.oldest(&after, ITEMS).await?;
            let Some(last) = items.last() else { break };
            after.clone_from(&last.key);
            let mode = self.demand.mode().await?;
            for InboxItem { key, received_at, body } in items {
                if pass.unanswered || self.is_early(&key, now) {
                    pass.waiting += 1;
                    continue;
                }
                let read = Item::read(&body);
                if mode == Mode::Jobs && !read.as_ref().is_ok_and(Item::tells_jobs) {
                    // The job list shows the demand, also of what this version cannot read.
                    self.inbox.take_out(&key).await?;
                    pass.poll_soon = true;
                    continue;
                }
                let item = match read {
                    Ok(item) => item,
                    Err(reason) => {
                        self.unreadable(&key, received_at, &reason, pass, now).await;
                        continue;
                    }
                };
                if tasks.len() >= AT_ONCE {
                    self.joined(&mut tasks, pass, now).await;
                }
                let pushes = self.clone();
                tasks.spawn(async move {
                    let began = Instant::now();
                    let outcome = pushes.take(&item, mode, now).await;
                    (key, item, outcome, began.elapsed())
                });
            }
        }
        while !tasks.is_empty() {
            self.joined(&mut tasks, pass, now).await;
        }
        Ok(())
    }

    /// Keeps an item that this version cannot read, because another version may: an update is
    /// undone, or a replica is newer. Reports it once per process, and removes it when pushes are
    /// no longer retried.
    async fn unreadable(
        &self,
        item: &str,
        received_at: Timestamp,
        reason: &serde_json::Error,
        pass: &mut Pass,
        now: Timestamp,
    ) {
        let until = received_at.saturating_add(KEEP_TRYING).unwrap_or(Timestamp::MAX);
        if now < until {
            pass.waiting += 1;
            // Early until then, so it is neither parsed nor reported again.
            self.failed.lock().insert(item.to_owned(), (1, until));
            tracing::error!(
                item, %reason, %until,
                "cannot read stored push, kept for a version that can"
            );
            return;
        }
        if let Err(error) = self.inbox.take_out(item).await {
            pass.waiting += 1;
            self.put_off(item, now);
            tracing::warn!(item, error = %error, "cannot remove unreadable push, will retry");
            return;
        }
        self.failed.lock().remove(item);
        pass.given_up += 1;
        pass.told.push((PushResult::GivenUp, Duration::ZERO));
        tracing::error!(item, %reason, "gave up unreadable push");
    }

    async fn joined(&self, tasks: &mut JoinSet<Processed>, pass: &mut Pass, now: Timestamp) {
        // After a panic (logged by the hook) the item stays in the inbox.
        let Some(Ok((key, item, outcome, took))) = tasks.join_next().await else { return };
        tell(&item.content, &outcome);
        let (result, over) = match outcome {
            ItemOutcome::Done { created } => {
                pass.evaluated += 1;
                pass.created += created;
                (PushResult::Evaluated, true)
            }
            ItemOutcome::GivenUp(_) => {
                pass.given_up += 1;
                (PushResult::GivenUp, true)
            }
            ItemOutcome::Again(error) => {
                pass.waiting += 1;
                pass.unanswered |=
                    matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Throttled);
                self.put_off(&key, now);
                (PushResult::Waiting, false)
            }
        };
        if item.tells_jobs() {
            pass.poll_soon = true;
        } else {
            pass.told.push((result, took));
        }
        if over {
            self.failed.lock().remove(&key);
            if let Err(error) = self.inbox.take_out(&key).await {
                // It is evaluated again, which changes nothing.
                tracing::warn!(error = %error, "cannot remove evaluated push, will retry");
            }
        }
    }

    async fn take(&self, item: &Item, mode: Mode, now: Timestamp) -> ItemOutcome {
        let age = now.duration_since(item.received_at);
        let taken = match &item.content {
            Content::Trigger(trigger_event) => self.make_runs(trigger_event).await,
            Content::Jobs(events) => self.ingest(events, mode).await.map(Some),
        };
        match taken {
            Ok(Some(created)) => ItemOutcome::Done { created },
            Ok(None) if age > MAY_COME => ItemOutcome::GivenUp(
                "the commit does not exist at the forge, or `forge.token` cannot read the repository"
                    .into(),
            ),
            Ok(None) => {
                let message = "the commit does not exist at the forge (yet)";
                ItemOutcome::Again(PortError::new("forge", "tree", ErrorKind::Invalid, message))
            }
            Err(error) if age > KEEP_TRYING => ItemOutcome::GivenUp(error.to_string()),
            Err(error) => ItemOutcome::Again(error),
        }
    }

    /// Does what a replica that accepts webhooks itself does with these events at once. Returns the
    /// number of created runs.
    async fn ingest(&self, events: &[Event], mode: Mode) -> Result<usize, PortError> {
        let Demand { hints, poll_soon: _, blocked } = demand::hints(events.to_vec(), Some(mode));
        for job_id in blocked {
            self.controller.saw_blocked(job_id);
        }
        self.controller.ingest(&hints).await
    }

    /// Creates the runs of a trigger event. Returns `None` if its commit does not exist.
    async fn make_runs(&self, trigger_event: &TriggerEvent) -> Result<Option<usize>, PortError> {
        let dialect = self.demand.dialect().await?;
        let Some(evaluated) = evaluate(self.demand.client(), dialect, trigger_event).await? else {
            return Ok(None);
        };
        let settings = self.controller.settings();
        let repo = &trigger_event.repo;
        let served = |labels: &[String]| serving(&settings.classes, repo, labels).is_some();
        let mut created = 0;
        for (name, spec) in runs::runs(&evaluated, served) {
            created += usize::from(self.controller.demand_run(name, spec).await?);
        }
        for run in evaluated.runs.iter().filter(|run| run.held) {
            tracing::info!(
                repo = trigger_event.repo,
                workflow = run.workflow,
                "skipped fork's workflow that may need approval",
            );
        }
        Ok(Some(created))
    }

    fn is_early(&self, key: &str, now: Timestamp) -> bool {
        let failed = self.failed.lock();
        failed.get(key).is_some_and(|(_, at)| *at > now)
    }

    fn put_off(&self, key: &str, now: Timestamp) {
        let mut failed = self.failed.lock();
        let (times, at) = failed.entry(key.to_owned()).or_insert((0, now));
        let wait = (SOON * (1 << (*times).min(6))).min(LATE);
        *times += 1;
        *at = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
    }
}

/// Logs what became of an item.
fn tell(content: &Content, outcome: &ItemOutcome) {
    let Content::Trigger(trigger_event) = content else {
        match outcome {
            ItemOutcome::Done { created } => tracing::debug!(created, "took announced jobs"),
            ItemOutcome::GivenUp(why) => tracing::error!(why, "gave up announced jobs"),
            ItemOutcome::Again(error) => {
                tracing::warn!(error = %error, "cannot take announced jobs, will retry");
            }
        }
        return;
    };
    let TriggerEvent { repo, event, git_ref, commit, .. } = trigger_event.as_ref();
    match outcome {
        ItemOutcome::Done { created } => {
            tracing::info!(repo, event, git_ref, commit, created, "evaluated push");
        }
        ItemOutcome::GivenUp(why) => {
            tracing::error!(repo, event, git_ref, commit, why, "gave up push evaluation");
        }
        ItemOutcome::Again(error) => {
            tracing::warn!(
                repo, event, git_ref, commit, error = %error,
                "push evaluation failed, will retry"
            );
        }
    }
}
