//! A controller over the test world, with two classes, `good` and `bad`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::MutexGuard;
use tinqs_ci_reconciler::controller::{Controller, Event, Report, Settings};
use tinqs_ci_reconciler::model::{
    AttemptId, Class, ClassName, EndedBy, Job, JobRef, MachineSpec, MachineState, Market, Reason,
    Run, RunName, SeenBy, Spec,
};
use tinqs_ci_reconciler::ports::ErrorKind;
use tinqs_ci_testing::{LaunchAnswer, State, TestWorld, make, ready};

/// The controller and the world that it sees.
pub(crate) struct Harness {
    pub(crate) controller: Arc<Controller>,
    world: Arc<TestWorld>,
    /// The ID of the job that was made last.
    last_job: std::cell::Cell<i64>,
}

/// A class with spot machines in two subnets, and one on demand.
fn class(name: &str) -> Class {
    let machine = |subnet: &str, market: Market| MachineSpec {
        kind: "small".to_owned(),
        subnet: subnet.to_owned(),
        market,
        image: "image-1".to_owned(),
        ..make::process()
    };
    let machines = vec![
        machine("subnet-a", Market::Spot),
        machine("subnet-b", Market::Spot),
        machine("subnet-a", Market::OnDemand),
    ];
    Class { labels: vec![format!("{name}:host")], ..make::class(name, machines) }
}

impl Harness {
    /// Two classes, `good` and `bad`, whose launches are accepted, and no job.
    pub(crate) fn new() -> Self {
        let world = TestWorld::new();
        let settings = Settings {
            installation: "test".to_owned(),
            instance_url: "https://forge".to_owned(),
            git_token: None,
            secrets: Vec::new(),
            classes: vec![class("good"), class("bad")],
            prices: std::collections::BTreeMap::new(),
            poll_every: SignedDuration::from_secs(10),
            sweep_every: SignedDuration::from_secs(60),
            replica: "one".to_owned(),
        };
        let controller = Arc::new(Controller::new(world.ports(), settings));
        Self { controller, world, last_job: std::cell::Cell::default() }
    }

    /// Returns the controller of another process, which knows nothing yet.
    pub(crate) fn another(&self) -> Controller {
        Controller::new(self.world.ports(), (*self.controller.settings()).clone())
    }

