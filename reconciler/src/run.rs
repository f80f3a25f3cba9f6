//! A run: one job's need for a machine, from the moment the job is seen waiting.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::class::{ClassName, Machine};

/// One job's need for a machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Run {
    /// The key: in the store, the queue, machine tags and URLs.
    pub name: RunName,
    /// Which incarnation of that name: a run removed and made anew has another.
    pub uid: Uid,
    /// Counts the writes of this incarnation; the store sets it.
    pub version: u64,
    /// When the record was made.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub created_at: Timestamp,
    /// Set by a person: this job gets no machine any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub deleted_at: Option<Timestamp>,
    /// Set by a person: its machine is terminated, busy or not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub terminate_now: bool,
    /// What is wanted.
    pub spec: Spec,
    /// How far that is.
    pub status: Status,
}

/// What is wanted: the job and the labels it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Spec {
    /// The job at the forge.
    pub job: JobRef,
    /// The labels that a runner must carry, every one of them.
    pub runs_on: Vec<String>,
    /// For people; decides nothing.
    #[serde(default)]
    pub about: About,
    /// Push mode: runs that must be over before this one is due. Where the forge tells of its
    /// jobs, it tells this too, and the list is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<RunName>,
    /// The other direction: runs to look at when this one is over. A hint, decides nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<RunName>,
}

/// A job at the forge. The numeric ids decide; names change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct JobRef {
    /// `owner/name` as last heard.
    pub repo: String,
    /// The repository's id at the forge; 0 where it is not known.
    pub repo_id: i64,
    /// The job's id at the forge; 0 in push mode.
    pub job_id: i64,
}

/// What people want to know of a job. Text from outside, never trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct About {
    /// `owner/name`.
    pub repo: String,
    /// The workflow file or its name.
    pub workflow: String,
    /// The job's name, matrix values included.
    pub job: String,
    /// The branch or tag.
    pub branch: String,
    /// The commit's hash.
    pub commit: String,
    /// The workflow run's id at the forge; 0 where it is not known.
    pub run_id: i64,
    /// The page of the job at the forge.
    pub url: String,
}

/// How far a run is. Written by compare-and-set only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Status {
    /// The summary.
    pub phase: Phase,
    /// The number that the next attempt takes. A lower one that is recorded nowhere is void.
    pub next: u32,
    /// The newest attempt, going on or ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<Attempt>,
    /// Attempts before that: all decided less than 22 minutes ago, and the last 5.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub past: Vec<PastAttempt>,
    /// Since when the job waits.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub waiting_since: Timestamp,
    /// Attempts in a row that ended without getting a job.
    #[serde(default)]
    pub failures: u32,
    /// No attempt before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub retry_at: Option<Timestamp>,
    /// When it was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(with = "Option<String>"))]
    pub finished_at: Option<Timestamp>,
    /// How it was finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The name of the runner that works on the job; it may be another run's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner: Option<String>,
    /// What is true now and worth telling, most important first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// When to look again at the latest.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub due: Timestamp,
}

/// A summary of a run, set in `plan` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Phase {
    /// The job waits; no machine is on its way.
    Waiting,
    /// A machine is on its way or idle.
    Starting,
    /// The job runs, here or on another run's machine.
    Running,
    /// Nothing more will be done for it.
    Finished,
}

/// How a run was finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Outcome {
    /// The job succeeded.
    Succeeded,
    /// The job failed.
    Failed,
    /// The job was cancelled.
    Cancelled,
    /// The job was skipped.
    Skipped,
    /// The job or its repository is no longer at the forge.
    JobGone,
    /// The job waited longer than `give_up_after`.
    GaveUp,
    /// Push mode: the machine that worked on it ended.
    MachineEnded,
}

/// A thing that is true of a run now.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Condition {
    /// Its reason, spelt the same in metrics and logs.
    pub reason: Reason,
    /// Since when it is true.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub since: Timestamp,
    /// A sentence for people.
    pub message: String,
}

