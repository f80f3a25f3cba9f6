//! EC2's Query protocol on loopback, over one [`Cloud`]; beside it the two questions of STS and IAM
//! that `doctor` asks. Signatures are wanted and not checked. Real time, unless a clock is given;
//! what takes long passes `speed` times as fast.

mod account;
mod attend;
mod bucket;
mod catalogue;
mod describe;
mod error;
mod events;
mod filter;
mod guest;
mod identity;
mod ids;
mod instance;
mod launch;
mod outcome;
mod params;
mod recipe;
mod service;
mod state;
mod terminate;
mod who;
mod xml;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tinqs_ci_reconciler::model::{InstanceId, InstanceState, Market};
use tinqs_ci_reconciler::ports::Clock;
use tokio::task::JoinHandle;

pub use account::{Account, Image, InstanceType, SecurityGroup, Subnet};
pub use bucket::{Bucket, Buckets};
pub use events::{EventTarget, EventWeather};
pub use guest::{Booted, GUEST, Guest, Processes, Running};
pub use recipe::{Disk, MAX_USER_DATA, Metadata, Recipe};

use crate::aws_wire::{Latency, Ledger, Rules, Server};
use crate::cloud::machine::Fate;
use crate::cloud::{Cloud, LISTED_AFTER_END, TOKEN_KEPT};
use crate::forge::Forge;
use service::Query;
use state::Shared;

/// A launch at the moment of the call.
pub struct LaunchSeen<'a> {
    /// The client token; may be empty.
    pub token: &'a str,
    /// Of the machine.
    pub tags: &'a BTreeMap<String, String>,
    /// Decoded.
    pub user_data: &'a [u8],
}

/// Whether an attempt was recorded for a launch.
pub type Recorded = Arc<dyn Fn(&LaunchSeen<'_>) -> bool + Send + Sync>;

/// Something that no caller may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Timestamp,
    /// Which rule.
    pub rule: &'static str,
    /// What was done.
    pub what: String,
}

/// How the wire is set up. Durations are the real service's; `speed` makes them pass.
#[derive(Clone)]
pub struct Ec2Options {
    /// On 127.0.0.1; 0: any free one.
    pub port: u16,
    /// What is drawn is drawn from this.
    pub seed: u64,
    /// What time it is. `None`: the computer's. With a clock of its own nothing happens between calls:
    /// what is due happens when the next one comes, as if it had happened in time.
    pub clock: Option<Arc<dyn Clock>>,
    /// How many times as fast states, latencies and waits pass. Buckets fill at their own pace.
    pub speed: u32,
    /// What the account has.
    pub account: Account,
    /// The value of the tag `tinqs-ci` that makes a machine ours; `None`: any.
    pub installation: Option<String>,
    /// From launch to running.
    pub boots_in: SignedDuration,
    /// From shutting down to terminated.
    pub ends_within: SignedDuration,
    /// A new machine is hidden from every reading for a drawn time up to this.
    pub visible_within: SignedDuration,
    /// How old every reading is. Not made shorter by `speed`.
    pub list_lag: SignedDuration,
    /// How long an ended machine is listed.
    pub listed_after_end: SignedDuration,
    /// Whether client tokens are honoured.
    pub tokens: bool,
    /// Whether a launch that is only to be tried is known as such, as EC2 does and some emulators do not.
    pub dry_run: bool,
    /// How long a token is remembered after the end of its machines.
    pub token_kept: SignedDuration,
    /// How many calls may be made.
    pub buckets: Buckets,
    /// How long operations take.
    pub latency: Latency,
    /// So many of all spot machines are taken back within their first minutes, from 0 to 1.
    pub interrupted: f64,
    /// From the warning to the interruption.
    pub warning: SignedDuration,
    /// What machines run, where they run anything.
    pub guest: Option<Arc<dyn Guest>>,
    /// A forge at which pretended runners work: machines whose user data holds an identity then do
    /// what `fate` says, without any process. Nobody may call the wire who holds its lock.
    pub forge: Option<Arc<Mutex<Forge>>>,
    /// Of pretended runners.
    pub fate: Fate,
    /// Asked at each launch.
    pub recorded: Option<Recorded>,
    /// Actions that no caller may do: `ec2:DescribeSubnets`, `ec2:RunInstances`, `ec2:CreateTags`,
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
            listed_after_end: LISTED_AFTER_END,
            tokens: true,
            dry_run: true,
            token_kept: TOKEN_KEPT,
            buckets: Buckets::usual(),
            latency: Latency {
                of: vec![("RunInstances".to_owned(), Duration::from_millis(1_500))],
                other: Duration::ZERO,
            },
            interrupted: 0.0,
            warning: SignedDuration::from_secs(120),
            guest: None,
            forge: None,
            fate: Fate { starts_in: SignedDuration::from_secs(8), ..Fate::default() },
            recorded: None,
            denied: Vec::new(),
        }
    }
}

