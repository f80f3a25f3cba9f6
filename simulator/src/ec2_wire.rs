//! EC2's Query protocol on loopback over one [`Cloud`], with the calls of STS and IAM that `doctor`
//! makes. Signatures are required but not checked. Real time, unless a clock is given; slow
//! processes run `speed` times as fast.

mod account;
mod attend;
mod bucket;
mod catalogue;
mod console;
mod credits;
mod describe;
mod error;
mod events;
mod filter;
mod foreign;
mod guest;
mod identity;
mod ids;
mod instance;
mod launch;
mod launch_request;
mod outcome;
mod parameters;
mod params;
mod service;
mod state;
mod templates;
mod terminate;
mod who;
mod xml;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tinqs_ci_reconciler::model::{MachineId, MachineState, Market};
use tinqs_ci_reconciler::ports::Clock;
use tokio::task::JoinHandle;

pub use account::{Account, Image, InstanceType, LaunchTemplate, SecurityGroup, Subnet};
pub use bucket::{Bucket, Buckets};
pub use events::{EventFaults, EventTarget};
pub use guest::{Booted, GUEST, Guest, Processes, Running};
pub use launch_request::{Disk, MAX_USER_DATA, Metadata, Recipe};

use crate::aws_wire::{Latency, Ledger, Rules, Server};
use crate::cloud::machine::MachineOutcome;
use crate::cloud::{Cloud, LISTED_AFTER_END, TOKEN_KEPT};
use crate::forge::Forge;
use service::Query;
use state::Shared;

/// A launch at the moment of the call.
pub struct LaunchSeen<'a> {
    /// The client token; may be empty.
    pub token: &'a str,
    /// Tags of the machine.
    pub tags: &'a BTreeMap<String, String>,
    /// Decoded user data.
    pub user_data: &'a [u8],
}

/// Returns whether an attempt was recorded for a launch.
pub type Recorded = Arc<dyn Fn(&LaunchSeen<'_>) -> bool + Send + Sync>;

/// A call that no caller may make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Time of the call.
    pub at: Timestamp,
    /// The violated rule.
    pub rule: &'static str,
    /// Description of the call.
    pub what: String,
}

/// Configuration of the wire. Durations are those of the real service, shortened by `speed`.
#[derive(Clone)]
pub struct Ec2Options {
    /// Port on 127.0.0.1; 0: any free port.
    pub port: u16,
    /// Seed of the draws.
    pub seed: u64,
    /// The clock. `None`: system time. With a clock, nothing happens between calls: due events are
    /// processed at the next call, as if they had happened in time.
    pub clock: Option<Arc<dyn Clock>>,
    /// Speed of state changes, latencies and waits, as a multiple of real time. Does not affect
    /// buckets.
    pub speed: u32,
    /// Resources of the account.
    pub account: Account,
    /// Value of the tag `tinqs-ci` on our machines; `None`: any.
    pub installation: Option<String>,
    /// From launch to running.
    pub boots_in: SignedDuration,
    /// From shutting down to terminated.
    pub ends_within: SignedDuration,
    /// A new machine is hidden from all readings for a random time up to this.
    pub visible_within: SignedDuration,
    /// Age of every reading. Not shortened by `speed`.
    pub list_lag: SignedDuration,
    /// From the end of a machine until its console shows what it printed.
    pub console_lag: SignedDuration,
    /// The time for which an ended machine is listed.
    pub listed_after_end: SignedDuration,
    /// The time for which an ended machine is shown with its tags.
    pub tagged_after_end: SignedDuration,
    /// Whether client tokens are honored.
    pub tokens: bool,
    /// Whether a token whose machines are all terminated is refused, or shows them: AWS says both.
    pub refuses_used_tokens: bool,
    /// Whether dry runs are recognized, as in EC2 but not in some emulators.
    pub dry_run: bool,
    /// The time for which a token is kept after the end of its machines.
    pub token_kept: SignedDuration,
    /// Rate limits.
    pub buckets: Buckets,
    /// Latency of operations.
    pub latency: Latency,
    /// Share of spot machines that are interrupted within their first minutes, from 0 to 1.
    pub interrupted: f64,
    /// From the warning to the interruption.
    pub warning: SignedDuration,
    /// Whether guests of T kinds with `standard` credits are slowed down to their baseline, in real
    /// time: T3, T3a and T4g from their start, T2 after its launch credits.
    pub spends_credits: bool,
    /// Guest of the machines.
    pub guest: Option<Arc<dyn Guest>>,
    /// A forge for simulated runners: machines whose user data contains an identity then behave as
    /// in `outcome`, without a process. Do not call the wire while holding its lock.
    pub forge: Option<Arc<Mutex<Forge>>>,
    /// Behavior of simulated runners.
    pub outcome: MachineOutcome,
    /// Called at each launch.
    pub recorded: Option<Recorded>,
    /// The most hops of the metadata service that a launch of ours may ask for.
    pub most_hops: usize,
    /// The time for which credentials of an assumed role are valid. Not shortened by `speed`.
    pub session: SignedDuration,
    /// Actions denied to every caller: `ec2:DescribeSubnets`, `ec2:RunInstances`, `ec2:CreateTags`,
    /// `iam:PassRole`.
    pub denied: Vec<String>,
}

