//! Machines in EC2: one `RunInstances` per placement, made from the record alone.
//!
//! The client token is made of the attempt ID, the placement and the installation, so a repeated
//! launch makes one machine. Machines are found by their tags. An instance is left alone if it
//! lacks any of our tags, carries those of another installation, or was not launched with the
//! client token that its tags name. Of an ended instance EC2 soon shows no tags: its client token
//! alone tells that it was ours. IDs are looked up and terminated in batches.

mod calls;
mod disks;
mod images;
mod instance;
mod instance_cache;
mod listed;
mod listing;
mod pools;
mod prices;
mod rehearsal;
mod request;
mod signing;
mod tags;
mod templates;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Filter, Instance as Seen};
use tinqs_ci_reconciler::model::{
    Attempt, AttemptId, Cause, Machine, MachineId, MachineSpec, MicroUsd, RunName,
};
use tinqs_ci_reconciler::ports::{Clock, Compute, ErrorKind, MachineLog, PortError};

use super::batch::Batches;
use super::client;
use super::errors::{self, ec2 as codes};
use super::events::{Owners, is_id};
use super::pace::{Pace, Rates, seconds};
use super::ssm::Parameters;
use calls::{Calls, Found};
use disks::Disks;
pub(crate) use images::Images;
use prices::Prices;
use templates::{TemplateUse, Templates};
pub(crate) use templates::{inspect as inspect_template, of_class as templates_of};

pub use instance::{Ownership, ours, ownership};
pub use rehearsal::{check_user_data, rehearse};
pub use request::{Ask, USER_DATA_LIMIT};
pub use tags::{INSTALLATION, Tagged, read as read_tags, token, write as write_tags};

/// The longest time for reading the console of an instance.
const LOG_WITHIN: Duration = Duration::from_secs(10);

/// The clients of EC2, one per use.
#[derive(Clone, Debug)]
pub struct Clients {
    /// For launches: no retries, because a capacity refusal is a 500 and each call counts against
    /// the launch bucket.
    pub launch: Client,
    /// For all other calls: a few retries.
    pub ask: Client,
    /// For images that a parameter names.
    pub parameters: Parameters,
}

impl Clients {
    /// The clients of this configuration.
    pub fn of(config: &SdkConfig) -> Self {
        Self {
            launch: client::ec2_launch(config),
            ask: client::ec2(config),
            parameters: Parameters::new(config),
        }
    }
}

/// The machines of one installation in one region.
pub struct Machines {
    launch: Client,
    parameters: Parameters,
    images: Images,
    calls: Arc<Calls>,
    clock: Arc<dyn Clock>,
    disks: Disks,
    prices: Prices,
    templates: Templates,
    finds: Batches<MachineId, Found>,
    ends: Batches<MachineId, ()>,
}

impl Machines {
    /// The machines with this installation's tag.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(clients: Clients, installation: &str, clock: Arc<dyn Clock>, rates: Rates) -> Self {
        let Clients { launch, ask, parameters } = clients;
        let calls = Arc::new(Calls::new(ask, installation, clock.clone(), rates));
        let (finding, ending) = (calls.clone(), calls.clone());
        Self {
            launch: signing::soon(&launch, clock.clone()),
            parameters,
            images: Images::default(),
            clock,
            disks: Disks::default(),
            prices: Prices::default(),
            templates: Templates::default(),
            finds: Batches::new(calls::FINDS, move |ids| {
                let calls = finding.clone();
                async move { calls.find(ids).await }
            }),
            ends: Batches::new(calls::ENDS, move |ids| {
                let calls = ending.clone();
                async move { calls.terminate(ids).await }
            }),
            calls,
        }
    }

    /// The pacing of its calls.
    pub fn pace(&self) -> &Pace {
        &self.calls.pace
    }

    /// Returns the machine that an earlier launch with the same token made; `None` if EC2 shows
    /// none of ours.
    async fn earlier(&self, ask: &Ask<'_>) -> Result<Option<Machine>, PortError> {
        let token = token(ask.installation, ask.attempt_id, ask.placement);
        let filter = Filter::builder().name("client-token").values(token).build();
        let seen = self.calls.describe("launch", vec![filter]).await?;
        // An emulator may ignore the filter and return everything; and an instance that somebody
        // else launched with this token does not carry the tags of this placement.
        let is_it = |seen: &&Seen| {
            let ours = self.calls.recognize(seen).or_else(|| self.calls.untagged(seen));
            ours.is_some_and(|ours| {
                ours.attempt_id == *ask.attempt_id && ours.placement == ask.placement
            })
        };
        Ok(seen.iter().find(is_it).map(|seen| self.launched(ask, seen)))
    }

    /// Handles a launch whose parameters differ from those of its first try: a bug, or an image or
    /// a program version that changed in between. Never treated as "no machine".
    async fn mismatch(&self, ask: &Ask<'_>, error: PortError) -> Result<Machine, PortError> {
        let made = self.earlier(ask).await?;
        tracing::error!(
            attempt_id = %ask.attempt_id,
            machine = made.as_ref().map(|made| made.id.0.as_str()).unwrap_or_default(),
            error = %error,
            hint = "check that only one version of tinqs-ci runs; if so, report this as a bug",
            "launch repeated with different parameters",
        );
        // Either it exists and is not visible yet, or it is not ours and the attempt times out.
        made.ok_or(PortError { kind: ErrorKind::Unavailable, ..error })
    }

    /// Converts the machine of a launch's response; its purpose comes from the record.
    fn launched(&self, ask: &Ask<'_>, seen: &Seen) -> Machine {
        let machine = instance::launched(ask, seen, self.clock.now());
        let token = token(ask.installation, ask.attempt_id, ask.placement);
        if seen.client_token() != Some(token.as_str()) {
            tracing::error!(
                attempt_id = %ask.attempt_id,
                machine = machine.id.0,
                hint = "check AWS_ENDPOINT_URL: some emulators do not return the client token; the \
                        machine will not be recognized, and powers itself off at its deadline",
                "launch response without client token",
            );
        }
        self.calls.instance_cache.ours(&machine);
        self.calls.listed.launched(&machine);
        machine
    }
}

