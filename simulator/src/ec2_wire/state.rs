//! The account's machines: a [`Cloud`], and the state that only the wire has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Boot, ClassName, MachineId, MachineOptions, MachineSpec as Kind,
    MachineState, Market, Placement, RunName, Runner, Secret, Uid8,
};

use super::bucket::Buckets;
use super::credits::Throttle;
use super::events::Events;
use super::guest::Running;
use super::identity::Identity;
use super::launch_request::Recipe;
use super::{Ec2Options, Violation};
use crate::aws_wire::draw;
use crate::cloud::machine::MachineOutcome;
use crate::cloud::{Cloud, Config};
use crate::forge::Forge;

/// The wire's state of a machine.
pub(super) struct Record {
    pub(super) recipe: Arc<Recipe>,
    pub(super) reservation: String,
    /// Launch index.
    pub(super) index: usize,
    pub(super) number: u64,
    pub(super) launched_at: Timestamp,
    /// No reading shows it before.
    pub(super) visible_at: Timestamp,
    pub(super) spot_request: String,
    /// Whether another party created it.
    pub(super) foreign: bool,
    /// Reason of its end, if not the apparent one.
    pub(super) reason: Option<String>,
    /// Number of history entries already processed for events and guests.
    pub(super) told: usize,
    pub(super) warned: bool,
    /// Time at which the cloud interrupts it.
    pub(super) taken_at: Option<Timestamp>,
    pub(super) guest: Option<Box<dyn Running>>,
    /// Time at which its guest is killed, once it was asked to end.
    pub(super) guest_until: Option<Timestamp>,
    pub(super) console: String,
    /// The turns of its guest, if CPU credits slow it down.
    pub(super) throttle: Option<Throttle>,
}

/// A parameter of Systems Manager.
pub(super) struct Parameter {
    pub(super) value: String,
    /// Whether it is stored encrypted.
    pub(super) is_secure: bool,
}

/// The state behind the mutex.
pub(super) struct State {
    pub(super) cloud: Cloud,
    pub(super) records: BTreeMap<MachineId, Record>,
    pub(super) buckets: Buckets,
    pub(super) violations: Vec<Violation>,
    pub(super) impaired: BTreeSet<String>,
    pub(super) events: Events,
    /// Whether the wire was dropped: no guest starts any more.
    pub(super) stopped: bool,
    /// Number of launches that end at once, and the reason.
    pub(super) failing: (usize, String),
    /// Spot prices in dollars per hour that differ from those of the account, by kind and zone.
    pub(super) spot_prices: BTreeMap<(String, String), f64>,
    /// Parameters of Systems Manager, by their names.
    pub(super) parameters: BTreeMap<String, Parameter>,
    /// Values of secrets of Secrets Manager, by their names.
    pub(super) secrets: BTreeMap<String, String>,
    /// For machines unknown to any forge.
    nobodys: Forge,
    made: u64,
    reservations: u64,
}

/// State shared by handlers, the pump and the handle.
pub(super) struct Shared {
    pub(super) options: Ec2Options,
    state: Mutex<State>,
    pub(super) changed: tokio::sync::Notify,
}

impl Shared {
    pub(super) fn new(options: Ec2Options) -> Self {
        let account = &options.account;
        let config = Config {
            list_lag: options.list_lag,
            tokens: options.tokens,
            ends_within: options.quick(options.ends_within),
            listed_after_end: options.quick(options.listed_after_end),
            token_kept: options.quick(options.token_kept),
            zones: account.subnets.iter().map(|s| (s.id.clone(), s.zone.clone())).collect(),
            vcpus: account.types.iter().map(|t| (t.name.clone(), t.vcpus)).collect(),
            addresses: account.subnets.iter().map(|s| (s.id.clone(), s.addresses)).collect(),
            ..Config::default()
        };
        let state = State {
            cloud: Cloud::new(config),
            records: BTreeMap::new(),
            buckets: options.buckets.clone(),
            violations: Vec::new(),
            impaired: BTreeSet::new(),
            events: Events::default(),
            stopped: false,
            failing: (0, String::new()),
            spot_prices: BTreeMap::new(),
            parameters: BTreeMap::new(),
            secrets: BTreeMap::new(),
            nobodys: Forge::new(crate::forge::Config::default()),
            made: 0,
            reservations: 0,
        };
        Self { options, state: Mutex::new(state), changed: tokio::sync::Notify::new() }
    }

