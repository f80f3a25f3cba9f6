//! A seed's history, from the first push to the day on which nothing happens any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::controller::{Hint, Settings};
use tinqs_ci_reconciler::model::{Class, Run, RunName, Secret, Slot, serving};
use tinqs_ci_reconciler::ports::Clock;

use super::people::{self, Pushed};
use super::profile::{Deed, Demand, Profile};
use super::replica::{self, Replica};
use super::{Shared, World, forge_of, lock};
use crate::clock::{Skewed, Virtual};
use crate::executor::{Executor, Group};
use crate::faults::Trouble;
use crate::forge::Status;
use crate::laws::Violation;
use crate::ports;
use crate::schedule::Schedule;

/// Every replica has heard of other classes after this.
const HEARD_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// This long after the weather no job waits any more that can run.
const HEALED_WITHIN: SignedDuration = SignedDuration::from_mins(60);
/// So long after the weather people clear up what nobody runs.
const CLEARED_UP_AFTER: SignedDuration = SignedDuration::from_hours(2);

/// What came of a seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The profile's name.
    pub profile: &'static str,
    /// How many replicas there were.
    pub replicas: usize,
    /// Jobs that waited for a runner at some time, re-runs counted anew.
    pub jobs: usize,
    /// Of those, the ones that ran.
    pub ran: usize,
    /// Of those, the ones that ran on the machine of another run.
    pub shared: usize,
    /// Machines that were made.
    pub machines: usize,
    /// Calls of launch that reached the cloud.
    pub launches: u64,
    /// Registrations that were made.
    pub registrations: u64,
    /// Writes of each run, its removal not among them.
    pub writes_per_run: BTreeMap<RunName, u32>,
    /// Records that were removed.
    pub removals: u64,
    /// Calls that would change something, after all is done.
    pub mutating_calls_in_settled_day: u64,
    /// Calls of store, queue and compute in that time, apart from waiting for wake-ups.
    pub calls_in_settled_day: u64,
    /// The longest that a job waited for its runner.
    pub longest_wait: SignedDuration,
    /// How often a run waited the whole `assign_within` for the machine of the job that had taken its
    /// own, and then needed another.
    pub waited_in_vain: u64,
    /// A hash over everything that happened.
    pub trace_hash: String,
    /// Laws that were broken.
    pub violations: Vec<Violation>,
    /// Calls of the ports, by name.
    pub calls: BTreeMap<&'static str, u64>,
    /// How often each fault struck.
    pub struck: BTreeMap<&'static str, u64>,
    /// Looks that were gone through.
    pub looks: u64,
    /// How long the history is, in the world's own time.
    pub simulated: SignedDuration,
}

impl Outcome {
    /// Writes of all runs, removals not among them.
    pub fn writes(&self) -> u64 {
        self.writes_per_run.values().map(|n| u64::from(*n)).sum()
    }

    /// Machines per job that ran.
    #[allow(clippy::cast_precision_loss, reason = "a few hundred of each")]
    pub fn machines_per_job(&self) -> f64 {
        self.machines as f64 / self.ran.max(1) as f64
    }
}

/// Calls that change something.
pub(crate) const MUTATING: [&str; 9] = [
    "store.put",
    "store.remove",
    "store.seat",
    "store.unseat",
    "queue.wake",
    "compute.launch",
    "compute.terminate",
    "forge.register",
    "forge.retire",
];

/// Lets a seed's history happen.
pub fn run(seed: u64, profile: &Profile) -> Outcome {
    let mut drive = Drive::new(seed, profile);
    drive.play();
    drive.end()
}

/// Lets a seed's history happen with mishaps on purpose. Answers the schedule too: what of it came
/// to pass, and all calls.
pub fn run_scheduled(seed: u64, profile: &Profile, schedule: Schedule) -> (Outcome, Schedule) {
    let mut drive = Drive::new(seed, profile);
    lock(&drive.world).schedule = schedule;
    drive.play();
    let schedule = std::mem::take(&mut lock(&drive.world).schedule);
    (drive.end(), schedule)
}

/// Lets a seed's history happen, and answers all of it too, a line per event.
pub fn chronicle(seed: u64, profile: &Profile) -> (Outcome, Vec<String>) {
    let mut drive = Drive::new(seed, profile);
    lock(&drive.world).laws.remembers = usize::MAX;
    drive.play();
    let lines = lock(&drive.world).laws.chronicle().map(str::to_owned).collect();
    (drive.end(), lines)
}