#[async_trait]
impl Compute for Machines {
    async fn list(&self) -> Result<Vec<Machine>, PortError> {
        let machines = self.calls.list(self.clock.now()).await?;
        self.calls.instance_cache.listed(&machines);
        Ok(machines)
    }

    fn foreign(&self) -> Vec<MachineId> {
        self.calls.instance_cache.shown()
    }

    async fn find(&self, id: &MachineId) -> Result<Option<Machine>, PortError> {
        if !is_id(id) {
            return Ok(None);
        }
        match self.finds.ask(id.clone()).await? {
            Found::Ours(machine) | Found::Untagged(machine) => Ok(Some(*machine)),
            Found::Foreign | Found::Nothing => Ok(None),
        }
    }

    async fn launch(
        &self,
        attempt_id: &AttemptId,
        placement: u32,
        attempt: &Attempt,
    ) -> Result<Machine, PortError> {
        let asked_at = self.clock.now();
        let ask = Ask::new(&self.calls.installation, attempt_id, placement, attempt)?;
        if images::is_parameter(&ask.machine.image) {
            return Err(self.unknown_image(&ask.machine.image).await);
        }
        if let Some(used) = TemplateUse::of(&ask.machine.options) {
            self.templates.check(&self.calls, &used).await?;
        }
        let disks = self.disks.of(&self.calls, ask.machine, self.clock.now()).await?;
        let lane = &self.calls.pace.launch;
        if let Err(wait) = lane.turn().await {
            let message = format!(
                "not sent to stay within the launch rate: the next launch may go in {}",
                seconds(wait)
            );
            return Err(PortError::new("compute", "launch", ErrorKind::Throttled, message));
        }
        signing::in_time(asked_at, &*self.clock)?;
        let error = match ask.request(&disks).send_with(&self.launch).await {
            Ok(answer) => {
                lane.taken();
                let Some(seen) = answer.instances().first() else {
                    let message = "EC2 returned no instance for a launch";
                    return Err(PortError::new(
                        "compute",
                        "launch",
                        ErrorKind::Unavailable,
                        message,
                    ));
                };
                return Ok(self.launched(&ask, seen));
            }
            Err(error) => error,
        };
        let told = errors::port_error("compute", "launch", &error, codes::TABLE);
        lane.corrected(told.kind);
        if errors::code(&error) == Some(codes::MISMATCH) {
            return self.mismatch(&ask, told).await;
        }
        if errors::code(&error) == Some(codes::TERMINATED) {
            return self.earlier(&ask).await?.ok_or(told);
        }
        Err(told)
    }

    async fn image(&self, named: &str) -> Result<String, PortError> {
        self.images.of(&self.parameters, named, self.clock.now()).await
    }

