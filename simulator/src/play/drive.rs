//! Plays a seed's history, from the first push until nothing happens any more.

mod clock;
mod end;
mod post;
mod rebuild;
mod upgrade;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::controller::Settings;
use tinqs_ci_reconciler::model::{Class, Market, MicroUsd, Run, Secret};
use tinqs_ci_reconciler::ports::Clock;

use super::outcome::Outcome;
use super::people::{self, Pushed};
use super::profile::{Profile, UserAction};
use super::replica::{self, Replica};
use super::truth::truth;
use super::variant::{Unchanged, Variant};
use crate::clock::{Skewed, Virtual};
use crate::cloud::price;
use crate::executor::{Executor, Group};
use crate::faults::OngoingFault;
use crate::schedule::{MUTATING, Schedule};
use crate::world::{Demand, Shared, World, forge_of};
use post::Post;
use upgrade::Upgrades;

/// Every replica learns of changed classes within this time.
const HEARD_WITHIN: SignedDuration = SignedDuration::from_mins(2);
/// This long after the faults, no job that can run still waits.
const SETTLED_WITHIN: SignedDuration = SignedDuration::from_mins(60);
/// This long after the faults, people cancel jobs that cannot run.
const CLEARED_UP_AFTER: SignedDuration = SignedDuration::from_hours(2);

/// Plays a seed's history.
pub fn run(seed: u64, profile: &Profile) -> Outcome {
    run_variant(seed, profile, Arc::new(Unchanged))
}

/// Plays a seed's history. Also returns the world at its end.
pub fn run_world(seed: u64, profile: &Profile) -> (Outcome, Shared) {
    let mut drive = Drive::new(seed, profile, Arc::new(Unchanged));
    drive.play();
    let world = drive.world.clone();
    (drive.end(), world)
}

/// Plays a seed's history with a changed program.
pub fn run_variant(seed: u64, profile: &Profile, variant: Arc<dyn Variant>) -> Outcome {
    let mut drive = Drive::new(seed, profile, variant);
    drive.play();
    drive.end()
}

/// Plays a seed's history with scheduled faults. Also returns the schedule: the faults that
/// occurred and all calls.
pub fn run_scheduled(seed: u64, profile: &Profile, schedule: Schedule) -> (Outcome, Schedule) {
    let mut drive = Drive::new(seed, profile, Arc::new(Unchanged));
    drive.world.lock().laws.canceled_among = None;
    drive.world.lock().schedule = schedule;
    drive.play();
    let schedule = std::mem::take(&mut drive.world.lock().schedule);
    (drive.end(), schedule)
}

/// Plays a seed's history. Also returns all its events, one line each.
pub fn chronicle(seed: u64, profile: &Profile) -> (Outcome, Vec<String>) {
    let mut drive = Drive::new(seed, profile, Arc::new(Unchanged));
    drive.world.lock().laws.keeps_events = usize::MAX;
    drive.play();
    let lines = drive.world.lock().laws.chronicle().map(str::to_owned).collect();
    (drive.end(), lines)
}

struct Drive<'a> {
    profile: &'a Profile,
    variant: Arc<dyn Variant>,
    world: Shared,
    clock: Virtual,
    executor: Executor,
    /// The incarnation of each replica; `None` while it is down.
    replicas: Vec<Option<Replica>>,
    upgrades: Upgrades,
    /// The times at which the clock of each replica is set, each with its lead from then on.
    leads: Vec<Vec<(Timestamp, SignedDuration)>>,
    /// Replicas that will restart, and when.
    restarts: Vec<(Timestamp, usize)>,
    /// The current classes, and the replicas that have yet to learn of them.
    classes: Vec<Class>,
    hears: Vec<(Timestamp, usize)>,
    user_actions: VecDeque<(Timestamp, UserAction)>,
    /// End of the faults.
    until: Timestamp,
    /// The longest time that a finished run is kept.
    keep: SignedDuration,
    /// The price of each kind that a class ever asks for, on demand.
    prices: BTreeMap<String, MicroUsd>,
    /// Webhooks in transit, by time of arrival.
    webhooks: BTreeMap<(Timestamp, u64), Post>,
    sent: u64,
    pushed: Pushed,
    groups: Group,
    /// Jobs seen running: since when they had waited, and whether they ran on their own machine.
    starts: BTreeMap<(i64, Timestamp), bool>,
    queued: BTreeSet<(i64, Timestamp)>,
    /// The longest time from being queued to being done.
    longest_to_done: SignedDuration,
    settled_calls: u64,
    idle_calls: u64,
}

