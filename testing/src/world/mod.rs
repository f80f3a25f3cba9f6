//! All ports of the controller in memory.
//!
//! The clock is set by hand, calls can be told to fail, and things can happen while a call is under
//! way. Every call answers at once, unless a test holds it, so most tests need no runtime.

mod archive;
mod compute;
mod forge;
mod ports;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::model::{
    Amount, ClassName, Job, JobRunner, JobTimes, Machine, MachineId, MachineSpec, MicroUsd, Pause,
    Registration, RerunKey, RerunScope, Reruns, Run, RunName, UsageKey, WorkflowRun,
};
use tinqs_ci_reconciler::ports::{
    Announced, ErrorKind, InboxItem, PortError, Ports, RegistrationLists, RerunAnswer, Seat,
    TrueTime, WaitingJob,
};
use tokio::sync::{Notify, Semaphore};

/// The cloud's response to launches of a class.
#[derive(Clone, Copy)]
pub enum LaunchAnswer {
    /// A machine.
    Accepts,
    /// This error, and no machine.
    Refuses(fn() -> PortError),
}

/// A requested launch, whatever its answer was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchCall {
    /// The class of the attempt.
    pub class: ClassName,
    /// The requested machine.
    pub machine: MachineSpec,
}

/// A change of the world that happens with a call.
type Event = Box<dyn FnOnce(&mut State) + Send>;
/// The action of another task while a call is in progress.
type Interlude = Box<dyn FnOnce() + Send>;

/// Both sides of the world, for tests to arrange and to inspect.
#[expect(clippy::struct_excessive_bools, reason = "each switch is independent of the others")]
pub struct State {
    /// The time that the clock shows, where it is set by hand.
    pub now: Timestamp,
    /// Whether the clock is the system's.
    on_system_clock: bool,

    /// The records.
    pub runs: BTreeMap<RunName, Run>,
    /// The number of written records.
    pub writes: usize,
    /// The seats that are taken, with their classes.
    pub seats: Vec<(ClassName, Seat)>,
    /// The pauses.
    pub pauses: Vec<Pause>,
    /// The counted usage, by its key.
    pub usage: BTreeMap<UsageKey, Amount>,
    /// The requests to run jobs again.
    pub reruns: BTreeMap<RerunKey, Reruns>,
    /// The holder of each lease, and when it ends.
    pub leases: BTreeMap<String, (String, Timestamp)>,
    /// The announcements of replicas about formats.
    pub announced: Vec<Announced>,
    /// The requested duration of each lease, in the order of the calls.
    pub lease_ttls: Vec<SignedDuration>,
    /// Whether another replica holds every lease.
    pub led_by_another: bool,
    /// Deliveries that wait to be evaluated, by their keys.
    pub inbox: BTreeMap<String, InboxItem>,

    /// Wake-ups that nobody has taken, oldest first.
    pub queue: VecDeque<RunName>,
    /// Wake-ups that were taken and not done, by their handles, and when they come again.
    pub in_flight: BTreeMap<String, (RunName, Timestamp)>,
    /// The time after which a wake-up that is not done returns.
    pub again_after: SignedDuration,
    handles: u64,

    /// The machines, also those that have ended.
    pub machines: Vec<Machine>,
    /// A machine is up as soon as it is launched, and gone as soon as it is terminated. Otherwise it
    /// boots and ends until the test says more.
    pub instant_machines: bool,
    /// The responses to launches by class; a class that is not listed gets machines.
    pub launch_answers: BTreeMap<ClassName, LaunchAnswer>,
    /// The requested launches, in order.
    pub launches: Vec<LaunchCall>,
    /// Machines that only carry our tags.
    pub foreign: Vec<MachineId>,
    /// The images that configured names stand for; others stand for themselves.
    pub images: BTreeMap<String, String>,
    /// The spot prices by subnet, the same for all kinds; that of others is not known.
    pub pool_prices: BTreeMap<String, MicroUsd>,
    /// The output of machines, by their IDs.
    pub logs: BTreeMap<String, Vec<u8>>,
    /// The number of launches that the pace still permits; `None`: any number.
    pub room: Option<usize>,