/// What is on its way to a replica.
#[derive(Clone, Debug)]
enum Post {
    /// A webhook about a job.
    Hint(Box<Hint>),
    /// A push that needs a runner for a job at once: where there is no job list.
    Push(i64),
}

struct Drive<'a> {
    profile: &'a Profile,
    world: Shared,
    clock: Virtual,
    executor: Executor,
    /// The incarnation of each replica; `None` while it is down.
    replicas: Vec<Option<Replica>>,
    /// Replicas that come back, and when.
    restarts: Vec<(Timestamp, usize)>,
    /// The classes in force, and the replicas that have yet to hear of them.
    classes: Vec<Class>,
    hears: Vec<(Timestamp, usize)>,
    deeds: VecDeque<(Timestamp, Deed)>,
    /// When the weather is over.
    until: Timestamp,
    /// The longest that a finished run is kept.
    keep: SignedDuration,
    /// Webhooks on their way: when they arrive, in that order.
    webhooks: BTreeMap<(Timestamp, u64), Post>,
    sent: u64,
    pushed: Pushed,
    groups: Group,
    /// Jobs seen running, with when they had begun to wait and whether a machine of theirs had them.
    starts: BTreeMap<(i64, Timestamp), bool>,
    queued: BTreeSet<(i64, Timestamp)>,
    settled_calls: u64,
    idle_calls: u64,
}

impl<'a> Drive<'a> {
    fn new(seed: u64, profile: &'a Profile) -> Self {
        let start = Timestamp::from_second(1_767_225_600).unwrap_or_default();
        let clock = Virtual::starting_at(start);
        let mut rng = crate::faults::Rng::new(seed);
        let weather = (profile.weather)(&mut rng);
        let line = (profile.line)(&mut rng);
        let spells = (profile.spells)(&mut rng);
        let deeds: VecDeque<(Timestamp, Deed)> =
            (profile.deeds)(&mut rng).into_iter().map(|(at, deed)| (start + at, deed)).collect();
        let (fewest, most) = profile.replicas;
        let replicas = usize::try_from(fewest + rng.below(most - fewest + 1)).unwrap_or(1);
        let mut world = World::new(rng.next(), Arc::new(clock.clone()), forge_of(line));
        world.forge().config.tasks_version_race = true;
        let last = deeds.back().map_or(start, |(at, _)| *at);
        let until = (last + SignedDuration::from_mins(30)).max(start + profile.lasts);
        world.faults = crate::faults::Faults { until: Some(until), ..weather };
        world.demand = profile.demand;
        world.spells = spells
            .iter()
            .map(|s| (s.trouble, start + s.after, (start + s.after + s.lasts).min(until)))
            .collect();
        world.laws = crate::laws::Laws::new(seed, start);
        world.laws.classes.clone_from(&profile.classes);
        world.laws.waits_at_most = profile.waits_at_most;
        world.laws.twins = weather.no_tokens;
        if weather.refuses_capacity() || spells.iter().any(|s| s.trouble == Trouble::Drought) {
            world.laws.writes_at_most = (60, SignedDuration::from_hours(1));
        }
        world.laws.git_token = Some("git-secret".to_owned());
        world.cloud.add_foreign();
        let configured = deeds.iter().filter_map(|(_, deed)| match deed {
            Deed::Configure(classes) => Some(classes),
            _ => None,
        });
        let classes = configured.chain([&profile.classes]).flatten();
        let keep = classes.map(|class| class.times.keep).max().unwrap_or_default();
        let mut drive = Self {
            profile,
            world: Arc::new(std::sync::Mutex::new(world)),
            executor: Executor::new(clock.clone()),
            clock,
            replicas: vec![None; replicas],
            restarts: (0..replicas).map(|n| (start, n)).collect(),
            classes: profile.classes.clone(),
            hears: Vec::new(),
            deeds,
            until,
            keep,
            webhooks: BTreeMap::new(),
            sent: 0,
            pushed: Vec::new(),
            groups: 0,
            starts: BTreeMap::new(),
            queued: BTreeSet::new(),
            settled_calls: 0,
            idle_calls: 0,
        };
        let faults = lock(&drive.world).faults;
        let name = profile.name;
        let line = format!("seed {seed} {name} {line:?} {replicas} {faults:?} {spells:?}");
        lock(&drive.world).tell(&line);
        drive.restart(start);
        drive
    }