impl Default for Ec2Options {
    fn default() -> Self {
        Self {
            port: 0,
            seed: 0,
            clock: None,
            speed: 1,
            account: Account::default(),
            installation: None,
            boots_in: SignedDuration::from_secs(16),
            ends_within: SignedDuration::from_secs(5),
            visible_within: SignedDuration::from_secs(5),
            list_lag: SignedDuration::ZERO,
            console_lag: SignedDuration::ZERO,
            listed_after_end: LISTED_AFTER_END,
            tagged_after_end: SignedDuration::from_mins(10),
            tokens: true,
            refuses_used_tokens: false,
            dry_run: true,
            token_kept: TOKEN_KEPT,
            buckets: Buckets::usual(),
            latency: Latency {
                of: vec![("RunInstances".to_owned(), Duration::from_millis(1_500))],
                other: Duration::ZERO,
            },
            interrupted: 0.0,
            warning: SignedDuration::from_secs(120),
            spends_credits: false,
            guest: None,
            forge: None,
            outcome: MachineOutcome {
                starts_in: SignedDuration::from_secs(8),
                ..MachineOutcome::default()
            },
            recorded: None,
            most_hops: 1,
            session: SignedDuration::from_hours(1),
            denied: Vec::new(),
        }
    }
}

impl Ec2Options {
    /// Returns the current time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.as_ref().map_or_else(Timestamp::now, |clock| clock.now())
    }

    /// Creates options without latency, limits and hidden machines, for focused tests.
    pub fn instant() -> Self {
        Self {
            boots_in: SignedDuration::ZERO,
            ends_within: SignedDuration::ZERO,
            visible_within: SignedDuration::ZERO,
            buckets: Buckets::none(),
            latency: Latency::default(),
            ..Self::default()
        }
    }
}

/// A machine in its current state, independent of readings.
#[derive(Clone, Debug)]
pub struct MachineSeen {
    /// Instance ID.
    pub id: MachineId,
    /// Parameters of its launch.
    pub recipe: Arc<Recipe>,
    /// Whether another party launched it.
    pub foreign: bool,
    /// Availability zone.
    pub zone: String,
    /// Current state.
    pub state: MachineState,
    /// Code of `StateReason`; empty while live.
    pub reason: String,
    /// Output of its guest.
    pub console: String,
    /// The number of times that its guest was stopped for lack of CPU credits.
    pub stops: usize,
}

/// A running EC2. When dropped, it stops and its guests are killed.
pub struct Ec2Wire {
    shared: Arc<Shared>,
    server: Server<Query>,
    pump: Option<JoinHandle<()>>,
}

impl Ec2Wire {
    /// Binds and serves. Must be called in a tokio runtime.
    pub fn start(options: Ec2Options) -> io::Result<Self> {
        let port = options.port;
        let shared = Arc::new(Shared::new(options));
        let server = Server::start(Arc::new(Query(Arc::clone(&shared))), port)?;
        let own_clock = shared.options.clock.is_some();
        let pump = (!own_clock).then(|| tokio::spawn(attend::pump(Arc::clone(&shared))));
        Ok(Self { shared, server, pump })
    }

    /// Returns the endpoint of EC2, STS and IAM: `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Returns every call so far. As JSON: `GET /_ledger`.
    pub fn ledger(&self) -> Ledger {
        self.server.ledger()
    }