    /// The forge's runners.
    pub registrations: Vec<Registration>,
    /// Whether the token cannot list runners.
    pub registrations_hidden: bool,
    /// The runners that execute jobs; `None`: they cannot be read.
    pub at_work: Option<Vec<JobRunner>>,
    /// Whether the forge cannot disable registrations.
    pub cannot_disable: bool,
    /// The lists that show the forge's runners.
    pub lists: RegistrationLists,
    /// The true time, as the forge's answers tell it.
    pub true_time: TrueTime,
    registered: i64,
    /// The credential that every new registration is given.
    pub runner_token: String,
    /// The forge's list of jobs; `None` in push mode.
    pub waiting: Option<Vec<WaitingJob>>,
    /// Jobs by their ids.
    pub jobs: BTreeMap<i64, Job>,
    /// The times of each job, as the forge tells them.
    pub times: BTreeMap<i64, JobTimes>,
    /// The names of the repositories of jobs, where records may have others.
    pub moved: BTreeMap<i64, String>,
    /// The same of their IDs.
    pub repo_ids: BTreeMap<i64, i64>,
    /// The labels of jobs, where the forge tells them.
    pub labels: BTreeMap<i64, Vec<String>>,
    /// The IDs of the registrations on whose runners jobs run or ran, where the forge tells them.
    pub ran_on: BTreeMap<i64, i64>,
    /// The workflow runs by their IDs.
    pub workflow_runs: BTreeMap<i64, WorkflowRun>,
    /// The answer to every request to run jobs again.
    pub rerun_answer: RerunAnswer,
    /// The requests to run jobs again: the ID of the workflow run, and which of its jobs.
    pub rerun_requests: Vec<(i64, RerunScope)>,
    /// The state of jobs that are not in `jobs`.
    pub other_jobs: Job,
    /// Whether the forge never answers when it is asked for a job.
    pub jobs_hang: bool,
    /// Ids of machines and registrations that are found by their ids, and are on no list.
    pub unlisted: BTreeSet<String>,