    fn settings(&self, replica: usize) -> Settings {
        Settings {
            installation: "simulated".to_owned(),
            instance_url: "https://gitea.example.com".to_owned(),
            git_token: Some(Secret::new("git-secret")),
            classes: self.classes.clone(),
            poll_every: SignedDuration::from_secs(10),
            sweep_every: SignedDuration::from_secs(60),
            replica: format!("replica-{replica}"),
        }
    }

    /// The phases: jobs come and are done; a settled day; records go; nothing happens any more.
    fn play(&mut self) {
        let give_up = self.until + SignedDuration::from_hours(12);
        self.play_while(give_up, |drive| !drive.is_quiet());
        let quiet_at = self.clock.now();
        if !self.is_quiet() {
            self.tell_left_over("12 hours after the weather");
            return;
        }
        // The last looks: finished runs are written, seats and registrations given back.
        self.play_until(quiet_at + SignedDuration::from_mins(45));
        if self.profile.settled > SignedDuration::ZERO {
            let (before, all_before) = (self.mutating_calls(), self.calls());
            self.play_until(self.clock.now() + self.profile.settled);
            self.settled_calls += self.mutating_calls() - before;
            self.idle_calls = self.calls() - all_before;
        }
        // What is filed wrongly is found within an hour.
        self.play_until(quiet_at + self.keep + SignedDuration::from_mins(75));
        self.tell_left_over("an hour after the last record was to be removed");
        let before = self.mutating_calls();
        self.play_until(self.clock.now() + SignedDuration::from_hours(1));
        self.settled_calls += self.mutating_calls() - before;
        if self.settled_calls > 0 {
            let now = self.clock.now();
            let what = format!("{} effects after all was done", self.settled_calls);
            lock(&self.world).laws.left_over(now, "", what);
        }
    }

    fn mutating_calls(&self) -> u64 {
        let world = lock(&self.world);
        MUTATING.iter().filter_map(|name| world.calls.get(name)).sum()
    }

    /// Calls that a cloud would be asked with.
    fn calls(&self) -> u64 {
        let world = lock(&self.world);
        let ours = world
            .calls
            .iter()
            .filter(|(name, _)| !name.starts_with("forge.") && **name != "queue.next");
        ours.map(|(_, count)| count).sum()
    }

    /// Whether all that was to be done at the forge is done, and no machine lives.
    fn is_quiet(&self) -> bool {
        let world = lock(&self.world);
        let forge = world.forge();
        self.deeds.is_empty()
            && self.until <= world.now()
            && forge.jobs().all(|job| job.status.is_done())
            && world.cloud.live().next().is_none()
            // Where no job can be looked at, a run goes on until it is given up.
            && (world.demand == Demand::Jobs || !world.records.runs().any(Run::is_open))
    }

    fn play_until(&mut self, end: Timestamp) {
        self.play_while(end, |_| true);
        self.clock.set(end);
    }

    /// Steps from event to event, while something holds and until `end`.
    fn play_while(&mut self, end: Timestamp, holds: impl Fn(&Self) -> bool) {
        let mut asked_at = self.clock.now();
        loop {
            for group in self.executor.run_ready() {
                self.crashed(group);
            }
            self.post();
            let next = self.next_event();
            if next > end {
                return;
            }
            self.executor.advance(next);
            lock(&self.world).advance();
            self.restart(next);
            self.deliver(next);
            self.act(next);
            if next.duration_since(asked_at) >= SignedDuration::from_secs(60) {
                asked_at = next;
                self.every_minute(next);
                if !holds(self) {
                    return;
                }
            }
        }
    }

    fn next_event(&self) -> Timestamp {
        let own = lock(&self.world).next_event();
        let restart = self.restarts.iter().map(|(at, _)| *at).min();
        let webhook = self.webhooks.keys().next().map(|(at, _)| *at);
        let deed = self.deeds.front().map(|(at, _)| *at);
        let hears = self.hears.iter().map(|(at, _)| *at).min();
        let others = [self.executor.next_timer(), restart, webhook, deed, hears];
        others.into_iter().flatten().fold(own, Timestamp::min)
    }

    fn crashed(&mut self, group: Group) {
        let is_it = |r: &Option<Replica>| r.as_ref().is_some_and(|r| r.group == group);
        let Some(number) = self.replicas.iter().position(is_it) else { return };
        self.replicas[number] = None;
        let (least, most) = (SignedDuration::from_secs(1), SignedDuration::from_secs(40));
        let wait = lock(&self.world).rng.between(least, most);
        self.restarts.push((self.clock.now() + wait, number));
    }