impl<'a> Drive<'a> {
    fn new(seed: u64, profile: &'a Profile, variant: Arc<dyn Variant>) -> Self {
        let start = Timestamp::from_second(1_767_225_600).unwrap_or_default();
        let clock = Virtual::starting_at(start);
        let mut rng = crate::faults::Rng::new(seed);
        let faults = (profile.faults)(&mut rng);
        let line = (profile.line)(&mut rng);
        let periods = (profile.periods)(&mut rng);
        let user_actions: VecDeque<(Timestamp, UserAction)> = (profile.user_actions)(&mut rng)
            .into_iter()
            .map(|(at, user_action)| (start + at, user_action))
            .collect();
        let (fewest, most) = profile.replicas;
        let replicas = usize::try_from(fewest + rng.below(most - fewest + 1)).unwrap_or(1);
        let last = user_actions.back().map_or(start, |(at, _)| *at);
        let until = (last + SignedDuration::from_mins(30)).max(start + profile.lasts);
        let leads = (0..replicas).map(|n| clock::leads(&mut rng, &faults, n, start, until));
        let leads = leads.collect();
        let upgrades = Upgrades::new((profile.upgrades)(&mut rng), replicas, start);
        let mut world = World::new(rng.next(), Arc::new(clock.clone()), forge_of(line));
        world.forge().config.tasks_version_race = true;
        world.faults = crate::faults::FaultProfile { until: Some(until), ..faults };
        world.demand = profile.demand;
        world.lists = (profile.lists)(&mut rng);
        world.periods = periods
            .iter()
            .map(|s| (s.trouble, start + s.after, (start + s.after + s.lasts).min(until)))
            .collect();
        world.laws = crate::laws::Laws::new(seed, start);
        world.laws.classes.clone_from(&profile.classes);
        world.laws.waits_at_most = profile.waits_at_most;
        world.laws.twins = faults.no_tokens;
        profile.switch_on(&mut world.laws, &faults, periods.is_empty().then_some(replicas));
        let is_orderly = faults.keeps_order() && periods.is_empty() && profile.checks_shares;
        world.laws.fair_among = is_orderly.then_some(replicas);
        if faults.refuses_capacity() || periods.iter().any(|s| s.trouble == OngoingFault::Drought) {
            world.laws.writes_at_most = (60, SignedDuration::from_hours(1));
        }
        world.laws.git_token = Some("git-secret".to_owned());
        world.cloud.add_foreign();
        // EC2 does not date every end.
        world.cloud.config.dates_ends = !seed.is_multiple_of(3);
        variant.change(&mut world);
        let configured = user_actions.iter().filter_map(|(_, user_action)| match user_action {
            UserAction::Configure(classes) => Some(classes),
            _ => None,
        });
        let classes: Vec<&Class> = configured.chain([&profile.classes]).flatten().collect();
        let kinds = classes.iter().flat_map(|class| &class.machines).map(|spec| &spec.kind);
        let on_demand = |kind: &String| Some((kind.clone(), price(kind, Market::OnDemand)?));
        let prices = kinds.filter_map(on_demand).collect();
        let keep = classes.iter().map(|class| class.times.keep).max().unwrap_or_default();
        let mut drive = Self {
            profile,
            variant,
            world: Arc::new(parking_lot::Mutex::new(world)),
            executor: Executor::new(clock.clone()),
            clock,
            replicas: vec![None; replicas],
            upgrades,
            leads,
            restarts: (0..replicas).map(|n| (start, n)).collect(),
            classes: profile.classes.clone(),
            hears: Vec::new(),
            user_actions,
            until,
            keep,
            prices,
            webhooks: BTreeMap::new(),
            sent: 0,
            pushed: Vec::new(),
            groups: 0,
            starts: BTreeMap::new(),
            queued: BTreeSet::new(),
            longest_to_done: SignedDuration::ZERO,
            settled_calls: 0,
            idle_calls: 0,
        };
        let faults = drive.world.lock().faults;
        let name = profile.name;
        let line = format!("seed {seed} {name} {line:?} {replicas} {faults:?} {periods:?}");
        drive.world.lock().tell(&line);
        drive.restart(start);
        drive
    }

