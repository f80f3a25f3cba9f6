//! The loop: ingest, reconcile, observe, poll, sweep. Awaits ports and nothing else.

mod breaker;
mod line;
mod look;
mod memory;
mod observe;
mod sweep;
mod taken;

use std::sync::{Arc, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::class::{Broken, Class, ClassName, serving};
use crate::ports::{ErrorKind, Expect, PortError, Ports, WaitingJob};
use crate::run::{Phase, Reason, Run, RunName, Secret, Slot, Spec};

use memory::Memory;

/// What the controller is told at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Value of the machine tag; part of every uid.
    pub installation: String,
    /// The forge's address as machines reach it.
    pub instance_url: String,
    /// For cloning over HTTPS on machines, where configured.
    pub git_token: Option<Secret>,
    /// In order: the first that serves a job's labels serves it.
    pub classes: Vec<Class>,
    /// How often the forge's job list is read.
    pub poll_every: SignedDuration,
    /// How often machines, registrations and seats are gone through.
    pub sweep_every: SignedDuration,
    /// This process, as the holder of the sweep's lease.
    pub replica: String,
}

/// What a webhook may tell: never what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// A job was seen waiting.
    Queued(WaitingJob),
    /// Something happened to a job: look at its run, and at the run whose slot the runner's name is.
    Job {
        /// The job's id.
        job_id: i64,
        /// The name of the runner that works on it, where told.
        runner: Option<String>,
    },
}

/// What came of a look. The controller counts and logs nothing itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The run.
    pub name: RunName,
    /// When the look began.
    pub began_at: Timestamp,
    /// How it went.
    pub result: LookResult,
    /// The run's phase before it; `None`: there was no record.
    pub phase_before: Option<Phase>,
    /// The run's phase after it; `None`: there is no record any more.
    pub phase: Option<Phase>,
    /// Why it is not further on.
    pub reason: Option<Reason>,
    /// The class that serves it.
    pub class: Option<ClassName>,
    /// The repository, `owner/name`; empty where there is no record.
    pub repo: String,
    /// What was done, in order.
    pub effects: Vec<Effect>,
    /// When to look again at the latest; `None`: never, on its own account.
    pub due: Option<Timestamp>,
    /// What kept it from going on.
    pub error: Option<String>,
    /// Things that happened and that are worth a histogram or a counter.
    pub facts: Vec<Fact>,
}

/// How a look went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LookResult {
    /// Nothing was to be done.
    Settled,
    /// Something was done or written.
    Acted,
    /// Somebody else wrote first: it is looked at again.
    Conflict,
    /// A reading failed; or an effect did.
    Error,
}

/// One call that changes the world, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Effect {
    /// What.
    pub action: ActionKind,
    /// On what: a machine's id, a registration's id, a slot.
    pub target: String,
    /// The slot it is about, where it is about one.
    pub slot: Option<String>,
    /// The row of the heart that asked for it.
    pub row: String,
    /// `None`: it went well.
    pub error: Option<(ErrorKind, String)>,
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// `RunStore::seat`
    Seat,
    /// `RunStore::unseat`
    Unseat,
    /// `Forge::register`
    Register,
    /// `RunStore::put`
    Put,
    /// `Compute::launch`
    Launch,
    /// `Compute::terminate`
    Terminate,
    /// `Forge::retire`
    Retire,
    /// `RunStore::remove`
    Remove,
    /// `Queue::wake`
    Wake,
}

/// A thing that happened, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// The job was seen running for the first time; it had waited so long.
    Started {
        /// In seconds.
        waited_seconds: i64,
    },
    /// The run was finished.
    Finished {
        /// How.
        outcome: crate::run::Outcome,
    },
    /// The run was made.
    Created,
    /// The launches of a class are stopped: the cloud refused one for what an operator must mend.
    BreakerOpened {
        /// Which.
        class: ClassName,
        /// Why, and until when.
        broken: Broken,
    },
    /// The launches of a class go on.
    BreakerClosed {
        /// Which.
        class: ClassName,
        /// How long they were stopped, in seconds.
        open_seconds: i64,
    },
}