    fn restart(&mut self, now: Timestamp) {
        let (due, later) = self.restarts.iter().copied().partition(|(at, _)| *at <= now);
        self.restarts = later;
        let due: Vec<(Timestamp, usize)> = due;
        for (_, number) in due {
            self.groups += 1;
            let apart = lock(&self.world).faults.clocks_apart;
            let by = apart * i32::try_from(number).unwrap_or(0);
            let clock: Arc<dyn Clock> = Arc::new(Skewed { right: self.clock.clone(), by });
            let scheduler = self.executor.scheduler();
            let settings = self.settings(number);
            lock(&self.world).tell(&format!("[{}] replica {number} starts", self.groups));
            self.replicas[number] =
                Some(replica::start(&self.world, &scheduler, self.groups, clock, settings));
        }
    }

    /// Takes the forge's webhooks, as the weather lets them arrive.
    fn post(&mut self) {
        let mut world = lock(&self.world);
        let forge = world.forge.clone();
        let mut forge = lock(&forge);
        let now = world.now();
        for webhook in forge.take_webhooks() {
            let line = format!("job-{} is {} at the forge", webhook.job_id, webhook.action);
            world.laws.tell(now, &line);
            let post = match self.profile.demand {
                Demand::Jobs => {
                    ports::hint(&webhook, &forge).map(|hint| Post::Hint(Box::new(hint)))
                }
                Demand::Push | Demand::PushWithoutRows => {
                    let first = forge.job(webhook.job_id).is_some_and(|job| job.needs.is_empty());
                    (webhook.action == "queued" && first).then_some(Post::Push(webhook.job_id))
                }
            };
            match (webhook.action, forge.job(webhook.job_id)) {
                ("queued", Some(job)) => {
                    self.queued.insert((job.id, job.updated_at));
                }
                ("in_progress", Some(job)) => {
                    let own = format!("tq-job-{}-", job.id);
                    let own = job.runner_name.as_ref().is_some_and(|n| n.starts_with(&own));
                    let (id, at) = (job.id, job.updated_at);
                    let waited = self.queued.range((id, Timestamp::MIN)..=(id, at)).next_back();
                    let waited = waited.map_or(SignedDuration::ZERO, |w| at.duration_since(w.1));
                    world.laws.on_started(id, waited);
                    let slot = job.runner_name.as_ref().and_then(|n| n.parse::<Slot>().ok());
                    if let Some(slot) = slot.filter(|_| !own) {
                        world.laws.on_robbed(&slot.run);
                    }
                    self.starts.insert((id, at), own);
                }
                _ => {}
            }
            let faults = world.faults.at(now);
            let Some(post) = post.filter(|_| !world.strikes("webhook_lost", faults.webhook_lost))
            else {
                continue;
            };
            let copies = 1 + u8::from(world.strikes("webhook_doubled", faults.webhook_doubled));
            for _ in 0..copies {
                let late = world.strikes("webhook_late", faults.webhook_late);
                let most = SignedDuration::from_millis(if late { 600_000 } else { 400 });
                let wait = world.rng.between(SignedDuration::from_millis(20), most);
                self.sent += 1;
                self.webhooks.insert((now + wait, self.sent), post.clone());
            }
        }
    }

    /// Looks after what is slow. Pushes that were not taken are sent again: without a job list nothing
    /// else tells of them.
    fn every_minute(&mut self, now: Timestamp) {
        let mut world = lock(&self.world);
        // Where places are counted, how long the queue takes is the operator's choice.
        let limited = world.laws.classes.iter().any(Class::has_limit);
        if now >= self.until + HEALED_WITHIN && !limited {
            world.laws.waits_at_most = world.laws.waits_at_most.min(HEALED_WITHIN);
        }
        if now >= self.until + CLEARED_UP_AFTER {
            people::clear_up(&mut world, now);
        }
        if self.profile.demand != Demand::Jobs {
            for id in &self.pushed {
                let on_its_way =
                    self.webhooks.values().any(|p| matches!(p, Post::Push(n) if n == id));
                if !on_its_way && !world.taken.contains(id) {
                    self.sent += 1;
                    self.webhooks.insert((now, self.sent), Post::Push(*id));
                }
            }
        }
    }