    /// Returns the state as of now.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        state.settle(&self.options, self.options.now());
        state
    }
}

impl Ec2Options {
    /// Returns a real duration shortened by the speed.
    pub(super) fn quick(&self, real: SignedDuration) -> SignedDuration {
        real / i32::try_from(self.speed.max(1)).unwrap_or(i32::MAX)
    }

    /// Draws a duration up to `most`.
    fn drawn(&self, site: &str, occurrence: u64, most: SignedDuration) -> SignedDuration {
        let most = u64::try_from(self.quick(most).as_millis()).unwrap_or_default();
        let millis = draw(self.seed, site, occurrence) % (most + 1);
        SignedDuration::from_millis(i64::try_from(millis).unwrap_or_default())
    }
}

impl State {
    pub(super) fn breaks(&mut self, rule: &'static str, what: impl Into<String>) {
        self.violations.push(Violation { at: Timestamp::now(), rule, what: what.into() });
    }

    /// Processes all events due by now.
    pub(super) fn settle(&mut self, options: &Ec2Options, now: Timestamp) {
        match &options.forge {
            Some(forge) => {
                let mut forge = forge.lock();
                self.cloud.tick(now, &mut forge);
            }
            None => {
                self.cloud.tick(now, &mut self.nobodys);
            }
        }
        self.attend(options, now);
    }

    /// Launches machines, or returns those that the token created before, and whether this call
    /// created them.
    pub(super) fn launch(
        &mut self,
        options: &Ec2Options,
        now: Timestamp,
        recipe: &Arc<Recipe>,
        foreign: bool,
    ) -> Result<(Vec<MachineId>, bool), crate::cloud::Refused> {
        let identity = Identity::read(&recipe.user_data);
        let (attempt_id, placement, attempt) = attempt(now, recipe, identity.as_ref());
        let played = options.forge.is_some() && identity.is_some();
        let outcome = if played {
            let quick = |wait| options.quick(wait);
            let MachineOutcome { starts_in, .. } = options.outcome;
            MachineOutcome {
                boots_in: quick(options.boots_in),
                starts_in: quick(starts_in),
                ..options.outcome.clone()
            }
        } else {
            // Only its guest or an external command ends it.
            MachineOutcome {
                boots_in: options.quick(options.boots_in),
                never_online: true,
                ignores_timer: true,
                ..MachineOutcome::default()
            }
        };
        let wanted = crate::cloud::admission::Ask {
            // Launches of other parties never repeat another launch.
            token: Some(recipe.token.as_str()).filter(|token| !token.is_empty() && !foreign),
            bytes: recipe.digest,
            pool: (recipe.kind.clone(), recipe.subnet.clone(), recipe.market),
            least: recipe.count.0,
            most: recipe.count.1,
        };
        let ask = crate::cloud::Launch { attempt_id: &attempt_id, placement, attempt: &attempt };
        let (ids, made) = self.cloud.run(now, &wanted, ask, &outcome)?;
        if made {
            self.reservations += 1;
            // EC2 checks keys only when it makes the disks.
            let failing = if recipe.disks.iter().any(|disk| !options.account.has_key(&disk.key)) {
                Some("Client.InternalError".to_owned())
            } else {
                (self.failing.0 > 0).then(|| self.failing.1.clone())
            };
            for (index, id) in ids.iter().enumerate() {
                self.keep(options, now, recipe, id, index, foreign);
                if let Some(reason) = &failing {
                    self.end_by_cloud(now, id, reason);
                }
            }
            self.failing.0 = self.failing.0.saturating_sub(1);
        }
        Ok((ids, made))
    }