/// What came of a poll or a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct SweepReport {
    /// Whether this replica holds the lease; without it nothing was read.
    pub leader: bool,
    /// Jobs that the forge's list holds.
    pub waiting_jobs: usize,
    /// Of those, jobs that no class serves.
    pub unserved_jobs: usize,
    /// Runs that were made: jobs that no webhook had announced.
    pub created: usize,
    /// Runs that were asked to be looked at.
    pub woken: usize,
    /// Machines seen.
    pub machines: usize,
    /// Registrations seen.
    pub registrations: usize,
    /// Seats seen.
    pub seats: usize,
    /// Readings that failed; the others were used.
    pub errors: Vec<String>,
}

/// One replica's controller.
pub struct Controller {
    ports: Ports,
    settings: RwLock<Arc<Settings>>,
    memory: Memory,
}

impl Controller {
    /// A controller over these ports.
    pub fn new(ports: Ports, settings: Settings) -> Self {
        Self { ports, settings: RwLock::new(Arc::new(settings)), memory: Memory::default() }
    }

    /// The ports it uses.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The settings in force.
    pub fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the settings. Classes that are not as they were are tried anew.
    pub fn configure(&self, settings: Settings) {
        let before = self.settings();
        let now = self.ports.clock.now();
        for class in settings.classes.iter().filter(|class| !before.classes.contains(class)) {
            let held = self.memory.breakers.reset(&class.name, now);
            self.memory.bring_forward(&held, now);
        }
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
        self.memory.stir();
    }

    /// Whatever was found idle is looked at anew with the next poll and sweep.
    pub fn look_anew(&self) {
        self.memory.stir();
    }

    /// Takes hints in: when it answers `Ok`, each is durable as a run or a wake-up. Makes a run for
    /// a waiting job that a class serves and that has none. Answers how many runs it made.
    ///
    /// # Errors
    /// The store's or the queue's, where a hint could not be made durable.
    pub async fn ingest(&self, hints: &[Hint]) -> Result<usize, PortError> {
        self.memory.stir();
        let mut created = 0;
        for hint in hints {
            match hint {
                Hint::Queued(job) => created += usize::from(self.ensure_run(job).await?),
                Hint::Job { job_id, runner } => {
                    let slot = runner.as_deref().and_then(|name| name.parse::<Slot>().ok());
                    let own = RunName::job(*job_id);
                    if let Some(slot) = &slot {
                        self.memory.taken.saw(&own, slot);
                    }
                    let robbed = slot.map(|s| s.run).filter(|name| *name != own);
                    for name in std::iter::once(own).chain(robbed) {
                        if self.ports.store.get(&name).await?.is_some() {
                            self.ports.queue.wake(&name).await?;
                        }
                    }
                }
            }
        }
        Ok(created)
    }

    /// Makes the run of a waiting job, if a class serves it and there is none, and wakes it.
    async fn ensure_run(&self, job: &WaitingJob) -> Result<bool, PortError> {
        let spec = Spec {
            job: job.job.clone(),
            runs_on: job.runs_on.clone(),
            about: job.about.clone(),
            ..Spec::default()
        };
        self.demand_run(RunName::job(job.job.job_id), spec).await
    }

    /// Makes a run of this name, if a class serves its labels and there is none, and wakes it. When
    /// it answers `Ok`, the run is durable, or no class serves it. Answers whether it made it.
    ///
    /// # Errors
    /// The store's, where the run could not be made durable; the queue's, where a run that was
    /// there could not be woken.
    pub async fn demand_run(&self, name: RunName, spec: Spec) -> Result<bool, PortError> {
        let settings = self.settings();
        if serving(&settings.classes, &spec.runs_on).is_none() {
            return Ok(false);
        }
        self.memory.stir();
        let run = Run::new(&settings.installation, name.clone(), spec, self.ports.clock.now());
        // Not asked for first: most jobs are announced once, and the write tells as well.
        let created = match self.ports.store.put(&run, Expect::Absent).await {
            Ok(_) => true,
            // It is there, or somebody else made it: that is as good.
            Err(error) if error.kind == ErrorKind::Conflict => false,
            Err(error) => return Err(error),
        };
        // The run is durable and due: a lost wake-up costs a poll's time, nothing more.
        let woken = self.ports.queue.wake(&name).await;
        // One that was there may be gone by now: then the wake-up is all that is durable.
        if created { Ok(true) } else { woken.map(|()| false) }
    }
}
