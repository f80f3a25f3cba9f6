//! Push mode at work: what lies in the inbox becomes runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tinqs_ci_reconciler::controller::Controller;
use tinqs_ci_reconciler::model::serving;
use tinqs_ci_reconciler::ports::{ErrorKind, Inbox, InboxItem, PortError};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use tinqs_ci_gitea::demand::Mode;
use tinqs_ci_gitea::demand::by_mode::Demanding;
use tinqs_ci_gitea::occasion::Occasion;

use super::evaluate::evaluate;
use super::runs;

/// A delivery as it lies in the inbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Item {
    received_at: Timestamp,
    occasion: Occasion,
}

/// Items read at once, and of them under evaluation at once.
const ITEMS: usize = 100;
const AT_ONCE: usize = 4;
/// An occasion that cannot be evaluated for so long is given up: by then the server has given the
/// job up too (`ABANDONED_JOB_TIMEOUT`).
const KEEP_TRYING: SignedDuration = SignedDuration::from_hours(24);
/// A commit that is not there may still come: pushes are told of before mirrors have them.
const MAY_COME: SignedDuration = SignedDuration::from_mins(10);
/// Before an item that failed is tried again, doubling.
const SOON: SignedDuration = SignedDuration::from_secs(2);
const LATE: SignedDuration = SignedDuration::from_mins(1);

/// What push mode works with.
pub struct Pushes {
    demand: Arc<Demanding>,
    inbox: Arc<dyn Inbox>,
    controller: Arc<Controller>,
    woken: Notify,
    /// Items that failed: how often, and when to try again. Losing it costs a try.
    failed: Mutex<HashMap<String, (u32, Timestamp)>>,
}

/// What came of one evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushResult {
    /// Its runs, if any, are durable.
    Evaluated,
    /// The forge or the store failed, or the commit is not there yet: it is tried again.
    Waiting,
    /// It is not tried again.
    GivenUp,
}

/// What came of a pass.
#[derive(Debug, Default)]
pub struct Pass {
    /// Occasions that were evaluated.
    pub evaluated: usize,
    /// Runs that were made.
    pub created: usize,
    /// Occasions that have to wait: the forge or the store failed.
    pub waiting: usize,
    /// Occasions that were given up.
    pub given_up: usize,
    /// The forge did not answer, so that the rest was put off.
    pub unanswered: bool,
    /// Each evaluation and how long it took.
    pub told: Vec<(PushResult, Duration)>,
    /// The inbox cannot be read, or the mode not be decided: the rest was not evaluated.
    pub error: Option<PortError>,
    /// Nothing lies there, and nothing will: the job list tells of demand.
    pub quiet: bool,
}

/// What became of one item.
enum Became {
    Done { created: usize },
    Again(PortError),
    GivenUp(String),
}

/// An item's key, it, what became of it, and how long that took.
type Looked = (String, Item, Became, Duration);

impl Pushes {
    /// Push mode over these parts.
    pub fn new(demand: Arc<Demanding>, inbox: Arc<dyn Inbox>, controller: Arc<Controller>) -> Self {
        let (woken, failed) = (Notify::new(), Mutex::default());
        Self { demand, inbox, controller, woken, failed }
    }

    /// The forge, as the mode shows it.
    pub fn demand(&self) -> &Arc<Demanding> {
        &self.demand
    }

    /// Whether an event is to be taken in: in push mode, and while the mode is not decided.
    pub fn wants(&self, event: &str) -> bool {
        self.demand.known() != Some(Mode::Jobs) && Occasion::is_one(event)
    }

    /// Makes an occasion durable; evaluated soon. `false`: there is no room.
    ///
    /// # Errors
    /// The store's, where it cannot be written.
    pub async fn take_in(&self, occasion: Occasion) -> Result<bool, PortError> {
        let received_at = self.controller.ports().clock.now();
        let digest = occasion.digest();
        let body = serde_json::to_vec(&Item { received_at, occasion }).map_err(|error| {
            PortError::new("store", "take_in", ErrorKind::Invalid, error.to_string())
        })?;
        let taken = self.inbox.take_in(&InboxItem::new(received_at, &digest, body)).await?;
        self.woken.notify_one();
        Ok(taken)
    }

