//! The simulated world: forge, cloud, records and wake-ups in one state, with its faults and laws.

mod records;
mod wakes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::model::{
    AttemptId, Class, ClassName, MachineSpec, Market, Outcome as RunOutcome, Reason, RepoRef, Run,
    RunName, serving,
};
use tinqs_ci_reconciler::ports::{Clock, OpenRun, RegistrationLists, Seat};

use crate::cloud::machine::{self, Doing, MachineOutcome};
use crate::cloud::{self, Cloud};
use crate::executor::Group;
use crate::faults::{FaultProfile, OngoingFault, Port, Rng};
use crate::forge::{self, Forge};
use crate::formats::Releases;
use crate::laws::{Allowance, Laws, SeatTaken};
use crate::schedule::Schedule;

pub use records::Records;
pub use wakes::Wakes;

/// The interval of the forge's cron.
const FORGE_CRON: SignedDuration = SignedDuration::from_secs(60);
/// After a failed reading, rule 22 needs two more, which must be minutes apart.
const HUNG_READ_WITHIN: SignedDuration = SignedDuration::from_mins(6);
/// A new replica learns within this time since when a registration is missing: two reconciles a
/// minute apart.
const LEARNS_WITHIN: SignedDuration = SignedDuration::from_mins(3);

/// Source of demand for the controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// The forge's job list.
    Jobs,
    /// Pushes: jobs cannot be observed.
    Push,
    /// Pushes, and the token may not list runners.
    PushWithoutRows,
}

/// The whole simulated state.
pub struct World {
    /// The true time.
    pub clock: Arc<dyn Clock>,
    /// The forge. Lock it after the world.
    pub forge: Arc<Mutex<Forge>>,
    /// The cloud.
    pub cloud: Cloud,
    /// The store's records, seats and leases.
    pub records: Records,
    /// The releases of the replicas.
    pub releases: Releases,
    /// The queue.
    pub wakes: Wakes,
    /// Fault probabilities.
    pub faults: FaultProfile,
    /// Periods in which one thing fails: trouble, start, end.
    pub periods: Vec<(OngoingFault, Timestamp, Timestamp)>,
    /// The controller's source of demand.
    pub demand: Demand,
    /// The lists that show the registrations.
    pub lists: RegistrationLists,
    /// Jobs whose push was accepted, without a job list.
    pub taken: BTreeSet<i64>,
    /// Scheduled faults.
    pub schedule: Schedule,
    /// The number of occurrences of each fault.
    pub struck: BTreeMap<&'static str, u64>,
    /// Source of randomness.
    pub rng: Rng,
    /// Laws and event log.
    pub laws: Laws,
    /// Calls of the ports, by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// Time of each replica's last failed reading of the forge.
    pub unread: BTreeMap<Group, Timestamp>,
    cron_at: Timestamp,
    /// Deaths of replicas up to the last minute.
    deaths: u64,
    /// Until then, a replica or a call is paused, or a replica relearns what another knew.
    stands_still_until: Timestamp,
}

/// The world, shared by all its users.
pub type Shared = Arc<Mutex<World>>;

impl World {
    /// Creates a world with a forge and no faults. `seed` decides everything random.
    pub fn new(seed: u64, clock: Arc<dyn Clock>, forge: Arc<Mutex<Forge>>) -> Self {
        let now = clock.now();
        Self {
            clock,
            forge,
            cloud: Cloud::new(cloud::Config::default()),
            records: Records::default(),
            releases: Releases::default(),
            wakes: Wakes::default(),
            faults: FaultProfile::default(),
            periods: Vec::new(),
            demand: Demand::Jobs,
            lists: RegistrationLists::One,
            taken: BTreeSet::new(),
            schedule: Schedule::default(),
            struck: BTreeMap::new(),
            rng: Rng::new(seed),
            laws: Laws::new(seed, now),
            calls: BTreeMap::new(),
            unread: BTreeMap::new(),
            cron_at: now + FORGE_CRON,
            deaths: 0,
            stands_still_until: now,
        }
    }