    async fn terminate(&self, id: &MachineId) -> Result<(), PortError> {
        if !is_id(id) {
            return Ok(());
        }
        // An ID alone terminates nothing: the instance's ownership is checked again.
        let recognized = self.calls.instance_cache.run_of(id).is_some();
        match self.finds.ask(id.clone()).await {
            Ok(Found::Ours(_)) => {}
            Ok(Found::Foreign) if recognized => {
                let message = format!(
                    "{id} is no longer shown as ours, not terminated: it is left alone if its tags \
                     were changed; otherwise termination is tried again"
                );
                return Err(PortError::new(
                    "compute",
                    "terminate",
                    ErrorKind::Unavailable,
                    message,
                ));
            }
            // Hidden, or not readable now: an instance that this process has recognized before is
            // ours, since its client token cannot have changed.
            Ok(Found::Nothing) | Err(_) if recognized => {}
            Ok(Found::Untagged(_) | Found::Foreign | Found::Nothing) => return Ok(()),
            Err(error) => return Err(error),
        }
        self.ends.ask(id.clone()).await
    }

    async fn log(&self, id: &MachineId, most: usize) -> Result<Option<MachineLog>, PortError> {
        if !is_id(id) {
            return Ok(None);
        }
        // A reconcile reads it on its way, and must not become late for it.
        let log = tokio::time::timeout(LOG_WITHIN, self.read_log(id, most)).await;
        log.unwrap_or_else(|_| {
            let message = "the console was not answered within 10 s";
            Err(PortError::new("compute", "log", ErrorKind::Unavailable, message))
        })
    }

    fn room(&self) -> bool {
        self.calls.pace.launch.room()
    }

    async fn read_prices(&self, kinds: &[String]) {
        self.prices.read(&self.calls, kinds, self.clock.now(), prices::FOR_COSTS).await;
    }

    fn spot_price(&self, kind: &str, zone: &str) -> Option<MicroUsd> {
        self.prices.of(kind, zone)
    }

    async fn pool_prices(&self, machines: &[MachineSpec]) -> Vec<Option<MicroUsd>> {
        self.prices.of_pools(&self.calls, machines, self.clock.now()).await
    }

    async fn zones(&self, machines: &[MachineSpec]) -> Vec<Option<String>> {
        self.prices.zones_of(&self.calls, machines, self.clock.now()).await
    }
}

impl Machines {
    /// Says why the parameter of an attempt's image stood for none when the attempt was decided.
    async fn unknown_image(&self, named: &str) -> PortError {
        if let Err(error) = self.image(named).await {
            return error;
        }
        // A recorded attempt stays as it is: the next one has the image.
        let message = format!("{named} stood for no image when the attempt was decided");
        PortError::new("compute", "launch", ErrorKind::Invalid, message).because(Cause::Attempt)
    }

    async fn read_log(&self, id: &MachineId, most: usize) -> Result<Option<MachineLog>, PortError> {
        // The console of an instance that is not ours is none of our business.
        let recognized = self.calls.instance_cache.run_of(id).is_some();
        match self.finds.ask(id.clone()).await? {
            Found::Ours(_) => {}
            Found::Nothing if recognized => {}
            Found::Untagged(_) | Found::Foreign | Found::Nothing => return Ok(None),
        }
        let console = self.calls.console(id).await?;
        Ok(console.map(|console| {
            let log = MachineLog::end_of(&console, most);
            MachineLog { cut: log.cut || console.len() >= calls::CONSOLE, ..log }
        }))
    }
}

#[async_trait]
impl Owners for Machines {
    async fn runs_of(&self, ids: &[MachineId]) -> Vec<Result<Option<RunName>, PortError>> {
        let known = &self.calls.instance_cache;
        let asked: Vec<_> = ids
            .iter()
            .map(|id| {
                let known_run = known.run_of(id);
                let ask = known_run.is_none() && !known.is_foreign(id) && is_id(id);
                (known_run, ask.then(|| self.finds.ask(id.clone())))
            })
            .collect();
        let mut runs = Vec::with_capacity(ids.len());
        for (run, asked) in asked {
            runs.push(match asked {
                None => Ok(run),
                Some(found) => found.await.map(|found| match found {
                    Found::Ours(machine) | Found::Untagged(machine) => Some(machine.attempt_id.run),
                    Found::Foreign | Found::Nothing => None,
                }),
            });
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_instance_ids_are_accepted() {
        for id in ["i-0123456789abcdef0", "i-1a2b3c4d"] {
            assert!(is_id(&MachineId(id.to_owned())), "{id}");
        }
        for id in [
            "",
            "..",
            "i-",
            "i-0123456789ABCDEF0",
            "I-1a2b3c4d",
            "i-1a2b3c4d5",
            "i-0123456789abcdefg",
        ] {
            assert!(!is_id(&MachineId(id.to_owned())), "{id}");
        }
    }
}