    fn settings(&self, replica: usize) -> Settings {
        Settings {
            installation: "simulated".to_owned(),
            instance_url: "https://gitea.example.com".to_owned(),
            git_token: Some(Secret::new("git-secret")),
            secrets: Vec::new(),
            classes: self.variant.classes(self.classes.clone()),
            prices: self.prices.clone(),
            poll_every: SignedDuration::from_secs(10),
            sweep_every: SignedDuration::from_secs(60),
            replica: format!("replica-{replica}"),
        }
    }

    /// Plays until all jobs are done, through a settled day and the removal of records, to the end.
    fn play(&mut self) {
        let give_up = self.until + SignedDuration::from_hours(12);
        self.play_while(give_up, |drive| !drive.is_quiet());
        let quiet_at = self.clock.now();
        if !self.is_quiet() {
            self.tell_left_over("12 hours after the faults ended");
            return;
        }
        // The last reconciles: finished runs are written, seats and registrations given back.
        self.play_until(quiet_at + SignedDuration::from_mins(45));
        if self.profile.settled > SignedDuration::ZERO {
            let (before, all_before) = (self.mutating_calls(), self.calls());
            self.play_until(self.clock.now() + self.profile.settled);
            self.settled_calls += self.mutating_calls() - before;
            self.idle_calls = self.calls() - all_before;
        }
        // The sweep finds misfiled records within an hour.
        self.play_until(quiet_at + self.keep + SignedDuration::from_mins(75));
        self.tell_left_over("an hour after the last record was due for removal");
        let now = self.clock.now();
        self.usage_is_complete(now);
        let before = self.mutating_calls();
        self.play_until(self.clock.now() + SignedDuration::from_hours(1));
        self.settled_calls += self.mutating_calls() - before;
        if self.settled_calls > 0 {
            let now = self.clock.now();
            let what = format!("{} effects after all work was done", self.settled_calls);
            self.world.lock().laws.left_over(now, "", what);
        }
    }

    fn mutating_calls(&self) -> u64 {
        let world = self.world.lock();
        MUTATING.iter().filter_map(|name| world.calls.get(name)).sum()
    }

    /// Returns the number of calls that would reach a cloud.
    fn calls(&self) -> u64 {
        let world = self.world.lock();
        let ours = world
            .calls
            .iter()
            .filter(|(name, _)| !name.starts_with("forge.") && **name != "queue.next");
        ours.map(|(_, count)| count).sum()
    }

    /// Returns whether all actions and jobs are done and no machine is live.
    fn is_quiet(&self) -> bool {
        let world = self.world.lock();
        let forge = world.forge();
        self.user_actions.is_empty()
            && self.until <= world.now()
            && forge.jobs().all(|job| job.status.is_done())
            && world.cloud.live().next().is_none()
            // Without a job list, a run continues until it is given up.
            && (world.demand == Demand::Jobs || !world.records.runs().any(Run::is_open))
    }

    fn play_until(&mut self, end: Timestamp) {
        self.play_while(end, |_| true);
        self.clock.set(end);
    }