/// Why a run is not further on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Reason {
    /// A person deleted it.
    Deleted,
    /// The job waits for something at the forge: needs, approval, concurrency.
    Blocked,
    /// No configured class serves its labels.
    NoClass,
    /// Another job took its machine; that job's machine is expected to take this one.
    SpareExpected,
    /// Waiting after attempts that failed.
    BackingOff,
    /// Every machine of its class is remembered as out of capacity.
    NoCapacity,
    /// The launch pacer has no token.
    Paced,
    /// The class or the repository in it has as many machines as it may.
    AtLimit,
    /// The cloud refuses the class's launches for what an operator must mend: they are stopped.
    BreakerOpen,
}

/// One try to get one machine, with everything that it will be given.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Attempt {
    /// Grows; with gaps.
    pub number: u32,
    /// When it was recorded; the windows for launching rest on it.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub decided_at: Timestamp,
    /// The class it was decided for.
    pub class: ClassName,
    /// Its identity at the forge, for one job.
    pub runner: Runner,
    /// What its boot script is told.
    pub boot: Boot,
    /// Machines asked for, in order; the last is the current one. Never empty.
    pub placements: Vec<Placement>,
    /// Why it is over and since when; set once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

/// Why an attempt is over, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Ended {
    /// Why.
    pub why: End,
    /// Since when.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
}

/// Why an attempt is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum End {
    /// Its registration was used: it got a job, this run's or another's.
    Consumed,
    /// Its machine went before it got a job: interrupted, or drained itself idle.
    MachineGone,
    /// The cloud refused it.
    Refused(Refusal),
    /// The launch was answered, and the machine was never seen.
    NeverSeen,
    /// The launch was never answered, and no machine was seen.
    NeverAnswered,
    /// Its machine did not come online in time.
    NeverReady,
    /// Its machine idled longer than it should have without ending itself.
    NotAssigned,
    /// A person deleted the run.
    Deleted,
}

/// Why the cloud refuses a launch for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub enum Refusal {
    /// No capacity for this kind, here, in this market.
    NoCapacity,
    /// An account limit.
    Limit,
    /// We may not.
    Denied,
    /// What we ask for is wrong.
    Invalid,
}

/// An attempt that another one followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct PastAttempt {
    /// Its number.
    pub number: u32,
    /// When it was recorded.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub decided_at: Timestamp,
    /// Its class.
    pub class: ClassName,
    /// The id of its registration.
    pub registration: i64,
    /// What became of its placements.
    pub placements: Vec<PastPlacement>,
    /// Why it was over.
    pub ended: Ended,
}

/// What became of a placement.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct PastPlacement {
    /// The machine, where the launch was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answer>,
    /// The refusal, where it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// A single-job identity at the forge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Runner {
    /// The registration's id.
    pub id: i64,
    /// The registration's uuid, as the forge writes it.
    pub uuid: String,
    /// Its name: the slot.
    pub name: String,
    /// Labels with their schemas (`linux:host`), as the machine needs them.
    pub labels: Vec<String>,
    /// What the runner proves itself with.
    #[serde(default)]
    pub token: Secret,
}

/// What the boot script is told, frozen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Boot {
    /// When the machine powers off whatever it does.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub deadline: Timestamp,
    /// How long its runner may idle.
    #[serde(with = "crate::class::friendly")]
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub idle_within: SignedDuration,
    /// The forge's address as machines reach it.
    pub instance_url: String,
    /// For cloning over HTTPS, where configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_token: Option<Secret>,
}

/// One machine asked for within an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Placement {
    /// The recipe, frozen.
    pub machine: Machine,
    /// Another look than the recording one has asked too: a refusal is then not definitive.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub asked_again: bool,
    /// What the cloud answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Answer>,
    /// Why the cloud refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// A launch that was answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Answer {
    /// The machine.
    pub id: InstanceId,
    /// When.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
}

/// A launch that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Refused {
    /// Why.
    pub why: Refusal,
    /// When.
    #[cfg_attr(feature = "schemars", schemars(with = "String"))]
    pub at: Timestamp,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use text_id;