    /// Waits until something was taken in.
    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Evaluates what lies there and is due. An item leaves once its runs are durable. Where the
    /// forge does not answer, the rest is left to the next pass.
    pub async fn pass(self: &Arc<Self>) -> Pass {
        let mut pass = Pass::default();
        pass.error = self.go_through(&mut pass).await.err();
        pass.quiet = pass.error.is_none() && self.demand.known() == Some(Mode::Jobs);
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
            for InboxItem { key, received_at: _, body } in items {
                if mode == Mode::Jobs {
                    // The job list knows better.
                    self.inbox.take_out(&key).await?;
                    continue;
                }
                if pass.unanswered || self.is_early(&key, now) {
                    pass.waiting += 1;
                    continue;
                }
                let item = match serde_json::from_slice::<Item>(&body) {
                    Ok(item) => item,
                    Err(reason) => {
                        tracing::error!(item = key, %reason, "skipped a delivery that cannot be read");
                        continue;
                    }
                };
                if tasks.len() >= AT_ONCE {
                    self.joined(&mut tasks, pass, now).await;
                }
                let pushes = self.clone();
                tasks.spawn(async move {
                    let began = Instant::now();
                    let became = pushes.evaluate(&item, now).await;
                    (key, item, became, began.elapsed())
                });
            }
        }
        while !tasks.is_empty() {
            self.joined(&mut tasks, pass, now).await;
        }
        Ok(())
    }

    async fn joined(&self, tasks: &mut JoinSet<Looked>, pass: &mut Pass, now: Timestamp) {
        // A panic leaves its item where it is; the hook has logged it.
        let Some(Ok((key, item, became, took))) = tasks.join_next().await else { return };
        let Occasion { repo, event, git_ref, commit, .. } = &item.occasion;
        let (result, over) = match became {
            Became::Done { created } => {
                pass.evaluated += 1;
                pass.created += created;
                tracing::info!(repo, event, git_ref, commit, created, "evaluated a push");
                (PushResult::Evaluated, true)
            }
            Became::GivenUp(why) => {
                pass.given_up += 1;
                tracing::error!(repo, event, git_ref, commit, why, "a push was given up");
                (PushResult::GivenUp, true)
            }
            Became::Again(error) => {
                pass.waiting += 1;
                pass.unanswered |=
                    matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Throttled);
                self.put_off(&key, now);
                tracing::warn!(repo, event, git_ref, commit, error = %error, "a push has to wait");
                (PushResult::Waiting, false)
            }
        };
        pass.told.push((result, took));
        if over {
            self.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            if let Err(error) = self.inbox.take_out(&key).await {
                // Evaluated once more: that changes nothing.
                tracing::warn!(error = %error, "an evaluated push could not be taken out");
            }
        }
    }

    async fn evaluate(&self, item: &Item, now: Timestamp) -> Became {
        let age = now.duration_since(item.received_at);
        match self.make_runs(&item.occasion).await {
            Ok(Some(created)) => Became::Done { created },
            Ok(None) if age > MAY_COME => Became::GivenUp(
                "its commit is not at the forge, or `forge.token` may not read the repository"
                    .into(),
            ),
            Ok(None) => {
                let message = "its commit is not at the forge (yet)";
                Became::Again(PortError::new("forge", "tree", ErrorKind::Invalid, message))
            }
            Err(error) if age > KEEP_TRYING => Became::GivenUp(error.to_string()),
            Err(error) => Became::Again(error),
        }
    }

    /// Makes the runs of an occasion; `None`: its commit is not there.
    async fn make_runs(&self, occasion: &Occasion) -> Result<Option<usize>, PortError> {
        let dialect = self.demand.dialect().await?;
        let Some(evaluated) = evaluate(self.demand.client(), dialect, occasion).await? else {
            return Ok(None);
        };
        let settings = self.controller.settings();
        let served = |labels: &[String]| serving(&settings.classes, labels).is_some();
        let mut created = 0;
        for (name, spec) in runs::runs(&evaluated, served) {
            created += usize::from(self.controller.demand_run(name, spec).await?);
        }
        for run in evaluated.runs.iter().filter(|run| run.held) {
            tracing::info!(
                repo = occasion.repo,
                workflow = run.workflow,
                "a fork's workflow may need approval: no machine",
            );
        }
        Ok(Some(created))
    }

    fn is_early(&self, key: &str, now: Timestamp) -> bool {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get(key).is_some_and(|(_, at)| *at > now)
    }

    fn put_off(&self, key: &str, now: Timestamp) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let (times, at) = failed.entry(key.to_owned()).or_insert((0, now));
        let wait = (SOON * (1 << (*times).min(6))).min(LATE);
        *times += 1;
        *at = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
    }
}
