//! The server as an AWS Lambda function: each invocation is one event, and nothing runs in between.
//!
//! HTTP requests go to the server's routes; an SQS batch names runs to reconcile; the schedule
//! polls and sweeps; an EC2 instance event reconciles its run. If wake-ups are kept in the process,
//! they are handled before the invocation ends, so that a webhook alone launches its machine. Work
//! that exceeds the time continues at the next invocation, or starts again in another process: a
//! reconcile may stop anywhere. With SQS, a run that is due soon is woken by a delayed message.

mod due_messages;
mod event;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use lambda_http::{Adapter, LambdaEvent};
use lambda_runtime::{Context, service_fn};
use serde_json::{Value, json};
use tinqs_ci_reconciler::model::{MachineId, RunName};
use tinqs_ci_reconciler::ports::PortError;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tower::Service as _;

use super::file_watch::Why;
use super::http::{self, App, Deadlines};
use super::pass::pass;
use super::pauses;
use super::reload::Reloader;
use super::state::{Error, Intervals, Parts, PollSignal, Role, replica};
use super::workers;
use crate::backends::BackendError;
use crate::settings::{Loaded, QueueUrl, Source};
use crate::telemetry::metrics::emf::Emf;
use crate::telemetry::traces;
use due_messages::DueMessages;
use event::{Event, Record};
use tinqs_ci_aws::events::{self, Message};

/// The part of an invocation's time reserved for the response.
const RESERVE: Duration = Duration::from_secs(1);
/// The time for work after a webhook: Gitea waits 5 s for the response (`DELIVER_TIMEOUT`).
const WEBHOOK: Duration = Duration::from_secs(4);
/// The maximum time to send the last spans of an invocation to a collector, within [`RESERVE`].
const LAST_SPANS: Duration = Duration::from_millis(500);
/// Reconciling ends after this time without a wake-up.
const IDLE: Duration = Duration::from_millis(50);