impl Ec2Options {
    /// What time it is.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.as_ref().map_or_else(Timestamp::now, |clock| clock.now())
    }

    /// As fast as can be, no limits, nothing hidden: for tests that look at one thing alone.
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

/// A machine as it is, whatever a reading would show.
#[derive(Clone, Debug)]
pub struct MachineSeen {
    /// Its id.
    pub id: InstanceId,
    /// What it was launched with.
    pub recipe: Arc<Recipe>,
    /// Somebody else launched it.
    pub foreign: bool,
    /// Its availability zone.
    pub zone: String,
    /// Its state.
    pub state: InstanceState,
    /// `StateReason`'s code; empty while it lives.
    pub reason: String,
    /// What its guest printed.
    pub console: String,
}

/// A running EC2. Dropped, it stops, and its guests are killed.
pub struct Ec2Wire {
    shared: Arc<Shared>,
    server: Server<Query>,
    pump: Option<JoinHandle<()>>,
}

impl Ec2Wire {
    /// Binds and serves; to be called in a tokio runtime.
    pub fn start(options: Ec2Options) -> io::Result<Self> {
        let port = options.port;
        let shared = Arc::new(Shared::new(options));
        let server = Server::start(Arc::new(Query(Arc::clone(&shared))), port)?;
        let own_clock = shared.options.clock.is_some();
        let pump = (!own_clock).then(|| tokio::spawn(attend::pump(Arc::clone(&shared))));
        Ok(Self { shared, server, pump })
    }

    /// `http://127.0.0.1:port`: the endpoint for EC2, STS and IAM.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Every call so far. The same as JSON: `GET /_ledger`.
    pub fn ledger(&self) -> Ledger {
        self.server.ledger()
    }

    /// Changes what goes wrong from now on.
    pub fn faults(&self, change: impl FnOnce(&mut Rules)) {
        self.server.rules(change);
    }

    /// Reads or changes the cloud: its configuration (capacity, quotas, addresses, lag), its machines.
    /// `with` must not call the wire.
    pub fn cloud<T>(&self, with: impl FnOnce(&mut Cloud) -> T) -> T {
        with(&mut self.shared.state().cloud)
    }

    /// Replaces the buckets; they begin full.
    pub fn buckets(&self, buckets: Buckets) {
        self.shared.state().buckets = buckets;
    }