text_id! {
    /// A machine's id in its cloud.
    InstanceId
}

/// A run's name: `job-<job id>`, or `push-<16 hex>` in push mode.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunName(String);

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for RunName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RunName".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(job-(0|[1-9][0-9]{0,18})|push-[0-9a-f]{16})$",
            "description": "A run's name: `job-<job id>`, or `push-<16 hex>` in push mode."
        })
    }
}

impl RunName {
    /// The run of a job that the forge lists.
    pub fn job(job_id: i64) -> Self {
        Self(format!("job-{job_id}"))
    }

    /// The run of a job that a push calls for; `parts` are what makes it that job.
    pub fn push(parts: &[&str]) -> Self {
        Self(format!("push-{}", &hash_hex(parts)[..16]))
    }

    /// Whether a push called for it: there is no job to look at.
    pub fn is_push(&self) -> bool {
        self.0.starts_with("push-")
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not of the form asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: expected {form}")]
pub struct ParseError {
    text: String,
    what: &'static str,
    form: &'static str,
}

impl FromStr for RunName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let job = text.strip_prefix("job-").is_some_and(|n| n.len() <= 19 && is_number(n));
        let push = text.strip_prefix("push-").is_some_and(|n| n.len() == 16 && is_lower_hex(n));
        if job || push {
            return Ok(Self(text.to_owned()));
        }
        Err(ParseError {
            text: text.chars().take(60).collect(),
            what: "run name",
            form: "`job-<number>` or `push-<16 hex digits>`",
        })
    }
}

impl TryFrom<String> for RunName {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<RunName> for String {
    fn from(name: RunName) -> Self {
        name.0
    }
}

/// Digits as we write them: without leading zeros, so that a name has one spelling.
fn is_number(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Hash of parts, in lower-case hex; a separator keeps `["ab"]` and `["a", "b"]` apart.
pub(crate) fn hash_hex(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
        use fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Which incarnation of a run's name: a hash of installation, name and creation time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Uid(#[cfg_attr(feature = "schemars", schemars(with = "String"))] pub Uuid);

impl Uid {
    /// The uid of a run made now.
    pub fn new(installation: &str, name: &RunName, created_at: Timestamp) -> Self {
        let text = format!("{installation}\n{name}\n{}", created_at.as_nanosecond());
        Self(Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()))
    }

    /// Its first 8 hex digits, as slots carry it.
    pub fn short(&self) -> Uid8 {
        Uid8(self.0.simple().to_string()[..8].to_owned())
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_id! {
    /// The first 8 hex digits of a [`Uid`].
    Uid8
}

/// One attempt of one incarnation of one run: the name of its runner, the root of its client
/// tokens. Written `tq-<run>-<uid8>-<number>`, at most 50 characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slot {
    /// The run.
    pub run: RunName,
    /// Its incarnation.
    pub uid: Uid8,
    /// The attempt.
    pub number: u32,
}

impl Slot {
    /// The client token of a placement: asking twice makes one machine.
    pub fn token(&self, placement: u32) -> String {
        format!("{self}-{placement}")
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tq-{}-{}-{}", self.run, self.uid, self.number)
    }
}

impl FromStr for Slot {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let mut parts = text.strip_prefix("tq-")?.rsplitn(3, '-');
            let (number, uid, run) = (parts.next()?, parts.next()?, parts.next()?);
            if !is_number(number) || uid.len() != 8 || !is_lower_hex(uid) {
                return None;
            }
            Some(Slot {
                run: run.parse().ok()?,
                uid: Uid8(uid.to_owned()),
                number: number.parse().ok()?,
            })
        };
        parse().ok_or_else(|| ParseError {
            text: text.chars().take(60).collect(),
            what: "slot",
            form: "`tq-<run>-<8 hex digits>-<number>`",
        })
    }
}

impl TryFrom<String> for Slot {
    type Error = ParseError;
    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<Slot> for String {
    fn from(slot: Slot) -> Self {
        slot.to_string()
    }
}

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for Slot {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Slot".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^tq-(job-(0|[1-9][0-9]{0,18})|push-[0-9a-f]{16})-[0-9a-f]{8}-(0|[1-9][0-9]*)$",
            "description": "One attempt of one incarnation of one run."
        })
    }
}

