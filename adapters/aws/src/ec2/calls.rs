//! The calls other than launches: paced, paged, batched.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::SdkError;
use aws_sdk_ec2::operation::describe_instances::builders::DescribeInstancesFluentBuilder;
use aws_sdk_ec2::operation::describe_instances::{DescribeInstancesError, DescribeInstancesOutput};
use aws_sdk_ec2::operation::get_console_output::{GetConsoleOutputError, GetConsoleOutputOutput};
use aws_sdk_ec2::types::{
    Filter, Image, Instance as Seen, LaunchTemplateVersion, Reservation, ResponseLaunchTemplateData,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tinqs_ci_reconciler::model::{LaunchTemplate, Machine, MachineId};
use tinqs_ci_reconciler::ports::{Clock, ErrorKind, PortError};

use super::instance::{Ownership, ownership};
use super::instance_cache::InstanceCache;
use super::listed::Listed;
use super::tags::named_by;
use crate::batch::{Answers, Bundle};
use crate::errors::{self, again, ec2 as codes};
use crate::pace::{Lane, Pace, Rates, seconds};

/// Lookups by ID; a filter takes 200 values.
pub(super) const FINDS: Bundle = Bundle {
    port: "compute",
    operation: "find",
    most: 200,
    at_once: 4,
    linger: Duration::from_millis(10),
};
/// Terminations; a call takes 1,000 IDs.
pub(super) const ENDS: Bundle = Bundle {
    port: "compute",
    operation: "terminate",
    most: 1_000,
    at_once: 2,
    linger: Duration::from_millis(20),
};
/// Reservations per page.
const PAGE: i32 = 1_000;
/// The bytes of a console's output that EC2 keeps.
pub(super) const CONSOLE: usize = 64 << 10;
/// A longer list is a fault of the other side.
pub(super) const MOST_PAGES: usize = 1_000;

/// Result of looking up an ID.
#[derive(Clone, Debug)]
pub(super) enum Found {
    /// A machine of ours.
    Ours(Box<Machine>),
    /// A machine of ours that has ended, as [`Ownership::Untagged`]: policies that compare tags
    /// allow no call for it any more.
    Untagged(Box<Machine>),
    /// An instance that is not ours: left alone.
    Foreign,
    /// EC2 knows no instance of that ID yet.
    Nothing,
}

/// State shared by all calls.
pub(super) struct Calls {
    pub(super) client: Client,
    clock: Arc<dyn Clock>,
    pub(super) installation: String,
    pub(super) pace: Pace,
    pub(super) instance_cache: InstanceCache,
    pub(super) listed: Listed,
}

impl Calls {
    pub(super) fn new(
        client: Client,
        installation: &str,
        clock: Arc<dyn Clock>,
        rates: Rates,
    ) -> Self {
        let (installation, pace) = (installation.to_owned(), Pace::new(rates, &clock));
        let (instance_cache, listed) = (InstanceCache::default(), Listed::default());
        Self { client, clock, installation, pace, instance_cache, listed }
    }

    /// Returns every instance that matches the filters. If one page fails, the whole list fails.
    pub(super) async fn describe(
        &self,
        operation: &'static str,
        filters: Vec<Filter>,
    ) -> Result<Vec<Seen>, PortError> {
        let mut seen = Vec::new();
        let mut next: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let request = self.client.describe_instances();
            let request = request.set_filters(Some(filters.clone())).max_results(PAGE);
            let answer = self.page(operation, request.set_next_token(next.clone())).await;
            let answer =
                answer?.map_err(|e| errors::port_error("compute", operation, &e, codes::TABLE))?;
            next = answer.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
            let reservations = answer.reservations.unwrap_or_default();
            seen.extend(reservations.into_iter().flat_map(|r| r.instances.unwrap_or_default()));
            if next.is_none() {
                return Ok(seen);
            }
        }
        let message = format!("the list of instances does not end within {MOST_PAGES} pages");
        Err(PortError::new("compute", operation, ErrorKind::Unavailable, message))
    }

    /// Sends one call when its turn comes. The outer error: it was not sent.
    async fn page(
        &self,
        operation: &'static str,
        request: DescribeInstancesFluentBuilder,
    ) -> Result<Result<DescribeInstancesOutput, SdkError<DescribeInstancesError>>, PortError> {
        turn(&self.pace.describe, operation).await?;
        let answer = request.send().await;
        match &answer {
            Ok(_) => self.pace.describe.taken(),
            Err(error) => self.pace.describe.corrected(kind(error)),
        }
        Ok(answer)
    }

    /// Looks up each ID. Several IDs go as values of a filter, which does not fail for an unknown
    /// one; an ID that the filter does not show is looked up by itself, because a filter may lag.
    pub(super) async fn find(&self, ids: Vec<MachineId>) -> Answers<Found> {
        let mut shown: HashMap<String, Found> = HashMap::new();
        if ids.len() > 1 {
            let values = ids.iter().map(|id| id.0.clone()).collect();
            let filter = Filter::builder().name("instance-id").set_values(Some(values)).build();
            match self.describe("find", vec![filter]).await {
                Ok(seen) => {
                    for seen in &seen {
                        if let Some(id) = seen.instance_id() {
                            shown.insert(id.to_owned(), self.judged(seen));
                        }
                    }
                }
                Err(error) => return ids.iter().map(|_| Err(again(&error))).collect(),
            }
        }
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.push(match shown.get(&id.0) {
                Some(shown) => Ok(shown.clone()),
                None => self.find_one(&id).await,
            });
        }
        found
    }

    async fn find_one(&self, id: &MachineId) -> Result<Found, PortError> {
        let request = self.client.describe_instances().instance_ids(&id.0);
        let answer = match self.page("find", request).await? {
            Ok(answer) => answer,
            Err(error) if errors::code(&error).is_some_and(codes::is_unknown_instance) => {
                return Ok(Found::Nothing);
            }
            Err(error) => {
                return Err(errors::port_error("compute", "find", &error, codes::TABLE));
            }
        };
        let mut seen = answer.reservations().iter().flat_map(Reservation::instances);
        let seen = seen.find(|seen| seen.instance_id() == Some(&id.0));
        Ok(seen.map_or(Found::Nothing, |seen| self.judged(seen)))
    }

    fn judged(&self, seen: &Seen) -> Found {
        if let Some(machine) = self.recognize(seen) {
            self.instance_cache.ours(&machine);
            self.listed.found(seen, &machine);
            return Found::Ours(Box::new(machine));
        }
        if let Some(machine) = self.untagged(seen) {
            self.instance_cache.ours(&machine);
            return Found::Untagged(Box::new(machine));
        }
        // A client token never changes. An instance may be visible before its tags are.
        let certain = match seen.client_token() {
            Some(token) => named_by(&self.installation, token).is_none(),
            None => !seen.tags().is_empty(),
        };
        if let Some(id) = seen.instance_id().filter(|_| certain) {
            self.instance_cache.foreign(&MachineId(id.to_owned()));
        }
        Found::Foreign
    }

    /// Returns the machine of ours that an instance is. An instance that only carries our tags is
    /// left alone and reported once.
    pub(super) fn recognize(&self, seen: &Seen) -> Option<Machine> {
        match ownership(&self.installation, seen) {
            Ownership::Ours(machine) => Some(*machine),
            Ownership::TagsOnly(id, attempt_id) => {
                if let Some(count) = self.instance_cache.tags_only(&id) {
                    tracing::warn!(
                        machine = id.0,
                        attempt_id = %attempt_id,
                        count,
                        hint = "find out who tagged it; remove its `tinqs-ci` tags, and terminate it if \
                                it is not needed",
                        "foreign instance carries our tags, left alone",
                    );
                }
                None
            }
            Ownership::Untagged(_) | Ownership::Foreign => None,
        }
    }

    /// Returns the machine of ours that an ended instance without tags was.
    pub(super) fn untagged(&self, seen: &Seen) -> Option<Machine> {
        match ownership(&self.installation, seen) {
            Ownership::Untagged(machine) => Some(*machine),
            _ => None,
        }
    }

    /// Terminates machines. One bad ID or one impaired zone fails a whole call; then each is tried
    /// alone.
    pub(super) async fn terminate(&self, ids: Vec<MachineId>) -> Answers<()> {
        let Err(error) = self.terminate_together(&ids).await else {
            return ids.iter().map(|_| Ok(())).collect();
        };
        // Single calls would be throttled too.
        let hopeless = matches!(error.kind, ErrorKind::Throttled);
        if ids.len() == 1 || hopeless {
            return ids.iter().map(|_| Err(again(&error))).collect();
        }
        tracing::warn!(
            machines = ids.len(),
            error = %error,
            "batch termination failed, terminating one by one"
        );
        let mut ended = Vec::with_capacity(ids.len());
        for id in ids {
            ended.push(self.terminate_together(std::slice::from_ref(&id)).await);
        }
        ended
    }

    async fn terminate_together(&self, ids: &[MachineId]) -> Result<(), PortError> {
        turn(&self.pace.terminate, "terminate").await?;
        let all = ids.iter().map(|id| id.0.clone()).collect();
        let answer = self.client.terminate_instances().set_instance_ids(Some(all)).send().await;
        let Err(error) = answer else {
            self.pace.terminate.taken();
            return Ok(());
        };
        self.pace.terminate.corrected(kind(&error));
        let told = errors::port_error("compute", "terminate", &error, codes::TABLE);
        match ids {
            [id] if errors::code(&error).is_some_and(codes::is_unknown_instance) => {
                // Gone, or so new that not all of EC2 knows it; then it must be tried again.
                if !self.instance_cache.is_new(id, self.clock.now()) {
                    return Ok(());
                }
                Err(PortError { kind: ErrorKind::Unavailable, ..told })
            }
            _ => Err(told),
        }
    }

    /// Returns the console's output; `None` if there is none, or none yet.
    pub(super) async fn console(&self, id: &MachineId) -> Result<Option<Vec<u8>>, PortError> {
        let mut told = self.console_once(id, true).await?;
        let code = told.as_ref().err().and_then(errors::code);
        if code.is_some_and(codes::has_no_latest_console) {
            told = self.console_once(id, false).await?;
        }
        let answer = match told {
            Ok(answer) => answer,
            Err(error) if errors::code(&error).is_some_and(codes::is_unknown_instance) => {
                return Ok(None);
            }
            Err(error) => return Err(errors::port_error("compute", "log", &error, codes::TABLE)),
        };
        let Some(output) = answer.output().filter(|output| !output.is_empty()) else {
            return Ok(None);
        };
        // Some endpoints break its lines.
        let output: String = output.split_ascii_whitespace().collect();
        BASE64_STANDARD.decode(output).map(Some).map_err(|error| {
            let message = "the console's output is not base64";
            PortError::new("compute", "log", ErrorKind::Unavailable, message).caused_by(error)
        })
    }

    /// The latest output, or what was posted last: soon after the boot and at the end. The outer
    /// error: it was not sent.
    async fn console_once(
        &self,
        id: &MachineId,
        latest: bool,
    ) -> Result<Result<GetConsoleOutputOutput, SdkError<GetConsoleOutputError>>, PortError> {
        turn(&self.pace.describe, "log").await?;
        let call = self.client.get_console_output();
        let answer = call.instance_id(&id.0).set_latest(latest.then_some(true)).send().await;
        match &answer {
            Ok(_) => self.pace.describe.taken(),
            Err(error) => self.pace.describe.corrected(kind(error)),
        }
        Ok(answer)
    }

    /// Returns what a version of a launch template sets, as [`template_data`].
    pub(super) async fn template_data(
        &self,
        template: &LaunchTemplate,
    ) -> Result<Option<ResponseLaunchTemplateData>, PortError> {
        turn(&self.pace.describe, "launch").await?;
        let data = template_data(&self.client, template).await;
        match &data {
            Ok(_) => self.pace.describe.taken(),
            Err(error) => self.pace.describe.corrected(error.kind),
        }
        data
    }

    /// Returns an image; `None` if EC2 has none of that ID.
    pub(super) async fn image(&self, image: &str) -> Result<Option<Image>, PortError> {
        let answer = self.client.describe_images().image_ids(image).send().await;
        let answer =
            answer.map_err(|e| errors::port_error("compute", "launch", &e, codes::TABLE))?;
        Ok(answer.images.unwrap_or_default().into_iter().next())
    }
}