    fn keep(
        &mut self,
        options: &Ec2Options,
        now: Timestamp,
        recipe: &Arc<Recipe>,
        id: &MachineId,
        index: usize,
        foreign: bool,
    ) {
        self.made += 1;
        let number = self.made;
        let lag = options.drawn("visible", number, options.visible_within);
        let spot = recipe.market == Market::Spot;
        let interrupted =
            crate::aws_wire::chance(options.seed, "interrupted", number, options.interrupted);
        let within = SignedDuration::from_mins(10);
        let taken_at = (spot && interrupted)
            .then(|| now + options.quick(options.warning) + options.drawn("taken", number, within));
        let record = Record {
            recipe: Arc::clone(recipe),
            reservation: format!("r-{:017x}", self.reservations),
            index,
            number,
            launched_at: now,
            visible_at: now + lag,
            spot_request: if spot { format!("sir-{number:08x}") } else { String::new() },
            foreign,
            reason: None,
            told: 0,
            warned: false,
            taken_at,
            guest: None,
            guest_until: None,
            console: String::new(),
            throttle: None,
        };
        self.records.insert(id.clone(), record);
    }

    /// Returns a machine's state in a reading that is `stale` older than usual.
    pub(super) fn seen(
        &self,
        now: Timestamp,
        id: &MachineId,
        older: SignedDuration,
    ) -> Option<MachineState> {
        let record = self.records.get(id)?;
        let machine = self.cloud.machine(id)?;
        let kept = self.cloud.config.listed_after_end;
        let forgotten = machine.gone_at.is_some_and(|gone| now > gone + kept);
        if now < record.visible_at || forgotten {
            return None;
        }
        machine.state_at(self.read_at(now, older))
    }

    /// Returns the time that a reading shows which is `older` than usual.
    pub(super) fn read_at(&self, now: Timestamp, older: SignedDuration) -> Timestamp {
        now - self.cloud.config.list_lag - older
    }

    /// Returns the tags of a machine that a reading of this time shows: EC2 drops those of an ended
    /// machine before the machine itself.
    pub(super) fn tags(
        &self,
        options: &Ec2Options,
        at: Timestamp,
        id: &MachineId,
    ) -> BTreeMap<String, String> {
        let kept = options.quick(options.tagged_after_end);
        let gone_at = self.cloud.machine(id).and_then(|machine| machine.gone_at);
        let record = self.records.get(id).filter(|_| gone_at.is_none_or(|gone| at <= gone + kept));
        record.map_or_else(BTreeMap::new, |record| record.recipe.instance_tags())
    }
}

/// Returns the machine as the cloud's own model knows it: by the tags and the identity in its user
/// data, or a placeholder if they are missing.
fn attempt(
    now: Timestamp,
    recipe: &Recipe,
    identity: Option<&Identity>,
) -> (AttemptId, u32, Attempt) {
    let tags = recipe.instance_tags();
    let tag = |name: &str| tags.get(&format!("tinqs-ci/{name}")).map(String::as_str);
    let nobody = || AttemptId { run: RunName::job(0), uid: Uid8("00000000".to_owned()), number: 0 };
    let attempt_id: AttemptId =
        tag("attempt").and_then(|text| text.parse().ok()).unwrap_or_else(nobody);
    let runner = Runner {
        repo_id: 0,
        id: identity.map_or(0, |i| i.id),
        uuid: identity.map_or_else(String::new, |i| i.uuid.clone()),
        name: attempt_id.to_string(),
        labels: identity.map_or_else(Vec::new, |i| i.labels.clone()),
        token: Secret::new(identity.map_or("", |i| i.token.as_str())),
    };
    let machine = Kind {
        kind: recipe.kind.clone(),
        subnet: recipe.subnet.clone(),
        market: recipe.market,
        image: recipe.image.clone(),
        security_groups: recipe.security_groups.clone(),
        instance_profile: recipe.profile.clone(),
        runner: None,
        // The model of the cloud has no use for them.
        options: MachineOptions::default(),
    };
    let placement = Placement::new(machine);
    let attempt = Attempt {
        number: attempt_id.number,
        decided_at: now,
        class: ClassName(tag("class").unwrap_or_default().to_owned()),
        runner,
        boot: Boot {
            deadline: identity.and_then(|i| i.deadline).unwrap_or(Timestamp::MAX),
            idle_within: identity.map_or(SignedDuration::ZERO, |i| i.idle_within),
            start_by: identity.and_then(|i| i.start_by),
            hold: SignedDuration::ZERO,
            instance_url: String::new(),
            git_token: None,
        },
        placements: vec![placement],
        ended: None,
        hung_since: None,
        boot_result: None,
        state_reason: None,
        log: None,
    };
    (attempt_id, 0, attempt)
}