    /// Both sides of the world. A test must not hold this over a call.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.world.state()
    }

    /// Makes the next call of an operation fail.
    pub(crate) fn fails(&self, operation: &'static str, kind: ErrorKind) {
        self.world.fail_next(operation, kind);
    }

    /// Changes the world with the next call of an operation, before it is answered.
    pub(crate) fn when(
        &self,
        operation: &'static str,
        event: impl FnOnce(&mut State) + Send + 'static,
    ) {
        self.world.on_next(operation, event);
    }

    /// Reconciles another run from beginning to end while the next call of an operation is under way.
    pub(crate) fn meanwhile(&self, operation: &'static str, reconciled: &RunName) {
        let (controller, name) = (self.controller.clone(), reconciled.clone());
        self.world.during_next(operation, move || drop(ready(controller.reconcile(&name))));
    }

    /// Lets held reads continue.
    pub(crate) fn let_through(&self, readings: usize) {
        self.world.let_through(readings);
    }

    /// Returns the number of calls of an operation.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.world.calls(operation)
    }

    /// Takes the wake-ups since the last time, in order.
    pub(crate) fn woken(&self) -> Vec<String> {
        self.state().queue.drain(..).map(|name| name.to_string()).collect()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state().now
    }

    /// Says what the forge answers about a run's job from now on.
    pub(crate) fn job_is(&self, name: &RunName, job: Job) {
        let mut state = self.state();
        let job_id = state.runs[name].spec.job.job_id;
        state.jobs.insert(job_id, job);
    }

    /// Changes a record, without a new version.
    pub(crate) fn change(&self, name: &RunName, change: impl FnOnce(&mut Run)) {
        change(self.state().runs.get_mut(name).expect("a run"));
    }

    /// The attempt ID of a run's attempt of this number.
    pub(crate) fn attempt_id(&self, name: &RunName, number: u32) -> AttemptId {
        self.run(name).attempt_id(number)
    }

    /// Reconciles a run.
    pub(crate) fn reconcile(&self, name: &RunName) -> Report {
        ready(self.controller.reconcile(name))
    }

    /// Says what launches of a class are answered from now on.
    pub(crate) fn answers(&self, class: &str, answer: LaunchAnswer) {
        self.state().launch_answers.insert(ClassName(class.to_owned()), answer);
    }

    /// Makes new jobs for a class, each with its run.
    pub(crate) fn jobs(&self, count: usize, class: &str) -> Vec<RunName> {
        let mut names = Vec::new();
        for _ in 0..count {
            let job_id = self.last_job.get() + 1;
            self.last_job.set(job_id);
            let spec = Spec {
                job: JobRef { repo: "acme/site".to_owned(), repo_id: 7, job_id },
                runs_on: vec![class.to_owned()],
                ..Spec::default()
            };
            let run = Run::new("test", RunName::job(job_id), spec, SeenBy::Webhook, self.now());
            names.push(run.name.clone());
            self.world.add_run(run);
        }
        names
    }

    /// Reconciles each run, one after the other. Returns what happened.
    pub(crate) fn reconcile_each(&self, names: &[RunName]) -> Vec<Event> {
        names.iter().flat_map(|name| self.reconcile(name).events).collect()
    }

    /// Wakes the runs that are due. Returns how many.
    pub(crate) fn wakes(&self) -> usize {
        ready(self.controller.wake_due())
    }

    /// Leaves room for so many launches from now on.
    pub(crate) fn room_for(&self, launches: usize) {
        self.state().room = Some(launches);
    }

    /// Reconciles for each wake-up so far and for those that follow from it. Returns how often.
    pub(crate) fn follow(&self) -> usize {
        let mut reconciles = 0;
        loop {
            let next = self.state().queue.pop_front();
            let Some(name) = next else { return reconciles };
            self.reconcile_each(&[name]);
            reconciles += 1;
        }
    }

    /// Moves the clock.
    pub(crate) fn pass(&self, time: SignedDuration) {
        self.state().now += time;
    }

    pub(crate) fn run(&self, name: &RunName) -> Run {
        self.state().runs[name].clone()
    }

    /// Returns the reason of a run's first condition.
    pub(crate) fn reason(&self, name: &RunName) -> Option<Reason> {
        self.run(name).status.reason()
    }

    /// Returns the message of a run's first condition.
    pub(crate) fn message(&self, name: &RunName) -> String {
        self.run(name).status.conditions[0].message.clone()
    }

    /// Returns the number of requested launches of a class.
    pub(crate) fn launches(&self, class: &str) -> usize {
        self.state().launches.iter().filter(|launch| launch.class.0 == class).count()
    }

    /// The subnet of each launch that was asked for, in order.
    pub(crate) fn subnets(&self) -> Vec<String> {
        self.state().launches.iter().map(|launch| launch.machine.subnet.clone()).collect()
    }

    /// Returns the number of written records.
    pub(crate) fn writes(&self) -> usize {
        self.state().writes
    }

    /// The cloud takes the machines of a run back.
    pub(crate) fn take_back(&self, name: &RunName) {
        let mut state = self.state();
        for machine in state.machines.iter_mut().filter(|m| m.attempt_id.run == *name) {
            (machine.state, machine.ended_by) = (MachineState::Gone, Some(EndedBy::Cloud));
        }
    }

    /// Changes the configuration of a class.
    pub(crate) fn configure(&self, name: &str, change: impl Fn(&mut Class)) {
        let mut settings = (*self.controller.settings()).clone();
        settings.classes.iter_mut().filter(|class| class.name.0 == name).for_each(change);
        self.controller.configure(settings);
    }
}

/// Returns the ID of a repository: names that differ only by case have one.
pub(crate) fn repo_id(repo: &str) -> i64 {
    let lower = repo.to_ascii_lowercase();
    1 + lower.bytes().fold(0, |id, byte| (id * 31 + i64::from(byte)) % 1_000_003)
}

/// Says that the job of a run is of this repository.
pub(crate) fn is_of(run: &mut Run, repo: &str) {
    repo.clone_into(&mut run.spec.job.repo);
    run.spec.job.repo_id = repo_id(repo);
}