    /// The number of calls of each operation.
    pub calls: BTreeMap<&'static str, usize>,
    /// Ports whose every call fails: `store`, `queue`, `compute`, `forge`.
    pub down: BTreeSet<&'static str>,
    /// The number of next writes that fail because another writer came first.
    pub conflicts: usize,
    /// Reading this record panics.
    pub poisoned: Option<RunName>,
    /// Reading this record waits for [`TestWorld::let_through`].
    pub held: Option<RunName>,
    /// Readings of the usage wait for [`TestWorld::let_through`].
    pub usage_held: bool,
    /// Held readings under way.
    pub held_now: usize,
    /// The most held readings that were ever under way at once.
    pub held_at_most: usize,
    failures: Vec<(&'static str, ErrorKind)>,
    events: Vec<(&'static str, Event)>,
    interludes: Vec<(&'static str, Interlude)>,
}

impl State {
    /// Returns what the forge tells about a job besides its state.
    pub fn times_of(&self, job_id: i64) -> JobTimes {
        self.times.get(&job_id).copied().unwrap_or_default()
    }

    /// Returns the time that the clock shows.
    pub fn time(&self) -> Timestamp {
        if self.on_system_clock { Timestamp::now() } else { self.now }
    }
}

/// All ports in memory. [`Self::ports`] gives them to a controller or a server.
pub struct TestWorld {
    state: Mutex<State>,
    woken: Notify,
    gate: Semaphore,
}

impl TestWorld {
    /// Returns an empty world whose clock shows noon and stands still. Jobs wait, the forge is in push
    /// mode, and machines boot until the test says more.
    pub fn new() -> Arc<Self> {
        Self::with(false)
    }

    /// Returns the same world on the system's clock.
    pub fn on_system_clock() -> Arc<Self> {
        Self::with(true)
    }

    fn with(on_system_clock: bool) -> Arc<Self> {
        let state = State {
            now: "2026-01-01T12:00:00Z".parse().expect("a timestamp"),
            on_system_clock,
            runs: BTreeMap::new(),
            writes: 0,
            seats: Vec::new(),
            pauses: Vec::new(),
            usage: BTreeMap::new(),
            reruns: BTreeMap::new(),
            leases: BTreeMap::new(),
            announced: Vec::new(),
            lease_ttls: Vec::new(),
            led_by_another: false,
            inbox: BTreeMap::new(),
            queue: VecDeque::new(),
            in_flight: BTreeMap::new(),
            again_after: SignedDuration::from_mins(1),
            handles: 0,
            machines: Vec::new(),
            instant_machines: false,
            launch_answers: BTreeMap::new(),
            launches: Vec::new(),
            foreign: Vec::new(),
            images: BTreeMap::new(),
            pool_prices: BTreeMap::new(),
            logs: BTreeMap::new(),
            room: None,
            registrations: Vec::new(),
            registrations_hidden: false,
            at_work: Some(Vec::new()),
            cannot_disable: false,
            lists: RegistrationLists::One,
            true_time: TrueTime::Undated,
            registered: 0,
            runner_token: "one job's own".to_owned(),
            waiting: None,
            jobs: BTreeMap::new(),
            times: BTreeMap::new(),
            moved: BTreeMap::new(),
            repo_ids: BTreeMap::new(),
            labels: BTreeMap::new(),
            ran_on: BTreeMap::new(),
            workflow_runs: BTreeMap::new(),
            rerun_answer: RerunAnswer::Accepted,
            rerun_requests: Vec::new(),
            other_jobs: Job::Waiting,
            jobs_hang: false,
            unlisted: BTreeSet::new(),
            calls: BTreeMap::new(),
            down: BTreeSet::new(),
            conflicts: 0,
            poisoned: None,
            held: None,
            usage_held: false,
            held_now: 0,
            held_at_most: 0,
            failures: Vec::new(),
            events: Vec::new(),
            interludes: Vec::new(),
        };
        let (woken, gate) = (Notify::new(), Semaphore::new(0));
        Arc::new(Self { state: Mutex::new(state), woken, gate })
    }

    /// Returns the world as the controller's five ports.
    pub fn ports(self: &Arc<Self>) -> Ports {
        Ports {
            clock: self.clone(),
            store: self.clone(),
            queue: self.clone(),
            compute: self.clone(),
            forge: self.clone(),
        }
    }

    /// Locks both sides of the world. A test must not hold this over a call.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Puts a record as the first version of its run.
    pub fn add_run(&self, run: Run) {
        self.state().runs.insert(run.name.clone(), Run { version: 1, ..run });
    }

    /// Returns how often an operation was called.
    pub fn calls(&self, operation: &str) -> usize {
        self.state().calls.get(operation).copied().unwrap_or(0)
    }

    /// Makes the next call of an operation fail.
    pub fn fail_next(&self, operation: &'static str, kind: ErrorKind) {
        self.state().failures.push((operation, kind));
    }

    /// Changes the world with the next call of an operation, before it is answered.
    pub fn on_next(
        &self,
        operation: &'static str,
        event: impl FnOnce(&mut State) + Send + 'static,
    ) {
        self.state().events.push((operation, Box::new(event)));
    }

    /// Runs another action during the next call of an operation. The action may use the ports.
    pub fn during_next(&self, operation: &'static str, interlude: impl FnOnce() + Send + 'static) {
        self.state().interludes.push((operation, Box::new(interlude)));
    }

    /// Lets this many held reads continue.
    pub fn let_through(&self, readings: usize) {
        self.gate.add_permits(readings);
    }
}

/// Polls a future that the world answers at once.
///
/// # Panics
/// If the future has to wait.
pub fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a port of the test world waits"),
    }
}