/// Builds the parts once and answers invocations until the runtime ends this process. Credentials
/// are read again where `source` says.
///
/// # Errors
/// A part cannot be built, or the runtime's API cannot be reached.
pub async fn run(
    loaded: Loaded,
    source: Source,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(), Error> {
    let Loaded { settings, secret_sources, .. } = loaded;
    if settings.server.tokens.is_empty() {
        // A function has no place to keep one that it creates.
        tracing::warn!("no `[[server.token]]`, the API admits nobody");
    }
    let replica = replica();
    let parts = Parts::from_settings(settings, &replica, environment, Role::All).await?;
    let parts = parts.reloadable(source, secret_sources, &replica);
    let function = Arc::new(Function::new(parts));
    let serve = service_fn(move |event: LambdaEvent<Value>| {
        let function = function.clone();
        async move {
            let answer = function.invoked(event).await;
            function.print_metrics();
            // Nothing runs until the next invocation.
            traces::flush(LAST_SPANS).await;
            answer
        }
    });
    // Boxed: the state of every route is in it.
    Box::pin(lambda_runtime::run(serve)).await.map_err(|error| {
        Error::Part(BackendError::Part { part: "Lambda runtime", message: error.to_string() })
    })
}

/// The state kept between invocations.
struct Function {
    parts: Parts,
    intervals: Intervals,
    routes: Router,
    /// Reads credentials again.
    reloader: Option<Arc<Reloader>>,
    poll_signal: Arc<PollSignal>,
    /// Whether wake-ups are kept in this process, so that only it can handle them.
    own_queue: bool,
    /// Reconciles in progress; an earlier invocation may have left some unfinished.
    under_way: Mutex<JoinSet<()>>,
    /// Tells `CloudWatch` what happened, if that is configured.
    emf: Option<Emf>,
    /// The delayed messages that are on the way.
    due_messages: parking_lot::Mutex<DueMessages>,
    /// Never fires: the runtime ends the process.
    stop: watch::Sender<bool>,
}

impl Function {
    fn new(mut parts: Parts) -> Self {
        // A reload would change one of the function's processes only: the API offers none.
        let reloader = parts.reloader.take();
        let poll_signal = Arc::new(PollSignal::default());
        // A response is complete before it is sent.
        parts.telemetry.events.end_streams();
        // AWS gives the one address, so everything is there, and the API requires its token.
        let app = App::new(&parts, poll_signal.clone(), Role::All, None);
        let settings = parts.live.settings();
        Self {
            intervals: Intervals::of(&settings),
            own_queue: settings.queue == QueueUrl::Memory,
            emf: settings.server.emf.then(|| Emf::new(&settings.installation)),
            routes: http::everything(&app, Deadlines::default()),
            reloader,
            parts,
            poll_signal,
            under_way: Mutex::default(),
            due_messages: parking_lot::Mutex::default(),
            stop: watch::Sender::new(false),
        }
    }

    async fn invoked(&self, event: LambdaEvent<Value>) -> Result<Value, lambda_runtime::Error> {
        let LambdaEvent { payload, context } = event;
        self.reread_secrets().await;
        let left = left(&context, SystemTime::now());
        let event = Event::read(payload);
        match event.inspect_err(|error| tracing::error!(%error, "unknown invocation event"))? {
            Event::Http(request) => {
                let mut routes = Adapter::from(self.routes.clone());
                let answer = routes.call(LambdaEvent::new(*request, context)).await?;
                self.follow(left.min(WEBHOOK)).await;
                Ok(serde_json::to_value(answer)?)
            }
            Event::Batch(records) => {
                let failed = self.batch(records).await;
                let failed: Vec<Value> =
                    failed.into_iter().map(|id| json!({ "itemIdentifier": id })).collect();
                Ok(json!({ "batchItemFailures": failed }))
            }
            Event::Instances(ids) => {
                self.instances(&ids).await?;
                self.follow(left).await;
                Ok(Value::Null)
            }
            Event::Tick => {
                let errors = self.tick().await;
                self.follow(left).await;
                Ok(json!({ "errors": errors }))
            }
            Event::Ignored => Ok(Value::Null),
        }
    }

    /// Prints what the metrics say of this invocation, and of what was left of the last one.
    fn print_metrics(&self) {
        let Some(emf) = &self.emf else { return };
        let telemetry = &self.parts.telemetry;
        let mut lines = emf.lines(&telemetry.metrics, telemetry.now()).join("\n");
        if lines.is_empty() {
            return;
        }
        lines.push('\n');
        // Lambda takes stdout line by line. They are written at once, so that none is split.
        if let Err(error) = std::io::stdout().lock().write_all(lines.as_bytes()) {
            tracing::warn!(%error, "cannot write metrics to stdout");
        }
    }

    /// Reads the credentials again whose time has come.
    async fn reread_secrets(&self) {
        let Some(reloader) = self.reloader.clone() else { return };
        let work = move || reloader.reread_secrets(Why::Tick);
        if tokio::task::spawn_blocking(work).await.is_err() {
            // The panic hook has logged the place.
            tracing::error!("reading the credentials again panicked: a bug");
        }
    }

    /// Polls, sweeps and evaluates pushes. Returns the number of errors, which are logged.
    async fn tick(&self) -> usize {
        let Parts { controller, telemetry, .. } = &self.parts;
        let demand = pass("demand", telemetry, controller.poll()).await;
        let sweep = pass("sweep", telemetry, controller.sweep()).await;
        pauses::note(controller, telemetry);
        telemetry.note_boot_stops(&controller.boot_stops());
        telemetry.note_spot_breakers(&controller.spot_breakers());
        self.pushes().await;
        controller.wake_due().await;
        [demand, sweep].iter().map(|report| report.as_ref().map_or(1, |r| r.errors.len())).sum()
    }

    /// Reads the inbox if something was stored since it was last read.
    async fn read_inbox(&self) {
        if let Some(pushes) = &self.parts.pushes
            && at_once(pushes.woken()).await
        {
            self.pushes().await;
        }
    }

    async fn pushes(&self) {
        let Some(pushes) = &self.parts.pushes else { return };
        let pass = pushes.pass().await;
        self.parts.telemetry.record_pushes(&pass);
        if pass.poll_soon {
            self.poll_signal.poll_soon();
        }
        if let Some(error) = pass.error {
            tracing::warn!(%error, "cannot evaluate pushes, will retry");
        }
    }

    /// Does what a request triggered in the background, and handles this process's wake-ups.
    async fn follow(&self, within: Duration) {
        let work = async {
            if at_once(self.poll_signal.nudged()).await {
                let Parts { controller, telemetry, .. } = &self.parts;
                pass("demand", telemetry, controller.poll()).await;
            }
            self.read_inbox().await;
            if self.own_queue {
                self.reconcile_woken().await;
            }
        };
        if tokio::time::timeout(within, work).await.is_err() {
            tracing::info!("invocation time is over, work continues at the next one");
        }
    }

    /// Reconciles until no wake-up is left. Only one such loop runs at a time, because each loop
    /// prevents concurrent reconciles of a run.
    async fn reconcile_woken(&self) {
        let mut under_way = self.under_way.lock().await;
        loop {
            let left_over = !under_way.is_empty();
            if !left_over {
                let Parts { controller, telemetry, pushes, .. } = &self.parts;
                let (controller, telemetry) = (controller.clone(), telemetry.clone());
                let stopping = self.stop.subscribe();
                under_way.spawn(workers::run(
                    controller,
                    telemetry,
                    pushes.clone(),
                    self.intervals,
                    stopping,
                    Some(IDLE),
                ));
            }
            under_way.join_next().await;
            if !left_over {
                return;
            }
        }
    }

    /// Reconciles the runs that the messages name. Returns the IDs of messages that must be
    /// delivered again.
    async fn batch(&self, records: Vec<Record>) -> Vec<String> {
        let mut failed = Vec::new();
        let mut asked: Vec<(RunName, String)> = Vec::new();
        for Record { message_id, body, .. } in records {
            match events::read(&body) {
                Message::Run(name) => asked.push((name, message_id)),
                Message::Instances(ids) => match self.runs_of(&ids).await {
                    Ok(names) => asked.extend(names.into_iter().map(|n| (n, message_id.clone()))),
                    Err(_) => failed.push(message_id),
                },
                Message::Ignored => {}
                Message::Unreadable => {
                    tracing::warn!(message = message_id, "dropped unreadable message");
                }
            }
        }
        let names: Vec<RunName> = asked.iter().map(|(name, _)| name.clone()).collect();
        let Parts { controller, telemetry, pushes, .. } = &self.parts;
        let pushes = pushes.as_ref();
        let unsettled = workers::at_once(controller, telemetry, pushes, self.intervals, names);
        let unsettled = unsettled.await;
        let settled = asked.iter().map(|(name, _)| name).filter(|name| !unsettled.contains(*name));
        self.send_dues(settled.cloned().collect()).await;
        self.read_inbox().await;
        failed.extend(asked.into_iter().filter(|(n, _)| unsettled.contains(n)).map(|(_, id)| id));
        failed.sort();
        failed.dedup();
        failed
    }

    /// Sends delayed messages for the dues of these runs. If that fails, the schedule finds them.
    async fn send_dues(&self, names: BTreeSet<RunName>) {
        let controller = &self.parts.controller;
        let now = controller.ports().clock.now();
        // At once, because one call takes ten messages.
        let mut sends = JoinSet::new();
        for name in names {
            let Some(due) = controller.due(&name) else { continue };
            let Some(delay) = self.due_messages.lock().delay(&name, due, now) else { continue };
            let queue = controller.ports().queue.clone();
            sends.spawn(async move { (queue.wake_later(&name, delay).await.is_ok(), name) });
        }
        // The port's decorator counts and logs errors.
        for (is_sent, name) in sends.join_all().await {
            if !is_sent {
                self.due_messages.lock().failed(&name);
            }
        }
    }

    /// Wakes the runs of those instances that belong to this installation.
    async fn instances(&self, ids: &[MachineId]) -> Result<(), PortError> {
        for name in self.runs_of(ids).await? {
            self.parts.controller.ports().queue.wake(&name).await?;
        }
        Ok(())
    }

    async fn runs_of(&self, ids: &[MachineId]) -> Result<Vec<RunName>, PortError> {
        let mut names = Vec::new();
        for id in ids {
            let machine = self.parts.controller.ports().compute.find(id).await?;
            names.extend(machine.map(|machine| machine.attempt_id.run));
        }
        Ok(names)
    }
}

/// Returns the invocation's time that is left for work.
fn left(context: &Context, now: SystemTime) -> Duration {
    let deadline = UNIX_EPOCH + Duration::from_millis(context.deadline);
    deadline.duration_since(now).unwrap_or_default().saturating_sub(RESERVE)
}

/// Whether the future is ready now.
async fn at_once(waiting: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(Duration::ZERO, waiting).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_left_for_the_answer() {
        let now = SystemTime::now();
        let millis = now.duration_since(UNIX_EPOCH).unwrap().as_millis();
        let mut context = Context::default();
        context.deadline = u64::try_from(millis).unwrap() + 5_000;
        let left_now = left(&context, now);
        assert!(
            left_now <= Duration::from_secs(4) && left_now > Duration::from_secs(3),
            "{left_now:?}"
        );
        context.deadline = 1;
        assert_eq!(left(&context, now), Duration::ZERO);
    }
}