    /// Webhooks arrive at a replica that is up; where none is, they are lost.
    fn deliver(&mut self, now: Timestamp) {
        while let Some(first) = self.webhooks.first_entry().filter(|e| e.key().0 <= now) {
            let post = first.remove();
            let up: Vec<&Replica> = self.replicas.iter().flatten().collect();
            let count = u64::try_from(up.len()).unwrap_or(0);
            let drawn = lock(&self.world).rng.below(count);
            if let Some(replica) = usize::try_from(drawn).ok().and_then(|n| up.get(n)) {
                let scheduler = self.executor.scheduler();
                let replica = (*replica).clone();
                match post {
                    Post::Hint(hint) => scheduler.spawn(replica.group, replica.ingest(*hint)),
                    Post::Push(id) => scheduler.spawn(replica.group, replica.ingest_push(id)),
                }
            }
        }
    }

    /// People do what they do; replicas hear of it one after the other.
    fn act(&mut self, now: Timestamp) {
        while let Some((_, deed)) = self.deeds.pop_front_if(|(at, _)| *at <= now) {
            let mut world = lock(&self.world);
            if let Some(classes) = people::act(&mut world, &mut self.pushed, deed) {
                let known_at = now + HEARD_WITHIN + SignedDuration::from_mins(2);
                world.laws.on_configured(&classes, known_at);
                self.classes = classes;
                for number in 0..self.replicas.len() {
                    let wait = world.rng.between(SignedDuration::ZERO, HEARD_WITHIN);
                    self.hears.push((now + wait, number));
                }
            }
        }
        let (due, later) = self.hears.iter().copied().partition(|(at, _)| *at <= now);
        self.hears = later;
        let due: Vec<(Timestamp, usize)> = due;
        for (_, number) in due {
            if let Some(replica) = &self.replicas[number] {
                replica.configure(self.settings(number));
                lock(&self.world).laws.on_heard();
            }
        }
    }

    /// What is there that must be gone is a broken law.
    fn tell_left_over(&self, when: &str) {
        let mut world = lock(&self.world);
        let now = world.now();
        let mut left: Vec<(String, String)> = Vec::new();
        {
            let forge = world.forge();
            for job in forge.jobs().filter(|job| !job.status.is_done()) {
                let state = if job.status == Status::Waiting { "waits" } else { "is not done" };
                left.push((format!("job-{}", job.id), format!("job {} {state}", job.id)));
            }
            // Where runners cannot be listed, what idled is left to the forge's own cleaning.
            let listed = world.demand != Demand::PushWithoutRows;
            for row in forge.runners().filter(|_| listed) {
                let run = row.name.rsplitn(3, '-').nth(2).unwrap_or_default();
                let run = run.trim_start_matches("tq-").to_owned();
                left.push((run, format!("registration {} {} is there", row.id, row.name)));
            }
        }
        for machine in world.cloud.live() {
            let what = format!("machine {} of {} lives", machine.id, machine.slot);
            left.push((machine.slot.run.to_string(), what));
        }
        // What no class serves is kept for longer.
        let kept = |run: &&Run| {
            let unserved = serving(&world.laws.classes, &run.spec.runs_on).is_none();
            unserved && !run.is_open() && run.status.due > now
        };
        for run in world.records.runs().filter(|run| !kept(run)) {
            left.push((run.name.to_string(), format!("the record of {} is there", run.name)));
        }
        for (class, slot, _) in world.records.seats() {
            left.push((slot.run.to_string(), format!("{slot} has a seat in {class}")));
        }
        for (about, what) in left {
            world.laws.left_over(now, &about, format!("{what} {when}"));
        }
    }

    fn end(self) -> Outcome {
        let world = lock(&self.world);
        let calls = world.calls.clone();
        let count = |name| calls.get(name).copied().unwrap_or(0);
        Outcome {
            seed: world.laws.seed(),
            profile: self.profile.name,
            replicas: self.replicas.len(),
            jobs: self.queued.len(),
            ran: self.starts.len(),
            shared: self.starts.values().filter(|own| !**own).count(),
            machines: world.cloud.machines().count(),
            launches: count("compute.launch"),
            registrations: count("forge.register"),
            writes_per_run: world.laws.written().clone(),
            removals: world.records.removed(),
            mutating_calls_in_settled_day: self.settled_calls,
            calls_in_settled_day: self.idle_calls,
            longest_wait: world.laws.longest_wait().0,
            waited_in_vain: world.laws.waited_in_vain(),
            trace_hash: world.laws.hash(),
            violations: world.laws.violations().to_vec(),
            looks: world.laws.looks(),
            struck: world.struck.clone(),
            simulated: world.now().duration_since(world.laws.began_at()),
            calls,
        }
    }
}