    /// Steps from event to event until `end`, or until `holds` is false.
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
            self.world.lock().advance();
            self.upgrade(next);
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
        let own = self.world.lock().next_event();
        let restart = self.restarts.iter().map(|(at, _)| *at).min();
        let webhook = self.webhooks.keys().next().map(|(at, _)| *at);
        let user_action = self.user_actions.front().map(|(at, _)| *at);
        let hears = self.hears.iter().map(|(at, _)| *at).min();
        let upgrade = self.upgrades.next();
        let others = [self.executor.next_timer(), restart, webhook, user_action, hears, upgrade];
        others.into_iter().flatten().fold(own, Timestamp::min)
    }

    fn crashed(&mut self, group: Group) {
        let is_it = |r: &Option<Replica>| r.as_ref().is_some_and(|r| r.group == group);
        let Some(number) = self.replicas.iter().position(is_it) else { return };
        self.replicas[number] = None;
        self.world.lock().releases.ends(group);
        let (least, most) = (SignedDuration::from_secs(1), SignedDuration::from_secs(40));
        let wait = self.world.lock().rng.between(least, most);
        self.restarts.push((self.clock.now() + wait, number));
    }

    fn restart(&mut self, now: Timestamp) {
        for (_, number) in due(&mut self.restarts, now) {
            self.world.lock().laws.rebuilds = false;
            self.groups += 1;
            let (right, leads) = (self.clock.clone(), self.leads[number].clone());
            let clock: Arc<dyn Clock> = Arc::new(Skewed { right, leads });
            let scheduler = self.executor.scheduler();
            self.world.lock().tell(&format!("[{}] replica {number} starts", self.groups));
            let (formats, variant) = (self.upgrades.of(number), self.variant.clone());
            let release = replica::Release { settings: self.settings(number), formats, variant };
            self.replicas[number] =
                Some(replica::start(&self.world, &scheduler, self.groups, clock, release));
        }
    }

    /// Checks slow conditions. Pushes that were not accepted are sent again: without a job list,
    /// nothing else reports their jobs.
    fn every_minute(&mut self, now: Timestamp) {
        let mut world = self.world.lock();
        let truth = truth(&world, now);
        world.laws.drift_every_minute(now, &truth);
        // Under a limit, the length of the queue is the operator's choice.
        let limited = world.laws.classes.iter().any(Class::has_limit);
        if now >= self.until + SETTLED_WITHIN && !limited {
            world.laws.waits_at_most = world.laws.waits_at_most.min(SETTLED_WITHIN);
        }
        if now >= self.until + CLEARED_UP_AFTER {
            people::clear_up(&mut world, now);
        }
        if self.profile.demand != Demand::Jobs {
            for id in &self.pushed {
                let is_it = |post: &Post| matches!(post, Post::Push(n) if n == id);
                if !self.webhooks.values().any(is_it) && !world.taken.contains(id) {
                    self.sent += 1;
                    self.webhooks.insert((now, self.sent), Post::Push(*id));
                }
            }
        }
    }

    /// Performs people's actions; replicas learn of changed classes one by one.
    fn act(&mut self, now: Timestamp) {
        while let Some((_, user_action)) = self.user_actions.pop_front_if(|(at, _)| *at <= now) {
            if matches!(user_action, UserAction::Rebuild) {
                people::act(&mut self.world.lock(), &mut self.pushed, user_action);
                self.rebuild(now);
                continue;
            }
            let mut world = self.world.lock();
            if let Some(classes) = people::act(&mut world, &mut self.pushed, user_action) {
                let known_at = now + HEARD_WITHIN + SignedDuration::from_mins(2);
                world.laws.on_configured(&classes, known_at);
                self.classes = classes;
                for number in 0..self.replicas.len() {
                    let wait = world.rng.between(SignedDuration::ZERO, HEARD_WITHIN);
                    self.hears.push((now + wait, number));
                }
            }
        }
        for (_, number) in due(&mut self.hears, now) {
            if let Some(replica) = &self.replicas[number] {
                replica.configure(self.settings(number));
                self.world.lock().laws.on_heard();
            }
        }
    }
}

/// Takes the entries that are due.
fn due(entries: &mut Vec<(Timestamp, usize)>, now: Timestamp) -> Vec<(Timestamp, usize)> {
    entries.extract_if(.., |(at, _)| *at <= now).collect()
}