    /// Changes the faults from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Rules)) {
        self.server.rules(change);
    }

    /// Reads or changes the cloud: its configuration (capacity, quotas, addresses, lag) and
    /// machines. `with` must not call the wire.
    pub fn cloud<T>(&self, with: impl FnOnce(&mut Cloud) -> T) -> T {
        with(&mut self.shared.state().cloud)
    }

    /// Replaces the buckets by full ones.
    pub fn buckets(&self, buckets: Buckets) {
        self.shared.state().buckets = buckets;
    }

    /// Returns the forbidden calls so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.state().violations.clone()
    }

    /// Returns all machines ever launched, oldest first.
    pub fn machines(&self) -> Vec<MachineSeen> {
        let state = self.shared.state();
        let seen = state.records.iter().filter_map(|(id, record)| {
            let machine = state.cloud.machine(id)?;
            let ended_by = machine.ended_by.filter(|_| !machine.is_live());
            let running = record.guest.as_ref().map(|guest| guest.output());
            Some(MachineSeen {
                id: id.clone(),
                recipe: Arc::clone(&record.recipe),
                foreign: record.foreign,
                zone: state.cloud.zone(&record.recipe.subnet).to_owned(),
                state: machine.state(),
                reason: instance::reason(record, ended_by).0,
                console: running.unwrap_or_else(|| record.console.clone()),
                stops: record.throttle.as_ref().map_or(0, |throttle| throttle.stops),
            })
        });
        seen.collect()
    }

    /// Removes all capacity of an instance type in a zone and market for a duration.
    pub fn run_short(&self, kind: &str, zone: &str, market: Market, lasts: Duration) {
        let until = self.shared.options.now() + lasts;
        let mut state = self.shared.state();
        let subnets = self.shared.options.account.subnets.iter().filter(|s| s.zone == zone);
        for subnet in subnets {
            state.cloud.run_short((kind.to_owned(), subnet.id.clone(), market), until);
        }
    }

    /// Makes readings and terminations in a zone fail, or ends that.
    pub fn impair(&self, zone: &str, impaired: bool) {
        let mut state = self.shared.state();
        if impaired {
            state.impaired.insert(zone.to_owned());
        } else {
            state.impaired.remove(zone);
        }
    }

    /// Warns that a spot machine will be interrupted, and interrupts it after the warning time.
    pub fn interrupt(&self, id: &MachineId) {
        let mut state = self.shared.state();
        if let Some(record) = state.records.get_mut(id) {
            let now = self.shared.options.now();
            record.taken_at = Some(now + self.shared.options.quick(self.shared.options.warning));
            state.attend(&self.shared.options, now);
        }
        self.shared.changed.notify_one();
    }

    /// Interrupts a machine at once, without a warning.
    pub fn interrupt_unwarned(&self, id: &MachineId) {
        self.end_by_cloud(id, "Server.SpotInstanceTermination");
    }

    /// Ends a machine for a reason of the cloud, such as `Server.InternalError` or
    /// `Client.VolumeLimitExceeded`.
    pub fn end_by_cloud(&self, id: &MachineId, reason: &str) {
        let mut state = self.shared.state();
        let now = self.shared.options.now();
        state.end_by_cloud(now, id, reason);
        state.attend(&self.shared.options, now);
        self.shared.changed.notify_one();
    }

    /// Accepts the next `count` launches but ends their machines at once, as if a disk could not be
    /// created; the reason is as in [`Ec2Wire::end_by_cloud`].
    pub fn fail_launches(&self, count: usize, reason: &str) {
        self.shared.state().failing = (count, reason.to_owned());
    }

    /// Sends an event that a machine has an elevated risk of interruption.
    pub fn recommend_rebalance(&self, id: &MachineId) {
        let mut state = self.shared.state();
        let zone = state.records.get(id).map(|r| state.cloud.zone(&r.recipe.subnet).to_owned());
        let body = events::rebalance(&self.shared.options, id, &zone.unwrap_or_default());
        state.events.tell(&self.shared.options, &body);
    }

    /// Powers a machine off from within.
    pub fn power_off(&self, id: &MachineId) {
        let mut state = self.shared.state();
        let now = self.shared.options.now();
        state.cloud.power_off(now, id);
        state.attend(&self.shared.options, now);
        self.shared.changed.notify_one();
    }

    /// Sends events about machines from now on, as `EventBridge` does.
    pub fn send_events(&self, target: EventTarget, event_faults: EventFaults) {
        let mut state = self.shared.state();
        state.events.target = Some(target);
        state.events.event_faults = event_faults;
    }
}

impl Drop for Ec2Wire {
    fn drop(&mut self) {
        if let Some(pump) = &self.pump {
            pump.abort();
        }
        let mut state = self.shared.state();
        state.stopped = true;
        for record in state.records.values_mut() {
            if let Some(mut guest) = record.guest.take() {
                guest.kill();
            }
        }
    }
}