/// Returns what a version of a launch template sets; `None` if EC2 does not show that version.
pub(super) async fn template_data(
    client: &Client,
    template: &LaunchTemplate,
) -> Result<Option<ResponseLaunchTemplateData>, PortError> {
    let LaunchTemplate { id, version } = template;
    let asked = client.describe_launch_template_versions().launch_template_id(id);
    let answer = asked.versions(version.to_string()).send().await;
    let answer = answer.map_err(|e| errors::port_error("compute", "launch", &e, codes::TABLE))?;
    let mut found = answer.launch_template_versions.unwrap_or_default().into_iter();
    let is_it = |found: &LaunchTemplateVersion| {
        found.launch_template_id() == Some(id.as_str())
            && found.version_number() == Some(i64::from(*version))
    };
    Ok(found.find(is_it).and_then(|found| found.launch_template_data))
}

pub(super) fn kind<E>(error: &SdkError<E>) -> ErrorKind
where
    E: aws_sdk_ec2::error::ProvideErrorMetadata + std::error::Error + 'static,
{
    errors::port_error("compute", "", error, codes::TABLE).kind
}

/// Waits for the turn of a call.
pub(super) async fn turn(lane: &Lane, operation: &'static str) -> Result<(), PortError> {
    lane.turn().await.map_err(|wait| {
        let message = format!(
            "not sent to stay within the call rate: the next such call may go in {}",
            seconds(wait)
        );
        PortError::new("compute", operation, ErrorKind::Throttled, message)
    })
}