    /// What was done that nobody may do.
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.state().violations.clone()
    }

    /// All machines ever launched, oldest first.
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
            })
        });
        seen.collect()
    }

    /// From now on there is no capacity for a kind in a zone and market, for so long.
    pub fn run_short(&self, kind: &str, zone: &str, market: Market, lasts: Duration) {
        let until = self.shared.options.now() + lasts;
        let mut state = self.shared.state();
        let subnets = self.shared.options.account.subnets.iter().filter(|s| s.zone == zone);
        for subnet in subnets {
            state.cloud.run_short((kind.to_owned(), subnet.id.clone(), market), until);
        }
    }

    /// A zone whose readings and endings fail, or no longer do.
    pub fn impair(&self, zone: &str, impaired: bool) {
        let mut state = self.shared.state();
        if impaired {
            state.impaired.insert(zone.to_owned());
        } else {
            state.impaired.remove(zone);
        }
    }

    /// Warns that a spot machine will be taken back, and takes it when the time of warning is over.
    pub fn interrupt(&self, id: &InstanceId) {
        let mut state = self.shared.state();
        if let Some(record) = state.records.get_mut(id) {
            let now = self.shared.options.now();
            record.taken_at = Some(now + self.shared.options.quick(self.shared.options.warning));
            state.attend(&self.shared.options, now);
        }
        self.shared.changed.notify_one();
    }

    /// Takes a machine back at once, without a warning.
    pub fn interrupt_unwarned(&self, id: &InstanceId) {
        self.end_by_cloud(id, "Server.SpotInstanceTermination");
    }

    /// Ends a machine for a reason of the cloud's own, such as `Server.InternalError`,
    /// `Client.VolumeLimitExceeded`.
    pub fn end_by_cloud(&self, id: &InstanceId, reason: &str) {
        let mut state = self.shared.state();
        let now = self.shared.options.now();
        state.end_by_cloud(now, id, reason);
        state.attend(&self.shared.options, now);
        self.shared.changed.notify_one();
    }

    /// The next so many launches are accepted, and their machines end at once, as one does whose disk
    /// cannot be made; the reason as in [`Ec2Wire::end_by_cloud`].
    pub fn fail_launches(&self, count: usize, reason: &str) {
        self.shared.state().failing = (count, reason.to_owned());
    }

    /// Tells that a machine is likelier to be taken back than usual.
    pub fn recommend_rebalance(&self, id: &InstanceId) {
        let mut state = self.shared.state();
        let zone = state.records.get(id).map(|r| state.cloud.zone(&r.recipe.subnet).to_owned());
        let body = events::rebalance(&self.shared.options, id, &zone.unwrap_or_default());
        state.events.tell(&self.shared.options, &body);
    }

    /// A machine switches itself off.
    pub fn power_off(&self, id: &InstanceId) {
        let mut state = self.shared.state();
        let now = self.shared.options.now();
        state.cloud.power_off(now, id);
        state.attend(&self.shared.options, now);
        self.shared.changed.notify_one();
    }

    /// A machine that somebody else launched in this account, without a client token, with these tags.
    ///
    /// # Errors
    /// As a launch: limits, capacity.
    pub fn add_foreign(
        &self,
        tags: BTreeMap<String, String>,
    ) -> Result<InstanceId, crate::cloud::Refused> {
        self.add_foreign_with_token(tags, "")
    }

    /// A machine that somebody else launched with that client token, in another zone than any launch
    /// with the same one: tokens are kept for each zone. The tags may have been set later.
    ///
    /// # Errors
    /// As a launch: limits, capacity.
    pub fn add_foreign_with_token(
        &self,
        tags: BTreeMap<String, String>,
        token: &str,
    ) -> Result<InstanceId, crate::cloud::Refused> {
        let options = &self.shared.options;
        let foreign = Recipe::foreign(&options.account, tags);
        let recipe = Arc::new(Recipe { token: token.to_owned(), ..foreign });
        let launched = self.shared.state().launch(options, options.now(), &recipe, true);
        self.shared.changed.notify_one();
        launched.map(|(ids, _)| ids.into_iter().next().unwrap_or_else(|| InstanceId(String::new())))
    }

    /// Tells from now on what happens to machines, as `EventBridge` does.
    pub fn send_events(&self, target: EventTarget, weather: EventWeather) {
        let mut state = self.shared.state();
        state.events.target = Some(target);
        state.events.weather = weather;
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