    /// Returns the true time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Locks the forge.
    pub fn forge(&self) -> MutexGuard<'_, Forge> {
        self.forge.lock()
    }

    /// Records an event.
    pub fn tell(&mut self, line: &str) {
        let now = self.now();
        self.laws.tell(now, line);
    }

    /// Returns when the next event is due: on a machine, in the forge's cron, or in the queue.
    pub fn next_event(&self) -> Timestamp {
        let others = [self.cloud.next_event(), self.wakes.next_event()];
        others.into_iter().flatten().fold(self.cron_at, Timestamp::min)
    }

    /// Processes all events due by now. The caller has already moved the clock.
    pub fn advance(&mut self) {
        let now = self.now();
        if self.faults.list_lag > SignedDuration::ZERO {
            self.cloud.config.list_lag = self.faults.at(now).list_lag;
        }
        if self.faults.no_tokens {
            self.cloud.config.tokens = !self.faults.at(now).no_tokens;
        }
        let forge = self.forge.clone();
        let mut forge = forge.lock();
        if !self.periods.is_empty() {
            forge.config.mute_until = self.ends_at(now, OngoingFault::Mute);
            forge.config.down_until = self.ends_at(now, OngoingFault::Down(Port::Forge));
        }
        let told = self.cloud.tick(now, &mut forge);
        for line in told {
            self.laws.tell(now, &line);
        }
        if self.cron_at <= now {
            self.cron_at = now + FORGE_CRON;
            forge.tick(now);
            let deaths = self.struck.get("crash").copied().unwrap_or(0);
            if deaths > std::mem::replace(&mut self.deaths, deaths) {
                self.stands_still(now + LEARNS_WITHIN);
            }
            let clocks_set = self.faults.at(now - LEARNS_WITHIN).clocks_set;
            let forgotten = clocks_set || now < self.stands_still_until;
            let unreadable = self.is_unreadable(now);
            let faults = self.faults.at(now);
            let failing = faults.refused > 0.0 && faults.reply_lost > 0.0 && faults.slow > 0.0;
            let excuse = Allowance { forgotten, unreadable, failing, ..self.excuse(now, &forge) };
            self.laws.every_minute(now, &self.cloud, &forge, &excuse);
            let is_gone = |id: i64| {
                let run = self.records.run(&RunName::job(id));
                run.is_none_or(|run| run.deleted_at.is_some())
            };
            self.laws.lost_jobs(now, &self.cloud, &forge, &excuse, is_gone);
            let run_of = |id: i64| self.records.run(&RunName::job(id));
            self.laws.lost_machines(now, &self.cloud, &forge, &excuse, run_of);
        }
        drop(forge);
        self.wakes.advance(now);
    }

    /// Returns the end of a trouble if it is current.
    fn ends_at(&self, now: Timestamp, trouble: OngoingFault) -> Option<Timestamp> {
        let there = |(what, from, until): &&(OngoingFault, Timestamp, Timestamp)| {
            *what == trouble && *from <= now && now < *until
        };
        self.periods.iter().filter(there).map(|(_, _, until)| *until).max()
    }

    /// Returns whether a trouble is current.
    pub fn suffers(&self, now: Timestamp, trouble: OngoingFault) -> bool {
        self.ends_at(now, trouble).is_some()
    }

    /// Returns whether the cloud rejects the image of a machine spec.
    pub(crate) fn has_bad_image(&self, now: Timestamp, machine: &MachineSpec) -> bool {
        self.periods.iter().any(|(trouble, from, until)| {
            let bad = matches!(trouble, OngoingFault::BadImage(image) if *image == machine.image);
            bad && *from <= now && now < *until
        })
    }

    /// Returns whether machines of this spec never start their runner now.
    fn has_deaf_image(&self, now: Timestamp, machine: &MachineSpec) -> bool {
        self.periods.iter().any(|(trouble, from, until)| {
            let deaf = matches!(trouble, OngoingFault::DeafImage(image) if *image == machine.image);
            deaf && *from <= now && now < *until
        })
    }

    /// Records that a replica or one of its calls pauses, or that a replica relearns what another
    /// knew.
    pub(crate) fn stands_still(&mut self, until: Timestamp) {
        self.stands_still_until = self.stands_still_until.max(until);
    }

    /// Draws whether a fault of this probability occurs, and counts it.
    pub fn strikes(&mut self, fault: &'static str, probability: f64) -> bool {
        let strikes = self.rng.chance(probability);
        if strikes {
            self.count(fault);
        }
        strikes
    }

    /// Counts an occurrence of a fault.
    pub fn count(&mut self, fault: &'static str) {
        *self.struck.entry(fault).or_insert(0) += 1;
    }

    /// Returns the conditions that no controller can overcome now.
    fn excuse(&self, now: Timestamp, forge: &Forge) -> Allowance {
        let down = |port| self.suffers(now, OngoingFault::Down(port));
        let cut_off = [Port::Store, Port::Queue, Port::Compute, Port::Forge].into_iter().any(down);
        let idle = [OngoingFault::Mute, OngoingFault::Drought, OngoingFault::Denied];
        let idle = idle.into_iter().any(|trouble| self.suffers(now, trouble));
        let hopeless = forge.waiting().into_iter().filter(|job| self.is_hopeless(now, job));
        let hopeless = hopeless.map(|job| job.id).collect();
        let no_job_can_start = cut_off || idle;
        Allowance { cut_off, no_job_can_start, hopeless, ..Allowance::default() }
    }

    /// Returns whether readings or effects of rule 22 may have failed within the last minutes.
    fn is_unreadable(&self, now: Timestamp) -> bool {
        let recently = |(trouble, from, until): &(OngoingFault, Timestamp, Timestamp)| {
            let is_down = matches!(trouble, OngoingFault::Down(_) | OngoingFault::Storm);
            is_down && *from <= now && now < *until + HUNG_READ_WITHIN
        };
        let FaultProfile { list_lag, clocks_apart, clocks_set, .. } = self.faults;
        let faults = self.faults.at(now - HUNG_READ_WITHIN);
        let faults = FaultProfile { list_lag, clocks_apart, clocks_set, ..faults };
        self.demand != Demand::Jobs || !faults.answers_all() || self.periods.iter().any(recently)
    }

    /// Returns whether a job gets no machine: it was given up or deleted, its class has no working
    /// machine spec, or hanging machines hold the class's seats.
    pub(crate) fn is_hopeless(&self, now: Timestamp, job: &forge::JobRow) -> bool {
        let given_up = self.records.run(&RunName::job(job.id)).is_some_and(|run| {
            run.deleted_at.is_some() || run.status.outcome == Some(RunOutcome::GaveUp)
        });
        let broken = |m: &MachineSpec| {
            self.faults.broken_kind == Some(m.kind.as_str())
                || self.has_bad_image(now, m)
                || self.has_deaf_image(now, m)
        };
        let class = serving(&self.laws.classes, &job.repo, &job.spec.runs_on);
        let clogged = |class: &Class| {
            let hangs =
                |m: &machine::SimulatedMachine| m.doing == Doing::Hung && m.class == class.name;
            class.has_limit() && self.cloud.live().any(hangs)
        };
        given_up || class.is_none_or(|class| class.machines.iter().all(broken) || clogged(class))
    }

    /// Checks whose turn it was when a seat was taken. `held`: the seats of the class that were held
    /// before.
    pub(crate) fn seat_taken(
        &mut self,
        class: &ClassName,
        by: &AttemptId,
        repo: RepoRef<'_>,
        held: &[Seat],
    ) {
        if self.laws.fair_among.is_none() {
            return;
        }
        let waiting: Vec<OpenRun> = {
            let jobs = self.forge.lock();
            let waits = |run: &&Run| {
                let job = jobs.job(run.spec.job.job_id);
                run.status.reason() == Some(Reason::AtLimit)
                    && job.is_some_and(|job| job.status == forge::Status::Waiting)
            };
            self.records.runs().filter(waits).map(OpenRun::of).collect()
        };
        let (now, waiting) = (self.now(), &waiting[..]);
        self.laws.on_seat(now, &SeatTaken { class, by, repo, held, waiting });
    }

    /// Draws how long a fault of this probability lasts, if it occurs.
    fn lasting(&mut self, fault: &'static str, probability: f64) -> Option<SignedDuration> {
        let minutes = SignedDuration::from_mins;
        self.strikes(fault, probability).then(|| self.rng.between(minutes(1), minutes(40)))
    }

    /// Draws the outcome of a machine that is launched now.
    pub fn outcome(&mut self, spec: Option<&MachineSpec>) -> MachineOutcome {
        let faults = self.faults.at(self.now());
        let seconds = SignedDuration::from_secs;
        let spot = spec.is_some_and(|m| m.market == Market::Spot);
        let broken = spec.is_some_and(|m| faults.broken_kind == Some(m.kind.as_str()));
        let deaf = spec.is_some_and(|m| self.has_deaf_image(self.now(), m));
        if deaf {
            self.count("deaf_image");
        }
        let interrupted = spot && self.strikes("interrupted", faults.interrupted);
        let noticed = interrupted && self.strikes("noticed", faults.noticed);
        MachineOutcome {
            boots_in: self.rng.between(seconds(12), seconds(40)) + faults.slow_boot,
            starts_in: self.rng.between(seconds(5), seconds(20)),
            interrupted_in: interrupted.then(|| self.rng.between(seconds(1), seconds(600))),
            ends_job_before: noticed.then(|| seconds(25)),
            stillborn: self.strikes("stillborn", faults.stillborn),
            silent: self.strikes("silent", faults.silent),
            never_online: broken || deaf || self.strikes("never_online", faults.never_online),
            hangs_idle: self.strikes("hangs_idle", faults.hangs_idle),
            hangs_after_job: self.strikes("hangs_after_job", faults.hangs_after_job),
            ignores_timer: self.strikes("ignores_timer", faults.ignores_timer),
            starts_late: self.lasting("starts_late", faults.starts_late),
            fails_first: self.lasting("fails_first", faults.fails_first),
        }
    }
}

/// Creates a forge for the simulation.
pub(crate) fn forge_of(line: forge::Line) -> Arc<Mutex<Forge>> {
    let picks_for = SignedDuration::from_secs(30);
    let config = forge::Config { line, picks_for, ..forge::Config::default() };
    Arc::new(Mutex::new(Forge::new(config)))
}