/// A credential. Neither `Debug` nor serialising shows it; [`encode`] alone writes it.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes a credential in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The credential itself: for the wire and the boot script, nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[secret]")
    }
}

#[cfg(feature = "schemars")]
impl schemars::JsonSchema for Secret {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A credential; answers show `[secret]` in its place."
        })
    }
}

/// A record for the store: the run as JSON, with its credentials. Nothing else may show them.
pub fn encode(run: &Run) -> Vec<u8> {
    let Some(attempt) = &run.status.attempt else {
        // Without an attempt there is no credential. Nothing in it can fail to serialise.
        return serde_json::to_vec(run).unwrap_or_default();
    };
    let mut value = serde_json::to_value(run).unwrap_or_default();
    let stored = &mut value["status"]["attempt"];
    stored["runner"]["token"] = attempt.runner.token.expose().into();
    if let Some(token) = &attempt.boot.git_token {
        stored["boot"]["git_token"] = token.expose().into();
    }
    value.to_string().into_bytes()
}

/// A record from the store.
///
/// # Errors
/// What is wrong with it, where it is not a run.
pub fn decode(bytes: &[u8]) -> Result<Run, serde_json::Error> {
    serde_json::from_slice(bytes)
}

impl Run {
    /// A run for a job that was just seen waiting.
    pub fn new(installation: &str, name: RunName, spec: Spec, now: Timestamp) -> Self {
        Self {
            uid: Uid::new(installation, &name, now),
            name,
            version: 0,
            created_at: now,
            deleted_at: None,
            terminate_now: false,
            spec,
            status: Status {
                phase: Phase::Waiting,
                next: 1,
                attempt: None,
                past: Vec::new(),
                waiting_since: now,
                failures: 0,
                retry_at: None,
                finished_at: None,
                outcome: None,
                runner: None,
                conditions: Vec::new(),
                due: now,
            },
        }
    }

    /// The slot of an attempt of this incarnation.
    pub fn slot(&self, number: u32) -> Slot {
        Slot { run: self.name.clone(), uid: self.uid.short(), number }
    }

    /// Whether something may still have to be done for it.
    pub fn is_open(&self) -> bool {
        self.status.phase != Phase::Finished
    }

    /// A person says: no machine for this job any more. With `now` its machine is ended too.
    /// Voids the number that may just be prepared.
    pub fn delete(&mut self, now: Timestamp, terminate: bool) {
        self.deleted_at.get_or_insert(now);
        self.terminate_now |= terminate;
        self.status.next = self.status.next.saturating_add(1);
        self.status.due = now;
    }

    /// A person says: try now. Clears backing off, giving up and the tombstone.
    pub fn retry(&mut self, now: Timestamp) {
        self.deleted_at = None;
        self.terminate_now = false;
        let status = &mut self.status;
        if status.outcome == Some(Outcome::GaveUp) {
            status.phase = Phase::Waiting;
            status.outcome = None;
            status.finished_at = None;
        }
        status.failures = 0;
        status.retry_at = None;
        status.waiting_since = now;
        status.due = now;
    }
}

impl Status {
    /// The first condition's reason.
    pub fn reason(&self) -> Option<Reason> {
        self.conditions.first().map(|c| c.reason)
    }
}

impl Attempt {
    /// Index of the current placement: the number in its client token.
    pub fn current(&self) -> u32 {
        u32::try_from(self.placements.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// The same attempt, as kept once another one follows.
    pub fn into_past(self, ended: Ended) -> PastAttempt {
        let Self { number, decided_at, class, runner, boot: _, placements, ended: recorded } = self;
        PastAttempt {
            number,
            decided_at,
            class,
            registration: runner.id,
            placements: placements
                .into_iter()
                .map(|Placement { machine: _, asked_again: _, answered, refused }| PastPlacement {
                    answered,
                    refused,
                })
                .collect(),
            ended: recorded.unwrap_or(ended),
        }
    }
}
